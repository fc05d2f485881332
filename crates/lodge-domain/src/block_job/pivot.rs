//! `virsh blockjob --pivot`: a job that is ready takes its last step, and the disk is on another file.
//!
//! ```text
//!  note ─▶ hold the processors ─▶ QEMU makes both the same ─▶ and changes over ─▶ documents name the new file ─▶ the processors go on
//! ```
//!
//! Held, so that a crash at any point leaves a definition whose file has all that the guest was told is written: until
//! the definition names the new file both have the same bytes. It takes some milliseconds.

use std::time::Duration;

use super::{BlockJob, BlockJobs, Stage, abort, finish, follow, job_of, layers, position, start};
use crate::control::{Change, Refusal, Running, Scope, Sort};

/// How long a guest is held while both become the same; then it goes on, and is held again for the change over alone.
const HOLD: Duration = Duration::from_secs(10);

/// Ends the job of a disk with its last step; `wait`: until it has ended.
pub fn pivot(disk: String, wait: bool) -> Change {
    Change::new("blockjob", Scope::LIVE).live(move |mut guest| async move {
        let outcome = run(&mut guest, &disk, wait).await;
        (guest, outcome)
    })
}

async fn run(guest: &mut Running, wanted: &str, wait: bool) -> Result<(), Refusal> {
    let job = job_of(guest, wanted)?;
    abort::refuse_ending(&job)?;
    let jobs = guest.monitor.block_jobs().await?;
    let is_ready = jobs.iter().any(|known| known.device == job.id && known.ready);
    if job.stage != Stage::Ready && !is_ready {
        let text = format!("block job '{}' not ready for pivot yet", job.id);
        return Err(Refusal::new(Sort::BlockJob, text));
    }
    if !job.kind.pivots() {
        let text = format!("job type '{}' does not support pivot", job.kind.as_str());
        return Err(Refusal::invalid(text));
    }
    change_over(guest, job, wait).await
}

/// Takes the last step of a job that is ready.
pub(super) async fn change_over(guest: &mut Running, mut job: BlockJob, wait: bool) -> Result<(), Refusal> {
    let before = job.stage;
    job.stage = Stage::Pivoting;
    // A daemon that died here has held them already.
    job.held |= guest.monitor.status().await?.running;
    start::note(guest, &job)?;
    let mut ends = follow::Ends::of(guest);
    let asked = async {
        if job.held {
            guest.monitor.stop().await?;
        }
        guest.monitor.job_complete(&job.id).await
    };
    if let Err(error) = asked.await {
        finish::go_on(guest, &mut job).await;
        job.stage = before;
        start::note(guest, &job)?;
        return Err(error.into());
    }
    let at = position(guest, &job.target)?;
    layers::mark_mirror(&mut guest.document.devices.disks[at], "pivot");
    if !wait {
        return Ok(());
    }
    if tokio::time::timeout(HOLD, ends.over(&job.id)).await.is_err() {
        tracing::warn!(domain = %guest.entry.name(), job = job.id, "the disk changes over slowly; the guest goes on");
        finish::go_on(guest, &mut job).await;
        start::note(guest, &job)?;
    }
    ends.concluded(guest, &mut job).await?;
    let id = job.id.clone();
    let error = finish::finish(guest, job, None).await?;
    debug_assert!(BlockJobs::read(&guest.dir).named(&id).is_none(), "a finished job is not noted");
    match error {
        None => Ok(()),
        Some(error) => {
            let text = format!("block job '{id}' failed while pivoting: {error}");
            Err(Refusal::new(Sort::Failed, text))
        }
    }
}
