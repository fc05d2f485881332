//! The `<dhcp>` of a document: ranges, fixed hosts, lease time, what guests are told.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use lodge_model::network::{Dhcp, Ip, LeaseTime, LeaseUnit, Network};
use lodge_model::xml::words::YesNo;
use lodge_model::{Fault, Faults};

use super::{Mode, mode, numbered};
use crate::limits::{ADDRESSES_MAX, HOSTS_MAX, LEASE_DEFAULT_S};
use crate::netd::setup::{Boot, Scope, StaticHost};
use crate::netd::valid_name;

/// The one IPv4 subnet that has DHCP.
pub(super) fn scope(network: &Network, faults: &mut Faults) -> Option<Scope> {
    let mut with_dhcp = network
        .ips
        .iter()
        .enumerate()
        .filter(|(_, ip)| ip.address.is_ipv4())
        .filter_map(|(at, ip)| Some((at, ip, ip.dhcp.as_deref()?)));
    // A second one the model refuses.
    let (at, ip, dhcp) = with_dhcp.next()?;
    let path = numbered("/network/ip", at, network.ips.len()) + "/dhcp";
    let net = subnet(ip)?;
    let judge = Judge { net, path, faults };
    Some(judge.scope(network, dhcp))
}

fn subnet(ip: &Ip) -> Option<Ipv4Net> {
    let IpAddr::V4(address) = ip.address else { return None };
    Ipv4Net::new(address, ip.prefix_length()?).ok()
}

struct Judge<'f> {
    net: Ipv4Net,
    path: String,
    faults: &'f mut Faults,
}

impl Judge<'_> {
    fn scope(mut self, network: &Network, dhcp: &Dhcp) -> Scope {
        let ranges = self.ranges(dhcp);
        let hosts = self.hosts(dhcp);
        let lease = dhcp.ranges.iter().find_map(|range| range.lease.as_ref());
        let dns_off = network.dns.as_deref().and_then(|dns| dns.enable) == Some(YesNo::No);
        let isolated = matches!(mode(network, &mut Faults::default()), Mode::Isolated);
        Scope {
            server: self.net.addr(),
            prefix: self.net.prefix_len(),
            ranges,
            hosts,
            lease_s: lease.map_or(LEASE_DEFAULT_S, seconds),
            router: (!isolated).then(|| self.net.addr()),
            dns: if dns_off { Vec::new() } else { vec![self.net.addr()] },
            domain: network.domain.as_ref().map(|domain| domain.name.clone()),
            mtu: network.mtu.as_ref().and_then(|mtu| u16::try_from(mtu.size_bytes).ok()),
            routes: Vec::new(),
            boot: self.boot(dhcp),
            guest_names: false,
        }
    }

    fn fault(&mut self, at: &str, why: String) {
        self.faults.0.push(Fault::at(format!("{}{at}", self.path), why));
    }

    /// An address guests can have. That it is in the subnet is the model's to tell.
    fn usable(&mut self, at: &str, ip: IpAddr) -> Option<Ipv4Addr> {
        let IpAddr::V4(ip) = ip else { return None };
        if ip == self.net.network() || ip == self.net.broadcast() {
            self.fault(at, format!("{ip} is the subnet's own or its broadcast address"));
        }
        self.net.contains(&ip).then_some(ip)
    }

    fn ranges(&mut self, dhcp: &Dhcp) -> Vec<(Ipv4Addr, Ipv4Addr)> {
        let mut ranges = Vec::new();
        let mut total = 0_u64;
        for (at, range) in dhcp.ranges.iter().enumerate() {
            let at = numbered("/range", at, dhcp.ranges.len());
            let ends = (self.usable(&at, range.start), self.usable(&at, range.end));
            if let (Some(start), Some(end)) = ends
                && start <= end
            {
                total += u64::from(u32::from(end) - u32::from(start)) + 1;
                ranges.push((start, end));
            }
        }
        if total > ADDRESSES_MAX {
            self.fault(
                "/range",
                format!("the ranges have {total} addresses; at most {ADDRESSES_MAX} can be"),
            );
            ranges.clear();
        }
        ranges
    }

    fn hosts(&mut self, dhcp: &Dhcp) -> Vec<StaticHost> {
        let mut hosts = Vec::new();
        let mut names = HashSet::new();
        if dhcp.hosts.len() > HOSTS_MAX {
            self.fault("/host", format!("there are more than {HOSTS_MAX}"));
        }
        for (at, host) in dhcp.hosts.iter().take(HOSTS_MAX).enumerate() {
            let at = numbered("/host", at, dhcp.hosts.len());
            if let Some(name) = host.name.as_ref().filter(|name| !valid_name(name)) {
                self.fault(&format!("{at}/@name"), format!("`{name}` is no host name"));
            }
            // DNS does not tell letters' cases apart, the model does.
            let folded = host.name.as_ref().map(|name| name.to_ascii_lowercase());
            if let Some(name) = folded.filter(|name| !names.insert(name.clone())) {
                self.fault(&format!("{at}/@name"), format!("`{name}` is the name of another host already"));
            }
            if let Some(ip) = host.ip.and_then(|ip| self.usable(&at, ip)) {
                hosts.push(StaticHost { mac: host.mac, name: host.name.clone(), ip });
            }
        }
        hosts
    }

    fn boot(&mut self, dhcp: &Dhcp) -> Option<Boot> {
        let bootp = dhcp.bootp.as_ref()?;
        if bootp.file.len() > 127 {
            self.fault("/bootp", "the file's name has at most 127 bytes".into());
        }
        let server = bootp.server.as_ref().and_then(|server| {
            let ip = server.parse();
            if ip.is_err() {
                self.fault("/bootp", format!("the server `{server}` must be an IPv4 address"));
            }
            ip.ok()
        });
        Some(Boot { file: bootp.file.clone(), server })
    }
}

fn seconds(lease: &LeaseTime) -> u32 {
    let unit = match lease.unit {
        Some(LeaseUnit::Seconds) => 1,
        None | Some(LeaseUnit::Minutes) => 60,
        Some(LeaseUnit::Hours) => 3_600,
    };
    match lease.expiry {
        0 => u32::MAX,
        // libvirt's least is two minutes.
        expiry => expiry.saturating_mul(unit).max(120),
    }
}
