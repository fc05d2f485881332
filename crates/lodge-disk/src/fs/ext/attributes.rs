//! Extended attributes of an ext file system's inode: behind its fields, and in a block of their own.
//!
//! Values are as the disk has them; an ACL's form there is another than the system's calls'.

use super::{
    inode::{Inode, OLD_BYTES},
    volume::{Volume, sum},
};
use crate::fs::{FsError, piece::Piece};

pub(crate) const MAGIC: u32 = 0xEA02_0000;
const BLOCK_HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 16;
const COUNT_MAX: usize = 1024;

/// A name, as setxattr(2) has it, and a value.
pub(crate) type Attribute = (Vec<u8>, Vec<u8>);

/// What does not fit beside the map of blocks of a file inside its inode: no attribute to anybody.
const INLINE_REST: &[u8] = b"system.data";

/// An inode's attributes.
pub(crate) fn of(volume: &Volume, inode: &Inode) -> Result<Vec<Attribute>, FsError> {
    let mut all = Vec::new();
    inside(inode, &mut all)?;
    all.retain(|(name, _)| name != INLINE_REST);
    let block = inode.attributes_block()?;
    if block != 0 {
        let piece = volume.block("ext attributes", block)?;
        if piece.le32(0)? != MAGIC {
            return Err(piece.damaged(0, "it has no magic number"));
        }
        volume.check(&piece, 0x10, piece.le32(0x10)?, || {
            let (before, behind) = (piece.slice(0, 0x10)?, piece.slice(0x14, piece.len() - 0x14)?);
            let sum_of_number = sum(volume.seed()?, &block.to_le_bytes());
            Ok(sum(sum(sum(sum_of_number, before), &[0; 4]), behind))
        })?;
        entries(&piece, BLOCK_HEADER_BYTES, &mut all)?;
    }
    Ok(all)
}

/// The rest of an inline file's bytes, or of an inline directory's names.
pub(super) fn inline_rest(inode: &Inode) -> Result<Vec<u8>, FsError> {
    let mut all = Vec::new();
    inside(inode, &mut all)?;
    let rest = all.into_iter().find(|(name, _)| name == INLINE_REST);
    Ok(rest.map(|(_, value)| value).unwrap_or_default())
}

/// Those behind the inode's fields.
fn inside(inode: &Inode, all: &mut Vec<Attribute>) -> Result<(), FsError> {
    let inside = OLD_BYTES + inode.extra_bytes()?;
    if inode.bytes.len() < inside + 4 || inode.extra_bytes()? == 0 || inode.bytes.le32(inside)? != MAGIC {
        return Ok(());
    }
    let length = inode.bytes.len() - inside - 4;
    let piece = inode.bytes.part("ext attributes in an inode", inside + 4, length)?;
    entries(&piece, 0, all)
}

fn entries(piece: &Piece, first: usize, all: &mut Vec<Attribute>) -> Result<(), FsError> {
    let mut at = first;
    while at + 4 <= piece.len() && piece.le32(at)? != 0 {
        let (name_bytes, index) = (usize::from(piece.byte(at)?), piece.byte(at + 1)?);
        let (offset, size) = (usize::from(piece.le16(at + 2)?), piece.le32(at + 8)? as usize);
        let name = piece.slice(at + ENTRY_BYTES, name_bytes)?;
        if piece.le32(at + 4)? != 0 {
            return Err(FsError::Unsupported(
                "an extended attribute in an inode of its own (ea_inode)".to_owned(),
            ));
        }
        if all.len() >= COUNT_MAX {
            return Err(piece.damaged(at, "more of them than anybody's"));
        }
        if let Some(prefix) = prefix(index) {
            all.push(([prefix, name].concat(), piece.slice(offset, size)?.to_vec()));
        }
        at += (ENTRY_BYTES + name_bytes).next_multiple_of(4);
    }
    Ok(())
}

fn prefix(index: u8) -> Option<&'static [u8]> {
    Some(match index {
        1 => b"user.",
        2 => b"system.posix_acl_access",
        3 => b"system.posix_acl_default",
        4 => b"trusted.",
        6 => b"security.",
        7 => b"system.",
        _ => return None,
    })
}
