//! Use cases of networks.

use std::sync::Arc;

use lodge_api::{
    AddressFamily, ChangeScope, Lease, NetworkOptions, NetworkUpdate, NetworkView, UpdateAct, XmlOptions,
};
use lodge_model::Kind;
use lodge_model::network::{Command, Section, Update};
use lodge_network::{NetworkView as Network, Networks};

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
};

impl Engine {
    /// Every network, by name.
    #[crate::boxed]
    pub async fn networks(&self, _caller: &Caller) -> Result<Vec<NetworkView>> {
        let mut views: Vec<NetworkView> = self.networks.list().iter().map(|network| view(network)).collect();
        views.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(views)
    }

    /// One network, by name or UUID.
    #[crate::boxed]
    pub async fn network(&self, _caller: &Caller, net: &str) -> Result<NetworkView> {
        Ok(view(&*self.find_network(net)?))
    }

    /// A network's document.
    #[crate::boxed]
    pub async fn network_xml(&self, _caller: &Caller, net: &str, options: XmlOptions) -> Result<String> {
        let network = self.find_network(net)?;
        Ok(self.networks.xml(network.id, options.inactive).await?)
    }

    /// Defines a network or, with `start`, creates a transient one.
    #[crate::boxed]
    pub async fn define_network(
        &self,
        caller: &Caller,
        xml: String,
        options: NetworkOptions,
    ) -> Result<NetworkView> {
        caller.may_change()?;
        if options.validate {
            lodge_model::network::Network::parse_strict(&xml)?;
        }
        if options.start {
            return Ok(view(&*self.networks.create(&xml).await?));
        }
        Ok(view(&*self.networks.define(&xml).await?))
    }

    /// The networks, to look at: a front of its own words asks them itself.
    pub fn networks_to_see(&self, _caller: &Caller) -> Networks {
        self.networks.clone()
    }

    /// The networks, to change.
    pub fn networks_to_change(&self, caller: &Caller) -> Result<Networks> {
        caller.may_change()?;
        Ok(self.networks.clone())
    }

    /// Undefines a network.
    #[crate::boxed]
    pub async fn undefine_network(&self, caller: &Caller, net: &str) -> Result<()> {
        caller.may_change()?;
        Ok(self.networks.undefine(self.find_network(net)?.id).await?)
    }

    /// Brings a network up.
    #[crate::boxed]
    pub async fn start_network(&self, caller: &Caller, net: &str) -> Result<NetworkView> {
        caller.may_change()?;
        let network = self.find_network(net)?;
        if network.active {
            return Err(EngineError::new(Kind::InvalidState, "network is already active"));
        }
        let started = self.networks.start(network.id).await?;
        let warnings = started.notes;
        Ok(NetworkView { warnings, ..view(&*self.find_network(net)?) })
    }

    /// Takes a network down.
    #[crate::boxed]
    pub async fn destroy_network(&self, caller: &Caller, net: &str) -> Result<NetworkView> {
        caller.may_change()?;
        let network = self.find_network(net)?;
        if !network.active {
            return Err(EngineError::new(Kind::InvalidState, "network is not active"));
        }
        self.networks.stop(network.id).await?;
        // A transient network is gone now: what it was is told, as stopped.
        Ok(NetworkView { active: false, ..view(&network) })
    }

    /// Whether a network starts with the daemon.
    #[crate::boxed]
    pub async fn set_network_autostart(
        &self,
        caller: &Caller,
        net: &str,
        enabled: bool,
    ) -> Result<NetworkView> {
        caller.may_change()?;
        let network = self.find_network(net)?;
        self.networks.set_autostart(network.id, enabled).await?;
        Ok(view(&*self.find_network(net)?))
    }

    /// Changes one entry of a network's document, of its definition or of what runs.
    #[crate::boxed]
    pub async fn update_network(
        &self,
        caller: &Caller,
        net: &str,
        scope: ChangeScope,
        update: NetworkUpdate,
    ) -> Result<NetworkView> {
        caller.may_change()?;
        let network = self.find_network(net)?;
        let Some(section) = Section::from_word(&update.section) else {
            let text = format!("unrecognized section name '{}'", update.section);
            return Err(EngineError::new(Kind::InvalidInput, text));
        };
        let command = match update.act {
            UpdateAct::AddLast => Command::AddLast,
            UpdateAct::AddFirst => Command::AddFirst,
            UpdateAct::Delete => Command::Delete,
            UpdateAct::Modify => Command::Modify,
        };
        let update = Update { command, section, parent: update.parent, xml: update.xml };
        let affects = lodge_network::Affects { live: scope.live, config: scope.config };
        self.networks.update(network.id, update, affects).await?;
        Ok(view(&*self.find_network(net)?))
    }

    /// A network's leases.
    #[crate::boxed]
    pub async fn network_leases(&self, _caller: &Caller, net: &str) -> Result<Vec<Lease>> {
        let network = self.find_network(net)?;
        Ok(self.networks.leases(network.id).await?.into_iter().map(lease).collect())
    }

    fn find_network(&self, net: &str) -> Result<Arc<Network>> {
        Ok(self.networks.get(net)?)
    }
}

fn view(network: &Network) -> NetworkView {
    NetworkView {
        name: network.name.clone(),
        uuid: network.id.0,
        active: network.active,
        persistent: network.persistent,
        autostart: network.autostart,
        bridge: Some(network.bridge.clone()).filter(|bridge| !bridge.is_empty()),
        forward: Some(network.mode.clone()).filter(|mode| mode != "isolated"),
        addresses: network.addresses.clone(),
        domain: network.domain.clone(),
        warnings: Vec::new(),
    }
}

fn lease(lease: lodge_network::Lease) -> Lease {
    Lease {
        expires_ms: Some(lease.expires * 1000).filter(|expires| *expires > 0),
        mac: lease.mac.to_string(),
        family: AddressFamily::Ipv4,
        ip: lease.ip.to_string(),
        prefix: lease.prefix,
        hostname: lease.hostname,
        client_id: lease.client_id,
    }
}
