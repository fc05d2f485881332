//! `job list show wait cancel`.

use clap::{Args, Subcommand};
use lodge_client::api::{Job, JobWait};

use crate::failure::{Failure, What};
use crate::output::{duration, field, local_time};
use crate::session::Session;

use super::progress;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// The jobs that run and those that ended lately
    #[command(alias = "ls")]
    List,
    /// Where a job is, or how it ended
    Show(Number),
    /// Follow a job to its end
    Wait(Number),
    /// Ask a job to stop; what it did is undone
    Cancel(Number),
}

#[derive(Debug, Args)]
pub struct Number {
    /// The job's number
    #[arg(value_name = "JOB")]
    job: u64,
}

impl Verb {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        match self {
            Self::List => {
                let jobs = client.jobs().await.what(|| "Failed to list jobs".to_owned())?;
                session.show(&jobs, |jobs| {
                    let rows: Vec<_> = jobs.iter().map(row).collect();
                    session.table(&["Job", "Act", "Of", "State", "Done", "Time", "Doing"], &rows)
                });
            }
            Self::Show(Number { job }) => {
                let job = client.job(job, &JobWait::default()).await.what(|| no_job(job))?;
                session.show(&job, text);
            }
            Self::Wait(Number { job }) => {
                client.job(job, &JobWait::default()).await.what(|| no_job(job))?;
                let job = progress::follow(&client, job, session).await?;
                session.done(&job, |job| format!("Job {} {} ({})\n", job.id, job.state, took(job)));
            }
            Self::Cancel(Number { job }) => {
                let job = client.cancel_job(job).await.what(|| format!("Failed to cancel job {job}"))?;
                session.done(&job, |job| format!("Job {} was asked to stop\n", job.id));
            }
        }
        Ok(())
    }
}

fn no_job(job: u64) -> String {
    format!("failed to get job {job}")
}

/// How long it took, or takes already.
pub fn took(job: &Job) -> String {
    job.ended_ms.map_or_else(|| "running".to_owned(), |ended| duration(ended.saturating_sub(job.started_ms)))
}

fn row(job: &Job) -> Vec<String> {
    vec![
        job.id.to_string(),
        job.kind.clone(),
        job.subject.clone(),
        job.state.to_string(),
        job.progress.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0)),
        took(job),
        job.error.as_ref().map_or_else(|| progress::told(job), ToString::to_string),
    ]
}

fn text(job: &Job) -> String {
    let mut text = String::new();
    field(&mut text, "Job", job.id);
    field(&mut text, "Act", format!("{} of {}", job.kind, job.subject));
    field(&mut text, "State", job.state);
    field(&mut text, "Doing", progress::told(job));
    field(&mut text, "Started", local_time(job.started_ms));
    field(&mut text, "Took", took(job));
    if let Some(error) = &job.error {
        field(&mut text, "Error", error);
        if let Some(hint) = &error.hint {
            field(&mut text, "Next", hint);
        }
    }
    text
}
