//! The host's devices as libvirt's node devices: named, with a parent, described in XML.
//!
//! Read from sysfs each time they are asked for, and from udev's database where it is. Only what is there and working
//! is told: computer, PCI functions, interfaces, disks, SCSI hosts and units.
//! Deliberately absent: USB, mediated devices and all other sorts; changing any device.

mod describe;
mod find;

use std::path::{Path, PathBuf};

pub use find::{device, devices};

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// libvirt's name: `pci_0000_00_02_0`, `net_eth0_02_fc_00_00_00_01`, `block_vda`.
    pub name: String,
    /// The device it hangs on; none: it is the computer.
    pub parent: Option<String>,
    /// What it is.
    pub sort: Sort,
    /// Its directory in sysfs.
    pub path: PathBuf,
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The machine itself.
    Computer,
    /// A PCI function.
    Pci,
    /// An interface.
    Net,
    /// A disk.
    Block,
    /// A SCSI host adapter.
    ScsiHost,
    /// A SCSI unit.
    Scsi,
}

impl Sort {
    /// libvirt's words for it, the general one first.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Computer => &["system"],
            Self::Pci => &["pci"],
            Self::Net => &["net", "80203"],
            Self::Block => &["storage"],
            Self::ScsiHost => &["scsi_host"],
            Self::Scsi => &["scsi"],
        }
    }

    /// libvirt's bit of it (`VIR_CONNECT_LIST_NODE_DEVICES_CAP_*`).
    pub fn bit(self) -> u32 {
        match self {
            Self::Computer => 1,
            Self::Pci => 1 << 1,
            Self::Net => 1 << 4,
            Self::Block => 1 << 8,
            Self::ScsiHost => 1 << 5,
            Self::Scsi => 1 << 7,
        }
    }
}

/// libvirt's words for sorts of devices.
pub const SORT_WORDS: [&str; 24] = [
    "system",
    "pci",
    "usb_device",
    "usb",
    "net",
    "scsi_host",
    "scsi_target",
    "scsi",
    "storage",
    "fc_host",
    "vports",
    "scsi_generic",
    "drm",
    "mdev_types",
    "mdev",
    "ccw",
    "css",
    "vdpa",
    "ap_card",
    "ap_queue",
    "ap_matrix",
    "vpd",
    "ccwgroup_dev",
    "ccwgroup_member",
];

/// A file's text, trimmed; nothing where there is none or nothing in it.
fn text(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// What is not a letter or a digit becomes `_`, as in all names of libvirt's.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
