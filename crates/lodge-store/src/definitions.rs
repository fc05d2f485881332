//! libvirt's definition files: one XML document per object, in libvirt's directories and with its header, so
//! that a host can change over to libvirtd and back by stopping one daemon and starting the other.
//!
//! ```text
//!  DIR/NAME.xml             the document, 0600, written whole and durably (see `lodge_sys::fs`)
//!  DIR/autostart/NAME.xml   a symbolic link to it: the object starts with the host
//!  DIR/.lodge-tmp.*         a crash's leftover: removed by [`Definitions::open`]
//! ```
//!
//! A definition edited by hand while we run is noticed by its stamp (time, size, inode) and handed out by
//! [`Definitions::changed`]; it is the caller who judges it and takes it in.
//!
//! All calls block on the disk: from async code use `spawn_blocking`. Many may run at once; the objects'
//! owners see to it that there is one writer per name. Deliberately absent: parsing.

mod error;
pub mod header;
mod load;
mod name;
mod rename;

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lodge_sys::fs::Directory;

pub use error::DefinitionError;
pub use name::NameFault;

use crate::Root;

/// What a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Collection {
    /// `etc/libvirt/qemu`.
    Domains,
    /// `etc/libvirt/qemu/networks`.
    Networks,
    /// `etc/libvirt/storage`.
    Pools,
    /// `etc/libvirt/secrets`; a secret's name is its UUID.
    Secrets,
}

impl Collection {
    /// One of them, in words.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Domains => "domain",
            Self::Networks => "network",
            Self::Pools => "storage pool",
            Self::Secrets => "secret",
        }
    }

    /// Its directory under `root`.
    pub fn dir(self, root: &Root) -> PathBuf {
        match self {
            Self::Domains => root.domains(),
            Self::Networks => root.networks(),
            Self::Pools => root.pools(),
            Self::Secrets => root.secrets(),
        }
    }
}

/// Tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    modified_ns: i128,
    size: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
            size: metadata.size(),
            inode: metadata.ino(),
        }
    }
}

/// A definition as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file's name without `.xml`.
    pub name: String,
    /// The document, without libvirt's header comment.
    pub text: String,
    /// How many lines of the file the header took: add it to a fault's line to get the file's line.
    pub header_lines: u32,
    /// The version that was read.
    pub stamp: Stamp,
    /// Does the object start with the host?
    pub autostart: bool,
}

/// How a file stands to what we last read or wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is what we know.
    Same,
    /// Another hand wrote it; this is what it says now, and known from here on.
    Edited(Entry),
    /// Another hand removed it.
    Removed,
}

/// What [`Definitions::load_all`] found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What could be read, by name.
    pub entries: Vec<Entry>,
    /// What could not; the files are left as they are.
    pub faults: Vec<DefinitionError>,
}

/// The definition files of one directory. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Definitions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    collection: Collection,
    dir: Directory,
    autostart: Directory,
    known: Mutex<HashMap<Box<str>, Stamp>>,
}

/// The longest file that is taken for a definition.
pub const FILE_MAX_BYTES: u64 = 16 << 20;

impl Definitions {
    /// Opens the directory of `root` for `collection`, makes it if it is missing, and clears a crash's
    /// leftovers away.
    pub fn open(root: &Root, collection: Collection) -> Result<Self, DefinitionError> {
        Self::open_at(&collection.dir(root), collection)
    }

    /// As [`Definitions::open`], for any directory.
    pub fn open_at(path: &Path, collection: Collection) -> Result<Self, DefinitionError> {
        let open = |path: PathBuf| {
            let directory =
                lodge_sys::fs::create_dirs_durable(&path, 0o700).and_then(|()| Directory::open(&path));
            directory.map_err(|source| DefinitionError::OpenDir { path, source })
        };
        let inner = Inner {
            collection,
            dir: open(path.to_owned())?,
            autostart: open(path.join("autostart"))?,
            known: Mutex::default(),
        };
        let definitions = Self(Arc::new(inner));
        definitions.clear_leftovers()?;
        Ok(definitions)
    }

    /// What the directory holds.
    pub fn collection(&self) -> Collection {
        self.0.collection
    }

    /// The file of `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.dir.path().join(file_name(name))
    }

    /// Writes the definition, new or changed, with libvirt's header before it. Durable when it returns.
    pub fn put(&self, name: &str, xml: &str) -> Result<Stamp, DefinitionError> {
        let file = self.check(name)?;
        let text = header::add(self.0.collection, name, xml);
        let failed =
            |source| DefinitionError::Write { noun: self.0.collection.noun(), path: self.path(name), source };
        let stamp = |file: &File| file.metadata().map(|metadata| Stamp::of(&metadata));
        let stamp = self.0.dir.write_then(&file, text.as_bytes(), 0o600, stamp).and_then(|stamp| stamp);
        let stamp = stamp.map_err(failed)?;
        self.known().insert(name.into(), stamp);
        Ok(stamp)
    }

    /// Removes the definition and its autostart mark, durably. `Ok(false)`: there was none.
    pub fn remove(&self, name: &str) -> Result<bool, DefinitionError> {
        let file = self.check(name)?;
        let failed = |source| DefinitionError::Remove {
            noun: self.0.collection.noun(),
            path: self.path(name),
            source,
        };
        self.0.autostart.remove(&file).map_err(failed)?;
        self.0.autostart.remove(&once(&file)).map_err(failed)?;
        let removed = self.0.dir.remove(&file).map_err(failed)?;
        self.known().remove(name);
        Ok(removed)
    }

    /// Marks the object to start with the host, or takes the mark away.
    pub fn set_autostart(&self, name: &str, enabled: bool) -> Result<(), DefinitionError> {
        let file = self.check(name)?;
        let outcome = if enabled {
            self.0.autostart.symlink(&file, &self.path(name))
        } else {
            self.0.autostart.remove(&file).map(|_| ())
        };
        outcome.map_err(|source| DefinitionError::Autostart {
            noun: self.0.collection.noun(),
            path: self.0.autostart.path().join(file),
            source,
        })
    }

    /// Marks the object to start with the next start of the host only, or takes that mark away (libvirt 11's
    /// `NAME.xml.once`).
    pub fn set_autostart_once(&self, name: &str, enabled: bool) -> Result<(), DefinitionError> {
        let file = once(&self.check(name)?);
        let outcome = if enabled {
            self.0.autostart.symlink(&file, &self.path(name))
        } else {
            self.0.autostart.remove(&file).map(|_| ())
        };
        outcome.map_err(|source| DefinitionError::Autostart {
            noun: self.0.collection.noun(),
            path: self.0.autostart.path().join(file),
            source,
        })
    }

    /// Does the object start with the next start of the host only?
    pub fn autostart_once(&self, name: &str) -> bool {
        std::fs::read_link(self.0.autostart.path().join(once(&file_name(name)))).is_ok()
    }

    /// Does the object start with the host?
    pub fn autostart(&self, name: &str) -> bool {
        // A link of libvirt's is absolute and may lead through another root's path: its presence counts,
        // as long as it leads to a file of this name.
        let file = file_name(name);
        std::fs::read_link(self.0.autostart.path().join(&file))
            .is_ok_and(|target| target.file_name().is_some_and(|target| target == file.as_str()))
    }

    /// Reads one definition.
    pub fn load(&self, name: &str) -> Result<Entry, DefinitionError> {
        self.check(name)?;
        let entry = self.read(name)?;
        self.known().insert(name.into(), entry.stamp);
        Ok(entry)
    }

    /// Looks whether another hand changed the file since we last read or wrote it. Costs one `stat` when
    /// it did not.
    pub fn changed(&self, name: &str) -> Result<Change, DefinitionError> {
        self.check(name)?;
        let known = self.known().get(name).copied();
        match std::fs::metadata(self.path(name)) {
            Ok(metadata) if Some(Stamp::of(&metadata)) == known => Ok(Change::Same),
            Ok(_) => self.load(name).map(Change::Edited),
            Err(error) if error.kind() == io::ErrorKind::NotFound && known.is_none() => Ok(Change::Same),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.known().remove(name);
                Ok(Change::Removed)
            }
            Err(source) => {
                Err(DefinitionError::Read { noun: self.0.collection.noun(), path: self.path(name), source })
            }
        }
    }

    fn check(&self, name: &str) -> Result<String, DefinitionError> {
        match name::check(name) {
            Ok(()) => Ok(file_name(name)),
            Err(fault) => Err(DefinitionError::Name {
                noun: self.0.collection.noun(),
                name: name.to_owned(),
                source: fault,
            }),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Box<str>, Stamp>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn once(file: &str) -> String {
    format!("{file}.once")
}

fn file_name(name: &str) -> String {
    format!("{name}.xml")
}

#[cfg(test)]
mod tests;
