//! Files that a block job of a running guest changes: the layer that is committed into, the target of a copy.
//!
//! ```text
//!  open_backing ──▶ the job writes ──▶ restack: the domain has what its disk stands on now, and nothing else of before
//!  take_copy ─────▶ the job fills ───▶ restack, or give_back_paths if the copy is not taken
//! ```
//!
//! A file is opened for writing only if nobody but the one disk needs its bytes: no image, no disk of another domain,
//! no overlay that was made since it was written last. An overlay that is older was left behind by an earlier commit,
//! and its bytes are none any more.

use std::{
    collections::HashSet,
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::SystemTime,
};

use lodge_model::{Bytes, DomainId};
use lodge_sys::fs::remove_durable;

use crate::{
    Storage,
    claim::{ClaimedFile, wanted},
    disk_use::DiskUse,
    error::StorageError,
    file::{Access, DiskFile},
    format::Format,
    image::{backing_users, real},
    limits,
    lock::{self, Intent},
    volume::{create, look, whole_sectors, write_qcow2},
};

/// Where a disk is copied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyTarget {
    /// The file or block device.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// What the guest sees of it.
    pub size: Bytes,
    /// What a new file stands on.
    pub backing: Option<(PathBuf, Format)>,
    /// Files that headers may name wherever they lie: the guest has them.
    pub layers: Vec<PathBuf>,
    /// It is there, with what it is to stand on.
    pub reuse: bool,
}

impl Storage {
    /// Opens a file below a disk of `domain`'s for writing. `overlays`: the disk's own files above it. `others`: the
    /// disks of other domains' definitions, each with the domain's name.
    pub async fn open_backing(
        &self,
        domain: DomainId,
        path: &Path,
        overlays: &[PathBuf],
        others: &[(String, PathBuf)],
    ) -> Result<OwnedFd, StorageError> {
        let images: Vec<_> = self.images().await?.into_iter().map(|image| (image.name, image.path)).collect();
        let (owned, dirs) = (path.to_owned(), self.pool_dirs());
        let (overlays, others) = (overlays.to_vec(), others.to_vec());
        let look = move || {
            let disk = DiskFile::open(&owned, Access::Write)?;
            let is_it =
                |path: &Path| DiskFile::open(path, Access::Read).is_ok_and(|other| other.id == disk.id);
            if let Some((image, _)) = images.into_iter().find(|(_, path)| is_it(path)) {
                return Err(StorageError::WritesImage { path: owned, image });
            }
            refuse_needed(&owned, dirs, &overlays, &others)?;
            // The guest's own QEMU has the file, keeps other writers out of it, and may still hold the lock of a job that
            // was ended: what is left to ask is whether somebody may not see it change.
            let foreign = lock::foreign(&disk, Intent { writes: false, shares_writing: true });
            let foreign = foreign.map_err(|source| StorageError::Open { path: owned.clone(), source })?;
            match foreign {
                Some(foreign) => Err(StorageError::Locked { path: owned, pid: foreign.pid }),
                None => Ok(disk),
            }
        };
        let disk = self.blocking(path, limits::SCAN, look).await?;
        self.claims().write_backing(domain, disk.id, path)?;
        Ok(disk.into_fd())
    }

    /// Deletes a file that was committed, whose bytes are all below it. Fine if it is gone.
    pub async fn delete_layer(&self, path: &Path, others: &[(String, PathBuf)]) -> Result<(), StorageError> {
        let images: Vec<_> =
            self.images().await?.into_iter().map(|image| (image.name, real(&image.path))).collect();
        if !path.exists() {
            return Ok(());
        }
        if let Some(holder) = self.holder(path).await? {
            let how = "it has the file open";
            return Err(StorageError::InUse { path: path.to_owned(), holder, how });
        }
        let (owned, dirs, others) = (path.to_owned(), self.pool_dirs(), others.to_vec());
        let delete = move || {
            if let Some((image, _)) = images.into_iter().find(|(_, path)| *path == real(&owned)) {
                return Err(StorageError::WritesImage { path: owned, image });
            }
            refuse_needed(&owned, dirs, &[], &others)?;
            match remove_durable(&owned) {
                Ok(_) => Ok(()),
                Err(source) => Err(StorageError::Delete { path: owned, source }),
            }
        };
        self.blocking(path, limits::SCAN, delete).await
    }

    /// Makes the target of a copy, unless it is there, and takes it for `domain`. The files of it, the top one first.
    pub async fn take_copy(
        &self,
        domain: DomainId,
        name: &str,
        copy: &CopyTarget,
        others: &[(String, PathBuf)],
    ) -> Result<Vec<ClaimedFile>, StorageError> {
        let path = copy.path.clone();
        if let Some((holder, _)) = others.iter().find(|(_, theirs)| real(theirs) == real(&path)) {
            let how = "it is a disk of it";
            return Err(StorageError::InUse { path, holder: holder.clone(), how });
        }
        let made = copy.clone();
        self.blocking(&copy.path, limits::CHANGE, move || make(&made)).await?;
        let disk = DiskUse {
            target: String::new(),
            path: Some(copy.path.clone()),
            format: copy.format,
            read_only: false,
            shareable: false,
            optional: false,
            backing: copy.backing.iter().map(|(path, _)| path).chain(&copy.layers).cloned().collect(),
        };
        let taken = self.claim_more(domain, name, std::slice::from_ref(&disk)).await;
        if taken.is_err() && !copy.reuse {
            // It was made a moment ago and nobody has it.
            let _ = fs::remove_file(&copy.path);
        }
        Ok(taken?.into_iter().next().map(|disk| disk.chain).unwrap_or_default())
    }

    /// A disk of `domain` stood on `before` and is `disk` now: what it has follows.
    pub async fn restack(
        &self,
        domain: DomainId,
        name: &str,
        before: &[PathBuf],
        disk: &DiskUse,
    ) -> Result<(), StorageError> {
        // QEMU has the files open and locked: only whose they are is looked at.
        let now = self.examine(std::slice::from_ref(disk)).await.map(|examined| wanted(&examined));
        let mut claims = self.claims();
        claims.give_back_paths(domain, before);
        claims.claim_more(domain, name, &now?)
    }

    /// Gives back what `domain` has of these files, one hold each.
    pub fn give_back_paths(&self, domain: DomainId, paths: &[PathBuf]) {
        self.claims().give_back_paths(domain, paths);
    }
}

fn make(copy: &CopyTarget) -> Result<(), StorageError> {
    let there = fs::metadata(&copy.path);
    let is_empty = there.as_ref().is_ok_and(|there| there.is_file() && there.len() == 0);
    if copy.reuse || (there.is_ok() && !is_empty) {
        return Ok(());
    }
    let size = whole_sectors(copy.size)?;
    if is_empty {
        // Made by whoever asks, to be filled.
        fs::remove_file(&copy.path)
            .map_err(|source| StorageError::Create { path: copy.path.clone(), source })?;
    }
    create(&copy.path, |temp| match copy.format {
        Format::Raw => temp.file().set_len(size.0),
        Format::Qcow2 => {
            let backing = copy.backing.as_ref().map(|(path, format)| (path.as_path(), *format));
            write_qcow2(temp, size, backing)
        }
    })
}

/// Refuses a file that something else stands on.
fn refuse_needed(
    path: &Path,
    mut dirs: Vec<PathBuf>,
    overlays: &[PathBuf],
    others: &[(String, PathBuf)],
) -> Result<(), StorageError> {
    let kept = |why: String| StorageError::Needed { path: path.to_owned(), why };
    let base = real(path);
    let own: HashSet<PathBuf> = overlays.iter().map(|path| real(path)).collect();
    for (name, theirs) in others {
        let stands_on = || look(theirs, Format::Qcow2).ok()?.backing.map(|backing| real(&backing));
        if real(theirs) == base || (!own.contains(&real(theirs)) && stands_on().as_ref() == Some(&base)) {
            return Err(kept(format!("domain `{name}` needs it")));
        }
    }
    dirs.extend(base.parent().map(Path::to_owned));
    let written = fs::metadata(&base).and_then(|metadata| metadata.modified()).ok();
    for (overlay, _) in backing_users(&dirs, &HashSet::from([base]))? {
        if !own.contains(&real(&overlay)) && !is_older(&overlay, written) {
            return Err(kept(format!("`{}` stands on it", overlay.display())));
        }
    }
    Ok(())
}

/// Whether the overlay was made before its base was written last: it shows nothing of use since.
fn is_older(overlay: &Path, written: Option<SystemTime>) -> bool {
    let metadata = fs::metadata(overlay);
    let made = metadata.and_then(|metadata| metadata.created().or_else(|_| metadata.modified()));
    matches!((made, written), (Ok(made), Some(written)) if made < written)
}
