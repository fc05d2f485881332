//! Following a job to its end, over a restart of the daemon too: jobs are durable, connections are not.

use std::time::Duration;

use lodge_api::{Job, JobState, JobWait};
use tokio::time::Instant;

use crate::{Client, ClientError};

/// How often progress is told while nothing ends, in seconds.
const TELL_EVERY_S: u64 = 1;
/// How long a daemon may be away while a job is followed.
const AWAY_MAX: Duration = Duration::from_secs(20);
/// How often it is looked for while it is away.
const AWAY_POLL: Duration = Duration::from_millis(250);

impl Client {
    /// Waits until the job ended, telling where it stands about once a second. A job that failed is the
    /// error it failed with.
    pub async fn follow_job(&self, id: u64, mut on_progress: impl FnMut(&Job)) -> Result<Job, ClientError> {
        let mut away_since = None;
        let mut wait = JobWait { wait_s: None };
        loop {
            match self.job(id, &wait).await {
                Ok(job) => {
                    away_since = None;
                    on_progress(&job);
                    match job.state {
                        JobState::Running => {}
                        JobState::Done => return Ok(job),
                        JobState::Cancelled => return Err(ClientError::Cancelled { job: id }),
                        JobState::Failed => return Err(failure(job)),
                    }
                }
                Err(error @ (ClientError::Lost { .. } | ClientError::Unreachable { .. })) => {
                    if away_since.get_or_insert_with(Instant::now).elapsed() > AWAY_MAX {
                        return Err(error);
                    }
                    tokio::time::sleep(AWAY_POLL).await;
                }
                Err(error) => return Err(error),
            }
            wait.wait_s = Some(TELL_EVERY_S);
        }
    }
}

fn failure(job: Job) -> ClientError {
    match job.error {
        Some(body) => ClientError::Api(body),
        None => ClientError::Garbled {
            call: format!("job {}", job.id),
            why: "it failed without an error".to_owned(),
        },
    }
}
