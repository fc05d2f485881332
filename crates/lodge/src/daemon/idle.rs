//! `--timeout`: a daemon that a client started for itself goes when it has nothing to do.
//!
//! Nothing to do means, for the whole time: no client on any door, no guest or network running, no job at work.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lodge_engine::Engine;
use tokio::time::Instant;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(500);

/// The time, which `virt-admin` may change.
#[derive(Clone, Debug, Default)]
pub struct Patience(Arc<Mutex<Option<Duration>>>);

impl Patience {
    /// So long; none: for ever.
    pub fn of(timeout: Option<Duration>) -> Self {
        Self(Arc::new(Mutex::new(timeout)))
    }

    /// From now on so long.
    pub fn set(&self, timeout: Option<Duration>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = timeout;
    }

    fn now(&self) -> Option<Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when it is at its end.
    pub async fn end(self, engine: Engine, connected: impl Fn() -> usize) {
        let mut since = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(timeout) = self.now() else {
                since = Instant::now();
                continue;
            };
            if connected() > 0 || !engine.is_idle() {
                since = Instant::now();
            } else if since.elapsed() >= timeout {
                tracing::info!(timeout_s = timeout.as_secs(), "nothing to do: daemon stops");
                return;
            }
        }
    }
}
