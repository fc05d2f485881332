//! The store under what a host does to it: kills at any moment, and a full file system.

#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod crash;
mod full;

/// Runs a test of this binary that is marked `ignore` as a process of its own.
fn child(name: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().expect("a test has a binary"));
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    command
}
