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

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

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

/// A test's leave to use the host.
pub struct Turn {
    _beside: Option<RwLockReadGuard<'static, ()>>,
    _alone: Option<RwLockWriteGuard<'static, ()>>,
}

static TURN: RwLock<()> = RwLock::new(());

/// Waits until no test of this process has the host alone. Others may run beside the caller, as many as the test program
/// has threads, so what it makes must be its own: its root, its bridge, its subnet. A guest under TCG takes one
/// processor, and one after the other they would take most of the time that all tests take. `None`, having said why: the
/// test needs root.
pub fn turn() -> Option<Turn> {
    // A test that failed in its turn has cleaned up like any other.
    let beside = || TURN.read().unwrap_or_else(PoisonError::into_inner);
    root_or_skip().then(|| Turn { _beside: Some(beside()), _alone: None })
}

/// Waits until no other test of this process uses the host: for those that compare the host before and after, take
/// what there is one of (the network that the first run makes), or put the whole machine under load.
pub fn turn_alone() -> Option<Turn> {
    let alone = || TURN.write().unwrap_or_else(PoisonError::into_inner);
    root_or_skip().then(|| Turn { _beside: None, _alone: Some(alone()) })
}
