//! `cargo xtask compat`: the same client commands against libvirtd and against lodge.
//!
//! The comparing program is a crate of its own, `tests/compat`; this installs what it needs, builds both and runs it.

use std::process::Command;

use anyhow::Result;

use crate::{
    apt,
    command::{cargo, run as run_command, target, words},
};

/// Options that the comparing program takes.
pub const OPTIONS: &[&str] = &["--accept", "--fresh", "--twice"];

/// Runs the scripts named in `args`, or all; options are passed on.
pub fn run(args: &[String]) -> Result<()> {
    // What stands behind `--program SIDE` is a command of its own, with options of its own.
    if args.first().is_none_or(|arg| arg != "--program") {
        words(args, OPTIONS, usize::MAX)?;
    }
    apt::install(apt::ALL)?;
    apt::install(&[apt::PEERS])?;
    run_command(cargo().args(["build", "--quiet", "-p", "lodge", "-p", "lodge-compat"]))?;
    let programs = target().join("debug");
    let mut compat = Command::new(programs.join("lodge-compat"));
    run_command(compat.arg("--lodge").arg(programs.join("lodge")).args(args))
}
