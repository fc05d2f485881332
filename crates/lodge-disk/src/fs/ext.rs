//! ext2, ext3 and ext4.
//!
//! - [`plain`]: what was unmounted, read here: [`volume`], [`inode`], [`names`], [`map`], [`attributes`]. Where a structure
//!   has a checksum it holds, or the structure is damaged.
//! - [`replayed`]: what was not, by the crate `ext4-view`, which replays its journal in memory.
//!
//! Own code beside the crate, as the crate takes extents that are reserved and not written for bytes, a hole in an old map
//! of blocks and a time before 1970 for damage, and does not tell what the editor needs: inodes, attributes, sums.
//! Deliberately absent: writing, features by which structures lie elsewhere (refused by name).

pub(crate) mod attributes;
pub(crate) mod inode;
pub(crate) mod map;
pub(crate) mod names;
pub(crate) mod plain;
mod replayed;
pub(crate) mod volume;

use std::{fmt, sync::Arc};

use lodge_model::guest_disk::{Content, FilePath};

use self::{plain::Plain, replayed::Replayed, volume::Volume};
use super::{Entry, FileSystem, FsError, Node, NodeKind, piece};
use crate::{
    blocks::Blocks,
    layout::{
        probe,
        span::{Span, head},
    },
};

const SUPERBLOCK: u64 = 1024;
const INCOMPAT_AT: usize = 96;
const RO_COMPAT_AT: usize = 100;
const INCOMPAT_RECOVER: u32 = 0x4;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
/// 128 TiB of 128 MiB each.
const GROUPS_MAX: u64 = 1 << 20;

/// An open ext file system.
pub struct Ext {
    way: Way,
    content: Content,
    warnings: Vec<String>,
}

/// How it is read.
enum Way {
    Plain(Box<Plain>),
    Replayed(Box<Replayed>),
}

impl Ext {
    /// The one that lies there.
    pub fn open(blocks: &Arc<dyn Blocks>) -> Result<Self, FsError> {
        let content = probe::probe(blocks.as_ref())?.filter(|content| content.kind.starts_with("ext"));
        let content = content.ok_or_else(|| FsError::Unsupported("it is no ext file system".to_owned()))?;
        let superblock = head(blocks.as_ref(), SUPERBLOCK, 1024)?;
        let needs_recovery = judge(&superblock, blocks.bytes())?;
        let plain = Plain::new(Volume::open(blocks.clone())?);
        if !needs_recovery {
            return Ok(Self { way: Way::Plain(Box::new(plain)), content, warnings: Vec::new() });
        }
        let (replayed, warning) = Replayed::open(blocks, &superblock, plain)?;
        Ok(Self { way: Way::Replayed(Box::new(replayed)), content, warnings: vec![warning] })
    }
}

/// Whether its journal needs recovery, if its sizes are in reason.
fn judge(superblock: &[u8], bytes: u64) -> Result<bool, FsError> {
    let span = Span(superblock);
    let damaged = |what: &str| FsError::Damaged { what: what.to_owned(), at: SUPERBLOCK };
    let short = || damaged("its superblock is cut off");
    let incompat = span.u32_le(INCOMPAT_AT).ok_or_else(short)?;
    let mut blocks = u64::from(span.u32_le(4).ok_or_else(short)?);
    if incompat & 0x80 != 0 {
        blocks |= u64::from(span.u32_le(0x150).ok_or_else(short)?) << 32;
    }
    let block_bits = span.u32_le(24).filter(|bits| *bits <= 6);
    let block_bits = block_bits.ok_or_else(|| damaged("its block size is none"))?;
    let per_group = u64::from(span.u32_le(32).ok_or_else(short)?);
    if per_group == 0 || blocks.div_ceil(per_group) > GROUPS_MAX {
        return Err(damaged("it has more block groups than anybody's"));
    }
    if blocks.checked_mul(1024 << block_bits).is_none_or(|all| all > bytes) {
        return Err(damaged("it is larger than its device"));
    }
    Ok(incompat & INCOMPAT_RECOVER != 0)
}

fn has_sums(superblock: &[u8]) -> bool {
    Span(superblock).u32_le(RO_COMPAT_AT).is_none_or(|features| features & RO_COMPAT_METADATA_CSUM != 0)
}

impl FileSystem for Ext {
    fn content(&self) -> &Content {
        &self.content
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn node(&self, path: &FilePath) -> Result<Node, FsError> {
        match &self.way {
            Way::Plain(plain) => plain.node(path),
            Way::Replayed(replayed) => replayed.node(path),
        }
    }

    fn list(&self, path: &FilePath, most: usize) -> Result<Vec<Entry>, FsError> {
        match &self.way {
            Way::Plain(plain) => plain.list(path, most),
            Way::Replayed(replayed) => replayed.list(path, most),
        }
    }

    fn read(&self, path: &FilePath, offset: u64, most: usize) -> Result<Vec<u8>, FsError> {
        let replayed = match &self.way {
            Way::Plain(plain) => return plain.read(path, offset, most),
            Way::Replayed(replayed) => replayed,
        };
        let node = replayed.node(path)?;
        if node.kind != NodeKind::File {
            return Err(FsError::NotAFile);
        }
        let left = piece::within(node.size, offset, most);
        if left == 0 { Ok(Vec::new()) } else { replayed.read(path, &node, offset, left) }
    }

    fn link(&self, path: &FilePath) -> Result<Vec<u8>, FsError> {
        let replayed = match &self.way {
            Way::Plain(plain) => return plain.link(path),
            Way::Replayed(replayed) => replayed,
        };
        let node = replayed.node(path)?;
        if node.kind != NodeKind::Link {
            return Err(FsError::NotALink);
        }
        if node.size > 4096 {
            return Err(FsError::Damaged { what: format!("link {path} is {} bytes long", node.size), at: 0 });
        }
        replayed.link(path)
    }
}

impl fmt::Debug for Ext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ext({:?})", self.content.uuid)
    }
}
