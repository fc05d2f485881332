//! Builds the workshop's first process: a program of a few kilobytes that needs no library, so that it can be a whole
//! guest's user space and lie inside the one binary. See `workshop/init.rs`.

use std::{env, path::PathBuf, process::Command};

fn main() {
    // All of its files: a directory stands for what is in it.
    println!("cargo::rerun-if-changed=workshop");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var_os(name).unwrap_or_default();
    let program = PathBuf::from(variable("OUT_DIR")).join("workshop-init");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition=2024", "--crate-type=bin", "--crate-name=workshop_init", "-Dwarnings"]);
    rustc.args(["-Copt-level=s", "-Cpanic=abort", "-Crelocation-model=static", "-Cstrip=symbols"]);
    rustc.args(["-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib", "-Clink-arg=-static"]);
    rustc.arg("--target").arg(variable("TARGET")).arg("-o").arg(&program).arg("workshop/init.rs");
    let status = rustc.status();
    assert!(status.is_ok_and(|status| status.success()), "the workshop's first process does not compile");
}
