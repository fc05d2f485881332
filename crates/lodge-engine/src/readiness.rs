//! How far guests are, and waiting for them.
//!
//! Every running guest has a follower: a watcher of `lodge_guest` that looks through the guest's agent and the leases of
//! its cards. What the owner of the guest knows first (started, held, reset, gone) is told to it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lodge_api::{
    Address, AddressFamily, InterfaceAddresses, Phase, PhaseTime, Readiness, ReadinessFailure, WaitFor,
    WaitQuery,
};
use lodge_domain::{DomainEvent, EventKind, Handle, Lifecycle};
use lodge_guest::readiness::{self as guest, Leases, Sight, Signal, Watcher, guest::AgentGuest};
use lodge_model::{
    DomainId, Kind, MacAddr,
    domain::{Domain, interface::InterfaceKind},
};
use lodge_network::Networks;
use lodge_qemu::{Speed, agent::Agent};
use tokio::sync::{broadcast::error::RecvError, oneshot, watch};

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
};

/// How often a wait looks for what is told by no event.
const LOOK: Duration = Duration::from_secs(1);

/// A guest's serial console: bytes both ways. Dropped, it is free for the next.
pub struct Console {
    /// The host's end of the pty.
    pub pty: tokio::fs::File,
    /// Resolves when somebody took the console over.
    pub taken: oneshot::Receiver<()>,
}

/// Those who watch running guests.
#[derive(Clone)]
pub(crate) struct Followers {
    speed: Speed,
    guests: Arc<Mutex<HashMap<DomainId, Followed>>>,
    consoles: Arc<Mutex<HashMap<DomainId, oneshot::Sender<()>>>>,
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
        Self { speed, guests: Arc::default(), consoles: Arc::default() }
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

    fn watch(&self, id: DomainId) -> Option<watch::Receiver<guest::Readiness>> {
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
                    }
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    /// Sees to it that exactly the running guests are followed.
    async fn follow_all(&self) {
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
                return;
            }
            EventKind::Lifecycle(Lifecycle::Stopped, _) => {
                lock(&self.followers.guests).remove(&event.domain);
                return;
            }
            EventKind::Lifecycle(Lifecycle::Suspended | Lifecycle::PmSuspended, _) => Signal::Held,
            EventKind::Lifecycle(Lifecycle::Resumed, _) => Signal::Released,
            EventKind::Reboot => Signal::Reset,
            _ => return,
        };
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
        let cards: Vec<MacAddr> = document
            .devices
            .interfaces
            .iter()
            .filter_map(lodge_model::domain::interface::Interface::mac)
            .collect();
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

    /// How far the guest in a domain is.
    pub async fn readiness(&self, _caller: &Caller, dom: &str) -> Result<Readiness> {
        Ok(self.readiness_of(&self.find_domain(dom)?).await)
    }

    async fn readiness_of(&self, handle: &Handle) -> Readiness {
        let Some(watching) = self.followers.watch(handle.id()) else { return Readiness::default() };
        let seen = watching.borrow().clone();
        let interfaces = self.leased(handle).await.unwrap_or_default();
        let interfaces = if interfaces.is_empty() { unnamed(&seen.addresses) } else { interfaces };
        let accelerator = crate::view::domain(&handle.snapshot()).accelerator;
        Readiness {
            phase: phase(seen.phase),
            since_ms: seen.since_ms,
            message: seen.message,
            failure: seen.failure.map(|failure| ReadinessFailure {
                module: failure.module,
                log_line: failure.log_line,
                message: failure.reason,
                hint: failure.hint,
            }),
            timeline: seen.timeline.into_iter().map(phase_time).collect(),
            interfaces,
            hostname: seen.hostname,
            accelerator,
            speed: Some(lodge_api::SpeedView { factor: seen.speed }),
            deadline_ms: seen.deadline_ms,
        }
    }

    /// Waits until it is so; an error says why it will not be.
    pub async fn wait(&self, _caller: &Caller, dom: &str, query: WaitQuery) -> Result<Readiness> {
        let handle = self.find_domain(dom)?;
        let waiting = self.wait_for(&handle, query.target);
        let Some(timeout_s) = query.timeout_s else { return waiting.await };
        if let Ok(outcome) = tokio::time::timeout(Duration::from_secs(timeout_s), waiting).await {
            return outcome;
        }
        let now = self.readiness_of(&handle).await;
        let (target, phase) = (word(query.target), now.phase);
        let message =
            format!("`{dom}` is not {target} after {timeout_s} s; it is at `{phase}`: {}", now.message);
        Err(EngineError::new(Kind::Unavailable, message)
            .with_hint(format!("`lodge console {dom}` shows what the guest is doing")))
    }

    async fn wait_for(&self, handle: &Handle, target: WaitFor) -> Result<Readiness> {
        let mut events = self.domains.subscribe();
        loop {
            // Seen before it is judged: only what changes after that wakes us.
            let mut watching = self.followers.watch(handle.id());
            if let Some(watching) = &mut watching {
                watching.mark_unchanged();
            }
            if let Some(done) = self.has_come(handle, target).await? {
                return Ok(done);
            }
            // Whatever comes first: the domain's own event, the guest's next phase, or a look by the clock.
            let phase = async {
                match &mut watching {
                    Some(watching) => watching.changed().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = events.recv() => {}
                _ = phase => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// `Ok(None)`: not yet.
    async fn has_come(&self, handle: &Handle, target: WaitFor) -> Result<Option<Readiness>> {
        let snapshot = handle.snapshot();
        let (state, _) = snapshot.state.words();
        let now = self.readiness_of(handle).await;
        let come = match target {
            WaitFor::Stopped => return Ok((!snapshot.is_active()).then_some(now)),
            WaitFor::Running => state == "running",
            WaitFor::Ready => now.phase == Phase::Ready,
            WaitFor::Address => !now.interfaces.is_empty(),
            WaitFor::Agent => {
                self.followers.watch(handle.id()).is_some_and(|watching| watching.borrow().agent)
            }
        };
        if come {
            return Ok(Some(now));
        }
        if !snapshot.is_active() && snapshot.job.is_none() {
            let (_, reason) = snapshot.state.words();
            let message = format!("`{}` is not {}: it is shut off ({reason})", snapshot.name, word(target));
            return Err(EngineError::new(Kind::InvalidState, message).with_hint("start it"));
        }
        match &now.failure {
            Some(failure) if now.phase == Phase::Failed => Err(failed(&snapshot.name, target, failure)),
            _ => Ok(None),
        }
    }

    /// A domain's serial console.
    pub async fn domain_console(&self, caller: &Caller, dom: &str, force: bool) -> Result<Console> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        let snapshot = handle.snapshot();
        let vmm = snapshot.vmm.as_ref();
        let vmm = vmm.ok_or_else(|| EngineError::new(Kind::InvalidState, "domain is not running"))?;
        let path = vmm.console.clone().ok_or_else(|| {
            EngineError::new(Kind::Unsupported, format!("domain `{dom}` has no serial console on a pty"))
                .with_hint("add <serial type='pty'/> to its devices")
        })?;
        let (taker, taken) = oneshot::channel();
        {
            let mut consoles = lock(&self.followers.consoles);
            let held = consoles.get(&handle.id()).is_some_and(|holder| !holder.is_closed());
            if held && !force {
                return Err(EngineError::new(Kind::Busy, "Active console session exists for this domain")
                    .with_hint("--force takes it over"));
            }
            if let Some(holder) = consoles.insert(handle.id(), taker) {
                // A holder that has gone needs no word.
                let _ = holder.send(());
            }
        }
        let mut options = tokio::fs::OpenOptions::new();
        options.read(true).write(true).custom_flags(rustix::fs::OFlags::NOCTTY.bits().cast_signed());
        let pty = options.open(&path).await.map_err(|error| {
            EngineError::new(
                Kind::Unavailable,
                format!("cannot open the console `{}`: {error}", path.display()),
            )
        })?;
        Ok(Console { pty, taken })
    }
}

fn failed(name: &str, target: WaitFor, failure: &ReadinessFailure) -> EngineError {
    let mut message = format!("`{name}` is not {}: {}: {}", word(target), failure.module, failure.message);
    if let Some(line) = &failure.log_line {
        message.push_str("\n  the guest's log: ");
        message.push_str(line);
    }
    let error = EngineError::new(Kind::InvalidState, message);
    match &failure.hint {
        Some(hint) => error.with_hint(hint.clone()),
        None => error,
    }
}

fn word(target: WaitFor) -> &'static str {
    match target {
        WaitFor::Ready => "ready",
        WaitFor::Address => "addressed",
        WaitFor::Agent => "answering by its agent",
        WaitFor::Stopped => "shut off",
        WaitFor::Running => "running",
    }
}

fn phase(phase: guest::Phase) -> Phase {
    match phase {
        guest::Phase::Stopped => Phase::Stopped,
        guest::Phase::Booting => Phase::Booting,
        guest::Phase::Address => Phase::Address,
        guest::Phase::Agent => Phase::Agent,
        guest::Phase::CloudInit => Phase::CloudInit,
        guest::Phase::Ready => Phase::Ready,
        guest::Phase::Failed => Phase::Failed,
    }
}

fn phase_time(milestone: guest::Milestone) -> PhaseTime {
    PhaseTime {
        phase: phase(milestone.phase),
        entered_ms: milestone.entered_ms,
        duration_ms: milestone.duration_ms,
    }
}

/// Addresses that are known without their card.
fn unnamed(addresses: &[IpAddr]) -> Vec<InterfaceAddresses> {
    let address = |ip: &IpAddr| Address {
        family: if ip.is_ipv4() { AddressFamily::Ipv4 } else { AddressFamily::Ipv6 },
        ip: ip.to_string(),
        prefix: if ip.is_ipv4() { 32 } else { 128 },
    };
    if addresses.is_empty() {
        return Vec::new();
    }
    vec![InterfaceAddresses {
        name: "-".to_owned(),
        mac: None,
        addresses: addresses.iter().map(address).collect(),
    }]
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
        let macs: Vec<MacAddr> = cards.filter_map(lodge_model::domain::interface::Interface::mac).collect();
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
