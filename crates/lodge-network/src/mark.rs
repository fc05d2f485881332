//! How an interface says whose it is: its alias in the kernel, read by `ip link` and by the next daemon.
//!
//! ```text
//! bridge:  lodge:TAG:NETWORK-UUID
//! tap:     lodge:TAG:NETWORK-UUID:DOMAIN-UUID:52-54-00-b8-e0-15:DOMAIN-NAME
//! ```

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
}

impl Mark {
    /// The alias.
    pub fn text(&self) -> String {
        let Self { tag, network, guest } = self;
        let mut text = format!("lodge:{tag}:{network}");
        if let Some(guest) = guest {
            let mac = guest.mac.to_string().replace(':', "-");
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
            (Some(domain), Some(mac), Some(name)) => Some(Guest {
                domain: domain.parse().ok()?,
                mac: mac.replace('-', ":").parse().ok()?,
                name: name.to_owned(),
            }),
            _ => None,
        };
        Some(Self { tag, network, guest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_read_as_written() {
        let guest = Guest { domain: DomainId::random(), mac: MacAddr::random(), name: "web: 1".into() };
        let bridge = Mark { tag: "system".into(), network: NetworkId::random(), guest: None };
        let tap = Mark { guest: Some(guest), ..bridge.clone() };
        for mark in [bridge, tap] {
            assert_eq!(Mark::parse(&mark.text()), Some(mark));
        }
        for foreign in ["", "lodge", "lodge:x", "uplink", "lodge:x:not-a-uuid"] {
            assert_eq!(Mark::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_long_name_is_cut_at_a_letter() {
        let guest = Guest { domain: DomainId::random(), mac: MacAddr::random(), name: "ü".repeat(200) };
        let mark = Mark { tag: "system".into(), network: NetworkId::random(), guest: Some(guest) };
        assert!((ALIAS_MAX_BYTES - 1..=ALIAS_MAX_BYTES).contains(&mark.text().len()));
        assert!(Mark::parse(&mark.text()).is_some());
    }
}
