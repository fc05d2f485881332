//! Jobs: acts that last, with progress and cancel.

use std::time::Duration;

use lodge_api::Job;

use crate::{Caller, Engine, error::Result, open::not_yet};

impl Engine {
    /// Jobs that go on and the last that ended, the newest first.
    pub async fn jobs(&self, _caller: &Caller) -> Result<Vec<Job>> {
        Err(not_yet())
    }
    /// One job: at once, or when it ended or `wait` passed.
    pub async fn job(&self, _caller: &Caller, _id: u64, _wait: Option<Duration>) -> Result<Job> {
        Err(not_yet())
    }
    /// Asks a job to stop.
    pub async fn cancel_job(&self, _caller: &Caller, _id: u64) -> Result<Job> {
        Err(not_yet())
    }
}
