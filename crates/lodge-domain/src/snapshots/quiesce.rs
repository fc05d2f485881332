//! Holding a guest's file systems still by its agent, and letting them go on every path.
//!
//! Whoever freezes thaws: at the end of the act, whatever became of it, and again when a next daemon finds the act
//! unfinished. A thaw of what is not frozen does nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lodge_qemu::agent::{Agent, FreezeStatus};

use crate::control::Refusal;
use crate::domains::Shared;
use crate::error::chain;

/// How long a guest may take to write out what it has in memory, on bare hardware.
const FREEZE_PATIENCE: Duration = Duration::from_mins(1);
/// How long a thaw may take.
const THAW_PATIENCE: Duration = Duration::from_secs(20);
/// How often a thaw is tried.
const TRIES: u32 = 3;

/// Freezes all file systems.
pub(super) async fn freeze(shared: &Arc<Shared>, socket: &Path) -> Result<(), Refusal> {
    let agent = Agent::new(socket);
    let patience = shared.config.speed.scale(FREEZE_PATIENCE);
    let frozen = agent.freeze(patience).await.map_err(|error| Refusal::of_agent(&error))?;
    tracing::debug!(frozen, "file systems frozen");
    Ok(())
}

/// Lets them go on.
pub(super) async fn thaw(shared: &Arc<Shared>, socket: &Path, name: &str) -> Result<(), Refusal> {
    let agent = Agent::new(socket);
    let patience = shared.config.speed.scale(THAW_PATIENCE);
    let mut outcome = Ok(());
    for _ in 0..TRIES {
        match agent.thaw(patience).await {
            Ok(thawed) => {
                tracing::debug!(domain = name, thawed, "file systems thawed");
                return Ok(());
            }
            Err(error) => outcome = Err(error),
        }
        // The freeze may have been refused, and then there is nothing to thaw.
        if matches!(agent.freeze_status(patience).await, Ok(FreezeStatus::Thawed)) {
            return Ok(());
        }
    }
    outcome.map_err(|error| {
        tracing::error!(domain = name, error = %chain(&error), "the guest's file systems may still be frozen; `domfsthaw` tries again");
        Refusal::of_agent(&error)
    })
}
