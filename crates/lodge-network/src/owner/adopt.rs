//! What runs already when the daemon starts: networks of an earlier daemon, and what a crash left.
//!
//! `run/lodge/networks/UUID/live.xml` says a start was begun. Whether it was finished is read from the host:
//! the bridge bears our mark and its addresses. A finished one is taken over, guests' taps included, and
//! gets a netd if it has none; a half-made one is taken back.

use std::collections::BTreeMap;

use lodge_model::NetworkId;
use lodge_model::network::Network;

use super::{Entry, NO_LINK, Owner, Running, Supervised};
use crate::client::Netd;
use crate::launch::{self, Places};
use crate::limits;
use crate::link::Link;
use crate::mark::Mark;
use crate::plan::Plan;

impl Owner {
    /// Takes over what runs. Nothing here stops the daemon from coming up.
    pub(super) async fn adopt(&mut self) {
        for id in self.begun() {
            let name = self.entries.get(&id).map(|entry| entry.name.clone()).unwrap_or_default();
            let places = Places::of(&self.config, id, &name);
            let live = std::fs::read_to_string(&places.live).ok().and_then(|text| Network::parse(&text).ok());
            let document = live.or_else(|| self.entries.get(&id)?.defined.clone());
            let plan = document
                .as_ref()
                .and_then(|document| Plan::of(document).ok())
                .map(|plan| Plan { id, ..plan });
            let (Some(document), Some(plan)) = (document, plan) else {
                tracing::warn!(network = %id, "a running network's document cannot be read; its files are removed");
                let _ = places.remove_run();
                continue;
            };
            if let Some(ifindex) = self.bridge_of(&plan).await {
                self.take_over(plan, document, ifindex).await;
                continue;
            }
            tracing::warn!(network = %plan.name, "a half-made network is taken back");
            for error in self.unmake(&plan).await {
                tracing::error!(network = %plan.name, error = %crate::error::chain(&error), "not wholly");
            }
        }
        if !rustix::process::geteuid().is_root() {
            // A user's session daemon has no networks of its own and cannot ask nft.
            return;
        }
        // Also removes a table that an earlier daemon left without a network.
        if let Err(error) = self.load_rules(None).await {
            tracing::error!(error = %crate::error::chain(&error), "rules could not be loaded");
        }
        self.guard_ports().await;
    }

    /// Networks whose start was begun.
    fn begun(&self) -> Vec<NetworkId> {
        let Ok(directory) = std::fs::read_dir(self.config.root.running_networks()) else { return Vec::new() };
        directory.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    /// The number of the bridge, if it is there, ours, up, and has all its addresses.
    async fn bridge_of(&self, plan: &Plan) -> Option<u32> {
        if plan.lends() {
            // It is nothing on the host.
            return Some(NO_LINK);
        }
        let link = self.links.find(plan.bridge.as_deref()?).await.ok()??;
        if !plan.own_bridge() {
            return (link.is_bridge || plan.switched).then_some(link.index);
        }
        if link.alias.as_deref() != Some(&self.mark(plan.id).text()) || !link.up {
            return None;
        }
        let addresses = self.links.addresses().await.ok()?;
        let has = |net| addresses.iter().any(|(index, own)| *index == link.index && own == net);
        plan.addresses.iter().all(has).then_some(link.index)
    }

    async fn take_over(&mut self, plan: Plan, document: Network, ifindex: u32) {
        let (id, name) = (plan.id, plan.name.clone());
        let places = Places::of(&self.config, id, &name);
        let mut netd = None;
        if plan.served()
            && let Some(process) = launch::find(&places)
        {
            let client = Netd::at(&name, places.control.clone());
            match client.status(limits::NETD_ANSWER).await {
                Ok(_) => netd = Some(Supervised { process, watches: Vec::new() }),
                Err(error) => {
                    tracing::warn!(network = %name, error = %crate::error::chain(&error), "netd runs but is silent");
                    launch::end(&process).await;
                }
            }
        }
        let nics = self.taps_on(id, ifindex, plan.switched).await;
        let adopted = netd.is_some();
        let served = plan.served();
        let running = Running {
            plan,
            document,
            ifindex,
            control: places.control,
            netd,
            failures: 0,
            nics,
            upstreams: Vec::new(),
        };
        let entry = self.entries.entry(id).or_insert_with(|| Entry {
            name: name.clone(),
            defined: None,
            autostart: false,
            running: None,
        });
        entry.running = Some(running);
        tracing::info!(network = %name, netd = adopted, "running network adopted");
        if adopted {
            self.watch_netd(id);
            self.forget_the_gone(id).await;
        } else if served {
            self.netd_again(id).await;
        }
    }

    /// `switched`: the kernel knows nothing of whose bridge a port of Open vSwitch's is on.
    async fn taps_on(&self, id: NetworkId, bridge: u32, switched: bool) -> BTreeMap<String, super::Plugged> {
        let links = self.links.all().await.unwrap_or_default();
        let is_on = |link: &Link| switched || link.controller == Some(bridge);
        let taps = links.into_iter().filter(is_on).filter_map(|link| {
            let mark = Mark::parse(link.alias.as_deref()?)?;
            let guest = mark.guest.filter(|_| mark.tag == self.tag && mark.network == id)?;
            Some((link.name.clone(), super::attach::plugged(&link.name, &guest)))
        });
        taps.collect()
    }

    /// Guests that ended while no daemon ran have no name any more.
    async fn forget_the_gone(&self, id: NetworkId) {
        let Some(running) = self.entries.get(&id).and_then(|entry| entry.running.as_ref()) else { return };
        let netd = Netd::at(&running.plan.name, running.control.clone());
        let named = netd.named().await.unwrap_or_default();
        for mac in named {
            if running.nics.values().all(|plugged| plugged.nic.mac != mac) {
                let _ = netd.set_names(mac, Vec::new()).await;
            }
        }
    }
}
