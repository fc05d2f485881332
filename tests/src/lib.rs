//! The harness of the whole-product tests: a daemon of its own root, driven by the `lodge` program.
//!
//! A [`Host`] is one daemon with a directory of its own; when it is dropped, its guests, networks and daemon go.
//! What the host had before is compared by [`Trace`]: tests leave nothing behind and prove it.
//! Deliberately absent: any knowledge of the product's inside. Tests see what a user sees.

pub mod counter;
pub mod document;
pub mod host;
mod inside;
pub mod trace;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use host::{Done, Host, finish};
pub use inside::{Inside, Login};
pub use lodge_faults::{DyingDisk, SilentDisk, SmallDisk};
pub use trace::Trace;

/// Says why a test cannot run here, and counts as skipped: the caller returns.
pub fn skip(why: &str) {
    // Straight to standard error, past the test harness' capture, so that a skip is always seen.
    use std::io::Write;
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    drop(writeln!(std::io::stderr().lock(), "SKIPPED {name}: {why}"));
}

/// Whether the test runs as root; says so where not. For tests in namespaces of their own, which need no turn.
pub fn root_or_skip() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("needs root");
    }
    root
}

/// The turn of the only test of this process that may use the host now.
pub type Turn = MutexGuard<'static, ()>;

/// Waits until no other test of this process uses the host: each compares the host before and after, and a guest under
/// TCG takes all processors. `None`, having said why: the test needs root.
pub fn turn() -> Option<Turn> {
    static TURN: Mutex<()> = Mutex::new(());
    if !root_or_skip() {
        return None;
    }
    // A test that failed in its turn has cleaned up like any other.
    Some(TURN.lock().unwrap_or_else(PoisonError::into_inner))
}
