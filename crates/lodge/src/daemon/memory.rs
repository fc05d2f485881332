//! Memory that the daemon holds and does not use goes back to the host.
//!
//! Opening the engine, and every list of a thousand guests, takes some megabytes for a moment. The allocator keeps
//! them, and a daemon at rest would look as large as it was at its busiest. So would its code: start-up runs through
//! most of the program once.

use std::time::Duration;

/// How long after the daemon listens it is looked at first. What begins with it is done by then, as a rule.
const FIRST: Duration = Duration::from_secs(1);
/// How often in the long run: twice as long each time until then.
const SELDOM: Duration = Duration::from_secs(64);
/// Less than this is left alone: it is wanted again.
const WORTH_BYTES: usize = 1024 * 1024;

/// Gives back what is not used, for as long as the daemon runs.
pub async fn keep_small() {
    let look = || {
        if lodge_sys::memory::spare_bytes() > WORTH_BYTES {
            lodge_sys::memory::give_back_spare();
        }
        if let Err(error) = lodge_sys::memory::let_go_of_code() {
            tracing::debug!(%error, "the program's code stays in memory");
        }
    };
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(pause).await;
        // A panic of it would leave memory where it is, no more.
        let _ = tokio::task::spawn_blocking(look).await;
        pause = (pause * 2).min(SELDOM);
    }
}
