//! The other resources that a guest's life needs, as fakes: disks are real files, the rest only notes who has what.

use std::collections::BTreeSet;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lodge_domain::{
    AttachedNic, Beginning, ChainLink, ClaimedDevice, ClaimedDisk, CopyTarget, DeviceGift, DiskStorage,
    HostDevices, ImageSnapshot, LockedFile, NewOverlay, Nics, PortError, Ports, QemuUser, Secrets, SeedDisk,
    Seeds, SnapshotVerb, Volumes,
};
use lodge_model::domain::Domain;
use lodge_model::{DomainId, Kind};
use tokio::sync::Semaphore;

/// What the fakes hold, as other resources would.
#[derive(Debug, Default)]
pub struct Held {
    pub volumes: BTreeSet<DomainId>,
    pub nics: BTreeSet<DomainId>,
    pub seeds: BTreeSet<DomainId>,
    pub devices: BTreeSet<DomainId>,
    pub calls: Vec<String>,
    /// Which call is to fail next.
    pub failing: Option<&'static str>,
    /// Images are looked over when there is room in it.
    pub mending: Option<Arc<Semaphore>>,
    /// Images are merged when there is room in it.
    pub merging: Option<Arc<Semaphore>>,
}

/// The other resources.
#[derive(Debug, Clone, Default)]
pub struct Fakes(pub Arc<Mutex<Held>>);

impl Fakes {
    fn call(&self, name: &'static str, act: impl FnOnce(&mut Held)) -> Result<(), PortError> {
        let mut held = self.0.lock().unwrap();
        held.calls.push(name.to_owned());
        if held.failing == Some(name) {
            return Err(
                PortError::new(Kind::NotFound, format!("{name} was made to fail")).with_hint("mend it")
            );
        }
        act(&mut held);
        Ok(())
    }

    pub fn fail(&self, name: Option<&'static str>) {
        self.0.lock().unwrap().failing = name;
    }

    pub fn ports(&self) -> Ports {
        let this = Arc::new(self.clone());
        Ports {
            volumes: this.clone(),
            nics: this.clone(),
            seeds: this.clone(),
            devices: this.clone(),
            secrets: this,
        }
    }
}

fn opened(path: &Path, format: &str, write: bool) -> ChainLink {
    let fd = std::fs::OpenOptions::new().read(true).write(write).open(path).unwrap().into();
    ChainLink { path: path.into(), format: format.to_owned(), fd, read_only: !write }
}

#[async_trait]
impl Volumes for Fakes {
    async fn claim(&self, domain: DomainId, document: &Domain) -> Result<Vec<ClaimedDisk>, PortError> {
        self.call("claim", |held| {
            held.volumes.insert(domain);
        })?;
        let open = |disk: &lodge_model::domain::disk::Disk| {
            let path = PathBuf::from(disk.path()?);
            let mut chain = vec![opened(&path, disk.format(), true)];
            // What it stands on, as the document or else the images say it.
            let mut below = disk.backing_store.as_deref();
            while let Some(store) = below {
                let Some(path) = store.source.as_deref().and_then(|source| source.file.as_deref()) else {
                    break;
                };
                chain.push(opened(path.as_ref(), &store.format.as_ref().unwrap().kind, false));
                below = store.backing_store.as_deref();
            }
            while let Some((path, format)) = stands_on(chain.last().unwrap()) {
                chain.push(opened(&path, &format, false));
            }
            Some(ClaimedDisk { target: disk.target.dev.clone(), chain, ..ClaimedDisk::default() })
        };
        Ok(document.devices.disks.iter().filter_map(open).collect())
    }
    async fn adopt(&self, domain: DomainId, _: &Domain) -> Result<(), PortError> {
        self.call("adopt volumes", |held| {
            held.volumes.insert(domain);
        })
    }
    async fn release(&self, domain: DomainId) -> Result<(), PortError> {
        self.call("release", |held| {
            held.volumes.remove(&domain);
        })
    }
    async fn open_backing(
        &self,
        _: DomainId,
        path: &Path,
        _: &[PathBuf],
    ) -> Result<std::os::fd::OwnedFd, PortError> {
        self.call("open backing", |_| ())?;
        Ok(opened(path, "", true).fd)
    }
    async fn take_copy(&self, _: DomainId, _: &str, copy: &CopyTarget) -> Result<Vec<ChainLink>, PortError> {
        self.call("take copy", |_| ())?;
        let path = copy.path.display().to_string();
        if !copy.reuse {
            let mut create = std::process::Command::new("qemu-img");
            create.args(["create", "-q", "-f", &copy.format]);
            if let Some((backing, format)) = &copy.backing {
                create.arg("-b").arg(backing).args(["-F", format]);
            }
            assert!(create.arg(&path).arg(copy.size.to_string()).status().unwrap().success());
        }
        Ok(vec![opened(&copy.path, &copy.format, true)])
    }
    async fn storage_of(&self, _: DomainId, document: &Domain) -> Result<Vec<DiskStorage>, PortError> {
        let failing = self.0.lock().unwrap().failing;
        assert!(failing != Some("storage_of panics"), "made to panic");
        let of = |disk: &lodge_model::domain::disk::Disk| {
            let path = PathBuf::from(disk.path()?);
            let keep = path.starts_with("/outside").then(|| "it is in no pool".to_owned());
            Some(DiskStorage { target: disk.target.dev.clone(), path, keep })
        };
        Ok(document.devices.disks.iter().filter_map(of).collect())
    }
    async fn delete(&self, _: DomainId, path: &Path) -> Result<(), PortError> {
        std::fs::remove_file(path).map_err(|error| PortError::new(Kind::Internal, error.to_string()))
    }
    async fn claim_more(&self, id: DomainId, document: &Domain) -> Result<Vec<ClaimedDisk>, PortError> {
        Volumes::claim(self, id, document).await
    }
    async fn image_snapshots(&self, path: &Path) -> Result<Vec<ImageSnapshot>, PortError> {
        let info = qemu_img(&["info", "-U", "--output=json", &path.display().to_string()])?;
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        let of = |one: &serde_json::Value| ImageSnapshot {
            name: one["name"].as_str().unwrap().to_owned(),
            memory_bytes: one["vm-state-size"].as_u64().unwrap(),
        };
        Ok(info["snapshots"].as_array().into_iter().flatten().map(of).collect())
    }
    async fn snapshot_image(
        &self,
        _: DomainId,
        verb: SnapshotVerb,
        path: &Path,
        name: &str,
        _: &[LockedFile],
    ) -> Result<(), PortError> {
        self.call("snapshot image", |_| ())?;
        let option = match verb {
            SnapshotVerb::Create => "-c",
            SnapshotVerb::Apply => "-a",
            SnapshotVerb::Delete => "-d",
        };
        let path = path.display().to_string();
        let changed = qemu_img(&["snapshot", option, name, &path]).map(drop);
        if changed.is_err() {
            // As storage does: one cut off by a full disk leaves clusters that nothing names.
            qemu_img(&["check", "-q", "-r", "leaks", &path])?;
        }
        changed
    }
    async fn mend_image(&self, _: DomainId, path: &Path, _: &[LockedFile]) -> Result<(), PortError> {
        self.call("mend image", |_| ())?;
        let gate = self.0.lock().unwrap().mending.clone();
        if let Some(gate) = gate {
            drop(gate.acquire().await);
        }
        qemu_img(&["check", "-q", "-r", "leaks", &path.display().to_string()]).map(drop)
    }
    async fn create_overlay(&self, new: &NewOverlay) -> Result<(), PortError> {
        self.call("create overlay", |_| ())?;
        let (path, backing) = (new.path.display().to_string(), new.backing.display().to_string());
        qemu_img(&["create", "-q", "-f", "qcow2", "-b", &backing, "-F", &new.format, &path]).map(drop)
    }
    async fn needed_by(
        &self,
        _: DomainId,
        path: &Path,
        going: &[PathBuf],
    ) -> Result<Option<String>, PortError> {
        for entry in std::fs::read_dir(path.parent().unwrap()).unwrap().flatten() {
            let other = entry.path();
            if other == path || going.contains(&other) || !other.is_file() {
                continue;
            }
            let Ok(info) = qemu_img(&["info", "-U", "--output=json", &other.display().to_string()]) else {
                continue;
            };
            let info: serde_json::Value = serde_json::from_str(&info).unwrap();
            if info["full-backing-filename"].as_str() == path.to_str() {
                return Ok(Some(format!("volume '{}' stands on it", other.display())));
            }
        }
        Ok(None)
    }
    async fn commit_image(
        &self,
        _: DomainId,
        top: &Path,
        _: &Path,
        _: &[LockedFile],
    ) -> Result<(), PortError> {
        self.call("commit image", |_| ())?;
        let gate = self.0.lock().unwrap().merging.clone();
        if let Some(gate) = gate {
            drop(gate.acquire().await);
        }
        qemu_img(&["commit", "-q", "-d", "-f", "qcow2", &top.display().to_string()]).map(drop)
    }
    async fn rebase_image(
        &self,
        path: &Path,
        from: &Path,
        backing: &Path,
        format: &str,
        _: &[LockedFile],
    ) -> Result<(), PortError> {
        let (path, backing) = (path.display().to_string(), backing.display().to_string());
        let info = qemu_img(&["info", "-U", "--output=json", &path])?;
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        if info["full-backing-filename"].as_str() != from.to_str() {
            return Ok(());
        }
        qemu_img(&["rebase", "-u", "-f", "qcow2", "-b", &backing, "-F", format, &path]).map(drop)
    }
}

/// What the tool prints.
pub fn qemu_img(arguments: &[&str]) -> Result<String, PortError> {
    let output = std::process::Command::new("qemu-img").args(arguments).output().unwrap();
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(PortError::new(Kind::Internal, format!("qemu-img {}: {said}", arguments.join(" "))))
}

fn stands_on(link: &ChainLink) -> Option<(PathBuf, String)> {
    if link.format != "qcow2" {
        return None;
    }
    let info = qemu_img(&["info", "-U", "--output=json", &link.path.display().to_string()]).ok()?;
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    let path = info["full-backing-filename"].as_str()?;
    Some((path.into(), info["backing-filename-format"].as_str()?.to_owned()))
}

#[async_trait]
impl Nics for Fakes {
    async fn attach(&self, domain: DomainId, _: &Domain) -> Result<Vec<AttachedNic>, PortError> {
        self.call("attach", |held| {
            held.nics.insert(domain);
        })?;
        Ok(Vec::new())
    }
    async fn adopt(&self, domain: DomainId, _: &Domain) -> Result<(), PortError> {
        self.call("adopt nics", |held| {
            held.nics.insert(domain);
        })
    }
    async fn detach(&self, domain: DomainId) -> Result<(), PortError> {
        self.call("detach", |held| {
            held.nics.remove(&domain);
        })
    }
}

#[async_trait]
impl Seeds for Fakes {
    async fn write(&self, domain: DomainId, _: &Domain) -> Result<Option<SeedDisk>, PortError> {
        self.call("write seed", |held| {
            held.seeds.insert(domain);
        })?;
        Ok(None)
    }
    async fn discard(&self, domain: DomainId) -> Result<(), PortError> {
        self.call("discard seed", |held| {
            held.seeds.remove(&domain);
        })
    }
    async fn files_of(&self, _: DomainId) -> Result<Vec<PathBuf>, PortError> {
        Ok(Vec::new())
    }
    async fn forget(&self, domain: DomainId) -> Result<(), PortError> {
        self.call("forget seed", |held| {
            held.seeds.remove(&domain);
        })
    }
}

/// No device is there.
#[async_trait]
impl HostDevices for Fakes {
    async fn claim(
        &self,
        domain: DomainId,
        document: &Domain,
        _: Option<QemuUser>,
        _: Beginning,
    ) -> Result<Vec<ClaimedDevice>, PortError> {
        self.call("claim devices", |held| {
            held.devices.insert(domain);
        })?;
        let missing = |hostdev: &lodge_model::domain::hostdev::Hostdev| {
            let alias = hostdev.place.alias.as_ref().unwrap().name.clone();
            ClaimedDevice { alias, gift: DeviceGift::Missing }
        };
        Ok(document.devices.hostdevs.iter().map(missing).collect())
    }
    async fn adopt(&self, domain: DomainId, _: &Domain, _: &[String]) -> Result<(), PortError> {
        self.call("adopt devices", |held| {
            held.devices.insert(domain);
        })
    }
    async fn release(&self, domain: DomainId) -> Result<(), PortError> {
        self.call("release devices", |held| {
            held.devices.remove(&domain);
        })
    }
}

/// The passphrase of every secret.
pub const PASSPHRASE: &[u8] = b"correct horse";

#[async_trait]
impl Secrets for Fakes {
    async fn tpm_passphrase(&self, _: uuid::Uuid) -> Result<std::os::fd::OwnedFd, PortError> {
        self.call("passphrase", |_| ())?;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(PASSPHRASE).unwrap();
        file.rewind().unwrap();
        Ok(file.into())
    }
}
