//! Who asks, and what they may.

use lodge_model::Kind;

use crate::error::{EngineError, Result};

/// Who asks. The front found it out; the engine believes the front.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user at the other end of the socket.
    pub uid: u32,
    /// The process there, for the log.
    pub pid: Option<i32>,
    /// Came in where only looking is allowed.
    pub read_only: bool,
}

impl Caller {
    /// The daemon itself: autostart, reconcilers.
    pub fn daemon() -> Self {
        Self { uid: rustix::process::getuid().as_raw(), pid: None, read_only: false }
    }

    /// Whoever may connect may look and change; the socket's mode is the door. A read-only door refuses changes.
    pub(crate) fn may_change(&self) -> Result<()> {
        if self.read_only {
            return Err(EngineError::new(Kind::Denied, "this connection is read-only")
                .with_hint("connect to the read-write socket to change something"));
        }
        Ok(())
    }
}
