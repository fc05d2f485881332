//! What fronts look at without asking anybody: snapshots of domains, the engine's broadcasts, the daemon itself.

use std::sync::Arc;

use lodge_domain::{DomainEvent, Handle, MonitorEvent, Snapshot};
use lodge_model::DomainId;
use lodge_network::NetworkHappening;
use tokio::sync::broadcast;

use crate::{Caller, Engine, error::Result};

impl Engine {
    /// Every domain's snapshot, by name. A pointer each: no guest can delay it.
    pub fn domain_snapshots(&self, _caller: &Caller) -> Vec<Arc<Snapshot>> {
        self.domains.list()
    }

    /// The domain with this UUID.
    pub fn domain_by_uuid(&self, _caller: &Caller, id: DomainId) -> Result<Handle> {
        Ok(self.domains.get(id)?)
    }

    /// The domain with exactly this name.
    pub fn domain_by_name(&self, _caller: &Caller, name: &str) -> Result<Handle> {
        Ok(self.domains.by_name(name)?)
    }

    /// The running domain with this number.
    pub fn domain_by_number(&self, _caller: &Caller, number: u32) -> Option<Arc<Snapshot>> {
        self.domains.list().into_iter().find(|snapshot| snapshot.domid() == Some(number))
    }

    /// The number of a running domain.
    pub fn domain_number(&self, id: DomainId) -> Option<i32> {
        let domid = self.domains.get(id).ok()?.snapshot().domid()?;
        i32::try_from(domid).ok()
    }

    /// What happens to domains from now on.
    pub fn domain_events(&self) -> broadcast::Receiver<DomainEvent> {
        self.domains.subscribe()
    }

    /// What guests' QEMUs tell from now on, as they tell it.
    pub fn monitor_events(&self) -> broadcast::Receiver<MonitorEvent> {
        self.domains.subscribe_monitor()
    }

    /// What happens to networks from now on.
    pub fn network_events(&self) -> broadcast::Receiver<NetworkHappening> {
        self.networks.subscribe()
    }

    /// This is a user's own daemon rather than a host's.
    pub fn is_session(&self) -> bool {
        self.store.root().scope() == lodge_store::root::Scope::User
    }

    /// Where libvirt's socket of that name is to be.
    pub fn libvirt_socket(&self, name: &str) -> std::path::PathBuf {
        self.store.root().libvirt_socket(name)
    }

    /// The host's name.
    pub fn hostname(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// QEMU's version as libvirt counts: 8.2.1 is 8002001; 0 without a QEMU.
    pub fn qemu_version_number(&self) -> u64 {
        if !self.capabilities.is_present() {
            return 0;
        }
        let version = &self.capabilities.version;
        u64::from(version.major) * 1_000_000 + u64::from(version.minor) * 1_000 + u64::from(version.micro)
    }
}
