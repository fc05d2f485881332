//! Files that a block job of a running guest changes: the layer that is committed into, the target of a copy.
//!
//! ```text
//!  open_backing ──▶ the job writes ──▶ restack: the domain has what its disk stands on now, and nothing else of before
//!  take_copy ─────▶ the job fills ───▶ restack, or give_back_paths if the copy is not taken
//! ```
//!
//! A file is opened for writing only if nobody but the one disk needs its bytes, by the one question that all acts ask
//! ([`Storage::who_needs`]). One thing does not count here: an overlay that nobody has and that is older than the file's
//! last change was left behind by an earlier commit, and its bytes are none any more.

use std::{
    collections::HashSet,
    fs, io,
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
    graph::need::Need,
    limits,
    lock::{self, Intent},
    temp::TempFile,
    unlock::{Seal, Sealed},
    volume::{create, whole_sectors, write_qcow2},
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
    /// Which of its files are encrypted, it first.
    pub locked: Vec<bool>,
    /// How a new one is encrypted.
    pub seal: Option<Seal>,
}

impl Storage {
    /// Opens a file below a disk of `domain`'s for writing. `overlays`: the disk's own files above it.
    pub async fn open_backing(
        &self,
        domain: DomainId,
        path: &Path,
        overlays: &[PathBuf],
    ) -> Result<OwnedFd, StorageError> {
        let needs = self.who_else_names(path, domain, overlays).await?;
        let owned = path.to_owned();
        let look = move || {
            let written = fs::metadata(&owned).and_then(|metadata| metadata.modified()).ok();
            let mut left_behind = Vec::new();
            for need in needs {
                match need {
                    Need::Backing { path } if is_older(&path, written) => left_behind.push(path),
                    need => return Err(StorageError::Needed { path: owned, need }),
                }
            }
            Ok(left_behind)
        };
        for overlay in self.blocking(path, limits::SCAN, look).await? {
            if self.is_somebodys(&overlay, domain, overlays).await? {
                let need = Need::Backing { path: overlay };
                return Err(StorageError::Needed { path: path.to_owned(), need });
            }
        }
        let owned = path.to_owned();
        let look = move || {
            let disk = DiskFile::open(&owned, Access::Write)?;
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

    /// Whether anybody but `domain` has the overlay, or one that stands on it. The time of a file's last change alone
    /// tells nothing: a check that repairs, another name in its header, or a copy put back change that, too.
    async fn is_somebodys(
        &self,
        overlay: &Path,
        domain: DomainId,
        going: &[PathBuf],
    ) -> Result<bool, StorageError> {
        let (mut open, mut seen) = (vec![overlay.to_owned()], HashSet::new());
        while let Some(at) = open.pop() {
            for need in self.who_else_needs(&at, domain, going).await? {
                match need {
                    Need::Backing { path } if seen.insert(path.clone()) => open.push(path),
                    Need::Backing { .. } => {}
                    _ => return Ok(true),
                }
            }
        }
        Ok(false)
    }

    /// Deletes a file of `domain`'s that was committed, whose bytes are all below it. Fine if it is gone. Its definition
    /// is on its way to the file below, and does not count; its snapshots do.
    pub async fn delete_layer(&self, domain: DomainId, path: &Path) -> Result<(), StorageError> {
        let needs = self.who_needs(path).await?;
        let counts = |need: &Need| !matches!(need, Need::Defined { id, .. } if *id == domain);
        if let Some(need) = needs.into_iter().find(counts) {
            return Err(StorageError::NeededBy { path: path.to_owned(), need });
        }
        let owned = path.to_owned();
        let delete = move || match remove_durable(&owned) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::Delete { path: owned, source })
            }
            _ => Ok(()),
        };
        self.blocking(path, limits::CHANGE, delete).await
    }

    /// Makes the target of a copy, unless it is there, and takes it for `domain`. The files of it, the top one first.
    /// Refused if anybody needs what is there, `domain` itself too.
    pub async fn take_copy(
        &self,
        domain: DomainId,
        name: &str,
        copy: &CopyTarget,
    ) -> Result<Vec<ClaimedFile>, StorageError> {
        if let Some(need) = self.graph(std::slice::from_ref(&copy.path)).await?.needs(&copy.path).pop() {
            return Err(StorageError::NeededBy { path: copy.path.clone(), need });
        }
        let made = copy.clone();
        let made = self.blocking(&copy.path, limits::CHANGE, move || make(&made)).await?;
        let is_ours = !matches!(made, Made::WasThere);
        if let (Made::ToSeal(temp), Some(seal)) = (made, &copy.seal) {
            let backing = copy.backing.as_ref().map(|(path, format)| (path.as_path(), *format));
            let (size, format) = (whole_sectors(copy.size)?, copy.format);
            self.make_sealed(Sealed { path: &copy.path, format, size, backing, seal }, temp).await?;
        }
        let disk = DiskUse {
            target: String::new(),
            path: Some(copy.path.clone()),
            format: copy.format,
            read_only: false,
            shareable: false,
            optional: false,
            backing: copy.backing.iter().map(|(path, _)| path).chain(&copy.layers).cloned().collect(),
            served_after: None,
            locked: copy.locked.clone(),
        };
        let taken = self.claim_more(domain, name, std::slice::from_ref(&disk)).await;
        if taken.is_err() && is_ours {
            // It was made a moment ago and nobody has it. What was there, a device's node above all, is not ours to remove.
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

/// What [`make`] did.
enum Made {
    /// Nothing: it is not ours.
    WasThere,
    /// The file.
    File,
    /// An empty file for one that is to be encrypted.
    ToSeal(TempFile),
}

/// Makes it, unless it is there.
fn make(copy: &CopyTarget) -> Result<Made, StorageError> {
    let there = fs::metadata(&copy.path);
    let is_empty = there.as_ref().is_ok_and(|there| there.is_file() && there.len() == 0);
    if copy.reuse || (there.is_ok() && !is_empty) {
        return Ok(Made::WasThere);
    }
    let size = whole_sectors(copy.size)?;
    if is_empty {
        // Made by whoever asks, to be filled.
        fs::remove_file(&copy.path)
            .map_err(|source| StorageError::Create { path: copy.path.clone(), source })?;
    }
    if copy.seal.is_some() {
        let temp = TempFile::create(copy.path.parent().unwrap_or(Path::new("/")));
        return temp
            .map(Made::ToSeal)
            .map_err(|source| StorageError::Create { path: copy.path.clone(), source });
    }
    create(&copy.path, |temp| match copy.format {
        Format::Raw => temp.file().set_len(size.0),
        Format::Qcow2 => {
            let backing = copy.backing.as_ref().map(|(path, format)| (path.as_path(), *format));
            write_qcow2(temp, size, backing)
        }
    })?;
    Ok(Made::File)
}

/// Whether the overlay was made before its base was written last: it shows nothing of use since.
fn is_older(overlay: &Path, written: Option<SystemTime>) -> bool {
    let metadata = fs::metadata(overlay);
    let made = metadata.and_then(|metadata| metadata.created().or_else(|_| metadata.modified()));
    matches!((made, written), (Ok(made), Some(written)) if made < written)
}
