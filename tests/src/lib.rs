//! The harness of the whole-product tests: a daemon of its own root, driven by the `lodge` program.
//!
//! A [`Host`] is one daemon with a directory of its own; when it is dropped, its guests, networks and daemon go.
//! What the host had before is compared by [`Trace`]: tests leave nothing behind and prove it.
//! Deliberately absent: any knowledge of the product's inside. Tests see what a user sees.

pub mod document;
pub mod host;
mod small_disk;
pub mod trace;

pub use host::{Done, Host};
pub use small_disk::SmallDisk;
pub use trace::Trace;

/// Says why a test cannot run here, and counts as skipped: the caller returns.
pub fn skip(why: &str) {
    // Straight to standard error, past the test harness' capture, so that a skip is always seen.
    use std::io::Write;
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    drop(writeln!(std::io::stderr().lock(), "SKIPPED {name}: {why}"));
}

/// Whether the test runs as root; says so where not.
pub fn root_or_skip() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("needs root");
    }
    root
}
