//! What one resource needs of another, handed to it here: resources never use each other.

mod cards;
mod lend;

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use lodge_domain::{
    ChainLink, ClaimedDisk, CopyTarget, DiskStorage, ImageSnapshot, LockedFile, NewOverlay, Passphrase,
    PortError, Ports, ServedLink, SnapshotVerb, Space, Volumes,
};
use lodge_host::hostdev::Hostdevs;
use lodge_model::{
    Bytes, DomainId,
    domain::{Domain, disk::Disk},
    xml::Kept,
};
use lodge_network::Networks;
use lodge_storage::{
    DiskUse, Format, InnerSnapshot, InnerVerb, Need, Part, PoolError, Pools, Seal, SecretValue, Storage,
    StorageError,
};
use lodge_store::Store;

use self::cards::Cards;
use crate::{
    error::EngineError, host_devices::Devices, identity::starts::Watch, secret::Secrets, seed, served,
    storage_secrets::Keys,
};

/// Everything a guest's life needs.
pub(crate) fn wire(
    store: &Store,
    (storage, pools): (&Storage, &Pools),
    networks: &Networks,
    secrets: &Arc<Secrets>,
    devices: &Hostdevs,
    watch: Watch,
) -> Ports {
    let keys = Keys(Arc::clone(secrets));
    let disks = Disks { storage: storage.clone(), pools: pools.clone(), keys };
    Ports {
        volumes: Arc::new(disks),
        nics: Arc::new(Cards {
            networks: networks.clone(),
            root: store.root().clone(),
            watch,
            devices: devices.clone(),
        }),
        seeds: Arc::new(seed::SeedFiles { root: store.root().clone() }),
        devices: Arc::new(Devices(devices.clone())),
        secrets: Arc::new(Keys(Arc::clone(secrets))),
    }
}

/// The engine's error in the words of a port.
pub(crate) fn port_error(error: EngineError) -> PortError {
    PortError {
        kind: error.kind(),
        message: error.to_string(),
        hint: error.hint().map(str::to_owned),
        source: error.into_source(),
    }
}

struct Disks {
    storage: Storage,
    pools: Pools,
    keys: Keys,
}

impl Disks {
    fn uses(&self, document: &Domain) -> Result<Vec<DiskUse>, PortError> {
        DiskUse::of(document, &|pool, volume| self.pools.path_of(pool, volume)).map_err(storage_error)
    }
}

impl Disks {
    /// The passphrases of these files, by whatever name they are asked for.
    fn secret_of(
        &self,
        keys: &[LockedFile],
    ) -> impl Fn(&Path) -> Option<Result<SecretValue, PoolError>> + Send + Sync {
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (pools, keys) = (self.pools.clone(), keys.to_vec());
        move |path| {
            let wanted = real(path);
            let key = keys.iter().find(|key| real(&key.path) == wanted)?;
            Some(pools.secret_of_disk(&encryption_of(&key.encryption)))
        }
    }

    /// How a new file with this `<encryption>` is encrypted.
    fn seal(&self, encryption: Option<&str>, format: Format) -> Result<Option<Seal>, PortError> {
        let seal = encryption.map(|text| self.pools.seal(&encryption_of(text), format));
        seal.transpose().map_err(|error| port_error(error.into()))
    }
}

/// `<encryption>` out of its text. One that is none asks for nothing that is known, and is refused so.
fn encryption_of(text: &str) -> Kept {
    Kept::parse(text).unwrap_or_default()
}

impl Disks {
    /// Where a disk that is missing lies now is told, and never followed by itself.
    async fn with_place(&self, domain: DomainId, name: &str, error: StorageError) -> PortError {
        let StorageError::Missing { path } = &error else { return storage_error(error) };
        let moved = self.storage.moved_disks(domain).await.unwrap_or_default();
        let Some(moved) = moved.into_iter().find(|moved| moved.from == *path) else {
            return storage_error(error);
        };
        let hint = format!(
            "it lies at `{}` now; to take that over: lodge files {name} --relocate",
            moved.to.display()
        );
        PortError { hint: Some(hint), ..storage_error(error) }
    }
}

/// The claimed disks of `document`, in its order, as the guest's life knows them.
fn opened(
    claimed: Vec<lodge_storage::ClaimedDisk>,
    document: &Domain,
    keys: &Keys,
) -> Result<Vec<ClaimedDisk>, PortError> {
    let of = |(disk, claimed): (&Disk, lodge_storage::ClaimedDisk)| {
        let chain = claimed.chain.into_iter().map(link).collect();
        Ok(ClaimedDisk { target: claimed.target, chain, served: served::links(disk, keys)? })
    };
    document.devices.disks.iter().zip(claimed).map(of).collect()
}

fn link(file: lodge_storage::ClaimedFile) -> ChainLink {
    ChainLink {
        path: file.path,
        format: file.format.as_str().to_owned(),
        fd: file.fd,
        read_only: file.read_only,
    }
}

fn format_of(path: &Path, word: &str) -> Result<Format, PortError> {
    word.parse().map_err(|_| {
        storage_error(StorageError::UnsupportedFormat { path: path.to_owned(), format: word.to_owned() })
    })
}

fn storage_error(error: StorageError) -> PortError {
    port_error(error.into())
}

#[async_trait::async_trait]
impl Volumes for Disks {
    async fn claim(&self, domain: DomainId, document: &Domain) -> Result<Vec<ClaimedDisk>, PortError> {
        let uses = self.uses(document)?;
        match self.storage.claim(domain, &document.name, &uses).await {
            Ok(claimed) => opened(claimed, document, &self.keys),
            Err(error) => Err(self.with_place(domain, &document.name, error).await),
        }
    }

    async fn passphrases(&self, document: &Domain) -> Result<Vec<Passphrase>, PortError> {
        let of_disk = |disk: &Disk| {
            let target = disk.target.dev.clone();
            let trees = disk.encryption_trees().into_iter().enumerate();
            let locked = trees.filter_map(|(depth, encryption)| Some((depth, encryption?)));
            locked.map(move |(depth, encryption)| (target.clone(), depth, encryption)).collect::<Vec<_>>()
        };
        let passphrase = |(target, depth, encryption): (String, usize, Kept)| {
            let file = self.pools.passphrase_of_disk(&encryption);
            let file = file.map_err(|error| port_error(error.into()))?;
            Ok(Passphrase { target, depth, file })
        };
        document.devices.disks.iter().flat_map(of_disk).map(passphrase).collect()
    }

    async fn served_variables(&self, document: &Domain) -> Result<Option<ServedLink>, PortError> {
        served::variables(document, &self.keys)
    }

    async fn claim_more(&self, domain: DomainId, document: &Domain) -> Result<Vec<ClaimedDisk>, PortError> {
        let uses = self.uses(document)?;
        let claimed = self.storage.claim_more(domain, &document.name, &uses).await.map_err(storage_error)?;
        match opened(claimed, document, &self.keys) {
            Ok(opened) => Ok(opened),
            Err(error) => {
                self.storage.release_disks(domain, &uses).await;
                Err(error)
            }
        }
    }

    async fn release_some(&self, domain: DomainId, document: &Domain) -> Result<(), PortError> {
        let uses = self.uses(document)?;
        self.storage.release_disks(domain, &uses).await;
        Ok(())
    }

    async fn open_backing(
        &self,
        domain: DomainId,
        path: &Path,
        overlays: &[PathBuf],
    ) -> Result<OwnedFd, PortError> {
        self.storage.open_backing(domain, path, overlays).await.map_err(storage_error)
    }

    async fn take_copy(
        &self,
        domain: DomainId,
        name: &str,
        copy: &CopyTarget,
    ) -> Result<Vec<ChainLink>, PortError> {
        let backing = copy.backing.as_ref();
        let backing =
            backing.map(|(path, format)| Ok::<_, PortError>((path.clone(), format_of(path, format)?)));
        let format = format_of(&copy.path, &copy.format)?;
        let target = lodge_storage::CopyTarget {
            path: copy.path.clone(),
            format,
            size: Bytes(copy.size),
            backing: backing.transpose()?,
            layers: copy.layers.clone(),
            reuse: copy.reuse,
            locked: std::iter::once(copy.encryption.is_some()).chain(copy.locked_below.clone()).collect(),
            seal: self.seal(copy.encryption.as_deref().filter(|_| !copy.reuse), format)?,
        };
        let taken = self.storage.take_copy(domain, name, &target).await.map_err(storage_error)?;
        self.pools.noticed(&copy.path).await;
        Ok(taken.into_iter().map(link).collect())
    }

    async fn restack(
        &self,
        domain: DomainId,
        before: &[PathBuf],
        document: &Domain,
    ) -> Result<(), PortError> {
        for disk in self.uses(document)? {
            self.storage.restack(domain, &document.name, before, &disk).await.map_err(storage_error)?;
        }
        Ok(())
    }

    async fn delete_layer(&self, domain: DomainId, path: &Path) -> Result<(), PortError> {
        self.storage.delete_layer(domain, path).await.map_err(storage_error)?;
        self.pools.noticed(path).await;
        Ok(())
    }

    async fn give_back(&self, domain: DomainId, paths: &[PathBuf]) -> Result<(), PortError> {
        self.storage.give_back_paths(domain, paths);
        Ok(())
    }

    async fn adopt(&self, domain: DomainId, document: &Domain) -> Result<(), PortError> {
        let uses = self.uses(document)?;
        self.storage.adopt(domain, &document.name, &uses).await.map_err(storage_error)
    }

    async fn release(&self, domain: DomainId) -> Result<(), PortError> {
        self.storage.release(domain);
        // What its disks are now is what they are known by until its next start.
        let storage = self.storage.clone();
        tokio::spawn(async move {
            if let Err(error) = storage.note_disks().await {
                tracing::warn!(%domain, %error, "disks not noted");
            }
        });
        Ok(())
    }

    async fn storage_of(&self, domain: DomainId, document: &Domain) -> Result<Vec<DiskStorage>, PortError> {
        let uses = self.uses(document)?;
        let with_files: Vec<(String, PathBuf)> =
            uses.into_iter().filter_map(|disk| Some((disk.target, disk.path?))).collect();
        let paths: Vec<PathBuf> = with_files.iter().map(|(_, path)| path.clone()).collect();
        let judged = self.storage.judge_removal(domain, &paths).await.map_err(storage_error)?;
        let disk = |((target, path), removal): ((String, PathBuf), lodge_storage::Removal)| DiskStorage {
            target,
            path,
            keep: removal.keep,
        };
        Ok(with_files.into_iter().zip(judged).map(disk).collect())
    }

    async fn refuse_overwrite(&self, path: &Path) -> Result<(), PortError> {
        let needs = self.storage.who_needs(path).await.map_err(storage_error)?;
        let saved = |need: &Need| matches!(need, Need::Defined { part: Part::SavedMemory, .. });
        match needs.into_iter().find(|need| !saved(need)) {
            None => Ok(()),
            Some(need) => Err(storage_error(StorageError::NeededBy { path: path.to_owned(), need })),
        }
    }

    async fn delete(&self, domain: DomainId, path: &Path) -> Result<(), PortError> {
        self.storage.delete_volume(domain, path).await.map_err(storage_error)?;
        self.pools.noticed(path).await;
        Ok(())
    }

    async fn image_snapshots(&self, path: &Path) -> Result<Vec<ImageSnapshot>, PortError> {
        let found = self.storage.inner_snapshots(path).await.map_err(storage_error)?;
        let of = |one: InnerSnapshot| ImageSnapshot { name: one.name, memory_bytes: one.memory_bytes };
        Ok(found.into_iter().map(of).collect())
    }

    async fn snapshot_image(
        &self,
        _domain: DomainId,
        verb: SnapshotVerb,
        path: &Path,
        name: &str,
        keys: &[LockedFile],
    ) -> Result<(), PortError> {
        let verb = match verb {
            SnapshotVerb::Create => InnerVerb::Create,
            SnapshotVerb::Apply => InnerVerb::Apply,
            SnapshotVerb::Delete => InnerVerb::Delete,
        };
        let secret_of = self.secret_of(keys);
        self.storage.change_inner_snapshot(verb, path, name, &secret_of).await.map_err(storage_error)
    }

    async fn mend_image(&self, _domain: DomainId, path: &Path, keys: &[LockedFile]) -> Result<(), PortError> {
        self.storage.mend_inner_snapshots(path, &self.secret_of(keys)).await.map_err(storage_error)
    }

    async fn create_overlay(&self, new: &NewOverlay) -> Result<(), PortError> {
        let overlay = lodge_storage::NewOverlay {
            path: new.path.clone(),
            backing: new.backing.clone(),
            format: disk_format(&new.backing, &new.format)?,
            is_on_locked: new.is_on_locked,
            size: None,
            seal: self.seal(new.encryption.as_deref(), Format::Qcow2)?,
        };
        self.storage.create_overlay(&overlay).await.map_err(storage_error)?;
        self.pools.noticed(&new.path).await;
        Ok(())
    }

    async fn needed_by(
        &self,
        domain: DomainId,
        path: &Path,
        going: &[PathBuf],
    ) -> Result<Option<String>, PortError> {
        let need = self.storage.needed_by(domain, path, going).await.map_err(storage_error)?;
        Ok(need.map(|need| need.to_string()))
    }

    async fn commit_image(
        &self,
        _domain: DomainId,
        top: &Path,
        base: &Path,
        keys: &[LockedFile],
    ) -> Result<(), PortError> {
        let secret_of = self.secret_of(keys);
        self.storage.commit_overlay(top, base, &secret_of).await.map_err(storage_error)
    }

    async fn rebase_image(
        &self,
        path: &Path,
        from: &Path,
        backing: &Path,
        format: &str,
        keys: &[LockedFile],
    ) -> Result<(), PortError> {
        let (format, secret_of) = (disk_format(backing, format)?, self.secret_of(keys));
        self.storage.move_overlay(path, from, backing, format, &secret_of).await.map_err(storage_error)
    }

    async fn places(&self, document: &Domain, targets: &[String]) -> Result<Vec<PathBuf>, PortError> {
        let uses = self.uses(document)?;
        let file = |target: &String| uses.iter().find(|disk| disk.target == *target)?.path.clone();
        match targets.iter().map(file).collect::<Option<Vec<_>>>() {
            Some(files) => self.storage.places_of(files).await.map_err(storage_error),
            None => Ok(Vec::new()),
        }
    }

    async fn space(&self, place: &Path) -> Result<Option<Space>, PortError> {
        let seen = self.storage.space(place).await.map_err(storage_error)?;
        Ok(seen.map(|seen| Space { capacity: seen.capacity, available: seen.available }))
    }
}

fn disk_format(path: &Path, word: &str) -> Result<Format, PortError> {
    let unknown = |_| StorageError::UnsupportedFormat { path: path.to_owned(), format: word.to_owned() };
    word.parse().map_err(unknown).map_err(storage_error)
}
