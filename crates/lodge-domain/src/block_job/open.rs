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

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use lodge_model::domain::disk::{CacheMode, Disk};
use lodge_qemu::qmp::{BlockNode, InSet};
use lodge_qemu::reopened_file;

use super::layers::paths;
use super::{BlockJob, Layer};
use crate::control::device::alone;
use crate::control::{Refusal, Running};
use crate::define::blocking;

/// What a layer's descriptor is called that only reads.
const FOR_READING: &str = "rdonly";

/// What was opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    layer: u32,
    fd: InSet,
    is_pinned: bool,
}

impl BlockJob {
    /// Keeps in mind what was opened for it.
    pub(super) fn takes(&mut self, opened: Option<Opened>) {
        let Some(Opened { layer, fd, is_pinned }) = opened else { return };
        self.opened.push((layer, fd));
        self.pinned.extend(is_pinned.then_some(layer));
    }
}

/// Gives QEMU a descriptor for writing the `at`th layer, and takes its file for the guest so. `besides`: files that may
/// stand on it. `None`: QEMU opens the file by its name (a libvirt daemon started the guest).
pub(super) async fn writable(
    guest: &Running,
    disk: &Disk,
    layers: &[Layer],
    at: usize,
    besides: &[PathBuf],
) -> Result<Option<Opened>, Refusal> {
    let layer = &layers[at];
    let nodes = guest.monitor.block_nodes().await?;
    let node = nodes.iter().find(|node| node.node_name == layer.storage());
    let node = node.ok_or_else(|| Refusal::internal(format!("QEMU has no node '{}'", layer.storage())))?;
    let (path, mut overlays) = (PathBuf::from(&layer.path), paths(&layers[..at]));
    overlays.extend_from_slice(besides);
    let fd = guest.shared.ports.volumes.open_backing(guest.id, &path, &overlays).await?;
    let set = node.file.strip_prefix("/dev/fdset/").and_then(|set| set.parse().ok());
    let Some(set) = set else { return Ok(None) };
    if node.ro {
        let text = format!("'{}' was opened for reading only; start the guest anew", layer.path);
        return Err(Refusal::unsupported(text));
    }
    if bypasses_cache(disk) {
        bypass_cache(&fd, &path)?;
    }
    let added = guest.monitor.add_fd(set, "rdwr", fd).await?;
    let fd = InSet { set: added.fdset_id, fd: added.fd };
    let pinned = if layer.format == "raw" { pin(guest, disk, node, set).await } else { Ok(false) };
    match pinned {
        Ok(is_pinned) => Ok(Some(Opened { layer: layer.index, fd, is_pinned })),
        Err(refusal) => {
            if let Err(error) = guest.monitor.remove_fd(fd).await {
                tracing::debug!(domain = %guest.id, %error, "a descriptor was not taken back from QEMU");
            }
            Err(refusal)
        }
    }
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

/// Has QEMU hold the file of a raw layer for writing until it is told otherwise; whether that was to be done.
async fn pin(guest: &Running, disk: &Disk, node: &BlockNode, set: u32) -> Result<bool, Refusal> {
    let sets = guest.monitor.fdsets().await?;
    let fds = sets.into_iter().filter(|known| known.fdset_id == set).flat_map(|known| known.fds);
    let fds: Vec<_> = fds.filter(|fd| fd.opaque.as_deref() == Some(FOR_READING)).collect();
    if fds.is_empty() {
        // It is the disk's own, or was that once.
        return Ok(false);
    }
    guest.monitor.blockdev_reopen(reopened_file(disk, &node.drv, &node.file, &node.node_name, true)).await?;
    for fd in fds {
        guest.monitor.remove_fd(InSet { set, fd: fd.fd }).await?;
    }
    Ok(true)
}

/// Has QEMU open the file for writing only while somebody writes, as before [`pin`].
async fn unpin(guest: &Running, disk: &Disk, layer: &Layer, set: u32) -> Result<(), Refusal> {
    let path = PathBuf::from(&layer.path);
    let opened = blocking(move || File::open(path)).await;
    let fd = opened.map_err(|error| Refusal::internal(format!("cannot open '{}': {error}", layer.path)))?;
    let fd = OwnedFd::from(fd);
    if bypasses_cache(disk) {
        bypass_cache(&fd, Path::new(&layer.path))?;
    }
    let nodes = guest.monitor.block_nodes().await?;
    let node = nodes.iter().find(|node| node.node_name == layer.storage());
    let node = node.ok_or_else(|| Refusal::internal(format!("QEMU has no node '{}'", layer.storage())))?;
    let added = guest.monitor.add_fd(set, FOR_READING, fd).await?;
    let node = reopened_file(disk, &node.drv, &node.file, &node.node_name, false);
    if let Err(error) = guest.monitor.blockdev_reopen(node).await {
        let _ = guest.monitor.remove_fd(InSet { set: added.fdset_id, fd: added.fd }).await;
        return Err(error.into());
    }
    Ok(())
}

/// Takes the job's descriptors back, but for that of the layer `but`, which is the guest's own now. `layers`: all that
/// the job had to do with.
pub(super) async fn close(guest: &Running, job: &BlockJob, disk: &Disk, layers: &[Layer], but: Option<u32>) {
    for (index, fd) in job.opened.iter().filter(|(index, _)| Some(*index) != but) {
        let pinned = layers.iter().find(|layer| layer.index == *index && job.pinned.contains(index));
        if let Some(layer) = pinned
            && let Err(refusal) = unpin(guest, disk, layer, fd.set).await
        {
            let file = &layer.path;
            tracing::warn!(domain = %guest.id, file, error = refusal.text, "QEMU keeps a file open for writing");
            continue;
        }
        if let Err(error) = guest.monitor.remove_fd(*fd).await {
            tracing::debug!(domain = %guest.id, %error, "a descriptor was not taken back from QEMU");
        }
    }
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
