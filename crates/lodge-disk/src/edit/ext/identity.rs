//! Another UUID for an ext file system, and all sums that begin with it.
//!
//! ```text
//! no sums, or their seed is a field    the superblocks
//! the seed may become a field          the superblocks, which keep the old UUID's sum as the seed
//! else                                 one pass over all metadata
//! ```
//! The first two take as long on a large file system as on a small one. A field for the seed (`metadata_csum_seed`) is
//! what `tune2fs -O metadata_csum_seed` makes: Linux 4.4 and e2fsprogs 1.43 know it, GRUB since 2.06 of most distributions.
//! Whether a guest's do is not seen here, but by whoever makes the plan.
//!
//! Where sums are kept and their seed is no field of its own, every inode, directory, extent block and bitmap has a sum
//! that begins with the UUID. A CRC is linear: what another beginning changes in a sum depends on how many bytes the sum
//! is of, and not on the bytes. So nothing is summed anew; each sum has a constant laid over it, and one that was wrong
//! stays wrong: damage is not hidden, so no check of the whole file system is needed before. (tune2fs sums all anew,
//! wants that check first, and sees the device block by block: fifty times as long.)
//!
//! Nothing is written before all was looked at. File systems with features that are not known here are tune2fs'.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use crate::{
    blocks::Blocks,
    edit::redo::CHANGED_MAX_BYTES,
    fs::{
        FsError,
        ext::{
            attributes,
            inode::{FLAG_EXTENTS, FLAG_INLINE, Inode},
            names,
            volume::{RO_COMPAT_GDT_CSUM, SUPERBLOCK, SUPERBLOCK_BYTES, Volume, sum},
        },
        piece::{Piece, fill},
    },
};

/// dir_prealloc, imagic, has_journal, ext_attr, resize_inode, dir_index.
const COMPAT_KNOWN: u32 = 0x3F;
const COMPAT_ORPHAN_FILE: u32 = 0x1000;
/// filetype, extents, 64bit, flex_bg, metadata_csum_seed, inline_data.
const INCOMPAT_KNOWN: u32 = 0xA2C2;
/// sparse_super, large_file, huge_file, dir_nlink, extra_isize, quota, metadata_csum, project.
const RO_COMPAT_KNOWN: u32 = 0x256B;
const SUM_CRC32C: u8 = 1;
/// Where the whole of it is not looked through: those and meta_bg, ea_inode, large_dir.
const INCOMPAT_OF_SUPERBLOCKS: u32 = INCOMPAT_KNOWN | 0x4410;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
const INCOMPAT_INLINE_DATA: u32 = 0x8000;
const INCOMPAT_AT: usize = 0x60;
const UUID_AT: usize = 0x68;
const SEED_AT: usize = 0x270;
const LAST_ORPHAN_AT: usize = 0xE8;
const SUM_TYPE_AT: usize = 0x175;
const SUM_AT: usize = 0x3FC;
/// Where all of it is looked through, 2 TiB of 128 MiB each.
const GROUPS_MAX: u64 = 1 << 14;
const GROUP_INODES_UNUSED: u16 = 1;
const GROUP_BLOCKS_UNUSED: u16 = 2;
const PIECE_BYTES: usize = 1 << 20;
/// Blocks that lie so near to each other are read at once, so many at most.
const GAP_BLOCKS: u64 = 8;
const RUN_BLOCKS: u64 = 256;
/// Blocks with sums: more are more than an edit may change.
const FOUND_MAX: usize = 1 << 19;

/// Gives it another UUID; where it `may_seed`, its sums stay. False: it has features that are not known here, and is as
/// it was.
pub(super) fn change(blocks: &Arc<dyn Blocks>, uuid: Uuid, may_seed: bool) -> Result<bool, FsError> {
    let volume = match Volume::open(blocks.clone()) {
        Ok(volume) => volume,
        Err(FsError::Unsupported(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let has_sums_of_uuid = volume.has_sums() && !volume.has_seed();
    let seed =
        if has_sums_of_uuid && may_seed && is_known(&volume, false)? { Some(volume.seed()?) } else { None };
    let needs_pass = has_sums_of_uuid && seed.is_none();
    if !is_known(&volume, needs_pass)? {
        return Ok(false);
    }
    let mut patches = Patches::default();
    let mut table = None;
    if needs_pass {
        let mut pass = Pass::new(&volume, uuid)?;
        table = Some(pass.groups(&mut patches)?);
        pass.blocks(&mut patches)?;
    }
    for group in (0..volume.groups()).filter(|group| volume.has_copies(*group)) {
        superblock(&volume, group, (uuid, seed), &mut patches)?;
        if let Some(table) = &table {
            patches.put(volume.descriptors_at(group), table);
        }
    }
    for (at, bytes) in patches.runs {
        blocks.write_at(at, &bytes)?;
    }
    Ok(true)
}

fn is_known(volume: &Volume, needs_pass: bool) -> Result<bool, FsError> {
    let (compat, incompat) = if needs_pass {
        (COMPAT_KNOWN, INCOMPAT_KNOWN)
    } else {
        (COMPAT_KNOWN | COMPAT_ORPHAN_FILE, INCOMPAT_OF_SUPERBLOCKS)
    };
    let is_known = volume.compat & !compat == 0
        && volume.incompat & !incompat == 0
        && volume.ro_compat & !(RO_COMPAT_KNOWN | RO_COMPAT_GDT_CSUM) == 0
        // Sums of another kind, over the UUID as well.
        && (volume.has_sums() || volume.ro_compat & RO_COMPAT_GDT_CSUM == 0)
        && (!volume.has_sums() || volume.superblock.byte(SUM_TYPE_AT)? == SUM_CRC32C)
        && (!needs_pass || volume.groups() <= GROUPS_MAX);
    let is_settled = volume.superblock.le32(LAST_ORPHAN_AT)? == 0;
    Ok(is_known && (is_settled || !needs_pass))
}

/// The superblock of a group, which may be a copy that nobody kept up. With a `seed` it gets a field for that.
fn superblock(
    volume: &Volume,
    group: u64,
    (uuid, seed): (Uuid, Option<u32>),
    patches: &mut Patches,
) -> Result<(), FsError> {
    let at = if group == 0 { SUPERBLOCK } else { volume.group_start(group) };
    let piece = Piece::read(&*volume.blocks, "ext superblock", at, SUPERBLOCK_BYTES)?;
    let mut bytes = piece.slice(0, SUPERBLOCK_BYTES)?.to_vec();
    let is_whole = !volume.has_sums() || piece.le32(SUM_AT)? == sum(u32::MAX, piece.slice(0, SUM_AT)?);
    let is_one = bytes[UUID_AT..UUID_AT + 16] == *volume.superblock.slice(UUID_AT, 16)?;
    if group == 0 && !is_whole {
        return Err(piece.damaged(SUM_AT, "its checksum does not hold"));
    }
    if !is_whole || !is_one {
        return Ok(());
    }
    bytes[UUID_AT..UUID_AT + 16].copy_from_slice(uuid.as_bytes());
    if let Some(seed) = seed {
        let incompat = piece.le32(INCOMPAT_AT)? | INCOMPAT_CSUM_SEED;
        bytes[INCOMPAT_AT..INCOMPAT_AT + 4].copy_from_slice(&incompat.to_le_bytes());
        bytes[SEED_AT..SEED_AT + 4].copy_from_slice(&seed.to_le_bytes());
    }
    if volume.has_sums() {
        let sum = sum(u32::MAX, &bytes[..SUM_AT]);
        bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
    }
    patches.put(at, &bytes);
    Ok(())
}

/// What is to be written, neighbours together.
#[derive(Default)]
struct Patches {
    runs: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
}

impl Patches {
    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.bytes += bytes.len();
        if let Some(mut last) = self.runs.last_entry()
            && last.key() + last.get().len() as u64 == at
            && last.get().len() < PIECE_BYTES
        {
            last.get_mut().extend_from_slice(bytes);
            return;
        }
        self.runs.insert(at, bytes.to_vec());
    }
}

/// What a block with a sum is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Names,
    Extents,
    /// Inodes may share it.
    Attributes,
}

/// One pass over all that has a sum.
struct Pass<'a> {
    volume: &'a Volume,
    old_seed: u32,
    new_seed: u32,
    /// What lies over the sums of whatever belongs to an inode, before its own bytes.
    inode: u32,
    /// What lies over an inode's own sum.
    inode_sum: u32,
    found: Vec<(u64, Kind)>,
}

/// What a difference in a sum comes to after so many more bytes.
fn after(difference: u32, bytes: usize) -> u32 {
    const ZEROS: [u8; 4096] = [0; 4096];
    let (whole, rest) = (bytes / ZEROS.len(), bytes % ZEROS.len());
    let difference = (0..whole).fold(difference, |difference, _| sum(difference, &ZEROS));
    sum(difference, &ZEROS[..rest])
}

impl<'a> Pass<'a> {
    fn new(volume: &'a Volume, uuid: Uuid) -> Result<Self, FsError> {
        let (old_seed, new_seed) = (volume.seed()?, sum(u32::MAX, uuid.as_bytes()));
        // Its number and its generation.
        let inode = after(old_seed ^ new_seed, 8);
        let inode_sum = after(inode, volume.inode_bytes);
        Ok(Self { volume, old_seed, new_seed, inode, inode_sum, found: Vec::new() })
    }

    fn difference(&self, bytes: usize) -> u32 {
        after(self.old_seed ^ self.new_seed, bytes)
    }

    /// All inodes, and what they lead to. The answer is the new table of descriptors.
    fn groups(&mut self, patches: &mut Patches) -> Result<Vec<u8>, FsError> {
        let volume = self.volume;
        let bits = |count: u64| usize::try_from(count / 8).unwrap_or(0);
        let blocks_sum = self.difference(bits(volume.blocks_per_group));
        let inodes_sum = self.difference(bits(u64::from(volume.inodes_per_group)));
        let mut table = Vec::new();
        for group in 0..volume.groups() {
            let descriptor = volume.descriptor(group)?;
            let mut bytes = descriptor.slice(0, volume.descriptor_bytes)?.to_vec();
            if descriptor.le16(0x1E)? != descriptor_sum(self.old_seed, group, &bytes) {
                return Err(descriptor.damaged(0x1E, "its checksum does not hold"));
            }
            let flags = descriptor.le16(0x12)?;
            if flags & GROUP_BLOCKS_UNUSED == 0 {
                lay_over(&mut bytes, 0x18, 0x38, blocks_sum);
            }
            if flags & GROUP_INODES_UNUSED == 0 {
                lay_over(&mut bytes, 0x1A, 0x3A, inodes_sum);
                self.inodes(group, &descriptor, patches)?;
            }
            let sum = descriptor_sum(self.new_seed, group, &bytes);
            bytes[0x1E..0x20].copy_from_slice(&sum.to_le_bytes());
            table.extend_from_slice(&bytes);
        }
        Ok(table)
    }

    fn inodes(&mut self, group: u64, descriptor: &Piece, patches: &mut Patches) -> Result<(), FsError> {
        let volume = self.volume;
        let high16 = |at| if volume.descriptor_bytes >= 64 { descriptor.le16(at) } else { Ok(0) };
        let unused = u32::from(descriptor.le16(0x1C)?) | u32::from(high16(0x32)?) << 16;
        let used = volume.inodes_per_group.checked_sub(unused);
        let used = used.ok_or_else(|| descriptor.damaged(0x1C, "more inodes are unused than it has"))?;
        let map = u64::from(descriptor.le32(4)?) | volume.high32(descriptor, 0x24)? << 32;
        let map = volume.block("ext map of inodes", map)?;
        let table = volume.inode_table(descriptor)?;
        let first = u32::try_from(group).unwrap_or(u32::MAX).saturating_mul(volume.inodes_per_group);
        let each = u32::try_from(PIECE_BYTES / volume.inode_bytes).unwrap_or(1);
        let mut done = 0;
        while done < used {
            let count = each.min(used - done);
            let at = table + u64::from(done) * volume.inode_bytes as u64;
            let mut bytes = vec![0; count as usize * volume.inode_bytes];
            fill(&*volume.blocks, "ext inodes", at, &mut bytes)?;
            for (index, inode) in bytes.chunks_exact_mut(volume.inode_bytes).enumerate() {
                if inode.iter().all(|byte| *byte == 0) {
                    continue;
                }
                let bit = done as usize + index;
                if map.byte(bit / 8)? & (1 << (bit % 8)) != 0 {
                    let number = first.saturating_add(u32::try_from(bit).unwrap_or(u32::MAX) + 1);
                    self.follow(number, at + (index * volume.inode_bytes) as u64, inode)?;
                }
                // The upper half is there if the fields behind the old ones reach so far.
                let is_long = inode.len() > 128 && u16::from_le_bytes([inode[128], inode[129]]) >= 4;
                lay_over(inode, 0x7C, if is_long { 0x82 } else { usize::MAX }, self.inode_sum);
            }
            for (number, block) in bytes.chunks(4096).enumerate() {
                if block.iter().any(|byte| *byte != 0) {
                    patches.put(at + number as u64 * 4096, block);
                }
            }
            done += count;
            if patches.bytes > CHANGED_MAX_BYTES {
                return Err(FsError::Unsupported("it has more metadata than an edit may change".to_owned()));
            }
        }
        Ok(())
    }

    /// Notes the blocks with sums that an inode leads to.
    fn follow(&mut self, number: u32, at: u64, bytes: &[u8]) -> Result<(), FsError> {
        let has_tree = bytes[0x2E] != 0 || bytes[0x2F] != 0;
        let inode = || Inode { number, bytes: Piece::new("ext inode", at, bytes.to_vec()) };
        let kind = u16::from_le_bytes([bytes[0], bytes[1]]) & 0o170_000;
        let flags = u32::from_le_bytes([bytes[0x20], bytes[0x21], bytes[0x22], bytes[0x23]]);
        if flags & FLAG_INLINE != 0 && self.volume.incompat & INCOMPAT_INLINE_DATA == 0 {
            return Err(inode().bytes.damaged(0x20, "it lies in itself, which the superblock does not say"));
        }
        if bytes[0x68..0x6C] != [0; 4] || bytes[0x76..0x78] != [0; 2] {
            self.found.push((inode().attributes_block()?, Kind::Attributes));
        }
        if flags & FLAG_INLINE != 0 {
            return Ok(());
        }
        let has_extents = flags & FLAG_EXTENTS != 0;
        if kind == 0o040_000 || (has_extents && has_tree && matches!(kind, 0o100_000 | 0o120_000)) {
            let inode = inode();
            let map = self.volume.map(&inode)?;
            if has_extents {
                self.found.extend(map.tree.iter().map(|block| (*block, Kind::Extents)));
            }
            if kind == 0o040_000 {
                for run in map.runs.iter().filter(|run| run.is_written) {
                    let room = FOUND_MAX.saturating_sub(self.found.len()) as u64;
                    let blocks = (0..run.count.min(room + 1)).map(|block| run.physical + block);
                    self.found.extend(blocks.map(|block| (block, Kind::Names)));
                }
            }
        }
        if self.found.len() > FOUND_MAX {
            return Err(FsError::Unsupported("it has more metadata than an edit may change".to_owned()));
        }
        Ok(())
    }

    /// All blocks that inodes led to, in the order of the disk.
    fn blocks(&mut self, patches: &mut Patches) -> Result<(), FsError> {
        let volume = self.volume;
        self.found.sort_unstable();
        self.found.dedup_by(|later, earlier| later == earlier && later.1 == Kind::Attributes);
        if let Some(twice) = self.found.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let what = "ext: a block that is used for two things".to_owned();
            return Err(FsError::Damaged { what, at: twice[0].0.saturating_mul(volume.block_bytes) });
        }
        let size = usize::try_from(volume.block_bytes).unwrap_or(0);
        let mut rest = self.found.as_slice();
        while let Some((first, _)) = rest.first().copied() {
            let near =
                |pair: &[(u64, Kind)]| pair[1].0 - pair[0].0 <= GAP_BLOCKS && pair[1].0 - first < RUN_BLOCKS;
            let count = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
            let (run, after) = rest.split_at(count);
            rest = after;
            let last = run.last().map_or(first, |(block, _)| *block);
            let at = volume.place(first, last - first + 1)?;
            let mut bytes = vec![0; usize::try_from((last - first + 1) * volume.block_bytes).unwrap_or(0)];
            volume.blocks.read_at(at, &mut bytes)?;
            for (block, kind) in run {
                let place = usize::try_from((block - first) * volume.block_bytes).unwrap_or(0);
                let at = at + place as u64;
                let bytes = &mut bytes[place..place + size];
                let piece = Piece::new("ext metadata", at, bytes.to_vec());
                let (sum_at, difference) = self.sum_of(&piece, *kind)?;
                lay_over(bytes, sum_at, sum_at + 2, difference);
                patches.put(at, bytes);
            }
        }
        Ok(())
    }

    /// Where a block's sum is, and what lies over it.
    fn sum_of(&self, piece: &Piece, kind: Kind) -> Result<(usize, u32), FsError> {
        match kind {
            Kind::Attributes if piece.le32(0)? == attributes::MAGIC => {
                Ok((0x10, self.difference(8 + piece.len())))
            }
            Kind::Extents if piece.le16(0)? == 0xF30A => {
                let tail = 12 + 12 * usize::from(piece.le16(4)?);
                piece.slice(tail, 4)?;
                Ok((tail, after(self.inode, tail)))
            }
            Kind::Names => {
                let (at, length) = names::sum_place(piece)?;
                let tail = names::tail(piece, at, length)?.len();
                Ok((at, after(self.inode, length + tail)))
            }
            Kind::Attributes | Kind::Extents => Err(piece.damaged(0, "it has no magic number")),
        }
    }
}

fn descriptor_sum(seed: u32, group: u64, bytes: &[u8]) -> u16 {
    let group = u32::try_from(group).unwrap_or(u32::MAX);
    let mut bytes = bytes.to_vec();
    bytes[0x1E..0x20].fill(0);
    let sum = sum(sum(seed, &group.to_le_bytes()), &bytes).to_le_bytes();
    u16::from_le_bytes([sum[0], sum[1]])
}

/// Lays a difference over a sum whose halves may lie apart; the upper one may be absent.
fn lay_over(bytes: &mut [u8], low: usize, high: usize, difference: u32) {
    let difference = difference.to_le_bytes();
    for (at, part) in [(low, &difference[..2]), (high, &difference[2..])] {
        if let Some(field) = at.checked_add(2).and_then(|end| bytes.get_mut(at..end)) {
            field.iter_mut().zip(part).for_each(|(byte, part)| *byte ^= part);
        }
    }
}
