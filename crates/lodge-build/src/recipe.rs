//! What can be built: a name, a suite, and the packages that make it a good guest.
//!
//! A recipe is data. How a system is made of it is the same for all of them.

/// What to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// The image's name: `debian-12`.
    pub name: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// Debian's name of the release.
    pub suite: &'static str,
    /// Packages beside those of every recipe.
    extra: &'static [&'static str],
}

/// Why each is there: see [`Recipe::packages`].
const COMMON: &[&str] = &[
    // The system itself. `locales` because cloud-init's locale module calls `locale-gen`.
    "systemd-sysv",
    "udev",
    "dbus",
    "linux-image-cloud-amd64",
    "zstd",
    "locales",
    "tzdata",
    "libpam-systemd",
    // First boot: cloud-init, growpart (needs `fdisk`) and what its modules call.
    "cloud-init",
    "cloud-guest-utils",
    "fdisk",
    "e2fsprogs",
    "netplan.io",
    "systemd-resolved",
    "libnss-myhostname",
    // Reached from the host.
    "openssh-server",
    "qemu-guest-agent",
    // `update-grub` after a kernel's upgrade, for both firmwares. The `-bin` packages only: the
    // others want to write to a disk when they are configured, and here there is none.
    "grub-pc-bin",
    "grub-efi-amd64-bin",
    "grub2-common",
    // A person who logs in expects these.
    "sudo",
    "ca-certificates",
    "curl",
    "less",
    "iproute2",
];

const ALL: &[Recipe] = &[
    Recipe { name: "debian-12", title: "Debian 12 (bookworm)", suite: "bookworm", extra: &[] },
    Recipe { name: "debian-13", title: "Debian 13 (trixie)", suite: "trixie", extra: &[] },
];

impl Recipe {
    /// Every recipe there is.
    pub fn all() -> &'static [Recipe] {
        ALL
    }

    /// The recipe of this name.
    pub fn named(name: &str) -> Option<&'static Recipe> {
        ALL.iter().find(|recipe| recipe.name == name)
    }

    /// The packages asked for; apt adds what they depend on.
    pub fn packages(&self) -> impl Iterator<Item = &'static str> {
        COMMON.iter().chain(self.extra).copied()
    }
}
