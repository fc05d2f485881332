//! `<domain>` and `<dns>` of a network: names.

use crate::xml::words::YesNo;
use crate::xml::{Foreign, Xml};
use std::net::IpAddr;

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
