//! The one task that owns every network of a root: it takes requests in turn, and nobody else changes
//! a bridge, a rule or a netd.
//!
//! ```text
//!             define             start                 netd ended
//!   (nothing) ──────▶ Defined ──────────▶ Running ──────────────────▶ Running (netd again)
//!       ▲  undefine ◀───┘  ▲     stop        │ undefine
//!       │                  └─────────────────┤
//!       └──────── stop ◀── Running, transient◀
//! ```
//!
//! Networks are few and their acts take milliseconds, so one task serves all; questions about leases and
//! names go to netd itself and never wait here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use lodge_model::domain::interface::Bandwidth;
use lodge_model::network::{Network, Update};
use lodge_model::{DomainId, MacAddr, NetworkId};
use lodge_store::definitions::{Collection, Definitions};
use lodge_sys::process::Process;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::client::Netd;
use crate::firewall::Firewall;
use crate::limit::Floor;
use crate::link::Links;
use crate::networks::NetworkHappening;
use crate::plan::{Mode, Plan};
use crate::{
    Affects, AttachRequest, Attached, CardRequest, Listening, MetadataChange, MetadataPart, NetworkError,
    NetworkEvent, NetworkView, NetworksConfig, Nic, PluggedCard, Started, TakenNetwork, limits, upstream,
};

mod adopt;
mod attach;
mod card;
mod change;
mod create;
mod define;
mod filter;
mod give_back;
mod host;
mod libvirt;
mod netd;
mod reconcile;
mod start;

/// The number of the interface of a network that has none.
const NO_LINK: u32 = 0;

/// What the owner is asked.
#[derive(Debug)]
pub enum Request {
    /// Take in a document.
    Define { xml: String, by_name: bool, reply: oneshot::Sender<Result<NetworkId, NetworkError>> },
    /// Take in a document and bring it up, without keeping it.
    Create { xml: String, reply: oneshot::Sender<Result<NetworkId, NetworkError>> },
    /// Change a section.
    Update {
        id: NetworkId,
        update: Box<Update>,
        affects: Affects,
        reply: oneshot::Sender<Result<(), NetworkError>>,
    },
    /// Change title, description or metadata.
    SetMetadata {
        id: NetworkId,
        change: Box<MetadataChange>,
        affects: Affects,
        reply: oneshot::Sender<Result<(), NetworkError>>,
    },
    /// Title, description or metadata.
    Metadata {
        id: NetworkId,
        part: MetadataPart,
        affects: Affects,
        reply: oneshot::Sender<Result<String, NetworkError>>,
    },
    /// Forget a definition.
    Undefine { id: NetworkId, reply: oneshot::Sender<Result<(), NetworkError>> },
    /// Bring up.
    Start { id: NetworkId, reply: oneshot::Sender<Result<Started, NetworkError>> },
    /// Bring up all that are marked.
    StartMarked(oneshot::Sender<Vec<(String, NetworkError)>>),
    /// Take down.
    Stop { id: NetworkId, reply: oneshot::Sender<Result<(), NetworkError>> },
    /// Mark to be started with the daemon.
    SetAutostart { id: NetworkId, enabled: bool, reply: oneshot::Sender<Result<(), NetworkError>> },
    /// The document.
    Xml { id: NetworkId, inactive: bool, reply: oneshot::Sender<Result<String, NetworkError>> },
    /// Plug in.
    Attach { request: Box<AttachRequest>, reply: oneshot::Sender<Result<Attached, NetworkError>> },
    /// Unplug.
    Detach { ifname: String, reply: oneshot::Sender<Result<(), NetworkError>> },
    /// Plug a card in that is on no network.
    Plug { request: Box<CardRequest>, reply: oneshot::Sender<Result<PluggedCard, NetworkError>> },
    /// Unplug all such cards of a guest.
    Unplug { domain: DomainId, reply: oneshot::Sender<Result<(), NetworkError>> },
    /// Limit a card anew.
    Limit { ifname: String, bandwidth: Box<Bandwidth>, reply: oneshot::Sender<Result<(), NetworkError>> },
    /// Let through what a guest listens to.
    Follow { ifname: String, listening: Box<Listening>, reply: oneshot::Sender<Result<(), NetworkError>> },
    /// Take over such a card.
    TakeCard {
        ifname: String,
        guest: (DomainId, String),
        mac: MacAddr,
        reply: oneshot::Sender<Result<(), NetworkError>>,
    },
    /// Take over what a libvirt daemon left running.
    TakeOverLibvirts(oneshot::Sender<Vec<TakenNetwork>>),
    /// Give everything back to a libvirt daemon that is to come.
    GiveBack(oneshot::Sender<Vec<String>>),
    /// Take over a guest's interface.
    TakeTap { ifname: String, request: Box<AttachRequest>, reply: oneshot::Sender<Result<(), NetworkError>> },
    /// Put back what is missing.
    Reconcile { reply: Option<oneshot::Sender<Result<(), NetworkError>>> },
    /// A netd has ended unasked.
    NetdEnded { id: NetworkId, pid: u32 },
    /// Time to start it again.
    NetdAgain { id: NetworkId },
    /// It has run well for a while.
    NetdWell { id: NetworkId, pid: u32 },
}

/// What the owner is at between two acts.
const NOTHING: &str = "nothing";

impl Request {
    /// What it asks for, for people.
    fn act(&self) -> &'static str {
        match self {
            Self::Define { .. } => "defining a network",
            Self::Create { .. } => "creating a network",
            Self::Update { .. } | Self::SetMetadata { .. } => "changing a network",
            Self::Metadata { .. } | Self::Xml { .. } => "reading a network's document",
            Self::Undefine { .. } => "undefining a network",
            Self::Start { .. } | Self::StartMarked(_) => "starting networks",
            Self::Stop { .. } => "stopping a network",
            Self::SetAutostart { .. } => "marking a network",
            Self::Attach { .. } | Self::Plug { .. } => "plugging a guest's card in",
            Self::Detach { .. } | Self::Unplug { .. } => "unplugging a guest's card",
            Self::Limit { .. } => "limiting a guest's card",
            Self::Follow { .. } => "letting through what a guest listens to",
            Self::TakeCard { .. } | Self::TakeTap { .. } | Self::TakeOverLibvirts(_) => {
                "taking over what a libvirt daemon left"
            }
            Self::GiveBack(_) => "giving networks to a libvirt daemon",
            Self::Reconcile { .. } => "looking after the rules",
            Self::NetdEnded { .. } | Self::NetdAgain { .. } | Self::NetdWell { .. } => {
                "looking after a network's netd"
            }
        }
    }
}

/// One network in a snapshot.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What others see.
    pub view: Arc<NetworkView>,
    /// Prefix length of its IPv4 subnet.
    pub prefix: u8,
    control: Option<PathBuf>,
}

impl Seen {
    /// Its netd, if it has one.
    pub fn netd(&self) -> Option<Netd> {
        Some(Netd::at(&self.view.name, self.control.clone()?))
    }
}

/// The owner's state.
pub struct Owner {
    config: NetworksConfig,
    tag: String,
    links: Links,
    definitions: Definitions,
    firewall: Firewall,
    entries: BTreeMap<NetworkId, Entry>,
    me: mpsc::WeakSender<Request>,
    events: broadcast::Sender<NetworkHappening>,
    snapshot: watch::Sender<Arc<[Seen]>>,
    /// What is being done, for people.
    at: watch::Sender<&'static str>,
    /// libvirt's files of running networks are kept: its driver is ours.
    leaves_statuses: bool,
    /// What they say.
    statuses: BTreeMap<NetworkId, Network>,
}

/// One network.
#[derive(Debug)]
struct Entry {
    name: String,
    /// The definition; `None`: it only runs.
    defined: Option<Network>,
    autostart: bool,
    running: Option<Running>,
}

/// A network that is up.
#[derive(Debug)]
struct Running {
    plan: Plan,
    document: Network,
    ifindex: u32,
    control: PathBuf,
    netd: Option<Supervised>,
    /// Restarts since it last ran well.
    failures: u32,
    nics: BTreeMap<String, Plugged>,
    upstreams: Vec<std::net::SocketAddr>,
}

/// A guest's interface, and the names the host vouches for. After a restart of the daemon only netd
/// knows the names.
#[derive(Debug, Clone)]
struct Plugged {
    nic: Nic,
    names: Vec<String>,
    /// What it has for sure of the network's bridge.
    floor: Option<Floor>,
}

/// A netd and the tasks that watch it; they end with this.
#[derive(Debug)]
struct Supervised {
    process: Process,
    watches: Vec<JoinHandle<()>>,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.watches.iter().for_each(JoinHandle::abort);
    }
}

impl Owner {
    /// Loads the definitions, adopts what runs, puts the rules right.
    pub async fn open(
        config: NetworksConfig,
        me: mpsc::WeakSender<Request>,
        events: broadcast::Sender<NetworkHappening>,
    ) -> Result<Self, NetworkError> {
        let definitions = Definitions::open(&config.root, Collection::Networks)
            .map_err(|error| define::store_failed("(all)", &error))?;
        let tag = config.root.tag();
        let firewall = Firewall::new(&tag, config.root.is_system());
        let links = Links::open()?;
        let (snapshot, at) = (watch::Sender::new(Arc::from([])), watch::Sender::new(NOTHING));
        let entries = BTreeMap::new();
        let mut owner = Self {
            config,
            tag,
            links,
            definitions,
            firewall,
            entries,
            me,
            events,
            snapshot,
            at,
            leaves_statuses: false,
            statuses: BTreeMap::new(),
        };
        owner.load().await?;
        owner.adopt().await;
        owner.restore_filters().await;
        owner.publish();
        Ok(owner)
    }

    /// Where readers find the latest snapshot.
    pub fn snapshots(&self) -> watch::Receiver<Arc<[Seen]>> {
        self.snapshot.subscribe()
    }

    /// Where it is told what is being done.
    pub fn acts(&self) -> watch::Receiver<&'static str> {
        self.at.subscribe()
    }

    /// Serves until the last handle is gone. Networks stay up: they are not the daemon's to lose.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let mut rules = tokio::time::interval(limits::RECONCILE_EVERY);
        let mut servers = tokio::time::interval(limits::UPSTREAMS_EVERY);
        rules.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        servers.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        rules.reset();
        loop {
            tokio::select! {
                request = inbox.recv() => match request {
                    Some(request) => self.serve(request).await,
                    None => return,
                },
                _ = rules.tick() => {
                    self.at.send_replace("looking after the rules");
                    if let Err(error) = self.reconcile().await {
                        tracing::error!(error = %crate::error::chain(&error), "rules could not be put right");
                    }
                }
                _ = servers.tick() => {
                    self.at.send_replace("telling netd the host's name servers");
                    self.push_upstreams().await;
                }
            }
            self.at.send_replace(NOTHING);
        }
    }

    async fn serve(&mut self, request: Request) {
        self.at.send_replace(request.act());
        // A caller who has gone needs no answer; the act is done all the same.
        match request {
            Request::Define { xml, by_name, reply } => drop(reply.send(self.define(&xml, by_name).await)),
            Request::Create { xml, reply } => drop(reply.send(self.create(&xml).await)),
            Request::Update { id, update, affects, reply } => {
                drop(reply.send(self.update(id, &update, affects).await));
            }
            Request::SetMetadata { id, change, affects, reply } => {
                drop(reply.send(self.set_metadata(id, &change, affects).await));
            }
            Request::Metadata { id, part, affects, reply } => {
                drop(reply.send(self.metadata(id, &part, affects)));
            }
            Request::Undefine { id, reply } => drop(reply.send(self.undefine(id).await)),
            Request::Start { id, reply } => drop(reply.send(self.start(id).await)),
            Request::StartMarked(reply) => drop(reply.send(self.start_marked().await)),
            Request::Stop { id, reply } => drop(reply.send(self.stop(id).await)),
            Request::SetAutostart { id, enabled, reply } => {
                drop(reply.send(self.set_autostart(id, enabled).await));
            }
            Request::Xml { id, inactive, reply } => drop(reply.send(self.xml(id, inactive).await)),
            Request::Attach { request, reply } => drop(reply.send(self.attach(*request).await)),
            Request::Detach { ifname, reply } => drop(reply.send(self.detach(&ifname).await)),
            Request::Plug { request, reply } => drop(reply.send(self.plug(*request).await)),
            Request::Unplug { domain, reply } => drop(reply.send(self.unplug(domain).await)),
            Request::Limit { ifname, bandwidth, reply } => {
                drop(reply.send(self.limit(&ifname, &bandwidth).await));
            }
            Request::Follow { ifname, listening, reply } => {
                drop(reply.send(self.follow(&ifname, &listening).await));
            }
            Request::TakeCard { ifname, guest: (domain, name), mac, reply } => {
                drop(reply.send(self.take_card(&ifname, (domain, &name), mac).await));
            }
            Request::TakeOverLibvirts(reply) => drop(reply.send(self.take_over_libvirts().await)),
            Request::GiveBack(reply) => drop(reply.send(self.give_back().await)),
            Request::TakeTap { ifname, request, reply } => {
                drop(reply.send(self.take_tap(&ifname, *request).await));
            }
            Request::Reconcile { reply } => {
                let done = self.reconcile().await;
                if let Some(reply) = reply {
                    drop(reply.send(done));
                }
            }
            Request::NetdEnded { id, pid } => self.netd_ended(id, pid).await,
            Request::NetdAgain { id } => self.netd_again(id).await,
            Request::NetdWell { id, pid } => self.netd_well(id, pid),
        }
        self.keep_statuses();
        self.publish();
    }

    fn entry(&self, id: NetworkId) -> Result<&Entry, NetworkError> {
        self.entries.get(&id).ok_or_else(|| NetworkError::NotFound { name: id.to_string() })
    }

    fn tell(&self, id: NetworkId, event: NetworkEvent) {
        let name = self.entries.get(&id).map(|entry| entry.name.clone()).unwrap_or_default();
        // Nobody listening is well.
        let _ = self.events.send((id, name, event));
    }

    /// Addresses of our bridges: name servers that must not be asked from here.
    fn own_addresses(&self) -> Vec<IpAddr> {
        let running = self.entries.values().filter_map(|entry| entry.running.as_ref());
        running.flat_map(|running| running.plan.addresses.iter().map(IpNet::addr)).collect()
    }

    /// Whom the netd of `plan` is to ask about names outside.
    fn upstreams(&self, plan: &Plan) -> Vec<std::net::SocketAddr> {
        if plan.forwarders.is_empty() {
            let mut ours = self.own_addresses();
            ours.extend(plan.addresses.iter().map(IpNet::addr));
            upstream::read(&ours)
        } else {
            plan.forwarders.iter().map(|server| std::net::SocketAddr::new(*server, 53)).collect()
        }
    }

    async fn push_upstreams(&mut self) {
        let wanted: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(id, entry)| {
                let running = entry.running.as_ref()?;
                let servers = self.upstreams(&running.plan);
                (running.plan.dns.is_some() && servers != running.upstreams).then_some((*id, servers))
            })
            .collect();
        for (id, servers) in wanted {
            let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.as_mut()) else {
                continue;
            };
            let netd = Netd::at(&running.plan.name, running.control.clone());
            match netd.set_upstreams(servers.clone()).await {
                Ok(()) => running.upstreams = servers,
                Err(error) => {
                    tracing::debug!(network = %running.plan.name, %error, "name servers not told yet");
                }
            }
        }
    }

    fn publish(&self) {
        let mut seen: Vec<Seen> = self.entries.iter().map(|(id, entry)| entry.seen(*id)).collect();
        seen.sort_by(|a, b| a.view.name.cmp(&b.view.name));
        self.snapshot.send_replace(seen.into());
    }
}

impl Entry {
    fn document(&self) -> Option<&Network> {
        self.defined.as_ref().or(self.running.as_ref().map(|running| &running.document))
    }

    fn seen(&self, id: NetworkId) -> Seen {
        let running = self.running.as_ref();
        let own = self.document().and_then(|document| Plan::of(document).ok());
        let plan = running.map(|running| &running.plan).or(own.as_ref());
        let mode = plan
            .map(|plan| plan.mode.word().to_owned())
            .or_else(|| self.document()?.forward_mode().map(|mode| mode.to_string()));
        let functions = plan.and_then(|plan| match &plan.mode {
            Mode::Functions(pool) => Some(pool.clone()),
            _ => None,
        });
        let prefix = plan.and_then(|plan| plan.dhcp.as_ref()).map_or(24, |scope| scope.prefix);
        let view = NetworkView {
            id,
            name: self.name.clone(),
            active: running.is_some(),
            persistent: self.defined.is_some(),
            autostart: self.autostart,
            mode: mode.unwrap_or_default(),
            bridge: plan.and_then(|plan| plan.bridge.clone()).unwrap_or_default(),
            addresses: plan
                .map(|plan| plan.addresses.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            domain: plan.and_then(|plan| plan.dns.as_ref()).and_then(|rules| rules.domain.clone()),
            functions,
            nics: running
                .map(|running| running.nics.values().map(|p| p.nic.clone()).collect())
                .unwrap_or_default(),
        };
        let served = running.is_some_and(|running| running.plan.served());
        Seen { view: Arc::new(view), prefix, control: running.filter(|_| served).map(|r| r.control.clone()) }
    }
}

/// The host's end of a guest's cable bears the guest's address with the first byte changed, so that the
/// bridge never takes a guest's address for its own.
fn host_side(mac: MacAddr) -> MacAddr {
    let mut bytes = mac.0;
    bytes[0] = if bytes[0] == 0xfe { 0xfa } else { 0xfe };
    MacAddr(bytes)
}

/// How long to wait before a netd that ended for the `failures`th time is started again.
fn backoff(failures: u32) -> Duration {
    if failures <= 1 {
        return Duration::ZERO;
    }
    Duration::from_millis(250).saturating_mul(1 << failures.min(10)).min(limits::NETD_BACKOFF_MAX)
}
