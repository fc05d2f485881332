//! Debian packages that the product, its demonstration and its tests need.
//!
//! One trap is known: a machine may carry `qemu-utils` from backports, which then holds back the
//! `qemu-system-x86` of the plain suite; asked plainly, apt may even take the newer `qemu-utils` away to make room.
//! So nothing may be removed, and if the plain install fails for that, the backports suite of the mirror that is
//! already configured is added and the newer version taken.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::command::{exists, output, run};

/// A package, and the file that shows it is there.
#[derive(Clone, Copy)]
pub struct Package {
    name: &'static str,
    proof: &'static str,
}

const fn package(name: &'static str, proof: &'static str) -> Package {
    Package { name, proof }
}

/// What `cargo xtask run` needs.
pub const RUN: &[Package] = &[
    package("gcc", "/usr/bin/cc"),
    package("libc6-dev", "/usr/include/stdio.h"),
    package("qemu-system-x86", "/usr/bin/qemu-system-x86_64"),
    package("qemu-utils", "/usr/bin/qemu-img"),
    package("nftables", "/usr/sbin/nft"),
    package("iproute2", "/usr/bin/ip"),
    package("openssh-client", "/usr/bin/ssh-keygen"),
    package("mmdebstrap", "/usr/bin/mmdebstrap"),
    package("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    package("e2fsprogs", "/sbin/mke2fs"),
    package("dosfstools", "/sbin/mkfs.fat"),
    package("mtools", "/usr/bin/mcopy"),
    package("grub-common", "/usr/bin/grub-mkimage"),
    package("grub-pc-bin", "/usr/lib/grub/i386-pc/boot.img"),
    package("grub-efi-amd64-bin", "/usr/lib/grub/x86_64-efi/kernel.img"),
    package("ca-certificates", "/etc/ssl/certs/ca-certificates.crt"),
];

/// What the tests need beside that.
pub const TEST: &[Package] = &[
    package("busybox-static", "/bin/busybox"),
    package("udhcpc", "/usr/sbin/udhcpc"),
    package("bind9-dnsutils", "/usr/bin/dig"),
    package("genisoimage", "/usr/bin/isoinfo"),
    package("ovmf", "/usr/share/OVMF/OVMF_CODE_4M.fd"),
    package("swtpm", "/usr/bin/swtpm"),
    package("swtpm-tools", "/usr/bin/swtpm_setup"),
    package("passt", "/usr/bin/passt"),
    package("gdisk", "/sbin/sgdisk"),
    package("parted", "/sbin/parted"),
    package("xfsprogs", "/sbin/mkfs.xfs"),
    package("btrfs-progs", "/sbin/mkfs.btrfs"),
    package("cryptsetup-bin", "/sbin/cryptsetup"),
    package("lvm2", "/sbin/pvck"),
    package("kmod", "/sbin/depmod"),
    // Only clients: the doors are tried with those that people have.
    package("libvirt-clients", "/usr/bin/virsh"),
    package("libsasl2-modules", "/usr/share/doc/libsasl2-modules/copyright"),
    package("dbus-daemon", "/usr/bin/dbus-daemon"),
];

/// The programs Lodge is measured against, installed on request only.
pub const PEERS: &[Package] = &[
    package("libvirt-daemon-system", "/usr/sbin/libvirtd"),
    package("libvirt-clients", "/usr/bin/virsh"),
    package("python3-libvirt", "/usr/lib/python3/dist-packages/libvirt.py"),
    package("dnsmasq-base", "/usr/sbin/dnsmasq"),
];

/// QEMUs for other architectures and ARM's UEFI: libvirtd knows of a guest what its QEMU tells.
pub const OTHER_QEMUS: &[Package] = &[
    package("qemu-system-arm", "/usr/bin/qemu-system-aarch64"),
    package("qemu-system-misc", "/usr/bin/qemu-system-riscv64"),
    package("qemu-efi-aarch64", "/usr/share/AAVMF/AAVMF_CODE.fd"),
];

/// libguestfs, and the kernel that its appliance runs, on request only: hundreds of megabytes.
pub const GUESTFS: &[Package] =
    &[package("libguestfs-tools", "/usr/bin/virt-sysprep"), package("linux-image-cloud-amd64", "/vmlinuz")];

/// Clients of libvirt, installed on request only.
pub const CLIENTS: &[Package] = &[
    package("virtinst", "/usr/bin/virt-install"),
    package("virt-manager", "/usr/bin/virt-manager"),
    package("virt-viewer", "/usr/bin/virt-viewer"),
    package("ansible", "/usr/bin/ansible-playbook"),
    package("python3-lxml", "/usr/share/doc/python3-lxml/copyright"),
    package("prometheus-libvirt-exporter", "/usr/bin/prometheus-libvirt-exporter"),
    package("curl", "/usr/bin/curl"),
    package(
        "debian-installer-12-netboot-amd64",
        "/usr/lib/debian-installer/images/12/amd64/text/version.info",
    ),
    package("libsys-virt-perl", "/usr/share/doc/libsys-virt-perl/copyright"),
    package("ruby-libvirt", "/usr/share/doc/ruby-libvirt/copyright"),
    package("libvirt-dbus", "/usr/sbin/libvirt-dbus"),
    package("dbus-daemon", "/usr/bin/dbus-daemon"),
    package("libglib2.0-bin", "/usr/bin/gdbus"),
    package("adwaita-icon-theme", "/usr/share/icons/Adwaita/index.theme"),
    package("xvfb", "/usr/bin/Xvfb"),
    package("xdotool", "/usr/bin/xdotool"),
    package("imagemagick", "/usr/bin/import"),
    package("mmdebstrap", "/usr/bin/mmdebstrap"),
    package("netcat-openbsd", "/usr/bin/nc.openbsd"),
    package("gnutls-bin", "/usr/bin/certtool"),
    package("sasl2-bin", "/usr/sbin/saslpasswd2"),
    package("vagrant", "/usr/bin/vagrant"),
    package("vagrant-libvirt", "/usr/share/doc/vagrant-libvirt/copyright"),
    package("dropbear-bin", "/usr/sbin/dropbear"),
    package("cpio", "/usr/bin/cpio"),
    package("chromium", "/usr/bin/chromium"),
    package("chromium-driver", "/usr/bin/chromedriver"),
    package("libjson-glib-1.0-0", "/usr/share/doc/libjson-glib-1.0-0/copyright"),
];

/// What would open a port of this machine if it were installed, and is only unpacked.
pub const UNPACKED: &[&str] =
    &["openssh-server", "libwrap0", "cockpit-ws", "cockpit-bridge", "cockpit-system", "cockpit-machines"];

/// What running and testing need.
pub const ALL: &[&[Package]] = &[RUN, TEST];

/// Installs what is missing of `sets`; does nothing, quickly, when all is there.
pub fn install(sets: &[&[Package]]) -> Result<()> {
    let missing: Vec<&str> = sets
        .iter()
        .copied()
        .flatten()
        .filter(|package| !there(package.proof))
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !exists("apt-get") {
        bail!(
            "these Debian packages are missing, and this is no Debian: {}\ninstall their like and run this again",
            missing.join(" ")
        );
    }
    if !is_root() {
        bail!(
            "these Debian packages are missing: {0}\nrun this as root, or: apt-get install {0}",
            missing.join(" ")
        );
    }
    println!("installing Debian packages: {}", missing.join(" "));
    run(Command::new("apt-get").args(["-q", "update"]).stdout(std::process::Stdio::null()))?;
    if let Err(plain) = apt_install(&missing, None) {
        let suite = add_backports().context("the plain install failed, and backports could not be added")?;
        println!("the plain suite did not do ({plain:#}); taking {suite}");
        apt_install(&missing, Some(&suite))?;
    }
    // SPICE is a package of its own on newer Debians and not there at all on older ones; Lodge falls back to VNC.
    if missing.contains(&"qemu-system-x86") && apt_install(&["qemu-system-modules-spice"], None).is_err() {
        println!("this QEMU has no SPICE module to install; guests that ask for SPICE get VNC");
    }
    let still: Vec<&str> = sets
        .iter()
        .copied()
        .flatten()
        .filter(|package| !there(package.proof))
        .map(|package| package.name)
        .collect();
    if still.is_empty() { Ok(()) } else { bail!("installed, yet not found: {}", still.join(" ")) }
}

/// Unpacks packages into a directory, once, with nothing of them installed or started.
pub fn unpack(packages: &[&str], root: &Path) -> Result<()> {
    let list = root.join("packages");
    if fs::read_to_string(&list).is_ok_and(|there| there == packages.join("\n")) {
        return Ok(());
    }
    drop(fs::remove_dir_all(root));
    let fetched = root.join("fetched");
    fs::create_dir_all(&fetched).with_context(|| format!("cannot make {}", fetched.display()))?;
    output(Command::new("apt-get").args(["-q", "download"]).args(packages).current_dir(&fetched))?;
    for entry in fs::read_dir(&fetched)? {
        output(Command::new("dpkg-deb").arg("-x").arg(entry?.path()).arg(root))?;
    }
    fs::remove_dir_all(&fetched)?;
    Ok(fs::write(list, packages.join("\n"))?)
}

/// Whether we may do what only root may.
pub fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

/// Debian merged `/bin` into `/usr/bin` some releases ago; either place counts.
fn there(proof: &str) -> bool {
    let alternatives = [proof.to_owned(), format!("/usr{proof}"), proof.replace("/usr/sbin/", "/usr/bin/")];
    alternatives.iter().any(|path| fs::metadata(path).is_ok())
}

fn apt_install(packages: &[&str], suite: Option<&str>) -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    // Whatever is on this machine is somebody's: a package that is in the way is a reason to try another way.
    apt.args(["-q", "-y", "--no-install-recommends", "--no-remove"]);
    if let Some(suite) = suite {
        apt.args(["-t", suite]);
    }
    output(apt.arg("install").args(packages)).map(drop)
}

/// The mirror that this host takes Debian from.
pub fn mirror() -> Option<String> {
    let codename = codename().ok()?;
    let is_debian = |suites: &str| suites.split_whitespace().any(|suite| suite == codename);
    configured_sources().into_iter().find(|(_, suites)| is_debian(suites)).map(|(uri, _)| uri)
}

/// Debian's name for what this host runs.
fn codename() -> Result<String> {
    let os_release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let mut lines = os_release.lines();
    let name = lines.find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("/etc/os-release names no VERSION_CODENAME")?.trim_matches('"').to_owned())
}

/// Adds the backports suite beside the Debian suite that is configured, from the same mirror.
fn add_backports() -> Result<String> {
    let codename = codename()?;
    let suite = format!("{codename}-backports");
    let sources = configured_sources();
    if sources.iter().any(|(_, suites)| suites.split_whitespace().any(|known| known == suite)) {
        return Ok(suite);
    }
    let (uri, _) = sources
        .iter()
        .find(|(_, suites)| suites.split_whitespace().any(|known| known == codename))
        .with_context(|| format!("no apt source for {codename} was found under /etc/apt"))?;
    let entry = format!(
        "# Added by `cargo xtask` of Lodge: QEMU from backports.\nTypes: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    );
    fs::write("/etc/apt/sources.list.d/lodge-backports.sources", entry)
        .context("cannot write /etc/apt/sources.list.d/lodge-backports.sources")?;
    run(Command::new("apt-get").args(["-q", "update"]).stdout(std::process::Stdio::null()))?;
    Ok(suite)
}

/// Every (URI, suites) pair of apt's configuration, in both of its formats.
fn configured_sources() -> Vec<(String, String)> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        // apt reads no others: one of another name was put aside.
        let is_read = |path: &PathBuf| path.extension().is_some_and(|end| end == "list" || end == "sources");
        files.extend(entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_read));
    }
    let mut found = Vec::new();
    for text in files.iter().filter_map(|file| fs::read_to_string(file).ok()) {
        found.extend(text.lines().filter_map(one_line_source));
        found.extend(text.split("\n\n").filter_map(deb822_source));
    }
    found
}

fn one_line_source(line: &str) -> Option<(String, String)> {
    let rest = line.trim().strip_prefix("deb ")?;
    let rest = if rest.trim_start().starts_with('[') { rest.split_once(']')?.1 } else { rest };
    let mut words = rest.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

fn deb822_source(stanza: &str) -> Option<(String, String)> {
    let field = |name: &str| {
        stanza.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
    };
    Some((field("URIs:")?.split_whitespace().next()?.to_owned(), field("Suites:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_of_apt_sources_are_read() {
        assert_eq!(
            one_line_source("deb [signed-by=/k.gpg] http://mirror/debian bookworm main"),
            Some(("http://mirror/debian".into(), "bookworm".into()))
        );
        assert_eq!(one_line_source("# deb http://mirror/debian bookworm main"), None);
        assert_eq!(
            deb822_source("Types: deb\nURIs: http://mirror/debian\nSuites: bookworm bookworm-updates\n"),
            Some(("http://mirror/debian".into(), "bookworm bookworm-updates".into()))
        );
    }
}
