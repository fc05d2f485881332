//! A host without disks, nets and seeds, for benches of what is left.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use lodge_domain::{
    Accelerator, AttachedNic, Beginning, ClaimedDevice, ClaimedDisk, DiskStorage, DomainsConfig, HostDevices,
    Nics, PortError, Ports, QemuUser, Secrets, SeedDisk, Seeds, Volumes,
};
use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_qemu::{Capabilities, Speed};
use lodge_store::{Root, Store};

pub const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// A daemon's configuration on a root of its own.
pub fn config(dir: &Path, capabilities: Capabilities) -> DomainsConfig {
    DomainsConfig {
        store: Store::open(&Root::at(dir).expect("a root")).expect("a store"),
        capabilities: Arc::new(capabilities),
        host_words: None,
        others: lodge_qemu::Others::default(),
        launch_security: Vec::new(),
        resctrl: lodge_sys::resctrl::Host::default(),
        accelerator: Accelerator { kvm: false, reason: "the bench uses TCG".into(), fallback: true },
        speed: Speed::ASSUMED_TCG,
        own_users: false,
        stay_when_full: false,
        settings: Arc::default(),
    }
}

/// Ports that lead nowhere.
pub fn ports() -> Ports {
    let nothing = Arc::new(Nothing);
    Ports {
        volumes: nothing.clone(),
        nics: nothing.clone(),
        seeds: nothing.clone(),
        devices: nothing.clone(),
        secrets: nothing,
    }
}

/// A host without disks, nets and seeds.
struct Nothing;

#[async_trait]
impl HostDevices for Nothing {
    async fn claim(
        &self,
        _: DomainId,
        _: &Domain,
        _: Option<QemuUser>,
        _: Beginning,
    ) -> Result<Vec<ClaimedDevice>, PortError> {
        Ok(Vec::new())
    }
    async fn adopt(&self, _: DomainId, _: &Domain, _: &[String]) -> Result<(), PortError> {
        Ok(())
    }
    async fn release(&self, _: DomainId) -> Result<(), PortError> {
        Ok(())
    }
}

#[async_trait]
impl Secrets for Nothing {
    async fn tpm_passphrase(&self, _: uuid::Uuid) -> Result<std::os::fd::OwnedFd, PortError> {
        Err(PortError::new(lodge_model::Kind::NotFound, "there are no secrets here"))
    }
}

#[async_trait]
impl Volumes for Nothing {
    async fn claim(&self, _: DomainId, _: &Domain) -> Result<Vec<ClaimedDisk>, PortError> {
        Ok(Vec::new())
    }
    async fn adopt(&self, _: DomainId, _: &Domain) -> Result<(), PortError> {
        Ok(())
    }
    async fn release(&self, _: DomainId) -> Result<(), PortError> {
        Ok(())
    }
    async fn storage_of(&self, _: DomainId, _: &Domain) -> Result<Vec<DiskStorage>, PortError> {
        Ok(Vec::new())
    }
    async fn delete(&self, _: DomainId, _: &Path) -> Result<(), PortError> {
        Ok(())
    }
}

#[async_trait]
impl Nics for Nothing {
    async fn attach(&self, _: DomainId, _: &Domain) -> Result<Vec<AttachedNic>, PortError> {
        Ok(Vec::new())
    }
    async fn adopt(&self, _: DomainId, _: &Domain) -> Result<(), PortError> {
        Ok(())
    }
    async fn detach(&self, _: DomainId) -> Result<(), PortError> {
        Ok(())
    }
}

#[async_trait]
impl Seeds for Nothing {
    async fn write(&self, _: DomainId, _: &Domain) -> Result<Option<SeedDisk>, PortError> {
        Ok(None)
    }
    async fn discard(&self, _: DomainId) -> Result<(), PortError> {
        Ok(())
    }
    async fn files_of(&self, _: DomainId) -> Result<Vec<PathBuf>, PortError> {
        Ok(Vec::new())
    }
    async fn forget(&self, _: DomainId) -> Result<(), PortError> {
        Ok(())
    }
}
