//! What the daemon and netd say to each other: one JSON document per line, over a unix socket.
//!
//! The daemon asks, netd answers each line with one line. After `events` the connection belongs to netd:
//! it sends what happens until the daemon goes away. Plain types; `netd::control` answers, `client` asks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lodge_model::MacAddr;

use crate::netd::setup::{DnsRules, Scope};
use serde::{Deserialize, Serialize};

/// Longest line either side takes, in bytes. A list of leases is sent in pages of [`PAGE`].
pub const LINE_MAX_BYTES: usize = 256 * 1024;
/// Most leases in one answer.
pub const PAGE: usize = 1_000;

/// What the daemon asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How is it going?
    Status,
    /// The leases, beginning after this address.
    Leases {
        /// The last address of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Ipv4Addr>,
    },
    /// The lease of one guest.
    Lease {
        /// The guest.
        mac: MacAddr,
    },
    /// The host gives these names to a guest; none takes them away.
    Names {
        /// The guest.
        mac: MacAddr,
        /// Its names, the first is the one told for its address.
        names: Vec<String>,
    },
    /// Guests the host has given names to.
    Named,
    /// From now on these servers are asked about names outside.
    Upstreams {
        /// The servers.
        servers: Vec<SocketAddr>,
    },
    /// The document has changed: from now on this is given out and answered. Leases stay.
    Reconfigure {
        /// DHCP; there must be one if and only if there was one.
        scope: Option<Box<Scope>>,
        /// DNS, likewise.
        rules: Option<Box<DnsRules>>,
    },
    /// The addresses of a name of this network.
    Resolve {
        /// The name, with or without the domain.
        name: String,
    },
    /// Tell what happens from now on.
    Events,
}

/// What netd answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Done,
    /// To `status`.
    Status(Status),
    /// To `leases`.
    Leases {
        /// One page, by address.
        leases: Vec<WireLease>,
        /// Whether there is another page.
        more: bool,
    },
    /// To `named`.
    Named {
        /// The guests.
        macs: Vec<MacAddr>,
    },
    /// To `resolve`.
    Addresses {
        /// The addresses; none where the name is unknown or its guest has none.
        ips: Vec<IpAddr>,
    },
    /// The request was no good.
    Refused {
        /// Why.
        why: String,
    },
}

/// How netd fares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// Leases now.
    pub leases: usize,
    /// Addresses nobody holds.
    pub free: usize,
    /// DHCP messages taken since the start.
    pub dhcp_messages: u64,
    /// DNS queries taken since the start.
    pub dns_queries: u64,
    /// Answers from outside remembered.
    pub dns_cached: usize,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireLease {
    /// The guest.
    pub mac: MacAddr,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The end, seconds since 1970; 0 = never.
    pub expires: u64,
    /// The name it is known by.
    pub hostname: Option<String>,
    /// Its client identifier.
    pub client_id: Option<Vec<u8>>,
}

/// What netd tells of itself after `events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A lease was made, prolonged or renamed.
    Lease(WireLease),
    /// A lease ended.
    Ended {
        /// The guest.
        mac: MacAddr,
        /// The address it had.
        ip: Ipv4Addr,
    },
    /// No address was left for this guest.
    Exhausted {
        /// The guest.
        mac: MacAddr,
    },
    /// Events were lost: ask for the leases again.
    Lagged,
}

/// Reads one line of the daemon's; the fuzzer's way in too.
pub fn parse_request(line: &[u8]) -> Result<Request, String> {
    if line.len() > LINE_MAX_BYTES {
        return Err(format!("a line has at most {LINE_MAX_BYTES} bytes"));
    }
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_written_and_nothing_else_is() {
        let requests = [
            Request::Status,
            Request::Leases { after: None },
            Request::Names { mac: MacAddr([2, 0, 0, 0, 0, 1]), names: vec!["web1".into()] },
            Request::Upstreams { servers: vec!["10.255.255.53:53".parse().unwrap()] },
            Request::Reconfigure { scope: Some(Box::new(Scope::example())), rules: None },
        ];
        for request in requests {
            assert_eq!(parse_request(&serde_json::to_vec(&request).unwrap()), Ok(request));
        }
        for bad in ["", "{}", "[]", r#"{"do":"reboot"}"#, r#"{"do":"names","mac":"x","names":[]}"#] {
            assert!(parse_request(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
