//! Weights of disks and limits of memory: `virsh blkiotune`, `memtune`.

use lodge_model::domain::Domain;
use lodge_model::xml::Kept;

use super::{Controller, Limits, Setting, Settings, failed};
use crate::control::{Change, Refusal, Scope};

/// libvirt's word for "no limit", in KiB.
pub const UNLIMITED_KIB: u64 = 9_007_199_254_740_991;

/// The document's element of each memory limit, and the cgroup's files (v1, v2).
const MEMORY: [(&str, &str, &str); 3] = [
    ("hard_limit", "memory.limit_in_bytes", "memory.max"),
    ("soft_limit", "memory.soft_limit_in_bytes", "memory.high"),
    ("swap_hard_limit", "memory.memsw.limit_in_bytes", "memory.swap.max"),
];

/// The limits of memory in the order they are written.
const ORDER: [&str; 4] = ["hard_limit", "soft_limit", "min_guarantee", "swap_hard_limit"];

/// The document's element of each limit of a device, by libvirt's name.
const DEVICES: [(&str, &str); 5] = [
    ("device_weight", "weight"),
    ("device_read_iops_sec", "read_iops_sec"),
    ("device_write_iops_sec", "write_iops_sec"),
    ("device_read_bytes_sec", "read_bytes_sec"),
    ("device_write_bytes_sec", "write_bytes_sec"),
];

/// `virsh memtune`.
pub fn set_memory(settings: Settings, scope: Scope) -> Change {
    let of_live = settings.clone();
    let edit = move |domain: &mut Domain| {
        let mut tree = domain.memtune.tree("memtune").unwrap_or_else(|| Kept::new("memtune"));
        for (name, value) in &settings {
            let kib = value.unsigned();
            if kib >= UNLIMITED_KIB {
                tree.remove(name);
            } else {
                tree.set_child(Kept::new(name).with("unit", "KiB").text(kib));
            }
        }
        tree.children.sort_by_key(|limit| ORDER.iter().position(|name| *name == limit.name));
        let limit = |name| tree.child(name).and_then(|limit| limit.text.parse::<u64>().ok());
        if let (Some(hard), Some(swap)) = (limit("hard_limit"), limit("swap_hard_limit"))
            && hard > swap
        {
            return Err(Refusal::arg(
                "memory hard_limit tunable value must be lower than or equal to swap_hard_limit",
            ));
        }
        domain.memtune.set_tree(&tree);
        Ok(())
    };
    let into_document = edit.clone();
    Change::new("memtune", scope).config(edit).live(move |mut running| async move {
        let outcome = Limits::of(&running.cgroup, Controller::Memory).and_then(|limits| {
            let mut document = running.document.clone();
            into_document(&mut document)?;
            of_live.iter().try_for_each(|(name, value)| apply_memory(&limits, name, value.unsigned()))?;
            running.document = document;
            Ok(())
        });
        (running, outcome)
    })
}

pub(super) fn apply_memory(limits: &Limits, name: &str, kib: u64) -> Result<(), Refusal> {
    let Some((_, v1, v2)) = MEMORY.iter().find(|(known, ..)| *known == name) else { return Ok(()) };
    let (file, none) = if limits.unified { (v2, "max") } else { (v1, "-1") };
    let bytes = kib.saturating_mul(1024).to_string();
    limits.write(file, if kib >= UNLIMITED_KIB { none } else { &bytes })
}

/// The limits of memory that a document has, in KiB.
pub fn memory_of_document(domain: &Domain) -> Vec<(&'static str, u64)> {
    let tree = domain.memtune.tree("memtune").unwrap_or_default();
    let limit = |name: &str| tree.child(name).and_then(kib).unwrap_or(UNLIMITED_KIB);
    MEMORY.iter().map(|(name, ..)| (*name, limit(name))).collect()
}

fn kib(limit: &Kept) -> Option<u64> {
    let unit = limit.attribute("unit").unwrap_or("KiB");
    lodge_model::Bytes::scaled(limit.text.parse().ok()?, unit).ok().map(lodge_model::Bytes::kib)
}

/// The limits of memory that a guest's cgroup has, in KiB.
pub fn memory_of_guest(limits: &Limits) -> Vec<(&'static str, u64)> {
    let read = |(name, v1, v2): &(&'static str, &str, &str)| {
        let bytes =
            limits.number(if limits.unified { v2 } else { v1 }).and_then(|bytes| u64::try_from(bytes).ok());
        // The kernel's "no limit" is the greatest number of whole pages.
        let kib = bytes.map(|bytes| bytes / 1024).filter(|kib| *kib < UNLIMITED_KIB - 4096);
        (*name, kib.unwrap_or(UNLIMITED_KIB))
    };
    MEMORY.iter().map(read).collect()
}

/// `virsh blkiotune`.
pub fn set_disks(settings: Settings, scope: Scope) -> Change {
    let of_live = settings.clone();
    let edit = move |domain: &mut Domain| {
        let mut tree = domain.blkiotune.tree("blkiotune").unwrap_or_else(|| Kept::new("blkiotune"));
        for (name, value) in &settings {
            match DEVICES.iter().find(|(known, _)| known == name) {
                None => tree.set_child(Kept::new("weight").text(value.unsigned())),
                Some((_, element)) => set_devices(&mut tree, element, value.text())?,
            }
        }
        // The weight of all stands before those of single devices.
        tree.children.sort_by_key(|child| child.name != "weight");
        domain.blkiotune.set_tree(&tree);
        Ok(())
    };
    let into_document = edit.clone();
    Change::new("blkiotune", scope).config(edit).live(move |mut running| async move {
        let outcome = Limits::of(&running.cgroup, Controller::Blkio).and_then(|limits| {
            let mut document = running.document.clone();
            into_document(&mut document)?;
            of_live.iter().try_for_each(|(name, value)| apply_disks(&limits, name, value))?;
            running.document = document;
            Ok(())
        });
        (running, outcome)
    })
}

pub(super) fn apply_disks(limits: &Limits, name: &str, value: &Setting) -> Result<(), Refusal> {
    if name == "weight" {
        let files: &[&str] = if limits.unified {
            &["io.bfq.weight", "io.weight"]
        } else {
            &["blkio.bfq.weight", "blkio.weight"]
        };
        return limits.write(first_of(limits, files)?, &value.unsigned().to_string());
    }
    let Some((_, element)) = DEVICES.iter().find(|(known, _)| *known == name) else { return Ok(()) };
    for (path, number) in pairs(element, value.text())? {
        let device = number_of(path)?;
        let (file, line) = match (limits.unified, *element) {
            (false, "weight") => {
                let file = first_of(limits, &["blkio.bfq.weight_device", "blkio.weight_device"])?;
                (file.to_owned(), format!("{device} {number}"))
            }
            (true, "weight") => {
                (first_of(limits, &["io.bfq.weight", "io.weight"])?.to_owned(), format!("{device} {number}"))
            }
            (unified, element) => {
                let way = if element.starts_with("read") { "read" } else { "write" };
                let unit = if element.contains("iops") { "iops" } else { "bps" };
                if unified {
                    let most = if number == 0 { "max".to_owned() } else { number.to_string() };
                    ("io.max".to_owned(), format!("{device} {}{unit}={most}", &way[..1]))
                } else {
                    (format!("blkio.throttle.{way}_{unit}_device"), format!("{device} {number}"))
                }
            }
        };
        limits.write(&file, &line)?;
    }
    Ok(())
}

/// A weight has a file where the kernel has a scheduler that heeds it.
fn first_of<'a>(limits: &Limits, files: &[&'a str]) -> Result<&'a str, Refusal> {
    let there = files.iter().find(|file| limits.has(file)).copied();
    there.ok_or_else(|| Refusal::unsupported("blkio device weight is valid only for bfq or cfq scheduler"))
}

/// The kernel's number of a block device: `8:16`.
fn number_of(path: &str) -> Result<String, Refusal> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let of = std::fs::metadata(path).map_err(|error| failed(&format!("Cannot stat '{path}'"), &error))?;
    if !of.file_type().is_block_device() {
        let error = std::io::Error::from(rustix::io::Errno::INVAL);
        return Err(failed(&format!("Path '{path}' must be a block device"), &error));
    }
    Ok(format!("{}:{}", rustix::fs::major(of.rdev()), rustix::fs::minor(of.rdev())))
}

/// `/dev/sda,500,/dev/sdb,300`, pair by pair.
fn pairs<'a>(element: &str, text: &'a str) -> Result<Vec<(&'a str, u64)>, Refusal> {
    let words: Vec<&str> = text.split(',').filter(|word| !word.is_empty()).collect();
    let pair = |pair: &[&'a str]| {
        let [path, value] = pair else {
            return Err(Refusal::arg(format!("unable to parse blkio device '{element}' '{text}'")));
        };
        let number = value.parse().map_err(|_| {
            Refusal::arg(format!("invalid value '{value}' for parameter '{element}' of device '{path}'"))
        })?;
        Ok((*path, number))
    };
    words.chunks(2).map(pair).collect()
}

/// `/dev/sda,500,/dev/sdb,300` into `<device>` elements.
fn set_devices(tree: &mut Kept, element: &str, text: &str) -> Result<(), Refusal> {
    for (path, number) in pairs(element, text)? {
        let is_it = |device: &Kept| {
            device.name == "device" && device.child("path").is_some_and(|known| known.text == path)
        };
        let at = tree.children.iter().position(is_it).unwrap_or_else(|| {
            let mut device = Kept::new("device");
            device.set_child(Kept::new("path").text(path));
            tree.children.push(device);
            tree.children.len() - 1
        });
        let device = &mut tree.children[at];
        device.remove(element);
        if number > 0 {
            device.set_child(Kept::new(element).text(number));
        }
    }
    tree.children.retain(|device| device.name != "device" || device.children.len() > 1);
    Ok(())
}

/// The weights a document has, in libvirt's order.
pub fn disks_of_document(domain: &Domain) -> Vec<(&'static str, Setting)> {
    let tree = domain.blkiotune.tree("blkiotune").unwrap_or_default();
    let weight = tree.child("weight").and_then(|weight| weight.text.parse().ok()).unwrap_or(0);
    let mut all = vec![("weight", Setting::Unsigned(weight))];
    for (name, element) in DEVICES {
        let pairs = tree.all("device").filter_map(|device| {
            Some(format!("{},{}", device.child("path")?.text, device.child(element)?.text))
        });
        all.push((name, Setting::Text(pairs.collect::<Vec<_>>().join(","))));
    }
    all
}

/// The weights a guest's cgroup has.
pub fn disks_of_guest(domain: &Domain, limits: &Limits) -> Vec<(&'static str, Setting)> {
    let mut all = disks_of_document(domain);
    let weight = ["blkio.bfq.weight", "blkio.weight", "io.weight"]
        .into_iter()
        .find_map(|file| limits.read(file)?.split_whitespace().last()?.parse().ok());
    if let (Some(first), Some(weight)) = (all.first_mut(), weight) {
        first.1 = Setting::Unsigned(weight);
    }
    all
}
