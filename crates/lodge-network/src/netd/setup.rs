//! What the daemon tells a new netd: one JSON document, read once before the sandbox closes.
//!
//! Descriptors are told by number; they were opened by the daemon and inherited. Nothing here is a path
//! but the empty root.

use std::net::Ipv4Addr;
use std::os::fd::RawFd;
use std::path::PathBuf;

use lodge_model::MacAddr;
use serde::{Deserialize, Serialize};

/// Everything one netd needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The network's name, for logs.
    pub network: String,
    /// Listening unix stream socket for the daemon.
    pub control_fd: RawFd,
    /// The two journal files, readable and writable.
    pub journal_fds: [RawFd; 2],
    /// How to confine the process.
    pub sandbox: SandboxSetup,
    /// The DHCP service, if the network has one.
    pub dhcp: Option<DhcpSetup>,
    /// The DNS service, if the network has one.
    pub dns: Option<DnsSetup>,
}

/// How the process is confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSetup {
    /// An empty directory.
    pub root: PathBuf,
    /// User and group id to run as.
    pub id: u32,
}

/// DHCPv4 on one subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpSetup {
    /// UDP socket on port 67, bound to the bridge.
    pub receive_fd: RawFd,
    /// Packet socket for replies.
    pub send_fd: RawFd,
    /// The bridge's index.
    pub ifindex: u32,
    /// What is given out.
    #[serde(flatten)]
    pub scope: Scope,
}

/// What is given out on a subnet, and with which options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The server's own address: the bridge's.
    pub server: Ipv4Addr,
    /// The subnet's prefix length.
    pub prefix: u8,
    /// First and last address of each range.
    pub ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// Addresses kept for known guests.
    pub hosts: Vec<StaticHost>,
    /// Length of a lease in seconds; `u32::MAX` never ends.
    pub lease_s: u32,
    /// The default route told to guests; none on an isolated network.
    pub router: Option<Ipv4Addr>,
    /// Name servers told to guests.
    pub dns: Vec<Ipv4Addr>,
    /// Domain told to guests.
    pub domain: Option<String>,
    /// MTU told to guests.
    pub mtu: Option<u16>,
    /// Further routes (network, prefix, gateway), RFC 3442.
    pub routes: Vec<(Ipv4Addr, u8, Ipv4Addr)>,
    /// File and server for network boot.
    pub boot: Option<Boot>,
    /// A guest may get an address reserved by name for a name that it calls itself.
    #[serde(default)]
    pub guest_names: bool,
}

impl Scope {
    /// A small subnet for tests and the fuzzer: 10.0.0.1/24, four addresses to give, one kept.
    pub fn example() -> Self {
        let ip = |last| Ipv4Addr::new(10, 0, 0, last);
        let known =
            StaticHost { mac: Some(MacAddr([2, 0, 0, 0, 0, 50])), name: Some("db".into()), ip: ip(50) };
        Self {
            server: ip(1),
            prefix: 24,
            ranges: vec![(ip(10), ip(12)), (ip(20), ip(20))],
            hosts: vec![known],
            lease_s: 3_600,
            router: Some(ip(1)),
            dns: vec![ip(1)],
            domain: Some("lan".into()),
            mtu: None,
            routes: Vec::new(),
            boot: None,
            guest_names: true,
        }
    }
}

/// Where a guest boots from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The file's name on the server.
    pub file: String,
    /// The server; without it this one.
    pub server: Option<Ipv4Addr>,
}

/// `<host>` of `<dhcp>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticHost {
    /// By hardware address; without it by name.
    pub mac: Option<MacAddr>,
    /// The name it is known by and told.
    pub name: Option<String>,
    /// Its address.
    pub ip: Ipv4Addr,
}

/// DNS on the bridge's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsSetup {
    /// UDP sockets on port 53.
    pub udp_fds: Vec<RawFd>,
    /// Listening TCP sockets on port 53.
    pub tcp_fds: Vec<RawFd>,
    /// Who may ask and what is answered.
    #[serde(flatten)]
    pub rules: DnsRules,
}

/// Who may ask and what is answered here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsRules {
    /// Subnets that may ask (address of the bridge, prefix).
    pub clients: Vec<(std::net::IpAddr, u8)>,
    /// The guests' domain.
    pub domain: Option<String>,
    /// Names below the domain are never asked upstream.
    pub local_only: bool,
    /// Names without a dot are asked upstream.
    pub forward_plain_names: bool,
    /// Names that guests call themselves are answered.
    #[serde(default)]
    pub guest_names: bool,
    /// Fixed names: `<dns><host>`.
    pub hosts: Vec<DnsHost>,
    /// Fixed texts: `<dns><txt>`.
    #[serde(default)]
    pub texts: Vec<DnsText>,
    /// Fixed services: `<dns><srv>`.
    #[serde(default)]
    pub services: Vec<DnsService>,
    /// Name servers outside, tried in this order.
    pub upstreams: Vec<std::net::SocketAddr>,
}

/// `<txt>` of `<dns>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsText {
    /// The record's name, in lower case.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// `<srv>` of `<dns>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsService {
    /// The record's name, in lower case: `_service._protocol.domain`.
    pub name: String,
    /// Who serves it; `.`: nobody does.
    pub target: String,
    /// At which port.
    pub port: u16,
    /// Lowest first.
    pub priority: u16,
    /// Share among equals.
    pub weight: u16,
}

/// `<host>` of `<dns>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsHost {
    /// The address.
    pub ip: std::net::IpAddr,
    /// Its names.
    pub names: Vec<String>,
}
