//! Checksums of trees' blocks and of the superblock: over all but the first 32 bytes, which hold them.

use sha2::{Digest, Sha256};
use twox_hash::XxHash64;

use crate::fs::{FsError, piece::Piece};

/// Which one a file system uses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sum {
    Crc32c,
    XxHash64,
    Sha256,
}

const ROOM: usize = 32;

impl Sum {
    pub(super) fn new(number: u16) -> Result<Self, FsError> {
        match number {
            0 => Ok(Self::Crc32c),
            1 => Ok(Self::XxHash64),
            2 => Ok(Self::Sha256),
            3 => Err(FsError::Unsupported("a btrfs with BLAKE2b checksums".to_owned())),
            other => Err(FsError::Unsupported(format!("btrfs checksums of kind {other}"))),
        }
    }

    pub(super) fn check(self, piece: &Piece) -> Result<(), FsError> {
        let bytes = piece.slice(ROOM, piece.len().saturating_sub(ROOM))?;
        let holds = match self {
            Self::Crc32c => crc32c::crc32c(bytes) == piece.le32(0)?,
            Self::XxHash64 => XxHash64::oneshot(0, bytes) == piece.le64(0)?,
            Self::Sha256 => Sha256::digest(bytes).as_slice() == piece.slice(0, 32)?,
        };
        if holds { Ok(()) } else { Err(piece.damaged(0, "its checksum does not hold")) }
    }
}
