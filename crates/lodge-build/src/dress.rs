//! Makes a good guest of a plain tree of packages: the configuration files, one table.
//!
//! Only what a guest needs from the first boot on. Users, keys, networks and the host's name come
//! with each guest's own seed (cloud-init), never from the image.

use crate::{apt::Mirror, disk::Layout, error::BuildError, recipe::Recipe, tree::Tree};

/// The kernel's parameters beside `root=`: both consoles, the serial one last so that it gets
/// systemd's messages too.
pub(crate) const KERNEL_PARAMETERS: &str = "console=tty0 console=ttyS0,115200";

const SYSTEM_UNITS: &str = "/lib/systemd/system";

/// cloud-init asks no cloud's metadata address, which would wait for answers that never come.
/// `notfound=enabled`: without a seed it still makes the ssh host keys.
const CLOUD_CFG: &str = "\
# Written by the image's build. The seed of this guest overrides it.
datasource_list: [ NoCloud, ConfigDrive, None ]
apt:
  preserve_sources_list: true
# Where GRUB lies was decided by the build, debconf knows nothing of it.
grub_dpkg:
  enabled: false
# RSA takes seconds to make on a slow processor, and every client of the last ten years knows these.
ssh_genkeytypes: [ ed25519, ecdsa ]
";
const DS_IDENTIFY: &str = "policy: search,found=all,maybe=none,notfound=enabled\n";

/// One configured link is enough: a second one without an address must not hold the boot up.
const WAIT_ONLINE: &str = "\
[Service]
ExecStart=
ExecStart=/lib/systemd/systemd-networkd-wait-online --any --timeout=60
";

const GRUB_DEFAULTS: &str = r#"# Read by update-grub, see grub-mkconfig(8).
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
GRUB_DISABLE_OS_PROBER=true
"#;

const HOSTS: &str = "\
127.0.0.1 localhost
::1       localhost ip6-localhost ip6-loopback
ff02::1   ip6-allnodes
ff02::2   ip6-allrouters
";

/// Enabled, as `systemctl enable` would: (link, unit).
const ENABLED: &[(&str, &str)] = &[
    ("multi-user.target.wants/systemd-networkd.service", "systemd-networkd.service"),
    ("sockets.target.wants/systemd-networkd.socket", "systemd-networkd.socket"),
    ("dbus-org.freedesktop.network1.service", "systemd-networkd.service"),
    (
        "network-online.target.wants/systemd-networkd-wait-online.service",
        "systemd-networkd-wait-online.service",
    ),
];

/// Not started on their own: each costs seconds of a small guest's first minutes, and who wants
/// them enables them.
const DISABLED: &[&str] = &[
    "timers.target.wants/apt-daily.timer",
    "timers.target.wants/apt-daily-upgrade.timer",
    "timers.target.wants/dpkg-db-backup.timer",
    "timers.target.wants/e2scrub_all.timer",
    "timers.target.wants/man-db.timer",
    "multi-user.target.wants/e2scrub_reap.service",
];

/// Writes the guest's configuration.
pub(crate) fn dress(
    tree: &Tree,
    recipe: &Recipe,
    mirror: &Mirror,
    layout: &Layout,
) -> Result<(), BuildError> {
    let fstab = format!(
        "UUID={} /         ext4 errors=remount-ro  0 1\n\
         UUID={} /boot/efi vfat umask=0077,noauto  0 0\n",
        layout.root_uuid,
        layout.esp_uuid(),
    );
    let sources = mirror.lines(recipe.suite).join("\n") + "\n";
    let files = [
        ("etc/fstab", fstab.as_str()),
        ("etc/hostname", "localhost\n"),
        ("etc/hosts", HOSTS),
        ("etc/apt/sources.list", &sources),
        ("etc/default/locale", "LANG=C.UTF-8\n"),
        ("etc/default/grub", GRUB_DEFAULTS),
        ("etc/cloud/cloud.cfg.d/90_lodge.cfg", CLOUD_CFG),
        ("etc/cloud/ds-identify.cfg", DS_IDENTIFY),
        ("etc/systemd/system/systemd-networkd-wait-online.service.d/any.conf", WAIT_ONLINE),
    ];
    for (path, text) in files {
        tree.write(path, text.as_bytes(), 0o644)?;
    }
    for (link, unit) in ENABLED {
        tree.link(&format!("etc/systemd/system/{link}"), &format!("{SYSTEM_UNITS}/{unit}"))?;
    }
    for link in DISABLED {
        tree.remove(&format!("etc/systemd/system/{link}"))?;
    }
    tree.link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")?;
    tree.make_dir("boot/efi", 0o700)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grub_gets_the_same_parameters_from_both_of_its_configurations() {
        assert!(GRUB_DEFAULTS.contains(&format!("GRUB_CMDLINE_LINUX=\"{KERNEL_PARAMETERS}\"")));
    }
}
