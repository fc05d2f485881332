//! Descriptors for writing: QEMU has what lies below a disk for reading only, until a job is to write it.
//!
//! A layer's descriptors are a set in QEMU, which takes the one it needs by itself (`auto-read-only`).
//!
//! Of a raw file (plain, or a LUKS container) it would take now this and now that one while the job ends, and QEMU leaves
//! its locks on the one it leaves. The set keeps that one open, and so the locks: QEMU then finds the file locked, by
//! itself, where it does not expect an error, and aborts (10.0.2: `Failed to get shared "write" lock`). A qcow2 takes the
//! right to write as long as it may, whoever uses it, and so never changes. Raw files are held for writing during a job:
//! QEMU has no other descriptor then, and may not let go of this one.
//!
//! ```text
//!  set {rdonly}, auto-read-only ─▶ {rdonly, rdwr} ─▶ reopened, not auto-read-only ─▶ {rdwr} ─▶ job ─┬▶ the guest's own
//!            ▲                                                                                      │
//!            └── {rdonly} ◀── reopened, auto-read-only ◀── {rdonly (a new one), rdwr} ◀── below still ┘
//! ```
//!
//! What is to be given or closed is seen by what QEMU has, not remembered ([`mend`], [`hold`]): so what failed, or what
//! a daemon that died left, is done by the next that comes by: before a job, at its end, when a daemon starts.

use std::fs::{File, Metadata};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use lodge_model::domain::disk::{CacheMode, Disk};
use lodge_qemu::qmp::{BlockNode, FdSet, InSet};
use lodge_qemu::reopened_file;

use super::layers::{layers, paths};
use super::{BlockJobKind, BlockJobs, Layer};
use crate::control::device::alone;
use crate::control::{Refusal, Running};
use crate::define::blocking;

/// What a layer's descriptor is called that only reads.
const FOR_READING: &str = "rdonly";
/// What one is called that writes, too.
const FOR_WRITING: &str = "rdwr";

/// What QEMU has open of a guest's disks.
struct Open {
    nodes: Vec<BlockNode>,
    sets: Vec<FdSet>,
}

/// The descriptors of one layer's file, by their numbers inside QEMU.
struct Set {
    number: u32,
    reading: Vec<i32>,
    writing: Vec<i32>,
}

impl Set {
    fn at(&self, fd: i32) -> InSet {
        InSet { set: self.number, fd }
    }
}

impl Open {
    async fn of(guest: &Running) -> Result<Self, Refusal> {
        Ok(Self { nodes: guest.monitor.block_nodes().await?, sets: guest.monitor.fdsets().await? })
    }

    /// The node of the layer's file.
    fn node(&self, layer: &Layer) -> Result<&BlockNode, Refusal> {
        let node = self.nodes.iter().find(|node| node.node_name == layer.storage());
        node.ok_or_else(|| Refusal::internal(format!("QEMU has no node '{}'", layer.storage())))
    }

    /// `None`: QEMU has opened the file by its name (a libvirt daemon started the guest).
    fn set(&self, node: &BlockNode) -> Option<Set> {
        let number = node.file.strip_prefix("/dev/fdset/")?.parse().ok()?;
        let fds = || self.sets.iter().filter(|known| known.fdset_id == number).flat_map(|known| &known.fds);
        let called = |name: &str| {
            fds().filter(|fd| fd.opaque.as_deref() == Some(name)).map(|fd| fd.fd).collect::<Vec<_>>()
        };
        Some(Set { number, reading: called(FOR_READING), writing: called(FOR_WRITING) })
    }
}

/// Lets QEMU write the `at`th layer, and takes its file for the guest so; `besides`: other files that may stand on it.
/// Gives the descriptor that QEMU was given for it.
/// `None`: it has one already (the file was the disk's own once), or opens the file by its name (a libvirt daemon started
/// the guest).
pub(super) async fn writable(
    guest: &Running,
    disk: &Disk,
    layers: &[Layer],
    at: usize,
    besides: &[PathBuf],
) -> Result<Option<(u32, InSet)>, Refusal> {
    let layer = &layers[at];
    let open = Open::of(guest).await?;
    let node = open.node(layer)?;
    let (path, mut overlays) = (PathBuf::from(&layer.path), paths(&layers[..at]));
    overlays.extend_from_slice(besides);
    let fd = guest.shared.ports.volumes.open_backing(guest.id, &path, &overlays).await?;
    let Some(set) = open.set(node) else { return Ok(None) };
    let fd = same_file(guest, &set, fd, layer).await?;
    if node.ro {
        let text = format!("'{}' was opened for reading only; start the guest anew", layer.path);
        return Err(Refusal::unsupported(text));
    }
    if set.reading.is_empty() && !set.writing.is_empty() {
        return Ok(None);
    }
    let is_raw = layer.format == "raw";
    if is_raw {
        refuse_standing(guest, layer).await?;
    }
    if bypasses_cache(disk) {
        bypass_cache(&fd, &path)?;
    }
    let added = guest.monitor.add_fd(set.number, FOR_WRITING, fd).await?;
    if is_raw && let Err(refusal) = pin(guest, disk, node, &set).await {
        // Whatever came of it: as it was.
        mend(guest, None).await;
        return Err(refusal);
    }
    Ok(Some((layer.index, InSet { set: added.fdset_id, fd: added.fd })))
}

/// Refuses a file that has taken the place of the one that QEMU has open: it would get the bytes, by the old one's tables.
async fn same_file(guest: &Running, set: &Set, fd: OwnedFd, layer: &Layer) -> Result<OwnedFd, Refusal> {
    let Some(number) = set.reading.first().or(set.writing.first()) else { return Ok(fd) };
    let known = PathBuf::from(format!("/proc/{}/fd/{number}", guest.pid));
    let looked = blocking(move || {
        let file = File::from(fd);
        // What the host does not let us see is left to those who keep the files apart.
        let is_same = match (file.metadata(), std::fs::metadata(known)) {
            (Ok(file), Ok(known)) => identity(&file) == identity(&known),
            _ => true,
        };
        is_same.then(|| OwnedFd::from(file))
    });
    looked.await.ok_or_else(|| {
        let text = format!("'{}' is another file than the one that the guest runs on", layer.path);
        Refusal::invalid(text)
    })
}

fn identity(file: &Metadata) -> (u64, u64) {
    if file.file_type().is_block_device() { (0, file.rdev()) } else { (file.dev(), file.ino()) }
}

/// Refuses a raw file where QEMU would not let go of the descriptor that reads: before 10 (seen with 7.2) it does only
/// while the guest's processors run, and then finds itself in its own way.
async fn refuse_standing(guest: &Running, layer: &Layer) -> Result<(), Refusal> {
    let version = guest.monitor.version().await?.qemu;
    if version.at_least(10, 0) || guest.monitor.status().await?.running {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "QEMU {}.{} takes the raw file '{}' for writing only while the guest runs: resume it first",
        version.major, version.minor, layer.path
    )))
}

fn bypasses_cache(disk: &Disk) -> bool {
    let cache = disk.driver.as_deref().and_then(|driver| driver.cache);
    matches!(cache, Some(CacheMode::None | CacheMode::DirectSync))
}

/// QEMU takes a descriptor of a disk with `cache='none'` only so.
fn bypass_cache(fd: &OwnedFd, path: &Path) -> Result<(), Refusal> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let set = fcntl_getfl(fd).and_then(|flags| fcntl_setfl(fd, flags | OFlags::DIRECT));
    set.map_err(|error| {
        Refusal::internal(format!("cannot bypass the cache of '{}': {error}", path.display()))
    })
}

/// Has QEMU hold the file of a raw layer for writing until it is told otherwise.
async fn pin(guest: &Running, disk: &Disk, node: &BlockNode, set: &Set) -> Result<(), Refusal> {
    guest.monitor.blockdev_reopen(reopened_file(disk, &node.drv, &node.file, &node.node_name, true)).await?;
    for fd in &set.reading {
        guest.monitor.remove_fd(set.at(*fd)).await?;
    }
    Ok(())
}

/// Holds raw files for writing that jobs write without: a daemon that did not know of this began them.
pub(super) async fn hold(guest: &Running) {
    let jobs = BlockJobs::read(&guest.dir);
    let commits = |kind| matches!(kind, BlockJobKind::Commit | BlockJobKind::ActiveCommit);
    let mut due = Vec::new();
    for job in jobs.all().iter().filter(|job| commits(job.kind)) {
        let disk = guest.document.devices.disks.iter().find(|disk| disk.target.dev == job.target);
        let Some((disk, layers)) = disk.and_then(|disk| Some((disk, layers(disk).ok()?))) else { continue };
        let is_due = |layer: &Layer| {
            layer.format == "raw" && job.opened.iter().any(|(index, _)| *index == layer.index)
        };
        due.extend(layers.into_iter().filter(is_due).map(|layer| (disk, layer)));
    }
    if due.is_empty() {
        return;
    }
    let held = async {
        let open = Open::of(guest).await?;
        for (disk, layer) in &due {
            let node = open.node(layer)?;
            if let Some(set) = open.set(node)
                && !set.reading.is_empty()
                && !set.writing.is_empty()
            {
                pin(guest, disk, node, &set).await?;
                tracing::info!(domain = %guest.entry.name(), file = layer.path, "an earlier daemon's block job has its file for writing alone");
            }
        }
        Ok::<_, Refusal>(())
    };
    if let Err(refusal) = held.await {
        tracing::warn!(domain = %guest.entry.name(), error = refusal.text, "QEMU may end with an earlier daemon's block job");
    }
}

/// Closes what QEMU has open for writing and no job needs: files below disks, and what disks have twice. `ended`: the job
/// that is over. What cannot be closed is told, and tried again when this comes by next.
pub(super) async fn mend(guest: &Running, ended: Option<&str>) {
    let open = match Open::of(guest).await {
        Ok(open) => open,
        Err(refusal) => {
            return tracing::debug!(domain = %guest.id, error = refusal.text, "QEMU's descriptors not looked at");
        }
    };
    let jobs = BlockJobs::read(&guest.dir);
    for disk in &guest.document.devices.disks {
        let is_busy = jobs.of(&disk.target.dev).is_some_and(|job| Some(job.id.as_str()) != ended);
        let Some(layers) = layers(disk).ok().filter(|_| !is_busy) else { continue };
        for (at, layer) in layers.iter().enumerate() {
            let Ok(node) = open.node(layer) else { continue };
            let Some(set) = open.set(node) else { continue };
            let done = if at == 0 {
                spare_one(guest, &set).await
            } else {
                shut(guest, disk, layer, node, &set).await
            };
            if let Err(refusal) = done {
                let file = &layer.path;
                tracing::warn!(domain = %guest.entry.name(), file, error = refusal.text, "QEMU keeps a file open for writing; it is tried again");
            }
        }
    }
}

/// Closes all descriptors for writing but one.
async fn spare_one(guest: &Running, set: &Set) -> Result<(), Refusal> {
    for fd in set.writing.iter().skip(1) {
        guest.monitor.remove_fd(set.at(*fd)).await?;
    }
    Ok(())
}

/// Has QEMU open a layer below a disk for writing only while somebody writes, as at the start.
async fn shut(
    guest: &Running,
    disk: &Disk,
    layer: &Layer,
    node: &BlockNode,
    set: &Set,
) -> Result<(), Refusal> {
    if set.writing.is_empty() {
        return Ok(());
    }
    let is_raw = layer.format == "raw";
    if !is_raw && set.reading.is_empty() {
        // It was the disk's own once: there is no other.
        return spare_one(guest, set).await;
    }
    if is_raw {
        let added =
            if set.reading.is_empty() { Some(add_reading(guest, disk, layer, set).await?) } else { None };
        let back = reopened_file(disk, &node.drv, &node.file, &node.node_name, false);
        if let Err(error) = guest.monitor.blockdev_reopen(back).await {
            if let Some(added) = added {
                let _ = guest.monitor.remove_fd(added).await;
            }
            return Err(error.into());
        }
    }
    for fd in &set.writing {
        guest.monitor.remove_fd(set.at(*fd)).await?;
    }
    Ok(())
}

async fn add_reading(guest: &Running, disk: &Disk, layer: &Layer, set: &Set) -> Result<InSet, Refusal> {
    let path = PathBuf::from(&layer.path);
    let opened = blocking(move || File::open(path)).await;
    let fd = opened.map_err(|error| Refusal::internal(format!("cannot open '{}': {error}", layer.path)))?;
    let fd = same_file(guest, set, fd.into(), layer).await?;
    if bypasses_cache(disk) {
        bypass_cache(&fd, Path::new(&layer.path))?;
    }
    let added = guest.monitor.add_fd(set.number, FOR_READING, fd).await?;
    Ok(InSet { set: added.fdset_id, fd: added.fd })
}

/// The locks follow: the disk stood on `before`, and on what the document says now.
pub(crate) async fn settle_locks(guest: &Running, before: &[PathBuf], disk: &Disk) {
    let devices = lodge_model::domain::devices::Devices { disks: vec![disk.clone()], ..Default::default() };
    let with = alone(guest, devices);
    if let Err(error) = guest.shared.ports.volumes.restack(guest.id, before, &with).await {
        let error = crate::error::chain(&error);
        tracing::warn!(domain = %guest.id, disk = disk.target.dev, error, "a disk's locks did not follow its files");
    }
}
