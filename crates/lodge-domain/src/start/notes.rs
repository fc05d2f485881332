//! A saga's log with two notes only: one before the first step, one after the last.
//!
//! A note is a write that waits for the disk, and a start has steps that cost less than that. They may be left out
//! here because a next daemon does not go by the step noted: it asks the host, and every undo may run although its
//! step never did. The last note goes to the disk while the guest runs already: if it does not get there, the next
//! daemon finds a guest that is up, and nothing left to do.

use lodge_store::DbError;
use lodge_store::saga::{DbLog, Log, Position};
use serde_json::Value;
use tokio::task::JoinHandle;

/// The log of a start.
pub(super) struct FewNotes {
    log: Option<DbLog>,
    ended: Option<JoinHandle<()>>,
}

impl FewNotes {
    /// A log whose first note is on disk.
    pub fn of(log: DbLog) -> Self {
        Self { log: Some(log), ended: None }
    }

    /// The last note, on its way.
    pub fn ended(self) -> Option<JoinHandle<()>> {
        self.ended
    }
}

impl Log for FewNotes {
    async fn note(&mut self, _position: &Position, _saved: &Value) -> Result<(), DbError> {
        Ok(())
    }

    async fn end(&mut self) -> Result<(), DbError> {
        if let Some(mut log) = self.log.take() {
            self.ended = Some(tokio::spawn(async move {
                if let Err(error) = log.end().await {
                    tracing::warn!(saga = %log.id(), %error, "the end of a start could not be noted");
                }
            }));
        }
        Ok(())
    }
}
