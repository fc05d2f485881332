//! The last word before a block job's end: what it has written is made durable, and then QEMU may change headers, and
//! which file stands on which.
//!
//! ```text
//!  running ──▶ (ready ──▶ told to change over) ──▶ pending ──▶ flushed, or held ──▶ finalized ──▶ concluded
//!                                                     └─ cannot be written back ──▶ cancelled ───────┘
//! ```
//!
//! Where the host cannot keep what the job has written, the job fails with that cause, and the disk stays on the files
//! it was on: no header names fewer of them while their bytes are in no other.
//!
//! Whoever dies while a job is pending leaves the disk on the files it was on: a new daemon begins here again, a QEMU
//! that is killed takes nothing along. A job that another daemon began may end without this: `finish` flushes then.

use std::fs::File;
use std::io;
use std::path::PathBuf;
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
    if job.failure.is_some() || job.stage == Stage::Aborting && !job.kind.pivots() {
        // QEMU has not heard of it before, or it would not have come so far.
        return Ok(guest.monitor.block_job_cancel(&job.id).await?);
    }
    if !job.kind.pivots() {
        let disk = &guest.document.devices.disks[position(guest, &job.target)?];
        let written = layers(disk)?;
        if let Err(cause) = flush(guest, &written).await {
            tracing::error!(domain = %guest.entry.name(), job = job.id, cause, "a block job's bytes are not durable: it is ended");
            // Noted first: an error of writing back is told once, so another daemon would not see it.
            job.failure = Some(cause);
            start::note(guest, job)?;
            return Ok(guest.monitor.block_job_cancel(&job.id).await?);
        }
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
/// alone: killed, it would take them along, and a guest that is idle flushes nothing. QMP has no word for it. The error
/// is what is wrong and where.
///
/// QEMU stands still meanwhile, and its guest with it: what the host has in its cache is written before that, by us.
///
/// QEMU does not say whether it could (`qemu-io` prints to QEMU's own output, and of a flush nothing at all). The kernel
/// tells each descriptor of every error of writing back since it was opened, whoever's call found it: those that are
/// opened before are asked again behind it.
pub(super) async fn flush(guest: &Running, layers: &[Layer]) -> Result<(), String> {
    let files = paths(layers);
    let opened = blocking(move || files.into_iter().filter_map(open).collect::<Vec<_>>()).await;
    let opened = write_back(guest, opened).await?;
    for layer in layers {
        let asked = guest.monitor.human(&format!("qemu-io {} flush", layer.node())).await;
        let said = asked.map_err(|error| format!("cannot flush '{}': {error}", layer.path))?;
        if !said.trim().is_empty() {
            return Err(format!("cannot flush '{}': {}", layer.path, said.trim()));
        }
    }
    write_back(guest, opened).await.map(drop)
}

/// What the daemon cannot open is left to QEMU.
fn open(path: PathBuf) -> Option<(PathBuf, File)> {
    match File::open(&path) {
        Ok(file) => Some((path, file)),
        Err(error) => {
            tracing::debug!(file = %path.display(), %error, "left to QEMU to flush");
            None
        }
    }
}

/// Has the host write what it has cached; gives the files back where it could.
async fn write_back(guest: &Running, files: Vec<(PathBuf, File)>) -> Result<Vec<(PathBuf, File)>, String> {
    let work = blocking(move || {
        for (path, file) in &files {
            if let Err(error) = file.sync_data()
                && !has_no_cache(&error)
            {
                return Err(format!("cannot write back '{}': {error}", path.display()));
            }
        }
        Ok(files)
    });
    let Ok(written) = tokio::time::timeout(WRITING_BACK, work).await else {
        tracing::warn!(domain = %guest.entry.name(), "what the host has cached of a disk is written back slowly");
        return Ok(Vec::new());
    };
    written
}

/// What is there has nothing to write back (fsync(2)).
fn has_no_cache(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::ReadOnlyFilesystem)
}
