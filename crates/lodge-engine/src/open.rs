//! Opening the engine.

use std::{path::PathBuf, sync::Arc};

use crate::error::{EngineError, Result};

/// What the daemon is told at its start.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Every path lies under this; none: the host's own daemon.
    pub root: Option<PathBuf>,
    /// A document that asks for KVM where it is not usable: `true` runs it under TCG with a warning, `false` refuses.
    pub accelerator_fallback: bool,
    /// The program started as `PROGRAM netd …`; none: the one that runs now.
    pub program: Option<PathBuf>,
}

/// All use cases. Cheap to clone; every clone is the same engine.
#[derive(Clone)]
pub struct Engine {
    _state: Arc<()>,
}

impl Engine {
    /// Opens the store, finishes or undoes what a crash left, adopts what runs. Listen only after this.
    pub async fn open(_config: Config) -> Result<Self> {
        Err(not_yet())
    }

    /// Where the REST socket is to be.
    pub fn rest_socket(&self) -> PathBuf {
        PathBuf::new()
    }

    /// Starts what is marked for autostart; called once the fronts listen.
    pub async fn autostart(&self) {}

    /// Ends the engine's own tasks. Guests and networks go on.
    pub async fn close(&self) {}
}

pub(crate) fn not_yet() -> EngineError {
    EngineError::new(lodge_model::Kind::Unsupported, "the engine is not wired yet")
}
