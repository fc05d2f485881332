//! Inodes: what is known of a file, and its data fork.

use lodge_model::guest_disk::Owner;

use crate::fs::{FsError, Node, NodeKind, piece::Piece};

use super::superblock::Volume;

/// A file.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) node: Node,
    pub(super) fork: Fork,
}

/// Where a file's bytes are.
#[derive(Debug)]
pub(super) enum Fork {
    /// In the inode itself.
    Local(Piece),
    /// In these extents, so many.
    Extents(Piece, u64),
    /// In the extents of a tree with this root.
    Tree(Piece),
    /// Nowhere: a device.
    None,
}

const BIG_TIME: u64 = 1 << 3;
const LARGE_COUNTS: u64 = 1 << 4;
const REALTIME: u16 = 1;

pub(super) fn read(volume: &Volume, number: u64) -> Result<Inode, FsError> {
    let at = volume.inode_place(number).ok_or_else(|| FsError::Damaged {
        what: format!("XFS inode {number}: there can be no such inode"),
        at: 0,
    })?;
    let piece = Piece::read(&*volume.blocks, "XFS inode", at, volume.inode_bytes)?;
    if piece.slice(0, 2)? != b"IN" {
        return Err(piece.damaged(0, "no such magic number"));
    }
    let is_v3 = match piece.byte(4)? {
        1 | 2 if !volume.is_v5 => false,
        3 if volume.is_v5 => true,
        _ => return Err(piece.damaged(4, "no such version of inodes")),
    };
    let mut flags = 0;
    if is_v3 {
        volume.check_sum(&piece, 100)?;
        if piece.be64(152)? != number {
            return Err(piece.damaged(152, "it has another inode's number"));
        }
        flags = piece.be64(120)?;
    }
    let mode = piece.be16(2)?;
    let kind = match mode & 0o170_000 {
        0o100_000 => NodeKind::File,
        0o040_000 => NodeKind::Directory,
        0o120_000 => NodeKind::Link,
        0 => return Err(piece.damaged(2, "it is not in use")),
        _ => NodeKind::Other,
    };
    if kind == NodeKind::File && piece.be16(90)? & REALTIME != 0 {
        return Err(FsError::Unsupported("files on an XFS realtime device".to_owned()));
    }
    let size = piece.be64(56)?;
    if i64::try_from(size).is_err() {
        return Err(piece.damaged(56, "no such size"));
    }
    let node = Node {
        kind,
        size,
        owner: Owner { uid: piece.be32(8)?, gid: piece.be32(12)?, mode: mode & 0o7777 },
        modified: modified(&piece, flags)?,
    };
    Ok(Inode { number, node, fork: fork(&piece, is_v3, flags, kind)? })
}

fn modified(piece: &Piece, flags: u64) -> Result<i64, FsError> {
    if flags & BIG_TIME == 0 {
        return Ok(i64::from(piece.be32(40)?.cast_signed()));
    }
    // Nanoseconds since the least time that 32 bits could say.
    let seconds = piece.be64(40)? / 1_000_000_000;
    Ok(i64::try_from(seconds).unwrap_or(i64::MAX) + i64::from(i32::MIN))
}

fn fork(piece: &Piece, is_v3: bool, flags: u64, kind: NodeKind) -> Result<Fork, FsError> {
    if kind == NodeKind::Other {
        return Ok(Fork::None);
    }
    let start = if is_v3 { 176 } else { 100 };
    // Extended attributes, where there are any, begin so many eights of bytes after the data.
    let length = match usize::from(piece.byte(82)?) * 8 {
        0 => piece.len().saturating_sub(start),
        bytes => bytes,
    };
    let data = piece.part("XFS inode's data", start, length)?;
    match piece.byte(5)? {
        1 => Ok(Fork::Local(data)),
        2 => {
            let large = flags & LARGE_COUNTS != 0;
            let count = if large { piece.be64(24)? } else { u64::from(piece.be32(76)?) };
            Ok(Fork::Extents(data, count))
        }
        3 => Ok(Fork::Tree(data)),
        _ => Err(piece.damaged(5, "no such format of a file's data")),
    }
}
