//! Names in a directory of an ext file system, one after the other: the index over them is not needed to find one.

use super::{
    attributes,
    inode::Inode,
    volume::{Volume, sum},
};
use crate::fs::{
    FsError,
    piece::{Piece, is_name},
};

/// Where an inode has its map of blocks.
const AREA: usize = 0x28;
const DIRECTORY_BYTES_MAX: u64 = 256 << 20;

/// A name, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub inode: u32,
    pub name: Vec<u8>,
    /// What it names, as directories say it; 0: they do not.
    pub kind: u8,
    /// The block on the disk; 0: it lies in its directory's inode.
    pub block: u64,
    /// Where in it the name's bytes begin.
    pub at: usize,
}

/// Calls `act` for each name of a directory, until it says no.
pub(crate) fn each(
    volume: &Volume,
    directory: &Inode,
    act: &mut dyn FnMut(Entry) -> bool,
) -> Result<(), FsError> {
    if directory.is_inline()? {
        return inline(volume, directory, act);
    }
    if directory.size()? > DIRECTORY_BYTES_MAX {
        return Err(directory.bytes.damaged(4, "a directory that is larger than anybody's"));
    }
    let end = directory.size()?.div_ceil(volume.block_bytes);
    let seed = volume.seed_of(directory)?;
    for run in volume.map(directory)?.runs.into_iter().filter(|run| run.is_written) {
        for block in 0..run.count.min(end.saturating_sub(run.logical)) {
            let number = run.physical + block;
            let piece = volume.block("ext directory", number)?;
            if volume.has_sums() {
                let (at, length) = sum_place(&piece)?;
                let wanted = || Ok(sum(sum(seed, piece.slice(0, length)?), &tail(&piece, at, length)?));
                volume.check(&piece, at, piece.le32(at)?, wanted)?;
            }
            if !of_block(volume, &piece, number, act)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Names that lie in the inode: behind the number of the directory above, and in an attribute. They have no sums but the
/// inode's, and no block (0).
fn inline(volume: &Volume, directory: &Inode, act: &mut dyn FnMut(Entry) -> bool) -> Result<(), FsError> {
    let first = directory.bytes.part("ext directory in an inode", AREA + 4, 56)?;
    let rest = Piece::new("ext directory in an inode", 0, attributes::inline_rest(directory)?);
    for piece in [first, rest] {
        if !of_block(volume, &piece, 0, act)? {
            return Ok(());
        }
    }
    Ok(())
}

fn of_block(
    volume: &Volume,
    piece: &Piece,
    block: u64,
    act: &mut dyn FnMut(Entry) -> bool,
) -> Result<bool, FsError> {
    let mut at = 0;
    while at + 8 <= piece.len() {
        let length = entry_bytes(piece, at)?;
        let name_bytes = if volume.has_kinds() {
            usize::from(piece.byte(at + 6)?)
        } else {
            usize::from(piece.le16(at + 6)?)
        };
        if length < 8 || !length.is_multiple_of(4) || at + length > piece.len() || name_bytes + 8 > length {
            return Err(piece.damaged(at, "an entry that reaches out of it"));
        }
        let inode = piece.le32(at)?;
        if inode != 0 && name_bytes > 0 {
            let name = piece.slice(at + 8, name_bytes)?.to_vec();
            if !is_name(&name) {
                return Err(piece.damaged(at, "a name that no file can have"));
            }
            let kind = if volume.has_kinds() { piece.byte(at + 7)? } else { 0 };
            if !act(Entry { inode, name, kind, block, at: at + 8 }) {
                return Ok(false);
            }
        }
        at += length;
    }
    Ok(true)
}

/// How far it is to the next entry: what reaches to the end of the largest blocks does not fit into the field.
pub(crate) fn entry_bytes(piece: &Piece, at: usize) -> Result<usize, FsError> {
    Ok(match (piece.le16(at + 4)?, piece.len()) {
        (0 | u16::MAX, all @ 65536) => all,
        (length, _) => usize::from(length),
    })
}

/// Where a directory block has its sum, and over how many of its first bytes it goes: those of an index' tail follow.
pub(crate) fn sum_place(piece: &Piece) -> Result<(usize, usize), FsError> {
    let size = piece.len();
    let first = entry_bytes(piece, 0)?;
    // An index: a node of it seems to be one empty entry, its root is behind `.` and `..`.
    let is_node = piece.le32(0)? == 0 && first == size && piece.byte(6)? == 0;
    let is_root = !is_node
        && first == 12
        && entry_bytes(piece, 12)? == size - 12
        && piece.le32(24)? == 0
        && piece.byte(29)? == 8;
    if is_node || is_root {
        let head = if is_node { 8 } else { 32 };
        let (most, count) = (usize::from(piece.le16(head)?), usize::from(piece.le16(head + 2)?));
        let tail = head + most * 8;
        if count > most || tail + 8 > size {
            return Err(piece.damaged(head, "its index contradicts itself"));
        }
        return Ok((tail + 4, head + count * 8));
    }
    if piece.slice(size - 12, 8)? == [0, 0, 0, 0, 12, 0, 0, 0xDE] {
        return Ok((size - 4, size - 12));
    }
    Err(piece.damaged(size - 12, "a directory block without a checksum"))
}

/// What a sum goes over behind a block's first bytes: of an index, its tail with zeros where the sum is. The tail's first
/// word is for nothing, and holds whatever the block held before.
pub(crate) fn tail(piece: &Piece, at: usize, length: usize) -> Result<Vec<u8>, FsError> {
    let is_index = at + 4 < piece.len() || length + 12 != piece.len();
    if !is_index {
        return Ok(Vec::new());
    }
    let mut tail = piece.slice(at - 4, 4)?.to_vec();
    tail.extend([0; 4]);
    Ok(tail)
}
