//! The guest's whole file tree: its root file system, and what its own fstab mounts over it.
//!
//! ```text
//! devices → which is the root → its fstab → mounts → a path, part by part → one file system's reader
//! ```
//! Links are followed inside this tree only: an absolute one from the guest's root, `..` never above it, so many of
//! them and no more. Nothing of the host's is ever looked at.
//! Deliberately absent: what the files mean, and writing.

mod collect;
mod fstab;
mod walk;

use std::{
    io,
    path::{Path, PathBuf},
};

use lodge_model::guest_disk::{Archive, Device, DeviceKind, FilePath, Gap, Layout};

pub use self::walk::{Found, RootError};
use crate::{
    fs::{self, FileSystem, FsError, NodeKind, directory::Directory, layers::Layers},
    initramfs,
    layout::Devices,
};

/// A guest's fstab is a page, not a book.
const FSTAB_BYTES: usize = 256 << 10;
/// The options that choose the subvolume which distributions make their root.
const SUBVOLUMES: [&str; 4] = ["subvol=@", "subvol=root", "subvol=@rootfs", "subvol=@/.snapshots/1/snapshot"];
/// What tells a root, and how much it says.
const MARKS: [(&str, u32); 6] = [
    ("/etc/os-release", 8),
    ("/usr/lib/os-release", 4),
    ("/etc/fstab", 4),
    ("/etc", 1),
    ("/usr", 1),
    ("/bin", 1),
];
/// A directory of some name is no root yet.
const MARKS_LEAST: u32 = 3;

/// A guest's tree.
#[derive(Debug)]
pub struct Root {
    devices: Devices,
    mounts: Vec<Mount>,
    gaps: Vec<Gap>,
}

/// A file system at its place.
#[derive(Debug)]
pub(crate) struct Mount {
    /// Where.
    pub at: FilePath,
    /// On which device.
    pub device: String,
    /// What is on it, or why it cannot be seen.
    pub fs: Result<Box<dyn FileSystem>, String>,
}

/// How well a file system looks like a root.
struct Candidate {
    device: String,
    fs: Box<dyn FileSystem>,
    marks: u32,
}

impl Root {
    /// The tree of a guest with these disks. Where no root is found it has no mounts, and a gap says so.
    pub fn open(devices: Devices) -> Self {
        let mut root = Self { gaps: devices.gaps().to_vec(), devices, mounts: Vec::new() };
        match root.find_root() {
            Some(Candidate { device, fs, .. }) => {
                root.mounts.push(Mount { at: top(), device, fs: Ok(fs) });
                root.mount_fstab();
            }
            None => root.gap("/", "no root file system was found on the guest's disks"),
        }
        root.tell_warnings();
        root
    }

    /// The tree of one device alone.
    pub fn of_device(devices: Devices, name: &str) -> Self {
        let mut root = Self { gaps: Vec::new(), devices, mounts: Vec::new() };
        let fs = root.open_device(name, None).map_err(|error| error.to_string());
        root.mounts.push(Mount { at: top(), device: name.to_owned(), fs });
        root.tell_warnings();
        root
    }

    /// The tree of a directory of the host's, a container's root: nothing outside it is seen, wherever links in it point, and
    /// nothing that is mounted in it.
    pub fn of_directory(path: &Path) -> io::Result<Self> {
        Ok(Self::of_host("directory", Box::new(Directory::open(path)?)))
    }

    /// The same of directories that lie over each other, the topmost first: what overlayfs would show of them.
    pub fn of_layers(paths: &[PathBuf]) -> io::Result<Self> {
        Ok(Self::of_host("layers", Box::new(Layers::open(paths)?)))
    }

    fn of_host(device: &str, fs: Box<dyn FileSystem>) -> Self {
        let mount = Mount { at: top(), device: device.to_owned(), fs: Ok(fs) };
        Self { devices: Devices::read(Vec::new()), mounts: vec![mount], gaps: Vec::new() }
    }

    /// The devices, with the mount points that the guest's fstab tells.
    pub fn layout(&self) -> &Layout {
        self.devices.layout()
    }

    /// What could not be read, of devices and mounts.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// What the initramfs at a path unpacks to, as far as it has one of the words. Links to it are followed.
    pub fn archive(&self, path: &FilePath, words: &[String]) -> Result<Archive, RootError> {
        let found = self.find(path, true)?;
        if found.node.kind != NodeKind::File {
            return Err(RootError::Read { path: path.to_string(), source: FsError::NotAFile });
        }
        let read = |offset: u64, most: usize| {
            self.read_at(&found.path, offset, most).map_err(|error| io::Error::other(error.to_string()))
        };
        Ok(initramfs::read(&read, found.node.size, words))
    }

    /// What is mounted where, the root first, for whoever changes it.
    pub(crate) fn into_mounts(self) -> Vec<Mount> {
        self.mounts
    }

    fn gap(&mut self, place: &str, why: &str) {
        self.gaps.push(Gap { place: place.to_owned(), why: why.to_owned() });
    }

    fn tell_warnings(&mut self) {
        for mount in &self.mounts {
            let (warnings, failure) = match &mount.fs {
                Ok(fs) => (fs.warnings(), None),
                Err(why) => (&[][..], Some((mount.at.to_string(), why.clone()))),
            };
            let warned = warnings.iter().map(|warning| (mount.device.clone(), warning.clone()));
            self.gaps.extend(warned.chain(failure).map(|(place, why)| Gap { place, why }));
        }
    }

    fn open_device(&self, name: &str, subvolume: Option<&str>) -> Result<Box<dyn FileSystem>, FsError> {
        let device = self.layout().device(name).ok_or(FsError::NotFound)?;
        let blocks = self.devices.device(name);
        let (Some(content), Some(blocks)) = (&device.content, blocks) else {
            return Err(FsError::Unsupported("nothing that is known lies in it".to_owned()));
        };
        fs::open(content, blocks, subvolume)
    }

    fn find_root(&mut self) -> Option<Candidate> {
        let mut best: Option<Candidate> = None;
        let mut failed = Vec::new();
        for device in self.layout().devices() {
            let kind = device.content.as_ref().map_or("", |content| content.kind.as_str());
            if !matches!(kind, "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "crypto_LUKS") {
                continue;
            }
            let subvolumes = SUBVOLUMES.map(Some);
            let subvolumes = if kind == "btrfs" { &subvolumes[..] } else { &[] };
            for subvolume in [None].iter().chain(subvolumes) {
                let fs = match self.open_device(&device.name, *subvolume) {
                    Ok(fs) => fs,
                    Err(error) => {
                        if subvolume.is_none() {
                            failed.push(Gap { place: device.name.clone(), why: error.to_string() });
                        }
                        continue;
                    }
                };
                let marks = marks(fs.as_ref());
                if marks >= MARKS_LEAST && best.as_ref().is_none_or(|best| best.marks < marks) {
                    best = Some(Candidate { device: device.name.clone(), fs, marks });
                }
            }
        }
        // A device under several parents comes several times.
        failed.dedup();
        self.gaps.extend(failed);
        best
    }

    fn mount_fstab(&mut self) {
        let fstab = FilePath::new("/etc/fstab").map_err(|_| RootError::NotFound { path: String::new() });
        let text = fstab.and_then(|path| self.read(&path, 0, FSTAB_BYTES));
        let text = match text {
            Ok(text) => text,
            Err(RootError::NotFound { .. }) => Vec::new(),
            Err(error) => return self.gap("/etc/fstab", &error.to_string()),
        };
        let mut points = vec![(self.mounts[0].device.clone(), "/".to_owned())];
        for line in fstab::lines(&text) {
            let Some(device) = fstab::device(self.layout(), &line.what) else {
                if line.is_on_disk() {
                    let why = format!("the guest mounts {} here, which is on none of its disks", line.what);
                    self.gap(&line.shown_at(), &why);
                }
                continue;
            };
            points.push((device.clone(), line.shown_at()));
            let Some(at) = line.at.filter(|at| at.as_bytes() != b"/") else { continue };
            if self.mounts.iter().any(|mount| mount.at == at) {
                continue;
            }
            let fs = self.open_device(&device, line.subvolume.as_deref()).map_err(|error| error.to_string());
            self.mounts.push(Mount { at, device, fs });
        }
        for disk in &mut self.devices.layout_mut().disks {
            set_points(disk, &points);
        }
    }
}

fn set_points(device: &mut Device, points: &[(String, String)]) {
    let mut own: Vec<&str> =
        points.iter().filter(|(name, _)| *name == device.name).map(|(_, point)| point.as_str()).collect();
    own.dedup();
    if !own.is_empty() {
        device.mount_point = Some(own.join(" "));
    }
    device.children.iter_mut().for_each(|child| set_points(child, points));
}

fn marks(fs: &dyn FileSystem) -> u32 {
    let is_there = |path: &str| {
        let path = FilePath::new(path).ok();
        path.is_some_and(|path| fs.node(&path).is_ok_and(|node| node.kind != NodeKind::Other))
    };
    MARKS.iter().filter(|(path, _)| is_there(path)).map(|(_, weight)| weight).sum()
}

fn top() -> FilePath {
    FilePath::new("/").expect("it is a path")
}

/// Whether a device is a whole disk, a partition and so on: lsblk's word.
pub fn lsblk_kind(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Disk => "disk",
        DeviceKind::Partition => "part",
        DeviceKind::Lvm => "lvm",
        DeviceKind::Raid => "raid",
    }
}

/// Any bytes as a guest's table of mounts.
pub(crate) fn fuzz(bytes: &[u8]) {
    for line in fstab::lines(bytes) {
        let _ = (line.shown_at(), line.is_on_disk(), fstab::device(&Layout::default(), &line.what));
    }
}

#[cfg(test)]
mod tests;
