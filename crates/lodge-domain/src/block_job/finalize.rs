//! The last word before a block job's end: what it has written is made durable, and then QEMU may change headers, and
//! which file stands on which.
//!
//! ```text
//!  running ──▶ (ready ──▶ told to change over) ──▶ pending ──▶ flushed, or held ──▶ finalized ──▶ concluded
//!                                        ▲            ├─ cannot be written back ──▶ cancelled ───────┘
//!                                        └── written ──┴─ not written back in time: held back, with nobody waiting
//! ```
//!
//! Where the host cannot keep what the job has written, the job fails with that cause, and the disk stays on the files
//! it was on: no header names fewer of them while their bytes are in no other.
//!
//! Where the host takes its time, the job stays pending and the guest's owner goes on with other things; the call that
//! writes back is waited for beside it, because only that is told of an error, and only once.
//!
//! Whoever dies while a job is pending leaves the disk on the files it was on: a new daemon begins here again, a QEMU
//! that is killed takes nothing along. A job that another daemon began may end without this: `finish` flushes then.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lodge_model::DomainId;
use lodge_qemu::qmp::JobStatus;
use tokio::task::JoinHandle;

use super::layers::{layers, paths};
use super::{BlockJob, BlockJobs, Layer, Stage, finish, position, start};
use crate::act::Act;
use crate::control::{Change, Refusal, Running, Scope, Sort};
use crate::domains::Shared;
use crate::error::DomainError;
use crate::index::Entry;
use crate::mailbox;
use crate::options::Ticket;

/// How long an owner waits for the host to write back what it has cached: a file server that is stuck must not hold a
/// guest's owner for ever.
const PATIENCE: Duration = Duration::from_mins(1);
/// When an owner that was busy is asked again.
const AGAIN: Duration = Duration::from_secs(5);

/// Files of layers, open.
type Files = Vec<(PathBuf, File)>;

/// Jobs that are held back until the host has written back what they have brought.
#[derive(Debug)]
pub(crate) struct WritingBack(Mutex<Waits>);

#[derive(Debug)]
struct Waits {
    jobs: HashSet<(DomainId, String)>,
    patience: Duration,
}

impl Default for WritingBack {
    fn default() -> Self {
        Self(Mutex::new(Waits { jobs: HashSet::new(), patience: PATIENCE }))
    }
}

impl WritingBack {
    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long owners wait from now on.
    pub fn set_patience(&self, patience: Duration) {
        self.waits().patience = patience;
    }

    fn holds(&self, domain: DomainId, job: &str) -> bool {
        self.waits().jobs.contains(&(domain, job.to_owned()))
    }
}

/// Why bytes are not durable.
#[derive(Debug)]
pub(super) enum Unkept {
    /// What is wrong, and where.
    Failed(String),
    /// The host is still at it.
    Slow(Slow),
}

/// A call that writes back and has not ended in time.
#[derive(Debug)]
pub(super) struct Slow {
    path: PathBuf,
    seconds: u64,
    work: JoinHandle<Result<Files, String>>,
}

impl fmt::Display for Unkept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(cause) => f.write_str(cause),
            Self::Slow(slow) => slow.fmt(f),
        }
    }
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host has not written back '{}' in {} s", self.path.display(), self.seconds)
    }
}

impl Unkept {
    /// Tells of bytes that a disk stands on already: there is nothing left to be taken back.
    pub fn tell(self, domain: &Arc<str>, job: &str) {
        const WORDS: &str = "what a disk stands on is not durable";
        tracing::error!(%domain, job, cause = %self, "{WORDS}");
        if let Self::Slow(slow) = self {
            let (domain, job) = (Arc::clone(domain), job.to_owned());
            tokio::spawn(async move {
                match slow.work.await {
                    Ok(Ok(_)) => tracing::info!(%domain, job, "what a disk stands on is durable now"),
                    Ok(Err(cause)) => tracing::error!(%domain, job, cause, "{WORDS}"),
                    Err(_) => {}
                }
            });
        }
    }
}

/// Lets a job end that waits for that; one that does not is let be. It has ended when this returns; one that is held back
/// is refused, and ends by itself later.
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
        if guest.shared.writing_back.holds(guest.id, &job.id) {
            let text =
                format!("block job '{}' waits to end until the host has written its bytes back", job.id);
            return Err(Refusal::new(Sort::Failed, text));
        }
        let disk = &guest.document.devices.disks[position(guest, &job.target)?];
        let written = layers(disk)?;
        match flush(guest, &written).await {
            Ok(()) => {}
            Err(Unkept::Failed(cause)) => return fail(guest, job, cause).await,
            Err(Unkept::Slow(slow)) => return Err(hold_back(guest, job, slow)),
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

/// Ends a job whose bytes the host cannot keep.
async fn fail(guest: &Running, job: &mut BlockJob, cause: String) -> Result<(), Refusal> {
    tracing::error!(domain = %guest.entry.name(), job = job.id, cause, "a block job's bytes are not durable: it is ended");
    // Noted first: an error of writing back is told once, so another daemon would not see it.
    job.failure = Some(cause);
    start::note(guest, job)?;
    Ok(guest.monitor.block_job_cancel(&job.id).await?)
}

/// Leaves a job pending until the host has written back. The answer says so.
fn hold_back(guest: &Running, job: &BlockJob, slow: Slow) -> Refusal {
    let text = format!("block job '{}' waits to end: {slow}; it ends when that is done", job.id);
    let (shared, entry, id) = (Arc::clone(&guest.shared), Arc::clone(&guest.entry), job.id.clone());
    shared.writing_back.waits().jobs.insert((entry.id, id.clone()));
    tokio::spawn(end_after(shared, entry, id, slow.work));
    Refusal::new(Sort::Failed, text)
}

/// Lets a job that was held back end, well or not, when it is known how the host fared.
async fn end_after(
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    id: String,
    work: JoinHandle<Result<Files, String>>,
) {
    let outcome = tokio::select! {
        // The next daemon finds the job pending and begins again.
        () = shared.closing.cancelled() => return,
        done = work => match done {
            Ok(done) => done.map(drop),
            Err(error) => Err(format!("nobody knows whether the host has written back: {error}")),
        },
    };
    shared.writing_back.waits().jobs.remove(&(entry.id, id.clone()));
    loop {
        let act = Act::Change(Box::new(end_now(id.clone(), outcome.clone())));
        match mailbox::ask(&shared, &entry, act, Ticket::default()).await {
            Err(DomainError::Busy { .. } | DomainError::Crowded { .. }) => tokio::time::sleep(AGAIN).await,
            Err(error) => {
                let error = crate::error::chain(&error);
                return tracing::warn!(domain = %entry.name(), job = id, error, "block job not ended yet");
            }
            Ok(_) => return,
        }
    }
}

fn end_now(id: String, outcome: Result<(), String>) -> Change {
    Change::new("blockjob", Scope::LIVE).live(move |mut guest| async move {
        let ended = match (BlockJobs::read(&guest.dir).named(&id).cloned(), outcome) {
            // It was ended otherwise.
            (None, _) => Ok(()),
            // What was written meanwhile is written back as well.
            (Some(mut job), Ok(())) => finalize(&mut guest, &mut job).await,
            (Some(mut job), Err(cause)) => match is_pending(&guest, &job).await {
                Ok(true) => fail(&guest, &mut job, cause).await,
                Ok(false) => Ok(()),
                Err(refusal) => Err(refusal),
            },
        };
        (guest, ended)
    })
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
pub(super) async fn flush(guest: &Running, layers: &[Layer]) -> Result<(), Unkept> {
    let files = paths(layers);
    let opened = write_back(guest, move |at| {
        let look = |path: PathBuf| {
            at.is_now(&path);
            open(path)
        };
        files.into_iter().filter_map(look).collect()
    });
    let opened = opened.await?;
    for layer in layers {
        let asked = guest.monitor.human(&format!("qemu-io {} flush", layer.node())).await;
        let failed = |why: &str| Unkept::Failed(format!("cannot flush '{}': {why}", layer.path));
        let said = asked.map_err(|error| failed(&error.to_string()))?;
        if !said.trim().is_empty() {
            return Err(failed(said.trim()));
        }
    }
    write_back(guest, move |_| opened).await.map(drop)
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

/// Which file a thread is at.
#[derive(Debug, Clone, Default)]
struct At(Arc<Mutex<PathBuf>>);

impl At {
    fn is_now(&self, path: &Path) {
        path.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn path(&self) -> PathBuf {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Has the host write what it has cached of `files`; gives them back where it could.
async fn write_back(
    guest: &Running,
    files: impl FnOnce(&At) -> Files + Send + 'static,
) -> Result<Files, Unkept> {
    let patience = guest.shared.writing_back.waits().patience;
    let at = At::default();
    let now = at.clone();
    let mut work = tokio::task::spawn_blocking(move || {
        let files = files(&now);
        for (path, file) in &files {
            now.is_now(path);
            if let Err(error) = file.sync_data()
                && !has_no_cache(&error)
            {
                return Err(format!("cannot write back '{}': {error}", path.display()));
            }
        }
        Ok(files)
    });
    match tokio::time::timeout(patience, &mut work).await {
        Ok(Ok(written)) => written.map_err(Unkept::Failed),
        Ok(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending; nobody waits for this any more.
            Err(_) => std::future::pending().await,
        },
        Err(_) => Err(Unkept::Slow(Slow { path: at.path(), seconds: patience.as_secs(), work })),
    }
}

/// What is there has nothing to write back (fsync(2)).
fn has_no_cache(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::ReadOnlyFilesystem)
}
