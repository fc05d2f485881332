//! What a network's document asks for, judged once. Pure.
//!
//! A parsed document is a claim; a [`Plan`] is what will be made: every name checked, every address inside
//! its subnet, defaults filled in. All faults are told, not the first. Everything after this trusts it.
//!
//! Deliberately absent: the state of the host. Whether a bridge or subnet is free is [`crate::conflict`]'s.

mod dhcp;

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use lodge_model::network::{Dns, DnsDomain, ForwardMode, Network};
use lodge_model::xml::words::{OnOff, YesNo};
use lodge_model::{Fault, Faults, MacAddr, NetworkId};

use crate::netd::setup::{DnsHost, DnsRules, DnsService, DnsText, Scope};
use crate::netd::valid_name;
use crate::{FunctionPool, NetworkError, limits, port};

/// How guests reach the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Through the host's address.
    Nat(Nat),
    /// By the host as a router.
    Route,
    /// The same, and without any rule of ours.
    Open,
    /// Not at all.
    Isolated,
    /// Straight on a bridge somebody else made.
    Bridge,
    /// By virtual functions of network cards, one for each interface.
    Functions(FunctionPool),
}

/// How addresses are translated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nat {
    /// IPv6 too.
    pub ipv6: bool,
    /// To these addresses, not the outgoing interface's.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// From these ports.
    pub ports: Option<(u16, u16)>,
}

impl Mode {
    /// libvirt's word, or `isolated`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Nat(_) => "nat",
            Self::Route => "route",
            Self::Open => "open",
            Self::Isolated => "isolated",
            Self::Bridge => "bridge",
            Self::Functions(_) => "hostdev",
        }
    }
}

/// All that is to be made for one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The network.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// How guests reach the world.
    pub mode: Mode,
    /// Only through this interface.
    pub forward_dev: Option<String>,
    /// The bridge; `None`: a free `virbrN` is to be found.
    pub bridge: Option<String>,
    /// Spanning tree.
    pub stp: bool,
    /// Forward delay in seconds.
    pub delay_s: u32,
    /// The bridge's hardware address; `None`: the kernel's choice.
    pub mac: Option<MacAddr>,
    /// MTU of bridge and taps.
    pub mtu: Option<u32>,
    /// The bridge's addresses.
    pub addresses: Vec<IpNet>,
    /// DHCP, on the one IPv4 subnet that has it.
    pub dhcp: Option<Scope>,
    /// DNS, with no servers outside yet; `None` where it is switched off or there is no address.
    pub dns: Option<DnsRules>,
    /// Name servers the document gives; without them the host's.
    pub forwarders: Vec<IpAddr>,
    /// Its bridge, which is somebody else's, is one of Open vSwitch's.
    pub switched: bool,
}

impl Plan {
    /// Judges a document.
    pub fn of(network: &Network) -> Result<Self, NetworkError> {
        let mut faults = Faults::default();
        network.check().unwrap_or_else(|found| faults.0.extend(found.0));
        refuse_unsupported(network)?;
        let forward = network.forward.as_deref();
        let addresses = addresses(network, &mut faults);
        let mut plan = Self {
            id: network.uuid.unwrap_or_else(NetworkId::random),
            name: network.name.clone(),
            mode: mode(network, &mut faults),
            forward_dev: forward.and_then(|forward| forward.dev.clone()),
            // libvirt's pattern `virbr%d` asks for a free one as well.
            bridge: network
                .bridge
                .as_ref()
                .and_then(|bridge| bridge.name.clone())
                .filter(|name| name != "virbr%d"),
            stp: network.bridge.as_ref().and_then(|bridge| bridge.stp) != Some(OnOff::Off),
            delay_s: network.bridge.as_ref().and_then(|bridge| bridge.delay_s).unwrap_or(0),
            mac: network.mac.as_ref().map(|mac| mac.address),
            mtu: network.mtu.as_ref().map(|mtu| mtu.size_bytes),
            dhcp: dhcp::scope(network, &mut faults),
            dns: None,
            forwarders: forwarders(network),
            switched: port::is_switched(network),
            addresses,
        };
        plan.dns = plan.dns_rules(network, &mut faults);
        plan.check(&mut faults);
        if faults.0.is_empty() {
            Ok(plan)
        } else {
            Err(NetworkError::Document { faults: faults.to_string() })
        }
    }

    /// The bridge's IPv4 address guests know, if it has one.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.dhcp.as_ref().map(|scope| scope.server).or_else(|| {
            self.addresses.iter().find_map(|net| match net {
                IpNet::V4(net) => Some(net.addr()),
                IpNet::V6(_) => None,
            })
        })
    }

    /// Does it make a bridge of its own?
    pub fn own_bridge(&self) -> bool {
        !matches!(self.mode, Mode::Bridge | Mode::Functions(_))
    }

    /// Does it lend devices of the host's, and is nothing on the host itself?
    pub fn lends(&self) -> bool {
        matches!(self.mode, Mode::Functions(_))
    }

    /// Does it need a netd?
    pub fn served(&self) -> bool {
        self.dhcp.is_some() || self.dns.is_some()
    }

    fn dns_rules(&self, network: &Network, faults: &mut Faults) -> Option<DnsRules> {
        let dns = network.dns.as_deref();
        let enabled = dns.and_then(|dns| dns.enable) != Some(YesNo::No);
        if !enabled || !self.own_bridge() || self.gateway().is_none() {
            return None;
        }
        let domain = network.domain.as_ref();
        if let Some(domain) = domain.filter(|domain| !valid_name(&domain.name)) {
            faults.0.push(Fault::at("/network/domain/@name", format!("`{}` is no domain name", domain.name)));
        }
        let mut hosts = Vec::new();
        for (at, host) in dns.iter().flat_map(|dns| &dns.hosts).enumerate() {
            for name in host.hostnames.iter().filter(|name| !valid_name(name)) {
                let path =
                    numbered("/network/dns/host", at, dns.map_or(0, |dns| dns.hosts.len())) + "/hostname";
                faults.0.push(Fault::at(path, format!("`{name}` is no host name")));
            }
            hosts.push(DnsHost { ip: host.ip, names: host.hostnames.clone() });
        }
        Some(DnsRules {
            clients: self.addresses.iter().map(|net| (net.addr(), net.prefix_len())).collect(),
            domain: domain.map(|domain| domain.name.clone()),
            local_only: domain.and_then(|domain| domain.local_only) == Some(YesNo::Yes),
            forward_plain_names: dns.and_then(|dns| dns.forward_plain_names) != Some(YesNo::No),
            hosts,
            texts: dns.map(texts).unwrap_or_default(),
            services: dns.map(|dns| services(dns, domain, faults)).unwrap_or_default(),
            upstreams: Vec::new(),
            guest_names: false,
        })
    }

    /// What the model does not know: the limits of the kernel, of nft's text and of ours.
    fn check(&self, faults: &mut Faults) {
        match &self.bridge {
            Some(name) if name.contains(QUOTING) => {
                let why = format!("`{name}` cannot name an interface here: no quotes, `\\`, `%` and `*`");
                faults.0.push(Fault::at("/network/bridge/@name", why));
            }
            None if self.mode == Mode::Bridge => {
                faults.0.push(Fault::at(
                    "/network/bridge/@name",
                    "forward mode 'bridge' needs the bridge's name",
                ));
            }
            _ => {}
        }
        if let Some(dev) = self.forward_dev.as_ref().filter(|dev| !valid_ifname(dev)) {
            faults.0.push(Fault::at("/network/forward/@dev", format!("`{dev}` is no interface name")));
        }
        if self.delay_s > 30 {
            faults.0.push(Fault::at("/network/bridge/@delay", "the forward delay is at most 30 seconds"));
        }
        if self.mtu.is_some_and(|mtu| !(68..=65_535).contains(&mtu)) {
            faults.0.push(Fault::at("/network/mtu/@size", "an MTU is 68 to 65535 bytes"));
        }
    }
}

/// The path of one of `count` elements: numbered only where there are several, as the model does.
fn numbered(path: &str, at: usize, count: usize) -> String {
    if count > 1 { format!("{path}[{}]", at + 1) } else { path.to_owned() }
}

/// Do two subnets have an address in common?
pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// What the kernel takes in an interface's name and nft's text would take for something else.
pub(crate) const QUOTING: [char; 4] = ['"', '\\', '%', '*'];

fn valid_ifname(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':');
    (1..=15).contains(&name.len()) && name.bytes().all(plain) && !name.contains(QUOTING)
}

fn mode(network: &Network, faults: &mut Faults) -> Mode {
    let Some(forward) = network.forward.as_deref() else { return Mode::Isolated };
    match forward.mode {
        ForwardMode::Nat => {
            let nat = forward.nat.as_deref();
            Mode::Nat(Nat {
                ipv6: nat.and_then(|nat| nat.ipv6) == Some(YesNo::Yes),
                addresses: nat.and_then(|nat| nat.address.as_ref()).map(|range| (range.start, range.end)),
                ports: nat.and_then(|nat| nat.port.as_ref()).map(|range| (range.start, range.end)),
            })
        }
        ForwardMode::Route => Mode::Route,
        ForwardMode::Open => Mode::Open,
        ForwardMode::Bridge => Mode::Bridge,
        ForwardMode::Hostdev => Mode::Functions(FunctionPool::of(network, forward, faults)),
        // The others are refused before; `none` is libvirt's word for isolated.
        ForwardMode::None | ForwardMode::Private | ForwardMode::Vepa | ForwardMode::Passthrough => {
            Mode::Isolated
        }
    }
}

/// Says by name what the document asks for and Lodge does not do, rather than leaving it out.
fn refuse_unsupported(network: &Network) -> Result<(), NetworkError> {
    let what = || -> Option<String> {
        let mode = network.forward_mode();
        if let Some(mode @ (ForwardMode::Private | ForwardMode::Vepa | ForwardMode::Passthrough)) = mode {
            return Some(format!("forward mode '{mode}'"));
        }
        let lends = mode == Some(ForwardMode::Hostdev);
        let most = usize::from(!lends);
        let interfaces = network.forward.as_deref().is_some_and(|forward| forward.interfaces.len() > most);
        if interfaces || mode == Some(ForwardMode::Bridge) && network.bridge.is_none() {
            return Some("a forward over a pool of interfaces (macvtap)".into());
        }
        let dns = network.dns.as_deref();
        if dns.is_some_and(|dns| dns.forwarders.iter().any(|forwarder| forwarder.domain.is_some())) {
            return Some("a DNS forwarder for one domain".into());
        }
        for ip in &network.ips {
            if ip.tftp.is_some() {
                return Some("TFTP".into());
            }
            if ip.dhcp.is_some() && ip.address.is_ipv6() {
                return Some("DHCP for IPv6".into());
            }
        }
        if !network.routes.is_empty() {
            return Some("a static <route>".into());
        }
        // What guests could not be kept apart or reached without.
        port::unsupported(network)
    };
    match what() {
        Some(what) => Err(NetworkError::Unsupported { network: network.name.clone(), what }),
        None => Ok(()),
    }
}

/// What the document holds that is kept and has no effect, told to whoever starts it.
pub fn without_effect(network: &Network) -> Vec<String> {
    // What the model only keeps is done all the same, or the plan would have refused it.
    let done = ["/network/vlan", "/network/virtualport", "/network/portgroup"];
    let lends = network.forward_mode() == Some(ForwardMode::Hostdev);
    let is_done = |path: &String| {
        done.iter().any(|known| path.starts_with(known)) || (lends && path.starts_with("/network/forward/"))
    };
    let unknown = network.unsupported().into_iter().map(|fault| fault.path).filter(|path| !is_done(path));
    unknown.map(|path| format!("{path} is kept but has no effect yet")).collect()
}

fn addresses(network: &Network, faults: &mut Faults) -> Vec<IpNet> {
    let mut addresses = Vec::new();
    for (at, ip) in network.ips.iter().enumerate() {
        let path = numbered("/network/ip", at, network.ips.len());
        let net = ip.prefix_length().and_then(|prefix| IpNet::new(ip.address, prefix).ok());
        match net {
            // The model has told it.
            None => {}
            Some(IpNet::V4(net)) if net.prefix_len() > 30 || net.prefix_len() < 8 => {
                faults.0.push(Fault::at(path, "a subnet for guests has a prefix of 8 to 30"));
            }
            Some(IpNet::V4(net)) if net.addr() == net.network() || net.addr() == net.broadcast() => {
                let why = format!("{} is the subnet's own or its broadcast address", net.addr());
                faults.0.push(Fault::at(path, why));
            }
            Some(net) => addresses.push(net),
        }
    }
    addresses
}

fn texts(dns: &Dns) -> Vec<DnsText> {
    let text = |txt: &lodge_model::network::DnsTxt| DnsText {
        name: txt.name.trim_end_matches('.').to_ascii_lowercase(),
        text: txt.value.clone().unwrap_or_default(),
    };
    dns.txts.iter().map(text).collect()
}

/// As dnsmasq has them: the network's domain where none is said, and nobody where no target is.
fn services(dns: &Dns, domain: Option<&DnsDomain>, faults: &mut Faults) -> Vec<DnsService> {
    let mut made = Vec::new();
    for (at, srv) in dns.srvs.iter().enumerate() {
        let below = srv.domain.as_deref().or(domain.map(|domain| domain.name.as_str()));
        let below = below.map(|domain| format!(".{domain}")).unwrap_or_default();
        let target = srv.target.clone().unwrap_or_else(|| ".".to_owned());
        if target != "." && !valid_name(target.trim_end_matches('.')) {
            let path = numbered("/network/dns/srv", at, dns.srvs.len()) + "/@target";
            faults.0.push(Fault::at(path, format!("`{target}` is no host name")));
        }
        made.push(DnsService {
            name: format!("_{}._{}{below}", srv.service, srv.protocol).to_ascii_lowercase(),
            target: if target.ends_with('.') { target } else { format!("{target}.") },
            port: srv.port.unwrap_or(1),
            priority: srv.priority.unwrap_or_default(),
            weight: srv.weight.unwrap_or_default(),
        });
    }
    made
}

fn forwarders(network: &Network) -> Vec<IpAddr> {
    let forwarders = network.dns.iter().flat_map(|dns| &dns.forwarders);
    forwarders.filter_map(|forwarder| forwarder.address).take(limits::HOSTS_MAX).collect()
}

#[cfg(test)]
mod tests;
