//! Bringing a network up and down.
//!
//! Up is a sequence: look for conflicts · note · bridge · addresses · forwarding · netd · rules. When a step
//! fails, [`Owner::unmake`] takes back all of it; the same function takes a running network down, and clears
//! away what a crash left half-made. Each of its steps is done already if there is nothing to take back.

use lodge_model::NetworkId;
use lodge_model::network::Network;
use lodge_model::xml::WriteOptions;

use super::host::{end_any_netd, switch_forwarding_on, tell_resolved};
use super::{NO_LINK, Owner, Running, define, host_side};
use crate::conflict;
use crate::firewall::Port;
use crate::launch::{self, Places, file};
use crate::limit;
use crate::link::{BridgeSpec, Link, gone};
use crate::mark::Mark;
use crate::plan::{Mode, Plan, overlap};
use crate::{NetworkError, NetworkEvent, Started};

impl Owner {
    pub(super) async fn start(&mut self, id: NetworkId) -> Result<Started, NetworkError> {
        if self.entry(id)?.running.is_some() {
            return Ok(Started::default());
        }
        self.take_in_edits(id).await?;
        let entry = self.entry(id)?;
        let document =
            entry.document().cloned().ok_or_else(|| NetworkError::NotFound { name: id.to_string() })?;
        self.bring_up(id, document.as_it_runs()).await
    }

    /// Makes a network that is down by this document.
    pub(super) async fn bring_up(
        &mut self,
        id: NetworkId,
        document: Network,
    ) -> Result<Started, NetworkError> {
        let mut plan = Plan::of(&document)?;
        plan.id = id;
        self.refuse_taken(&plan)?;
        self.clear_leftovers(&plan).await?;
        conflict::check(&self.links, &plan, &self.tag).await?;
        match self.make(&plan, document).await {
            Ok((running, notes)) => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.running = Some(running);
                }
                self.replug(id).await;
                self.watch_netd(id);
                tracing::info!(network = %plan.name, bridge = plan.bridge.as_deref().unwrap_or_default(), "network started");
                self.tell(id, NetworkEvent::Started);
                Ok(Started { changed: true, notes })
            }
            Err(error) => {
                for left in self.unmake(&plan).await {
                    tracing::error!(network = %plan.name, error = %crate::error::chain(&left), "start not wholly undone");
                }
                Err(error)
            }
        }
    }

    pub(super) async fn start_marked(&mut self) -> Vec<(String, NetworkError)> {
        let marked: Vec<(NetworkId, String)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.autostart && entry.running.is_none())
            .map(|(id, entry)| (*id, entry.name.clone()))
            .collect();
        let mut failed = Vec::new();
        for (id, name) in marked {
            if let Err(error) = self.start(id).await {
                tracing::error!(network = %name, error = %crate::error::chain(&error), "network not started");
                failed.push((name, error));
            }
        }
        failed
    }

    pub(super) async fn stop(&mut self, id: NetworkId) -> Result<(), NetworkError> {
        let entry = self.entry(id)?;
        let name = entry.name.clone();
        if entry.running.is_none() {
            return Err(NetworkError::Inactive { network: name });
        }
        let mut failures = self.take_down(id).await;
        tracing::info!(network = %name, "network stopped");
        self.tell(id, NetworkEvent::Stopped);
        if self.entries.get(&id).is_some_and(|entry| entry.defined.is_none()) {
            self.entries.remove(&id);
            failures.extend(Places::of(&self.config, id, &name).remove_leases().err());
        }
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    /// Ends what runs of a network; tells all that could not be taken back.
    pub(super) async fn take_down(&mut self, id: NetworkId) -> Vec<NetworkError> {
        let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.take()) else {
            return Vec::new();
        };
        let plan = running.plan.clone();
        if let Some(netd) = &running.netd {
            launch::end(&netd.process).await;
        }
        drop(running);
        self.unmake(&plan).await
    }

    /// Networks of our own that have the bridge or the subnet.
    fn refuse_taken(&self, plan: &Plan) -> Result<(), NetworkError> {
        if !plan.own_bridge() {
            return Ok(());
        }
        for other in
            self.entries.values().filter_map(|entry| entry.running.as_ref()).map(|running| &running.plan)
        {
            if other.bridge == plan.bridge {
                let bridge = plan.bridge.as_deref().unwrap_or_default();
                return Err(define::taken(format!("the bridge `{bridge}`"), &other.name));
            }
            for net in &plan.addresses {
                if other.addresses.iter().any(|taken| overlap(net, taken)) {
                    let (what, link) = (format!("the subnet {}", net.trunc()), other.bridge.clone());
                    return Err(NetworkError::Taken { what, other: other.name.clone(), link });
                }
            }
        }
        Ok(())
    }

    /// A bridge with our own mark for this very network is a crash's leftover, not a conflict.
    async fn clear_leftovers(&mut self, plan: &Plan) -> Result<(), NetworkError> {
        let mine = self.mark(plan.id).text();
        let left = self.links.all().await?.into_iter().any(|link| link.alias.as_deref() == Some(&mine));
        if left || Places::of(&self.config, plan.id, &plan.name).run.exists() {
            tracing::warn!(network = %plan.name, "clearing away what an earlier start left");
            return self.unmake(plan).await.into_iter().next().map_or(Ok(()), Err);
        }
        Ok(())
    }

    async fn make(&mut self, plan: &Plan, document: Network) -> Result<(Running, Vec<String>), NetworkError> {
        let places = Places::of(&self.config, plan.id, &plan.name);
        places.prepare()?;
        let text = document.to_xml(&WriteOptions::STORED);
        lodge_sys::fs::write_durable(&places.live, text.as_bytes(), 0o600)
            .map_err(file("write", &places.live))?;
        let mut notes = crate::plan::without_effect(&document);
        let ifindex = self.make_bridge(plan).await?;
        if let Some(limits) = document.bandwidth.as_deref().filter(|_| !plan.lends()) {
            let bridge = plan.bridge.as_deref().unwrap_or_default();
            if !plan.own_bridge() {
                limit::refuse_limited(bridge).await?;
                lodge_sys::fs::write_durable(&places.limited, bridge.as_bytes(), 0o600)
                    .map_err(file("write", &places.limited))?;
            }
            limit::apply(bridge, limit::Script::of_bridge(bridge, limits, &[])).await?;
        }
        if matches!(plan.mode, Mode::Nat(_) | Mode::Route | Mode::Open) {
            notes.extend(switch_forwarding_on(plan)?);
        }
        let upstreams = self.upstreams(plan);
        let process = if plan.served() {
            Some(launch::start(&self.config, plan, ifindex, upstreams.clone()).await?)
        } else {
            None
        };
        let netd = process.map(|process| super::Supervised { process, watches: Vec::new() });
        let running = Running {
            plan: plan.clone(),
            document,
            ifindex,
            control: places.control,
            netd,
            failures: 0,
            nics: std::collections::BTreeMap::new(),
            upstreams,
        };
        // Devices that are lent pass no rule of this host's, which may have no nft.
        if !plan.lends()
            && let Err(error) = self.load_rules(Some(plan)).await
        {
            if let Some(netd) = &running.netd {
                launch::end(&netd.process).await;
            }
            return Err(error);
        }
        tell_resolved(plan).await;
        Ok((running, notes))
    }

    /// The bridge, up and with its addresses; or the number of the one that is there already.
    async fn make_bridge(&self, plan: &Plan) -> Result<u32, NetworkError> {
        let name = plan.bridge.as_deref().unwrap_or_default();
        if let Mode::Functions(pool) = &plan.mode {
            for card in &pool.cards {
                if self.links.find(card).await?.is_none() {
                    return Err(gone("find the network card", card));
                }
            }
            return Ok(NO_LINK);
        }
        if !plan.own_bridge() {
            return match self.links.find(name).await? {
                Some(link) => Ok(link.index),
                None => Err(NetworkError::Link {
                    act: "find the bridge",
                    subject: name.to_owned(),
                    source: std::io::ErrorKind::NotFound.into(),
                }),
            };
        }
        let alias = self.mark(plan.id).text();
        let spec = BridgeSpec {
            name,
            mac: plan.mac,
            stp: plan.stp,
            delay_s: plan.delay_s,
            mtu: plan.mtu,
            alias: &alias,
        };
        let index = self.links.create_bridge(&spec).await?;
        for net in &plan.addresses {
            self.links.add_address(index, name, *net).await?;
        }
        self.links.set_up(index, name).await?;
        Ok(index)
    }

    /// Takes back all that a start may have made. Goes on after a failure and tells all of them.
    pub(super) async fn unmake(&mut self, plan: &Plan) -> Vec<NetworkError> {
        let mut failures = Vec::new();
        let places = Places::of(&self.config, plan.id, &plan.name);
        end_any_netd(&places, &plan.name).await;
        launch::remove_cgroup(&places);
        let mine = self.mark(plan.id).text();
        let noted = places.live.exists();
        // A crash between making a bridge and marking it: noted as begun, of this name, with this very MAC.
        let unmarked = |link: &Link| {
            let same = plan.bridge.as_ref() == Some(&link.name) && plan.mac.is_some() && link.mac == plan.mac;
            noted && plan.own_bridge() && link.is_bridge && link.alias.is_none() && same
        };
        // A bridge of somebody else's stays: what was set for this network goes.
        if let Some(bridge) = std::fs::read_to_string(&places.limited).ok().filter(|_| !plan.own_bridge()) {
            limit::lift(&bridge).await;
        }
        match self.links.all().await {
            Ok(links) => {
                for link in links.iter().filter(|link| link.alias.as_deref() == Some(&mine) || unmarked(link))
                {
                    failures.extend(self.links.delete(link.index, &link.name).await.err());
                }
            }
            Err(error) => failures.push(error),
        }
        if !plan.lends() {
            failures.extend(self.load_rules(None).await.err());
            self.guard_ports().await;
        }
        failures.extend(places.remove_run().err());
        failures
    }

    /// Makes the rules those of all running networks, and of `starting`.
    pub(super) async fn load_rules(&mut self, starting: Option<&Plan>) -> Result<(), NetworkError> {
        let running =
            self.entries.values().filter_map(|entry| entry.running.as_ref()).map(|running| &running.plan);
        let plans: Vec<&Plan> = running.chain(starting).collect();
        self.firewall.load(&plans).await
    }

    /// Lets each guest's hardware address come from its own port alone.
    pub(super) async fn guard_ports(&mut self) {
        let running = self.entries.values().filter_map(|entry| entry.running.as_ref());
        let own = running.filter(|running| running.plan.own_bridge());
        let ports = |running: &Running| -> Vec<Port> {
            let bridge = running.plan.bridge.clone().unwrap_or_default();
            let nics = running.nics.values().map(|plugged| &plugged.nic);
            nics.map(|nic| Port { bridge: bridge.clone(), ifname: nic.ifname.clone(), mac: nic.mac })
                .collect()
        };
        let ports: Vec<Port> = own.flat_map(ports).collect();
        if let Err(error) = self.firewall.guard(&ports).await {
            // A kernel without nftables' bridge family: guests run all the same, as they would under libvirt.
            let error = crate::error::chain(&error);
            tracing::warn!(error, "guests' ports are not guarded: one may use another's hardware address");
        }
    }

    /// Taps of this network whose guests run: they were left without a bridge when it stopped.
    async fn replug(&mut self, id: NetworkId) {
        let Ok(links) = self.links.all().await else { return };
        for link in links {
            let Some(mark) = link.alias.as_deref().and_then(Mark::parse) else { continue };
            let (true, Some(guest)) = (mark.tag == self.tag && mark.network == id, mark.guest.clone()) else {
                continue;
            };
            let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.as_mut()) else {
                return;
            };
            // Of a bridge of Open vSwitch's a port stays one, whatever becomes of the network.
            let plugged = if running.plan.switched && link.controller != Some(running.ifindex) {
                Ok(())
            } else {
                let mac = host_side(guest.mac);
                self.links.plug(&link, running.ifindex, &mark.text(), mac, None).await
            };
            let plugged = match plugged {
                Ok(()) if guest.isolated => self.links.isolate(link.index, &link.name).await,
                plugged => plugged,
            };
            match plugged {
                Ok(()) => {
                    drop(running.nics.insert(link.name.clone(), super::attach::plugged(&link.name, &guest)));
                }
                Err(error) => tracing::error!(tap = %link.name, %error, "tap not plugged in again"),
            }
        }
        // What was kept free for them is again.
        let running = self.entries.get(&id).and_then(|entry| entry.running.as_ref());
        if let Some(running) = running.filter(|running| running.nics.values().any(|nic| nic.floor.is_some()))
            && let Err(error) = running.share().await
        {
            let error = crate::error::chain(&error);
            tracing::error!(network = %running.plan.name, error, "what guests have for sure is not kept free");
        }
        self.guard_ports().await;
    }

    pub(super) fn mark(&self, id: NetworkId) -> Mark {
        Mark { tag: self.tag.clone(), network: id, guest: None }
    }
}
