//! The handle to all networks of one root: acts go to the owner task, reads are snapshots or ask netd.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use lodge_model::domain::interface::Bandwidth;
use lodge_model::network::Update;
use lodge_model::nwfilter::Binding;
use lodge_model::{DomainId, MacAddr, NetworkId};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::client::Netd;
use crate::netd::setup::{DnsRules, Scope};
use crate::owner::{Owner, Request, Seen};
use crate::wire::WireLease;
use crate::{
    Affects, AttachRequest, Attached, Bind, CardRequest, FilterError, Lease, Listening, MetadataChange,
    MetadataPart, NetworkError, NetworkEvent, NetworkFilters, NetworkView, PluggedCard, Started,
    TakenNetwork, limits,
};

/// How to start netd: a program and the arguments before netd's own.
#[derive(Debug, Clone)]
pub struct NetdProgram {
    /// Usually the running program itself; an absolute path.
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
    /// What guests call themselves in DHCP counts for names and for addresses reserved by name, where nobody else has
    /// the name. Without it a guest has the names that the host gave it and no others.
    pub guest_names: bool,
    /// What guests' cards may send and receive.
    pub filters: NetworkFilters,
}

impl NetworksConfig {
    /// Says in what a netd is told what the document says nothing of.
    pub(crate) fn tell_policy(&self, scope: Option<&mut Scope>, rules: Option<&mut DnsRules>) {
        if let Some(scope) = scope {
            scope.guest_names = self.guest_names;
        }
        if let Some(rules) = rules {
            rules.guest_names = self.guest_names;
        }
    }
}

/// An event: which network, its name, what happened.
pub type NetworkHappening = (NetworkId, String, NetworkEvent);

/// Every network of one root. Cheap to clone; the owner task ends with the last clone, the networks stay.
#[derive(Debug, Clone)]
pub struct Networks {
    requests: mpsc::Sender<Request>,
    seen: watch::Receiver<Arc<[Seen]>>,
    /// What the owner is at.
    at: watch::Receiver<&'static str>,
    events: broadcast::Sender<NetworkHappening>,
    filters: NetworkFilters,
}

impl Networks {
    /// Loads the definitions and adopts networks that run already. Starts nothing: see [`Self::autostart`].
    pub async fn open(config: NetworksConfig) -> Result<Self, NetworkError> {
        let (requests, inbox) = mpsc::channel(limits::REQUESTS_MAX);
        let (events, _) = broadcast::channel(limits::EVENTS_KEPT);
        let filters = config.filters.clone();
        filters.follow(events.subscribe());
        let owner = Owner::open(config, requests.downgrade(), events.clone()).await?;
        let (seen, at) = (owner.snapshots(), owner.acts());
        tokio::spawn(owner.run(inbox));
        Ok(Self { requests, seen, at, events, filters })
    }

    /// Starts the networks marked so. One that fails does not stop the others.
    pub async fn autostart(&self) -> Vec<(String, NetworkError)> {
        self.ask(Request::StartMarked).await.unwrap_or_default()
    }

    /// All networks, by name.
    pub fn list(&self) -> Vec<Arc<NetworkView>> {
        self.seen.borrow().iter().map(|seen| Arc::clone(&seen.view)).collect()
    }

    /// One network by name or UUID.
    pub fn get(&self, name: &str) -> Result<Arc<NetworkView>, NetworkError> {
        let id = name.parse::<NetworkId>().ok();
        let seen = self.seen.borrow();
        let by_name = seen.iter().find(|seen| seen.view.name == name);
        let found = by_name.or_else(|| seen.iter().find(|seen| Some(seen.view.id) == id));
        found.map(|seen| Arc::clone(&seen.view)).ok_or_else(|| NetworkError::NotFound { name: name.into() })
    }

    /// The document: as it runs, or (`inactive`) as it is defined.
    pub async fn xml(&self, id: NetworkId, inactive: bool) -> Result<String, NetworkError> {
        self.ask(|reply| Request::Xml { id, inactive, reply }).await?
    }

    /// Takes in a document; replaces the definition of the same name and UUID.
    pub async fn define(&self, xml: &str) -> Result<Arc<NetworkView>, NetworkError> {
        let xml = xml.to_owned();
        let id = self.ask(|reply| Request::Define { xml, by_name: true, reply }).await??;
        self.get(&id.to_string())
    }

    /// The same, but a document without a UUID is of a new network, so that it clashes with one of the same name:
    /// libvirt's rule.
    pub async fn define_as_told(&self, xml: &str) -> Result<Arc<NetworkView>, NetworkError> {
        let xml = xml.to_owned();
        let id = self.ask(|reply| Request::Define { xml, by_name: false, reply }).await??;
        self.get(&id.to_string())
    }

    /// Takes in a document and brings it up. It is gone once stopped, unless a definition of it is kept.
    pub async fn create(&self, xml: &str) -> Result<Arc<NetworkView>, NetworkError> {
        let xml = xml.to_owned();
        let id = self.ask(|reply| Request::Create { xml, reply }).await??;
        self.get(&id.to_string())
    }

    /// Changes a section of the document: of the running network, of the definition, or both. Guests keep their
    /// leases and connections.
    pub async fn update(&self, id: NetworkId, update: Update, affects: Affects) -> Result<(), NetworkError> {
        let update = Box::new(update);
        self.ask(|reply| Request::Update { id, update, affects, reply }).await?
    }

    /// Changes title, description or somebody's metadata.
    pub async fn set_metadata(
        &self,
        id: NetworkId,
        change: MetadataChange,
        affects: Affects,
    ) -> Result<(), NetworkError> {
        let change = Box::new(change);
        self.ask(|reply| Request::SetMetadata { id, change, affects, reply }).await?
    }

    /// Title, description or somebody's metadata.
    pub async fn metadata(
        &self,
        id: NetworkId,
        part: MetadataPart,
        affects: Affects,
    ) -> Result<String, NetworkError> {
        self.ask(|reply| Request::Metadata { id, part, affects, reply }).await?
    }

    /// Forgets the definition. A running network stays up, as in libvirt, and is gone once stopped.
    pub async fn undefine(&self, id: NetworkId) -> Result<(), NetworkError> {
        self.ask(|reply| Request::Undefine { id, reply }).await?
    }

    /// Brings it up; done already if it is up.
    pub async fn start(&self, id: NetworkId) -> Result<Started, NetworkError> {
        self.ask(|reply| Request::Start { id, reply }).await?
    }

    /// Takes it down: bridge, rules, netd. Guests' taps stay but lead nowhere until it is up again.
    pub async fn stop(&self, id: NetworkId) -> Result<(), NetworkError> {
        self.ask(|reply| Request::Stop { id, reply }).await?
    }

    /// Marks it to be started with the daemon, or not.
    pub async fn set_autostart(&self, id: NetworkId, enabled: bool) -> Result<(), NetworkError> {
        self.ask(|reply| Request::SetAutostart { id, enabled, reply }).await?
    }

    /// Addresses given out now on this network, by address. A network that is down has none.
    pub async fn leases(&self, id: NetworkId) -> Result<Vec<Lease>, NetworkError> {
        let seen = self.seen.borrow().iter().find(|seen| seen.view.id == id).cloned();
        let seen = seen.ok_or_else(|| NetworkError::NotFound { name: id.to_string() })?;
        let Some(netd) = seen.netd() else { return Ok(Vec::new()) };
        let leases = netd.leases().await?;
        Ok(leases.into_iter().map(|lease| view(lease, seen.prefix)).collect())
    }

    /// Addresses given out now to this hardware address, on any network. A netd that does not answer
    /// tells none.
    pub async fn addresses(&self, mac: MacAddr) -> Vec<Lease> {
        let mut found = Vec::new();
        for (netd, prefix) in self.served() {
            match netd.lease(mac).await {
                Ok(lease) => found.extend(lease.map(|lease| view(lease, prefix))),
                Err(error) => tracing::debug!(%mac, %error, "no word about a lease"),
            }
        }
        found
    }

    /// Makes a tap on the network's bridge and tells netd the guest's name.
    pub async fn attach(&self, request: AttachRequest) -> Result<Attached, NetworkError> {
        self.ask(|reply| Request::Attach { request: Box::new(request), reply }).await?
    }

    /// Takes a tap away and forgets the name. Done already if it is not there.
    pub async fn detach(&self, ifname: &str) -> Result<(), NetworkError> {
        let ifname = ifname.to_owned();
        self.ask_in_time(|reply| Request::Detach { ifname, reply }).await
    }

    /// Plugs a card in that is on no network of ours.
    pub async fn plug(&self, request: CardRequest) -> Result<PluggedCard, NetworkError> {
        self.ask(|reply| Request::Plug { request: Box::new(request), reply }).await?
    }

    /// Removes all cards of a guest that are on no network of ours. Done already if there are none.
    pub async fn unplug(&self, domain: DomainId) -> Result<(), NetworkError> {
        self.ask_in_time(|reply| Request::Unplug { domain, reply }).await
    }

    /// Gives a card that is plugged in a filter, with the address that its guest has of a network now.
    pub async fn bind_filter(&self, binding: Binding, how: Bind) -> Result<(), NetworkError> {
        let (mac, port) = (binding.mac, binding.port.clone());
        self.filters.bind(binding, how).await?;
        if self.filters.learns(&port)
            && let Some(lease) = self.addresses(mac).await.first()
        {
            self.filters.learn(mac, Some(lease.ip)).await?;
        }
        Ok(())
    }

    /// Takes a card's filter away, if it has one.
    pub async fn unbind_filter(&self, port: &str) -> Result<(), NetworkError> {
        match self.filters.unbind(port).await {
            Ok(()) | Err(FilterError::NoBinding { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Limits what goes over a guest's card, in place of what limited it before; nothing: no limits.
    pub async fn limit(&self, ifname: &str, bandwidth: &Bandwidth) -> Result<(), NetworkError> {
        let (ifname, bandwidth) = (ifname.to_owned(), Box::new(bandwidth.clone()));
        self.ask(|reply| Request::Limit { ifname, bandwidth, reply }).await?
    }

    /// Lets through to a guest on a macvtap what it listens to. Nothing to do for cards of other sorts.
    pub async fn follow(&self, ifname: &str, listening: Listening) -> Result<(), NetworkError> {
        let (ifname, listening) = (ifname.to_owned(), Box::new(listening));
        self.ask(|reply| Request::Follow { ifname, listening, reply }).await?
    }

    /// Takes over a running guest's card that is on no network of ours. Done already if it is ours or gone.
    pub async fn take_card(
        &self,
        ifname: &str,
        (domain, name): (DomainId, &str),
        mac: MacAddr,
    ) -> Result<(), NetworkError> {
        let (ifname, guest) = (ifname.to_owned(), (domain, name.to_owned()));
        self.ask(|reply| Request::TakeCard { ifname, guest, mac, reply }).await?
    }

    /// Addresses of a guest by its name (domain's name, host name, with or without the DNS domain).
    pub async fn resolve(&self, name: &str) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for (netd, _) in self.served() {
            found.extend(netd.resolve(name).await.unwrap_or_default());
        }
        found
    }

    /// Takes over the networks that a libvirt daemon left running, whose driver the caller holds; from then on also
    /// leaves to one what runs here.
    pub async fn take_over_libvirts(&self) -> Vec<TakenNetwork> {
        self.ask(Request::TakeOverLibvirts).await.unwrap_or_default()
    }

    /// Gives the running networks back to a libvirt daemon that is to be started: bridges and taps stay, leases go to
    /// dnsmasq's file, and nobody serves them until then. Returns what did not go well, in sentences.
    pub async fn give_back(&self) -> Vec<String> {
        self.ask(Request::GiveBack).await.unwrap_or_else(|error| vec![error.to_string()])
    }

    /// Takes over a running guest's interface on a network of ours. Done already if it is ours or gone.
    pub async fn take_tap(&self, ifname: &str, request: AttachRequest) -> Result<(), NetworkError> {
        let (ifname, request) = (ifname.to_owned(), Box::new(request));
        self.ask(|reply| Request::TakeTap { ifname, request, reply }).await?
    }

    /// Puts back what is missing of rules and netd processes; a timer does so too.
    pub async fn reconcile(&self) -> Result<(), NetworkError> {
        self.ask(|reply| Request::Reconcile { reply: Some(reply) }).await?
    }

    /// What happens from now on. A reader who lags loses the oldest.
    pub fn subscribe(&self) -> broadcast::Receiver<NetworkHappening> {
        self.events.subscribe()
    }

    fn served(&self) -> Vec<(Netd, u8)> {
        self.seen.borrow().iter().filter_map(|seen| Some((seen.netd()?, seen.prefix))).collect()
    }

    /// What a guest's end waits for: it is done all the same, but who waits is told what is in the way.
    async fn ask_in_time(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), NetworkError>>) -> Request,
    ) -> Result<(), NetworkError> {
        let Ok(answer) = tokio::time::timeout(limits::UNPLUG, self.ask(request)).await else {
            let act = *self.at.borrow();
            return Err(NetworkError::Stuck { act, seconds: limits::UNPLUG.as_secs() });
        };
        answer?
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, NetworkError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| NetworkError::Closed)?;
        answer.await.map_err(|_| NetworkError::Closed)
    }
}

fn view(lease: WireLease, prefix: u8) -> Lease {
    let client_id =
        lease.client_id.map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"));
    Lease {
        mac: lease.mac,
        ip: lease.ip,
        prefix,
        expires: lease.expires,
        hostname: lease.hostname,
        client_id,
    }
}
