//! A path through the tree, part by part, and what is at its end.

use lodge_model::guest_disk::FilePath;

use super::{Root, top};
use crate::fs::{Entry, FileSystem, FsError, Node, NodeKind};

/// As Linux: more links on one way are a circle.
const LINKS_MAX: usize = 40;
/// A walk has no more parts, with all that links add.
const PARTS_MAX: usize = 4096;

/// Why something in the guest's tree cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// Nothing is there.
    #[error("{path}: no such file or directory in the guest")]
    NotFound {
        /// The guest's path.
        path: String,
    },
    /// More links than Linux follows.
    #[error("{path}: too many links on the way")]
    TooManyLinks {
        /// The guest's path.
        path: String,
    },
    /// What is mounted there cannot be read.
    #[error("{path}: {device}, which the guest mounts at {at}, cannot be read: {why}")]
    Mount {
        /// The guest's path.
        path: String,
        /// The device.
        device: String,
        /// Where it is mounted.
        at: String,
        /// Why.
        why: String,
    },
    /// Nothing is mounted at all.
    #[error(
        "no root file system was found on the guest's disks{unread}; look with `lodge disk lsblk -f`, and name a device: GUEST:DEVICE"
    )]
    NoRoot {
        /// The first that could not be read, and why, in brackets.
        unread: String,
    },
    /// The reader's.
    #[error("{path}: {source}")]
    Read {
        /// The guest's path.
        path: String,
        /// What is wrong.
        source: FsError,
    },
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The path without links.
    pub path: FilePath,
    /// What is there.
    pub node: Node,
}

pub(super) fn child(of: &FilePath, name: &[u8]) -> Option<FilePath> {
    let mut path = of.as_bytes().to_vec();
    if path != b"/" {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    FilePath::new(path).ok()
}

fn parent(of: &FilePath) -> FilePath {
    let bytes = of.as_bytes();
    let end = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    FilePath::new(&bytes[..end.max(1)]).unwrap_or_else(|_| top())
}

fn error(path: &FilePath, source: FsError) -> RootError {
    match source {
        FsError::NotFound => RootError::NotFound { path: path.to_string() },
        source => RootError::Read { path: path.to_string(), source },
    }
}

impl Root {
    /// The file system that a path without links lies on, and the path inside it.
    pub(super) fn inside(&self, path: &FilePath) -> Result<(&dyn FileSystem, FilePath), RootError> {
        let on = self.mounts.iter().filter(|mount| path.is_within(&mount.at));
        let mount = on.max_by_key(|mount| mount.at.as_bytes().len()).ok_or_else(|| self.no_root())?;
        let fs = mount.fs.as_deref().map_err(|why| RootError::Mount {
            path: path.to_string(),
            device: mount.device.clone(),
            at: mount.at.to_string(),
            why: why.clone(),
        })?;
        let at = mount.at.as_bytes();
        let rest = if at == b"/" { path.as_bytes() } else { &path.as_bytes()[at.len()..] };
        let rest = if rest.is_empty() { b"/" } else { rest };
        Ok((fs, FilePath::new(rest).unwrap_or_else(|_| top())))
    }

    fn no_root(&self) -> RootError {
        let gap = self.gaps.iter().find(|gap| gap.place != "/");
        let unread = gap.map(|gap| format!(" ({}: {})", gap.place, gap.why)).unwrap_or_default();
        RootError::NoRoot { unread }
    }

    fn node_at(&self, path: &FilePath) -> Result<Node, RootError> {
        let (fs, inside) = self.inside(path)?;
        fs.node(&inside).map_err(|source| error(path, source))
    }

    /// What is at a path. `follow`: where its last part is a link, what that leads to.
    pub fn find(&self, path: &FilePath, follow: bool) -> Result<Found, RootError> {
        let mut rest: Vec<Vec<u8>> = path.parts().map(<[u8]>::to_vec).collect();
        rest.reverse();
        let mut found = Found { path: top(), node: self.node_at(&top())? };
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    found.path = parent(&found.path);
                    found.node = self.node_at(&found.path)?;
                    continue;
                }
                _ => {}
            }
            if found.node.kind != NodeKind::Directory {
                return Err(error(path, FsError::NotADirectory));
            }
            let next = child(&found.path, &part).ok_or_else(|| error(path, FsError::NotFound))?;
            let node = self.node_at(&next).map_err(|failed| match failed {
                RootError::NotFound { .. } => error(path, FsError::NotFound),
                other => other,
            })?;
            if node.kind != NodeKind::Link || (rest.is_empty() && !follow) {
                found = Found { path: next, node };
                continue;
            }
            links += 1;
            let to = self.link_at(&next)?;
            if links > LINKS_MAX || rest.len() > PARTS_MAX {
                return Err(RootError::TooManyLinks { path: path.to_string() });
            }
            if to.first() == Some(&b'/') {
                found = Found { path: top(), node: self.node_at(&top())? };
            }
            rest.extend(to.split(|byte| *byte == b'/').map(<[u8]>::to_vec).rev());
        }
        Ok(found)
    }

    pub(super) fn link_at(&self, path: &FilePath) -> Result<Vec<u8>, RootError> {
        let (fs, inside) = self.inside(path)?;
        fs.link(&inside).map_err(|source| error(path, source))
    }

    pub(super) fn list_at(&self, path: &FilePath, most: usize) -> Result<Vec<Entry>, RootError> {
        let (fs, inside) = self.inside(path)?;
        let entries = fs.list(&inside, most).map_err(|source| error(path, source))?;
        let is_name = |name: &[u8]| {
            !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
        };
        if let Some(bad) = entries.iter().find(|entry| !is_name(&entry.name)) {
            let what = format!("'{}' is in it, which is no name", bad.name.escape_ascii());
            return Err(error(path, FsError::Damaged { what, at: 0 }));
        }
        Ok(entries)
    }

    pub(super) fn read_at(&self, path: &FilePath, offset: u64, most: usize) -> Result<Vec<u8>, RootError> {
        let (fs, inside) = self.inside(path)?;
        fs.read(&inside, offset, most).map_err(|source| error(path, source))
    }

    /// The names in a directory, links to it followed.
    pub fn list(&self, path: &FilePath, most: usize) -> Result<Vec<Entry>, RootError> {
        let found = self.find(path, true)?;
        if found.node.kind != NodeKind::Directory {
            return Err(error(path, FsError::NotADirectory));
        }
        self.list_at(&found.path, most)
    }

    /// At most `most` bytes of a plain file, links to it followed.
    pub fn read(&self, path: &FilePath, offset: u64, most: usize) -> Result<Vec<u8>, RootError> {
        self.read_at(&self.find(path, true)?.path, offset, most)
    }

    /// Where a link points.
    pub fn link(&self, path: &FilePath) -> Result<Vec<u8>, RootError> {
        self.link_at(&self.find(path, false)?.path)
    }
}
