//! The guest's file tree over its mounts, as it is and as it will be after the edits so far.
//!
//! Walks part by part, follows links inside the guest's own tree only, and never the last part of a path. What an edit
//! changed is remembered here, since the file systems themselves are edited at the end.

use std::collections::BTreeMap;

use lodge_model::guest_disk::{FilePath, Owner};

use super::error::EditError;
use crate::{
    fs::{FileSystem, FsError, NodeKind},
    root::Mount,
    workshop,
};

/// As Linux: more links on one way are a cycle.
const LINKS_MAX: usize = 40;
/// A walk has no more parts, with all that links add.
const PARTS_MAX: usize = 4096;
/// Entries of one directory.
const ENTRIES_MAX: usize = 1_000_000;

/// What is, or will be, somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum There {
    Nothing,
    File(Owner),
    Directory(Owner),
    Link(Vec<u8>),
    Other,
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct Place {
    /// Which mount.
    pub mount: usize,
    /// The path without links, from the guest's root.
    pub path: FilePath,
    /// Directories on the way that are missing, the first one first.
    pub missing: Vec<FilePath>,
    /// What is there.
    pub there: There,
}

/// The tree.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    mounts: &'a [Mount],
    now: BTreeMap<FilePath, There>,
}

impl<'a> Tree<'a> {
    /// Of these mounts; the one at `/` is among them.
    pub fn new(mounts: &'a [Mount]) -> Self {
        Self { mounts, now: BTreeMap::new() }
    }

    /// The mount that a path without links lies on, and the path inside it.
    pub fn inside(&self, path: &FilePath) -> (usize, FilePath) {
        let on = (0..self.mounts.len())
            .filter(|number| path.is_within(&self.mounts[*number].at))
            .max_by_key(|number| self.mounts[*number].at.as_bytes().len())
            .unwrap_or(0);
        let at = self.mounts[on].at.as_bytes();
        let rest = if at == b"/" { path.as_bytes() } else { &path.as_bytes()[at.len()..] };
        let rest = if rest.is_empty() { b"/" } else { rest };
        (on, FilePath::new(rest).unwrap_or_else(|_| root()))
    }

    /// Follows `path` up to its last part.
    pub fn find(&self, path: &FilePath) -> Result<Place, EditError> {
        let unreachable = |why: &str| EditError::Unreachable { path: path.to_string(), why: why.to_owned() };
        let mut rest: Vec<Vec<u8>> = path.parts().map(<[u8]>::to_vec).collect();
        rest.reverse();
        let Some(_) = rest.first() else { return Err(unreachable("it is the root itself")) };
        let (mut at, mut missing, mut links) = (root(), Vec::new(), 0);
        while let Some(part) = rest.pop() {
            if rest.len() > PARTS_MAX {
                return Err(unreachable("the way is too long"));
            }
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at = parent(&at);
                    missing.retain(|gone: &FilePath| at.is_within(gone));
                    continue;
                }
                _ if part.contains(&0) => return Err(unreachable("a link on the way has a NUL in it")),
                _ => {}
            }
            let next = child(&at, &part);
            let there = if missing.is_empty() { self.there(&next)? } else { There::Nothing };
            if rest.is_empty() {
                let mount = self.inside(&next).0;
                return Ok(Place { mount, path: next, missing, there });
            }
            match there {
                There::Directory(_) => at = next,
                There::Nothing => {
                    missing.push(next.clone());
                    at = next;
                }
                There::Link(to) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(unreachable("too many links on the way"));
                    }
                    if to.first() == Some(&b'/') {
                        at = root();
                    }
                    rest.extend(to.split(|byte| *byte == b'/').map(<[u8]>::to_vec).rev());
                }
                There::File(_) | There::Other => {
                    return Err(unreachable(&format!("{next} is no directory")));
                }
            }
        }
        Err(unreachable("it ends in a directory's `..`"))
    }

    /// What is at a path without links.
    pub fn there(&self, path: &FilePath) -> Result<There, EditError> {
        if let Some(there) = self.now.get(path) {
            return Ok(there.clone());
        }
        let is_in_gone = self
            .now
            .iter()
            .any(|(gone, there)| !matches!(there, There::Directory(_)) && path.is_within(gone));
        // A directory that was taken away and made again has only what was put into it since.
        if is_in_gone || self.is_in_new(path) {
            return Ok(There::Nothing);
        }
        let (mount, inside) = self.inside(path);
        let fs = self.fs(mount)?;
        let node = match fs.node(&inside) {
            Ok(node) => node,
            Err(FsError::NotFound | FsError::NotADirectory) => return Ok(There::Nothing),
            Err(error) => return Err(unread(path, &error)),
        };
        Ok(match node.kind {
            NodeKind::File => There::File(node.owner),
            NodeKind::Directory => There::Directory(node.owner),
            NodeKind::Link => There::Link(fs.link(&inside).map_err(|error| unread(path, &error))?),
            NodeKind::Other => There::Other,
        })
    }

    fn fs(&self, mount: usize) -> Result<&dyn FileSystem, EditError> {
        let Mount { at, device, fs } = &self.mounts[mount];
        fs.as_deref().map_err(|why| EditError::Unsupported {
            place: format!("{at} in the guest, where it mounts {device}"),
            why: why.clone(),
        })
    }

    fn is_in_new(&self, path: &FilePath) -> bool {
        self.now.iter().any(|(made, there)| matches!(there, There::Directory(_)) && path.is_within(made))
    }

    /// All that is below a directory, what is deepest first; at most `most`.
    pub fn below(&self, path: &FilePath, most: usize) -> Result<Vec<(FilePath, There)>, EditError> {
        let mut all = Vec::new();
        let mut rest = vec![path.clone()];
        while let Some(directory) = rest.pop() {
            if directory.parts().count() > PARTS_MAX / 8 {
                let why = "it is deeper than any directory should be: a loop".to_owned();
                return Err(EditError::Damaged { place: path.to_string(), why });
            }
            for name in self.names(&directory)? {
                let child = child(&directory, &name);
                let there = self.there(&child)?;
                match &there {
                    There::Nothing => continue,
                    There::Directory(_) => rest.push(child.clone()),
                    There::File(_) | There::Link(_) | There::Other => {}
                }
                all.push((child, there));
                if all.len() > most {
                    let why = format!("more than {most} files are in it");
                    return Err(EditError::Unsupported { place: path.to_string(), why });
                }
            }
        }
        // Parents were met before their children.
        all.reverse();
        Ok(all)
    }

    fn names(&self, directory: &FilePath) -> Result<Vec<Vec<u8>>, EditError> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        if !self.now.contains_key(directory) && !self.is_in_new(directory) {
            let (mount, inside) = self.inside(directory);
            let list = self.fs(mount)?.list(&inside, ENTRIES_MAX);
            for entry in list.map_err(|error| unread(directory, &error))? {
                let is_name = !matches!(entry.name.as_slice(), b"" | b"." | b"..")
                    && !entry.name.iter().any(|byte| matches!(byte, b'/' | 0));
                if !is_name {
                    let why = format!("'{}' is in it, which is no name", entry.name.escape_ascii());
                    return Err(EditError::Damaged { place: directory.to_string(), why });
                }
                names.push(entry.name);
            }
        }
        let made = self.now.keys().filter(|path| parent(path) == *directory && **path != *directory);
        for path in made {
            if !names.iter().any(|name| name == path.name()) {
                names.push(path.name().to_vec());
            }
        }
        Ok(names)
    }

    /// Whether a plain file that is there has just these bytes. One that an edit wrote counts as having others.
    pub fn holds(&self, path: &FilePath, bytes: &[u8]) -> Result<bool, EditError> {
        if self.now.contains_key(path) {
            return Ok(false);
        }
        let (mount, inside) = self.inside(path);
        let read = self.fs(mount)?.read(&inside, 0, bytes.len() + 1);
        read.map(|found| found == bytes).map_err(|error| unread(path, &error))
    }

    /// How long a plain file is. None: an edit wrote it.
    pub fn size(&self, path: &FilePath) -> Result<Option<u64>, EditError> {
        if self.now.contains_key(path) {
            return Ok(None);
        }
        let (mount, inside) = self.inside(path);
        let node = self.fs(mount)?.node(&inside);
        node.map(|node| Some(node.size)).map_err(|error| unread(path, &error))
    }

    /// Bytes of a plain file that no edit wrote; fewer at its end.
    pub fn part(&self, path: &FilePath, offset: u64, most: usize) -> Result<Vec<u8>, EditError> {
        let (mount, inside) = self.inside(path);
        self.fs(mount)?.read(&inside, offset, most).map_err(|error| unread(path, &error))
    }

    /// The kind of a mount's file system.
    pub fn kind(&self, mount: usize) -> Result<&str, EditError> {
        self.fs(mount).map(|fs| fs.content().kind.as_str())
    }

    /// A file system that is mounted below a path without links.
    pub fn mounted_within(&self, path: &FilePath) -> Option<&FilePath> {
        self.mounts.iter().map(|mount| &mount.at).find(|at| at.is_within(path))
    }

    /// From now on this is there, with nothing below it that was not put there since.
    pub fn put(&mut self, path: &FilePath, there: There) {
        self.now.retain(|known, _| !known.is_within(path));
        self.now.insert(path.clone(), there);
    }
}

impl workshop::Tree for Tree<'_> {
    fn read(&self, path: &FilePath, most: usize) -> Option<Vec<u8>> {
        let place = self.find(path).ok().filter(|place| matches!(place.there, There::File(_)))?;
        let (mount, inside) = self.inside(&place.path);
        self.fs(mount).ok()?.read(&inside, 0, most).ok()
    }

    fn names(&self, path: &FilePath) -> Vec<Vec<u8>> {
        let place = self.find(path).ok();
        place.and_then(|place| Tree::names(self, &place.path).ok()).unwrap_or_default()
    }
}

fn unread(path: &FilePath, error: &FsError) -> EditError {
    match error {
        FsError::Unsupported(_) | FsError::TooMany(_) => {
            EditError::Unsupported { place: path.to_string(), why: error.to_string() }
        }
        FsError::Io(source) => EditError::Disk { act: format!("read {path}"), why: source.to_string() },
        _ => EditError::Damaged { place: path.to_string(), why: error.to_string() },
    }
}

/// The guest's root.
pub(crate) fn root() -> FilePath {
    FilePath::new("/").expect("it is a path")
}

fn child(of: &FilePath, name: &[u8]) -> FilePath {
    let slash: &[u8] = if of.as_bytes() == b"/" { b"" } else { b"/" };
    FilePath::new([of.as_bytes(), slash, name].concat()).expect("names were looked at before")
}

fn parent(of: &FilePath) -> FilePath {
    let end = of.as_bytes().len() - of.name().len();
    let path = &of.as_bytes()[..end.saturating_sub(1)];
    FilePath::new(path).unwrap_or_else(|_| root())
}
