//! The network document: libvirt's `<network>`.
//!
//! [`Network::complete`] adds what libvirt adds at a definition, [`Network::check`] finds contradictions.
//! Deliberately absent: names of free bridges and other networks' subnets, which only the host knows.

mod check;
mod complete;

use crate::xml::words::{OnOff, YesNo, words};
use crate::xml::{Foreign, ParseOptions, WriteOptions, Xml};
use crate::{Fault, Faults, MacAddr, NetworkId};
use std::net::IpAddr;

/// A virtual network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Network {
    /// Number of guests plugged in; only live.
    #[xml(attr, live)]
    pub connections: Option<u32>,
    /// Whether guests may speak IPv6 among themselves without an IPv6 address on the bridge.
    #[xml(attr)]
    pub ipv6: Option<YesNo>,
    /// Whether guests see traffic that is for others.
    #[xml(attr = "trustGuestRxFilters")]
    pub trust_guest_rx_filters: Option<YesNo>,
    /// The name.
    #[xml(leaf)]
    pub name: String,
    /// The identity; made by [`Network::complete`] if missing.
    #[xml(leaf)]
    pub uuid: Option<NetworkId>,
    /// A short text for people.
    #[xml(leaf)]
    pub title: Option<String>,
    /// A long text for people.
    #[xml(leaf)]
    pub description: Option<String>,
    /// Others' elements, verbatim.
    #[xml(child)]
    pub metadata: Option<Box<crate::domain::Metadata>>,
    /// How guests reach the world; none: not at all.
    #[xml(child)]
    pub forward: Option<Box<Forward>>,
    /// `<bridge name='virbr0' stp='on' delay='0'/>`.
    #[xml(child)]
    pub bridge: Option<Bridge>,
    /// `<mtu size='9000'/>`.
    #[xml(child)]
    pub mtu: Option<crate::domain::interface::Mtu>,
    /// The bridge's address.
    #[xml(child)]
    pub mac: Option<NetworkMac>,
    /// `<domain name='lan' localOnly='yes'/>`.
    #[xml(child)]
    pub domain: Option<DnsDomain>,
    /// `<dns>`.
    #[xml(child)]
    pub dns: Option<Box<Dns>>,
    /// `<vlan>`, kept as it is.
    #[xml(kept = "vlan")]
    pub vlan: Foreign,
    /// `<bandwidth>` of the whole network.
    #[xml(child)]
    pub bandwidth: Option<Box<crate::domain::interface::Bandwidth>>,
    /// `<port isolated='yes'/>`: what every interface of it is.
    #[xml(child)]
    pub port: Option<crate::domain::interface::PortOptions>,
    /// `<ip>`: the bridge's addresses and what is served there.
    #[xml(children = "ip")]
    pub ips: Vec<Ip>,
    /// `<route …/>`.
    #[xml(children = "route")]
    pub routes: Vec<Route>,
    /// `<virtualport>`, kept as it is.
    #[xml(kept = "virtualport")]
    pub virtualport: Foreign,
    /// `<portgroup>`.
    #[xml(children = "portgroup")]
    pub port_groups: Vec<PortGroup>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// How guests reach the world.
    pub enum ForwardMode {
        Nat = "nat", Route = "route", Open = "open", Bridge = "bridge", Private = "private", Vepa = "vepa",
        Passthrough = "passthrough", Hostdev = "hostdev", None = "none",
    }
}

/// `<forward mode='nat'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Forward {
    /// Only through this interface.
    #[xml(attr)]
    pub dev: Option<String>,
    /// How; `nat` if not said.
    #[xml(attr)]
    pub mode: ForwardMode,
    /// `<nat>`.
    #[xml(child)]
    pub nat: Option<Box<Nat>>,
    /// `<interface dev='eth0'/>`.
    #[xml(children = "interface")]
    pub interfaces: Vec<ForwardInterface>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "driver pf address @managed")]
    pub foreign: Foreign,
}

/// `<interface dev='eth0'/>` of a forward.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ForwardInterface {
    /// Its name.
    #[xml(attr, required)]
    pub dev: String,
    /// Guests plugged in; only live.
    #[xml(attr, live)]
    pub connections: Option<u32>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<nat ipv6='yes'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Nat {
    /// Whether IPv6 is translated too.
    #[xml(attr)]
    pub ipv6: Option<YesNo>,
    /// `<address start='…' end='…'/>`: the outside addresses.
    #[xml(child)]
    pub address: Option<AddressRange>,
    /// `<port start='1024' end='65535'/>`: the outside ports.
    #[xml(child)]
    pub port: Option<PortRange>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<address start='…' end='…'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Xml)]
pub struct AddressRange {
    /// The first.
    #[xml(attr, required)]
    pub start: IpAddr,
    /// The last.
    #[xml(attr, required)]
    pub end: IpAddr,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<port start='1024' end='65535'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct PortRange {
    /// The first.
    #[xml(attr, required)]
    pub start: u16,
    /// The last.
    #[xml(attr, required)]
    pub end: u16,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<bridge name='virbr0' stp='on' delay='0'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Bridge {
    /// Its name; the network crate finds a free one if none is said.
    #[xml(attr)]
    pub name: Option<String>,
    /// firewalld's zone.
    #[xml(attr)]
    pub zone: Option<String>,
    /// Spanning tree; on if not said.
    #[xml(attr)]
    pub stp: Option<OnOff>,
    /// Forward delay in seconds; 0 if not said.
    #[xml(attr = "delay")]
    pub delay_s: Option<u32>,
    /// `kernel` or `libvirt`: who keeps the table of addresses.
    #[xml(attr = "macTableManager")]
    pub mac_table_manager: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<mac address='52:54:00:b8:e0:15'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct NetworkMac {
    /// The address.
    #[xml(attr, required)]
    pub address: MacAddr,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<domain name='lan' localOnly='yes'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct DnsDomain {
    /// The DNS domain of the guests.
    #[xml(attr, required)]
    pub name: String,
    /// Whether unknown names of it are never asked for outside.
    #[xml(attr = "localOnly")]
    pub local_only: Option<YesNo>,
    /// Whether the host asks here for it.
    #[xml(attr)]
    pub register: Option<YesNo>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<dns>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Dns {
    /// Whether names are served at all.
    #[xml(attr)]
    pub enable: Option<YesNo>,
    /// Whether names without a dot are asked for outside.
    #[xml(attr = "forwardPlainNames")]
    pub forward_plain_names: Option<YesNo>,
    /// `<forwarder addr='8.8.8.8'/>`.
    #[xml(children = "forwarder")]
    pub forwarders: Vec<Forwarder>,
    /// `<txt name='example' value='text'/>`.
    #[xml(children = "txt")]
    pub txts: Vec<DnsTxt>,
    /// `<srv service='…' protocol='…'/>`.
    #[xml(children = "srv")]
    pub srvs: Vec<DnsSrv>,
    /// `<host ip='192.168.122.2'>`.
    #[xml(children = "host")]
    pub hosts: Vec<DnsHost>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<forwarder domain='example.com' addr='192.168.1.1'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Forwarder {
    /// Only for this domain.
    #[xml(attr)]
    pub domain: Option<String>,
    /// Whom to ask.
    #[xml(attr = "addr")]
    pub address: Option<IpAddr>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<txt name='example' value='text'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct DnsTxt {
    /// The record's name.
    #[xml(attr, required)]
    pub name: String,
    /// Its text.
    #[xml(attr)]
    pub value: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<host ip='192.168.122.2'><hostname>myhost</hostname></host>`.
#[derive(Debug, Clone, PartialEq, Eq, Xml)]
pub struct DnsHost {
    /// The address.
    #[xml(attr, required)]
    pub ip: IpAddr,
    /// Its names.
    #[xml(leaves = "hostname")]
    pub hostnames: Vec<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<srv service='name' protocol='tcp' domain='…' target='.' port='1024' priority='10' weight='10'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct DnsSrv {
    /// The service.
    #[xml(attr, required)]
    pub service: String,
    /// `tcp` or `udp`.
    #[xml(attr, required)]
    pub protocol: String,
    /// The domain.
    #[xml(attr)]
    pub domain: Option<String>,
    /// Who serves it.
    #[xml(attr)]
    pub target: Option<String>,
    /// At which port.
    #[xml(attr)]
    pub port: Option<u16>,
    /// Lowest first.
    #[xml(attr)]
    pub priority: Option<u16>,
    /// Share among equals.
    #[xml(attr)]
    pub weight: Option<u16>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Address families.
    pub enum Family { Ipv4 = "ipv4", Ipv6 = "ipv6" }
}

/// `<ip address='192.168.122.1' netmask='255.255.255.0'>`.
#[derive(Debug, Clone, PartialEq, Eq, Xml)]
#[xml(open)]
pub struct Ip {
    /// The family; `ipv4` if not said.
    #[xml(attr)]
    pub family: Option<Family>,
    /// The bridge's address.
    #[xml(attr, required)]
    pub address: IpAddr,
    /// The mask in the old form.
    #[xml(attr)]
    pub netmask: Option<IpAddr>,
    /// The prefix's length.
    #[xml(attr)]
    pub prefix: Option<u8>,
    /// Whether others' ARP questions are answered.
    #[xml(attr = "localPtr")]
    pub local_ptr: Option<YesNo>,
    /// `<tftp root='/srv/tftp'/>`.
    #[xml(child)]
    pub tftp: Option<Tftp>,
    /// `<dhcp>`.
    #[xml(child)]
    pub dhcp: Option<Box<Dhcp>>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<tftp root='/srv/tftp'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Tftp {
    /// The directory.
    #[xml(attr, required)]
    pub root: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<dhcp>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Dhcp {
    /// `<range start='…' end='…'>`.
    #[xml(children = "range")]
    pub ranges: Vec<DhcpRange>,
    /// `<host mac='…' name='…' ip='…'/>`.
    #[xml(children = "host")]
    pub hosts: Vec<DhcpHost>,
    /// `<bootp file='pxelinux.0' server='…'/>`.
    #[xml(child)]
    pub bootp: Option<Bootp>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<range start='192.168.122.2' end='192.168.122.254'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Xml)]
pub struct DhcpRange {
    /// The first.
    #[xml(attr, required)]
    pub start: IpAddr,
    /// The last.
    #[xml(attr, required)]
    pub end: IpAddr,
    /// How long a lease lasts.
    #[xml(child)]
    pub lease: Option<LeaseTime>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<lease expiry='1' unit='hours'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct LeaseTime {
    /// Counted in `unit`; 0: for ever.
    #[xml(attr, required)]
    pub expiry: u32,
    /// `seconds`, `minutes` (if not said) or `hours`.
    #[xml(attr)]
    pub unit: Option<LeaseUnit>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Units of a lease's time.
    pub enum LeaseUnit { Minutes = "minutes", Seconds = "seconds", Hours = "hours" }
}

/// `<host mac='52:54:00:…' name='web' ip='192.168.122.10'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct DhcpHost {
    /// The guest's Ethernet address (IPv4).
    #[xml(attr)]
    pub mac: Option<MacAddr>,
    /// The guest's DUID (IPv6).
    #[xml(attr)]
    pub id: Option<String>,
    /// The guest's name.
    #[xml(attr)]
    pub name: Option<String>,
    /// The address it gets.
    #[xml(attr)]
    pub ip: Option<IpAddr>,
    /// How long its lease lasts.
    #[xml(child)]
    pub lease: Option<LeaseTime>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<bootp file='pxelinux.0' server='192.168.122.1'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Bootp {
    /// The boot file.
    #[xml(attr, required)]
    pub file: String,
    /// Who serves it.
    #[xml(attr)]
    pub server: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<route address='192.168.222.0' prefix='24' gateway='192.168.122.10'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Xml)]
pub struct Route {
    /// The family; `ipv4` if not said.
    #[xml(attr)]
    pub family: Option<Family>,
    /// The destination.
    #[xml(attr, required)]
    pub address: IpAddr,
    /// Its mask in the old form.
    #[xml(attr)]
    pub netmask: Option<IpAddr>,
    /// Its prefix's length.
    #[xml(attr)]
    pub prefix: Option<u8>,
    /// The next hop.
    #[xml(attr, required)]
    pub gateway: IpAddr,
    /// The route's metric.
    #[xml(attr)]
    pub metric: Option<u32>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<portgroup name='engineering' default='yes'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct PortGroup {
    /// The name.
    #[xml(attr)]
    pub name: Option<String>,
    /// Whether it is the one of interfaces that name none.
    #[xml(attr)]
    pub default: Option<YesNo>,
    /// Whether guests see traffic that is for others.
    #[xml(attr = "trustGuestRxFilters")]
    pub trust_guest_rx_filters: Option<YesNo>,
    /// What this struct does not know: bandwidth, VLANs, virtual ports.
    #[xml(foreign, known)]
    pub foreign: Foreign,
}

impl Network {
    /// Reads a document; what Lodge does not know is kept.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        crate::xml::parse(text, "network", ParseOptions::default())
    }

    /// Reads a document strictly: what Lodge does not know is a fault.
    pub fn parse_strict(text: &str) -> Result<Self, Faults> {
        crate::xml::parse(text, "network", ParseOptions { strict: true })
    }

    /// Writes libvirt's text of it.
    pub fn to_xml(&self, options: &WriteOptions) -> String {
        crate::xml::write(self, "network", *options)
    }

    /// What is kept but not understood.
    pub fn unsupported(&self) -> Vec<Fault> {
        crate::xml::unsupported(self)
    }

    /// How guests reach the world; `None`: they do not.
    pub fn forward_mode(&self) -> Option<ForwardMode> {
        self.forward.as_deref().map(|forward| forward.mode)
    }
}
