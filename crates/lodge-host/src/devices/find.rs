//! Finding devices and what each hangs on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Device, Sort, plain, text};

/// All devices under the file system `root` (`/`, or a tree made for a test), by name.
pub fn devices(root: &Path) -> Vec<Device> {
    let mut found: BTreeMap<PathBuf, (String, Sort)> = BTreeMap::new();
    let mut take = |path: PathBuf, name: Option<String>, sort: Sort| {
        if let Some(name) = name {
            found.entry(path).or_insert((name, sort));
        }
    };
    for (file, path) in entries(root, "sys/bus/pci/devices") {
        take(path, Some(format!("pci_{}", plain(&file))), Sort::Pci);
    }
    for (file, path) in entries(root, "sys/class/net") {
        let name = text(&path.join("address")).map(|mac| format!("net_{}_{}", plain(&file), plain(&mac)));
        take(path, name, Sort::Net);
    }
    for (file, path) in entries(root, "sys/class/block") {
        let name = block_name(root, &file, &path);
        take(path, name, Sort::Block);
    }
    for (file, path) in entries(root, "sys/class/scsi_host") {
        let number = file.strip_prefix("host").map(|number| format!("scsi_host_host{number}"));
        // The adapter itself, not its class directory.
        let path = path.ancestors().nth(2).map_or(path.clone(), Path::to_owned);
        take(path, number.map(|name| name.replacen("_host_host", "_host", 1)), Sort::ScsiHost);
    }
    for (file, path) in entries(root, "sys/bus/scsi/devices") {
        let is_unit = file.split(':').count() == 4;
        take(path, is_unit.then(|| format!("scsi_{}", plain(&file))), Sort::Scsi);
    }
    let parent = |path: &Path| {
        let above = path.ancestors().skip(1).find_map(|above| found.get(above));
        above.map_or_else(|| "computer".to_owned(), |(name, _)| name.clone())
    };
    let device = |(path, (name, sort)): (&PathBuf, &(String, Sort))| Device {
        name: name.clone(),
        parent: Some(parent(path)),
        sort: *sort,
        path: path.clone(),
    };
    let computer =
        Device { name: "computer".to_owned(), parent: None, sort: Sort::Computer, path: root.to_owned() };
    let mut all: Vec<Device> = std::iter::once(computer).chain(found.iter().map(device)).collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// One device by name.
pub fn device(root: &Path, name: &str) -> Option<Device> {
    devices(root).into_iter().find(|device| device.name == name)
}

/// Names in a directory of links, and where they lead.
fn entries(root: &Path, directory: &str) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(root.join(directory)).into_iter().flatten().flatten();
    let entry = |entry: fs::DirEntry| {
        Some((entry.file_name().into_string().ok()?, fs::canonicalize(entry.path()).ok()?))
    };
    entries.filter_map(entry).collect()
}

/// libvirt tells disks that udev knows the sort of, and those whose names say it.
fn block_name(root: &Path, file: &str, path: &Path) -> Option<String> {
    if path.join("partition").exists() {
        return None;
    }
    let known = udev(root, path);
    let by_name = ["vd", "sd", "sr", "nvme", "xvd", "mmcblk", "fd", "dasd"];
    if !known.contains_key("ID_TYPE") && !by_name.iter().any(|start| file.starts_with(start)) {
        return None;
    }
    let serial = known.get("ID_SERIAL").map(|serial| format!("_{}", plain(serial))).unwrap_or_default();
    Some(format!("block_{}{serial}", plain(file)))
}

/// What udev keeps of a block device.
pub(super) fn udev(root: &Path, path: &Path) -> BTreeMap<String, String> {
    let number = text(&path.join("dev")).unwrap_or_default();
    let kept = text(&root.join(format!("run/udev/data/b{number}"))).unwrap_or_default();
    let pair = |line: &str| {
        let (key, value) = line.strip_prefix("E:")?.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    };
    kept.lines().filter_map(pair).collect()
}
