//! The end of a block job: what the disk stands on now, in both documents; locks, nodes and files that are left over.
//!
//! Each step may be done twice: the job is dismissed and forgotten after all else, so a daemon that dies before finds
//! it and begins here again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lodge_model::domain::Domain;
use lodge_model::domain::disk::Disk;
use lodge_model::xml::WriteOptions;

use super::layers::{hide_mirror, layers, paths, restack};
use super::{
    BlockJob, BlockJobKind, BlockJobStatus, BlockJobs, Layer, Stage, finalize, follow, open, position, start,
};
use crate::control::{LIVE, Refusal, Running};
use crate::define::{blocking, parse_inactive};
use crate::record::replace;
use crate::vmm::LIVE_XML;

/// Ends a job that has concluded. `told`: why it failed, where that was told. Gives QEMU's words if it failed.
pub(super) async fn finish(
    guest: &mut Running,
    job: BlockJob,
    told: Option<String>,
) -> Result<Option<String>, Refusal> {
    let id = job.id.clone();
    let outcome = settle(guest, job, told).await?;
    forget(&guest.dir, &id);
    Ok(outcome)
}

/// Nobody sees the job any more.
pub(crate) fn forget(guest_dir: &Path, id: &str) {
    if let Err(error) = BlockJobs::read(guest_dir).forget(id) {
        tracing::warn!(guest = %guest_dir.display(), job = id, %error, "a block job that ended is still noted");
    }
}

/// The same, but the job stays noted. It is to be forgotten when readers have the documents: who polls a job until it is
/// gone looks next at what it left.
pub(super) async fn settle(
    guest: &mut Running,
    mut job: BlockJob,
    told: Option<String>,
) -> Result<Option<String>, Refusal> {
    let known = guest.monitor.jobs().await?.into_iter().find(|known| known.id == job.id);
    let is_known = known.is_some();
    let at = position(guest, &job.target)?;
    let old = guest.document.devices.disks[at].clone();
    let (before, all) = (layers(&old)?, start::all_layers(&old, &job)?);
    let error = job.failure.clone().or_else(|| {
        let error = known.and_then(|known| known.error).or(told)?;
        Some(written_to(&job, &all).map_or(error.clone(), |path| format!("'{path}': {error}")))
    });
    let now = standing(guest, &old, &all).await?;
    // The headers that name other files now. Of a job that was not told to finalize, all it has written.
    if let Err(unkept) = finalize::flush(guest, &now).await {
        unkept.tell(&guest.entry.name(), &job.id);
    }
    let disk = &mut guest.document.devices.disks[at];
    restack(disk, &now, true);
    hide_mirror(disk);
    let disk = disk.clone();
    let numbers: Vec<u32> = now.iter().map(|layer| layer.index).collect();
    // A daemon may have died after the documents were written: by them nothing changes any more.
    let is_done = !job.expected.is_empty() && job.expected == numbers;
    let status = status(&job, is_known || is_done, error.as_deref(), before != now || is_done);
    if before != now && !is_done {
        job.expected = numbers;
        start::note(guest, &job)?;
    }
    // What the definition names must have all bytes before the guest writes on.
    keep(guest, &old, &now).await?;
    go_on(guest, &mut job).await;
    // A job that was not dismissed still has its nodes.
    if is_known && let Err(error) = guest.monitor.job_dismiss(&job.id).await {
        tracing::debug!(job = job.id, %error, "block job not dismissed");
    }
    lodge_qemu::sweep_nodes(&guest.monitor).await;
    open::mend(guest, Some(&job.id)).await;
    let mut held = paths(&before);
    held.extend(paths(&job.copy));
    open::settle_locks(guest, &held, &disk).await;
    if job.delete && status == BlockJobStatus::Completed {
        delete(guest, left_over(&before, &now)).await;
    }
    let path = disk.path().unwrap_or_default().to_owned();
    let failed = (status == BlockJobStatus::Failed)
        .then(|| error.unwrap_or_else(|| "QEMU does not know it".to_owned()));
    follow::tell(guest, &job, path, status, failed.as_deref());
    Ok(failed)
}

/// The file that the job fills.
fn written_to<'a>(job: &BlockJob, all: &'a [Layer]) -> Option<&'a str> {
    let index = match job.kind {
        BlockJobKind::Pull => all.first()?.index,
        BlockJobKind::Copy => job.copy.first()?.index,
        // Earlier daemons noted only what was opened, the lower one first.
        BlockJobKind::Commit | BlockJobKind::ActiveCommit => {
            job.into.or_else(|| job.opened.first().map(|(index, _)| *index))?
        }
    };
    all.iter().find(|layer| layer.index == index).map(|layer| layer.path.as_str())
}

fn status(job: &BlockJob, is_known: bool, error: Option<&str>, changed: bool) -> BlockJobStatus {
    match job.stage {
        Stage::Aborting if !changed => BlockJobStatus::Canceled,
        _ if error.is_some() => BlockJobStatus::Failed,
        _ if !is_known && !changed => BlockJobStatus::Failed,
        // Ended by somebody else, and the disk is where it was.
        _ if job.kind.pivots() && !changed => BlockJobStatus::Canceled,
        _ => BlockJobStatus::Completed,
    }
}

/// The layers that the disk stands on now, as QEMU has them.
async fn standing(guest: &Running, disk: &Disk, all: &[Layer]) -> Result<Vec<Layer>, Refusal> {
    let names = start::chain_of(guest, disk).await?;
    let standing: Vec<Layer> =
        names.iter().filter_map(|name| all.iter().find(|layer| layer.node() == *name).cloned()).collect();
    if standing.is_empty() {
        let target = &disk.target.dev;
        return Err(Refusal::internal(format!("QEMU tells no layers of disk '{target}' that are known")));
    }
    Ok(standing)
}

/// Keeps both documents: the definition where it means the same disk, and then the live one. Whoever comes after a crash
/// knows by the live document what the disk was, and so which disk the definition means.
async fn keep(guest: &mut Running, old: &Disk, now: &[Layer]) -> Result<(), Refusal> {
    define(guest, old, now).await?;
    let live = guest.document.to_xml(&LIVE);
    replace(&guest.dir.join(LIVE_XML), live.as_bytes()).map_err(|error| failed(&error))
}

async fn define(guest: &mut Running, old: &Disk, now: &[Layer]) -> Result<(), Refusal> {
    // An act of several jobs has changed it already.
    let definition = match &guest.definition {
        Some((_, domain)) => Some(Domain::clone(domain)),
        None => parse_inactive(&guest.entry).map_err(|error| failed(&error))?,
    };
    let Some((xml, domain)) = definition.and_then(|definition| amended(definition, old, now)) else {
        return Ok(());
    };
    let (definitions, name) = (guest.shared.config.store.domains().clone(), guest.entry.name());
    let text = Arc::clone(&xml);
    let written = blocking(move || definitions.put(&name, &text)).await;
    written.map_err(|error| failed(&error))?;
    guest.definition = Some((xml, Arc::new(domain)));
    Ok(())
}

fn failed(error: &dyn std::error::Error) -> Refusal {
    Refusal::internal(crate::error::chain(error))
}

/// The definition with the disk on `now`. `None`: it has no such disk, or says the same already.
fn amended(mut domain: Domain, old: &Disk, now: &[Layer]) -> Option<(Arc<str>, Domain)> {
    let same_source = |disk: &Disk| {
        let volume =
            |disk: &Disk| disk.source.as_deref().map(|source| (source.pool.clone(), source.volume.clone()));
        disk.kind == old.kind && disk.path() == old.path() && volume(disk) == volume(old)
    };
    let disks = &mut domain.devices.disks;
    let disk = disks.iter_mut().find(|disk| disk.target.dev == old.target.dev && same_source(disk))?;
    let before = disk.clone();
    let is_same_top = layers(old).is_ok_and(|layers| layers.first() == now.first());
    if is_same_top {
        // Only what lies below has changed, which most definitions do not say.
        disk.backing_store.as_ref()?;
    }
    let source = disk.source.clone();
    restack(disk, now, false);
    if is_same_top {
        disk.source = source;
        disk.kind = before.kind;
        disk.encryption.clone_from(&before.encryption);
    }
    if *disk == before {
        return None;
    }
    let xml: Arc<str> = domain.to_xml(&WriteOptions::STORED).into();
    Some((xml, domain))
}

/// The processors were held for the change over: they go on.
pub(super) async fn go_on(guest: &Running, job: &mut BlockJob) {
    if !std::mem::take(&mut job.held) {
        return;
    }
    if let Err(error) = guest.monitor.cont().await {
        tracing::error!(domain = %guest.entry.name(), %error, "the guest does not go on after its disk changed over");
    }
}

fn left_over(before: &[Layer], now: &[Layer]) -> Vec<PathBuf> {
    let gone = before.iter().filter(|layer| !now.iter().any(|known| known.index == layer.index));
    gone.filter(|layer| !layer.is_block).map(|layer| PathBuf::from(&layer.path)).collect()
}

/// Deletes files whose bytes are all in another one; what something else needs stays, and is told.
async fn delete(guest: &Running, files: Vec<PathBuf>) {
    // The uppermost first: each stands on the next.
    for file in files {
        if let Err(error) = guest.shared.ports.volumes.delete_layer(guest.id, &file).await {
            let error = crate::error::chain(&error);
            tracing::warn!(domain = %guest.entry.name(), file = %file.display(), error, "a committed file stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_job_ended() {
        let job = |kind, stage| BlockJob {
            id: "j".to_owned(),
            target: "vda".to_owned(),
            kind,
            stage,
            delete: false,
            opened: Vec::new(),
            into: None,
            copy: Vec::new(),
            expected: Vec::new(),
            held: false,
            failure: None,
        };
        use BlockJobKind::{ActiveCommit, Commit, Copy, Pull};
        for kind in [Pull, Copy, Commit, ActiveCommit] {
            let status =
                |stage, is_known, error, changed| status(&job(kind, stage), is_known, error, changed);
            assert_eq!(status(Stage::Running, true, None, true), BlockJobStatus::Completed);
            assert_eq!(status(Stage::Running, true, Some("no room"), false), BlockJobStatus::Failed);
            assert_eq!(status(Stage::Running, false, None, false), BlockJobStatus::Failed);
            assert_eq!(status(Stage::Running, false, None, true), BlockJobStatus::Completed);
            // It was done when it was to be aborted.
            assert_eq!(status(Stage::Aborting, true, None, true), BlockJobStatus::Completed);
            assert_eq!(status(Stage::Aborting, true, Some("cancelled"), false), BlockJobStatus::Canceled);
            let quiet = if kind.pivots() { BlockJobStatus::Canceled } else { BlockJobStatus::Completed };
            assert_eq!(status(Stage::Ready, true, None, false), quiet);
        }
    }
}
