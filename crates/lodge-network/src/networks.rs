//! The handle to all networks of one root, and what it is opened with.

#![expect(clippy::unused_async, reason = "the bodies come next")]

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use lodge_model::{MacAddr, NetworkId};
use tokio::sync::broadcast;

use crate::{AttachRequest, Attached, Lease, NetworkError, NetworkEvent, NetworkView, Started};

/// How to start netd: a program and the arguments before netd's own.
#[derive(Debug, Clone)]
pub struct NetdProgram {
    /// Usually the running program itself.
    pub program: PathBuf,
    /// Usually `["netd"]`.
    pub args: Vec<OsString>,
}

/// What [`Networks::open`] needs.
#[derive(Debug, Clone)]
pub struct NetworksConfig {
    /// The daemon's root.
    pub root: lodge_store::Root,
    /// How to start netd.
    pub netd: NetdProgram,
}

/// Every network of one root. Cheap to clone; acts go to one owner task, reads are snapshots.
#[derive(Debug, Clone)]
pub struct Networks {}

impl Networks {
    /// Loads the definitions and adopts networks that run already. Starts nothing: see [`Self::autostart`].
    pub async fn open(config: NetworksConfig) -> Result<Self, NetworkError> {
        let _ = config;
        Err(NetworkError::Closed)
    }

    /// Starts the networks marked so. One that fails does not stop the others.
    pub async fn autostart(&self) -> Vec<(String, NetworkError)> {
        Vec::new()
    }

    /// All networks, by name.
    pub fn list(&self) -> Vec<Arc<NetworkView>> {
        Vec::new()
    }

    /// One network by name or UUID.
    pub fn get(&self, name: &str) -> Result<Arc<NetworkView>, NetworkError> {
        Err(NetworkError::NotFound { name: name.into() })
    }

    /// The document: as it runs, or (`inactive`) as it is defined.
    pub async fn xml(&self, id: NetworkId, inactive: bool) -> Result<String, NetworkError> {
        let _ = (id, inactive);
        Err(NetworkError::Closed)
    }

    /// Takes in a document; replaces the definition of the same name and UUID.
    pub async fn define(&self, xml: &str) -> Result<Arc<NetworkView>, NetworkError> {
        let _ = xml;
        Err(NetworkError::Closed)
    }

    /// Forgets the definition. A running network stays up, as in libvirt, and is gone once stopped.
    pub async fn undefine(&self, id: NetworkId) -> Result<(), NetworkError> {
        let _ = id;
        Err(NetworkError::Closed)
    }

    /// Brings it up; done already if it is up.
    pub async fn start(&self, id: NetworkId) -> Result<Started, NetworkError> {
        let _ = id;
        Err(NetworkError::Closed)
    }

    /// Takes it down: bridge, rules, netd. Guests' taps stay but lead nowhere, as in libvirt.
    pub async fn stop(&self, id: NetworkId) -> Result<(), NetworkError> {
        let _ = id;
        Err(NetworkError::Closed)
    }

    /// Marks it to be started with the daemon, or not.
    pub async fn set_autostart(&self, id: NetworkId, enabled: bool) -> Result<(), NetworkError> {
        let _ = (id, enabled);
        Err(NetworkError::Closed)
    }

    /// Addresses given out now on this network.
    pub async fn leases(&self, id: NetworkId) -> Result<Vec<Lease>, NetworkError> {
        let _ = id;
        Err(NetworkError::Closed)
    }

    /// Addresses given out now to this hardware address, on any network.
    pub fn addresses(&self, mac: MacAddr) -> Vec<Lease> {
        let _ = mac;
        Vec::new()
    }

    /// Makes a tap on the network's bridge and tells netd the guest's name.
    pub async fn attach(&self, request: AttachRequest) -> Result<Attached, NetworkError> {
        let _ = request;
        Err(NetworkError::Closed)
    }

    /// Takes a tap away and forgets the name. Done already if it is not there.
    pub async fn detach(&self, ifname: &str) -> Result<(), NetworkError> {
        let _ = ifname;
        Err(NetworkError::Closed)
    }

    /// Addresses of a guest by its name (domain's name, host name, with or without the DNS domain).
    pub async fn resolve(&self, name: &str) -> Vec<IpAddr> {
        let _ = name;
        Vec::new()
    }

    /// Puts back what is missing of rules and netd processes; called by a timer too.
    pub async fn reconcile(&self) -> Result<(), NetworkError> {
        Err(NetworkError::Closed)
    }

    /// What happens from now on. A reader who lags loses the oldest.
    pub fn subscribe(&self) -> broadcast::Receiver<(NetworkId, String, NetworkEvent)> {
        broadcast::channel(1).1
    }
}
