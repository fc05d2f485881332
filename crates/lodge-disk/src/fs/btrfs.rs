//! btrfs on one device, read only.
//!
//! Facts are those of the published description of the on-disk format (btrfs.readthedocs.io) and of what `mkfs.btrfs`
//! and a kernel write. Every block of a tree has a checksum and it holds, in one of its copies, or it is damaged.
//!
//! - [`superblock`], [`sums`]: geometry, features, kinds of checksum.
//! - [`chunks`]: from the addresses trees use to places on the device.
//! - [`tree`]: items by key.
//! - [`subvolume`]: the trees of files, and which one is meant.
//! - [`directory`], [`inode`], [`data`]: names, what is known of a file, its bytes.
//! - [`unpack`], [`lzo`]: compressed extents.
//!
//! Bounds: the blocks visited per call, the chunks, the size of compressed extents, see [`limits`].
//! Deliberately absent: several devices and striping (refused by name), data checksums, the log tree's replay (one
//! that is there is warned of), extended attributes, encrypted and verity files.

use std::sync::Arc;

use lodge_model::guest_disk::{Content, FilePath};

use crate::{
    blocks::Blocks,
    fs::{Entry, FileSystem, FsError, Node, NodeKind, piece},
};

use directory::Place;
pub use subvolume::Subvolume;
use subvolume::Tree;
use tree::Volume;

mod chunks;
mod data;
mod directory;
mod inode;
mod lzo;
mod subvolume;
mod sums;
mod superblock;
mod tree;
mod unpack;

/// What a hostile image may make us do, per call.
mod limits {
    /// Blocks of trees that are visited.
    pub(super) const TREE_BLOCKS: usize = 1 << 16;
    /// Blocks of trees that are kept.
    pub(super) const KEPT_BLOCKS: usize = 64;
    /// Chunks: some 256 TiB of them.
    pub(super) const CHUNKS: usize = 1 << 18;
    /// Bytes of an extent that is compressed, on disk and unpacked. btrfs makes none above 128 KiB.
    pub(super) const PACKED_BYTES: u64 = 1 << 20;
    /// The longest symbolic link that Linux makes.
    pub(super) const LINK_BYTES: u64 = 4095;
}

/// One subvolume of a btrfs.
#[derive(Debug, Clone)]
pub struct Btrfs {
    volume: Arc<Volume>,
    content: Content,
    warnings: Vec<String>,
    tree: Tree,
}

impl Btrfs {
    /// The one that lies there, as it is mounted without options: its default subvolume.
    pub fn open(blocks: Arc<dyn Blocks>) -> Result<Self, FsError> {
        Self::open_with(blocks, true)
    }

    /// Fuzzers get past checksums, which they cannot make.
    pub(crate) fn open_with(blocks: Arc<dyn Blocks>, sums: bool) -> Result<Self, FsError> {
        let superblock = superblock::read(&*blocks)?;
        if sums {
            superblock.check_sum()?;
        }
        let content = superblock.content.clone();
        let mut warnings = Vec::new();
        if superblock.has_log {
            warnings.push(
                "not unmounted cleanly: its log tree was not replayed, the last changes may be missing"
                    .to_owned(),
            );
        }
        let volume = Volume::open(blocks, superblock, sums)?;
        let tree = subvolume::default(&volume)?;
        Ok(Self { volume: Arc::new(volume), content, warnings, tree })
    }

    /// Another subvolume of the same file system, as the mount options `subvol=` and `subvolid=` choose it.
    pub fn subvolume(&self, which: &Subvolume) -> Result<Self, FsError> {
        let tree = match which {
            Subvolume::Default => subvolume::default(&self.volume)?,
            Subvolume::Id(0) => subvolume::by_id(&self.volume, subvolume::TOP)?,
            Subvolume::Id(id) => subvolume::by_id(&self.volume, *id)?,
            Subvolume::Path(path) => {
                let top = subvolume::by_id(&self.volume, subvolume::TOP)?;
                match self.find_in(&top, path)? {
                    Place::File(tree, number) if number == tree.root_directory => tree,
                    Place::File(..) | Place::Nothing => return Err(FsError::NotFound),
                }
            }
        };
        Ok(Self { tree, ..self.clone() })
    }

    fn find(&self, path: &FilePath) -> Result<Place, FsError> {
        self.find_in(&self.tree, path)
    }

    fn find_in(&self, tree: &Tree, path: &FilePath) -> Result<Place, FsError> {
        let mut place = Place::File(*tree, tree.root_directory);
        for name in path.parts() {
            let Place::File(tree, number) = place else { return Err(FsError::NotFound) };
            if inode::read(&self.volume, &tree, number)?.kind != NodeKind::Directory {
                return Err(FsError::NotADirectory);
            }
            place = directory::child(&self.volume, &tree, number, name)?.ok_or(FsError::NotFound)?;
        }
        Ok(place)
    }

    fn file(&self, path: &FilePath, kind: NodeKind, other: FsError) -> Result<(Tree, u64, Node), FsError> {
        match self.find(path)? {
            Place::File(tree, number) => {
                let node = inode::read(&self.volume, &tree, number)?;
                if node.kind == kind { Ok((tree, number, node)) } else { Err(other) }
            }
            Place::Nothing => Err(other),
        }
    }
}

impl FileSystem for Btrfs {
    fn content(&self) -> &Content {
        &self.content
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn mount_option(&self) -> Option<String> {
        Some(format!("subvolid={}", self.tree.id))
    }

    fn node(&self, path: &FilePath) -> Result<Node, FsError> {
        match self.find(path)? {
            Place::File(tree, number) => inode::read(&self.volume, &tree, number),
            Place::Nothing => Ok(directory::NOTHING),
        }
    }

    fn list(&self, path: &FilePath, most: usize) -> Result<Vec<Entry>, FsError> {
        match self.find(path)? {
            Place::File(tree, number) => {
                if inode::read(&self.volume, &tree, number)?.kind != NodeKind::Directory {
                    return Err(FsError::NotADirectory);
                }
                directory::list(&self.volume, &tree, number, most)
            }
            Place::Nothing => Ok(Vec::new()),
        }
    }

    fn read(&self, path: &FilePath, offset: u64, most: usize) -> Result<Vec<u8>, FsError> {
        let (tree, number, node) = self.file(path, NodeKind::File, FsError::NotAFile)?;
        let mut bytes = piece::zeros(piece::within(node.size, offset, most))?;
        data::read(&self.volume, &tree, number, offset, &mut bytes)?;
        Ok(bytes)
    }

    fn link(&self, path: &FilePath) -> Result<Vec<u8>, FsError> {
        let (tree, number, node) = self.file(path, NodeKind::Link, FsError::NotALink)?;
        let length = piece::within(node.size.min(limits::LINK_BYTES), 0, usize::MAX);
        let mut target = piece::zeros(length)?;
        data::read(&self.volume, &tree, number, 0, &mut target)?;
        Ok(target)
    }
}
