//! A guest's disks seen from outside: what lies on them, and what is to become of it.
//!
//! Three plain documents that rooms hand each other: [`Layout`] (devices, as `lsblk` shows them), [`Files`] (the
//! part of the guest's tree that was asked for, read from the disk or told by the agent), [`Edit`] (a wish to
//! change one thing). Beside them [`Newc`], the form of an initramfs, and how lz4 has it. `lodge-disk` reads and edits; `lodge-identity` judges what was read and plans the edits.
//!
//! Deliberately absent: how disks are read, and what any file means.

mod apply;
mod edit;
mod files;
mod layout;
mod lz4;
mod newc;
mod wanted;

pub use edit::{DeviceEdit, Edit, FileEdit};
pub use files::{Archive, FileNode, FilePath, Files, Gap, NotAFilePath, Owner, Tail};
pub use layout::{Content, Device, DeviceKind, Layout, Partition, PartitionTable};
pub use lz4::{LZ4_CHUNK_BYTES, LZ4_MARK, stored_as_lz4};
pub use newc::Newc;
pub use wanted::{NotAPattern, Pattern, Wanted};
