//! Views of a domain: what `list`, `dominfo`, `domblklist`, `domiflist` and `domifaddr` show.
//!
//! The whole of a domain is its document: `GET /v1/domains/{dom}/xml`.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::host::AcceleratorView;
use crate::is_off;
use crate::readiness::Phase;

/// A domain as it stands now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DomainView {
    /// libvirt's number of the running domain; absent when it is shut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i32>,
    /// Its identity for life.
    pub uuid: Uuid,
    /// Its name, unique on the host.
    #[schema(example = "web1")]
    pub name: String,
    /// The document's `<title>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does, in virsh's words.
    pub state: DomainState,
    /// Why it is in that state, in the words of `virsh domstate --reason`.
    #[schema(example = "booted")]
    pub reason: String,
    /// A definition of it is kept; `false`: it is gone when it stops.
    pub persistent: bool,
    /// It starts with the daemon.
    pub autostart: bool,
    /// Its memory is saved and the next start goes on from there.
    pub managed_save: bool,
    /// Snapshots known of it.
    #[serde(default)]
    pub snapshots: u32,
    /// Virtual processors it has now.
    pub vcpus: u32,
    /// Most memory it may have, in KiB.
    pub max_memory_kib: u64,
    /// Memory it has now, in KiB.
    pub memory_kib: u64,
    /// The document's `<os><type>`.
    #[schema(example = "hvm")]
    pub os_type: String,
    /// The document's `type` attribute, as written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(example = "kvm")]
    pub domain_type: String,
    /// Processor time used since it started, in nanoseconds; absent when it is shut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_time_ns: Option<u64>,
    /// How its processors are run; absent when it is shut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<AcceleratorView>,
    /// The image it was made of, if Lodge made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The machine id inside, as it was read last; only where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// IP addresses known of it, the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// How far the guest inside is; absent when it is shut off or not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Phase>,
    /// QEMU does not answer since this long, in milliseconds; absent when it does or there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_ms: Option<u64>,
    /// The job that has it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// The QEMU process; absent when it is shut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// `<seclabel>`'s model: `none`, `dac`, …
    #[schema(example = "none")]
    pub security_model: String,
    /// The seclabel's domain of interpretation; 0 where there is none.
    #[serde(default)]
    pub security_doi: String,
    /// What was taken otherwise than written, or is odd; each a sentence for a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The definition differs from what runs: it takes effect at the next start.
    #[serde(default, skip_serializing_if = "is_off")]
    pub changed: bool,
    /// When it was defined or created first, if known. Unix time in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_ms: Option<u64>,
    /// When it was started; absent when it is shut off. Unix time in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
}

/// What a domain does, in virsh's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum DomainState {
    /// Not known.
    #[serde(rename = "no state")]
    NoState,
    /// Its processors run.
    #[serde(rename = "running")]
    Running,
    /// It waits on something it asked for.
    #[serde(rename = "idle")]
    Idle,
    /// It is held; its memory stays.
    #[serde(rename = "paused")]
    Paused,
    /// It is being shut down.
    #[serde(rename = "in shutdown")]
    InShutdown,
    /// It does not run.
    #[serde(rename = "shut off")]
    ShutOff,
    /// It crashed, and its definition says to keep it as it is.
    #[serde(rename = "crashed")]
    Crashed,
    /// The guest put itself to sleep.
    #[serde(rename = "pmsuspended")]
    PmSuspended,
}

impl DomainState {
    /// Every state, in the order of libvirt's numbers.
    pub const ALL: [Self; 8] = [
        Self::NoState,
        Self::Running,
        Self::Idle,
        Self::Paused,
        Self::InShutdown,
        Self::ShutOff,
        Self::Crashed,
        Self::PmSuspended,
    ];

    /// virsh's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoState => "no state",
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Paused => "paused",
            Self::InShutdown => "in shutdown",
            Self::ShutOff => "shut off",
            Self::Crashed => "crashed",
            Self::PmSuspended => "pmsuspended",
        }
    }

    /// Whether a QEMU of it exists.
    pub fn is_active(self) -> bool {
        !matches!(self, Self::ShutOff | Self::Crashed | Self::NoState)
    }
}

impl fmt::Display for DomainState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What went, or would go, with a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UndefineReport {
    /// The domain's name.
    pub domain: String,
    /// Nothing was done: this is what would be.
    pub dry_run: bool,
    /// Every file of it, and whether it went.
    pub files: Vec<UndefinedFile>,
}

/// One file of an undefined domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UndefinedFile {
    /// The file.
    pub path: String,
    /// What it is: `definition`, `autostart link`, `disk vda`, `seed`, `nvram`, `managed save`, `log` …
    #[schema(example = "disk vda")]
    pub what: String,
    /// Bytes it takes on the host.
    pub size_bytes: u64,
    /// It went, or with `dry_run` would go.
    pub removed: bool,
    /// Why it stays, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_because: Option<String>,
}

/// The addresses of one interface (`domifaddr`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InterfaceAddresses {
    /// The host's name of it (source lease, arp) or the guest's (source agent).
    #[schema(example = "vnet0")]
    pub name: String,
    /// Its MAC address, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "52:54:00:12:34:56")]
    pub mac: Option<String>,
    /// Its IP addresses.
    pub addresses: Vec<Address>,
}

/// One IP address with its prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Address {
    /// Which IP.
    pub family: AddressFamily,
    /// The address.
    #[schema(example = "192.168.122.23")]
    pub ip: String,
    /// The prefix's length in bits.
    #[schema(example = 24)]
    pub prefix: u8,
}

/// Which IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AddressFamily {
    /// IP version 4.
    Ipv4,
    /// IP version 6.
    Ipv6,
}

impl fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// One disk (`domblklist --details`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockView {
    /// The disk's `type`: `file`, `block`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The disk's `device`: `disk`, `cdrom`, `floppy`.
    pub device: String,
    /// The name the guest's bus gives it.
    #[schema(example = "vda")]
    pub target: String,
    /// Its file; absent for an empty drive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// One network card (`domiflist`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NicView {
    /// The tap device on the host; absent when the domain is shut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The interface's `type`: `network`, `bridge`, `user`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The network or bridge it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The card's model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "virtio")]
    pub model: Option<String>,
    /// Its MAC address.
    pub mac: String,
}
