//! `cargo xtask lab layouts`: disks laid out in the ways that Debian is installed in, one image each, kept in
//! `target/lab/layouts`.
//!
//! One tree of packages is made once; `layouts.sh` installs it on each disk. The tests that clone and boot them are
//! `lodge-tests`' own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    apt,
    command::{output, run, target},
};

/// File system, firmware, machine id; each value at least once. `dracut`: with an initramfs that dracut made for the one
/// machine, as Fedora and its kin have it; `lz4`: packed so that only the like can stand behind it.
pub const LAYOUTS: &[&str] = &[
    "ext4-bios-file",
    "xfs-uefi-missing",
    "btrfs-bios-link",
    "lvm-uefi-file",
    "ext4-bios-dracut",
    "ext4-bios-dracut-lz4",
    "xfs-uefi-dracut",
];
const PACKAGES: &str = "systemd-sysv,udev,dbus,dbus-bin,libpam-systemd,linux-image-cloud-amd64,initramfs-tools,zstd,\
                        openssh-server,qemu-guest-agent,grub-pc-bin,grub-efi-amd64-bin,grub-efi-amd64-signed,\
                        shim-signed,grub2-common,lvm2,e2fsprogs,xfsprogs,btrfs-progs,dosfstools,iproute2";
const SUITE: &str = "bookworm";
const INSTALL: &str = include_str!("layouts.sh");
/// Units that are started at boot.
const ENABLED: &[(&str, &str)] = &[
    ("multi-user.target.wants/systemd-networkd.service", "systemd-networkd.service"),
    ("sockets.target.wants/systemd-networkd.socket", "systemd-networkd.socket"),
];

/// The directory of the images, of which those named are made as far as they are not there: `LAYOUT.qcow2`, and `key` to
/// log in as root.
pub fn images(wanted: &[&str]) -> Result<PathBuf> {
    let place = target().join("lab/layouts");
    fs::create_dir_all(&place)?;
    let recipe = format!("{PACKAGES}\n{INSTALL}");
    let made = |layout: &str| place.join(format!("{layout}.made-of"));
    let is_made = |layout: &str| {
        image(&place, layout).is_file() && fs::read_to_string(made(layout)).is_ok_and(|text| text == recipe)
    };
    let missing: Vec<&str> = wanted.iter().copied().filter(|layout| !is_made(layout)).collect();
    if missing.is_empty() {
        return Ok(place);
    }
    let key = place.join("key");
    if !key.is_file() {
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"]).arg(&key))?;
    }
    let install = place.join("layouts.sh");
    fs::write(&install, INSTALL)?;
    for layout in missing {
        let tree = tree(&place, layout)?;
        println!("installing {layout}");
        drop(fs::remove_file(made(layout)));
        let disk = place.join(format!("{layout}.raw"));
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "bash"]).arg(&install).arg(&tree);
        output(unshare.arg(key.with_extension("pub")).arg(&disk).arg(layout))?;
        let mut convert = Command::new("qemu-img");
        convert.args(["convert", "-O", "qcow2"]).arg(&disk).arg(image(&place, layout));
        run(&mut convert)?;
        fs::remove_file(&disk)?;
        fs::write(made(layout), &recipe)?;
    }
    Ok(place)
}

fn image(place: &Path, layout: &str) -> PathBuf {
    place.join(format!("{layout}.qcow2"))
}

/// The packages of a layout, in a tree.
fn tree(place: &Path, layout: &str) -> Result<PathBuf> {
    let (name, packages) = if layout.contains("-dracut") {
        ("tree-dracut", PACKAGES.replace("initramfs-tools", "dracut,lz4"))
    } else {
        ("tree", PACKAGES.to_owned())
    };
    let (tree, whole) = (place.join(name), place.join(format!("{name}.is-whole")));
    if fs::read_to_string(&whole).is_ok_and(|text| text == packages) {
        return Ok(tree);
    }
    println!("making a tree of packages in {}", tree.display());
    drop(fs::remove_file(&whole));
    drop(fs::remove_dir_all(&tree));
    let mirror = apt::mirror().context("apt knows no mirror of Debian")?;
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap.args(["--variant=minbase", &format!("--include={packages}"), SUITE]);
    output(bootstrap.arg(&tree).arg(mirror))?;
    for (link, unit) in ENABLED {
        let link = tree.join("etc/systemd/system").join(link);
        fs::create_dir_all(link.parent().context("a directory")?)?;
        std::os::unix::fs::symlink(format!("/lib/systemd/system/{unit}"), link)?;
    }
    fs::write(whole, packages)?;
    Ok(tree)
}
