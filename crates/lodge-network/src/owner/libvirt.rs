//! Taking over the networks that a libvirt daemon left running, without a guest noticing.
//!
//! ```text
//!  leases ▶ mark the bridge ▶ note ▶ our rules ▶ dnsmasq ends ▶ netd begins ▶ libvirt's rules are taken back
//! ```
//!
//! Bridge and taps stay as they are. In this order a crash at any point leaves a network that the next try takes over:
//! the bridge bears our mark before the note is there, so it is never mistaken for a half-made one of ours. Names are
//! answered and addresses given again some milliseconds later, with the same leases.
//! While it runs here, libvirt's file of it stays, for the way back. Deliberately absent: networks that our plans
//! cannot express; they stay libvirt's, and are told.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use lodge_model::NetworkId;
use lodge_model::xml::WriteOptions;

use super::{Entry, Owner, Running};
use crate::launch::{self, Places, file};
use crate::libvirt::{self, RunningNetwork};
use crate::limit::Floor;
use crate::mark::Mark;
use crate::netd::journal::{Entry as Journaled, Journal};
use crate::plan::Plan;
use crate::port::PortRules;
use crate::{AttachRequest, NetworkError, NetworkEvent, TakenNetwork};

impl Owner {
    /// Takes over what a libvirt daemon left, and from now on leaves to one what runs here.
    pub(super) async fn take_over_libvirts(&mut self) -> Vec<TakenNetwork> {
        self.leaves_statuses = true;
        if let Err(error) = self.load().await {
            tracing::error!(error = %crate::error::chain(&error), "definitions of libvirt's could not be read");
        }
        let found = match libvirt::running_networks(&self.config.root) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "libvirt's running networks could not be looked for");
                return Vec::new();
            }
        };
        for (path, why) in found.unreadable {
            tracing::error!(path = %path.display(), why, "a running network's file cannot be used; it is left as it is");
        }
        let mut taken = Vec::new();
        for network in found.running {
            let name = network.document.name.clone();
            match self.take_network(network).await {
                Ok(true) => taken.push(TakenNetwork { name, error: None }),
                Ok(false) => {}
                Err(error) => {
                    let error = crate::error::chain(&error);
                    tracing::error!(network = %name, error, "a network of libvirt's was not taken over");
                    taken.push(TakenNetwork { name, error: Some(error) });
                }
            }
        }
        self.keep_statuses();
        taken
    }

    /// `Ok(false)`: there is nothing to take: it is ours already, or its bridge is gone.
    async fn take_network(&mut self, network: RunningNetwork) -> Result<bool, NetworkError> {
        let Some(id) = network.document.uuid else { return Ok(false) };
        if let Some(running) = self.entries.get(&id).and_then(|entry| entry.running.as_ref()) {
            // A daemon of ours died after the note and before the rest.
            let plan = running.plan.clone();
            if self.end_dnsmasq(&plan).await {
                self.netd_again(id).await;
                if let Some(undo) = &network.firewall {
                    libvirt::undo_rules(&plan.name, undo).await;
                }
            }
            return Ok(false);
        }
        let plan = Plan { id, ..Plan::of(&network.document)? };
        if plan.lends() {
            let what =
                "taking over a pool of virtual functions from libvirt (start it here instead)".to_owned();
            return Err(NetworkError::Unsupported { network: plan.name, what });
        }
        let Some(bridge) = plan.bridge.clone() else { return Ok(false) };
        let Some(link) = self.links.find(&bridge).await?.filter(|link| link.is_bridge || plan.switched)
        else {
            tracing::info!(network = %plan.name, bridge, "a network of libvirt's is down: its bridge is gone");
            let _ = libvirt::remove_status(&self.config.root, &plan.name);
            return Ok(false);
        };
        if let Some(mark) = link.alias.as_deref().and_then(Mark::parse).filter(|mark| mark.tag != self.tag) {
            return Err(NetworkError::Conflict {
                what: format!("bridge `{bridge}`"),
                owner: format!("another Lodge daemon (root tag {})", mark.tag),
                hint: "stop that network there first".to_owned(),
            });
        }
        let places = Places::of(&self.config, id, &plan.name);
        places.prepare()?;
        self.keep_leases(&plan, &places, &bridge);
        if plan.own_bridge() {
            self.links.mark(link.index, &bridge, &self.mark(id).text()).await?;
        }
        let text = network.document.to_xml(&WriteOptions::STORED);
        lodge_sys::fs::write_durable(&places.live, text.as_bytes(), 0o600)
            .map_err(file("write", &places.live))?;
        self.load_rules(Some(&plan)).await?;
        self.end_dnsmasq(&plan).await;
        let name = plan.name.clone();
        let running = Running {
            plan,
            document: network.document,
            ifindex: link.index,
            control: places.control,
            netd: None,
            failures: 0,
            nics: std::collections::BTreeMap::new(),
            upstreams: Vec::new(),
        };
        let entry = self.entries.entry(id).or_insert_with(|| Entry {
            name: name.clone(),
            defined: None,
            autostart: false,
            running: None,
        });
        entry.running = Some(running);
        self.netd_again(id).await;
        if let Some(undo) = &network.firewall {
            libvirt::undo_rules(&name, undo).await;
        }
        tracing::info!(network = %name, bridge, "running network taken over from libvirt");
        self.tell(id, NetworkEvent::Started);
        Ok(true)
    }

    /// Puts the leases that dnsmasq gave into netd's journal, which no netd has open. Without them guests would keep
    /// their addresses all the same until they ask again: so this stops nothing.
    fn keep_leases(&self, plan: &Plan, places: &Places, bridge: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let leases = match libvirt::leases(&self.config.root, bridge, now) {
            Ok(leases) => leases,
            Err(why) => {
                tracing::warn!(network = %plan.name, why, "the leases of libvirt's dnsmasq cannot be read");
                return;
            }
        };
        let noted = || {
            let open = |path| {
                OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
            };
            let files: [File; 2] = [open(&places.journal[0])?, open(&places.journal[1])?];
            let (mut journal, mut entries) = Journal::open(files)?;
            let of = |entry: &Journaled| match entry {
                Journaled::Lease { mac, .. } => Some(*mac),
                _ => None,
            };
            let theirs: Vec<_> = leases.iter().filter_map(of).collect();
            // dnsmasq had the guests last: what it says of one goes before what was known.
            entries.retain(|entry| of(entry).is_none_or(|mac| !theirs.contains(&mac)));
            entries.extend(leases);
            journal.snapshot(&entries)
        };
        if let Err(error) = noted() {
            tracing::warn!(network = %plan.name, %error, "the leases of libvirt's dnsmasq were not kept");
        }
    }

    /// Whether there was one.
    async fn end_dnsmasq(&self, plan: &Plan) -> bool {
        let Some(process) = libvirt::dnsmasq(&self.config.root, &plan.name) else { return false };
        tracing::info!(network = %plan.name, pid = process.identity().pid, "libvirt's dnsmasq gives way");
        launch::end(&process).await;
        true
    }

    /// Takes a guest's interface over that is on a bridge of ours: marks it, and tells netd the guest's names.
    pub(super) async fn take_tap(
        &mut self,
        ifname: &str,
        request: AttachRequest,
    ) -> Result<(), NetworkError> {
        let id = self.by_name(&request.network)?;
        let Some(running) = self.entry(id)?.running.as_ref() else {
            return Err(NetworkError::Inactive { network: request.network });
        };
        let Some(link) = self.links.find(ifname).await? else { return Ok(()) };
        let bridge = running.plan.bridge.clone().unwrap_or_default();
        // A virtual port that is there already need not be judged.
        let rules = PortRules::of(&running.document, &bridge, &request).unwrap_or_default();
        let inbound = rules.bandwidth.as_ref().and_then(|bandwidth| bandwidth.inbound.as_ref());
        let floor = inbound.and_then(|rate| rate.floor_kib_s).filter(|floor| *floor > 0);
        let floor = floor.map(|kib_s| Floor { mac: request.mac, kib_s });
        if running.nics.contains_key(ifname) && link.alias.as_deref().and_then(Mark::parse).is_some() {
            let running = self.entries.get_mut(&id).and_then(|entry| entry.running.as_mut());
            // An older daemon's mark says nothing of it.
            if let Some(known) = running.and_then(|running| running.nics.get_mut(ifname)) {
                known.floor = known.floor.or(floor);
            }
            return Ok(());
        }
        let guest = super::attach::guest_of(&request, floor, rules.isolated);
        let mark = Mark { guest: Some(guest.clone()), ..self.mark(id) };
        self.links.mark(link.index, ifname, &mark.text()).await?;
        let names = super::attach::names(&request);
        if running.plan.served() {
            let netd = crate::client::Netd::at(&running.plan.name, running.control.clone());
            if let Err(error) = netd.set_names(request.mac, names.clone()).await {
                tracing::warn!(network = %request.network, %error, "the guest's name is not known yet");
            }
        }
        let plugged = super::Plugged { names, ..super::attach::plugged(ifname, &guest) };
        if let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.as_mut()) {
            running.nics.insert(ifname.to_owned(), plugged);
        }
        self.guard_ports().await;
        tracing::info!(tap = ifname, domain = %request.domain_name, "a guest's interface taken over");
        Ok(())
    }

    /// Keeps libvirt's files of running networks as the networks are.
    pub(super) fn keep_statuses(&mut self) {
        if !self.leaves_statuses {
            return;
        }
        let running =
            self.entries.iter().filter_map(|(id, entry)| Some((*id, &entry.running.as_ref()?.document)));
        let running: Vec<(NetworkId, _)> = running.collect();
        let mut left = std::mem::take(&mut self.statuses);
        let mut kept = std::collections::BTreeMap::new();
        for (id, document) in running {
            let known = left.remove(&id);
            if known.as_ref() != Some(document)
                && let Err(error) = libvirt::leave_status(&self.config.root, document)
            {
                tracing::warn!(network = %document.name, %error, "libvirt's file of a running network was not written");
            }
            kept.insert(id, document.clone());
        }
        for gone in left.values() {
            if let Err(error) = libvirt::remove_status(&self.config.root, &gone.name) {
                tracing::warn!(network = %gone.name, %error, "libvirt's file of a stopped network was not removed");
            }
        }
        self.statuses = kept;
    }
}
