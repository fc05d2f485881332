//! XFS, read only, versions 4 and 5 of its superblock.
//!
//! Facts are those of the published description, "XFS Algorithms & Data Structures" (3rd edition), and of what
//! `mkfs.xfs` and a kernel write. Where a structure has a checksum it holds, or the structure is damaged.
//!
//! - [`superblock`]: geometry, features, where a block and an inode lie.
//! - [`inode`]: what is known of a file; its data fork.
//! - [`extents`]: which blocks hold which part of a file.
//! - [`directory`], [`link`]: names, and where links point.
//! - [`log`]: whether it was unmounted cleanly.
//!
//! Bounds: a directory's data, the blocks of an extent tree and its depth are counted, see [`limits`].
//! Deliberately absent: the log's replay (a dirty one is warned of), realtime devices and logs elsewhere, extended
//! attributes, quotas, the hash index of directories (their data are scanned).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lodge_model::guest_disk::{Content, FilePath};

use crate::{
    blocks::Blocks,
    fs::{Entry, FileSystem, FsError, Node, NodeKind, piece},
};

use inode::Inode;
use superblock::Volume;

mod directory;
mod extents;
mod inode;
mod link;
mod log;
mod superblock;

/// What a hostile image may make us do, per call.
mod limits {
    /// Data of one directory that are scanned: some millions of names.
    pub(super) const DIRECTORY_BYTES: u64 = 256 << 20;
    /// Blocks of one file's extent tree.
    pub(super) const TREE_BLOCKS: usize = 1 << 16;
    /// Extents of what is read at once.
    pub(super) const EXTENTS: usize = 1 << 20;
    /// Levels of an extent tree. XFS itself knows nine.
    pub(super) const TREE_LEVELS: u16 = 9;
    /// Names that are kept of directories that were looked at.
    pub(super) const NAMES: usize = 1 << 16;
}

/// It would look empty, and is not.
const ONLY_IN_LOG: &str = "an XFS that was not unmounted and has nothing but its log yet, which is not replayed here \
    (start the guest, and shut it down)";

/// An XFS.
#[derive(Debug)]
pub struct Xfs {
    volume: Volume,
    content: Content,
    warnings: Vec<String>,
    /// Whoever walks a tree asks for each name of a directory in turn.
    kept: Mutex<Kept>,
}

/// Directories by inode, until there are too many names in all.
#[derive(Debug, Default)]
struct Kept {
    names: usize,
    directories: HashMap<u64, Arc<Names>>,
}

type Names = HashMap<Vec<u8>, u64>;

impl Xfs {
    /// The one that lies there.
    pub fn open(blocks: Arc<dyn Blocks>) -> Result<Self, FsError> {
        Self::open_with(blocks, true)
    }

    /// Fuzzers get past checksums, which they cannot make.
    pub(crate) fn open_with(blocks: Arc<dyn Blocks>, sums: bool) -> Result<Self, FsError> {
        let (volume, content) = superblock::open(blocks, sums)?;
        let mut warnings = Vec::new();
        if volume.needs_repair {
            warnings.push("marked as in need of repair (run xfs_repair in the guest)".to_owned());
        }
        match log::state(&volume) {
            Ok(log::State::Clean) => {}
            Ok(log::State::Dirty) => {
                if is_empty(&volume)? {
                    return Err(FsError::Unsupported(ONLY_IN_LOG.to_owned()));
                }
                warnings.push(
                    "not unmounted cleanly: its log was not replayed, the last changes may be missing"
                        .to_owned(),
                );
            }
            Ok(log::State::Elsewhere) => {
                warnings.push("its log is on another device and was not looked at".to_owned());
            }
            Err(error) => warnings.push(format!("whether it was unmounted cleanly is not known: {error}")),
        }
        Ok(Self { volume, content, warnings, kept: Mutex::default() })
    }

    fn find(&self, path: &FilePath) -> Result<Inode, FsError> {
        let mut inode = inode::read(&self.volume, self.volume.root)?;
        for name in path.parts() {
            let number = self.child(&inode, name)?.ok_or(FsError::NotFound)?;
            inode = inode::read(&self.volume, number)?;
        }
        Ok(inode)
    }

    fn child(&self, parent: &Inode, name: &[u8]) -> Result<Option<u64>, FsError> {
        if parent.node.kind != NodeKind::Directory {
            return Err(FsError::NotADirectory);
        }
        let kept = self.kept().directories.get(&parent.number).cloned();
        if let Some(names) = kept {
            return Ok(names.get(name).copied());
        }
        let (mut found, mut names, mut whole) = (None, HashMap::new(), true);
        directory::each(&self.volume, parent, &mut |entry| {
            if entry.name == name {
                found = found.or(Some(entry.inode));
            }
            if names.len() < limits::NAMES {
                names.entry(entry.name.to_vec()).or_insert(entry.inode);
            } else {
                whole = false;
            }
            Ok(whole || found.is_none())
        })?;
        if whole {
            let mut kept = self.kept();
            if kept.names + names.len() > limits::NAMES {
                *kept = Kept::default();
            }
            // A directory counts even where it is empty.
            kept.names += names.len() + 1;
            kept.directories.insert(parent.number, Arc::new(names));
        }
        Ok(found)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_empty(volume: &Volume) -> Result<bool, FsError> {
    let mut is_empty = true;
    directory::each(volume, &inode::read(volume, volume.root)?, &mut |_| {
        is_empty = false;
        Ok(false)
    })?;
    Ok(is_empty)
}

impl FileSystem for Xfs {
    fn content(&self) -> &Content {
        &self.content
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn node(&self, path: &FilePath) -> Result<Node, FsError> {
        Ok(self.find(path)?.node)
    }

    fn list(&self, path: &FilePath, most: usize) -> Result<Vec<Entry>, FsError> {
        let inode = self.find(path)?;
        if inode.node.kind != NodeKind::Directory {
            return Err(FsError::NotADirectory);
        }
        let mut entries = Vec::new();
        directory::each(&self.volume, &inode, &mut |entry| {
            if entries.len() >= most {
                return Err(FsError::TooMany(most));
            }
            let kind = match entry.kind {
                Some(kind) => kind,
                None => inode::read(&self.volume, entry.inode)?.node.kind,
            };
            entries.push(Entry { name: entry.name.to_vec(), kind });
            Ok(true)
        })?;
        Ok(entries)
    }

    fn read(&self, path: &FilePath, offset: u64, most: usize) -> Result<Vec<u8>, FsError> {
        let inode = self.find(path)?;
        if inode.node.kind != NodeKind::File {
            return Err(FsError::NotAFile);
        }
        let mut bytes = piece::zeros(piece::within(inode.node.size, offset, most))?;
        extents::read(&self.volume, &inode, offset, &mut bytes)?;
        Ok(bytes)
    }

    fn link(&self, path: &FilePath) -> Result<Vec<u8>, FsError> {
        let inode = self.find(path)?;
        if inode.node.kind != NodeKind::Link {
            return Err(FsError::NotALink);
        }
        link::read(&self.volume, &inode)
    }
}
