//! ext2, ext3 and ext4, by the crate `ext4-view`.
//!
//! The crate checks the checksums of what it reads and replays a journal in memory, as far as journals have
//! checksums; where it cannot, the file system is read as it stands on the disk. Either way it is warned of: a
//! replay that begins in the middle of a ring may miss the last changes.
//!
//! Bounds: the number of block groups is judged here before the crate reserves memory for them. What the crate does
//! not bound is how long a tree of extents that leads nowhere is followed (its depth is, its width is not): that is
//! the worker's time limit. A panic of the crate (a block map that ends before its file does) is a damaged file.
//! Deliberately absent: files with preallocated extents in their middle (the crate reads what lies in them).

use std::{
    cell::RefCell,
    collections::HashSet,
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use ext4_view::{Ext4, Ext4Error, Ext4Read, FileType};
use lodge_model::guest_disk::{Content, FilePath, Owner};

use super::{Entry, FileSystem, FsError, Node, NodeKind};
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
/// No directory that anybody made is larger; one that says so is made to be read for ever.
const DIRECTORY_BYTES_MAX: u64 = 1 << 30;
const DIRECTORIES_KNOWN: usize = 4096;
const PIECE_BYTES: usize = 256 << 10;

/// An open ext file system.
pub struct Ext {
    volume: Ext4,
    content: Content,
    warnings: Vec<String>,
    /// Paths that were seen to be directories and no links, so that the crate follows none on its way.
    directories: RefCell<HashSet<FilePath>>,
}

impl Ext {
    /// The one that lies there.
    pub fn open(blocks: &Arc<dyn Blocks>) -> Result<Self, FsError> {
        let content = probe::probe(blocks.as_ref())?.filter(|content| content.kind.starts_with("ext"));
        let content = content.ok_or_else(|| FsError::Unsupported("it is no ext file system".to_owned()))?;
        let superblock = head(blocks.as_ref(), SUPERBLOCK, 1024)?;
        let needs_recovery = judge(&superblock, blocks.bytes())?;
        let reader = |is_masked| Reader { blocks: blocks.clone(), is_masked };
        let mut warnings = Vec::new();
        let mut warn = |text: &str| warnings.push(format!("it was not unmounted: {text}"));
        let volume = match load(reader(false)) {
            Ok(volume) => {
                if needs_recovery {
                    warn("its journal was read along, but the last changes may be missing");
                }
                volume
            }
            // Without sums over its superblock it can be read as if there were nothing to recover.
            Err(FsError::Unsupported(_) | FsError::Damaged { .. })
                if needs_recovery && !has_sums(&superblock) =>
            {
                warn("its journal cannot be read, so the last changes are missing");
                load(reader(true))?
            }
            Err(error) => return Err(error),
        };
        Ok(Self { volume, content, warnings, directories: RefCell::default() })
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

struct Reader {
    blocks: Arc<dyn Blocks>,
    /// The mark that says "recover the journal first" is not seen.
    is_masked: bool,
}

impl Ext4Read for Reader {
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        self.blocks.read_at(at, into)?;
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

impl FileSystem for Ext {
    fn content(&self) -> &Content {
        &self.content
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn node(&self, path: &FilePath) -> Result<Node, FsError> {
        self.check_way(path)?;
        let found = self.run(|ext| ext.symlink_metadata(path.as_bytes()))?;
        Ok(Node {
            kind: kind(found.file_type()),
            size: found.len(),
            owner: Owner { uid: found.uid(), gid: found.gid(), mode: found.mode() & 0o7777 },
            modified: found.modified().seconds(),
        })
    }

    fn list(&self, path: &FilePath, most: usize) -> Result<Vec<Entry>, FsError> {
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

    fn read(&self, path: &FilePath, offset: u64, most: usize) -> Result<Vec<u8>, FsError> {
        let node = self.node(path)?;
        if node.kind != NodeKind::File {
            return Err(FsError::NotAFile);
        }
        let left = usize::try_from(node.size.saturating_sub(offset)).unwrap_or(usize::MAX).min(most);
        if left == 0 {
            return Ok(Vec::new());
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

    fn link(&self, path: &FilePath) -> Result<Vec<u8>, FsError> {
        let node = self.node(path)?;
        if node.kind != NodeKind::Link {
            return Err(FsError::NotALink);
        }
        if node.size > 4096 {
            return Err(FsError::Damaged { what: format!("link {path} is {} bytes long", node.size), at: 0 });
        }
        let to = self.run(|ext| ext.read_link(path.as_bytes()))?;
        Ok(<ext4_view::PathBuf as AsRef<[u8]>>::as_ref(&to).to_vec())
    }
}

impl fmt::Debug for Ext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ext({:?})", self.content.uuid)
    }
}
