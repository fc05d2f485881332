//! Who needs which file, what guests are made of, what is wrong with it, how pools fill, and acts on chains.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::is_off;

/// A reason why a file's bytes must stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NeedView {
    /// `running`, `act`, `defined`, `snapshot`, `backing`, `image`, `template` or `locked`.
    #[schema(example = "backing")]
    pub kind: String,
    /// In words.
    #[schema(example = "volume '/var/lib/libvirt/images/web1.qcow2' stands on it")]
    pub why: String,
    /// What to do so that it is needed no more.
    pub next: String,
    /// The guest, where it is a guest's need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

/// Which file on the daemon's host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FileQuery {
    /// Its path.
    pub path: String,
    /// Of a chain: the top file's format, `qcow2` (so if it is left out) or `raw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// A file of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainLinkView {
    /// The file.
    pub path: String,
    /// Its format.
    pub format: String,
    /// The disk's size as a guest sees it at this depth.
    pub guest_bytes: u64,
    /// What it takes on the host.
    pub host_bytes: u64,
    /// Only a passphrase opens it, as headers say.
    #[serde(default)]
    pub encrypted: bool,
    /// Who needs it.
    pub needs: Vec<NeedView>,
}

/// What becomes of the upper file after a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChainAfter {
    /// It stays as it is.
    #[default]
    Keep,
    /// It becomes an empty file on the lower one.
    Empty,
    /// What stood on it stands on the lower file, and it goes.
    Delete,
}

/// Merges the upper files of a chain into a lower one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainCommit {
    /// The upper file, a qcow2.
    pub top: String,
    /// The lower file; none: the one the upper stands on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// What becomes of the upper file.
    #[serde(default)]
    pub after: ChainAfter,
}

/// What a commit did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainCommitted {
    /// The lower file.
    pub base: String,
    /// Its format.
    pub format: String,
    /// Files that stand on it now and stood on the upper one.
    pub turned: Vec<String>,
    /// Files that are gone.
    pub removed: Vec<String>,
}

/// Takes what lies below a disk into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainFlatten {
    /// The disk, a qcow2.
    pub path: String,
    /// Only what lies above this file of its chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onto: Option<String>,
}

/// Stands a disk on another file; what the guest sees stays the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainRebase {
    /// The disk, a qcow2.
    pub path: String,
    /// The file it is to stand on.
    pub onto: String,
    /// That file's format, `qcow2` or `raw`.
    pub format: String,
    /// Copy nothing: only the name changes, if both files have the same bytes.
    #[serde(default, rename = "unsafe", skip_serializing_if = "is_off")]
    pub is_unsafe: bool,
}

/// Makes a disk a template, or an ordinary disk again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainTemplate {
    /// The disk.
    pub path: String,
    /// Its format, `qcow2` or `raw`.
    pub format: String,
    /// Make it an ordinary disk again.
    #[serde(default, skip_serializing_if = "is_off")]
    pub undo: bool,
}

/// Makes a disk that begins as another and keeps only what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainClone {
    /// The disk that it begins as; nobody writes to it.
    pub base: String,
    /// That disk's format, `qcow2` or `raw`.
    pub format: String,
    /// The new disk's name in the default pool, or its path.
    pub name: String,
    /// Its size; none: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// A file that a guest is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuestFileView {
    /// The file.
    pub path: String,
    /// What it is to the guest.
    #[schema(example = "disk vda")]
    pub what: String,
    /// It is there.
    pub exists: bool,
    /// Of a disk: its size as the guest sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_bytes: Option<u64>,
    /// What it takes on the host.
    pub host_bytes: u64,
    /// Others that need it as well, in words.
    pub shared_with: Vec<String>,
    /// Where it lies now, if it was moved or copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<String>,
}

/// How to take over the places that disks were moved to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct Relocation {
    /// Say what would be done.
    #[serde(skip_serializing_if = "is_off")]
    pub dry_run: bool,
}

/// A disk whose place was taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Relocated {
    /// The disk's target.
    pub target: String,
    /// Where the definition had it.
    pub from: String,
    /// Where it is.
    pub to: String,
    /// It is the very file; else another with the same bytes.
    pub same_file: bool,
}

/// How thoroughly to look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct DoctorQuery {
    /// Read every qcow2 that nobody has (`qemu-img check`).
    #[serde(skip_serializing_if = "is_off")]
    pub deep: bool,
}

/// How to repair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct RepairOptions {
    /// Do it; otherwise only say what would be done.
    #[serde(skip_serializing_if = "is_off")]
    pub apply: bool,
}

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    /// What a repair names it by.
    #[schema(example = "leftover-1f0c2a9b")]
    pub id: String,
    /// What is wrong, in a word.
    #[schema(example = "leftover")]
    pub kind: String,
    /// Where.
    pub path: String,
    /// Why.
    pub why: String,
    /// What would mend it.
    pub repair: String,
    /// Lodge does it by itself when asked to.
    pub safe: bool,
    /// It was done.
    #[serde(default, skip_serializing_if = "is_off")]
    pub repaired: bool,
}

/// How something grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrowthView {
    /// Bytes a day; none: it was not watched for long enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_day: Option<i64>,
    /// When there is no room any more, in milliseconds since 1970; none: not in sight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_ms: Option<i64>,
}

/// How full a pool is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageView {
    /// The pool's name.
    pub pool: String,
    /// Bytes of its file system.
    pub capacity_bytes: u64,
    /// Bytes taken there.
    pub allocation_bytes: u64,
    /// Bytes free there.
    pub available_bytes: u64,
    /// What its disks may take at most: the sum of the sizes guests see.
    pub promised_bytes: u64,
    /// How it grows.
    pub growth: GrowthView,
    /// Its disks, those first that take most.
    pub disks: Vec<DiskUsageView>,
}

/// A disk's sizes side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiskUsageView {
    /// Its file.
    pub path: String,
    /// What its bytes look like.
    pub format: String,
    /// Its size as a guest sees it.
    pub guest_bytes: u64,
    /// What it takes on the host.
    pub host_bytes: u64,
    /// How that grows.
    pub growth: GrowthView,
    /// Who needs it, in words.
    pub needed_by: Vec<String>,
}
