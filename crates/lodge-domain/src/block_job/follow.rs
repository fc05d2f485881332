//! What QEMU tells of block jobs, and jobs that a daemon finds.

use std::time::Duration;

use lodge_qemu::qmp::{Event, Job, JobStatus, Monitor};
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::layers::{copy_of, layers, mark_mirror};
use super::{
    BlockJob, BlockJobKind, BlockJobStatus, BlockJobs, Stage, finalize, finish, open, pivot, position, start,
};
use crate::control::{Refusal, Running};
use crate::event::EventKind;

/// How often a job is looked at while its end is awaited, should an event have been missed.
const LOOK: Duration = Duration::from_secs(2);

/// What an event tells of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobTold {
    /// QEMU's name of it.
    pub id: String,
    /// How far it is.
    pub stands: Stands,
    /// Why it failed, where QEMU does not keep that.
    pub error: Option<String>,
}

/// How far a job is, where the owner has to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    /// It waits for its last step.
    Ready,
    /// It waits to be let end.
    Pending,
    /// It has ended.
    Ended,
}

/// What the event tells, if the owner has to do with it.
pub(crate) fn told(event: &Event) -> Option<JobTold> {
    let word = |key: &str| event.data.get(key).and_then(Value::as_str);
    let told = |id: &str, stands| JobTold { id: id.to_owned(), stands, error: None };
    match (event.name.as_str(), word("status")) {
        ("JOB_STATUS_CHANGE", Some("ready")) => Some(told(word("id")?, Stands::Ready)),
        ("JOB_STATUS_CHANGE", Some("concluded")) => Some(told(word("id")?, Stands::Ended)),
        // A job that finalizes by itself changes to that status too, and does not wait.
        ("BLOCK_JOB_PENDING", _) => Some(told(word("id")?, Stands::Pending)),
        // A stream is dismissed by itself; this comes before.
        ("BLOCK_JOB_COMPLETED", _) if word("type") == Some("stream") => {
            let error = Some(word("error")?.to_owned());
            Some(JobTold { error, ..told(word("device")?, Stands::Ended) })
        }
        _ => None,
    }
}

/// Takes in what was told of a job.
pub(crate) async fn take(guest: &mut Running, told: JobTold) {
    let JobTold { id, stands, error } = told;
    if guest.ended_jobs.contains(&id) {
        return;
    }
    let Some(mut job) = BlockJobs::read(&guest.dir).named(&id).cloned() else { return };
    let outcome = match stands {
        Stands::Ready => {
            ready(guest, job);
            Ok(())
        }
        Stands::Pending => finalize::finalize(guest, &mut job).await,
        Stands::Ended => match finish::settle(guest, job, error).await {
            Ok(_) => {
                guest.ended_jobs.push(id.clone());
                Ok(())
            }
            Err(refusal) => Err(refusal),
        },
    };
    if let Err(refusal) = outcome {
        tracing::warn!(domain = %guest.entry.name(), job = id, error = refusal.text, "block job not followed to its end");
    }
}

fn ready(guest: &mut Running, mut job: BlockJob) {
    if job.stage != Stage::Running {
        return;
    }
    job.stage = Stage::Ready;
    if let Err(refusal) = start::note(guest, &job) {
        tracing::warn!(domain = %guest.entry.name(), error = refusal.text, "a block job is ready and not noted so");
    }
    let Ok(at) = position(guest, &job.target) else { return };
    let disk = &mut guest.document.devices.disks[at];
    mark_mirror(disk, "yes");
    let path = disk.path().unwrap_or_default().to_owned();
    tell(guest, &job, path, BlockJobStatus::Ready, None);
}

/// Tells others of it; `error`: why it failed.
pub(super) fn tell(
    guest: &mut Running,
    job: &BlockJob,
    path: String,
    status: BlockJobStatus,
    error: Option<&str>,
) {
    tracing::info!(domain = %guest.entry.name(), job = job.id, status = status.as_str(), error, "block job");
    let (disk, error) = (job.target.clone(), error.map(str::to_owned));
    guest.tell.push(EventKind::BlockJob { disk, path, kind: job.kind, status, error });
}

/// Brings all jobs into line with what QEMU says: after a start of the daemon, or when events were missed.
pub(crate) async fn look(guest: &mut Running) {
    open::hold(guest).await;
    let Ok(known) = guest.monitor.jobs().await else { return };
    let told = |id, stands| JobTold { id, stands, error: None };
    for job in known.iter().filter_map(|job| adopted(guest, job)) {
        if let Err(refusal) = start::note(guest, &job) {
            tracing::warn!(domain = %guest.entry.name(), error = refusal.text, "a block job was not taken over");
        }
    }
    for job in BlockJobs::read(&guest.dir).all().to_vec() {
        let mut status = status_of(&known, &job.id);
        if status == Some(JobStatus::Pending) {
            take(guest, told(job.id.clone(), Stands::Pending)).await;
            let Ok(known) = guest.monitor.jobs().await else { return };
            status = status_of(&known, &job.id);
        }
        match status {
            // The daemon before died between its note and QEMU.
            Some(
                JobStatus::Created
                | JobStatus::Running
                | JobStatus::Paused
                | JobStatus::Ready
                | JobStatus::Standby,
            ) if job.stage == Stage::Aborting => {
                if let Err(error) = guest.monitor.block_job_cancel(&job.id).await {
                    tracing::debug!(job = job.id, %error, "block job not told to end again");
                }
            }
            Some(JobStatus::Ready | JobStatus::Standby) if job.stage == Stage::Pivoting => {
                if let Err(error) = guest.monitor.job_complete(&job.id).await {
                    tracing::debug!(job = job.id, %error, "block job not told to take its last step again");
                }
            }
            Some(JobStatus::Ready | JobStatus::Standby) => take(guest, told(job.id, Stands::Ready)).await,
            // What QEMU does not know any more has ended too.
            Some(JobStatus::Concluded) | None => take(guest, told(job.id, Stands::Ended)).await,
            Some(_) => {}
        }
    }
    open::mend(guest, None).await;
}

fn status_of(known: &[Job], id: &str) -> Option<JobStatus> {
    known.iter().find(|known| known.id == id).map(|job| job.status.clone())
}

/// A job that a libvirt daemon began, by its name: `commit-vda-libvirt-1-format`.
fn adopted(guest: &Running, job: &Job) -> Option<BlockJob> {
    if BlockJobs::read(&guest.dir).named(&job.id).is_some() {
        return None;
    }
    let (word, rest) = job.id.split_once('-')?;
    let (target, node) = rest.split_once('-')?;
    let disk = guest.document.devices.disks.iter().find(|disk| disk.target.dev == target)?;
    let top = layers(disk).ok()?.first()?.node();
    let kind = match (word, job.kind.as_str()) {
        ("pull", "stream") => BlockJobKind::Pull,
        ("copy", "mirror") => BlockJobKind::Copy,
        ("commit", "commit") if node == top => BlockJobKind::ActiveCommit,
        ("commit", "commit") => BlockJobKind::Commit,
        _ => return None,
    };
    let copy = if kind == BlockJobKind::Copy { copy_of(disk) } else { Vec::new() };
    tracing::info!(domain = %guest.entry.name(), job = job.id, "block job taken over");
    Some(BlockJob { copy, ..start::planned(disk, kind, word, node) })
}

/// Waits for jobs of one guest. Listens from its making on, so that nothing is missed in between.
pub(super) struct Ends {
    monitor: Monitor,
    events: broadcast::Receiver<Event>,
}

impl Ends {
    pub fn of(guest: &Running) -> Self {
        Self { monitor: guest.monitor.clone(), events: guest.monitor.events() }
    }

    /// Until the job has ended or waits to be let end.
    pub async fn over(&mut self, id: &str) -> Result<(), Refusal> {
        self.until(id, |status| matches!(status, JobStatus::Pending | JobStatus::Concluded | JobStatus::Null))
            .await
            .map(drop)
    }

    /// Until the job has ended; it is let end.
    pub async fn concluded(&mut self, guest: &mut Running, job: &mut BlockJob) -> Result<(), Refusal> {
        self.over(&job.id).await?;
        finalize::finalize(guest, job).await?;
        self.until(&job.id, |status| matches!(status, JobStatus::Concluded | JobStatus::Null)).await.map(drop)
    }

    /// Until the job has ended, waits to be let end or waits for its last step; which of them.
    pub async fn ready(&mut self, id: &str) -> Result<JobStatus, Refusal> {
        self.until(id, |status| {
            matches!(
                status,
                JobStatus::Ready
                    | JobStatus::Standby
                    | JobStatus::Pending
                    | JobStatus::Concluded
                    | JobStatus::Null
            )
        })
        .await
    }

    async fn until(&mut self, id: &str, wanted: impl Fn(&JobStatus) -> bool) -> Result<JobStatus, Refusal> {
        loop {
            let jobs = self.monitor.jobs().await?;
            let status = jobs.into_iter().find(|job| job.id == id).map_or(JobStatus::Null, |job| job.status);
            if wanted(&status) {
                return Ok(status);
            }
            let told = async {
                loop {
                    match self.events.recv().await {
                        Ok(event) if told(&event).is_some_and(|told| told.id == id) => return,
                        Ok(_) => {}
                        Err(RecvError::Lagged(_) | RecvError::Closed) => return,
                    }
                }
            };
            tokio::select! {
                () = told => {}
                error = self.monitor.lost() => return Err(error.into()),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

/// Brings the job of a disk that an earlier daemon began to its end, with all its steps.
pub(crate) async fn end_noted(guest: &mut Running, target: &str) -> Result<(), Refusal> {
    match BlockJobs::read(&guest.dir).of(target).map(|job| job.id.clone()) {
        Some(id) => run_to_end(guest, &id).await,
        None => Ok(()),
    }
}

/// Waits for a job that has begun and takes all its steps, the last one too.
pub(super) async fn run_to_end(guest: &mut Running, id: &str) -> Result<(), Refusal> {
    let mut ends = Ends::of(guest);
    let status = ends.ready(id).await?;
    let gone = || Refusal::internal(format!("block job '{id}' is gone"));
    let mut job = BlockJobs::read(&guest.dir).named(id).cloned().ok_or_else(gone)?;
    if matches!(status, JobStatus::Ready | JobStatus::Standby) {
        return pivot::change_over(guest, job, true).await;
    }
    ends.concluded(guest, &mut job).await?;
    match finish::finish(guest, job, None).await? {
        None => Ok(()),
        Some(error) => {
            Err(Refusal::new(crate::control::Sort::Failed, format!("block job '{id}' failed: {error}")))
        }
    }
}
