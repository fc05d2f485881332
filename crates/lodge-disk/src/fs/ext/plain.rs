//! An ext file system as it lies on the disk.
//!
//! Bounds: names that are kept of directories, the bytes of a directory, the pieces and the map of a file.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use lodge_model::guest_disk::{FilePath, Owner};

use super::{
    attributes,
    inode::{FLAG_ENCRYPTED, Inode},
    map::Map,
    names,
    volume::{ROOT, Volume},
};
use crate::fs::{Entry, FsError, Node, NodeKind, piece};

/// Names that are kept of directories that were looked at.
const NAMES_MAX: usize = 1 << 16;
const LINK_BYTES_MAX: u64 = 4096;
/// Where a short link lies, or the map of blocks.
const AREA: usize = 0x28;
const AREA_BYTES: u64 = 60;

/// One without a journal that matters.
#[derive(Debug)]
pub(crate) struct Plain {
    pub volume: Volume,
    /// Whoever walks a tree asks for each name of a directory in turn.
    kept: RefCell<Kept>,
    /// The map of the file that was read last: files are read piece by piece.
    last: RefCell<Option<(u32, Arc<Map>)>>,
}

/// Directories by inode, until there are too many names in all.
#[derive(Debug, Default)]
struct Kept {
    names: usize,
    directories: HashMap<u32, Arc<HashMap<Vec<u8>, u32>>>,
}

impl Plain {
    pub fn new(volume: Volume) -> Self {
        Self { volume, kept: RefCell::default(), last: RefCell::default() }
    }

    pub fn node(&self, path: &FilePath) -> Result<Node, FsError> {
        node(&self.find(path)?)
    }

    pub fn list(&self, path: &FilePath, most: usize) -> Result<Vec<Entry>, FsError> {
        let inode = self.find(path)?;
        if !inode.is_directory()? {
            return Err(FsError::NotADirectory);
        }
        readable(&inode)?;
        let (mut entries, mut fault) = (Vec::new(), None);
        names::each(&self.volume, &inode, &mut |entry| {
            if matches!(entry.name.as_slice(), b"." | b"..") {
                return true;
            }
            if entries.len() >= most {
                fault = Some(FsError::TooMany(most));
                return false;
            }
            let kind = match entry.kind {
                1 => Ok(NodeKind::File),
                2 => Ok(NodeKind::Directory),
                7 => Ok(NodeKind::Link),
                3..=6 => Ok(NodeKind::Other),
                _ => self.volume.inode(entry.inode).and_then(|inode| kind(&inode)),
            };
            match kind {
                Ok(kind) => entries.push(Entry { name: entry.name, kind }),
                Err(error) => fault = Some(error),
            }
            fault.is_none()
        })?;
        fault.map_or(Ok(entries), Err)
    }

    /// At most `most` bytes of a file: zeros where nothing is written.
    pub fn read(&self, path: &FilePath, offset: u64, most: usize) -> Result<Vec<u8>, FsError> {
        let inode = self.find(path)?;
        if !inode.is_file()? {
            return Err(FsError::NotAFile);
        }
        readable(&inode)?;
        if inode.is_inline()? {
            let whole = inline(&inode)?;
            let left = piece::within(whole.len() as u64, offset, most);
            let start = whole.len() - piece::within(whole.len() as u64, offset, usize::MAX);
            return Ok(whole[start..start + left].to_vec());
        }
        let mut bytes = piece::zeros(piece::within(inode.size()?, offset, most))?;
        let map = self.map(&inode)?;
        self.read_along(&map, offset, &mut bytes)?;
        Ok(bytes)
    }

    pub fn link(&self, path: &FilePath) -> Result<Vec<u8>, FsError> {
        let inode = self.find(path)?;
        let size = inode.size()?;
        if kind(&inode)? != NodeKind::Link {
            return Err(FsError::NotALink);
        }
        readable(&inode)?;
        if size > LINK_BYTES_MAX {
            return Err(inode.bytes.damaged(4, "a link that is longer than any path"));
        }
        let length = usize::try_from(size).unwrap_or(0);
        if inode.is_inline()? {
            return inline(&inode);
        }
        if size < AREA_BYTES && !inode.has_extents()? {
            return Ok(inode.bytes.slice(AREA, length)?.to_vec());
        }
        let mut bytes = piece::zeros(length)?;
        let map = self.map(&inode)?;
        self.read_along(&map, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// What is at a path, without following a link.
    pub fn find(&self, path: &FilePath) -> Result<Inode, FsError> {
        let mut inode = self.volume.inode(ROOT)?;
        for part in path.parts() {
            if !inode.is_directory()? {
                return Err(FsError::NotADirectory);
            }
            let number = self.child(&inode, part)?.ok_or(FsError::NotFound)?;
            inode = self.volume.inode(number)?;
        }
        Ok(inode)
    }

    fn child(&self, parent: &Inode, name: &[u8]) -> Result<Option<u32>, FsError> {
        let kept = self.kept.borrow().directories.get(&parent.number).cloned();
        if let Some(names) = kept {
            return Ok(names.get(name).copied());
        }
        readable(parent)?;
        let (mut found, mut names, mut whole) = (None, HashMap::new(), true);
        names::each(&self.volume, parent, &mut |entry| {
            if entry.name == name {
                found = found.or(Some(entry.inode));
            }
            if names.len() < NAMES_MAX {
                names.entry(entry.name).or_insert(entry.inode);
            } else {
                whole = false;
            }
            whole || found.is_none()
        })?;
        if whole {
            let mut kept = self.kept.borrow_mut();
            if kept.names + names.len() > NAMES_MAX {
                *kept = Kept::default();
            }
            kept.names += names.len();
            kept.directories.insert(parent.number, Arc::new(names));
        }
        Ok(found)
    }

    fn map(&self, inode: &Inode) -> Result<Arc<Map>, FsError> {
        let known =
            self.last.borrow().as_ref().filter(|(last, _)| *last == inode.number).map(|(_, map)| map.clone());
        if let Some(map) = known {
            return Ok(map);
        }
        let map = Arc::new(self.volume.map(inode)?);
        *self.last.borrow_mut() = Some((inode.number, map.clone()));
        Ok(map)
    }

    fn read_along(&self, map: &Map, offset: u64, into: &mut [u8]) -> Result<(), FsError> {
        let (size, end) = (self.volume.block_bytes, offset.saturating_add(into.len() as u64));
        for run in map.runs.iter().filter(|run| run.is_written) {
            let (first, last) = (run.logical * size, (run.logical + run.count) * size);
            let (from, to) = (first.max(offset), last.min(end));
            if from >= to {
                continue;
            }
            let within = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX);
            let at = self.volume.place(run.physical, run.count)? + (from - first);
            piece::fill(&*self.volume.blocks, "ext file", at, &mut into[within(from)..within(to)])?;
        }
        Ok(())
    }
}

/// The bytes of what lies in its inode: the area of the map of blocks, and an attribute.
fn inline(inode: &Inode) -> Result<Vec<u8>, FsError> {
    let mut bytes = inode.bytes.slice(AREA, 60)?.to_vec();
    bytes.extend(attributes::inline_rest(inode)?);
    let size = usize::try_from(inode.size()?).ok().filter(|size| *size <= bytes.len());
    let size = size.ok_or_else(|| inode.bytes.damaged(4, "it is longer than what lies in its inode"))?;
    bytes.truncate(size);
    Ok(bytes)
}

/// What is encrypted has other names and bytes than it seems.
fn readable(inode: &Inode) -> Result<(), FsError> {
    if inode.flags()? & FLAG_ENCRYPTED == 0 {
        return Ok(());
    }
    Err(FsError::Unsupported("it is encrypted; only the running guest can read it".to_owned()))
}

fn kind(inode: &Inode) -> Result<NodeKind, FsError> {
    Ok(match inode.mode()? & 0o170_000 {
        0o100_000 => NodeKind::File,
        0o040_000 => NodeKind::Directory,
        0o120_000 => NodeKind::Link,
        _ => NodeKind::Other,
    })
}

fn node(inode: &Inode) -> Result<Node, FsError> {
    let bytes = &inode.bytes;
    let half =
        |low, high| Ok::<u32, FsError>(u32::from(bytes.le16(low)?) | u32::from(bytes.le16(high)?) << 16);
    // Two bits more of the time, which came later, are behind the fields of old.
    let more = if inode.extra_bytes()? >= 12 { bytes.le32(0x88)? & 3 } else { 0 };
    let modified = i64::from(bytes.le32(0x10)?.cast_signed()) + (i64::from(more) << 32);
    let owner = Owner { uid: half(2, 0x78)?, gid: half(0x18, 0x7A)?, mode: inode.mode()? & 0o7777 };
    Ok(Node { kind: kind(inode)?, size: inode.size()?, owner, modified })
}
