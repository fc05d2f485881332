//! What runs in a guest, as far as it decides where an identity is kept and who makes a new one.

use lodge_model::guest_disk::Files;
use serde::{Deserialize, Serialize};

use super::text;

/// What was found of an operating system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// The distribution's family. None: no Linux was found in what was read.
    pub family: Option<Family>,
    /// os-release's `PRETTY_NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What starts its services.
    pub init: Init,
    /// cloud-init is there and will make at its first boot what a template lacks.
    pub has_cloud_init: bool,
}

/// Distributions that keep things at the same places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Debian, Ubuntu and their kin.
    Debian,
    /// Fedora, RHEL, Alma, Rocky, CentOS.
    Fedora,
    /// SLE and openSUSE.
    Suse,
    /// Arch.
    Arch,
    /// Alpine.
    Alpine,
    /// Another Linux.
    Other,
}

/// What starts services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// systemd.
    Systemd,
    /// OpenRC.
    OpenRc,
    /// Neither.
    #[default]
    Other,
}

/// The files that tell a Linux and its kind.
pub(crate) const WANTED: &[&str] = &[
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/debian_version",
    "/etc/redhat-release",
    "/etc/SuSE-release",
    "/etc/arch-release",
    "/etc/alpine-release",
    "/etc/passwd",
];

/// Files of which only the presence counts.
pub(crate) const SIGNS: &[&str] = &[
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
    "/sbin/openrc-run",
    "/usr/sbin/openrc-run",
    "/usr/bin/cloud-init",
    "/etc/cloud/cloud.cfg",
    "/usr/bin/dracut",
    "/usr/sbin/dracut",
    "/usr/sbin/mkinitramfs",
    "/usr/bin/mkinitramfs",
    "/usr/bin/mkinitcpio",
    "/usr/sbin/sshd",
    "/usr/bin/sshd",
];

impl System {
    /// Judges what was read.
    pub(crate) fn of(files: &Files) -> Self {
        let has = |path: &str| files.node(path).is_some();
        let release = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| files.text(path));
        let release = release.unwrap_or_default();
        let value = |key| text::shell_value(&release, key).filter(|value| !value.is_empty());
        let init = if has("/usr/lib/systemd/systemd") || has("/lib/systemd/systemd") {
            Init::Systemd
        } else if has("/sbin/openrc-run") || has("/usr/sbin/openrc-run") {
            Init::OpenRc
        } else {
            Init::Other
        };
        Self {
            family: family(&release, &has),
            name: value("PRETTY_NAME").or_else(|| value("NAME")),
            init,
            has_cloud_init: has("/usr/bin/cloud-init") || has("/etc/cloud/cloud.cfg"),
        }
    }
}

fn family(release: &str, has: &dyn Fn(&str) -> bool) -> Option<Family> {
    let ids = format!(
        "{} {}",
        text::shell_value(release, "ID").unwrap_or_default(),
        text::shell_value(release, "ID_LIKE").unwrap_or_default()
    )
    .to_lowercase();
    for id in ids.split_whitespace() {
        let family = match id {
            "debian" | "ubuntu" => Family::Debian,
            "fedora" | "rhel" | "centos" | "almalinux" | "rocky" | "ol" | "amzn" => Family::Fedora,
            "arch" | "archlinux" => Family::Arch,
            "alpine" => Family::Alpine,
            id if id.contains("suse") || id.starts_with("sle") => Family::Suse,
            _ => continue,
        };
        return Some(family);
    }
    if has("/etc/debian_version") {
        Some(Family::Debian)
    } else if has("/etc/redhat-release") {
        Some(Family::Fedora)
    } else if has("/etc/SuSE-release") {
        Some(Family::Suse)
    } else if has("/etc/arch-release") {
        Some(Family::Arch)
    } else if has("/etc/alpine-release") {
        Some(Family::Alpine)
    } else if has("/etc/passwd") || has("/etc/os-release") || has("/usr/lib/os-release") {
        Some(Family::Other)
    } else {
        None
    }
}
