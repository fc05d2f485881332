//! `cargo xtask bench`: every path a user waits for, as a ratio against the bare floor or a peer in the same run.
//!
//! The measuring programs are examples of the crates they measure; this only builds and runs them.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{
    apt,
    command::{cargo, run as run_command, target, words},
};

/// Name, package, example, and what it compares. A name may have several.
const BENCHES: &[(&str, &str, &str, &str)] = &[
    ("define", "lodge-store", "define_bench", "durable defines beside bare write+fsync+rename"),
    ("start", "lodge-domain", "start_bench", "start and destroy beside bare QEMU"),
    ("images", "lodge-storage", "image_bench", "images looked at, cloned and converted, beside qemu-img"),
    ("images", "lodge-tests", "stream_bench", "a volume's bytes coming and going, beside cp and fsync"),
    ("dhcp", "lodge-network", "dhcp_bench", "leases per second, with --peers beside dnsmasq"),
    ("wire", "lodge-tests", "wire_bench", "libvirt's wire spoken raw, with --peers beside libvirtd"),
    ("daemon", "lodge-tests", "daemon_bench", "the daemon over its API, with --peers beside libvirtd"),
    (
        "clone",
        "lodge-tests",
        "clone_bench",
        "clones with identities of their own, with --peers beside libguestfs",
    ),
];

/// The one that needs houses, and so is a part of the comparison.
const LIBVIRT: &str = "libvirt";

/// Runs the named bench, or all.
pub fn run(args: &[String]) -> Result<()> {
    let (options, wanted) = words(args, &["--peers"], usize::MAX)?;
    let peers = options.contains(&"--peers");
    let known = |name: &str| name == LIBVIRT || BENCHES.iter().any(|(bench, ..)| *bench == name);
    if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
        let mut names: Vec<&str> = BENCHES.iter().map(|(name, ..)| *name).chain([LIBVIRT]).collect();
        names.dedup();
        bail!("there is no bench `{unknown}`; there are: {}", names.join(", "));
    }
    apt::install(apt::ALL)?;
    if peers {
        apt::install(&[apt::PEERS])?;
    }
    run_command(cargo().args(["build", "--quiet", "--release", "-p", "lodge"]))?;
    // It needs the peer: only when named, or with --peers.
    if wanted.contains(&LIBVIRT) || (peers && wanted.is_empty()) {
        println!("── {LIBVIRT}: libvirt's protocol, one Python client, beside libvirtd");
        apt::install(&[apt::PEERS])?;
        run_command(cargo().args(["build", "--quiet", "--release", "-p", "lodge-compat"]))?;
        let programs = target().join("release");
        let mut compat = Command::new(programs.join("lodge-compat"));
        run_command(compat.arg("--lodge").arg(programs.join("lodge")).arg("--bench"))?;
    }
    for (name, package, example, what) in BENCHES {
        if !wanted.is_empty() && !wanted.contains(name) {
            continue;
        }
        println!("── {name}: {what}");
        let mut bench = cargo();
        bench.args(["run", "--quiet", "--release", "-p", package, "--example", example, "--"]);
        run_command(bench.args(peers.then_some("--peers")))?;
    }
    Ok(())
}
