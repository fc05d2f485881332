//! A disk image and all it stands on, open as one run of bytes.
//!
//! The layers come as open descriptors, the top one first, each with the format its owner knows it to have: no name
//! that stands in an image is ever opened, no format is guessed. A layer that cannot be read here is refused by
//! name with what to do. Qcow2's tables are imago's affair, the judgement over headers is [`header`]'s.
//! Deliberately absent: where the files lie and whether a guest runs on them (the caller's), formats that only
//! `qemu-img` reads.

mod array;
mod header;
mod mapped;
mod part;
mod stream;

use std::{
    fmt,
    fs::File,
    io::{self, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
};

use imago::{
    FormatAccess, FormatDriverBuilder as _, StorageOpenOptions, file::File as Storage,
    format::gate::DenyImplicitOpenGate, qcow2::Qcow2, raw::Raw,
};
use serde::{Deserialize, Serialize};

pub use self::{
    array::{Order, Shape},
    header::HeaderFault,
    mapped::{Mapped, Run, Segment},
    part::Part,
    stream::Stream,
};
use crate::blocks::Blocks;

/// The longest chain that is read; libvirt's own limit.
pub const LAYERS_MAX: usize = 200;

/// One disk of a guest, to be opened.
#[derive(Debug)]
pub struct DiskImage {
    /// What the guest's document calls it: `vda`.
    pub name: String,
    /// What it is made of, the top one first.
    pub layers: Vec<Layer>,
    /// Whether the top layer's descriptor may be written, and is to be.
    pub writable: bool,
}

/// One file of a chain.
#[derive(Debug)]
pub struct Layer {
    /// Open; for the top one of a writable disk also for writing.
    pub file: File,
    /// How it is written.
    pub format: LayerFormat,
}

/// How a layer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerFormat {
    /// The guest's bytes as they are: a file, a block device.
    Raw,
    /// QEMU's.
    Qcow2,
}

/// Why a disk is not open. Layers are counted from the top, which is 0.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No layer at all.
    #[error("disk '{disk}' has no image")]
    Empty {
        /// The disk.
        disk: String,
    },
    /// The chain is longer than anybody's.
    #[error("disk '{disk}' has {layers} layers, at most {LAYERS_MAX} are read")]
    TooDeep {
        /// The disk.
        disk: String,
        /// How many.
        layers: usize,
    },
    /// A layer's header is no good, or says something that cannot be read here.
    #[error("disk '{disk}', layer {layer}: {fault}")]
    Header {
        /// The disk.
        disk: String,
        /// Which.
        layer: usize,
        /// What is wrong.
        fault: HeaderFault,
    },
    /// A layer could not be opened.
    #[error("cannot read disk '{disk}', layer {layer}")]
    Open {
        /// The disk.
        disk: String,
        /// Which.
        layer: usize,
        /// Why.
        source: io::Error,
    },
}

/// An open disk.
pub struct Disk {
    name: String,
    bytes: u64,
    inner: Inner,
    writable: bool,
}

enum Inner {
    /// A raw top needs no table to find its bytes.
    File(File),
    Chain(FormatAccess<Storage>),
}

impl DiskImage {
    /// Opens it.
    pub fn open(self) -> Result<Disk, SourceError> {
        let Self { name: disk, mut layers, writable } = self;
        let count = layers.len();
        match count {
            0 => return Err(SourceError::Empty { disk }),
            1 if layers[0].format == LayerFormat::Raw => {
                let file = layers.remove(0).file;
                let bytes = length(&file).map_err(|source| SourceError::Open {
                    disk: disk.clone(),
                    layer: 0,
                    source,
                })?;
                return Ok(Disk { name: disk, bytes, inner: Inner::File(file), writable });
            }
            _ if count > LAYERS_MAX => return Err(SourceError::TooDeep { disk, layers: count }),
            _ => {}
        }
        let mut below = None;
        for (layer, Layer { file, format }) in layers.into_iter().enumerate().rev() {
            if format == LayerFormat::Qcow2 {
                let judged = header::judge(&file).map_err(|source| SourceError::Open {
                    disk: disk.clone(),
                    layer,
                    source,
                })?;
                judged.map_err(|fault| SourceError::Header { disk: disk.clone(), layer, fault })?;
            }
            let opened = open_layer(file, format, below.take(), writable && layer == 0);
            let access = opened.map_err(|source| SourceError::Open { disk: disk.clone(), layer, source })?;
            below = Some(access);
        }
        match below {
            Some(access) => {
                Ok(Disk { name: disk, bytes: access.size(), inner: Inner::Chain(access), writable })
            }
            None => Err(SourceError::Empty { disk }),
        }
    }
}

fn open_layer(
    file: File,
    format: LayerFormat,
    below: Option<FormatAccess<Storage>>,
    writable: bool,
) -> io::Result<FormatAccess<Storage>> {
    let storage = Storage::from_open_file(file, StorageOpenOptions::new().write(writable))?;
    let gate = DenyImplicitOpenGate::default();
    Ok(match format {
        // What lies under a raw layer is covered whole.
        LayerFormat::Raw => FormatAccess::new(Raw::<Storage>::builder(storage).write(writable).open(gate)?),
        LayerFormat::Qcow2 => FormatAccess::new(
            Qcow2::<Storage>::builder(storage).write(writable).backing(below).data_file(None).open(gate)?,
        ),
    })
}

/// A file's or a block device's.
fn length(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

impl Disk {
    /// What the guest's document calls it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Whether `length` bytes from `offset` on are there.
pub(crate) fn is_inside(offset: u64, length: usize, bytes: u64) -> io::Result<()> {
    match offset.checked_add(length as u64) {
        Some(end) if end <= bytes => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{length} bytes at {offset} reach beyond the end at {bytes}"),
        )),
    }
}

impl Blocks for Disk {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        is_inside(offset, into.len(), self.bytes)?;
        match &self.inner {
            Inner::File(file) => file.read_exact_at(into, offset),
            Inner::Chain(access) => access.read(into, offset),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        is_inside(offset, bytes.len(), self.bytes)?;
        match &self.inner {
            Inner::File(file) => file.write_all_at(bytes, offset),
            Inner::Chain(access) => access.write(bytes, offset),
        }
    }

    fn flush(&self) -> io::Result<()> {
        match &self.inner {
            _ if !self.writable => Ok(()),
            Inner::File(file) => file.sync_data(),
            Inner::Chain(access) => access.flush().and_then(|()| access.sync()),
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({}, {} bytes)", self.name, self.bytes)
    }
}

#[cfg(test)]
mod tests;
