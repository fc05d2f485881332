//! Trees: items by key.
//!
//! A block lies at an address and has a level; a leaf has level 0. Blocks visited per call are counted, levels only
//! go down, so a tree that bites its tail ends.

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    blocks::Blocks,
    fs::{
        FsError,
        piece::{self, Piece},
    },
};

use super::{chunks::Chunks, limits, superblock::Superblock};

/// What is needed to find items.
#[derive(Debug)]
pub(super) struct Volume {
    blocks: Arc<dyn Blocks>,
    pub(super) superblock: Superblock,
    /// Checksums are looked at.
    sums: bool,
    chunks: Chunks,
    kept: Mutex<HashMap<u64, Arc<Piece>>>,
}

/// What an item is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) object: u64,
    pub(super) kind: u8,
    pub(super) offset: u64,
}

/// A tree's first block and its level.
pub(super) type Root = (u64, u8);

pub(super) const INODE_ITEM: u8 = 1;
pub(super) const DIR_ITEM: u8 = 84;
pub(super) const DIR_INDEX: u8 = 96;
pub(super) const EXTENT_DATA: u8 = 108;
pub(super) const ROOT_ITEM: u8 = 132;
pub(super) const ROOT_REF: u8 = 156;
const CHUNK_ITEM: u8 = 228;
const CHUNK_OBJECT: u64 = 256;

const KEY_BYTES: usize = 17;
const HEADER: usize = 101;
const ITEM_BYTES: usize = 25;
const POINTER_BYTES: usize = 33;
const LEVELS: u8 = 8;

impl Key {
    pub(super) fn new(object: u64, kind: u8, offset: u64) -> Self {
        Self { object, kind, offset }
    }

    pub(super) fn read(piece: &Piece, at: usize) -> Result<Self, FsError> {
        Ok(Self { object: piece.le64(at)?, kind: piece.byte(at + 8)?, offset: piece.le64(at + 9)? })
    }

    /// All items of one kind of one object.
    pub(super) fn all(object: u64, kind: u8) -> RangeInclusive<Self> {
        Self::new(object, kind, 0)..=Self::new(object, kind, u64::MAX)
    }
}

/// Called with each item; false ends it.
type Take<'a> = &'a mut dyn FnMut(Key, &Piece) -> Result<bool, FsError>;

impl Volume {
    pub(super) fn open(blocks: Arc<dyn Blocks>, superblock: Superblock, sums: bool) -> Result<Self, FsError> {
        let (system, device) = (superblock.system_chunks.clone(), superblock.device);
        let mut chunks = Chunks::default();
        let mut at = 0;
        while at < system.len() {
            let key = Key::read(&system, at)?;
            at += KEY_BYTES + chunks.add(key.offset, &system, at + KEY_BYTES, device)?;
        }
        let mut volume = Self { blocks, superblock, sums, chunks, kept: Mutex::default() };
        let mut all = Chunks::default();
        volume.items(
            volume.superblock.chunk_root,
            &Key::all(CHUNK_OBJECT, CHUNK_ITEM),
            &mut |key, item| all.add(key.offset, item, 0, device).map(|_| true),
        )?;
        volume.chunks = all;
        Ok(volume)
    }

    /// Fills `into` with what lies at an address, from the first copy that can be read.
    pub(super) fn fill(&self, what: &'static str, address: u64, into: &mut [u8]) -> Result<(), FsError> {
        let mut last = Ok(());
        for place in self.chunks.places(address, into.len() as u64)? {
            last = piece::fill(&*self.blocks, what, place, into);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// The items of a tree in a range of keys, in order.
    pub(super) fn items(
        &self,
        root: Root,
        range: &RangeInclusive<Key>,
        take: Take<'_>,
    ) -> Result<(), FsError> {
        let mut left = limits::TREE_BLOCKS;
        self.walk(root, range, &mut left, take).map(|_| ())
    }

    /// The item of a key.
    pub(super) fn item(&self, root: Root, key: Key) -> Result<Option<Piece>, FsError> {
        let mut found = None;
        self.items(root, &(key..=key), &mut |_, item| {
            found = Some(item.clone());
            Ok(false)
        })?;
        Ok(found)
    }

    /// The key of the last item at or before `key`, of which the offset is not the greatest there is.
    pub(super) fn key_before(&self, root: Root, key: Key) -> Result<Option<Key>, FsError> {
        let (mut address, mut level) = root;
        loop {
            let block = self.block(address, level)?;
            let size = if level == 0 { ITEM_BYTES } else { POINTER_BYTES };
            let after = Key { offset: key.offset.saturating_add(1), ..key };
            let Some(last) = search(&block, size, count(&block, size)?, &after)?.checked_sub(1) else {
                return Ok(None);
            };
            let at = HEADER + last * size;
            if level == 0 {
                return Key::read(&block, at).map(Some);
            }
            (address, level) = (block.le64(at + KEY_BYTES)?, level - 1);
        }
    }

    fn walk(
        &self,
        (address, level): Root,
        range: &RangeInclusive<Key>,
        left: &mut usize,
        take: Take<'_>,
    ) -> Result<bool, FsError> {
        *left = left.checked_sub(1).ok_or(FsError::TooMany(limits::TREE_BLOCKS))?;
        let block = self.block(address, level)?;
        let size = if level == 0 { ITEM_BYTES } else { POINTER_BYTES };
        let count = count(&block, size)?;
        // What is below a branch comes before the next branch's key: of those before the range the last counts.
        let before = search(&block, size, count, range.start())?;
        let first = if level == 0 { before } else { before.saturating_sub(1) };
        let mut last = None;
        for index in first..count {
            let at = HEADER + index * size;
            let key = Key::read(&block, at)?;
            if last.is_some_and(|last| last >= key) {
                return Err(block.damaged(at, "its keys are out of order"));
            }
            last = Some(key);
            if key > *range.end() {
                return Ok(false);
            }
            if level == 0 {
                let (offset, length) = (block.le32(at + 17)? as usize, block.le32(at + 21)? as usize);
                let item = block.part("btrfs item", HEADER.saturating_add(offset), length)?;
                if !take(key, &item)? {
                    return Ok(false);
                }
            } else if !self.walk((block.le64(at + KEY_BYTES)?, level - 1), range, left, take)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn block(&self, address: u64, level: u8) -> Result<Arc<Piece>, FsError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned();
        if let Some(block) = kept {
            check(&block, address, level)?;
            return Ok(block);
        }
        let mut last = None;
        let bytes = self.superblock.node_bytes;
        for place in self.chunks.places(address, bytes as u64)? {
            let read = Piece::read(&*self.blocks, "btrfs tree", place, bytes).and_then(|block| {
                if self.sums {
                    self.superblock.sum.check(&block)?;
                }
                check(&block, address, level)?;
                Ok(Arc::new(block))
            });
            match read {
                Ok(block) => {
                    let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                    if kept.len() >= limits::KEPT_BLOCKS {
                        kept.clear();
                    }
                    kept.insert(address, block.clone());
                    return Ok(block);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(FsError::NotFound))
    }
}

fn check(block: &Piece, address: u64, level: u8) -> Result<(), FsError> {
    if block.le64(48)? != address {
        return Err(block.damaged(48, "it is another block"));
    }
    if block.byte(100)? != level || level >= LEVELS {
        return Err(block.damaged(100, "not the level that is due"));
    }
    Ok(())
}

/// How many items or branches a block has: no more than fit.
fn count(block: &Piece, size: usize) -> Result<usize, FsError> {
    let count = block.le32(96)? as usize;
    if count > block.len().saturating_sub(HEADER) / size {
        return Err(block.damaged(96, "more items than there is room for"));
    }
    Ok(count)
}

/// How many keys of a block come before `key`. Keys that are out of order give some number.
fn search(block: &Piece, size: usize, count: usize, key: &Key) -> Result<usize, FsError> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = usize::midpoint(low, high);
        if Key::read(block, HEADER + middle * size)? < *key { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}
