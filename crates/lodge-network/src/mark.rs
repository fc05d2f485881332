//! How an interface says whose it is: its alias in the kernel, read by `ip link` and by the next daemon.
//!
//! ```text
//! bridge:  lodge:TAG:NETWORK-UUID
//! tap:     lodge:TAG:NETWORK-UUID:DOMAIN-UUID:52-54-00-b8-e0-15:DOMAIN-NAME
//!          lodge:TAG:NETWORK-UUID:DOMAIN-UUID:52-54-00-b8-e0-15+200!:DOMAIN-NAME
//! ```
//!
//! Behind the address stands what the tap's bridge must know of it again when it is made anew: what it has for sure of it
//! (`+`, in KiB/s), and that it reaches no other isolated port (`!`).

use std::fmt::Write;

use lodge_model::{DomainId, MacAddr, NetworkId};

/// Longest alias the kernel takes (`IFALIASZ` less the final zero).
const ALIAS_MAX_BYTES: usize = 255;

/// What an alias of ours says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The tag of the root.
    pub tag: String,
    /// The network.
    pub network: NetworkId,
    /// On a tap: whose it is.
    pub guest: Option<Guest>,
}

/// Whose tap it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// The domain.
    pub domain: DomainId,
    /// The guest's hardware address.
    pub mac: MacAddr,
    /// The domain's name, cut where it is too long.
    pub name: String,
    /// What it has for sure of the bridge, in KiB/s.
    pub floor_kib_s: Option<u64>,
    /// It reaches no other port like it.
    pub isolated: bool,
}

impl Mark {
    /// The alias.
    pub fn text(&self) -> String {
        let Self { tag, network, guest } = self;
        let mut text = format!("lodge:{tag}:{network}");
        if let Some(guest) = guest {
            let mut mac = guest.mac.to_string().replace(':', "-");
            if let Some(floor) = guest.floor_kib_s {
                write!(mac, "+{floor}").expect("a String takes all");
            }
            mac += if guest.isolated { "!" } else { "" };
            write!(text, ":{}:{mac}:", guest.domain).expect("a String takes all");
            for letter in guest.name.chars().filter(|letter| !letter.is_control()) {
                if text.len() + letter.len_utf8() <= ALIAS_MAX_BYTES {
                    text.push(letter);
                }
            }
        }
        text
    }

    /// Reads an alias; `None`: it is not ours.
    pub fn parse(alias: &str) -> Option<Self> {
        let mut parts = alias.strip_prefix("lodge:")?.splitn(5, ':');
        let tag = parts.next()?.to_owned();
        let network = parts.next()?.parse().ok()?;
        let guest = match (parts.next(), parts.next(), parts.next()) {
            (Some(domain), Some(mac), Some(name)) => {
                let (mac, isolated) = mac.strip_suffix('!').map_or((mac, false), |mac| (mac, true));
                let (mac, floor) = mac.split_once('+').map_or((mac, None), |(mac, floor)| (mac, Some(floor)));
                Some(Guest {
                    domain: domain.parse().ok()?,
                    mac: mac.replace('-', ":").parse().ok()?,
                    name: name.to_owned(),
                    floor_kib_s: floor.map(str::parse).transpose().ok()?,
                    isolated,
                })
            }
            _ => None,
        };
        Some(Self { tag, network, guest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(name: &str) -> Guest {
        let (domain, mac) = (DomainId::random(), MacAddr::random());
        Guest { domain, mac, name: name.into(), floor_kib_s: None, isolated: false }
    }

    #[test]
    fn an_alias_is_read_as_written() {
        let guest = guest("web: 1!+3");
        let bridge = Mark { tag: "system".into(), network: NetworkId::random(), guest: None };
        let tap = Mark { guest: Some(guest.clone()), ..bridge.clone() };
        let floor = Mark { guest: Some(Guest { floor_kib_s: Some(200), ..guest.clone() }), ..bridge.clone() };
        let both = Guest { floor_kib_s: Some(7), isolated: true, ..guest.clone() };
        let both = Mark { guest: Some(both), ..bridge.clone() };
        let alone = Mark { guest: Some(Guest { isolated: true, ..guest }), ..bridge.clone() };
        for mark in [bridge, tap, floor, both, alone] {
            assert_eq!(Mark::parse(&mark.text()), Some(mark));
        }
        for foreign in ["", "lodge", "lodge:x", "uplink", "lodge:x:not-a-uuid"] {
            assert_eq!(Mark::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_long_name_is_cut_at_a_letter() {
        let guest = guest(&"ü".repeat(200));
        let mark = Mark { tag: "system".into(), network: NetworkId::random(), guest: Some(guest) };
        assert!((ALIAS_MAX_BYTES - 1..=ALIAS_MAX_BYTES).contains(&mark.text().len()));
        assert!(Mark::parse(&mark.text()).is_some());
    }
}
