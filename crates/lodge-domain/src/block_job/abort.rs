//! `virsh blockjob --abort`: a job is ended before its last step. The disk stays on the files it is on.

use super::{BlockJob, Stage, follow, job_of, layers, position, start};
use crate::control::{Change, Refusal, Running, Scope};

/// Ends the job of a disk; `wait`: until it has ended.
pub fn abort(disk: String, wait: bool) -> Change {
    Change::new("blockjob", Scope::LIVE).live(move |mut guest| async move {
        let outcome = run(&mut guest, &disk, wait).await;
        (guest, outcome)
    })
}

async fn run(guest: &mut Running, wanted: &str, wait: bool) -> Result<(), Refusal> {
    let mut job = job_of(guest, wanted)?;
    refuse_ending(&job)?;
    job.stage = Stage::Aborting;
    start::note(guest, &job)?;
    let mut ends = follow::Ends::of(guest);
    guest.monitor.block_job_cancel(&job.id).await?;
    let at = position(guest, &job.target)?;
    layers::mark_mirror(&mut guest.document.devices.disks[at], "abort");
    if wait {
        ends.concluded(guest, &mut job).await?;
        super::finish::finish(guest, job, None).await?;
    }
    Ok(())
}

/// Refuses what comes after the end was asked for.
pub(super) fn refuse_ending(job: &BlockJob) -> Result<(), Refusal> {
    match job.stage {
        Stage::Aborting | Stage::Pivoting => {
            let text = format!("block job on disk '{}' is still being ended", job.target);
            Err(Refusal::invalid(text))
        }
        Stage::Running | Stage::Ready => Ok(()),
    }
}
