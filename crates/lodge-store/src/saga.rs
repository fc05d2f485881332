//! Acts of many steps that end whole or not at all, also when the daemon dies in their midst.
//!
//! ```text
//!  begin ─▶ Forward 0 ─▶ Forward 1 ─▶ … ─▶ Forward n ─▶ done: the row goes
//!                 │ a step fails, panics, takes too long; or cancel
//!                 ▼
//!             Back i+1 ─▶ Back i ─▶ … ─▶ Back 0 ─▶ failed: the row goes
//! ```
//!
//! The rule is *note, then act*: what is about to happen is on disk before it happens, so after a crash the
//! log tells which step may have had an effect, and which way the saga was going. Steps are idempotent both
//! ways, since after a crash either may run a second time. What later steps or an undo need to know
//! (a pid, a path) lives in the context and is saved with each note.
//!
//! A failure takes back every step that may have had an effect, the failed one included; an undo that fails
//! is collected and does not stop the others. If the log itself cannot be written, the saga is taken back
//! without notes: the log then still says `Forward`, and the next daemon takes it back once more.
//!
//! Deliberately absent: which sagas there are, and whether a saga found open at start-up goes on or back.
//! That is the resource's ([`Direction`]). A saga is a future: its owner polls it beside its mailbox.

mod drive;
mod log;
pub mod testing;

use std::time::Duration;

use lodge_model::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use drive::{Direction, SagaError, drive, resume};
pub use log::{DbLog, Log, OpenSaga, SagaId, begin, open_sagas};
pub use tokio_util::sync::CancellationToken;

/// One step of a saga. Both directions are idempotent: after a crash either may run a second time.
#[async_trait::async_trait]
pub trait Step<C: Send>: Send + Sync {
    /// Its name in logs and failures: a verb and a noun, `claim-volumes`.
    fn name(&self) -> &'static str;

    /// Makes the effect. Dropped half-way when the saga is cancelled or the step takes too long; `undo`
    /// then takes back whatever came of it.
    async fn run(&self, context: &mut C) -> Result<(), Failure>;

    /// Takes the effect back; also that of a `run` that did not finish or never began.
    async fn undo(&self, context: &mut C) -> Result<(), Failure>;

    /// How long `run` may take. `None`: it has deadlines of its own.
    fn limit(&self) -> Option<Duration> {
        None
    }
}

/// What the steps share. The part of it that a new daemon needs is saved with each note.
pub trait Context: Send {
    /// What is to be saved.
    fn saved(&self) -> Value;
}

/// Why a step failed, as it is noted and told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The step; filled in by [`drive`].
    #[serde(default)]
    pub step: String,
    /// Its kind, for those who did not cause it.
    pub kind: Kind,
    /// What failed and why: the error's whole chain.
    pub message: String,
    /// What to do next.
    #[serde(default)]
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of this kind, with the words to tell.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { step: String::new(), kind, message: message.into(), hint: None }
    }

    /// The failure that `error` is, with its causes.
    pub fn of(kind: Kind, error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        Self::new(kind, causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// Where a saga stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "way", rename_all = "lowercase")]
pub enum Position {
    /// The step at this index may have had its effect; those before it have.
    Forward {
        /// The step's index.
        at: usize,
    },
    /// Steps below this index may still have their effects; why they must go.
    Back {
        /// One more than the index of the step to take back next.
        at: usize,
        /// Why the saga goes back.
        cause: Cause,
        /// What could not be taken back.
        #[serde(default)]
        left: Vec<Failure>,
    },
}

/// Why a saga goes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// A step failed.
    Failed(Failure),
    /// It was cancelled.
    Cancelled,
    /// The daemon ended in its midst, and it was not to go on.
    Interrupted,
}

#[cfg(test)]
mod tests;
