//! Snapshots of domains.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::is_off;

/// A snapshot of a domain, without its documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SnapshotView {
    /// Its name.
    pub name: String,
    /// The domain's name.
    pub domain: String,
    /// A text for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What the guest did: libvirt's word, such as `running`, `shutoff`, `disk-snapshot`.
    pub state: String,
    /// Where its bytes are: `internal` (inside the disks' images) or `external` (in files of their own).
    pub location: String,
    /// It is the one that the guest's disks come from now.
    pub current: bool,
    /// The snapshot it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Those that came from it.
    pub children: u32,
    /// All below it.
    pub descendants: u32,
    /// When it was taken, in milliseconds since 1970.
    pub created_ms: u64,
    /// The guest's memory belongs to it.
    pub memory: bool,
}

/// How to take a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct SnapshotCreate {
    /// Take nothing: what is known of an earlier snapshot is given back.
    #[serde(skip_serializing_if = "is_off")]
    pub redefine: bool,
    /// With `redefine`: it is the current one.
    #[serde(skip_serializing_if = "is_off")]
    pub current: bool,
    /// Keep no knowledge of it.
    #[serde(skip_serializing_if = "is_off")]
    pub no_metadata: bool,
    /// The guest is off afterwards.
    #[serde(skip_serializing_if = "is_off")]
    pub halt: bool,
    /// The disks without the memory, in files of their own.
    #[serde(skip_serializing_if = "is_off")]
    pub disk_only: bool,
    /// The new files are there already.
    #[serde(skip_serializing_if = "is_off")]
    pub reuse_external: bool,
    /// The guest's file systems stand still meanwhile, by its agent.
    #[serde(skip_serializing_if = "is_off")]
    pub quiesce: bool,
    /// The guest runs on while its memory is taken.
    #[serde(skip_serializing_if = "is_off")]
    pub live: bool,
    /// Refuse what libvirt's schema would refuse.
    #[serde(skip_serializing_if = "is_off")]
    pub validate: bool,
}

/// How to go back to a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SnapshotRevert {
    /// The guest runs afterwards, whatever it did then.
    #[serde(skip_serializing_if = "is_off")]
    pub running: bool,
    /// The guest is paused afterwards.
    #[serde(skip_serializing_if = "is_off")]
    pub paused: bool,
    /// Also where something could be lost.
    #[serde(skip_serializing_if = "is_off")]
    pub force: bool,
    /// Make the UEFI variables anew from their template.
    #[serde(skip_serializing_if = "is_off")]
    pub reset_nvram: bool,
}

/// What goes with a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct SnapshotDelete {
    /// With all that came from it.
    #[serde(skip_serializing_if = "is_off")]
    pub children: bool,
    /// Only what came from it.
    #[serde(skip_serializing_if = "is_off")]
    pub children_only: bool,
    /// Only what is known of it; all bytes stay.
    #[serde(skip_serializing_if = "is_off")]
    pub metadata: bool,
}

/// How to write a snapshot's document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct SnapshotXmlOptions {
    /// With passwords.
    #[serde(skip_serializing_if = "is_off")]
    pub security_info: bool,
}
