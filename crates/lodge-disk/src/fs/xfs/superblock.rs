//! The superblock: geometry and features, and from them where a block or an inode lies.
//!
//! All arithmetic on what a guest numbered is here.

use std::sync::Arc;

use lodge_model::{Bytes, guest_disk::Content};

use crate::{
    blocks::Blocks,
    fs::{FsError, piece::Piece},
};

/// What is needed to find things.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) blocks: Arc<dyn Blocks>,
    /// Checksums are looked at, where there are any.
    sums: bool,
    /// Version 5: structures describe themselves and carry checksums.
    pub(super) is_v5: bool,
    /// Directory entries say what they name.
    pub(super) has_kinds: bool,
    pub(super) needs_repair: bool,
    pub(super) block_bytes: usize,
    pub(super) inode_bytes: usize,
    /// Blocks of a directory's block, as a power of two.
    pub(super) directory_log: u8,
    pub(super) root: u64,
    pub(super) log_start: u64,
    pub(super) log_blocks: u32,
    all_blocks: u64,
    group_blocks: u32,
    groups: u32,
    group_log: u8,
    inodes_log: u8,
}

const FEATURE_FTYPE: u32 = 1;
const FEATURE_NEEDS_REPAIR: u32 = 1 << 4;
/// ftype, sparse inodes, metadata UUID, big time, needs repair, large extent counts, exchange range, parent pointers,
/// metadata directory: each either changes nothing for us or is read.
const FEATURES_READ: u32 = 0x1ff;

pub(super) fn open(blocks: Arc<dyn Blocks>, sums: bool) -> Result<(Volume, Content), FsError> {
    let head = Piece::read(&*blocks, "XFS superblock", 0, 512)?;
    if head.slice(0, 4)? != b"XFSB" {
        return Err(head.damaged(0, "no such magic number"));
    }
    let sector_bytes = usize::from(head.be16(102)?);
    if !sector_bytes.is_power_of_two() || !(512..=32768).contains(&sector_bytes) {
        return Err(head.damaged(102, "no such size of sectors"));
    }
    let head = Piece::read(&*blocks, "XFS superblock", 0, sector_bytes)?;
    let version = head.be16(100)?;
    let is_v5 = match version & 0xf {
        4 => false,
        5 => true,
        other => return Err(FsError::Unsupported(format!("version {other} of XFS"))),
    };
    if version & 0x2000 == 0 {
        return Err(FsError::Unsupported("an XFS with version 1 directories".to_owned()));
    }
    if head.byte(126)? != 0 {
        return Err(FsError::Unsupported("an XFS whose making was never finished".to_owned()));
    }
    let features = if is_v5 { head.be32(216)? } else { 0 };
    if features & !FEATURES_READ != 0 {
        let unknown = features & !FEATURES_READ;
        return Err(FsError::Unsupported(format!("XFS features {unknown:#x} that are not known here")));
    }
    let has_kinds = if is_v5 {
        features & FEATURE_FTYPE != 0
    } else {
        version & 0x8000 != 0 && head.be32(200)? & 0x200 != 0
    };
    let volume = Volume {
        blocks,
        sums,
        is_v5,
        has_kinds,
        needs_repair: features & FEATURE_NEEDS_REPAIR != 0,
        block_bytes: power(&head, 4, head.be32(4)?, 120, 9..=16)?,
        inode_bytes: power(&head, 104, u32::from(head.be16(104)?), 122, 8..=11)?,
        directory_log: head.byte(192)?,
        root: head.be64(56)?,
        log_start: head.be64(48)?,
        log_blocks: head.be32(96)?,
        all_blocks: head.be64(8)?,
        group_blocks: head.be32(84)?,
        groups: head.be32(88)?,
        group_log: head.byte(124)?,
        inodes_log: head.byte(123)?,
    };
    volume.check(&head)?;
    volume.check_sum(&head, 224)?;
    let free = head.be64(144)?;
    let used = volume.all_blocks.saturating_sub(free).saturating_mul(volume.block_bytes as u64);
    let content = Content {
        kind: "xfs".to_owned(),
        uuid: Some(head.uuid(32)?),
        label: head.label(108, 12)?,
        group: None,
        used: Some(Bytes(used)),
    };
    Ok((volume, content))
}

/// A size that is kept twice, the second time as a power of two.
fn power(
    head: &Piece,
    offset: usize,
    size: u32,
    log_offset: usize,
    logs: std::ops::RangeInclusive<u8>,
) -> Result<usize, FsError> {
    let log = head.byte(log_offset)?;
    if !logs.contains(&log) || size != 1 << log {
        return Err(head.damaged(offset, "no such size of blocks or inodes"));
    }
    Ok(1 << log)
}

impl Volume {
    /// The geometry, once: what follows may shift and multiply by it.
    fn check(&self, head: &Piece) -> Result<(), FsError> {
        let wrong = |offset, what| Err(head.damaged(offset, what));
        if self.directory_log > 16 || self.block_bytes << self.directory_log > 1 << 16 {
            return wrong(192, "no such size of directory blocks");
        }
        if self.inode_bytes > self.block_bytes
            || self.block_bytes / self.inode_bytes != 1 << self.inodes_log.min(31)
        {
            return wrong(123, "no such number of inodes in a block");
        }
        if self.groups == 0 || self.group_blocks == 0 || self.group_log > 32 {
            return wrong(84, "no allocation groups");
        }
        if u64::from(self.group_blocks) > 1 << self.group_log {
            return wrong(84, "allocation groups larger than they may be");
        }
        let most = u64::from(self.groups) * u64::from(self.group_blocks);
        if self.all_blocks > most || self.all_blocks.checked_mul(self.block_bytes as u64).is_none() {
            return wrong(8, "more blocks than its groups have");
        }
        Ok(())
    }

    /// Where `count` blocks from the number `block` on lie, in bytes. Numbers are a group and a place in it.
    pub(super) fn place(&self, block: u64, count: u64) -> Option<u64> {
        let (group, within) = (block >> self.group_log, block & ((1 << self.group_log) - 1));
        if group >= u64::from(self.groups) || within.checked_add(count)? > u64::from(self.group_blocks) {
            return None;
        }
        let first = group * u64::from(self.group_blocks) + within;
        if first.checked_add(count)? > self.all_blocks {
            return None;
        }
        Some(first * self.block_bytes as u64)
    }

    /// Where an inode lies.
    pub(super) fn inode_place(&self, number: u64) -> Option<u64> {
        let within = number & ((1 << self.inodes_log) - 1);
        let block = self.place(number >> self.inodes_log, 1)?;
        Some(block + within * self.inode_bytes as u64)
    }

    /// The checksum of a structure of version 5, kept at `offset` in it: CRC-32C, itself taken as zeros.
    pub(super) fn check_sum(&self, piece: &Piece, offset: usize) -> Result<(), FsError> {
        if !self.is_v5 || !self.sums {
            return Ok(());
        }
        let before = crc32c::crc32c(piece.slice(0, offset)?);
        let after = piece.slice(offset + 4, piece.len().saturating_sub(offset + 4))?;
        let sum = crc32c::crc32c_append(crc32c::crc32c_append(before, &[0; 4]), after);
        if sum == piece.le32(offset)? {
            Ok(())
        } else {
            Err(piece.damaged(offset, "its checksum does not hold"))
        }
    }
}
