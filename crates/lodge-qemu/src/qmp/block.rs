//! What the monitor answers about disks.

use serde::Deserialize;

/// One of `query-block`.
#[derive(Debug, Clone, Deserialize)]
pub struct BlockDevice {
    /// Legacy id; empty for devices made from `-blockdev`.
    #[serde(default)]
    pub device: String,
    /// Where it is in QEMU's object tree.
    #[serde(default)]
    pub qdev: Option<String>,
    /// Whether a medium can be taken out.
    #[serde(default)]
    pub removable: bool,
    /// Whether the guest has locked the tray.
    #[serde(default)]
    pub locked: bool,
    /// Whether the tray is open.
    #[serde(default)]
    pub tray_open: Option<bool>,
    /// `ok`, or how the guest's processors were stopped over it: `nospace`, `failed`. None: it is not kept here.
    #[serde(default, rename = "io-status")]
    pub io_status: Option<String>,
    /// The medium.
    #[serde(default)]
    pub inserted: Option<BlockNode>,
}

/// One of `query-named-block-nodes`, and the medium of a device.
#[derive(Debug, Clone, Deserialize)]
pub struct BlockNode {
    /// `libvirt-1-format`.
    #[serde(default, rename = "node-name")]
    pub node_name: String,
    /// `qcow2`, `raw`, `file`.
    pub drv: String,
    /// What it was opened from.
    #[serde(default)]
    pub file: String,
    /// Whether it is read-only.
    #[serde(default)]
    pub ro: bool,
    /// Whether its bytes are encrypted.
    #[serde(default)]
    pub encrypted: bool,
    /// Sizes.
    #[serde(default)]
    pub image: Option<BlockImage>,
}

/// The image behind a block node.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BlockImage {
    /// What the guest sees, in bytes.
    pub virtual_size: u64,
    /// What it takes on the host, in bytes.
    #[serde(default)]
    pub actual_size: Option<u64>,
}
