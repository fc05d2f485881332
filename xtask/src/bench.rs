//! `cargo xtask bench`: every path a user waits for, as a ratio against the bare floor or a peer in the same run.
//!
//! The measuring programs are examples of the crates they measure; this only builds and runs them.

mod documents;

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::{
    apt,
    command::{cargo, run as run_command, target, words},
};

/// Name, example, and what it compares. A name may have several.
const BENCHES: &[(&str, &str, &str)] = &[
    ("define", "define_bench", "durable defines beside bare write+fsync+rename"),
    ("start", "start_bench", "start and destroy beside bare QEMU"),
    (
        DOCUMENTS,
        "documents_bench",
        "domain documents read, completed and written, with --peers beside libvirtd",
    ),
    ("images", "image_bench", "images looked at, cloned and converted, beside qemu-img"),
    ("images", "stream_bench", "a volume's bytes coming and going, beside cp and fsync"),
    ("dhcp", "dhcp_bench", "leases per second, with --peers beside dnsmasq"),
    ("plug", "plug_bench", "guests plugged in and out beside many others, and beside `ip`"),
    ("wire", "wire_bench", "libvirt's wire spoken raw, with --peers beside libvirtd"),
    (
        "capabilities",
        "capabilities_bench",
        "what a QEMU can do, asked and remembered, with --peers beside libvirtd",
    ),
    ("daemon", "daemon_bench", "the daemon over its API, with --peers beside libvirtd"),
    (CLONE, "clone_bench", "clones with identities of their own, with --peers beside libguestfs"),
];

/// The one whose peer is in a house.
const DOCUMENTS: &str = "documents";
/// The one whose peer is libguestfs.
const CLONE: &str = "clone";
/// The one that needs houses, and so is a part of the comparison.
const LIBVIRT: &str = "libvirt";

/// Runs the named bench, or all.
pub fn run(args: &[String]) -> Result<()> {
    if let [word, words @ ..] = args
        && word == documents::INSIDE
    {
        return documents::inside(words);
    }
    let (options, wanted) = words(args, &["--peers"], usize::MAX)?;
    let peers = options.contains(&"--peers");
    let known = |name: &str| name == LIBVIRT || BENCHES.iter().any(|(bench, ..)| *bench == name);
    if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
        let mut names: Vec<&str> = BENCHES.iter().map(|(name, ..)| *name).chain([LIBVIRT]).collect();
        names.dedup();
        bail!("there is no bench `{unknown}`; there are: {}", names.join(", "));
    }
    let chosen: Vec<_> =
        BENCHES.iter().filter(|(name, ..)| wanted.is_empty() || wanted.contains(name)).collect();
    apt::install(apt::ALL)?;
    if peers {
        apt::install(&[apt::PEERS])?;
        if chosen.iter().any(|(name, ..)| *name == CLONE) {
            apt::install(&[apt::GUESTFS])?;
        }
    }
    // It needs the peer: only when named, or with --peers.
    let beside_libvirt = wanted.contains(&LIBVIRT) || (peers && wanted.is_empty());
    if beside_libvirt {
        apt::install(&[apt::PEERS])?;
    }
    // One cargo run for all: another choice of packages would have other features and build everything again.
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "--workspace", "--bin", "lodge"]);
    build.args(beside_libvirt.then_some(["--bin", "lodge-compat"]).into_iter().flatten());
    for (.., example, _) in &chosen {
        build.args(["--example", example]);
    }
    run_command(&mut build)?;
    let programs = target().join("release");
    if beside_libvirt {
        println!("── {LIBVIRT}: libvirt's protocol, one Python client, beside libvirtd");
        let mut compat = Command::new(programs.join("lodge-compat"));
        run_command(compat.arg("--lodge").arg(programs.join("lodge")).arg("--bench"))?;
    }
    for (name, example, what) in chosen {
        println!("── {name}: {what}");
        let mut bench = Command::new(programs.join("examples").join(example));
        if peers && *name == DOCUMENTS {
            let told = bench.stdin(Stdio::null()).output()?;
            let ours = String::from_utf8_lossy(&told.stdout).into_owned();
            print!("{ours}");
            documents::beside_libvirtd(&ours)?;
            continue;
        }
        run_command(bench.args(peers.then_some("--peers")))?;
    }
    Ok(())
}
