//! A disk and the files it stands on, opened in order, each with its known format.
//!
//! The gate: a path that only an image's header names is opened if it lies in a pool or among the
//! images, or if the document names it too. Otherwise an image from elsewhere could make the host
//! open any file for its guest.
//!
//! Acts on chains of disks that are off are below, a file each: [`commit`], [`copy`], [`rebase`], [`template`].

pub(crate) mod commit;
pub(crate) mod copy;
pub(crate) mod error;
pub(crate) mod layers;
pub(crate) mod rebase;
mod replace;
mod template;

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use lodge_model::Bytes;

use crate::{
    Storage,
    error::StorageError,
    file::{Access, DiskFile},
    format::Format,
    limits,
    qcow2::Backing,
};

/// One file of a chain.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Link {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// The disk's size as the guest sees it at this depth.
    pub virtual_size: Bytes,
    /// Bytes the file takes on the host.
    pub allocation: Bytes,
    /// Only a passphrase opens it, as its own header says or that of what stands on it.
    pub is_encrypted: bool,
}

/// Decides which files named by images may be opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    /// Directories all of whose files may be.
    pub dirs: Vec<PathBuf>,
    /// Files that may be.
    pub files: Vec<PathBuf>,
    /// After so many files a server has the rest, whatever a header names.
    pub served_after: Option<usize>,
    /// What whoever opens the chain has of its keys.
    pub keys: Keys,
}

/// What of a chain is encrypted, as far as whoever opens it knows.
#[derive(Debug, Clone)]
pub(crate) enum Keys {
    /// The document says it of each file, the top one first; of what it does not name: it is not.
    Told(Vec<bool>),
    /// The files say it themselves, and a key is looked for afterwards. A raw one does not say it, unless what stands on it
    /// does.
    Asked,
}

impl Default for Keys {
    fn default() -> Self {
        Self::Told(Vec::new())
    }
}

impl Keys {
    /// Whether the file at this depth is encrypted; none: it is to be asked.
    fn at(&self, depth: usize) -> Option<bool> {
        match self {
            Self::Told(locked) => Some(locked.get(depth).copied().unwrap_or(false)),
            Self::Asked => None,
        }
    }
}

impl Gate {
    /// `path` has no links in it.
    pub fn admits(&self, path: &Path) -> bool {
        // What has no links and lies there by its name lies there: no directory is asked, one of which may not answer.
        if self.dirs.iter().any(|dir| path.starts_with(dir)) || self.files.iter().any(|file| file == path) {
            return true;
        }
        let is_in = |dir: &PathBuf| fs::canonicalize(dir).is_ok_and(|dir| path.starts_with(dir));
        let is_same = |file: &PathBuf| fs::canonicalize(file).is_ok_and(|file| path == file);
        self.dirs.iter().any(is_in) || self.files.iter().any(is_same)
    }
}

/// A file of a chain, open.
#[derive(Debug)]
pub(crate) struct OpenLink {
    pub disk: DiskFile,
    pub format: Format,
    pub virtual_bytes: u64,
    /// Its bytes are encrypted.
    pub is_locked: bool,
}

impl OpenLink {
    /// It is called raw, and begins as a LUKS container does: its bytes as they are would be none of a disk.
    pub fn is_container(&self) -> bool {
        self.contained().is_some()
    }

    /// What a guest sees of a container.
    fn contained(&self) -> Option<u64> {
        self.disk.luks_length().ok().filter(|_| self.format == Format::Raw)
    }

    fn link(&self) -> Link {
        Link {
            path: self.disk.path.clone(),
            format: self.format,
            virtual_size: Bytes(self.contained().unwrap_or(self.virtual_bytes)),
            allocation: Bytes(self.disk.allocation),
            is_encrypted: self.is_locked || self.is_container(),
        }
    }
}

impl Storage {
    /// The files a disk is made of, the top one first, encrypted or not: their headers say it. `format` is the top file's.
    pub async fn chain(&self, path: &Path, format: Format) -> Result<Vec<Link>, StorageError> {
        let (path, gate) = (path.to_owned(), Gate { keys: Keys::Asked, ..self.gate() });
        self.blocking(&path.clone(), limits::LOOK, move || {
            let links = open_chain(&path, format, Access::Read, &gate)?;
            Ok(links.iter().map(OpenLink::link).collect())
        })
        .await
    }
}

impl Storage {
    /// The same files, open for reading, for whoever reads what a guest wrote.
    pub async fn open_layers(
        &self,
        path: &Path,
        format: Format,
    ) -> Result<Vec<(Format, fs::File)>, StorageError> {
        let (path, gate) = (path.to_owned(), self.gate());
        self.blocking(&path.clone(), limits::LOOK, move || {
            let links = open_chain(&path, format, Access::Read, &gate)?;
            Ok(links.into_iter().map(|link| (link.format, link.disk.file)).collect())
        })
        .await
    }
}

/// Opens a chain: the top file as `access` says, all others for reading.
pub(crate) fn open_chain(
    top: &Path,
    format: Format,
    access: Access,
    gate: &Gate,
) -> Result<Vec<OpenLink>, StorageError> {
    let broken = |what: String| StorageError::Chain { path: top.to_owned(), what };
    let mut links: Vec<OpenLink> = Vec::new();
    let mut seen = HashSet::new();
    let mut next = Some((DiskFile::open(top, access)?, format, false));
    while let Some((disk, format, is_luks)) = next.take() {
        if !seen.insert(disk.id) {
            return Err(broken("a circle".to_owned()));
        }
        if links.len() == limits::CHAIN_FILES {
            return Err(broken(format!("more than {}", limits::CHAIN_FILES)));
        }
        let locked = gate.keys.at(links.len());
        let (virtual_bytes, is_locked) = match format {
            Format::Raw if locked.unwrap_or(is_luks) => (disk.luks_length()?, true),
            // Its bytes as they are would be none of a disk.
            Format::Raw if is_luks => return Err(StorageError::NoKey { path: disk.path }),
            Format::Raw => (disk.length()?, false),
            Format::Qcow2 => {
                let header = match locked {
                    Some(true) => disk.locked_qcow2_header()?,
                    Some(false) => disk.qcow2_header()?,
                    None => disk.any_qcow2_header()?,
                };
                if let Some(backing) = header.backing.filter(|_| gate.served_after != Some(links.len() + 1)) {
                    let (below, format) = open_backing(&disk.path, &backing, gate)?;
                    next = Some((below, format, backing.is_luks()));
                }
                (header.virtual_bytes, header.is_encrypted)
            }
        };
        links.push(OpenLink { disk, format, virtual_bytes, is_locked });
    }
    if gate.served_after.is_some_and(|files| files != links.len()) {
        return Err(broken("fewer than its <backingStore> names".to_owned()));
    }
    Ok(links)
}

fn open_backing(overlay: &Path, backing: &Backing, gate: &Gate) -> Result<(DiskFile, Format), StorageError> {
    let format = match backing.known_format() {
        None => {
            let (path, backing) = (overlay.to_owned(), backing.name.clone());
            return Err(StorageError::BackingFormat { path, backing });
        }
        Some(Err(format)) => {
            return Err(StorageError::UnsupportedFormat { path: backing.name.clone().into(), format });
        }
        Some(Ok(format)) => format,
    };
    let named = backing_path(overlay, &backing.name)?;
    let path = fs::canonicalize(&named).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            StorageError::BackingMissing { path: overlay.to_owned(), backing: named.clone() }
        }
        _ => StorageError::Open { path: named.clone(), source },
    })?;
    if !gate.admits(&path) {
        return Err(StorageError::BackingOutside { path: overlay.to_owned(), backing: path });
    }
    Ok((DiskFile::open(&path, Access::Read)?, format))
}

/// Where a backing file's name leads, seen from the file that has it in its header.
pub(crate) fn backing_path(overlay: &Path, name: &str) -> Result<PathBuf, StorageError> {
    // QEMU takes what stands before a colon for a protocol, unless a slash comes first.
    let name = match name.split_once(':') {
        Some(("file", path)) => path,
        Some((protocol, _)) if !protocol.contains('/') => {
            let (path, field, value) = (overlay.to_owned(), "backing file".to_owned(), name.to_owned());
            return Err(StorageError::Named { path, field, value, why: "it is no file" });
        }
        _ => name,
    };
    let dir = overlay.parent().unwrap_or(Path::new("/"));
    Ok(dir.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backing_name_is_a_path_from_the_overlay_on() {
        let path = |name| backing_path(Path::new("/pool/web1.qcow2"), name);
        assert_eq!(path("base.qcow2").unwrap(), Path::new("/pool/base.qcow2"));
        assert_eq!(path("/a/base").unwrap(), Path::new("/a/base"));
        assert_eq!(path("file:/a/base").unwrap(), Path::new("/a/base"));
        assert_eq!(path("./a:b").unwrap(), Path::new("/pool/./a:b"));
        for name in ["nbd://host/x", "json:{}", "http://x/y", "ssh:x"] {
            assert!(matches!(path(name), Err(StorageError::Named { .. })), "{name}");
        }
    }
}
