//! What all block jobs begin with: noted first, then told to QEMU; what is not begun leaves no trace.

use lodge_model::domain::disk::Disk;
use lodge_qemu::qmp::MonitorError;

use super::layers::{hide_mirror, layers, paths};
use super::{BlockJob, BlockJobKind, BlockJobs, Layer, Stage, open};
use crate::control::{Refusal, Running};

/// A job that is not begun.
pub(super) fn planned(disk: &Disk, kind: BlockJobKind, word: &str, node: &str) -> BlockJob {
    let target = disk.target.dev.clone();
    BlockJob {
        id: format!("{word}-{target}-{node}"),
        target,
        kind,
        stage: Stage::Running,
        delete: false,
        opened: Vec::new(),
        into: None,
        copy: Vec::new(),
        expected: Vec::new(),
        held: false,
        failure: None,
    }
}

/// Notes the job.
pub(super) fn note(guest: &Running, job: &BlockJob) -> Result<(), Refusal> {
    let noted = BlockJobs::read(&guest.dir).put(job.clone());
    noted.map_err(|error| Refusal::internal(format!("cannot note block job '{}': {error}", job.id)))
}

/// Begins a job that is noted; if QEMU refuses, nothing of it is left.
pub(super) async fn begun(
    guest: &mut Running,
    job: &BlockJob,
    answer: Result<(), MonitorError>,
) -> Result<(), Refusal> {
    let Err(error) = answer else {
        tracing::info!(domain = %guest.entry.name(), job = job.id, "block job started");
        return Ok(());
    };
    // Without an answer it may have begun: what QEMU has is followed.
    if matches!(error, MonitorError::Refused { .. }) {
        give_up(guest, job).await;
    }
    Err(error.into())
}

/// Takes back what was prepared for the job.
pub(super) async fn give_up(guest: &mut Running, job: &BlockJob) {
    take_back(guest, job).await;
    lodge_qemu::sweep_nodes(&guest.monitor).await;
    if !job.copy.is_empty()
        && let Err(error) = guest.shared.ports.volumes.give_back(guest.id, &paths(&job.copy)).await
    {
        tracing::warn!(domain = %guest.id, %error, "the locks of a copy were not given back");
    }
    if let Err(error) = BlockJobs::read(&guest.dir).forget(&job.id) {
        tracing::warn!(domain = %guest.id, %error, "a block job that was not begun is still noted");
    }
}

/// Takes back descriptors for writing, and the locks that went with them.
pub(super) async fn take_back(guest: &mut Running, job: &BlockJob) {
    let disks = &mut guest.document.devices.disks;
    let Some(disk) = disks.iter_mut().find(|disk| disk.target.dev == job.target) else { return };
    hide_mirror(disk);
    let disk = disk.clone();
    let layers = layers(&disk).unwrap_or_default();
    open::mend(guest, Some(&job.id)).await;
    if !layers.is_empty() {
        open::settle_locks(guest, &paths(&layers), &disk).await;
    }
}

/// The node that the guest's device is on: the disk's own, or a filter above it.
pub(super) async fn device_node(guest: &Running, disk: &Disk) -> Result<String, Refusal> {
    let names = chain_of(guest, disk).await?;
    let target = &disk.target.dev;
    names.into_iter().next().ok_or_else(|| Refusal::internal(format!("QEMU has no node for disk '{target}'")))
}

/// The nodes under the disk's device, the highest first.
pub(super) async fn chain_of(guest: &Running, disk: &Disk) -> Result<Vec<String>, Refusal> {
    let alias = disk.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
    let chains = guest.monitor.block_chains().await?;
    let found = chains.into_iter().find(|(place, _)| place.split('/').any(|part| part == alias));
    let target = &disk.target.dev;
    found.map(|(_, names)| names).ok_or_else(|| Refusal::internal(format!("QEMU has no disk '{target}'")))
}

/// Files of the guest's disk and of its copy.
pub(super) fn all_layers(disk: &Disk, job: &BlockJob) -> Result<Vec<Layer>, Refusal> {
    let mut all = layers(disk)?;
    all.extend(
        job.copy
            .iter()
            .filter(|layer| !all.iter().any(|known| known.index == layer.index))
            .cloned()
            .collect::<Vec<_>>(),
    );
    Ok(all)
}
