//! New identities of devices themselves: partition tables, partitions, file systems, swap, LVM, LUKS.
//!
//! A file per kind. Where an identity is a few bytes at a known place it is written here, with the sums over it; where
//! all blocks of a file system have a part of it, by the tool of those who keep it.
//! What an old guest makes of it: XFS (v5) and btrfs keep the old UUID in their blocks and the new one in the
//! superblock, which kernels before 4.3 and 5.0 do not know; they refuse to mount then, and nothing is lost.

mod btrfs;
mod dos;
mod fat;
mod gpt;
mod luks;
mod swap;
mod xfs;

pub(crate) use self::{
    btrfs::set_uuid as set_btrfs_uuid,
    dos::set_signature,
    fat::set_serial,
    gpt::{Change as GptChange, change as change_gpt},
    luks::set_uuid as set_luks_uuid,
    swap::set_uuid as set_swap_uuid,
    xfs::set_uuid as set_xfs_uuid,
};

/// Why a device has no new identity.
#[derive(Debug)]
pub(crate) enum Fault {
    /// What is there is not what it should be.
    Damaged(String),
    /// This program does not change it.
    Unsupported(String),
    /// The new identity, and why it does not fit.
    BadIdentity(String, String),
    /// Reading or writing.
    Io(std::io::Error),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// CRC-32 as GPT has it.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests;
