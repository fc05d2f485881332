//! An ext file system's geometry: where groups, inodes and blocks lie, and what its sums begin with.
//!
//! For what the crate does not tell: unwritten extents, extended attributes, places of sums. Layout: the kernel's
//! Documentation/filesystems/ext4. It reads what lies on the disk: a journal that is to be replayed is not looked at.
//! Deliberately absent: features by which structures lie elsewhere; they are refused by name.

use std::sync::Arc;

use super::{inode::Inode, map};
use crate::{
    blocks::Blocks,
    fs::{FsError, piece::Piece},
};

pub(crate) const SUPERBLOCK: u64 = 1024;
pub(crate) const SUPERBLOCK_BYTES: usize = 1024;
const MAGIC: u16 = 0xEF53;
pub(crate) const ROOT: u32 = 2;
const RO_COMPAT_SPARSE: u32 = 1;
/// Groups have sums of their own kind.
pub(crate) const RO_COMPAT_GDT_CSUM: u32 = 0x10;
const RO_COMPAT_BIGALLOC: u32 = 0x200;
pub(crate) const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
const INCOMPAT_FILETYPE: u32 = 2;
/// Descriptors lie with the groups that they are of, and not all together.
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
/// Features with which it is read: filetype, recover, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode (of the editor only
/// where there is one), metadata_csum_seed, large_dir, inline_data, encrypt (what is encrypted is told when it is met).
const INCOMPAT_READ: u32 = 0x1_E7D6;
/// Others, as mke2fs names them.
const FOREIGN: [(u32, &str); 4] =
    [(1, "compression"), (8, "journal_dev"), (0x1000, "dirdata"), (0x2_0000, "casefold")];

/// A file system's geometry.
#[derive(Debug)]
pub(crate) struct Volume {
    pub blocks: Arc<dyn Blocks>,
    pub superblock: Piece,
    pub block_bytes: u64,
    pub blocks_count: u64,
    pub first_block: u64,
    pub blocks_per_group: u64,
    pub inodes_per_group: u32,
    pub inodes_count: u32,
    pub inode_bytes: usize,
    pub descriptor_bytes: usize,
    pub compat: u32,
    pub incompat: u32,
    pub ro_compat: u32,
    /// The first block of descriptors that lies with its own groups.
    first_meta: Option<u64>,
    checks_sums: bool,
}

impl Volume {
    /// The one that lies there.
    pub fn open(blocks: Arc<dyn Blocks>) -> Result<Self, FsError> {
        Self::open_with(blocks, true)
    }

    /// Fuzzers get past checksums, which they cannot make.
    pub fn open_with(blocks: Arc<dyn Blocks>, checks_sums: bool) -> Result<Self, FsError> {
        let superblock = Piece::read(&*blocks, "ext superblock", SUPERBLOCK, SUPERBLOCK_BYTES)?;
        if superblock.le16(0x38)? != MAGIC {
            return Err(superblock.damaged(0x38, "it has no magic number"));
        }
        let (compat, incompat, ro_compat) =
            (superblock.le32(0x5C)?, superblock.le32(0x60)?, superblock.le32(0x64)?);
        if let Some(what) = foreign(incompat) {
            return Err(FsError::Unsupported(what));
        }
        let log = superblock.le32(0x18)?;
        if log > 6 {
            return Err(superblock.damaged(0x18, "its block size is none"));
        }
        let is_64bit = incompat & INCOMPAT_64BIT != 0;
        let high = if is_64bit { u64::from(superblock.le32(0x150)?) << 32 } else { 0 };
        let inode_bytes = if superblock.le32(0x4C)? == 0 { 128 } else { superblock.le16(0x58)? };
        let descriptor_bytes = if is_64bit { superblock.le16(0xFE)? } else { 32 };
        let first_meta = superblock.le32(0x104)?;
        let volume = Self {
            first_meta: (incompat & INCOMPAT_META_BG != 0).then_some(u64::from(first_meta)),
            block_bytes: 1024 << log,
            blocks_count: u64::from(superblock.le32(4)?) | high,
            first_block: u64::from(superblock.le32(0x14)?),
            blocks_per_group: u64::from(superblock.le32(0x20)?),
            inodes_per_group: superblock.le32(0x28)?,
            inodes_count: superblock.le32(0)?,
            inode_bytes: usize::from(inode_bytes),
            descriptor_bytes: usize::from(descriptor_bytes),
            compat,
            incompat,
            ro_compat,
            superblock,
            blocks,
            checks_sums,
        };
        volume.judge()?;
        volume.check(&volume.superblock, 0x3FC, volume.superblock.le32(0x3FC)?, || {
            Ok(sum(u32::MAX, volume.superblock.slice(0, 0x3FC)?))
        })?;
        Ok(volume)
    }

    fn judge(&self) -> Result<(), FsError> {
        let damaged = |at, wrong| Err(self.superblock.damaged(at, wrong));
        let block_bits = self.block_bytes * 8;
        let is_size = |bytes: usize| bytes.is_power_of_two() && bytes as u64 <= self.block_bytes;
        if self.blocks_count.checked_mul(self.block_bytes).is_none_or(|all| all > self.blocks.bytes()) {
            return damaged(4, "it is larger than its device");
        }
        if self.first_block > 1 || self.first_block >= self.blocks_count {
            return damaged(0x14, "its first block is none");
        }
        let clusters = if self.ro_compat & RO_COMPAT_BIGALLOC == 0 { 1 } else { block_bits };
        if self.blocks_per_group == 0 || self.blocks_per_group > block_bits.saturating_mul(clusters) {
            return damaged(0x20, "its groups have no size");
        }
        if self.inodes_per_group == 0 || u64::from(self.inodes_per_group) > block_bits {
            return damaged(0x28, "its groups have no inodes, or too many");
        }
        if self.inode_bytes < 128 || !is_size(self.inode_bytes) {
            return damaged(0x58, "its inodes' size is none");
        }
        if self.descriptor_bytes < 32 || !is_size(self.descriptor_bytes) {
            return damaged(0xFE, "its descriptors' size is none");
        }
        Ok(())
    }

    /// How many groups it has.
    pub fn groups(&self) -> u64 {
        (self.blocks_count - self.first_block).div_ceil(self.blocks_per_group)
    }

    /// Where a group's first block lies.
    pub fn group_start(&self, group: u64) -> u64 {
        (self.first_block + group * self.blocks_per_group) * self.block_bytes
    }

    /// Where the table of descriptors lies, beside the superblock of a group.
    pub fn descriptors_at(&self, group: u64) -> u64 {
        // With clusters even the smallest blocks are counted from 0, and the superblock is the second.
        let before = if group == 0 { self.group_start(0).max(SUPERBLOCK) } else { self.group_start(group) };
        before / self.block_bytes * self.block_bytes + self.block_bytes
    }

    /// Whether a group has copies of the superblock and the descriptors.
    pub fn has_copies(&self, group: u64) -> bool {
        let is_power = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        self.ro_compat & RO_COMPAT_SPARSE == 0 || group <= 1 || [3, 5, 7].into_iter().any(is_power)
    }

    /// A group's descriptor.
    pub fn descriptor(&self, group: u64) -> Result<Piece, FsError> {
        let bytes = self.descriptor_bytes as u64;
        // Sizes are powers of two, and a descriptor's is at most a block's.
        let per_block = self.block_bytes / bytes;
        let at = match self.first_meta {
            Some(first) if group / per_block >= first => {
                let owner = group / per_block * per_block;
                let mut before = u64::from(self.has_copies(owner));
                // The first block is the one before the superblock's then.
                if owner == 0 && self.block_bytes == SUPERBLOCK && self.first_block == 0 {
                    before += 1;
                }
                self.group_start(owner) + before * self.block_bytes + group % per_block * bytes
            }
            _ => self.descriptors_at(0).saturating_add(group.saturating_mul(bytes)),
        };
        Piece::read(&*self.blocks, "ext group descriptor", at, self.descriptor_bytes)
    }

    /// Where the table of inodes lies that a descriptor names.
    pub fn inode_table(&self, descriptor: &Piece) -> Result<u64, FsError> {
        let (low, high) = (u64::from(descriptor.le32(8)?), self.high32(descriptor, 0x28)?);
        self.place(low | high << 32, 1).map_err(|_| descriptor.damaged(8, "its inodes lie nowhere"))
    }

    /// The upper half of a number in a descriptor, where descriptors have it.
    pub fn high32(&self, descriptor: &Piece, at: usize) -> Result<u64, FsError> {
        if self.descriptor_bytes >= 64 { descriptor.le32(at).map(u64::from) } else { Ok(0) }
    }

    /// Where blocks lie, if there are so many.
    pub fn place(&self, block: u64, count: u64) -> Result<u64, FsError> {
        let is_inside = block > 0 && block.checked_add(count).is_some_and(|end| end <= self.blocks_count);
        if is_inside {
            return Ok(block * self.block_bytes);
        }
        let at = block.saturating_mul(self.block_bytes);
        Err(FsError::Damaged { what: "ext: a block beyond the end of the file system".to_owned(), at })
    }

    /// A block's bytes.
    pub fn block(&self, what: &'static str, block: u64) -> Result<Piece, FsError> {
        let at = self.place(block, 1)?;
        Piece::read(&*self.blocks, what, at, usize::try_from(self.block_bytes).unwrap_or(0))
    }

    /// An inode by its number.
    pub fn inode(&self, number: u32) -> Result<Inode, FsError> {
        let index = number.checked_sub(1).filter(|_| number <= self.inodes_count).ok_or_else(|| {
            FsError::Damaged { what: format!("ext: there is no inode {number}"), at: SUPERBLOCK }
        })?;
        let group = u64::from(index / self.inodes_per_group);
        if group >= self.groups() {
            return Err(self.superblock.damaged(0, "it has more inodes than its groups"));
        }
        let table = self.inode_table(&self.descriptor(group)?)?;
        let at = table + u64::from(index % self.inodes_per_group) * self.inode_bytes as u64;
        let inode = Inode { number, bytes: Piece::read(&*self.blocks, "ext inode", at, self.inode_bytes)? };
        self.check_inode(&inode)?;
        Ok(inode)
    }

    /// Whether a checksum, if there are any, is what it should be.
    pub fn check(
        &self,
        piece: &Piece,
        at: usize,
        there: u32,
        wanted: impl FnOnce() -> Result<u32, FsError>,
    ) -> Result<(), FsError> {
        if !self.has_sums() || !self.checks_sums || there == wanted()? {
            return Ok(());
        }
        Err(piece.damaged(at, "its checksum does not hold"))
    }

    fn check_inode(&self, inode: &Inode) -> Result<(), FsError> {
        let mut bytes = inode.bytes.slice(0, inode.bytes.len())?.to_vec();
        // One that was never used has no sum.
        if !self.has_sums() || bytes.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let is_long = inode.extra_bytes()? >= 4;
        let mut there = u32::from(inode.bytes.le16(0x7C)?);
        bytes[0x7C..0x7E].fill(0);
        if is_long {
            there |= u32::from(inode.bytes.le16(0x82)?) << 16;
            bytes[0x82..0x84].fill(0);
        }
        let mask = if is_long { u32::MAX } else { 0xFFFF };
        self.check(&inode.bytes, 0x7C, there, || Ok(sum(self.seed_of(inode)?, &bytes) & mask))
    }

    /// What the sums of an inode and of what belongs to it begin with.
    pub fn seed_of(&self, inode: &Inode) -> Result<u32, FsError> {
        let seed = sum(self.seed()?, &inode.number.to_le_bytes());
        Ok(sum(seed, &inode.generation()?.to_le_bytes()))
    }

    /// Blocks of a file, in its order.
    pub fn map(&self, inode: &Inode) -> Result<map::Map, FsError> {
        map::of(self, inode)
    }

    /// Whether directories say what is named.
    pub fn has_kinds(&self) -> bool {
        self.incompat & INCOMPAT_FILETYPE != 0
    }

    /// Whether its structures have sums.
    pub fn has_sums(&self) -> bool {
        self.ro_compat & RO_COMPAT_METADATA_CSUM != 0
    }

    /// Whether the sums' seed is a field, and no longer the UUID's.
    pub fn has_seed(&self) -> bool {
        self.incompat & INCOMPAT_CSUM_SEED != 0
    }

    /// What all sums begin with.
    pub fn seed(&self) -> Result<u32, FsError> {
        if self.has_seed() {
            return self.superblock.le32(0x270);
        }
        Ok(sum(u32::MAX, self.superblock.slice(0x68, 16)?))
    }
}

/// What of it is not read here.
fn foreign(incompat: u32) -> Option<String> {
    let others = incompat & !INCOMPAT_READ;
    let known = FOREIGN.iter().filter(|(bit, _)| others & bit != 0);
    let mut names: Vec<String> = known.map(|(_, name)| (*name).to_owned()).collect();
    let unknown = FOREIGN.iter().fold(others, |left, (bit, _)| left & !bit);
    if unknown != 0 {
        names.push(format!("unknown ones (0x{unknown:x})"));
    }
    let only = "only the running guest can read it";
    (!names.is_empty()).then(|| format!("an ext file system with the feature {}; {only}", names.join(", ")))
}

/// CRC-32C as ext4 has it: neither end is inverted.
pub(crate) fn sum(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}
