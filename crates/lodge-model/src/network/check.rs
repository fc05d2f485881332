//! Contradictions inside of a network's document.

use super::{Dhcp, Family, ForwardMode, Ip, Network};
use crate::{BadName, Fault, Faults, MacAddr, check_name};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

/// Longest name of an interface in Linux (IFNAMSIZ without its zero).
const INTERFACE_NAME_MAX: usize = 15;

impl Network {
    /// Finds contradictions; every fault names its element.
    pub fn check(&self) -> Result<(), Faults> {
        let mut faults = Vec::new();
        self.check_names(&mut faults);
        self.check_addresses(&mut faults);
        self.check_hosts(&mut faults);
        Faults(faults).into_result()
    }

    fn check_names(&self, faults: &mut Vec<Fault>) {
        match check_name(&self.name) {
            Ok(()) => {}
            Err(BadName::Empty) => faults.push(Fault::at("/network", "element <name> is missing or empty")),
            Err(error) => faults.push(Fault::at("/network/name", error.to_string())),
        }
        if let Some(name) = self.bridge.as_ref().and_then(|bridge| bridge.name.as_deref())
            && !is_interface_name(name)
        {
            let message = format!(
                "`{name}` cannot name an interface: 1 to {INTERFACE_NAME_MAX} characters without blanks, `/` and `:`"
            );
            faults.push(Fault::at("/network/bridge/@name", message));
        }
        if self.mac.as_ref().is_some_and(|mac| mac.address.is_multicast()) {
            faults.push(Fault::at("/network/mac/@address", "a group's address cannot be a bridge's"));
        }
        if matches!(self.forward_mode(), Some(ForwardMode::Bridge))
            && (!self.ips.is_empty() || self.dns.is_some())
        {
            faults.push(Fault::at(
                "/network/forward/@mode",
                "a network on a bridge of the host has no <ip> or <dns> of its own",
            ));
        }
        if self.forward_mode() == Some(ForwardMode::Nat) && self.ips.is_empty() {
            faults.push(Fault::at("/network/forward/@mode", "mode `nat` needs an <ip>"));
        }
    }

    fn check_addresses(&self, faults: &mut Vec<Fault>) {
        for (at, ip) in self.ips.iter().enumerate() {
            let path = numbered("/network/ip", at, self.ips.len());
            let before = faults.len();
            check_family(ip, &path, faults);
            if ip.prefix.is_some() && ip.netmask.is_some() {
                faults.push(Fault::at(&path, "either prefix or netmask, not both"));
            }
            match ip.prefix_length() {
                None => faults.push(Fault::at(format!("{path}/@netmask"), "is no netmask")),
                Some(length) if length > bits(ip.address) || length == 0 => {
                    faults.push(Fault::at(
                        format!("{path}/@prefix"),
                        format!("a prefix has 1 to {} bits", bits(ip.address)),
                    ));
                }
                Some(_) if faults.len() == before => check_dhcp(ip, &path, faults),
                Some(_) => {}
            }
        }
        for (at, ip) in self.ips.iter().enumerate() {
            for other in &self.ips[..at] {
                if ip.contains(other.address) || other.contains(ip.address) {
                    let path = numbered("/network/ip", at, self.ips.len());
                    faults.push(Fault::at(path, format!("its subnet overlaps that of {}", other.address)));
                }
            }
        }
        let served = self.ips.iter().filter(|ip| ip.address.is_ipv4() && ip.dhcp.is_some()).count();
        if served > 1 {
            faults.push(Fault::at("/network/ip", "only one IPv4 address can have <dhcp>"));
        }
    }

    /// DHCP hosts must differ from one another.
    fn check_hosts(&self, faults: &mut Vec<Fault>) {
        let mut macs: HashMap<MacAddr, usize> = HashMap::new();
        let mut names: HashMap<(&str, bool), usize> = HashMap::new();
        let mut addresses: HashMap<IpAddr, usize> = HashMap::new();
        for (at, ip) in self.ips.iter().enumerate() {
            let hosts = ip.dhcp.iter().flat_map(|dhcp| &dhcp.hosts);
            for (number, host) in hosts.enumerate() {
                let count = ip.dhcp.as_ref().map_or(0, |dhcp| dhcp.hosts.len());
                let path = numbered(
                    &format!("{}/dhcp/host", numbered("/network/ip", at, self.ips.len())),
                    number,
                    count,
                );
                if let Some(mac) = host.mac {
                    twice(&mut macs, mac, &path, "mac", &mac.to_string(), faults);
                }
                if let Some(name) = &host.name {
                    twice(&mut names, (name.as_str(), ip.address.is_ipv4()), &path, "name", name, faults);
                }
                if let Some(address) = host.ip {
                    twice(&mut addresses, address, &path, "ip", &address.to_string(), faults);
                }
            }
        }
    }
}

fn twice<K: Hash + Eq>(
    seen: &mut HashMap<K, usize>,
    key: K,
    path: &str,
    what: &str,
    text: &str,
    faults: &mut Vec<Fault>,
) {
    let count = seen.entry(key).or_default();
    *count += 1;
    if *count == 2 {
        faults.push(Fault::at(format!("{path}/@{what}"), format!("`{text}` is given to two hosts")));
    }
}

fn check_family(ip: &Ip, path: &str, faults: &mut Vec<Fault>) {
    let said = ip.family.unwrap_or_default();
    let is = if ip.address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
    if said != is {
        faults.push(Fault::at(
            format!("{path}/@family"),
            format!("{} is an {is} address, not {said}", ip.address),
        ));
    }
    if ip.address.is_unspecified() || ip.address.is_multicast() {
        faults.push(Fault::at(
            format!("{path}/@address"),
            format!("{} cannot be a bridge's address", ip.address),
        ));
    }
}

/// A range may hold the bridge's own address, as in libvirt: whoever serves leaves it out.
fn check_dhcp(ip: &Ip, path: &str, faults: &mut Vec<Fault>) {
    let Some(dhcp) = ip.dhcp.as_deref() else { return };
    let Dhcp { ranges, hosts, .. } = dhcp;
    for (at, range) in ranges.iter().enumerate() {
        let path = numbered(&format!("{path}/dhcp/range"), at, ranges.len());
        for (what, address) in [("start", range.start), ("end", range.end)] {
            if !ip.contains(address) {
                faults.push(Fault::at(format!("{path}/@{what}"), format!("{address} is outside of {ip}")));
            }
        }
        if range.start.is_ipv4() == range.end.is_ipv4() && range.start > range.end {
            faults.push(Fault::at(
                &path,
                format!("the range begins at {} and ends before it, at {}", range.start, range.end),
            ));
        }
        let overlap = ranges[..at].iter().any(|other| range.start <= other.end && other.start <= range.end);
        if overlap {
            faults.push(Fault::at(&path, "overlaps another range"));
        }
    }
    for (at, host) in hosts.iter().enumerate() {
        let path = numbered(&format!("{path}/dhcp/host"), at, hosts.len());
        match host.ip {
            Some(address) if !ip.contains(address) => {
                faults.push(Fault::at(format!("{path}/@ip"), format!("{address} is outside of {ip}")));
            }
            Some(address) if address == ip.address => {
                faults
                    .push(Fault::at(format!("{path}/@ip"), format!("{address} is the bridge's own address")));
            }
            Some(_) => {}
            None => faults.push(Fault::at(&path, "attribute `ip` is missing")),
        }
        if host.mac.is_none() && host.id.is_none() && host.name.is_none() {
            faults.push(Fault::at(&path, "a host needs `mac`, `id` or `name`"));
        }
        if host.mac.is_some_and(MacAddr::is_multicast) {
            faults.push(Fault::at(format!("{path}/@mac"), "a group's address cannot be a host's"));
        }
    }
}

impl std::fmt::Display for Ip {
    /// As `192.168.122.1/24`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length().unwrap_or_default())
    }
}

impl Ip {
    /// Length of the subnet's prefix, from `prefix` or `netmask`; libvirt's default by class otherwise.
    pub fn prefix_length(&self) -> Option<u8> {
        match (self.prefix, self.netmask, self.address) {
            (Some(prefix), _, _) => Some(prefix),
            (None, Some(IpAddr::V4(mask)), _) => {
                let bits = u32::from(mask);
                let length = u8::try_from(bits.leading_ones()).ok()?;
                (bits.leading_ones() + bits.trailing_zeros() >= 32).then_some(length)
            }
            (None, Some(IpAddr::V6(_)), _) => None,
            (None, None, IpAddr::V4(address)) => Some(match address.octets()[0] {
                0..=127 => 8,
                128..=191 => 16,
                192.. => 24,
            }),
            (None, None, IpAddr::V6(_)) => Some(64),
        }
    }

    /// Whether `address` is in the subnet.
    pub fn contains(&self, address: IpAddr) -> bool {
        let Some(length) = self.prefix_length() else { return false };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length.into())).unwrap_or_default();
                u32::from(own) & mask == u32::from(other) & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length.into())).unwrap_or_default();
                u128::from(own) & mask == u128::from(other) & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The path of one of several: `/network/ip[2]`; alone it has no number.
fn numbered(path: &str, at: usize, count: usize) -> String {
    if count > 1 { format!("{path}[{}]", at + 1) } else { path.to_owned() }
}

/// Whether Linux takes it as an interface's name. libvirt's pattern `virbr%d` is one, too.
fn is_interface_name(name: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
    !name.is_empty()
        && name.len() <= INTERFACE_NAME_MAX
        && name.chars().all(plain)
        && name != "."
        && name != ".."
}
