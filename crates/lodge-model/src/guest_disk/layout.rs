//! The devices on a guest's disks, as `lsblk` shows them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Bytes;

/// All disks of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The disks, in the order of the guest's definition.
    pub disks: Vec<Device>,
}

/// A disk or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The name that edits and messages use: `vda`, `vda1`, `rhel-root` (an LV as lsblk writes it), `md0`.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Its size.
    pub bytes: Bytes,
    /// Where it begins on its disk; none where it lies in several pieces.
    pub start: Option<Bytes>,
    /// The partition table on it.
    pub table: Option<PartitionTable>,
    /// What the table says of it.
    pub partition: Option<Partition>,
    /// The UUID of a logical volume.
    #[serde(default)]
    pub volume: Option<String>,
    /// What lies in it, as `blkid` names it.
    pub content: Option<Content>,
    /// Where the guest's own fstab mounts it.
    pub mount_point: Option<String>,
    /// Partitions, logical volumes, arrays. One that lies on several devices is under each of them.
    pub children: Vec<Device>,
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// A whole disk.
    Disk,
    /// A partition.
    Partition,
    /// A logical volume.
    Lvm,
    /// An md array.
    Raid,
}

/// How a disk is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionTable {
    /// With the disk's GUID.
    Gpt(Uuid),
    /// With the disk's signature.
    Dos(u32),
}

/// What a table says of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub number: u32,
    /// Its type: a GUID, or a hexadecimal number.
    pub kind: String,
    /// Its own GUID; of a DOS partition `SIGNATURE-NN`, as Linux calls it.
    pub uuid: String,
    /// Its name.
    pub label: String,
}

/// What lies in a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// `blkid`'s word: `ext4`, `xfs`, `btrfs`, `vfat`, `swap`, `LVM2_member`, `linux_raid_member`, `crypto_LUKS` …
    pub kind: String,
    /// Its UUID as `blkid` writes it (of vfat `1234-ABCD`, of a PV LVM's own form).
    pub uuid: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// The volume group of a PV: name and UUID. The name of an array, with its member's UUID.
    pub group: Option<(String, String)>,
    /// What of it is taken, where the file system tells.
    pub used: Option<Bytes>,
}

impl Layout {
    /// All devices, parents before children; one that lies on several devices comes several times.
    pub fn devices(&self) -> Vec<&Device> {
        let mut all = Vec::new();
        let mut rest: Vec<&Device> = self.disks.iter().rev().collect();
        while let Some(device) = rest.pop() {
            all.push(device);
            rest.extend(device.children.iter().rev());
        }
        all
    }

    /// The device of a name.
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.devices().into_iter().find(|device| device.name == name)
    }
}
