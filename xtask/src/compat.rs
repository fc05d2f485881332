//! `cargo xtask compat`: the same client commands against libvirtd and against lodge.
//!
//! The comparing program is a crate of its own, `tests/compat`; this installs what it needs, builds both and runs it.

use std::process::Command;

use anyhow::Result;

use crate::{
    apt,
    command::{cargo, run as run_command, target},
};

/// Runs the scripts named in `args`, or all; options are passed on.
pub fn run(args: &[String]) -> Result<()> {
    apt::install(apt::ALL)?;
    apt::install(&[apt::PEERS])?;
    run_command(cargo().args(["build", "--quiet", "-p", "lodge", "-p", "lodge-compat"]))?;
    let programs = target().join("debug");
    let mut compat = Command::new(programs.join("lodge-compat"));
    run_command(compat.arg("--lodge").arg(programs.join("lodge")).args(args))
}
