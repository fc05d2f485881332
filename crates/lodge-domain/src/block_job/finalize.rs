//! The last word before a block job's end: what it has written is made durable, and then QEMU may change headers, and
//! which file stands on which.
//!
//! ```text
//!  running ──▶ (ready ──▶ told to change over) ──▶ pending ──▶ flushed, or held ──▶ finalized ──▶ concluded
//! ```
//!
//! Whoever dies while a job is pending leaves the disk on the files it was on: a new daemon begins here again, a QEMU
//! that is killed takes nothing along. A job that another daemon began may end without this: `finish` flushes then.

use std::time::Duration;

use lodge_qemu::qmp::JobStatus;

use super::layers::{layers, paths};
use super::{BlockJob, Layer, Stage, finish, position, start};
use crate::control::{Refusal, Running};
use crate::define::blocking;

/// How long the host may take to write back what it has cached: a file server that is stuck must not hold a guest's
/// owner for ever.
const WRITING_BACK: Duration = Duration::from_mins(1);

/// Lets a job end that waits for that; one that does not is let be. It has ended when this returns.
pub(super) async fn finalize(guest: &mut Running, job: &mut BlockJob) -> Result<(), Refusal> {
    // An event may be told late.
    if !is_pending(guest, job).await? {
        return Ok(());
    }
    if job.stage == Stage::Aborting && !job.kind.pivots() {
        // QEMU has not heard of it before, or it would not have come so far.
        return Ok(guest.monitor.block_job_cancel(&job.id).await?);
    }
    if !job.kind.pivots() {
        let disk = &guest.document.devices.disks[position(guest, &job.target)?];
        let written = layers(disk)?;
        flush(guest, &written).await;
    } else if job.stage != Stage::Aborting {
        // QEMU has flushed the other file and lets nothing through to either.
        hold(guest, job).await?;
    }
    let Err(error) = guest.monitor.job_finalize(&job.id).await else { return Ok(()) };
    // Of a job that finalizes by itself this may be seen for a moment.
    if !is_pending(guest, job).await? {
        return Ok(());
    }
    finish::go_on(guest, job).await;
    start::note(guest, job)?;
    Err(error.into())
}

async fn is_pending(guest: &Running, job: &BlockJob) -> Result<bool, Refusal> {
    let jobs = guest.monitor.jobs().await?;
    Ok(jobs.iter().any(|known| known.id == job.id && known.status == JobStatus::Pending))
}

/// Holds the processors, if they are not: until the definition names the new file, nothing may be written to it.
async fn hold(guest: &Running, job: &mut BlockJob) -> Result<(), Refusal> {
    if !guest.monitor.status().await?.running {
        return Ok(());
    }
    job.held = true;
    start::note(guest, job)?;
    Ok(guest.monitor.stop().await?)
}

/// Has QEMU write what it keeps of the layers' tables. Where the bytes lie that a job has brought may be in its memory
/// alone: killed, it would take them along, and a guest that is idle flushes nothing. QMP has no word for it.
///
/// QEMU stands still meanwhile, and its guest with it: what the host has in its cache is written before that, by us.
pub(super) async fn flush(guest: &Running, layers: &[Layer]) {
    let files = paths(layers);
    let cached = move || {
        for file in files {
            if let Err(error) = std::fs::File::open(&file).and_then(|open| open.sync_data()) {
                tracing::debug!(file = %file.display(), %error, "left to QEMU to flush");
            }
        }
    };
    if tokio::time::timeout(WRITING_BACK, blocking(cached)).await.is_err() {
        tracing::warn!(domain = %guest.entry.name(), "what the host has cached of a disk is written back slowly");
    }
    for layer in layers {
        let node = layer.node();
        if let Err(error) = guest.monitor.human(&format!("qemu-io {node} flush")).await {
            tracing::warn!(domain = %guest.entry.name(), node, %error, "a layer was not flushed");
        }
    }
}
