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

/// A measuring program.
struct Bench {
    /// What it is called by; several may have one name.
    name: &'static str,
    /// The example that is it.
    example: &'static str,
    /// What it compares.
    what: &'static str,
    /// Beside whom it measures with `--peers`, an option that the others do not know.
    peer: Option<&'static str>,
}

impl Bench {
    const fn of(name: &'static str, example: &'static str, what: &'static str) -> Self {
        Self { name, example, what, peer: None }
    }

    const fn beside(mut self, peer: &'static str) -> Self {
        self.peer = Some(peer);
        self
    }
}

const BENCHES: &[Bench] = &[
    Bench::of("define", "define_bench", "durable defines beside bare write+fsync+rename"),
    Bench::of("start", "start_bench", "start and destroy beside bare QEMU"),
    Bench::of(DOCUMENTS, "documents_bench", "domain documents read, completed and written")
        .beside("libvirtd"),
    Bench::of("images", "image_bench", "images looked at, cloned and converted, beside qemu-img"),
    Bench::of("images", "stream_bench", "a volume's bytes coming and going, beside cp and fsync"),
    Bench::of("dhcp", "dhcp_bench", "leases per second").beside("dnsmasq"),
    Bench::of("plug", "plug_bench", "guests plugged in and out beside many others, and beside `ip`"),
    Bench::of("wire", "wire_bench", "libvirt's wire spoken raw").beside("libvirtd"),
    Bench::of("capabilities", "capabilities_bench", "what a QEMU can do, asked and remembered")
        .beside("libvirtd"),
    Bench::of("daemon", "daemon_bench", "the daemon over its API").beside("libvirtd"),
    Bench::of(CLONE, "clone_bench", "clones with identities of their own").beside("libguestfs"),
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
    let known = |name: &str| name == LIBVIRT || BENCHES.iter().any(|bench| bench.name == name);
    if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
        let mut names: Vec<&str> = BENCHES.iter().map(|bench| bench.name).chain([LIBVIRT]).collect();
        names.dedup();
        bail!("there is no bench `{unknown}`; there are: {}", names.join(", "));
    }
    let chosen: Vec<_> =
        BENCHES.iter().filter(|bench| wanted.is_empty() || wanted.contains(&bench.name)).collect();
    apt::install(apt::ALL)?;
    if peers {
        apt::install(&[apt::PEERS])?;
        if chosen.iter().any(|bench| bench.name == CLONE) {
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
    for bench in &chosen {
        build.args(["--example", bench.example]);
    }
    run_command(&mut build)?;
    let programs = target().join("release");
    if beside_libvirt {
        println!("── {LIBVIRT}: libvirt's protocol, one Python client, beside libvirtd");
        let mut compat = Command::new(programs.join("lodge-compat"));
        run_command(compat.arg("--lodge").arg(programs.join("lodge")).arg("--bench"))?;
    }
    for Bench { name, example, what, peer } in chosen {
        let peer = peer.filter(|_| peers);
        println!("── {name}: {what}{}", peer.map(|peer| format!(", beside {peer}")).unwrap_or_default());
        let mut bench = Command::new(programs.join("examples").join(example));
        if peer.is_some() && *name == DOCUMENTS {
            let told = bench.stdin(Stdio::null()).output()?;
            let ours = String::from_utf8_lossy(&told.stdout).into_owned();
            print!("{ours}");
            documents::beside_libvirtd(&ours)?;
            continue;
        }
        run_command(bench.args(peer.map(|_| "--peers")))?;
    }
    Ok(())
}
