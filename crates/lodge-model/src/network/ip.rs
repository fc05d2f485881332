//! `<ip>`, `<dhcp>` and `<route>` of a network: addresses.

use crate::MacAddr;
use crate::xml::words::{YesNo, words};
use crate::xml::{Foreign, Xml};
use std::net::IpAddr;

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
