//! Use cases of networks.

use lodge_api::{Lease, NetworkOptions, NetworkView, XmlOptions};

use crate::{Caller, Engine, error::Result, open::not_yet};

impl Engine {
    /// Every network, by name.
    pub async fn networks(&self, _caller: &Caller) -> Result<Vec<NetworkView>> {
        Err(not_yet())
    }
    /// One network, by name or UUID.
    pub async fn network(&self, _caller: &Caller, _net: &str) -> Result<NetworkView> {
        Err(not_yet())
    }
    /// A network's document.
    pub async fn network_xml(&self, _caller: &Caller, _net: &str, _options: XmlOptions) -> Result<String> {
        Err(not_yet())
    }
    /// Defines a network or, with `start`, creates a transient one.
    pub async fn define_network(
        &self,
        _caller: &Caller,
        _xml: String,
        _options: NetworkOptions,
    ) -> Result<NetworkView> {
        Err(not_yet())
    }
    /// Undefines a network.
    pub async fn undefine_network(&self, _caller: &Caller, _net: &str) -> Result<()> {
        Err(not_yet())
    }
    /// Brings a network up.
    pub async fn start_network(&self, _caller: &Caller, _net: &str) -> Result<NetworkView> {
        Err(not_yet())
    }
    /// Takes a network down.
    pub async fn destroy_network(&self, _caller: &Caller, _net: &str) -> Result<NetworkView> {
        Err(not_yet())
    }
    /// Whether a network starts with the daemon.
    pub async fn set_network_autostart(
        &self,
        _caller: &Caller,
        _net: &str,
        _enabled: bool,
    ) -> Result<NetworkView> {
        Err(not_yet())
    }
    /// A network's leases.
    pub async fn network_leases(&self, _caller: &Caller, _net: &str) -> Result<Vec<Lease>> {
        Err(not_yet())
    }
}
