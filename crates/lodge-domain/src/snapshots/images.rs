//! Snapshots inside qcow2 images that no QEMU has open: all images or none.

use std::path::PathBuf;
use std::time::Duration;

use lodge_model::domain::Domain;
use lodge_model::domain::os::FirmwareFormat;
use lodge_model::snapshot::{DomainSnapshot, Location, SnapshotSort};
use lodge_model::{DomainId, Kind};
use lodge_store::saga::Failure;
use lodge_sys::process::Process;

use super::refuse;
use crate::domains::Shared;
use crate::error::DomainError;
use crate::ports::{LockedFile, PortError, SnapshotVerb};

/// How long a QEMU whose monitor is lost may take to end.
const END: Duration = Duration::from_secs(2);

/// The images of the disks whose state is inside.
pub(super) fn of(snapshot: &DomainSnapshot, domain: &Domain) -> Result<Vec<PathBuf>, DomainError> {
    let mut images = Vec::new();
    for disk in snapshot.disks().iter().filter(|disk| disk.location() == Location::Internal) {
        let own = domain.devices.disks.iter().find(|own| own.target.dev == disk.name());
        let path = own.and_then(|own| own.path()).ok_or_else(|| {
            let text = format!("Disk device '{}' does not support snapshotting", disk.name());
            refuse(SnapshotSort::Invalid, text)
        })?;
        images.push(PathBuf::from(path));
    }
    Ok(images)
}

/// The file of UEFI variables, where it can have snapshots inside. `None` where a start has yet to make it.
pub(super) fn variables(domain: &Domain) -> Option<PathBuf> {
    let nvram = domain.os.nvram.as_deref().filter(|nvram| nvram.format == Some(FirmwareFormat::Qcow2))?;
    nvram.file().map(PathBuf::from).filter(|path| path.is_file())
}

/// Those of `images` that have a snapshot of that name. An image that is gone has none.
pub(super) async fn having(
    shared: &Shared,
    images: &[PathBuf],
    name: &str,
) -> Result<Vec<PathBuf>, PortError> {
    let mut found = Vec::new();
    for image in images {
        match shared.ports.volumes.image_snapshots(image).await {
            Ok(snapshots) if snapshots.iter().any(|snapshot| snapshot.name == name) => {
                found.push(image.clone());
            }
            Err(error) if error.kind != Kind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(found)
}

/// Images, and the files of their chains that are encrypted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Images<'a> {
    pub paths: &'a [PathBuf],
    pub keys: &'a [LockedFile],
}

/// Does `verb` in every image. Creating where it is, and deleting where it is not, is done already.
pub(super) async fn each(
    shared: &Shared,
    id: DomainId,
    verb: SnapshotVerb,
    images: Images<'_>,
    name: &str,
) -> Result<(), Failure> {
    let there = having(shared, images.paths, name).await.map_err(|error| failure(&error))?;
    for image in images.paths {
        let is_there = there.contains(image);
        let is_done = match verb {
            SnapshotVerb::Create => is_there,
            SnapshotVerb::Delete => !is_there,
            SnapshotVerb::Apply => false,
        };
        if !is_done {
            let done = shared.ports.volumes.snapshot_image(id, verb, image, name, images.keys).await;
            done.map_err(|error| failure(&error))?;
        }
    }
    Ok(())
}

pub(super) fn failure(error: &PortError) -> Failure {
    Failure::of(error.kind, error).with_hint(error.hint.clone())
}

/// QEMU has ended amid an act inside `images`, or may have: what that left in them is put right. Until then a cluster may
/// be counted for a snapshot that is not there.
pub(super) async fn mend(shared: &Shared, id: DomainId, name: &str, images: Images<'_>) {
    for image in images.paths {
        match shared.ports.volumes.mend_image(id, image, images.keys).await {
            Ok(()) => {
                tracing::info!(domain = name, path = %image.display(), "looked over after an act that was cut off");
            }
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => {
                let error = crate::error::chain(&error);
                tracing::warn!(domain = name, path = %image.display(), error, "what was cut off in an image stays there");
            }
        }
    }
}

/// As [`mend`], where an act failed whose guest was on: if QEMU has ended by now.
pub(super) async fn mend_after_end(
    shared: &Shared,
    id: DomainId,
    name: &str,
    process: &Process,
    images: Images<'_>,
) {
    if images.paths.is_empty() || !matches!(tokio::time::timeout(END, process.ended()).await, Ok(Ok(_))) {
        return;
    }
    // Its owner does so too, once this act is over.
    if let Err(error) = shared.ports.volumes.release(id).await {
        tracing::warn!(domain = name, error = %crate::error::chain(&error), "disks not given back");
    }
    mend(shared, id, name, images).await;
}
