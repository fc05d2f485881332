//! Who has which name. Pure.
//!
//! Four sources, the first that knows a name wins:
//! 1. `<dns><host>` of the network's document;
//! 2. `<dhcp><host name=…>` of the same;
//! 3. names the host vouches for (the domain's name, its seed's host name), told by the daemon;
//! 4. what a guest calls itself in DHCP, if no other guest has that name yet, and only where the network's owner wants
//!    such names at all (`guest_names`): else a guest could answer for one that is off.
//!
//! So no guest can take the name of another by saying so.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use lodge_model::MacAddr;

use super::setup::{DnsRules, StaticHost};

/// Most names the host may give to one guest.
pub const VOUCHED_MAX: usize = 16;

/// Is `label` a host name's label (RFC 1123)? A name that is all digits would look like an address.
pub fn valid_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
        && !bytes.iter().all(u8::is_ascii_digit)
        && !label.eq_ignore_ascii_case("localhost")
}

/// Is `name` one or more labels?
pub fn valid_name(name: &str) -> bool {
    let label =
        |label: &str| valid_label(label) || label.bytes().all(|b| b.is_ascii_digit()) && !label.is_empty();
    name.len() <= 253 && name.split('.').all(label) && name.bytes().any(|b| !b.is_ascii_digit() && b != b'.')
}

/// All names of one network, in lower case.
#[derive(Debug, Default)]
pub struct Names {
    domain: Option<String>,
    fixed: HashMap<String, Vec<IpAddr>>,
    fixed_by_ip: HashMap<IpAddr, String>,
    hosts: HashMap<String, Ipv4Addr>,
    hosts_by_ip: HashMap<Ipv4Addr, String>,
    vouched: HashMap<MacAddr, Vec<String>>,
    vouched_for: HashMap<String, MacAddr>,
    claimed: HashMap<String, MacAddr>,
    claims: HashMap<MacAddr, String>,
    takes_claims: bool,
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// These are its addresses.
    Addresses(Vec<IpAddr>),
    /// It is a guest's, who has no address now.
    Guest(MacAddr),
}

impl Names {
    /// The names of the document.
    pub fn new(rules: &DnsRules, dhcp: &[StaticHost]) -> Self {
        let domain = rules.domain.as_deref();
        let mut names = Self {
            domain: domain.map(|domain| domain.trim_matches('.').to_ascii_lowercase()),
            takes_claims: rules.guest_names,
            ..Self::default()
        };
        for host in &rules.hosts {
            for name in &host.names {
                names.fixed.entry(name.to_ascii_lowercase()).or_default().push(host.ip);
            }
            if let Some(first) = host.names.first() {
                names.fixed_by_ip.entry(host.ip).or_insert_with(|| first.to_ascii_lowercase());
            }
        }
        for host in dhcp {
            if let Some(name) = &host.name {
                names.hosts.insert(name.to_ascii_lowercase(), host.ip);
                names.hosts_by_ip.insert(host.ip, name.to_ascii_lowercase());
            }
        }
        names
    }

    /// The guests' domain.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// The names the host gave to `mac`.
    pub fn vouched(&self, mac: MacAddr) -> &[String] {
        self.vouched.get(&mac).map_or(&[], Vec::as_slice)
    }

    /// All names the host gave.
    pub fn all_vouched(&self) -> impl Iterator<Item = (MacAddr, &[String])> {
        self.vouched.iter().map(|(mac, names)| (*mac, names.as_slice()))
    }

    /// Replaces the names the host gives to `mac`; none takes them away. Bad names are left out.
    pub fn vouch(&mut self, mac: MacAddr, names: &[String]) {
        for old in self.vouched.remove(&mac).unwrap_or_default() {
            if self.vouched_for.get(&old) == Some(&mac) {
                self.vouched_for.remove(&old);
            }
        }
        let mut good: Vec<String> = Vec::new();
        for name in names.iter().map(|name| name.to_ascii_lowercase()) {
            if good.len() < VOUCHED_MAX && valid_name(&name) && !good.contains(&name) {
                good.push(name);
            }
        }
        for name in &good {
            self.vouched_for.insert(name.clone(), mac);
        }
        if !good.is_empty() {
            self.vouched.insert(mac, good);
        }
    }

    /// The guest `mac` calls itself `name` (or nothing). First come, first served.
    pub fn claim(&mut self, mac: MacAddr, name: Option<&str>) {
        if !self.takes_claims || self.claims.get(&mac).map(String::as_str) == name {
            return;
        }
        self.unclaim(mac);
        if let Some(name) = name
            && !self.claimed.contains_key(name)
        {
            self.claimed.insert(name.to_owned(), mac);
            self.claims.insert(mac, name.to_owned());
        }
    }

    /// The guest `mac` has no lease any more.
    pub fn unclaim(&mut self, mac: MacAddr) {
        if let Some(name) = self.claims.remove(&mac) {
            self.claimed.remove(&name);
        }
    }

    /// What is known of `name` (no final dot), told with or without the domain.
    pub fn find(&self, name: &str, address_of: impl Fn(MacAddr) -> Option<Ipv4Addr>) -> Option<Found> {
        let name = name.to_ascii_lowercase();
        let short = self.without_domain(&name);
        [Some(name.as_str()), short].into_iter().flatten().find_map(|name| self.find_exact(name, &address_of))
    }

    fn find_exact(&self, name: &str, address_of: &impl Fn(MacAddr) -> Option<Ipv4Addr>) -> Option<Found> {
        if let Some(ips) = self.fixed.get(name) {
            return Some(Found::Addresses(ips.clone()));
        }
        if let Some(ip) = self.hosts.get(name) {
            return Some(Found::Addresses(vec![(*ip).into()]));
        }
        let mac = self.vouched_for.get(name).or_else(|| self.claimed.get(name)).copied()?;
        Some(address_of(mac).map_or(Found::Guest(mac), |ip| Found::Addresses(vec![ip.into()])))
    }

    /// `name` without the guests' domain; `None` if it is not below it.
    pub fn without_domain<'n>(&self, name: &'n str) -> Option<&'n str> {
        let domain = self.domain.as_deref()?;
        name.strip_suffix(domain)?.strip_suffix('.').filter(|short| !short.is_empty())
    }

    /// The name of an address, with the domain where there is one.
    pub fn name_of(&self, ip: IpAddr, holder: Option<MacAddr>) -> Option<String> {
        if let Some(name) = self.fixed_by_ip.get(&ip) {
            return Some(name.clone());
        }
        let fixed = match ip {
            IpAddr::V4(ip) => self.hosts_by_ip.get(&ip),
            IpAddr::V6(_) => None,
        };
        let short = fixed.or_else(|| self.name_of_guest(holder?))?;
        Some(self.domain.as_ref().map_or_else(|| short.clone(), |domain| format!("{short}.{domain}")))
    }

    /// The first name of a guest.
    pub fn name_of_guest(&self, mac: MacAddr) -> Option<&String> {
        self.vouched.get(&mac).and_then(|names| names.first()).or_else(|| self.claims.get(&mac))
    }
}

#[cfg(test)]
mod tests {
    use super::super::setup::DnsHost;
    use super::*;

    fn rules(domain: Option<&str>, guest_names: bool) -> DnsRules {
        DnsRules { domain: domain.map(str::to_owned), guest_names, ..DnsRules::default() }
    }

    const A: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);

    #[expect(clippy::unnecessary_wraps, reason = "the shape `find` asks for")]
    fn address_of(mac: MacAddr) -> Option<Ipv4Addr> {
        Some(Ipv4Addr::new(10, 0, 0, mac.0[5]))
    }

    fn found(names: &Names, name: &str) -> Option<u8> {
        match names.find(name, address_of)? {
            Found::Addresses(ips) => match ips[0] {
                IpAddr::V4(ip) => Some(ip.octets()[3]),
                IpAddr::V6(_) => None,
            },
            Found::Guest(_) => None,
        }
    }

    #[test]
    fn a_guest_cannot_take_the_name_of_another() {
        let mut names = Names::new(&rules(Some("lan"), true), &[]);
        names.claim(B, Some("web1"));
        assert_eq!(found(&names, "web1"), Some(2), "nobody else has it yet");
        names.vouch(A, &["web1".into()]);
        assert_eq!(found(&names, "web1"), Some(1), "the host's word wins");
        names.claim(A, Some("db"));
        names.claim(B, Some("db"));
        assert_eq!(found(&names, "db.lan"), Some(1), "first come, first served");
        assert_eq!(names.name_of(IpAddr::from([10, 0, 0, 1]), Some(A)).as_deref(), Some("web1.lan"));
        names.vouch(A, &[]);
        assert_eq!(names.name_of(IpAddr::from([10, 0, 0, 1]), Some(A)).as_deref(), Some("db.lan"));
    }

    #[test]
    fn what_a_guest_calls_itself_counts_only_where_it_is_wanted() {
        let mut names = Names::new(&rules(Some("lan"), false), &[]);
        names.vouch(A, &["web1".into()]);
        // Off: its name is nobody's, and not for who says it.
        names.vouch(A, &[]);
        names.claim(B, Some("web1"));
        assert_eq!(found(&names, "web1"), None);
        assert_eq!(names.name_of(IpAddr::from([10, 0, 0, 2]), Some(B)), None);
    }

    #[test]
    fn names_of_the_document_come_first() {
        let gate = DnsHost { ip: IpAddr::from([10, 0, 0, 99]), names: vec!["Gate".into()] };
        let dns = DnsRules { hosts: vec![gate], ..rules(None, true) };
        let dhcp = [StaticHost { mac: Some(A), name: Some("db".into()), ip: Ipv4Addr::new(10, 0, 0, 50) }];
        let mut names = Names::new(&dns, &dhcp);
        names.vouch(A, &["gate".into(), "rhel8.0".into()]);
        names.claim(B, Some("db"));
        assert_eq!(found(&names, "gate"), Some(99));
        assert_eq!(found(&names, "DB"), Some(50));
        assert_eq!(found(&names, "rhel8.0"), Some(1), "a domain's name may have dots");
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        for bad in ["", "-a", "a-", "a.b", "a b", "ü", "12", "localhost", &"a".repeat(64)] {
            assert!(!valid_label(bad), "{bad}");
        }
        for bad in ["", ".", "a..b", "10.0.0.1", "a.", &"a.".repeat(130)] {
            assert!(!valid_name(bad), "{bad}");
        }
        assert!(valid_label("test-system") && valid_name("rhel8.0") && valid_name("3com"));
    }
}
