//! Guests' network cards: what a start needs of the networks and of the host's interfaces.
//!
//! Deliberately absent: cards whose other end is QEMU itself or another program; those have nothing on the host.

use std::{net::IpAddr, path::PathBuf};

use lodge_domain::{AttachedNic, CardFilter, Nics, PortError};
use lodge_host::hostdev::Hostdevs;
use lodge_model::{
    DomainId, Kind, MacAddr,
    domain::{
        Domain,
        interface::{Bandwidth, Interface, InterfaceKind, InterfaceSource, Script},
    },
    nwfilter::{Binding, Reference},
    xml::{Kept, YesNo},
};
use lodge_network::{
    AttachRequest, Bind, CardEnd, CardOptions, CardRequest, DirectMode, Listening, Networks, Scripts,
    SwitchPort, VirtualPort,
};
use lodge_store::Root;

use super::port_error;
use crate::{identity::starts::Watch, seed};

/// Most queues of a tap (the kernel's MAX_TAP_QUEUES).
const QUEUES_MAX: u32 = 256;

/// What guests' cards are plugged into.
pub(super) struct Cards {
    pub networks: Networks,
    pub root: Root,
    pub watch: Watch,
    pub devices: Hostdevs,
}

impl Cards {
    async fn plug(
        &self,
        domain: DomainId,
        document: &Domain,
        card: &Interface,
    ) -> Result<AttachedNic, PortError> {
        match card.kind {
            InterfaceKind::Network => self.plug_into_network(domain, document, card).await,
            InterfaceKind::Bridge | InterfaceKind::Ethernet | InterfaceKind::Direct => {
                let request = CardRequest {
                    domain,
                    domain_name: document.name.clone(),
                    mac: card.mac().ok_or_else(|| missing("mac address"))?,
                    target: card.target.as_ref().map(|target| target.dev.clone()),
                    mtu: card.mtu.as_ref().map(|mtu| mtu.size_bytes),
                    queues: queues(card),
                    options: options(card),
                    end: end(card)?,
                };
                let plugged = self.networks.plug(request).await.map_err(|error| port_error(error.into()))?;
                Ok(AttachedNic { ifname: Some(plugged.ifname), fds: plugged.taps, bridge: None })
            }
            _ if !card.filterref.is_empty() => {
                let text = format!("filterref is not supported for network interfaces of type {}", card.kind);
                Err(PortError::new(Kind::Unsupported, text))
            }
            // QEMU's own, or another program's; what cannot be at all the command line refuses.
            InterfaceKind::User
            | InterfaceKind::VhostUser
            | InterfaceKind::Server
            | InterfaceKind::Client
            | InterfaceKind::Mcast
            | InterfaceKind::Udp
            | InterfaceKind::Vdpa
            | InterfaceKind::Internal
            | InterfaceKind::Hostdev
            | InterfaceKind::Null
            | InterfaceKind::Vds => Ok(AttachedNic::default()),
        }
    }

    async fn plug_into_network(
        &self,
        domain: DomainId,
        document: &Domain,
        card: &Interface,
    ) -> Result<AttachedNic, PortError> {
        let network = card.source.as_deref().and_then(|source| source.network.clone());
        let network = network.ok_or_else(|| missing("source network"))?;
        self.refuse_taken_mac(domain, &network, card.mac())?;
        let request = AttachRequest {
            network,
            domain,
            domain_name: document.name.clone(),
            hostnames: seed::seeded_hostname(&self.root, domain, &document.name).into_iter().collect(),
            mac: card.mac().ok_or_else(|| missing("mac address"))?,
            target: card.target.as_ref().map(|target| target.dev.clone()),
            mtu: card.mtu.as_ref().map(|mtu| mtu.size_bytes),
            queues: queues(card),
            isolated: said_isolated(card),
            options: options(card),
        };
        let attached = self.networks.attach(request).await.map_err(|error| port_error(error.into()))?;
        Ok(AttachedNic { ifname: Some(attached.ifname), fds: attached.taps, bridge: Some(attached.bridge) })
    }
}

impl Cards {
    /// Two guests with one MAC on one network would take each other's frames and lease.
    fn refuse_taken_mac(
        &self,
        domain: DomainId,
        network: &str,
        mac: Option<MacAddr>,
    ) -> Result<(), PortError> {
        let Ok(network) = self.networks.get(network) else { return Ok(()) };
        let holder = network.nics.iter().find(|nic| nic.domain != domain && Some(nic.mac) == mac);
        let Some(holder) = holder else { return Ok(()) };
        let message = format!(
            "MAC address {} is already in use on network `{}` by domain `{}`",
            holder.mac, network.name, holder.domain_name
        );
        Err(PortError::new(Kind::Conflict, message)
            .with_hint("give the interface another <mac address>, or leave it out to get a new one"))
    }
}

/// How many queues a card has on the host.
fn queues(card: &Interface) -> u32 {
    card.driver.as_deref().and_then(|driver| driver.queues).unwrap_or(1).clamp(1, QUEUES_MAX)
}

fn is_isolated(card: &Interface) -> bool {
    said_isolated(card).unwrap_or_default()
}

fn said_isolated(card: &Interface) -> Option<bool> {
    card.port.as_ref().and_then(|port| port.isolated).map(YesNo::is_yes)
}

/// What is said of its host's end beside.
fn options(card: &Interface) -> CardOptions {
    CardOptions {
        bandwidth: card.bandwidth.as_deref().cloned(),
        vlans: card.vlans(),
        gathered_frames: card.gathered_frames(),
        port_group: card.source.as_deref().and_then(|source| source.port_group.clone()),
        virtualport: VirtualPort::of(&card.virtualport),
        filter: Reference::of(&card.filterref),
    }
}

/// The card's port of Open vSwitch, if it is to have one.
fn switch_port(card: &Interface, bridge: &str) -> Result<Option<SwitchPort>, PortError> {
    let Some(port) = card.virtualport.tree("virtualport") else { return Ok(None) };
    let kind = port.attribute("type").unwrap_or_default();
    if kind != "openvswitch" {
        let text = format!("<virtualport type='{kind}'> of an <interface> is not supported");
        return Err(PortError::new(Kind::Unsupported, text));
    }
    if is_isolated(card) {
        let text = "<port isolated='yes'/> is not supported for network interfaces with virtualport type='openvswitch'";
        return Err(PortError::new(Kind::Unsupported, text));
    }
    let parameters = port.child("parameters");
    let parameter =
        |name: &str| parameters.and_then(|parameters| parameters.attribute(name)).map(str::to_owned);
    Ok(Some(SwitchPort {
        bridge: bridge.to_owned(),
        interface: parameter("interfaceid").ok_or_else(|| missing("interfaceid in its virtualport"))?,
        profile: parameter("profileid").filter(|profile| !profile.is_empty()),
    }))
}

/// The programs for a tap.
fn scripts(card: &Interface) -> Scripts {
    let path = |script: &Script| PathBuf::from(&script.path);
    Scripts { up: card.script.as_ref().map(path), down: card.downscript.as_ref().map(path) }
}

/// Where a card leads that is on no network.
fn end(card: &Interface) -> Result<CardEnd, PortError> {
    let none = InterfaceSource::default();
    let source = card.source.as_deref().unwrap_or(&none);
    match card.kind {
        InterfaceKind::Bridge => {
            let name = source.bridge.clone().ok_or_else(|| missing("source bridge"))?;
            Ok(match switch_port(card, &name)? {
                Some(port) => CardEnd::OpenVswitch(port),
                None => CardEnd::Bridge { name, isolated: is_isolated(card) },
            })
        }
        InterfaceKind::Direct => Ok(CardEnd::Direct {
            dev: source.dev.clone().ok_or_else(|| missing("source dev"))?,
            mode: match source.mode.as_deref() {
                None | Some("vepa") => DirectMode::Vepa,
                Some("bridge") => DirectMode::Bridge,
                Some("private") => DirectMode::Private,
                Some("passthrough") => DirectMode::Passthrough,
                Some(other) => return Err(missing(&format!("mode as `{other}`"))),
            },
        }),
        _ if card.target.as_ref().is_some_and(|target| target.managed == Some(YesNo::No)) => {
            Ok(CardEnd::Made { scripts: scripts(card) })
        }
        _ => Ok(CardEnd::Alone {
            addresses: source.foreign.trees("ip").iter().map(address).collect::<Result<_, _>>()?,
            scripts: scripts(card),
        }),
    }
}

/// `<source><ip address='…' prefix='…'/>`: an address of the host's end.
fn address(ip: &Kept) -> Result<(IpAddr, u8), PortError> {
    let text = ip.attribute("address").unwrap_or_default();
    let wrong = || PortError::new(Kind::InvalidInput, format!("<source><ip>: `{text}` is no address"));
    let address: IpAddr = text.parse().map_err(|_| wrong())?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let prefix = ip.attribute("prefix").map_or(Ok(whole), str::parse).map_err(|_| wrong())?;
    Ok((address, prefix))
}

fn missing(what: &str) -> PortError {
    PortError::new(Kind::InvalidInput, format!("an <interface> has no {what}"))
}

#[async_trait::async_trait]
impl Nics for Cards {
    async fn lend(&self, domain: DomainId, document: &mut Domain) -> Result<(), PortError> {
        self.lend_functions(domain, document)
    }

    async fn attach(&self, domain: DomainId, document: &Domain) -> Result<Vec<AttachedNic>, PortError> {
        self.watch.admit(domain, document).await?;
        if document.devices.interfaces.iter().any(|card| card.kind == InterfaceKind::Direct) {
            // An attempt that was broken off may have left one: unlike taps, they outlive their descriptors.
            self.networks.unplug(domain).await.map_err(|error| port_error(error.into()))?;
        }
        let mut attached = Vec::new();
        for card in &document.devices.interfaces {
            match self.plug(domain, document, card).await {
                Ok(nic) => attached.push(nic),
                Err(error) => {
                    self.detach(domain).await?;
                    return Err(error);
                }
            }
        }
        Ok(attached)
    }

    async fn adopt(&self, domain: DomainId, document: &Domain) -> Result<(), PortError> {
        // A tap of ours names its domain in its ifalias; one of libvirt's is told of here.
        let mut failed = None;
        for card in document.devices.interfaces.iter().filter(|card| card.kind == InterfaceKind::Network) {
            let network = card.source.as_deref().and_then(|source| source.network.clone());
            let (Some(network), Some(target), Some(mac)) = (network, &card.target, card.mac()) else {
                continue;
            };
            let request = AttachRequest {
                network,
                domain,
                domain_name: document.name.clone(),
                hostnames: seed::seeded_hostname(&self.root, domain, &document.name).into_iter().collect(),
                mac,
                target: None,
                mtu: None,
                queues: 1,
                isolated: said_isolated(card),
                options: options(card),
            };
            if let Err(error) = self.networks.take_tap(&target.dev, request).await {
                failed.get_or_insert(port_error(error.into()));
            }
        }
        let direct = document.devices.interfaces.iter().filter(|card| card.kind == InterfaceKind::Direct);
        for (card, mac) in direct.filter_map(|card| Some((card, card.mac()?))) {
            let Some(target) = &card.target else { continue };
            let guest = (domain, document.name.as_str());
            if let Err(error) = self.networks.take_card(&target.dev, guest, mac).await {
                failed.get_or_insert(port_error(error.into()));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn attach_more(
        &self,
        domain: DomainId,
        document: &Domain,
        at: usize,
    ) -> Result<AttachedNic, PortError> {
        let card = document.devices.interfaces.get(at).ok_or_else(|| missing("place in the document"))?;
        self.plug(domain, document, card).await
    }

    async fn follow(&self, ifname: &str, filter: &CardFilter) -> Result<(), PortError> {
        let CardFilter { mac, promiscuous, all_multicast, multicast } = filter.clone();
        let listening = Listening { mac, promiscuous, all_multicast, multicast };
        self.networks.follow(ifname, listening).await.map_err(|error| port_error(error.into()))
    }

    async fn limit(&self, ifname: &str, bandwidth: &Bandwidth) -> Result<(), PortError> {
        self.networks.limit(ifname, bandwidth).await.map_err(|error| port_error(error.into()))
    }

    async fn filter(&self, domain: DomainId, document: &Domain, card: &Interface) -> Result<(), PortError> {
        let target = card.target.as_ref().ok_or_else(|| missing("target dev"))?;
        let Some(filter) = Reference::of(&card.filterref) else {
            return self.networks.unbind_filter(&target.dev).await.map_err(|error| port_error(error.into()));
        };
        let on_switch = card
            .virtualport
            .tree("virtualport")
            .is_some_and(|port| port.attribute("type") == Some("openvswitch"));
        let has_tap =
            matches!(card.kind, InterfaceKind::Network | InterfaceKind::Bridge | InterfaceKind::Ethernet);
        if on_switch || !has_tap {
            let text = format!("filterref is not supported for network interfaces of type {}", card.kind);
            return Err(PortError::new(Kind::Unsupported, text));
        }
        let binding = Binding {
            owner: document.name.clone(),
            owner_uuid: domain.0,
            port: target.dev.clone(),
            link: None,
            mac: card.mac().ok_or_else(|| missing("mac address"))?,
            filter,
        };
        let how = Bind { anew: true, may_learn: card.kind == InterfaceKind::Network };
        self.networks.bind_filter(binding, how).await.map_err(|error| port_error(error.into()))
    }

    async fn detach_one(&self, ifname: &str) -> Result<(), PortError> {
        self.networks.detach(ifname).await.map_err(|error| port_error(error.into()))
    }

    async fn detach(&self, domain: DomainId) -> Result<(), PortError> {
        let mut failed = self.networks.unplug(domain).await.err().map(|error| port_error(error.into()));
        for network in self.networks.list() {
            for nic in network.nics.iter().filter(|nic| nic.domain == domain) {
                // Every card is tried; the first failure is told.
                if let Err(error) = self.networks.detach(&nic.ifname).await {
                    failed.get_or_insert(port_error(error.into()));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}
