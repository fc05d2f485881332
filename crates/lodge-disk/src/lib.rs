//! What lies on a guest's disk: partitions, volumes, file systems, read and edited while the guest is off.
//!
//! - [`blocks`]: bytes by position, the ground all else stands on.
//! - [`source`]: an image and its chain, partitions and maps, as such bytes.
//! - [`layout`]: partitions, arrays, volumes and what lies in each.
//! - [`view`]: such bytes as plain files, for other programs.
//! - [`fs`]: file systems, read only, one file each.
//! - `initramfs`: what an initramfs unpacks to, as far as it names what somebody looks for.
//! - `workshop`: a virtual machine that edits XFS and btrfs.
//! - [`root`]: the guest's whole tree, over its mounts.
//! - [`worker`]: all that reads, in a confined process.
//! - [`edit`]: changes of files and identities, by tools in jails, all of them or none.
//!
//! Place: ground. Everything it reads was written by a guest and is hostile: lengths are checked before they are
//! used, loops are counted, nothing panics, and it runs in a confined process that has nothing but the disk.
//! Deliberately absent: what the files mean (`lodge-guest`), which image belongs to which guest (`lodge-engine`).

pub mod blocks;
pub mod edit;
pub mod fs;
#[doc(hidden)]
pub mod fuzz;
mod initramfs;
pub mod layout;
pub mod root;
pub mod source;
#[cfg(test)]
mod testing;
pub mod view;
pub mod worker;
mod workshop;
