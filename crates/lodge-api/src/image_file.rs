//! Image files themselves: looked at, mapped, checked, converted, compacted, resized.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::is_off;

/// Which image file is meant: exactly one of `image`, `volume` (with `pool`) and `path`.
///
/// Its format is known of an image, of a volume that was made here, and of a file that a domain's document names.
/// Of any other it has to be said: a guest can make its raw disk look like anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageSubject {
    /// A registered image's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "debian-12")]
    pub image: Option<String>,
    /// The name or UUID of the pool that `volume` is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// A volume's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// An absolute path on the daemon's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/srv/disk.vmdk")]
    pub path: Option<String>,
    /// Its format: raw, qcow2, vmdk, vdi, vpc (or vhd), vhdx, qed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "qcow2")]
    pub format: Option<String>,
    /// Take it for what it looks like. Only for what no guest can have written.
    #[serde(default, skip_serializing_if = "is_off")]
    pub probe: bool,
}

/// A file to describe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageFileQuery {
    /// Which.
    pub subject: ImageSubject,
    /// All it stands on as well.
    #[serde(default, skip_serializing_if = "is_off")]
    pub chain: bool,
}

/// What is known of an image file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageFileView {
    /// Where it is.
    pub path: String,
    /// Its format.
    #[schema(example = "qcow2")]
    pub format: String,
    /// How the format is known: `said`, `image`, `document`, `volume`, `header` (of the file above), or `looks`.
    pub format_by: String,
    /// The disk's size as a guest sees it.
    pub virtual_bytes: u64,
    /// Bytes it takes on the host.
    pub size_bytes: u64,
    /// The file's length.
    pub length_bytes: u64,
    /// Bytes of a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_bytes: Option<u64>,
    /// qcow2: `0.10` or `1.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compat: Option<String>,
    /// qcow2: how compressed clusters are compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// qcow2: bits of a reference count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refcount_bits: Option<u32>,
    /// The file it stands on, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing: Option<String>,
    /// That file's format, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing_format: Option<String>,
    /// Snapshots inside of it.
    pub snapshots: u32,
    /// What else there is to say: `dirty`, `corrupt`, `encrypted` ….
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<String>,
}

/// A file and what it stands on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageChain {
    /// The files, the top one first; without `chain` in the question only that.
    pub files: Vec<ImageFileView>,
    /// What the caller must know: that the format was taken from the file's looks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A range of a disk that is of one kind throughout, as `qemu-img map --output=json` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "they are qemu-img's")]
pub struct ImageExtent {
    /// Where it begins, as a guest sees it.
    pub start: u64,
    /// Its bytes.
    pub length: u64,
    /// Which file has it: 0 is the top one.
    pub depth: u32,
    /// That file says something of it.
    pub present: bool,
    /// It reads as zeros.
    pub zero: bool,
    /// There are bytes of it.
    pub data: bool,
    /// They are compressed.
    pub compressed: bool,
    /// Where they lie in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// Where a disk's bytes are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageMap {
    /// Its files, the top one first.
    pub files: Vec<String>,
    /// Its ranges, in order.
    pub extents: Vec<ImageExtent>,
    /// What the caller must know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A file to check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageCheck {
    /// Which.
    pub subject: ImageSubject,
    /// What to put right: `leaks` or `all`; none given: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageCheckReport {
    /// Where it is.
    pub path: String,
    /// Nothing is wrong, or nothing any more.
    pub sound: bool,
    /// Wrong entries: data is in danger.
    pub corruptions: u64,
    /// Clusters counted as used that are not: only room is lost.
    pub leaks: u64,
    /// What could not be checked.
    pub check_errors: u64,
    /// Wrong entries put right.
    pub corruptions_fixed: u64,
    /// Leaked clusters given back.
    pub leaks_fixed: u64,
    /// Clusters of the disk.
    pub total_clusters: u64,
    /// Those that have data.
    pub allocated_clusters: u64,
    /// Those that do not follow the one before.
    pub fragmented_clusters: u64,
    /// Those that are compressed.
    pub compressed_clusters: u64,
    /// Bytes of the file up to the last that is used.
    pub image_end_bytes: u64,
}

/// A file to make of another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageConvert {
    /// Of which.
    pub subject: ImageSubject,
    /// The new file: an absolute path where nothing is yet, or a name if `pool` is given.
    #[schema(example = "/srv/disk.qcow2")]
    pub target: String,
    /// The pool the new file shall lie in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The new file's format.
    #[schema(example = "qcow2")]
    pub format: String,
    /// qcow2: compress by `zlib` or `zstd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compress: Option<String>,
    /// qcow2: bytes of a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_bytes: Option<u64>,
}

/// A file that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageConverted {
    /// Where it is.
    pub path: String,
    /// Its format.
    pub format: String,
    /// The disk's size as a guest sees it.
    pub virtual_bytes: u64,
    /// Bytes it takes on the host.
    pub size_bytes: u64,
}

/// A file that shall take no more room than it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageCompact {
    /// Which.
    pub subject: ImageSubject,
}

/// What a file took, and takes now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageCompacted {
    /// Where it is.
    pub path: String,
    /// Bytes on the host before.
    pub before_bytes: u64,
    /// And now.
    pub after_bytes: u64,
}

/// A file that shall have another size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageResize {
    /// Which.
    pub subject: ImageSubject,
    /// The disk's new size as a guest sees it.
    pub size_bytes: u64,
    /// It may become smaller: what lies behind its new end is lost.
    #[serde(default, skip_serializing_if = "is_off")]
    pub shrink: bool,
    /// The last partition and its ext file system grow along, now; without it the guest does that at its next boot.
    #[serde(default, skip_serializing_if = "is_off")]
    pub grow_fs: bool,
}

/// A disk's size before and now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageResized {
    /// Where it is.
    pub path: String,
    /// The disk's size as a guest saw it.
    pub before_bytes: u64,
    /// And sees it now.
    pub after_bytes: u64,
}
