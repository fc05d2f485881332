//! Where a disk's bytes are: data, zeros, holes, and in which file of the chain.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use imago::{FormatAccess, ShallowMapping, file::File as ImageFile};
use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};

use super::{
    foreign,
    hold::Purpose,
    kind::ImageFormat,
    source::{Open, Source},
};
use crate::{Storage, error::StorageError, format::Format, limits};

/// A range of a disk that is of one kind throughout. The fields are `qemu-img map --output=json`'s.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Extent {
    /// Where it begins, as a guest sees it.
    pub start: u64,
    /// Its bytes.
    pub length: u64,
    /// Which file has it: 0 is the top one.
    pub depth: u32,
    /// That file says something of it, and it is not a gap nobody filled.
    pub present: bool,
    /// It reads as zeros.
    pub zero: bool,
    /// There are bytes of it.
    pub data: bool,
    /// They are compressed.
    #[serde(default)]
    pub compressed: bool,
    /// Where they lie in the file; none: compressed, or no bytes.
    #[serde(default)]
    pub offset: Option<u64>,
}

/// A disk's map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Its files, the top one first.
    pub files: Vec<PathBuf>,
    /// Its ranges, in order and without gaps.
    pub extents: Vec<Extent>,
}

impl Storage {
    /// Maps an image of a known format, through all it stands on. Refused while anybody writes to any of it: a map of
    /// tables that move is a map of nothing.
    pub async fn map_image(&self, path: &Path, format: ImageFormat) -> Result<Map, StorageError> {
        let _held = self.hold_image(path, format, Purpose::Read, "image map").await?;
        let (owned, gate) = (path.to_owned(), self.gate());
        if let Some(format) = format.of_disks() {
            let map = self.blocking(path, limits::SCAN, move || {
                Source::open(&owned, format, &gate)?.map(|source| extents(&source)).transpose()
            });
            if let Some(map) = map.await? {
                return Ok(map);
            }
        }
        foreign::map(self, path, format).await
    }
}

/// All of a source's ranges.
fn extents(source: &Source) -> Result<Map, StorageError> {
    let failed = |error| StorageError::Act { act: "map", path: source.links[0].path.clone(), source: error };
    let mut extents: Vec<Extent> = Vec::new();
    let mut at = 0;
    while at < source.virtual_bytes {
        let extent = next(source, at).map_err(failed)?;
        at += extent.length;
        push(&mut extents, extent);
        if extents.len() > limits::EXTENTS {
            let path = source.links[0].path.clone();
            return Err(StorageError::UnsupportedImage { path, what: "has more than a million ranges" });
        }
    }
    Ok(Map { files: source.links.iter().map(|link| link.path.clone()).collect(), extents })
}

/// The range that begins at `at`, which is inside the disk.
pub(crate) fn next(source: &Source, at: u64) -> std::io::Result<Extent> {
    let most = source.virtual_bytes - at;
    walk(&source.access, &source.links, at, most)
}

fn walk(access: &FormatAccess<ImageFile>, links: &[Open], at: u64, most: u64) -> std::io::Result<Extent> {
    let (mut layer, mut inner, mut length) = (access, at, most);
    for (depth, link) in links.iter().enumerate() {
        let depth = u32::try_from(depth).unwrap_or(u32::MAX);
        let extent = |length: u64| Extent {
            start: at,
            length,
            depth,
            present: true,
            zero: false,
            data: false,
            compressed: false,
            offset: None,
        };
        // Behind the end of a file that something longer stands on there are zeros: the longer one's, though it does
        // not say so.
        if inner >= link.virtual_bytes {
            return Ok(Extent {
                depth: depth.saturating_sub(1),
                present: false,
                zero: true,
                ..extent(length)
            });
        }
        length = length.min(link.virtual_bytes - inner);
        if link.format == Format::Raw {
            let (length, is_data) = raw_run(&link.file, inner, length)?;
            return Ok(Extent { zero: !is_data, data: is_data, offset: Some(inner), ..extent(length) });
        }
        let (mapping, mapped) = layer.get_shallow_mapping(inner, length)?;
        if mapped == 0 {
            return Err(std::io::Error::other("its tables say nothing of a range"));
        }
        length = mapped;
        match mapping {
            ShallowMapping::Raw { offset, .. } => {
                return Ok(Extent { data: true, offset: Some(offset), ..extent(length) });
            }
            ShallowMapping::Special { .. } => {
                return Ok(Extent { data: true, compressed: true, ..extent(length) });
            }
            ShallowMapping::Zero { explicit, .. } => {
                return Ok(Extent { present: explicit, zero: true, ..extent(length) });
            }
            ShallowMapping::Indirect { layer: next, offset, .. } => (layer, inner) = (next, offset),
            _ => return Ok(Extent { zero: true, ..extent(length) }),
        }
    }
    Err(std::io::Error::other("its tables lead below its last file"))
}

/// How far a raw file goes on as it is at `at`, and whether that is data.
fn raw_run(file: &File, at: u64, most: u64) -> std::io::Result<(u64, bool)> {
    let data = match seek(file, SeekFrom::Data(at)) {
        Ok(data) => data,
        Err(Errno::NXIO) => return Ok((most, false)),
        // A device knows no holes.
        Err(Errno::INVAL) => return Ok((most, true)),
        Err(error) => return Err(error.into()),
    };
    if data > at {
        return Ok(((data - at).min(most), false));
    }
    match seek(file, SeekFrom::Hole(at)) {
        Ok(hole) if hole > at => Ok(((hole - at).min(most), true)),
        // It changed in between, or is a device.
        Ok(_) | Err(Errno::NXIO | Errno::INVAL) => Ok((most, true)),
        Err(error) => Err(error.into()),
    }
}

/// Adds a range, as part of the one before if it goes on there.
fn push(extents: &mut Vec<Extent>, extent: Extent) {
    if let Some(last) = extents.last_mut() {
        let is_alike = (last.depth, last.present, last.zero, last.data, last.compressed)
            == (extent.depth, extent.present, extent.zero, extent.data, extent.compressed);
        let goes_on = match (last.offset, extent.offset) {
            (None, None) => true,
            (Some(one), Some(other)) => one + last.length == other,
            _ => false,
        };
        if is_alike && goes_on {
            last.length += extent.length;
            return;
        }
    }
    extents.push(extent);
}
