//! Images: the disks instances are cloned from.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::is_off;

/// An image in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageView {
    /// Its name.
    #[schema(example = "debian-12")]
    pub name: String,
    /// Its file on the host.
    pub path: String,
    /// The file's format.
    #[schema(example = "qcow2")]
    pub format: String,
    /// The disk's size as a guest sees it.
    pub virtual_bytes: u64,
    /// Bytes the file takes on the host.
    pub size_bytes: u64,
    /// The file's SHA-256 in hex, as it was when it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where it came from: `built`, or the file it was imported from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Packages in it, where it was built here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<u32>,
    /// When it was made. Unix time in ms.
    pub created_ms: u64,
    /// Domains whose disks stand on it; while there are any it cannot be removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<String>,
}

/// What to build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageBuild {
    /// The recipe's name, which becomes the image's.
    #[schema(example = "debian-12")]
    pub name: String,
    /// Build it anew although it is there.
    #[serde(default, skip_serializing_if = "is_off")]
    pub force: bool,
}

/// A file to take in as an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageImport {
    /// The image's name.
    #[schema(example = "debian-12")]
    pub name: String,
    /// The file on the daemon's host; an absolute path. It is copied, and stays as it is.
    #[schema(example = "/srv/debian-12.qcow2")]
    pub path: String,
    /// The file's format, `qcow2` or `raw`; it is never guessed.
    #[schema(example = "qcow2")]
    pub format: String,
}

/// What to clone an image into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageClone {
    /// The new volume's name in the default pool.
    #[schema(example = "web1")]
    pub name: String,
    /// The new disk's size as a guest sees it; none given: the image's. Never less than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// A volume made of an image: a linked clone, which needs the image's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClonedVolume {
    /// Its file on the host.
    #[schema(example = "/var/lib/libvirt/images/web1.qcow2")]
    pub path: String,
    /// The file's format.
    #[schema(example = "qcow2")]
    pub format: String,
    /// The disk's size as a guest sees it.
    pub virtual_bytes: u64,
    /// The image it stands on.
    pub image: String,
}
