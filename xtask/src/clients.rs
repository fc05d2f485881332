//! `cargo xtask clients`: the clients people have, installed and run against either daemon.
//!
//! virsh of Debian 12 (9.0) and of sid (12), and virt-top of Debian 13, are unpacked, not installed: beside this host's
//! own they need only their libraries. So are sshd and cockpit, which would listen on this host; a house shows them as if they were installed. The scripts are those of `cargo xtask compat` that need a client.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    apt,
    command::{output, target, words},
    compat,
};

/// Programs of other suites: what each is called here, its suite, its package, its name there.
const VERSIONS: &[(&str, &str, &str, &str)] = &[
    ("virsh9", "bookworm", "libvirt-clients", "virsh"),
    ("virsh12", "sid", "libvirt-clients", "virsh"),
    // Debian 12 has none.
    ("virt-top", "trixie", "virt-top", "virt-top"),
];

/// The scripts that are about clients.
const SCRIPTS: &[&str] = &[
    "client-virsh9",
    "client-virsh12",
    "client-virtinst",
    "client-python",
    "client-perl",
    "client-ruby",
    "client-vagrant",
    "client-virt-manager",
    "client-dbus",
    "client-virt-viewer",
    "client-location",
    "client-exporter",
    "client-ansible",
    "client-ssh",
    "client-tls",
    "client-virt-top",
    "client-cockpit",
];

/// Installs and runs them; `args` are options of `compat`.
pub fn run(args: &[String]) -> Result<()> {
    words(args, compat::OPTIONS, 0)?;
    apt::install(&[apt::CLIENTS])?;
    apt::unpack(apt::UNPACKED, &target().join("compat/clients/unpacked"))?;
    for (name, suite, package, program) in VERSIONS {
        if let Err(error) = unpack(name, suite, package, program) {
            println!("SKIPPED {name}: it cannot be had from {suite}: {error:#}");
        }
    }
    let scripts = SCRIPTS.iter().map(|script| (*script).to_owned());
    compat::run(&args.iter().cloned().chain(scripts).collect::<Vec<String>>())
}

/// Makes the program `name`: that of this suite's package with its own libraries.
fn unpack(name: &str, suite: &str, package: &str, there: &str) -> Result<()> {
    let clients = target().join("compat/clients");
    let root = clients.join(name);
    let program = clients.join("bin").join(name);
    if program.is_file() {
        return Ok(());
    }
    let mirror = apt::mirror().context("apt knows no mirror of Debian")?;
    fs::create_dir_all(clients.join("bin"))?;
    drop(fs::remove_dir_all(&root));
    let mut bootstrap = Command::new("mmdebstrap");
    // A mirror that lags behind is good enough for an old client; its signature is checked all the same.
    bootstrap.args(["--aptopt=Acquire::Check-Valid-Until \"false\"", "--variant=extract"]);
    output(bootstrap.arg(format!("--include={package}")).arg(suite).arg(&root).arg(mirror))?;
    let loader = find(&root, "ld-linux-x86-64.so.2").context("no dynamic loader was unpacked")?;
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let libraries =
        [libraries.clone(), root.join("lib/x86_64-linux-gnu")].map(|path| path.display().to_string());
    let script = format!(
        "#!/bin/sh\nexec {} --library-path {} {} \"$@\"\n",
        loader.display(),
        libraries.join(":"),
        root.join("usr/bin").join(there).display()
    );
    fs::write(&program, script)?;
    Ok(fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?)
}

fn find(root: &Path, name: &str) -> Option<PathBuf> {
    let directories = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib64", "lib64"];
    directories.iter().map(|directory| root.join(directory).join(name)).find(|path| path.is_file())
}
