//! Who a machine is: the catalogue of all that makes one machine this machine and no other.
//!
//! ```text
//! wanted ──▶ (somebody reads the files) ──▶ read ──▶ plan ──▶ (somebody carries the edits out) ──▶ read ──▶ verify
//!                                            │                                                      │
//!                                            └──▶ diff, duplicates, machine_id                      └──▶ clean
//! ```
//!
//! Place: ground, for those who make images (`lodge-build`), clones and audits (`lodge-engine`).
//! Pure: no I/O, no clock, no `async`; randomness is given in ([`Fresh`]). It judges the documents of
//! `lodge_model::guest_disk`, so a stopped guest (read from its disk) and a running one (told by its agent) are
//! judged by the same code. Everything in them was written by a guest and is a claim: bounded, parsed without panics.
//!
//! - An *item* is one value at one place ([`Item`]). Its [`Kind`] is a short name that commands and audits use.
//! - Items that need judgement are a file each ([`machine_id`], `host_name`, `ssh_keys`, `network`, `devices`); all
//!   that is only "a file to read and to reset" is a rule in `rules.toml`, and a host's owner may add more.
//! - The bytes of a private key or a secret are never in an [`Identity`]: fingerprints are.
//! - What could not be read is [`State::Unknown`], never missing.
//!
//! Deliberately absent: reading and editing disks (`lodge-disk`), the host's own side of an identity (MAC, SMBIOS
//! UUID: they are the definition's; only what the host says of them is compared here), Windows.

mod clean;
mod compare;
mod customize;
mod devices;
mod draft;
mod empty;
mod fresh;
mod host;
mod host_name;
mod machine_id;
mod network;
mod operations;
mod plan;
mod read;
mod rules;
mod seen;
mod ssh_keys;
mod system;
mod text;
mod verify;
mod wish;

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

pub use clean::Left;
pub use compare::{Difference, Duplicate, diff, duplicates};
pub use customize::{BadStep, Step, Upload, wanted as wanted_of_steps};
pub use devices::verify_archives;
pub use fresh::Fresh;
pub use host::HostFacts;
pub use machine_id::machine_id;
pub use operations::{OPERATIONS, Operation, UnknownOperation};
pub use plan::{Change, Flagged, Kept, Plan, PlanError};
pub use rules::{RuleError, RuleInForce};
pub use system::{Family, Init, System};
pub use verify::{Verdict, verify};
pub use wish::{Address, DeviceUuids, NicWish, Operations, PrivateKeys, Purpose, StaticAddress, Wish};

/// All that is known of a guest's identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What runs in it, as far as that decides where things are kept.
    pub system: System,
    /// The items, in the catalogue's order and then by place.
    pub items: Vec<Item>,
}

/// One value at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Where: a path, with `: KEY` after it where the value is a part of a file; a device; or the host.
    pub place: String,
    /// Whether it is there.
    pub state: State,
    /// The value, or the fingerprint of one that is secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What else there is to say: why it is not readable, where a link points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// No two machines may have the same value. False for what is alike on purpose (a certificate of a service that
    /// several machines give) and for what is no value (a log).
    #[serde(default)]
    pub is_unique: bool,
}

/// What an item is, as a short name: `machine-id`, `ssh-host-key`. A rule of the host's owner brings its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kind(Cow<'static, str>);

/// Whether an item is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// With a value.
    Present,
    /// The place is there and holds nothing: what a template should be.
    Empty,
    /// The place is not there.
    Missing,
    /// It is there and makes no sense; the note says why.
    Unreadable,
    /// Nobody could look; the note says why.
    Unknown,
}

/// The catalogue: the items in code, the rules that come with the program and those of the host's owner.
#[derive(Debug, Clone)]
pub struct Catalogue {
    rules: Vec<rules::Rule>,
    /// Of all that decides what is read: another one reads other things in the same files.
    print: String,
}

impl Kind {
    /// D-Bus's and systemd's machine id.
    pub const MACHINE_ID: Self = Self::known("machine-id");
    /// The host name.
    pub const HOST_NAME: Self = Self::known("host-name");
    /// An SSH host key.
    pub const SSH_HOST_KEY: Self = Self::known("ssh-host-key");
    /// A certificate of a host key.
    pub const SSH_HOST_CERTIFICATE: Self = Self::known("ssh-host-certificate");
    /// A NIC's address.
    pub const MAC: Self = Self::known("mac-address");
    /// An address that is written down.
    pub const STATIC_ADDRESS: Self = Self::known("static-address");
    /// NetworkManager's UUID of a connection, also of an ifcfg file.
    pub const CONNECTION_UUID: Self = Self::known("connection-uuid");
    /// What a DHCP client says it is.
    pub const DHCP_CLIENT_ID: Self = Self::known("dhcp-client-id");
    /// A disk's GUID or signature.
    pub const DISK_ID: Self = Self::known("disk-id");
    /// A partition's GUID.
    pub const PARTITION_ID: Self = Self::known("partition-id");
    /// The UUID of a file system, of swap or of a volume.
    pub const CONTENT_UUID: Self = Self::known("content-uuid");
    /// The UUID of a volume group.
    pub const GROUP_UUID: Self = Self::known("group-uuid");
    /// The UUID of a logical volume.
    pub const VOLUME_UUID: Self = Self::known("volume-uuid");
    /// What SMBIOS tells the guest it is.
    pub const SMBIOS_UUID: Self = Self::known("smbios-uuid");
    /// The VM generation id.
    pub const GENERATION_ID: Self = Self::known("generation-id");
    /// A value that a template leaves empty and somebody must fill.
    pub const TEMPLATE_VALUE: Self = Self::known("template-value");

    const fn known(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// A rule's kind.
    pub(crate) fn of_rule(name: &str) -> Self {
        Self(Cow::Owned(name.to_owned()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Item {
    /// An item that is there.
    pub(crate) fn present(kind: Kind, place: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            kind,
            place: place.into(),
            state: State::Present,
            value: Some(value.into()),
            note: None,
            is_unique: true,
        }
    }

    /// An item without a value.
    pub(crate) fn absent(kind: Kind, place: impl Into<String>, state: State) -> Self {
        Self { kind, place: place.into(), state, value: None, note: None, is_unique: false }
    }

    /// With something to say.
    pub(crate) fn noting(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// One that others may share.
    pub(crate) fn shared(mut self) -> Self {
        self.is_unique = false;
        self
    }
}

impl Identity {
    /// The items of a kind.
    pub fn of(&self, kind: &Kind) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.kind == *kind)
    }

    /// The item of a kind at a place.
    pub fn at(&self, kind: &Kind, place: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.kind == *kind && item.place == place)
    }

    /// What somebody must still fill: empty and missing values that a machine cannot be without.
    pub fn to_fill(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| {
            matches!(item.state, State::Empty | State::Missing)
                && (item.kind == Kind::TEMPLATE_VALUE
                    || item.kind == Kind::HOST_NAME
                    || item.kind == Kind::MACHINE_ID
                    || item.kind == Kind::SSH_HOST_KEY)
        })
    }
}
