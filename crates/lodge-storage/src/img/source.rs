//! A raw or qcow2 image with all it stands on, open for reading in this process.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use imago::{
    FormatAccess, FormatDriverBuilder as _, StorageOpenOptions, file::File as Storage,
    format::gate::DenyImplicitOpenGate, qcow2::Qcow2, raw::Raw,
};

use crate::{
    chain::{Gate, OpenLink, open_chain},
    error::StorageError,
    file::Access,
    format::Format,
    qcow2::Header,
};

/// An image and its chain, open.
pub(crate) struct Source {
    /// The files, the top one first.
    pub links: Vec<Open>,
    pub access: FormatAccess<Storage>,
    pub virtual_bytes: u64,
}

/// One file of it.
pub(crate) struct Open {
    pub path: PathBuf,
    pub format: Format,
    pub virtual_bytes: u64,
    pub file: File,
}

/// Whether imago reads images with this header; what it does not is `qemu-img`'s.
pub(crate) fn is_read_here(header: &Header) -> bool {
    !header.has_zstd && !header.has_extended_l2 && !header.has_unknown_features
}

impl Source {
    /// Opens a chain that is [read here](is_read_here) all the way down; `None`: it is not.
    pub fn open(path: &Path, format: Format, gate: &Gate) -> Result<Option<Self>, StorageError> {
        let links = open_chain(path, format, Access::Read, gate)?;
        // Read through an overlay it would be mixed with what is not encrypted.
        if let Some(link) = links.iter().skip(1).find(|link| link.is_container()) {
            let path = link.disk.path.clone();
            return Err(StorageError::UnsupportedImage { path, what: "is encrypted" });
        }
        for link in &links {
            if link.format == Format::Qcow2 && !is_read_here(&link.disk.qcow2_header()?) {
                return Ok(None);
            }
        }
        Self::of(links, usize::MAX).map(Some)
    }

    /// Opens an image without what it stands on.
    pub fn open_top(link: OpenLink) -> Result<Self, StorageError> {
        Self::of(vec![link], 1)
    }

    fn of(links: Vec<OpenLink>, depth: usize) -> Result<Self, StorageError> {
        let mut below: Option<FormatAccess<Storage>> = None;
        let mut open = Vec::new();
        for link in links.into_iter().take(depth).rev() {
            let failed = |source| StorageError::Act { act: "read", path: link.disk.path.clone(), source };
            let file = link.disk.file.try_clone().map_err(failed)?;
            let options = StorageOpenOptions::new();
            let storage = Storage::from_open_file(file, options).map_err(failed)?;
            let access = match link.format {
                Format::Raw => FormatAccess::new(
                    Raw::<Storage>::builder(storage).open(DenyImplicitOpenGate::default()).map_err(failed)?,
                ),
                Format::Qcow2 => FormatAccess::new(
                    Qcow2::<Storage>::builder(storage)
                        .backing(below.take())
                        .data_file(None)
                        .open(DenyImplicitOpenGate::default())
                        .map_err(failed)?,
                ),
            };
            below = Some(access);
            open.push(Open {
                path: link.disk.path,
                format: link.format,
                virtual_bytes: link.virtual_bytes,
                file: link.disk.file,
            });
        }
        open.reverse();
        let access = below.ok_or_else(|| StorageError::Panicked { path: PathBuf::new() })?;
        let virtual_bytes = open.first().map_or(0, |link| link.virtual_bytes);
        Ok(Self { links: open, access, virtual_bytes })
    }

    /// Reads guest bytes; beyond the end are zeros.
    pub fn read(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        let left = usize::try_from(self.virtual_bytes.saturating_sub(at)).unwrap_or(usize::MAX);
        let (inside, beyond) = into.split_at_mut(left.min(into.len()));
        beyond.fill(0);
        // A raw top needs no table to find its bytes.
        if let [link] = &self.links[..]
            && link.format == Format::Raw
        {
            return read_full(&link.file, inside, at);
        }
        self.access.read(inside, at)
    }
}

/// Reads a file's bytes; what lies beyond its end is zeros.
pub(crate) fn read_full(file: &File, mut into: &mut [u8], mut at: u64) -> io::Result<()> {
    while !into.is_empty() {
        match file.read_at(into, at) {
            Ok(0) => {
                into.fill(0);
                return Ok(());
            }
            Ok(count) => {
                into = &mut into[count..];
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
