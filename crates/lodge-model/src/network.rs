//! The network document: libvirt's `<network>`.
//!
//! [`Network::complete`] adds what libvirt adds at a definition, [`Network::check`] finds contradictions.
//! Deliberately absent: names of free bridges and other networks' subnets, which only the host knows.

mod check;
mod complete;
mod dns;
mod ip;
mod metadata;
pub mod status;
mod update;

pub use dns::{Dns, DnsDomain, DnsHost, DnsSrv, DnsTxt, Forwarder};
pub use ip::{Bootp, Dhcp, DhcpHost, DhcpRange, Family, Ip, LeaseTime, LeaseUnit, Route, Tftp};
pub use update::{BadUpdate, Command, Section, Update};

use crate::domain::address::PciAddress;
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

impl Forward {
    /// `<pf dev='eth0'/>`: cards whose virtual functions are lent.
    pub fn cards(&self) -> Vec<String> {
        let cards = self.foreign.trees("pf");
        cards.iter().filter_map(|card| card.attribute("dev")).map(str::to_owned).collect()
    }

    /// `<address type='pci' …/>`: devices that are lent; `None`: one of them is none of PCI.
    pub fn addresses(&self) -> Option<Vec<PciAddress>> {
        self.foreign.trees("address").iter().map(PciAddress::of_kept).collect()
    }
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
    /// `<vlan>`, kept as it is.
    #[xml(kept = "vlan")]
    pub vlan: Foreign,
    /// `<virtualport>`, kept as it is.
    #[xml(kept = "virtualport")]
    pub virtualport: Foreign,
    /// `<bandwidth>` of each of its interfaces that says none.
    #[xml(child)]
    pub bandwidth: Option<Box<crate::domain::interface::Bandwidth>>,
    /// What this struct does not know.
    #[xml(foreign)]
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
