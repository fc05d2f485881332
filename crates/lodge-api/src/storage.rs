//! Views of pools and volumes: what `pool-list`, `pool-info`, `vol-list` and `vol-info` show, and how they are made.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::is_off;

/// A storage pool as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolView {
    /// Its name, unique on the host.
    #[schema(example = "default")]
    pub name: String,
    /// Its identity for life.
    pub uuid: Uuid,
    /// Its type; those of type `dir`, `fs`, `netfs`, `logical` and `disk` run.
    #[schema(example = "dir")]
    pub kind: String,
    /// Its directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/var/lib/libvirt/images")]
    pub path: Option<String>,
    /// It runs: its volumes are known and can be used.
    pub active: bool,
    /// A definition of it is kept.
    pub persistent: bool,
    /// It starts with the daemon.
    pub autostart: bool,
    /// Bytes of its file system, as last seen.
    pub capacity_bytes: u64,
    /// Bytes taken there.
    pub allocation_bytes: u64,
    /// Bytes free there.
    pub available_bytes: u64,
    /// Whether copies of its files share their blocks; none: it is not known, or it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reflink: Option<bool>,
}

/// A volume as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VolumeView {
    /// Its name in its pool.
    #[schema(example = "web1.qcow2")]
    pub name: String,
    /// Its pool's name.
    #[schema(example = "default")]
    pub pool: String,
    /// libvirt's key: its path.
    pub key: String,
    /// Its file.
    pub path: String,
    /// `file`, `block` or `dir`.
    #[schema(example = "file")]
    pub kind: String,
    /// What its bytes look like. Nothing is started by it.
    #[schema(example = "qcow2")]
    pub format: String,
    /// The disk's size as a guest sees it.
    pub capacity_bytes: u64,
    /// What it takes on the host.
    pub allocation_bytes: u64,
    /// The file's length.
    pub physical_bytes: u64,
    /// The file it stands on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing: Option<String>,
    /// How its bytes are encrypted: `luks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
}

/// How to take in a pool's document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct PoolOptions {
    /// Refuse what libvirt's schema would refuse, unknown elements included.
    #[serde(skip_serializing_if = "is_off")]
    pub validate: bool,
    /// Start it at once and keep no definition (`virsh pool-create`).
    #[serde(skip_serializing_if = "is_off")]
    pub start: bool,
    /// With `start`: make its directory first.
    #[serde(skip_serializing_if = "is_off")]
    pub build: bool,
    /// With `start`: format its source, even over another file system.
    #[serde(skip_serializing_if = "is_off")]
    pub overwrite: bool,
    /// With `start`: format its source if it has no file system.
    #[serde(skip_serializing_if = "is_off")]
    pub no_overwrite: bool,
}

/// What is made of a pool before it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct PoolBuild {
    /// At a start: make its directory first.
    #[serde(skip_serializing_if = "is_off")]
    pub build: bool,
    /// Format its source, even over another file system.
    #[serde(skip_serializing_if = "is_off")]
    pub overwrite: bool,
    /// Format its source if it has no file system.
    #[serde(skip_serializing_if = "is_off")]
    pub no_overwrite: bool,
}

/// How to make a volume of its document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct VolumeOptions {
    /// Refuse what libvirt's schema would refuse, unknown elements included.
    #[serde(skip_serializing_if = "is_off")]
    pub validate: bool,
    /// Write a qcow2's tables for all of its data.
    #[serde(skip_serializing_if = "is_off")]
    pub prealloc_metadata: bool,
    /// Of a copy: share the blocks of what it is a copy of, or fail.
    #[serde(skip_serializing_if = "is_off")]
    pub reflink: bool,
    /// Make a copy of this volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The pool of `from`; none: the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_pool: Option<String>,
}

/// Another size for a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeResize {
    /// The size, or with `delta` the difference.
    pub capacity_bytes: u64,
    /// Take the new room at once.
    #[serde(default, skip_serializing_if = "is_off")]
    pub allocate: bool,
    /// The size is a difference.
    #[serde(default, skip_serializing_if = "is_off")]
    pub delta: bool,
    /// It may become smaller; with `delta` it does.
    #[serde(default, skip_serializing_if = "is_off")]
    pub shrink: bool,
}

/// How a volume's bytes are made unreadable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeWipe {
    /// virsh's word: `zero` (so if it is left out), `random`, or a pattern of the program scrub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "zero")]
    pub algorithm: Option<String>,
}

/// How a volume goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct VolumeRemoval {
    /// Zero its bytes first.
    #[serde(skip_serializing_if = "is_off")]
    pub wipe: bool,
}

/// Which bytes of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct VolumeSpan {
    /// From here on.
    pub offset: u64,
    /// So many; 0: to the end.
    pub length: u64,
    /// Of an upload: no bytes follow, so many zeros are meant.
    pub hole: u64,
}

/// Which volume is meant by a path or key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VolumeQuery {
    /// Its path, which is its key as well.
    pub path: String,
}

/// What pools could be made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolSourceQuery {
    /// The type of pool.
    #[schema(example = "netfs")]
    pub kind: String,
    /// The part of libvirt's `<source>` that is known: of `netfs` the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "<source><host name='nfs.example'/></source>")]
    pub source: Option<String>,
}
