//! Which blocks hold which part of a file of an ext file system: extents, or the older map of blocks.
//!
//! Bounds: blocks of the map itself, runs, levels.

use super::{
    inode::Inode,
    volume::{Volume, sum},
};
use crate::fs::{FsError, piece::Piece};

const MAGIC: u16 = 0xF30A;
const LEVELS_MAX: u16 = 5;
const TREE_BLOCKS_MAX: usize = 1 << 16;
const RUNS_MAX: usize = 1 << 20;
/// Extents that are longer by this are reserved and not written yet.
const UNWRITTEN: u16 = 1 << 15;
const AREA: usize = 0x28;
const AREA_BYTES: usize = 60;
const DIRECT: usize = 12;

/// Blocks that follow each other in the file and on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// Which block of the file is the first.
    pub logical: u64,
    /// Where it lies.
    pub physical: u64,
    pub count: u64,
    /// Otherwise the file has zeros there.
    pub is_written: bool,
}

/// A file's blocks.
#[derive(Debug, Default)]
pub(crate) struct Map {
    pub runs: Vec<Run>,
    /// Blocks of the map itself.
    pub tree: Vec<u64>,
}

/// Reads a file's map.
pub(super) fn of(volume: &Volume, inode: &Inode) -> Result<Map, FsError> {
    let mut map = Map::default();
    if !inode.has_blocks()? {
        return Ok(map);
    }
    let area = inode.bytes.part("ext map of blocks", AREA, AREA_BYTES)?;
    if inode.has_extents()? {
        let depth = area.le16(6)?;
        if depth > LEVELS_MAX {
            return Err(area.damaged(6, "it is too deep"));
        }
        node(volume, &area, depth, volume.seed_of(inode)?, &mut map)?;
        let is_in_order = map.runs.windows(2).all(|pair| pair[0].logical + pair[0].count <= pair[1].logical);
        if !is_in_order {
            return Err(area.damaged(0, "its extents are out of order"));
        }
        return Ok(map);
    }
    let (mut next, end) = (0, inode.size()?.div_ceil(volume.block_bytes));
    for slot in 0..DIRECT + 3 {
        let levels = slot.saturating_sub(DIRECT - 1);
        let block = u64::from(area.le32(slot * 4)?);
        pointer(volume, block, levels, &mut next, end, &mut map)?;
    }
    Ok(map)
}

fn node(volume: &Volume, piece: &Piece, depth: u16, seed: u32, map: &mut Map) -> Result<(), FsError> {
    let (count, most) = (usize::from(piece.le16(2)?), usize::from(piece.le16(4)?));
    if piece.le16(0)? != MAGIC || piece.le16(6)? != depth || count > most || 12 + 12 * most > piece.len() {
        return Err(piece.damaged(0, "its head contradicts itself"));
    }
    for entry in 0..count {
        let at = 12 + 12 * entry;
        if depth > 0 {
            let block = u64::from(piece.le32(at + 4)?) | u64::from(piece.le16(at + 8)?) << 32;
            add_tree(map, block, piece)?;
            let below = volume.block("ext extent block", block)?;
            let tail = 12 + 12 * usize::from(below.le16(4)?);
            if volume.has_sums() {
                let there = below.le32(tail)?;
                volume.check(&below, tail, there, || Ok(sum(seed, below.slice(0, tail)?)))?;
            }
            node(volume, &below, depth - 1, seed, map)?;
            continue;
        }
        let length = piece.le16(at + 4)?;
        let is_written = length <= UNWRITTEN;
        let count = u64::from(if is_written { length } else { length - UNWRITTEN });
        let physical = u64::from(piece.le32(at + 8)?) | u64::from(piece.le16(at + 6)?) << 32;
        volume.place(physical, count)?;
        let run = Run { logical: u64::from(piece.le32(at)?), physical, count, is_written };
        add(map, run, piece)?;
    }
    Ok(())
}

/// A block, or a block of blocks. `next` is the file's block that it stands for.
fn pointer(
    volume: &Volume,
    block: u64,
    levels: usize,
    next: &mut u64,
    end: u64,
    map: &mut Map,
) -> Result<(), FsError> {
    let each = volume.block_bytes / 4;
    if *next >= end {
        return Ok(());
    }
    if block == 0 {
        *next = next.saturating_add((0..levels).fold(1_u64, |all, _| all.saturating_mul(each)));
        return Ok(());
    }
    if levels == 0 {
        volume.place(block, 1)?;
        let run = Run { logical: *next, physical: block, count: 1, is_written: true };
        *next += 1;
        return add(map, run, &volume.superblock);
    }
    add_tree(map, block, &volume.superblock)?;
    let piece = volume.block("ext map of blocks", block)?;
    for slot in 0..piece.len() / 4 {
        pointer(volume, u64::from(piece.le32(slot * 4)?), levels - 1, next, end, map)?;
    }
    Ok(())
}

fn add(map: &mut Map, run: Run, place: &Piece) -> Result<(), FsError> {
    if let Some(last) = map.runs.last_mut() {
        let joins = last.logical + last.count == run.logical && last.physical + last.count == run.physical;
        if joins && last.is_written == run.is_written {
            last.count += run.count;
            return Ok(());
        }
    }
    if map.runs.len() >= RUNS_MAX {
        return Err(place.damaged(0, "a file lies in more pieces than anybody's"));
    }
    map.runs.push(run);
    Ok(())
}

fn add_tree(map: &mut Map, block: u64, place: &Piece) -> Result<(), FsError> {
    if map.tree.len() >= TREE_BLOCKS_MAX {
        return Err(place.damaged(0, "a file's map is larger than anybody's"));
    }
    map.tree.push(block);
    Ok(())
}
