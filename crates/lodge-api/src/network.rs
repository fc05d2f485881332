//! Views of a network and its leases: what `net-list`, `net-info` and `net-dhcp-leases` show.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::domain::AddressFamily;
use crate::is_off;

/// A network as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetworkView {
    /// Its name, unique on the host.
    #[schema(example = "default")]
    pub name: String,
    /// Its identity for life.
    pub uuid: Uuid,
    /// Its bridge is up and served.
    pub active: bool,
    /// A definition of it is kept.
    pub persistent: bool,
    /// It starts with the daemon.
    pub autostart: bool,
    /// The bridge's name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "virbr0")]
    pub bridge: Option<String>,
    /// The document's `<forward mode>`; absent for an isolated network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "nat")]
    pub forward: Option<String>,
    /// The bridge's addresses with prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The DNS domain of its guests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// What was taken otherwise than written, or is odd; each a sentence for a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How to take in a network's document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct NetworkOptions {
    /// Refuse what libvirt's schema would refuse, unknown elements included.
    #[serde(skip_serializing_if = "is_off")]
    pub validate: bool,
    /// Start it at once and keep no definition (`virsh net-create`).
    #[serde(skip_serializing_if = "is_off")]
    pub start: bool,
}

/// One entry of a network's document is to be other than it is (`virsh net-update`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkUpdate {
    /// What to do with it.
    pub act: UpdateAct,
    /// Where it stands, in virsh's words.
    #[schema(example = "ip-dhcp-host")]
    pub section: String,
    /// Which of several parents, by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
    /// libvirt's element of it.
    pub xml: String,
}

/// What is done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateAct {
    /// It comes after the others.
    AddLast,
    /// It comes before the others.
    AddFirst,
    /// It goes.
    Delete,
    /// What is like it becomes it.
    Modify,
}

/// One DHCP lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lease {
    /// When it ends; absent when it does not. Unix time in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// The card it is for.
    #[schema(example = "52:54:00:12:34:56")]
    pub mac: String,
    /// Which IP.
    pub family: AddressFamily,
    /// The address.
    #[schema(example = "192.168.122.23")]
    pub ip: String,
    /// The prefix's length in bits.
    #[schema(example = 24)]
    pub prefix: u8,
    /// The name the guest gave or the document gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The client's identifier, in hex with colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}
