//! Moving a host from libvirt's daemons to Lodge: what there is to take over, what was taken.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What libvirt's daemons have or left on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Adoption {
    /// Whether this is what was done; otherwise what would be.
    pub done: bool,
    /// libvirt's daemons that still run. While there are any, nothing is taken from them.
    #[serde(default)]
    pub daemons: Vec<LibvirtDaemon>,
    /// Guests.
    #[serde(default)]
    pub domains: Vec<AdoptedDomain>,
    /// Networks.
    #[serde(default)]
    pub networks: Vec<AdoptedNetwork>,
    /// Storage pools.
    #[serde(default)]
    pub pools: Vec<AdoptedFile>,
    /// Secrets.
    #[serde(default)]
    pub secrets: Vec<AdoptedFile>,
    /// What cannot be taken over, each a sentence for a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// A daemon of libvirt's that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LibvirtDaemon {
    /// Its program.
    #[schema(example = "libvirtd")]
    pub program: String,
    /// Its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What it has: `qemu`, `network`, `storage`, `secrets`.
    pub drivers: Vec<String>,
}

/// A guest of libvirt's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdoptedDomain {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Whether it has a definition, which outlives its run.
    pub persistent: bool,
    /// Whether it is started with the host.
    pub autostart: bool,
    /// Whether its memory is saved and the next start goes on from there.
    pub managed_save: bool,
    /// libvirt's number, if it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domid: Option<u32>,
    /// QEMU's process, if it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Lodge has it already; otherwise it is, or was, taken over while it runs.
    pub ours: bool,
}

/// A network of libvirt's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdoptedNetwork {
    /// Its name.
    pub name: String,
    /// Whether it has a definition.
    pub persistent: bool,
    /// Whether it is up.
    pub active: bool,
    /// Whether it is started with the host.
    pub autostart: bool,
    /// Its bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The dnsmasq that serves it; Lodge's netd takes its place, with its leases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dnsmasq_pid: Option<u32>,
    /// Why it was not taken over; it runs on as libvirt left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Something of libvirt's that is only a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdoptedFile {
    /// Its name; a secret's is its UUID.
    pub name: String,
    /// Whether it is started with the host.
    pub autostart: bool,
}

/// How a host is taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdoptOptions {
    /// Give the networks back instead, with their leases: before this daemon is stopped and libvirt's is started.
    #[serde(default, skip_serializing_if = "crate::is_off")]
    pub back: bool,
}
