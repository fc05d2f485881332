//! The program as a person and a script see it: what it prints, where, and how it ends.
//!
//! A canned daemon answers where one is needed, so that no QEMU is. What the real daemon does is tested in `tests/`.

mod console;
mod daemonless;
mod peer;
mod verbs;

use std::io::Write;
use std::process::{Command, Stdio};

/// What a run printed, and its code.
pub struct Done {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code; -1 for a signal.
    pub code: i32,
}

/// Runs `lodge ARGS` with `input`, away from this user's own daemon and directories.
pub fn lodge(args: &[&str], input: &str) -> Done {
    let home = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_lodge"))
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // A program that does not read its input is no fault.
    drop(child.stdin.take().expect("a pipe").write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    Done {
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
        code: output.status.code().unwrap_or(-1),
    }
}
