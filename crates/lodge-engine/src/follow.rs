//! Every running guest has a follower: a watcher of `lodge_guest` that looks through the guest's agent and the leases of
//! its cards. What the owner of the guest knows first (started, held, reset, gone) is told to it.
//!
//! What it sees is read in [`crate::readiness`] and waited for in `wait.rs`.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lodge_api::Phase;
use lodge_domain::{DomainEvent, EventKind, Handle, Lifecycle};
use lodge_guest::readiness::{self as guest, Leases, Sight, Signal, Watcher, guest::AgentGuest};
use lodge_model::{
    DomainId, MacAddr,
    domain::{
        Domain,
        interface::{Interface, InterfaceKind},
    },
};
use lodge_network::Networks;
use lodge_qemu::{Speed, agent::Agent};
use tokio::sync::{broadcast::error::RecvError, watch};

use crate::{Engine, readiness::phase};

/// Those who watch running guests.
#[derive(Clone)]
pub(crate) struct Followers {
    speed: Speed,
    guests: Arc<Mutex<HashMap<DomainId, Followed>>>,
}

struct Followed {
    watcher: Watcher,
    agent: Option<Agent>,
}

/// What lists show of a followed guest.
pub(crate) struct FollowedView {
    pub phase: Phase,
    pub addresses: Vec<String>,
}

impl Followers {
    pub fn new(speed: Speed) -> Self {
        Self { speed, guests: Arc::default() }
    }

    /// What is known of a guest now.
    pub fn view(&self, id: DomainId) -> Option<FollowedView> {
        let guests = lock(&self.guests);
        let readiness = guests.get(&id)?.watcher.readiness();
        let addresses = readiness.addresses.iter().map(ToString::to_string).collect();
        Some(FollowedView { phase: phase(readiness.phase), addresses })
    }

    /// The guest's agent, if it has the channel. There is one for all who use it: QEMU serves one connection only.
    pub fn agent(&self, id: DomainId) -> Option<Agent> {
        lock(&self.guests).get(&id)?.agent.clone()
    }

    pub fn watch(&self, id: DomainId) -> Option<watch::Receiver<guest::Readiness>> {
        Some(lock(&self.guests).get(&id)?.watcher.subscribe())
    }

    fn signal(&self, id: DomainId, signal: Signal) {
        if let Some(followed) = lock(&self.guests).get(&id) {
            followed.watcher.signal(signal);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Follows every guest that runs, and those that start later; publishes what happens to domains.
    pub(crate) async fn follow_domains(&self) {
        let mut events = self.domains.subscribe();
        self.follow_all().await;
        let engine = self.clone();
        self.spawn(async move {
            loop {
                match events.recv().await {
                    Ok(event) => engine.heard(&event).await,
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "domain events missed; looking at all");
                        engine.follow_all().await;
                        engine.settle_cut_clones().await;
                    }
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    /// Sees to it that exactly the running guests are followed.
    pub(crate) async fn follow_all(&self) {
        let active: Vec<DomainId> =
            self.domains.list().iter().filter(|domain| domain.is_active()).map(|domain| domain.id).collect();
        lock(&self.followers.guests).retain(|id, _| active.contains(id));
        for id in active {
            let followed = lock(&self.followers.guests).contains_key(&id);
            if let (false, Ok(handle)) = (followed, self.domains.get(id)) {
                self.follow(&handle, false).await;
            }
        }
    }

    async fn heard(&self, event: &DomainEvent) {
        let data = serde_json::json!({ "uuid": event.domain, "detail": event.kind.detail() });
        self.feed.publish(format!("domain.{}", event.kind.as_str()), event.name.to_string(), data);
        let signal = match event.kind {
            EventKind::Lifecycle(Lifecycle::Started, _) => {
                if let Ok(handle) = self.domains.get(event.domain) {
                    self.follow(&handle, true).await;
                }
                // By the agent, whose connection is the follower's.
                self.settle_at(event);
                return;
            }
            EventKind::Lifecycle(Lifecycle::Stopped, _) => {
                lock(&self.followers.guests).remove(&event.domain);
                self.settle_at(event);
                return;
            }
            EventKind::Lifecycle(Lifecycle::Suspended | Lifecycle::PmSuspended, _) => Signal::Held,
            EventKind::Lifecycle(Lifecycle::Resumed, _) => Signal::Released,
            EventKind::Reboot => Signal::Reset,
            _ => return self.settle_at(event),
        };
        self.settle_at(event);
        self.followers.signal(event.domain, signal);
    }

    /// `fresh`: it has just started, so leases it has already are of an earlier life.
    async fn follow(&self, handle: &Handle, fresh: bool) {
        let Ok(document) = handle.document() else { return };
        let Some(vmm) = handle.snapshot().vmm.clone() else { return };
        let agent = vmm.agent_socket.as_deref().map(Agent::new);
        let leases = CardLeases::new(&self.networks, &document, fresh).await;
        let sight = Sight {
            agent_channel: agent.is_some(),
            nics: !leases.macs.is_empty(),
            seed: self.store.root().seeds().join(format!("{}.json", handle.id().0)).exists(),
        };
        let cards: Vec<MacAddr> = document.devices.interfaces.iter().filter_map(Interface::mac).collect();
        // Without the channel the watcher never asks the agent; it only needs one to hold.
        let guest = agent.clone().unwrap_or_else(|| Agent::new(std::path::Path::new("/nonexistent")));
        let watcher = guest::watch(
            sight,
            self.followers.speed.factor,
            Arc::new(AgentGuest::new(guest, cards)),
            Arc::new(leases),
        );
        watcher.signal(Signal::Started);
        self.tell_phases(handle.name().to_string(), watcher.subscribe());
        lock(&self.followers.guests).insert(handle.id(), Followed { watcher, agent });
    }

    /// One event and one line in the log per phase a guest comes to.
    fn tell_phases(&self, name: String, mut readiness: watch::Receiver<guest::Readiness>) {
        let feed = self.feed.clone();
        self.spawn(async move {
            let mut last = guest::Phase::Stopped;
            while readiness.changed().await.is_ok() {
                let (now, message) = {
                    let readiness = readiness.borrow_and_update();
                    (readiness.phase, readiness.message.clone())
                };
                if now != last {
                    last = now;
                    let word = phase(now).word();
                    tracing::info!(domain = %name, phase = word, "guest came further");
                    feed.publish(
                        "guest.phase",
                        name.clone(),
                        serde_json::json!({ "phase": word, "message": message }),
                    );
                }
            }
        });
    }
}

/// The leases of a guest's cards.
struct CardLeases {
    networks: Networks,
    macs: Vec<MacAddr>,
    /// Leases of an earlier life, by address and end; renewed, they have another end and count.
    stale: Vec<(IpAddr, u64)>,
}

impl CardLeases {
    async fn new(networks: &Networks, document: &Domain, fresh: bool) -> Self {
        let cards = document.devices.interfaces.iter().filter(|card| card.kind == InterfaceKind::Network);
        let macs: Vec<MacAddr> = cards.filter_map(Interface::mac).collect();
        let mut leases = Self { networks: networks.clone(), macs, stale: Vec::new() };
        if fresh {
            leases.stale = leases.all().await;
        }
        leases
    }

    /// Every lease by address and end.
    async fn all(&self) -> Vec<(IpAddr, u64)> {
        let mut all = Vec::new();
        for mac in &self.macs {
            let leases = self.networks.addresses(*mac).await;
            all.extend(leases.into_iter().map(|lease| (lease.ip.into(), lease.expires)));
        }
        all
    }
}

#[async_trait::async_trait]
impl Leases for CardLeases {
    async fn addresses(&self) -> Vec<IpAddr> {
        let all = self.all().await;
        all.into_iter().filter(|lease| !self.stale.contains(lease)).map(|(ip, _)| ip).collect()
    }
}
