//! How much room there is where disks lie.
//!
//! Asked every few seconds while it matters, so a place that does not answer may cost one thread, not one per question:
//! while a look is on its way nobody else sets out for the same place.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    Storage,
    error::StorageError,
    file::{Access, DiskFile},
    limits,
};

/// The room of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes of all of it that guests can use.
    pub capacity: u64,
    /// Bytes of these that are free; none of a block device, which knows its size only.
    pub available: Option<u64>,
}

/// Places that are being looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Looks(Arc<Mutex<HashSet<PathBuf>>>);

/// A look on its way; it is over when this is dropped.
struct Look {
    looks: Looks,
    place: PathBuf,
}

impl Looks {
    /// None: somebody is there.
    fn begin(&self, place: &Path) -> Option<Look> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.insert(place.to_owned()).then(|| Look { looks: self.clone(), place: place.to_owned() })
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.looks.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
    }
}

impl Storage {
    /// The room of a file system, named by any path on it, or of a block device. None: another look at it is on its
    /// way, and nobody knows yet.
    pub async fn space(&self, place: &Path) -> Result<Option<Space>, StorageError> {
        let Some(look) = self.space_looks().begin(place) else { return Ok(None) };
        self.blocking(place, limits::LOOK, move || space(&look.place).map(Some)).await
    }

    /// Where the bytes of these files are, each place once: a directory, or a block device. Links are followed.
    pub async fn places_of(&self, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, StorageError> {
        let first = files.first().cloned().unwrap_or_default();
        self.blocking(&first, limits::LOOK, move || {
            let mut places: Vec<PathBuf> = files.iter().map(|file| place(file)).collect::<Result<_, _>>()?;
            places.sort();
            places.dedup();
            Ok(places)
        })
        .await
    }
}

fn place(file: &Path) -> Result<PathBuf, StorageError> {
    let failed = |source: io::Error| StorageError::Open { path: file.to_owned(), source };
    let real = file.canonicalize().map_err(failed)?;
    let is_device = fs::metadata(&real).map_err(failed)?.file_type().is_block_device();
    let place = if is_device { None } else { real.parent() };
    Ok(place.map_or_else(|| real.clone(), Path::to_owned))
}

fn space(place: &Path) -> Result<Space, StorageError> {
    let failed = |source: io::Error| StorageError::Open { path: place.to_owned(), source };
    if fs::metadata(place).map_err(failed)?.file_type().is_block_device() {
        let capacity = DiskFile::open(place, Access::Read)?.length()?;
        return Ok(Space { capacity, available: None });
    }
    let stat = rustix::fs::statvfs(place).map_err(|error| failed(error.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    // As df counts: what only root may fill is no room for a guest, whose QEMU is not root.
    let (available, used) = (bytes(stat.f_bavail), bytes(stat.f_blocks.saturating_sub(stat.f_bfree)));
    Ok(Space { capacity: used.saturating_add(available), available: Some(available) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_looked_at_by_one_at_a_time() {
        let looks = Looks::default();
        let look = looks.begin(Path::new("/a"));
        assert!(look.is_some() && looks.begin(Path::new("/a")).is_none());
        assert!(looks.begin(Path::new("/b")).is_some());
        drop(look);
        assert!(looks.begin(Path::new("/a")).is_some());
    }

    #[test]
    fn a_file_lies_where_its_link_leads() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        fs::create_dir(real.join("there")).unwrap();
        fs::write(real.join("there/disk"), "x").unwrap();
        std::os::unix::fs::symlink("there/disk", real.join("disk")).unwrap();
        assert_eq!(place(&real.join("disk")).unwrap(), real.join("there"));
        let seen = space(&real).unwrap();
        assert!(seen.available.is_some_and(|available| available <= seen.capacity), "{seen:?}");
        assert!(space(&real.join("none")).unwrap_err().to_string().contains("none"));
    }
}
