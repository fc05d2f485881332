//! Giving the networks back to a libvirt daemon that is to come.
//!
//! ```text
//!  netd's leases ▶ dnsmasq's file ▶ netd ends ▶ our mark and note go ▶ (libvirtd starts: rules, dnsmasq)
//! ```
//!
//! Bridges and taps stay as they are, and so do our rules until the next daemon of ours: guests that talk go on. Nobody
//! gives addresses or answers names until libvirtd does. Deliberately absent: a way back from here but a new daemon.

use std::time::Duration;

use lodge_model::NetworkId;

use super::Owner;
use crate::client::Netd;
use crate::launch::{self, Places};
use crate::libvirt;
use crate::wire::WireLease;

/// A lease without end, in netd's words.
const FOR_EVER: u64 = 0;
/// How long netd may take to tell its leases.
const PATIENCE: Duration = Duration::from_secs(5);

impl Owner {
    /// Gives every running network back. Returns what did not go well, in sentences.
    pub(super) async fn give_back(&mut self) -> Vec<String> {
        let running: Vec<NetworkId> =
            self.entries.iter().filter(|(_, entry)| entry.running.is_some()).map(|(id, _)| *id).collect();
        let mut problems = Vec::new();
        // The files of libvirt stay from here on, though nothing of it runs as ours.
        self.keep_statuses();
        self.leaves_statuses = false;
        for id in running {
            if let Err(why) = self.give_one_back(id).await {
                let name = self.entries.get(&id).map(|entry| entry.name.clone()).unwrap_or_default();
                problems.push(format!("network `{name}`: {why}"));
            }
        }
        self.guard_ports().await;
        problems
    }

    async fn give_one_back(&mut self, id: NetworkId) -> Result<(), String> {
        let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.take()) else {
            return Ok(());
        };
        let (name, bridge) = (running.plan.name.clone(), running.plan.bridge.clone().unwrap_or_default());
        let mut told = Ok(());
        if running.plan.served() {
            told = self.give_leases(&Netd::at(&name, running.control.clone()), &bridge).await;
        }
        if let Some(netd) = &running.netd {
            launch::end(&netd.process).await;
        }
        let places = Places::of(&self.config, id, &name);
        launch::remove_cgroup(&places);
        let own = running.plan.own_bridge().then_some(bridge.as_str());
        for ifname in running.nics.keys().map(String::as_str).chain(own) {
            if let Ok(Some(link)) = self.links.find(ifname).await
                && let Err(error) = self.links.mark(link.index, ifname, "").await
            {
                tracing::warn!(interface = ifname, %error, "our mark was not taken away");
            }
        }
        let removed = places.remove_run().map_err(|error| crate::error::chain(&error));
        tracing::info!(network = %name, bridge, "network given back to libvirt");
        told.and(removed)
    }

    async fn give_leases(&self, netd: &Netd, bridge: &str) -> Result<(), String> {
        let leases = tokio::time::timeout(PATIENCE, netd.leases()).await;
        let leases = leases.map_err(|_| "netd did not tell its leases".to_owned())?;
        let leases = leases.map_err(|error| crate::error::chain(&error))?;
        libvirt::leave_leases(&self.config.root, bridge, leases.into_iter().map(kept))
            .map_err(|error| format!("the leases could not be written for dnsmasq: {error}"))
    }
}

fn kept(lease: WireLease) -> libvirt::KeptLease {
    let hex = |id: Vec<u8>| id.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    libvirt::KeptLease {
        ip_address: lease.ip.to_string(),
        mac_address: Some(lease.mac.to_string()),
        hostname: lease.hostname,
        client_id: lease.client_id.map(hex),
        expiry_time: if lease.expires == u64::MAX { FOR_EVER } else { lease.expires },
        other: serde_json::Map::new(),
    }
}
