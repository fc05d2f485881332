//! Taking disks for a guest: each file checked, opened in order, and nobody else's.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use lodge_model::{Bytes, DomainId};

use crate::{
    Storage,
    chain::{Gate, Keys, OpenLink, open_chain},
    claims::{Use, Wanted},
    disk_use::DiskUse,
    error::StorageError,
    file::{Access, DiskFile, FileId},
    format::Format,
    image::real,
    limits,
    lock::{self, Intent},
};

/// One file of a claimed disk, open.
#[derive(Debug)]
pub struct ClaimedFile {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// The descriptor for QEMU. QEMU's image locks live on it: keep no copy once QEMU has it, or
    /// the locks outlive QEMU.
    pub fd: OwnedFd,
    /// Opened for reading only.
    pub read_only: bool,
    /// The disk's size as the guest sees it at this depth.
    pub virtual_size: Bytes,
}

/// A disk that is a domain's until [`Storage::release`].
#[derive(Debug)]
pub struct ClaimedDisk {
    /// The disk's target, as `vda`.
    pub target: String,
    /// Its files, the guest's own first, the deepest backing file last. Empty: an empty drive, or
    /// what is no local file.
    pub chain: Vec<ClaimedFile>,
}

/// A disk's files, looked at but not claimed.
pub(crate) struct Examined {
    target: String,
    usage: Use,
    links: Vec<OpenLink>,
}

impl Examined {
    /// The file that the guest is to write, if it writes to one.
    pub(crate) fn written(&self) -> Option<(FileId, PathBuf)> {
        let top = self.links.first().filter(|_| self.usage != Use::Read)?;
        Some((top.disk.id, top.disk.path.clone()))
    }
}

impl Storage {
    /// Opens all of a domain's disks and takes them for it. All or nothing; may be repeated.
    pub async fn claim(
        &self,
        domain: DomainId,
        name: &str,
        disks: &[DiskUse],
    ) -> Result<Vec<ClaimedDisk>, StorageError> {
        let examined = self.examine(disks).await?;
        self.refuse_writing_images(&examined).await?;
        self.claims().claim(domain, name, &wanted(&examined))?;
        // Claimed first and asked after, so that two claims cannot both find the file free.
        match self.look_for_others(domain, name, examined).await {
            Ok(examined) => Ok(examined.into_iter().map(claimed).collect()),
            Err(error) => {
                self.release(domain);
                Err(error)
            }
        }
    }

    /// A guest of an earlier daemon runs on: its disks are its. Files that are gone or broken are
    /// left out, the guest has them open all the same.
    pub async fn adopt(&self, domain: DomainId, name: &str, disks: &[DiskUse]) -> Result<(), StorageError> {
        let mut all = Vec::new();
        for disk in disks {
            match self.examine(std::slice::from_ref(disk)).await {
                Ok(examined) => all.extend(wanted(&examined)),
                Err(error) => tracing::warn!(domain = %name, disk = %disk.target, %error, "disk not adopted"),
            }
        }
        self.claims().claim(domain, name, &all)
    }

    /// Gives back all that a domain has. Not having anything is fine.
    pub fn release(&self, domain: DomainId) {
        self.claims().release(domain);
    }

    /// The name of a domain that uses the file at `path`, if one does.
    pub async fn holder(&self, path: &Path) -> Result<Option<String>, StorageError> {
        let owned = path.to_owned();
        let id =
            self.blocking(path, limits::LOOK, move || Ok(DiskFile::open(&owned, Access::Read)?.id)).await?;
        Ok(self.claims().holder(id).map(str::to_owned))
    }

    pub(crate) async fn examine(&self, disks: &[DiskUse]) -> Result<Vec<Examined>, StorageError> {
        let gate = self.gate();
        let mut examined = Vec::new();
        // One at a time: the deadline is each disk's own, and names the one that is silent.
        for disk in disks {
            let (disk, gate) = (disk.clone(), gate.clone());
            let path = disk.path.clone().unwrap_or_default();
            let look = move || examine(disk, gate);
            examined.push(self.blocking(&path, limits::LOOK, look).await?);
        }
        Ok(examined)
    }

    pub(crate) async fn refuse_writing_images(&self, examined: &[Examined]) -> Result<(), StorageError> {
        let tops = examined.iter().filter(|disk| disk.usage != Use::Read && !disk.links.is_empty());
        let tops: Vec<_> = tops.map(|disk| &disk.links[0].disk).collect();
        if tops.is_empty() {
            return Ok(());
        }
        let templates = self.templates().await?;
        if !templates.is_empty() {
            let paths: Vec<_> = tops.iter().map(|disk| disk.path.clone()).collect();
            let is_template = move || Ok(paths.into_iter().find(|path| templates.contains(&real(path))));
            if let Some(path) = self.blocking(&tops[0].path, limits::LOOK, is_template).await? {
                return Err(StorageError::WritesTemplate { path });
            }
        }
        for image in self.images().await? {
            let path = image.path.clone();
            // An image whose file is gone is nobody's disk.
            let id =
                self.blocking(&image.path, limits::LOOK, move || Ok(DiskFile::open(&path, Access::Read)?.id));
            let Ok(id) = id.await else { continue };
            if let Some(disk) = tops.iter().find(|disk| disk.id == id) {
                return Err(StorageError::WritesImage { path: disk.path.clone(), image: image.name });
            }
        }
        Ok(())
    }

    /// Whether anybody needs what is to be written as it is, or has it locked.
    pub(crate) async fn look_for_others(
        &self,
        domain: DomainId,
        name: &str,
        examined: Vec<Examined>,
    ) -> Result<Vec<Examined>, StorageError> {
        self.refuse_stood_on(domain, name, &examined).await?;
        self.look_for_locks(examined).await
    }

    pub(crate) async fn look_for_locks(
        &self,
        examined: Vec<Examined>,
    ) -> Result<Vec<Examined>, StorageError> {
        let first = examined.iter().flat_map(|disk| &disk.links).next();
        let path = first.map(|link| link.disk.path.clone()).unwrap_or_default();
        self.blocking(&path, limits::LOOK, move || {
            for disk in &examined {
                for (depth, link) in disk.links.iter().enumerate() {
                    check_lock(&link.disk, if depth == 0 { disk.usage } else { Use::Backing })?;
                }
            }
            Ok(examined)
        })
        .await
    }
}

fn examine(disk: DiskUse, mut gate: Gate) -> Result<Examined, StorageError> {
    let usage = disk.usage();
    let access = disk.access();
    gate.files = disk.backing;
    gate.served_after = disk.served_after;
    gate.keys = Keys::Told(disk.locked);
    let links = match &disk.path {
        None => Vec::new(),
        Some(path) => match open_chain(path, disk.format, access, &gate) {
            Err(StorageError::Missing { .. }) if disk.optional => Vec::new(),
            links => links?,
        },
    };
    Ok(Examined { target: disk.target, usage, links })
}

pub(crate) fn wanted(examined: &[Examined]) -> Vec<Wanted> {
    let of_disk = |disk: &Examined| {
        let usage = disk.usage;
        let of_link = move |(depth, link): (usize, &OpenLink)| Wanted {
            id: link.disk.id,
            path: link.disk.path.clone(),
            usage: if depth == 0 { usage } else { Use::Backing },
        };
        disk.links.iter().enumerate().map(of_link).collect::<Vec<_>>()
    };
    examined.iter().flat_map(of_disk).collect()
}

fn check_lock(disk: &DiskFile, usage: Use) -> Result<(), StorageError> {
    let intent = Intent {
        writes: matches!(usage, Use::Write | Use::WriteShared),
        shares_writing: usage == Use::WriteShared,
    };
    let found = lock::foreign(disk, intent)
        .map_err(|source| StorageError::Open { path: disk.path.clone(), source })?;
    match found {
        None => Ok(()),
        Some(foreign) => Err(StorageError::Locked { path: disk.path.clone(), pid: foreign.pid }),
    }
}

pub(crate) fn claimed(disk: Examined) -> ClaimedDisk {
    let is_read_only = disk.usage == Use::Read;
    let file = |(depth, link): (usize, OpenLink)| ClaimedFile {
        path: link.disk.path.clone(),
        format: link.format,
        virtual_size: Bytes(link.virtual_bytes),
        read_only: is_read_only || depth > 0,
        fd: link.disk.into_fd(),
    };
    ClaimedDisk { target: disk.target, chain: disk.links.into_iter().enumerate().map(file).collect() }
}
