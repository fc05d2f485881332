//! Jobs: acts that last, with progress and cancel.
//!
//! A running job is a task and a `watch` of its view; its beginning and end are in the store. What a daemon that was
//! killed left running is told as failed by the next one: the resources themselves have undone or finished it by then.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lodge_api::{ErrorBody, Job, JobState};
use lodge_model::Kind;
use lodge_store::{
    Db,
    db::jobs::{JobEnd, JobRow, JobState as StoredState},
};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
    event::Feed,
};

/// Jobs that `lodge job list` shows.
const SHOWN: u32 = 100;
/// The longest one request waits for a job.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The jobs of this daemon.
#[derive(Clone, Debug)]
pub(crate) struct Jobs {
    db: Db,
    feed: Feed,
    running: Arc<Mutex<HashMap<u64, Running>>>,
}

#[derive(Clone, Debug)]
struct Running {
    view: watch::Receiver<Job>,
    cancel: CancellationToken,
}

/// A job's own end: where it says how far it is and hears that it shall stop.
#[derive(Clone, Debug)]
pub(crate) struct JobHandle {
    /// Cancelled when the job shall stop.
    pub cancel: CancellationToken,
    view: watch::Sender<Job>,
}

impl JobHandle {
    /// Says how far the job is.
    pub fn tell(&self, phase: &str, fraction: Option<f64>, message: &str) {
        self.view.send_modify(|job| {
            phase.clone_into(&mut job.phase);
            job.progress = fraction.map(|fraction| fraction.clamp(0.0, 1.0));
            message.clone_into(&mut job.message);
        });
    }
}

impl Jobs {
    /// Takes the store over; jobs an earlier daemon left are ended, and given to be undone.
    #[crate::boxed]
    pub async fn open(db: Db, feed: Feed) -> Result<(Self, Vec<Job>)> {
        let cut = ErrorBody::new(lodge_api::ErrorKind::Internal, "the daemon ended while this job ran")
            .with_hint("what it had begun was undone; ask for it again");
        let cut = serde_json::to_value(cut).unwrap_or_default();
        let mut ended = Vec::new();
        for id in db.end_cut_jobs(cut).await? {
            tracing::warn!(job = id, "job of an earlier daemon ended");
            ended.extend(db.job(id).await?.map(job));
        }
        Ok((Self { db, feed, running: Arc::default() }, ended))
    }

    /// Begins a job; `act` runs in a task of its own, whoever asked may go.
    pub async fn begin<F, Act>(&self, caller: &Caller, kind: &str, subject: &str, act: Act) -> Result<Job>
    where
        F: Future<Output = Result<Value>> + Send + 'static,
        Act: FnOnce(JobHandle) -> F,
    {
        let id = self.db.begin_job(kind, subject, &format!("uid {}", caller.uid)).await?;
        let job = Job {
            id,
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            state: JobState::Running,
            phase: String::new(),
            progress: None,
            message: String::new(),
            error: None,
            result: None,
            started_ms: lodge_store::db::now_ms().cast_unsigned(),
            ended_ms: None,
        };
        let (view, watching) = watch::channel(job.clone());
        let cancel = CancellationToken::new();
        self.running().insert(id, Running { view: watching, cancel: cancel.clone() });
        self.feed.publish("job.started", subject, serde_json::json!({ "job": id, "kind": kind }));
        let act = tokio::spawn(act(JobHandle { cancel: cancel.clone(), view: view.clone() }));
        let jobs = self.clone();
        tokio::spawn(async move {
            let outcome =
                act.await.unwrap_or_else(|_| Err(EngineError::new(Kind::Internal, "the job panicked")));
            jobs.end(id, &view, cancel.is_cancelled(), outcome).await;
        });
        Ok(job)
    }

    async fn end(&self, id: u64, view: &watch::Sender<Job>, cancelled: bool, outcome: Result<Value>) {
        let (state, result, error) = match outcome {
            Ok(result) => (JobState::Done, Some(result), None),
            Err(error) if cancelled => (JobState::Cancelled, None, Some(error.body())),
            Err(error) => (JobState::Failed, None, Some(error.body())),
        };
        let end = match state {
            JobState::Running | JobState::Done => JobEnd::Done(result.clone()),
            JobState::Failed => JobEnd::Failed(serde_json::to_value(&error).unwrap_or_default()),
            JobState::Cancelled => JobEnd::Cancelled,
        };
        if let Err(error) = self.db.end_job(id, end).await {
            tracing::error!(job = id, %error, "job's end not stored");
        }
        view.send_modify(|job| {
            job.state = state;
            job.progress = if state == JobState::Done { Some(1.0) } else { job.progress };
            job.result = result;
            job.error = error;
            job.ended_ms = Some(lodge_store::db::now_ms().cast_unsigned());
        });
        let subject = view.borrow().subject.clone();
        tracing::info!(job = id, %subject, state = %state, "job ended");
        self.feed.publish(format!("job.{state}"), subject, serde_json::json!({ "job": id }));
        self.running().remove(&id);
    }

    async fn find(&self, id: u64) -> Result<std::result::Result<Running, Job>> {
        if let Some(running) = self.running().get(&id) {
            return Ok(Ok(running.clone()));
        }
        let row = self.db.job(id).await?;
        let row = row.ok_or_else(|| {
            EngineError::new(Kind::NotFound, format!("there is no job {id}"))
                .with_hint("`lodge job list` shows those that are known")
        })?;
        Ok(Err(job(row)))
    }

    /// Whether somebody's job is not at its end.
    pub fn any_at_work(&self) -> bool {
        self.running().values().any(|running| running.view.borrow().state == JobState::Running)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Running>> {
        // Nothing that can panic runs under this lock.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Jobs that go on and the last that ended, the newest first.
    #[crate::boxed]
    pub async fn jobs(&self, _caller: &Caller) -> Result<Vec<Job>> {
        let rows = self.store.db().jobs(SHOWN).await?;
        let running = self.jobs.running();
        let view =
            |row: JobRow| running.get(&row.id).map_or_else(|| job(row), |job| job.view.borrow().clone());
        Ok(rows.into_iter().map(view).collect())
    }

    /// One job: at once, or when it ended or `wait` passed.
    #[crate::boxed]
    pub async fn job(&self, _caller: &Caller, id: u64, wait: Option<Duration>) -> Result<Job> {
        let mut running = match self.jobs.find(id).await? {
            Ok(running) => running,
            Err(ended) => return Ok(ended),
        };
        if let Some(wait) = wait {
            let ended = running.view.wait_for(|job| job.state.has_ended());
            // Either way the view is told as it then stands.
            drop(tokio::time::timeout(wait.min(LONGEST_WAIT), ended).await);
        }
        let job = running.view.borrow().clone();
        Ok(job)
    }

    /// Asks a job to stop.
    #[crate::boxed]
    pub async fn cancel_job(&self, caller: &Caller, id: u64) -> Result<Job> {
        caller.may_change()?;
        match self.jobs.find(id).await? {
            Ok(running) => {
                running.cancel.cancel();
                let job = running.view.borrow().clone();
                Ok(job)
            }
            Err(ended) => Ok(ended),
        }
    }
}

fn job(row: JobRow) -> Job {
    let state = match row.state {
        StoredState::Running => JobState::Running,
        StoredState::Done => JobState::Done,
        StoredState::Failed => JobState::Failed,
        StoredState::Cancelled => JobState::Cancelled,
    };
    Job {
        id: row.id,
        kind: row.kind,
        subject: row.subject,
        state,
        phase: row.phase,
        progress: Some(row.progress),
        message: row.message,
        error: row.error.and_then(|error| serde_json::from_value(error).ok()),
        result: row.result,
        started_ms: row.started_ms.cast_unsigned(),
        ended_ms: row.ended_ms.map(i64::cast_unsigned),
    }
}
