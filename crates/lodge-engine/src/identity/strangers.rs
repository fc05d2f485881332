//! Machines on the networks that are no guests of ours: whoever has a lease, and whoever answered the host.
//!
//! One that has an address of a guest's beside it is a second machine of that identity. One machine may have several
//! addresses of either protocol, and a lease besides: its hardware address makes it one.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    path::Path,
};

use lodge_identity::{HostFacts, Identity};
use lodge_model::MacAddr;
use lodge_network::{Lease, Neighbour};

use super::{facts::Leases, look::Looked};
use crate::{Engine, error::chain_of};

/// Addresses that one machine's name says.
const NAMED: usize = 3;

/// A machine that is none of ours.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stranger {
    /// `lease 192.0.2.7 of network default`, and as many as there are.
    names: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl Engine {
    /// Leases and neighbours that are no guest's of ours by their address. Tables that cannot be read are told.
    pub(super) async fn strangers(&self, leases: &Leases, gaps: &mut Vec<String>) -> Vec<(String, Identity)> {
        let neighbours = match lodge_network::neighbours().await {
            Ok(neighbours) => neighbours,
            Err(error) => {
                gaps.push(format!("neighbours: {}", chain_of(&error)));
                Vec::new()
            }
        };
        let macs = |macs: std::collections::HashMap<MacAddr, _>| macs.into_keys().collect::<HashSet<_>>();
        let ours = Ours { running: macs(self.running_macs()), known: macs(self.known_macs_of_guests()) };
        let found = gather(&leases.all, &neighbours, &ours, is_behind);
        found.into_iter().map(|(mac, stranger)| self.known_by(mac, stranger)).collect()
    }

    fn known_by(&self, mac: MacAddr, stranger: Stranger) -> (String, Identity) {
        let more = stranger.names.len().saturating_sub(NAMED);
        let mut names: Vec<String> = stranger.names.into_iter().take(NAMED).collect();
        if more > 0 {
            names.push(format!("{more} more"));
        }
        let facts = HostFacts {
            macs: vec![mac.to_string()],
            addresses: stranger.addresses.iter().map(ToString::to_string).collect(),
            ..HostFacts::default()
        };
        let mut looked = Looked::default();
        looked.add_host(&facts, &self.inside);
        (names.join(", "), looked.identity)
    }
}

/// The hardware addresses of guests.
struct Ours {
    running: HashSet<MacAddr>,
    known: HashSet<MacAddr>,
}

fn gather(
    leases: &[(String, Lease)],
    neighbours: &[Neighbour],
    ours: &Ours,
    is_behind: impl Fn(&str, MacAddr) -> Option<bool>,
) -> BTreeMap<MacAddr, Stranger> {
    let mut found: BTreeMap<MacAddr, Stranger> = BTreeMap::new();
    for (network, lease) in leases.iter().filter(|(_, lease)| !ours.known.contains(&lease.mac)) {
        let stranger = found.entry(lease.mac).or_default();
        stranger.names.insert(format!("lease {} of network {network}", lease.ip));
        stranger.addresses.insert(lease.ip.into());
    }
    // What a guest itself shows on its bridge is no second machine.
    for neighbour in neighbours.iter().filter(|neighbour| !ours.running.contains(&neighbour.mac)) {
        // The tables keep a guest that was shut off, which is no second machine then: a bridge forgets with a port all
        // that was behind it, and of other cards only who answered just now counts.
        if !is_behind(&neighbour.device, neighbour.mac).unwrap_or(neighbour.is_fresh) {
            continue;
        }
        let stranger = found.entry(neighbour.mac).or_default();
        stranger.names.insert(format!("neighbour {} on {}", neighbour.address, neighbour.device));
        // One that counts on its own link only may be another machine's on the next.
        if !is_link_local(neighbour.address) {
            stranger.addresses.insert(neighbour.address);
        }
    }
    found
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Whether a bridge has heard of an address lately; none: it is no bridge.
fn is_behind(device: &str, mac: MacAddr) -> Option<bool> {
    // `struct __fdb_entry` of linux/if_bridge.h: 16 bytes each, and the address first.
    let table = Path::new("/sys/class/net").join(device).join("brforward");
    let entries = std::fs::read(table).ok()?;
    Some(entries.chunks_exact(16).any(|entry| entry.starts_with(&mac.0)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends there, and should")]
mod tests {
    use super::*;

    fn mac(last: u8) -> MacAddr {
        MacAddr([0x52, 0x54, 0, 0, 0, last])
    }

    fn neighbour(address: &str, last: u8, device: &str, is_fresh: bool) -> Neighbour {
        Neighbour { address: address.parse().unwrap(), mac: mac(last), device: device.to_owned(), is_fresh }
    }

    #[test]
    fn strangers_are_those_who_answer_and_are_no_guest_that_runs() {
        let neighbours = [
            neighbour("192.0.2.1", 1, "virbr0", true),
            neighbour("2001:db8::1", 1, "virbr0", true),
            neighbour("fe80::1", 1, "virbr0", false),
            // A guest that runs; one that is off, whose address somebody has; one that was shut off.
            neighbour("192.0.2.2", 2, "virbr0", true),
            neighbour("2001:db8::3", 3, "virbr0", false),
            neighbour("192.0.2.4", 4, "virbr0", true),
            // Behind cards that are no bridges.
            neighbour("198.51.100.5", 5, "eth0", true),
            neighbour("198.51.100.6", 6, "eth0", false),
        ];
        let ours = Ours { running: [mac(2)].into(), known: [mac(2), mac(3), mac(4)].into() };
        let is_behind = |device: &str, mac: MacAddr| (device == "virbr0").then(|| mac.0[5] != 4);
        let found = gather(&[], &neighbours, &ours, is_behind);
        let shown: Vec<(u8, Vec<String>)> = found
            .iter()
            .map(|(mac, one)| (mac.0[5], one.addresses.iter().map(ToString::to_string).collect()))
            .collect();
        let wanted =
            [(1, vec!["192.0.2.1", "2001:db8::1"]), (3, vec!["2001:db8::3"]), (5, vec!["198.51.100.5"])];
        assert_eq!(shown.len(), wanted.len(), "{shown:?}");
        for ((last, addresses), (wanted_last, wanted)) in shown.iter().zip(&wanted) {
            assert_eq!(
                (last, addresses.iter().map(String::as_str).collect::<Vec<_>>()),
                (wanted_last, wanted.clone())
            );
        }
        // One machine is named once, with all that it is known by.
        assert_eq!(found[&mac(1)].names.len(), 3);
    }
}
