//! Descriptors for writing: QEMU has what lies below a disk for reading only, until a job is to write it.
//!
//! A layer's descriptors are a set in QEMU, which takes the one it needs by itself (`auto-read-only`).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use lodge_model::domain::disk::{CacheMode, Disk};
use lodge_qemu::qmp::InSet;

use super::Layer;
use super::layers::paths;
use crate::control::device::alone;
use crate::control::{Refusal, Running};

/// Gives QEMU a descriptor for writing the `at`th layer, and takes its file for the guest so. `None`: QEMU opens the
/// file by its name (a libvirt daemon started the guest).
pub(super) async fn writable(
    guest: &Running,
    disk: &Disk,
    layers: &[Layer],
    at: usize,
) -> Result<Option<(u32, InSet)>, Refusal> {
    let layer = &layers[at];
    let nodes = guest.monitor.block_nodes().await?;
    let node = nodes.iter().find(|node| node.node_name == layer.storage());
    let node = node.ok_or_else(|| Refusal::internal(format!("QEMU has no node '{}'", layer.storage())))?;
    let (path, overlays) = (PathBuf::from(&layer.path), paths(&layers[..at]));
    let fd = guest.shared.ports.volumes.open_backing(guest.id, &path, &overlays).await?;
    let set = node.file.strip_prefix("/dev/fdset/").and_then(|set| set.parse().ok());
    let Some(set) = set else { return Ok(None) };
    if node.ro {
        let text = format!("'{}' was opened for reading only; start the guest anew", layer.path);
        return Err(Refusal::unsupported(text));
    }
    let driver = disk.driver.as_deref();
    if matches!(driver.and_then(|driver| driver.cache), Some(CacheMode::None | CacheMode::DirectSync)) {
        bypass_cache(&fd, &path)?;
    }
    let added = guest.monitor.add_fd(set, "rdwr", fd).await?;
    Ok(Some((layer.index, InSet { set: added.fdset_id, fd: added.fd })))
}

/// QEMU takes a descriptor of a disk with `cache='none'` only so.
fn bypass_cache(fd: &OwnedFd, path: &Path) -> Result<(), Refusal> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let set = fcntl_getfl(fd).and_then(|flags| fcntl_setfl(fd, flags | OFlags::DIRECT));
    set.map_err(|error| {
        Refusal::internal(format!("cannot bypass the cache of '{}': {error}", path.display()))
    })
}

/// Takes the descriptors back, but for that of the layer `but`, which is the guest's own now.
pub(super) async fn close(guest: &Running, opened: &[(u32, InSet)], but: Option<u32>) {
    for (_, fd) in opened.iter().filter(|(layer, _)| Some(*layer) != but) {
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
