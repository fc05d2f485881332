//! What is to become of a guest's disk while it is off.
//!
//! An edit says the wanted end, so doing it twice is doing it once. Paths are the guest's; whoever carries an edit
//! out follows links inside the guest's own tree only, and never the last part of a path.

use serde::{Deserialize, Serialize};

use super::{FilePath, Owner};

/// One wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// In the file tree.
    File(FileEdit),
    /// Of a device.
    Device(DeviceEdit),
}

impl Edit {
    /// It, if it is one in the file tree.
    pub fn as_file(&self) -> Option<&FileEdit> {
        match self {
            Self::File(edit) => Some(edit),
            Self::Device(_) => None,
        }
    }
}

/// A change in the guest's file tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileEdit {
    /// A plain file with these bytes; missing directories on the way are made (root's, 0755). What was there, a link
    /// too, is replaced.
    Write {
        /// Where.
        path: FilePath,
        /// The whole content.
        bytes: Vec<u8>,
        /// Whose it is. None: as the file was, or root's with 0644.
        owner: Option<Owner>,
    },
    /// A plain file that is there, with more bytes behind those that it has: what is large and is only added to.
    Append {
        /// Which; not a link.
        path: FilePath,
        /// How long it is before. One that has these bytes from there on, and ends with them, is done.
        at: u64,
        /// What is added.
        bytes: Vec<u8>,
    },
    /// Not there any more; a directory with all that is in it. Nothing to do where there is nothing.
    Remove(FilePath),
    /// A symbolic link. What was there is replaced, a directory is not.
    Link {
        /// Where.
        path: FilePath,
        /// Where it points.
        to: Vec<u8>,
    },
    /// A directory; missing ones on the way are made (root's, 0755). One that is there stays as it is, whatever else is
    /// there is refused.
    Directory {
        /// Where.
        path: FilePath,
        /// Whose a new one is. None: root's with 0755.
        owner: Option<Owner>,
    },
    /// Whose a file or a directory that is there is, and its permissions. What is in it stays.
    Own {
        /// Which; not a link.
        path: FilePath,
        /// Whose.
        owner: Owner,
    },
}

impl FileEdit {
    /// Where.
    pub fn path(&self) -> &FilePath {
        match self {
            Self::Remove(path)
            | Self::Write { path, .. }
            | Self::Append { path, .. }
            | Self::Link { path, .. }
            | Self::Directory { path, .. }
            | Self::Own { path, .. } => path,
        }
    }
}

/// A change of a device's own identity. `device` is a [`super::Device::name`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceEdit {
    /// The table's identity: a GPT's disk GUID, or the eight hexadecimal digits of a DOS signature.
    Table {
        /// The disk.
        device: String,
        /// The new one.
        uuid: String,
    },
    /// A GPT partition's GUID.
    Partition {
        /// The partition.
        device: String,
        /// The new one.
        uuid: String,
    },
    /// What lies in it: a file system, swap, a PV, in the form of [`super::Content::uuid`].
    Content {
        /// The device.
        device: String,
        /// The new one.
        uuid: String,
        /// An ext file system whose sums begin with its UUID may be given a field for what they begin with
        /// (`metadata_csum_seed`), so that none of them changes: all that reads it knows that field.
        #[serde(default)]
        may_seed: bool,
    },
    /// A logical volume's UUID, on all PVs of its group.
    Volume {
        /// The volume, as Linux names its device.
        device: String,
        /// The new one.
        uuid: String,
    },
    /// A volume group's UUID, on all its PVs.
    Group {
        /// The group's name.
        group: String,
        /// The new one.
        uuid: String,
    },
}
