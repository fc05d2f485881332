//! An inode of an ext file system, as it lies in its table.

use crate::fs::{FsError, piece::Piece};

const KIND: u16 = 0o170_000;
const DIRECTORY: u16 = 0o040_000;
const FILE: u16 = 0o100_000;
const LINK: u16 = 0o120_000;
pub(crate) const FLAG_ENCRYPTED: u32 = 0x800;
pub(crate) const FLAG_EXTENTS: u32 = 0x8_0000;
pub(crate) const FLAG_INLINE: u32 = 0x1000_0000;
/// Where the fields behind the first 128 bytes begin.
pub(crate) const OLD_BYTES: usize = 128;

/// An inode.
#[derive(Debug)]
pub(crate) struct Inode {
    pub number: u32,
    pub bytes: Piece,
}

impl Inode {
    pub fn mode(&self) -> Result<u16, FsError> {
        self.bytes.le16(0)
    }

    pub fn is_directory(&self) -> Result<bool, FsError> {
        Ok(self.mode()? & KIND == DIRECTORY)
    }

    pub fn is_file(&self) -> Result<bool, FsError> {
        Ok(self.mode()? & KIND == FILE)
    }

    /// Whether its block area is a map of blocks.
    pub fn has_blocks(&self) -> Result<bool, FsError> {
        let kind = self.mode()? & KIND;
        // A short link lies where its map would be.
        let is_link = kind == LINK && (self.has_extents()? || self.size()? >= 60);
        Ok(self.flags()? & FLAG_INLINE == 0 && (kind == DIRECTORY || kind == FILE || is_link))
    }

    pub fn flags(&self) -> Result<u32, FsError> {
        self.bytes.le32(0x20)
    }

    /// Whether its bytes, or its names, lie in the inode itself.
    pub fn is_inline(&self) -> Result<bool, FsError> {
        Ok(self.flags()? & FLAG_INLINE != 0)
    }

    pub fn has_extents(&self) -> Result<bool, FsError> {
        Ok(self.flags()? & FLAG_EXTENTS != 0)
    }

    pub fn size(&self) -> Result<u64, FsError> {
        Ok(u64::from(self.bytes.le32(4)?) | u64::from(self.bytes.le32(0x6C)?) << 32)
    }

    pub fn generation(&self) -> Result<u32, FsError> {
        self.bytes.le32(0x64)
    }

    /// How many names it has.
    pub fn links(&self) -> Result<u16, FsError> {
        self.bytes.le16(0x1A)
    }

    /// The block of its extended attributes; 0: none.
    pub fn attributes_block(&self) -> Result<u64, FsError> {
        Ok(u64::from(self.bytes.le32(0x68)?) | u64::from(self.bytes.le16(0x76)?) << 32)
    }

    /// How many bytes behind the first 128 are fields.
    pub fn extra_bytes(&self) -> Result<usize, FsError> {
        if self.bytes.len() <= OLD_BYTES {
            return Ok(0);
        }
        let extra = usize::from(self.bytes.le16(OLD_BYTES)?);
        if extra > self.bytes.len() - OLD_BYTES || !extra.is_multiple_of(4) {
            return Err(self.bytes.damaged(OLD_BYTES, "its fields reach beyond it"));
        }
        Ok(extra)
    }

    /// When it was made, in seconds since 1970, where it says so.
    pub fn made(&self) -> Result<Option<u32>, FsError> {
        if self.extra_bytes()? < 0x94 - OLD_BYTES { Ok(None) } else { self.bytes.le32(0x90).map(Some) }
    }
}
