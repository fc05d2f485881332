//! An ext file system whose journal is to be replayed, by the crate `ext4-view`, which does so in memory.
//!
//! It replays as far as journals have checksums; where it cannot, the file system is read as it stands on the disk. Either
//! way it is warned of: a replay that begins in the middle of a ring may miss the last changes.
//!
//! Bounds: the number of block groups is judged before the crate reserves memory for them. What the crate does not bound is
//! how long a tree of extents that leads nowhere is followed (its depth is, its width is not): that is the worker's time
//! limit. A panic of the crate (a block map that ends before its file does) is a damaged file.
//! What the crate does not know (times before 1970, holes in maps of blocks, extents that are reserved and not written)
//! is damage to it, or bytes of others: files are read along the map on the disk wherever it is the journal's too.

use std::{
    cell::RefCell,
    collections::HashSet,
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use ext4_view::{Ext4, Ext4Error, Ext4Read, FileType};
use lodge_model::guest_disk::{FilePath, Owner};

use super::{INCOMPAT_AT, INCOMPAT_RECOVER, SUPERBLOCK, has_sums, plain::Plain};
use crate::{
    blocks::Blocks,
    fs::{Entry, FsError, Node, NodeKind},
};

/// No directory that anybody made is larger; one that says so is made to be read for ever.
const DIRECTORY_BYTES_MAX: u64 = 1 << 30;
const DIRECTORIES_KNOWN: usize = 4096;
const PIECE_BYTES: usize = 256 << 10;
const NEAR_BYTES: u64 = 16 << 10;

/// One with its journal.
pub(super) struct Replayed {
    volume: Ext4,
    /// The same, as it lies on the disk.
    raw: Plain,
    /// Paths that were seen to be directories and no links, so that the crate follows none on its way.
    directories: RefCell<HashSet<FilePath>>,
}

impl Replayed {
    /// The one that lies there, and what is to be warned of.
    pub fn open(blocks: &Arc<dyn Blocks>, superblock: &[u8], raw: Plain) -> Result<(Self, String), FsError> {
        let reader = |is_masked| Reader { blocks: blocks.clone(), is_masked, near: None };
        let (volume, warning) = match load(reader(false)) {
            Ok(volume) => (volume, "its journal was read along, but the last changes may be missing"),
            // Without sums over its superblock it can be read as if there were nothing to recover.
            Err(FsError::Unsupported(_) | FsError::Damaged { .. }) if !has_sums(superblock) => {
                (load(reader(true))?, "its journal cannot be read, so the last changes are missing")
            }
            Err(error) => return Err(error),
        };
        let warning = format!("it was not unmounted: {warning}");
        Ok((Self { volume, raw, directories: RefCell::default() }, warning))
    }

    pub fn node(&self, path: &FilePath) -> Result<Node, FsError> {
        self.check_way(path)?;
        let found = self.run(|ext| ext.symlink_metadata(path.as_bytes()))?;
        Ok(Node {
            kind: kind(found.file_type()),
            size: found.len(),
            owner: Owner { uid: found.uid(), gid: found.gid(), mode: found.mode() & 0o7777 },
            modified: found.modified().seconds(),
        })
    }

    pub fn list(&self, path: &FilePath, most: usize) -> Result<Vec<Entry>, FsError> {
        let node = self.node(path)?;
        if node.kind != NodeKind::Directory {
            return Err(FsError::NotADirectory);
        }
        if node.size > DIRECTORY_BYTES_MAX {
            let what = format!("directory {path} says that it is {} bytes long", node.size);
            return Err(FsError::Damaged { what, at: 0 });
        }
        let entries = self.run(|ext| {
            let mut entries = Vec::new();
            for entry in ext.read_dir(path.as_bytes())? {
                let entry = entry?;
                let name = entry.file_name().as_ref().to_vec();
                if matches!(name.as_slice(), b"." | b"..") {
                    continue;
                }
                if entries.len() > most {
                    break;
                }
                entries.push(Entry { name, kind: kind(entry.file_type()?) });
            }
            Ok(entries)
        })?;
        if entries.len() > most { Err(FsError::TooMany(most)) } else { Ok(entries) }
    }

    /// `left` bytes of a file, which has as many.
    pub fn read(&self, path: &FilePath, node: &Node, offset: u64, left: usize) -> Result<Vec<u8>, FsError> {
        if self.raw.node(path).is_ok_and(|raw| raw == *node) {
            return self.raw.read(path, offset, left);
        }
        self.run(|ext| {
            let mut file = ext.open(path.as_bytes())?;
            file.seek_to(offset)?;
            let mut bytes = Vec::with_capacity(left.min(PIECE_BYTES));
            while bytes.len() < left {
                let from = bytes.len();
                bytes.resize(left.min(from + PIECE_BYTES), 0);
                let count = file.read_bytes(&mut bytes[from..])?;
                bytes.truncate(from + count);
                if count == 0 {
                    break;
                }
            }
            Ok(bytes)
        })
    }

    pub fn link(&self, path: &FilePath) -> Result<Vec<u8>, FsError> {
        let to = self.run(|ext| ext.read_link(path.as_bytes()))?;
        Ok(<ext4_view::PathBuf as AsRef<[u8]>>::as_ref(&to).to_vec())
    }

    /// Runs the crate. What it gives up on is damaged.
    fn run<T>(&self, act: impl FnOnce(&Ext4) -> Result<T, Ext4Error>) -> Result<T, FsError> {
        let done = catch_unwind(AssertUnwindSafe(|| act(&self.volume)));
        done.map_err(|_| gave_up())?.map_err(|error| fault(&error))
    }

    /// All but the last part are directories.
    fn check_way(&self, path: &FilePath) -> Result<(), FsError> {
        let parts: Vec<&[u8]> = path.parts().collect();
        let mut way = Vec::new();
        for part in parts.iter().take(parts.len().saturating_sub(1)) {
            way.push(b'/');
            way.extend_from_slice(part);
            let Ok(at) = FilePath::new(way.clone()) else { return Err(FsError::NotFound) };
            if self.directories.borrow().contains(&at) {
                continue;
            }
            if !self.run(|ext| ext.symlink_metadata(at.as_bytes()))?.is_dir() {
                return Err(FsError::NotADirectory);
            }
            let mut known = self.directories.borrow_mut();
            if known.len() < DIRECTORIES_KNOWN {
                known.insert(at);
            }
        }
        Ok(())
    }
}

fn gave_up() -> FsError {
    FsError::Damaged { what: "its tables contradict each other".to_owned(), at: 0 }
}

fn load(reader: Reader) -> Result<Ext4, FsError> {
    let done = catch_unwind(AssertUnwindSafe(|| Ext4::load(Box::new(reader))));
    done.map_err(|_| gave_up())?.map_err(|error| fault(&error))
}

struct Reader {
    blocks: Arc<dyn Blocks>,
    /// The mark that says "recover the journal first" is not seen.
    is_masked: bool,
    /// What was read last, and where: the crate reads descriptors one by one.
    near: Option<(u64, Vec<u8>)>,
}

impl Reader {
    /// Bytes of one stretch of the disk, which is read whole; false: they lie in more than one, or at the end.
    fn read_near(&mut self, at: u64, into: &mut [u8]) -> std::io::Result<bool> {
        let (start, inside) = (at / NEAR_BYTES * NEAR_BYTES, at % NEAR_BYTES);
        let is_near = inside + into.len() as u64 <= NEAR_BYTES && start + NEAR_BYTES <= self.blocks.bytes();
        if !is_near {
            return Ok(false);
        }
        if self.near.as_ref().is_none_or(|(there, _)| *there != start) {
            let mut bytes = self.near.take().map_or_else(Vec::new, |(_, bytes)| bytes);
            bytes.resize(usize::try_from(NEAR_BYTES).unwrap_or(0), 0);
            self.blocks.read_at(start, &mut bytes)?;
            self.near = Some((start, bytes));
        }
        let inside = usize::try_from(inside).unwrap_or(0);
        let piece = self.near.as_ref().and_then(|(_, bytes)| bytes.get(inside..)?.get(..into.len()));
        Ok(piece.is_some_and(|piece| {
            into.copy_from_slice(piece);
            true
        }))
    }
}

impl Ext4Read for Reader {
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        if !self.read_near(at, into)? {
            self.blocks.read_at(at, into)?;
        }
        let mark = SUPERBLOCK + INCOMPAT_AT as u64;
        if self.is_masked
            && let Some(place) = mark.checked_sub(at).and_then(|place| usize::try_from(place).ok())
            && let Some(byte) = into.get_mut(place)
        {
            *byte &= !INCOMPAT_RECOVER.to_le_bytes()[0];
        }
        Ok(())
    }
}

fn fault(error: &Ext4Error) -> FsError {
    match error {
        Ext4Error::NotFound => FsError::NotFound,
        Ext4Error::NotADirectory => FsError::NotADirectory,
        Ext4Error::NotASymlink => FsError::NotALink,
        Ext4Error::IsADirectory | Ext4Error::IsASpecialFile => FsError::NotAFile,
        Ext4Error::Encrypted => FsError::Unsupported("it is encrypted".to_owned()),
        Ext4Error::Incompatible(what) => FsError::Unsupported(what.to_string()),
        error => FsError::Damaged { what: error.to_string(), at: 0 },
    }
}

fn kind(of: FileType) -> NodeKind {
    if of.is_dir() {
        NodeKind::Directory
    } else if of.is_symlink() {
        NodeKind::Link
    } else if of.is_regular_file() {
        NodeKind::File
    } else {
        NodeKind::Other
    }
}
