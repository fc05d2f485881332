//! The directories that named files lie in, watched: which of them the kernel tells of, and what it tells.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use lodge_sys::fs::{DirChange, DirWatch, WatchId};

use crate::limits;

/// Which directory it is: device and inode.
pub(super) type DirId = (u64, u64);

/// File systems whose changes all come from this host, by `statfs`(2): ext2 to ext4, XFS, btrfs, tmpfs, F2FS, bcachefs, ZFS.
const LOCAL: [u32; 7] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010, 0xCA45_1A4E, 0x2FC1_2FC1];

/// The directories.
#[derive(Debug, Default)]
pub(super) struct Dirs {
    kernel: Kernel,
    by_path: HashMap<PathBuf, (DirId, Told)>,
    /// One directory may have several names.
    by_watch: HashMap<WatchId, Vec<PathBuf>>,
}

/// Who tells of changes in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    By(WatchId),
    ByNobody,
}

#[derive(Debug, Default)]
enum Kernel {
    #[default]
    NotAsked,
    Watching(DirWatch),
    Refuses,
}

impl Dirs {
    /// What is known of the directory at that path, if it is still this one.
    pub fn known(&mut self, dir: &Path, id: DirId) -> Option<Told> {
        match self.by_path.get(dir) {
            Some((known, told)) if *known == id => Some(*told),
            Some(_) => {
                self.forget_path(dir);
                None
            }
            None => None,
        }
    }

    /// Watches it from now on, if the kernel lets us.
    pub fn add(&mut self, dir: &Path, id: DirId) -> Option<WatchId> {
        if self.by_watch.len() >= limits::WATCHES {
            return None;
        }
        if matches!(self.kernel, Kernel::NotAsked) {
            self.kernel = DirWatch::open().map_or_else(
                |error| {
                    tracing::warn!(%error, "directories are not watched: a start looks at all that guests name");
                    Kernel::Refuses
                },
                Kernel::Watching,
            );
        }
        let Kernel::Watching(kernel) = &self.kernel else { return None };
        let watch = match kernel.add(dir) {
            Ok(watch) => watch,
            Err(error) => {
                tracing::debug!(path = %dir.display(), %error, "directory not watched");
                return None;
            }
        };
        self.by_path.insert(dir.to_owned(), (id, Told::By(watch)));
        let names = self.by_watch.entry(watch).or_default();
        if !names.iter().any(|name| name == dir) {
            names.push(dir.to_owned());
        }
        Some(watch)
    }

    /// Notes that nobody would tell of its changes.
    pub fn give_up(&mut self, dir: &Path, id: DirId) {
        self.by_path.insert(dir.to_owned(), (id, Told::ByNobody));
    }

    /// The directory's names.
    pub fn of(&self, watch: WatchId) -> Vec<PathBuf> {
        self.by_watch.get(&watch).cloned().unwrap_or_default()
    }

    /// What was told since.
    pub fn changes(&mut self) -> Vec<DirChange> {
        let Kernel::Watching(kernel) = &self.kernel else { return Vec::new() };
        kernel.changes().unwrap_or_else(|error| {
            tracing::warn!(%error, "what changed in directories was not told");
            vec![DirChange::Lost]
        })
    }

    /// It is not to be watched any more.
    pub fn forget(&mut self, watch: WatchId) {
        for name in self.by_watch.remove(&watch).unwrap_or_default() {
            self.by_path.remove(&name);
        }
        if let Kernel::Watching(kernel) = &self.kernel {
            kernel.remove(watch);
        }
    }

    fn forget_path(&mut self, dir: &Path) {
        let Some((_, Told::By(watch))) = self.by_path.remove(dir) else { return };
        if let Some(names) = self.by_watch.get_mut(&watch) {
            names.retain(|name| name != dir);
            if names.is_empty() {
                self.forget(watch);
            }
        }
    }

    /// Forgets all others.
    pub fn keep_only(&mut self, dirs: &HashSet<&Path>) {
        let gone: Vec<_> = self.by_path.keys().filter(|dir| !dirs.contains(dir.as_path())).cloned().collect();
        for dir in gone {
            self.forget_path(&dir);
        }
    }
}

/// Which directory lies there now.
pub(super) fn id_of_dir(dir: &Path) -> Option<DirId> {
    let metadata = fs::metadata(dir).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Whether the kernel tells of whatever changes in it.
pub(super) fn is_told_of(dir: &Path) -> bool {
    let magic =
        |stats: rustix::fs::StatFs| u32::try_from(stats.f_type).is_ok_and(|kind| LOCAL.contains(&kind));
    rustix::fs::statfs(dir).is_ok_and(magic)
}
