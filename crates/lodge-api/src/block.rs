//! Disks of running guests: sizes, errors, and block jobs.
//!
//! Everything is optional unless a struct cannot do without it; what is left out is off. The words are virsh's.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::is_off;

/// A disk's sizes in bytes (`domblkinfo`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockSizes {
    /// What the guest sees.
    pub capacity: u64,
    /// What it takes on the host, or the highest byte written.
    pub allocation: u64,
    /// How long its file is.
    pub physical: u64,
}

/// A disk that stopped its guest (`domblkerror`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockError {
    /// The disk's target.
    pub target: String,
    /// `no space` or `unspecified error`.
    pub error: String,
}

/// A block job (`blockjob --info`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockJobView {
    /// `pull`, `copy`, `commit` or `active-commit`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its limit in bytes per second; 0: none.
    pub bytes_per_second: u64,
    /// What is done of it, in what QEMU counts (bytes, mostly).
    pub done: u64,
    /// What there is to do; the same as `done` only when all is there.
    pub all: u64,
    /// Its last step may be taken.
    pub ready: bool,
}

/// What a block commit spans (`blockcommit`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlockCommit {
    /// The file that gets it, or `vda[2]`; the lowest without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The highest file that is committed; the guest's own without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<String>,
    /// Into the file below `top` only.
    #[serde(skip_serializing_if = "is_off")]
    pub shallow: bool,
    /// The guest's own file is meant.
    #[serde(skip_serializing_if = "is_off")]
    pub active: bool,
    /// The files that were committed are deleted.
    #[serde(skip_serializing_if = "is_off")]
    pub delete: bool,
    /// Bytes per second; 0: no limit.
    pub bytes_per_second: u64,
}

/// What a block pull spans (`blockpull`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlockPull {
    /// The file that stays below, or `vda[2]`; none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Bytes per second; 0: no limit.
    pub bytes_per_second: u64,
}

/// Where a disk is copied to, and how (`blockcopy`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlockCopy {
    /// The destination as libvirt's `<disk>`; instead of `path`, `format` and `block_device`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xml: Option<String>,
    /// The destination.
    pub path: String,
    /// Its format; the disk's own without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// It is a block device.
    #[serde(skip_serializing_if = "is_off")]
    pub block_device: bool,
    /// Only the guest's own file; the copy stands on the same files below.
    #[serde(skip_serializing_if = "is_off")]
    pub shallow: bool,
    /// The destination is there already.
    #[serde(skip_serializing_if = "is_off")]
    pub reuse_external: bool,
    /// The copy is known not to outlive the guest's run.
    #[serde(skip_serializing_if = "is_off")]
    pub transient_job: bool,
    /// The guest's writes go to both at once.
    #[serde(skip_serializing_if = "is_off")]
    pub synchronous_writes: bool,
    /// Bytes per second; 0: no limit.
    pub bytes_per_second: u64,
    /// Bytes that one bit of the map of changes stands for; 0: QEMU's choice.
    pub granularity: u32,
    /// Bytes under way; 0: QEMU's choice.
    pub buf_size: u64,
}

/// How a block job is ended (`blockjob --abort`, `--pivot`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct BlockJobEnd {
    /// With its last step: the disk changes over to the other file.
    #[serde(skip_serializing_if = "is_off")]
    pub pivot: bool,
    /// Answer when it was asked to end, not when it has.
    #[serde(rename = "async", skip_serializing_if = "is_off")]
    pub is_async: bool,
}

/// A block job's limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockJobSpeed {
    /// Bytes per second; 0: no limit.
    pub bytes_per_second: u64,
}

/// A disk's new size (`blockresize`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockResize {
    /// In bytes.
    pub size: u64,
}

/// When an event is told of a disk's growth (`domblkthreshold`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockThreshold {
    /// The byte of the file beyond which it is told; 0: no more.
    pub threshold: u64,
}
