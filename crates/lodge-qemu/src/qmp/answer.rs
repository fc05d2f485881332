//! What monitor commands answer, as far as Lodge looks at it. Fields that are not named here are ignored, and a value
//! that QEMU may add to an enumeration one day arrives as `Other`.

use serde::{Deserialize, Serialize};

use super::open_enum::open_enum;

/// A QEMU's version. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VersionNumber {
    /// 10 in 10.0.2.
    pub major: u32,
    /// 0 in 10.0.2.
    pub minor: u32,
    /// 2 in 10.0.2.
    pub micro: u32,
}

impl VersionNumber {
    /// Whether it is `major.minor` or later.
    pub fn at_least(self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }
}

impl std::fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// Answer of `query-version`.
#[derive(Debug, Clone, Deserialize)]
pub struct Version {
    /// The number.
    pub qemu: VersionNumber,
    /// The packager's addition, such as `Debian 1:10.0.2+ds-2`.
    #[serde(default)]
    pub package: String,
}

open_enum! {
    /// What the virtual machine does now (`RunState`).
    RunState {
        /// The processors run.
        Running = "running",
        /// Held by a command.
        Paused = "paused",
        /// Not started yet (`-S`).
        Prelaunch = "prelaunch",
        /// Waits for an incoming migration or a saved memory.
        InMigrate = "inmigrate",
        /// Held, after its memory went elsewhere.
        PostMigrate = "postmigrate",
        /// Held for the last part of a migration.
        FinishMigrate = "finish-migrate",
        /// Being restored.
        RestoreVm = "restore-vm",
        /// Being saved.
        SaveVm = "save-vm",
        /// The guest has powered itself off, and `-no-shutdown` keeps the process.
        Shutdown = "shutdown",
        /// The guest sleeps (ACPI S3).
        Suspended = "suspended",
        /// Held by an error of a disk.
        IoError = "io-error",
        /// Held by an error inside QEMU or KVM.
        InternalError = "internal-error",
        /// Held by its watchdog.
        Watchdog = "watchdog",
        /// Its kernel has panicked and said so.
        GuestPanicked = "guest-panicked",
        /// Held by a debugger.
        Debug = "debug",
        /// Checkpointing (COLO).
        Colo = "colo",
    }
}

/// Answer of `query-status`.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// Whether the processors run.
    pub running: bool,
    /// What else.
    pub status: RunState,
}

/// One of `query-cpus-fast`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Vcpu {
    /// Number from 0.
    pub cpu_index: u32,
    /// Thread of the host. Under single-threaded TCG all processors share one.
    pub thread_id: u32,
    /// Path in QEMU's object tree.
    #[serde(default)]
    pub qom_path: String,
}

/// Answer of `query-kvm`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct KvmPresence {
    /// KVM is in use.
    pub enabled: bool,
    /// This QEMU was built with it.
    pub present: bool,
}

/// One of `query-machines`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    /// `pc-q35-10.0`.
    pub name: String,
    /// `q35`, on the newest of a family.
    #[serde(default)]
    pub alias: Option<String>,
    /// Taken when none is asked for.
    #[serde(default)]
    pub is_default: bool,
    /// Most processors.
    pub cpu_max: u32,
    /// QEMU will drop it.
    #[serde(default)]
    pub deprecated: bool,
    /// The processor model it has by default.
    #[serde(default)]
    pub default_cpu_type: Option<String>,
    /// What its memory is called in a saved or migrated guest.
    #[serde(default)]
    pub default_ram_id: Option<String>,
    /// Whether memory can be added while it runs.
    #[serde(default)]
    pub hotpluggable_cpus: bool,
}

impl Machine {
    /// The processor model it has by default: `qemu64` of `qemu64-x86_64-cpu`.
    pub fn default_cpu(&self) -> Option<&str> {
        let name = self.default_cpu_type.as_deref()?.strip_suffix("-cpu")?;
        name.rsplit_once('-').map(|(model, _)| model)
    }
}

/// One of `query-cpu-definitions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CpuModel {
    /// `Skylake-Client`.
    pub name: String,
    /// What the accelerator cannot give of it; empty: all of it works here. `None`: not known.
    #[serde(default)]
    pub unavailable_features: Option<Vec<String>>,
    /// QEMU will drop it.
    #[serde(default)]
    pub deprecated: bool,
    /// Another model which this is the name of.
    #[serde(default)]
    pub alias_of: Option<String>,
}

/// One of `qom-list-types`.
#[derive(Debug, Clone, Deserialize)]
pub struct TypeName {
    /// `virtio-net-pci`.
    pub name: String,
}

/// One of `device-list-properties`.
#[derive(Debug, Clone, Deserialize)]
pub struct DeviceProperty {
    /// `bootindex`.
    pub name: String,
}

/// One of `query-command-line-options`.
#[derive(Debug, Clone, Deserialize)]
pub struct CommandLineOption {
    /// `sandbox`, without its hyphen.
    pub option: String,
    /// What may follow.
    #[serde(default)]
    pub parameters: Vec<OptionParameter>,
}

/// A parameter of a command-line option.
#[derive(Debug, Clone, Deserialize)]
pub struct OptionParameter {
    /// `elevateprivileges`.
    pub name: String,
}

/// One of `query-chardev`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Chardev {
    /// Its id.
    pub label: String,
    /// `pty:/dev/pts/3`, `disconnected:unix:…`.
    pub filename: String,
    /// Whether the guest has opened its side.
    #[serde(default)]
    pub frontend_open: bool,
}

impl Chardev {
    /// The terminal, if it is one.
    pub fn pty(&self) -> Option<&str> {
        self.filename.strip_prefix("pty:").map(|rest| rest.split(',').next().unwrap_or(rest))
    }
}

/// Answer of `query-balloon`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Balloon {
    /// What the guest has now, in bytes.
    pub actual: u64,
}

/// Answer of `query-spice`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Spice {
    /// Whether it serves.
    pub enabled: bool,
    /// Address.
    #[serde(default)]
    pub host: Option<String>,
    /// Plain port.
    #[serde(default)]
    pub port: Option<u16>,
    /// TLS port.
    #[serde(default)]
    pub tls_port: Option<u16>,
}

/// Answer of `query-vnc`.
#[derive(Debug, Clone, Deserialize)]
pub struct Vnc {
    /// Whether it serves.
    pub enabled: bool,
    /// Address.
    #[serde(default)]
    pub host: Option<String>,
    /// Port, or the path of a socket.
    #[serde(default)]
    pub service: Option<String>,
}

/// Answer of `add-fd`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AddedFd {
    /// The set it went into: `/dev/fdset/N`.
    pub fdset_id: u32,
    /// Its number inside QEMU.
    pub fd: i32,
}

/// One of `query-fdsets`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FdSet {
    /// N of `/dev/fdset/N`.
    pub fdset_id: u32,
    /// What is in it.
    #[serde(default)]
    pub fds: Vec<FdOfSet>,
}

/// A descriptor of a set.
#[derive(Debug, Clone, Deserialize)]
pub struct FdOfSet {
    /// Its number inside QEMU.
    pub fd: i32,
    /// What was said of it: `rdonly` or `rdwr`.
    #[serde(default)]
    pub opaque: Option<String>,
}

/// Answer of `query-uuid`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct GuestUuid {
    /// The machine's UUID.
    #[serde(rename = "UUID")]
    pub uuid: uuid::Uuid,
}

/// Answer of `query-name`.
#[derive(Debug, Clone, Deserialize)]
pub struct GuestName {
    /// What `-name guest=` said.
    #[serde(default)]
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_later_qemu_are_kept() {
        let status: Status =
            serde_json::from_str(r#"{"running": false, "status": "teleporting", "new": 1}"#).unwrap();
        assert_eq!(status.status, RunState::Other("teleporting".into()));
        assert_eq!(status.status.to_string(), "teleporting");
    }

    #[test]
    fn a_pty_is_told_from_its_file_name() {
        let chardev = |filename: &str| Chardev {
            label: "serial0".into(),
            filename: filename.into(),
            frontend_open: true,
        };
        assert_eq!(chardev("pty:/dev/pts/3").pty(), Some("/dev/pts/3"));
        assert_eq!(chardev("unix:/x").pty(), None);
    }
}
