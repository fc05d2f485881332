//! Use cases of seeds: what cloud-init finds at the first boot.
//!
//! What was asked for is kept as `seeds/UUID.json`, readable by its owner only, since user-data holds secrets. The disk
//! image is made of it at every start, and is a CD-ROM of the running guest, never of its definition.

use std::{
    io,
    path::{Path, PathBuf},
};

use lodge_api::{SeedSpec, SeedView};
use lodge_domain::{PortError, Seeds};
use lodge_guest::seed::{self, Network, UserData};
use lodge_model::{DomainId, Kind, domain::Domain};
use lodge_store::Root;
use serde::{Deserialize, Serialize};

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
    ports::port_error,
};

/// What was asked for, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    /// New with every change, so that cloud-init takes the new seed for a first boot.
    instance_id: String,
    hostname: Option<String>,
    user_data: Option<String>,
    ssh_keys: Vec<String>,
}

impl Engine {
    /// Keeps a domain's seed; the next start attaches it.
    #[crate::boxed]
    pub async fn set_seed(&self, caller: &Caller, dom: &str, asked: SeedSpec) -> Result<SeedView> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        self.keep_seed(handle.id(), &handle.name(), asked).await
    }

    pub(crate) async fn keep_seed(&self, id: DomainId, name: &str, asked: SeedSpec) -> Result<SeedView> {
        let kept = keep(self.store.root(), id, name, asked).await?;
        self.feed.publish("seed.set", name, serde_json::Value::Null);
        Ok(kept)
    }

    /// A domain's seed.
    #[crate::boxed]
    pub async fn seed(&self, _caller: &Caller, dom: &str) -> Result<SeedView> {
        let handle = self.find_domain(dom)?;
        let kept = read(self.store.root(), handle.id())?.ok_or_else(|| no_seed(dom))?;
        let spec = spec(&kept, &handle.name(), Network::Unsaid)?;
        Ok(view(kept, spec.hostname, self.store.root(), handle.id()))
    }

    /// Forgets a domain's seed.
    #[crate::boxed]
    pub async fn remove_seed(&self, caller: &Caller, dom: &str) -> Result<()> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        read(self.store.root(), handle.id())?.ok_or_else(|| no_seed(dom))?;
        forget(self.store.root(), handle.id())?;
        self.feed.publish("seed.removed", handle.name().to_string(), serde_json::Value::Null);
        Ok(())
    }
}

/// Keeps what was asked for, as a new instance.
pub(crate) async fn keep(root: &Root, id: DomainId, name: &str, asked: SeedSpec) -> Result<SeedView> {
    let SeedSpec { user_data, ssh_keys, hostname } = asked;
    let instance_id = format!("{}-{}", id.0, &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let kept = Kept { instance_id, hostname, user_data, ssh_keys };
    // Made once now, so that what is wrong with it is told to whoever gave it and not at the start.
    let spec = spec(&kept, name, Network::Unsaid)?;
    seed::nocloud(&spec).map_err(|error| EngineError::of(error.kind(), error.hint(), error))?;
    write(kept_path(root, id), serde_json::to_vec_pretty(&kept).unwrap_or_default()).await?;
    Ok(view(kept, spec.hostname, root, id))
}

/// What was asked for a domain, if anything was.
pub(crate) fn asked_of(root: &Root, id: DomainId) -> Result<Option<SeedSpec>> {
    let kept = read(root, id)?;
    let asked = |Kept { hostname, user_data, ssh_keys, .. }| SeedSpec { user_data, ssh_keys, hostname };
    Ok(kept.map(asked))
}

fn no_seed(dom: &str) -> EngineError {
    EngineError::new(Kind::NotFound, format!("domain `{dom}` has no seed"))
        .with_hint("`lodge seed set DOMAIN --user-data FILE` gives it one")
}

/// The guest's host name: asked for, else in the user-data, else the domain's name as far as it can be one.
fn spec(kept: &Kept, name: &str, network: Network) -> Result<seed::SeedSpec> {
    let user_data = kept.user_data.as_ref().map(|text| UserData::parse(text.as_bytes()));
    let user_data =
        user_data.transpose().map_err(|error| EngineError::of(Kind::InvalidInput, error.hint(), error))?;
    let wished = kept.hostname.clone();
    let hostname = wished
        .or_else(|| user_data.as_ref().and_then(UserData::hostname).map(str::to_owned))
        .unwrap_or_else(|| seed::hostname_of(name));
    Ok(seed::SeedSpec {
        instance_id: kept.instance_id.clone(),
        hostname,
        user_data,
        ssh_keys: kept.ssh_keys.clone(),
        network,
        vendor_data: None,
    })
}

fn view(kept: Kept, hostname: String, root: &Root, id: DomainId) -> SeedView {
    let iso = iso_path(root, id);
    let path = iso.exists().then(|| iso.display().to_string());
    SeedView {
        instance_id: kept.instance_id,
        hostname,
        user_data: kept.user_data,
        ssh_keys: kept.ssh_keys,
        path,
    }
}

/// The names by which the host vouches for a guest: what its seed calls it.
pub(crate) fn seeded_hostname(root: &Root, id: DomainId, name: &str) -> Option<String> {
    let kept = read(root, id).ok()??;
    Some(spec(&kept, name, Network::Unsaid).ok()?.hostname)
}

fn kept_path(root: &Root, id: DomainId) -> PathBuf {
    root.seeds().join(format!("{}.json", id.0))
}

fn iso_path(root: &Root, id: DomainId) -> PathBuf {
    root.seeds().join(format!("{}.iso", id.0))
}

fn read(root: &Root, id: DomainId) -> Result<Option<Kept>> {
    let path = kept_path(root, id);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error("read", &path, &error)),
    };
    let kept = serde_json::from_slice(&bytes).map_err(|error| {
        EngineError::new(Kind::Corrupt, format!("the seed `{}` is damaged: {error}", path.display()))
            .with_hint("give the domain its seed again with `lodge seed set`")
    })?;
    Ok(Some(kept))
}

/// Written whole or not at all, for its owner only.
async fn write(path: PathBuf, bytes: Vec<u8>) -> Result<()> {
    let target = path.clone();
    let written = tokio::task::spawn_blocking(move || lodge_sys::fs::write_durable(&target, &bytes, 0o600));
    let written = written.await.expect("writing a file does not panic");
    written.map_err(|error| file_error("write", &path, &error))
}

pub(crate) fn forget(root: &Root, id: DomainId) -> Result<()> {
    for path in [kept_path(root, id), iso_path(root, id)] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file_error("remove", &path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn file_error(act: &str, path: &Path, error: &io::Error) -> EngineError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Exhausted,
        _ => Kind::Internal,
    };
    EngineError::new(kind, format!("cannot {act} the seed `{}`: {error}", path.display()))
}

/// Seeds, as the life of a guest needs them.
pub(crate) struct SeedFiles {
    pub root: Root,
}

#[async_trait::async_trait]
impl Seeds for SeedFiles {
    async fn write(
        &self,
        domain: DomainId,
        document: &Domain,
    ) -> std::result::Result<Option<lodge_domain::SeedDisk>, PortError> {
        let Some(kept) = read(&self.root, domain).map_err(port_error)? else { return Ok(None) };
        let macs =
            document.devices.interfaces.iter().filter_map(lodge_model::domain::interface::Interface::mac);
        let spec = spec(&kept, &document.name, Network::Dhcp(macs.collect())).map_err(port_error)?;
        let seed = seed::nocloud(&spec)
            .map_err(|error| port_error(EngineError::of(error.kind(), error.hint(), error)))?;
        let path = iso_path(&self.root, domain);
        write(path.clone(), seed.iso).await.map_err(port_error)?;
        Ok(Some(lodge_domain::SeedDisk { path }))
    }

    async fn discard(&self, domain: DomainId) -> std::result::Result<(), PortError> {
        let path = iso_path(&self.root, domain);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(port_error(file_error("remove", &path, &error)))
            }
            _ => Ok(()),
        }
    }

    async fn files_of(&self, domain: DomainId) -> std::result::Result<Vec<PathBuf>, PortError> {
        let files = [kept_path(&self.root, domain), iso_path(&self.root, domain)];
        Ok(files.into_iter().filter(|path| path.exists()).collect())
    }

    async fn forget(&self, domain: DomainId) -> std::result::Result<(), PortError> {
        forget(&self.root, domain).map_err(port_error)
    }
}
