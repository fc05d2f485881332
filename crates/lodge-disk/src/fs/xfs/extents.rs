//! Which blocks hold which part of a file: a list in the inode, or a B+tree below it.

use std::ops::Range;

use crate::fs::{
    FsError,
    piece::{self, Piece},
};

use super::{
    inode::{Fork, Inode},
    limits,
    superblock::Volume,
};

/// A run of a file's blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// The first one's number in the file.
    pub(super) first: u64,
    pub(super) count: u64,
    /// Where they lie on the disk, in bytes.
    at: u64,
    /// Set aside, never written: zeros.
    unwritten: bool,
}

impl Extent {
    pub(super) fn end(&self) -> u64 {
        self.first + self.count
    }

    /// Where on the disk the file's byte `offset` lies, if it is in this extent; else where the extent begins.
    pub(super) fn place(&self, volume: &Volume, offset: u64) -> u64 {
        self.at + offset.saturating_sub(self.first.saturating_mul(volume.block_bytes as u64))
    }
}

/// The extents that overlap a range of a file's blocks, in order.
pub(super) fn overlapping(volume: &Volume, inode: &Inode, range: Range<u64>) -> Result<Vec<Extent>, FsError> {
    let mut walk = Walk { volume, range, last_end: 0, blocks_left: limits::TREE_BLOCKS, found: Vec::new() };
    match &inode.fork {
        Fork::Extents(data, count) => {
            let count = usize::try_from(*count).unwrap_or(usize::MAX);
            if count > data.len() / 16 {
                return Err(data.damaged(0, "more extents than there is room for"));
            }
            walk.records(data, 0, count)?;
        }
        Fork::Tree(data) => {
            let (level, count) = (data.be16(0)?, usize::from(data.be16(2)?));
            if level == 0 || level > limits::TREE_LEVELS {
                return Err(data.damaged(0, "no such level of an extent tree"));
            }
            walk.pointers(data, 4, count, level)?;
        }
        Fork::Local(data) => return Err(data.damaged(0, "data in the inode where extents should be")),
        Fork::None => {}
    }
    Ok(walk.found)
}

/// Fills `into`, which holds zeros, with the file's bytes from `offset` on.
pub(super) fn read(volume: &Volume, inode: &Inode, offset: u64, into: &mut [u8]) -> Result<(), FsError> {
    if into.is_empty() {
        return Ok(());
    }
    if let Fork::Local(data) = &inode.fork {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        into.copy_from_slice(data.slice(start, into.len())?);
        return Ok(());
    }
    let block = volume.block_bytes as u64;
    let end = offset.saturating_add(into.len() as u64);
    let extents = overlapping(volume, inode, offset / block..end.div_ceil(block))?;
    fill(volume, &extents, offset, into)
}

/// The part of [`read`] for whoever has the extents. They are in order and do not overlap.
pub(super) fn fill(volume: &Volume, extents: &[Extent], offset: u64, into: &mut [u8]) -> Result<(), FsError> {
    let block = volume.block_bytes as u64;
    let end = offset.saturating_add(into.len() as u64);
    let from = extents.partition_point(|extent| extent.end().saturating_mul(block) <= offset);
    for extent in extents.iter().skip(from) {
        let (first, last) = (extent.first.saturating_mul(block), extent.end().saturating_mul(block));
        if first >= end {
            break;
        }
        let (start, stop) = (first.max(offset), last.min(end));
        let within = |place: u64| usize::try_from(place - offset).unwrap_or(usize::MAX);
        if let Some(part) = into.get_mut(within(start)..within(stop))
            && !extent.unwritten
        {
            piece::fill(&*volume.blocks, "XFS extent", extent.at + (start - first), part)?;
        }
    }
    Ok(())
}

struct Walk<'a> {
    volume: &'a Volume,
    range: Range<u64>,
    last_end: u64,
    blocks_left: usize,
    found: Vec<Extent>,
}

impl Walk<'_> {
    fn records(&mut self, piece: &Piece, offset: usize, count: usize) -> Result<(), FsError> {
        for index in 0..count {
            let place = offset + index * 16;
            let (high, low) = (piece.be64(place)?, piece.be64(place + 8)?);
            let first = (high & (u64::MAX >> 1)) >> 9;
            let start = (high & 0x1ff) << 43 | low >> 21;
            let count = low & 0x1f_ffff;
            if count == 0 || first < self.last_end {
                return Err(piece.damaged(place, "extents overlap or are empty"));
            }
            let Some(at) = self.volume.place(start, count) else {
                return Err(piece.damaged(place, "an extent lies outside its allocation group"));
            };
            self.last_end = first + count;
            if first < self.range.end && self.last_end > self.range.start {
                if self.found.len() >= limits::EXTENTS {
                    return Err(FsError::TooMany(limits::EXTENTS));
                }
                self.found.push(Extent { first, count, at, unwritten: high >> 63 != 0 });
            }
        }
        Ok(())
    }

    /// A node's keys, and after room for as many as fit its pointers.
    fn pointers(&mut self, piece: &Piece, offset: usize, count: usize, level: u16) -> Result<(), FsError> {
        let room = piece.len().saturating_sub(offset) / 16;
        if count == 0 || count > room {
            return Err(piece.damaged(offset, "no such number of branches"));
        }
        for index in 0..count {
            let key = piece.be64(offset + index * 8)?;
            let next = if index + 1 < count { piece.be64(offset + index * 8 + 8)? } else { u64::MAX };
            if next <= key {
                return Err(piece.damaged(offset + index * 8, "branches are out of order"));
            }
            if next > self.range.start && key < self.range.end {
                self.block(piece.be64(offset + room * 8 + index * 8)?, level - 1)?;
            }
        }
        Ok(())
    }

    fn block(&mut self, number: u64, level: u16) -> Result<(), FsError> {
        self.blocks_left = self.blocks_left.checked_sub(1).ok_or(FsError::TooMany(limits::TREE_BLOCKS))?;
        let volume = self.volume;
        let at = volume.place(number, 1).ok_or_else(|| FsError::Damaged {
            what: format!("XFS extent tree: block {number} lies outside the file system"),
            at: 0,
        })?;
        let piece = Piece::read(&*volume.blocks, "XFS extent tree", at, volume.block_bytes)?;
        let (magic, header) = if volume.is_v5 { (b"BMA3", 72) } else { (b"BMAP", 24) };
        if piece.slice(0, 4)? != magic {
            return Err(piece.damaged(0, "no such magic number"));
        }
        volume.check_sum(&piece, 64)?;
        if piece.be16(4)? != level {
            return Err(piece.damaged(4, "not the level that is due"));
        }
        let count = usize::from(piece.be16(6)?);
        if level == 0 {
            self.records(&piece, header, count)
        } else {
            self.pointers(&piece, header, count, level)
        }
    }
}
