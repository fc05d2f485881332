//! What lies on guests' disks: devices, as lsblk shows them, and files.
//!
//! Names and paths are the guest's: bytes that are no UTF-8 are shown escaped.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::is_off;

/// Which disks, and what on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GuestDiskQuery {
    /// A domain's name, UUID or number; or the absolute path of an image on the daemon's host.
    pub of: String,
    /// Of an image: its format, `qcow2` or `raw`. Left out, it is told by the name's ending: `.qcow2` or `.img`, `.raw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The tree of this device alone (`vda2`, `rhel-root`); left out, the guest's whole tree over its own mounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Of files: the path in the guest; left out, `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Of files: how many directories deep; left out, one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Read the disks of a guest that runs, too. What it has not written yet is missing, and files may be torn.
    #[serde(default, skip_serializing_if = "is_off")]
    pub live: bool,
}

/// All devices of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuestDevices {
    /// Its disks.
    pub disks: Vec<GuestDevice>,
    /// What could not be read, and why.
    pub gaps: Vec<GuestGap>,
}

/// A disk or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuestDevice {
    /// Its name.
    #[schema(example = "vda1")]
    pub name: String,
    /// `disk`, `part`, `lvm` or `raid`.
    #[schema(example = "part")]
    pub kind: String,
    /// Its size.
    pub bytes: u64,
    /// Where it begins on its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// The partition table on it: `gpt` or `dos`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The table's GUID or signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_uuid: Option<String>,
    /// What its partition table says its type is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_type: Option<String>,
    /// The partition's own GUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_uuid: Option<String>,
    /// The partition's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_label: Option<String>,
    /// What lies in it, in blkid's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "ext4")]
    pub fstype: Option<String>,
    /// That one's UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// That one's label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What of it is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// Where the guest's own fstab mounts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_point: Option<String>,
    /// What lies on it. A device that lies on several is under each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub children: Vec<GuestDevice>,
}

/// A place that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuestGap {
    /// The device, or the path in the guest.
    pub place: String,
    /// Why.
    pub why: String,
}

/// A file on a guest's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuestFile {
    /// Its path in the guest.
    #[schema(example = "/etc/machine-id")]
    pub path: String,
    /// `file`, `directory`, `link` or `other`.
    pub kind: String,
    /// Its size.
    pub bytes: u64,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// The twelve permission bits.
    pub mode: u16,
    /// When it was last written, in seconds since 1970.
    pub modified: i64,
    /// Where a link points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}
