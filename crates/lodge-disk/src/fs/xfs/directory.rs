//! Directories: a short one in the inode, else blocks of names. Their hash index, which lies 32 GiB into the
//! directory, is not needed: the data are scanned.

use crate::fs::{
    FsError, NodeKind,
    piece::{self, Piece},
};

use super::{
    extents,
    inode::{Fork, Inode},
    limits,
    superblock::Volume,
};

/// A name that was found.
pub(super) struct Found<'a> {
    pub(super) name: &'a [u8],
    pub(super) inode: u64,
    /// None: the entry does not say.
    pub(super) kind: Option<NodeKind>,
}

/// Called with each name; false ends it.
type Take<'a> = &'a mut dyn FnMut(Found<'_>) -> Result<bool, FsError>;

/// Where data end and the index begins.
const DATA_BYTES: u64 = 1 << 35;
const FREE: u16 = 0xffff;

/// Each name of a directory but `.` and `..`.
pub(super) fn each(volume: &Volume, inode: &Inode, take: Take<'_>) -> Result<(), FsError> {
    if let Fork::Local(data) = &inode.fork {
        return short(volume, data, take);
    }
    let extents = extents::overlapping(volume, inode, 0..DATA_BYTES / volume.block_bytes as u64)?;
    let bytes = volume.block_bytes << volume.directory_log;
    let per_block = 1 << volume.directory_log;
    let (mut next, mut left) = (0, limits::DIRECTORY_BYTES / bytes as u64);
    for extent in &extents {
        let (first, end) = (extent.first >> volume.directory_log, extent.end().div_ceil(per_block));
        for number in first.max(next)..end.min(DATA_BYTES / bytes as u64) {
            left = left.checked_sub(1).ok_or_else(|| {
                FsError::Unsupported(format!(
                    "a directory of more than {} MiB",
                    limits::DIRECTORY_BYTES >> 20
                ))
            })?;
            let mut block = vec![0; bytes];
            extents::fill(volume, &extents, number * bytes as u64, &mut block)?;
            let at = extent.place(volume, number * bytes as u64);
            if !names(volume, inode, &Piece::new("XFS directory", at, block), take)? {
                return Ok(());
            }
            next = number + 1;
        }
    }
    Ok(())
}

/// A short directory: a count, the parent, names.
fn short(volume: &Volume, data: &Piece, take: Take<'_>) -> Result<(), FsError> {
    let count = usize::from(data.byte(0)?);
    let wide = data.byte(1)? != 0;
    let number_bytes = if wide { 8 } else { 4 };
    let mut at = 2 + number_bytes;
    for _ in 0..count {
        let length = usize::from(data.byte(at)?);
        let name = data.slice(at + 3, length)?;
        let mut place = at + 3 + length;
        let kind = if volume.has_kinds { kind(data.byte(place)?) } else { None };
        place += usize::from(volume.has_kinds);
        let inode = if wide { data.be64(place)? } else { u64::from(data.be32(place)?) };
        if !offer(data, at, Found { name, inode, kind }, take)? {
            return Ok(());
        }
        at = place + number_bytes;
    }
    Ok(())
}

/// The names of one block. False: nobody wants more.
fn names(volume: &Volume, inode: &Inode, block: &Piece, take: Take<'_>) -> Result<bool, FsError> {
    let magic = block.slice(0, 4)?;
    let alone = match (magic, volume.is_v5) {
        (b"XDB3", true) | (b"XD2B", false) => true,
        (b"XDD3", true) | (b"XD2D", false) => false,
        _ => return Err(block.damaged(0, "no such magic number")),
    };
    let mut at = 16;
    if volume.is_v5 {
        volume.check_sum(block, 4)?;
        if block.be64(40)? != inode.number {
            return Err(block.damaged(40, "it belongs to another directory"));
        }
        at = 64;
    }
    // A directory of one block has its index in it, at the end, and after that its length.
    let mut end = block.len();
    if alone {
        let index = usize::try_from(block.be32(block.len() - 8)?).unwrap_or(usize::MAX).checked_mul(8);
        end = index
            .and_then(|index| end.checked_sub(8)?.checked_sub(index))
            .ok_or_else(|| block.damaged(end - 8, "its index is larger than itself"))?;
    }
    while at < end {
        if block.be16(at)? == FREE {
            let length = usize::from(block.be16(at + 2)?);
            if length == 0 || !length.is_multiple_of(8) {
                return Err(block.damaged(at, "no such length of free room"));
            }
            at += length;
            continue;
        }
        let length = usize::from(block.byte(at + 8)?);
        let name = block.slice(at + 9, length)?;
        let kind = if volume.has_kinds { kind(block.byte(at + 9 + length)?) } else { None };
        if !offer(block, at, Found { name, inode: block.be64(at)?, kind }, take)? {
            return Ok(false);
        }
        // Number, length, name, kind and the entry's own place, in eights of bytes.
        at += (8 + 1 + length + usize::from(volume.has_kinds) + 2).next_multiple_of(8);
    }
    Ok(true)
}

fn offer(block: &Piece, at: usize, found: Found<'_>, take: Take<'_>) -> Result<bool, FsError> {
    if matches!(found.name, b"." | b"..") {
        return Ok(true);
    }
    if !piece::is_name(found.name) {
        return Err(block.damaged(at, "a name that cannot be"));
    }
    take(found)
}

fn kind(number: u8) -> Option<NodeKind> {
    match number {
        1 => Some(NodeKind::File),
        2 => Some(NodeKind::Directory),
        3..=6 => Some(NodeKind::Other),
        7 => Some(NodeKind::Link),
        _ => None,
    }
}
