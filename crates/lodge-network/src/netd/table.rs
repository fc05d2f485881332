//! Who holds which address. Pure: the time is told, nothing is read or written.
//!
//! ```text
//!   free ──offer──▶ Offered ──accept──▶ Bound ──ends──▶ Lapsed ──offer──▶ Offered (its own guest first)
//!    ▲  ◀──unused──────┘                  │ declined       │ another guest needs it
//!    └──────────── Quarantined ◀──────────┘                ▼
//! ```
//!
//! An address is held by at most one hardware address, and a hardware address holds at most one address:
//! both maps change together in [`Table::hold`] and [`Table::drop_mac`] and nowhere else. Client
//! identifiers are kept for display; they choose nothing.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;

use lodge_model::MacAddr;

use super::setup::Scope;

/// How long an offer is kept for the guest it was made to, in seconds.
const OFFER_S: u64 = 60;
/// How long a declined address is given to nobody, in seconds.
const QUARANTINE_S: u64 = 600;
/// End of a lease that never ends.
pub const NEVER: u64 = u64::MAX;

/// What a hardware address holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The address.
    pub ip: Ipv4Addr,
    /// Where it stands.
    pub state: State,
    /// The end of that state, seconds since 1970.
    pub until: u64,
    /// The name the guest gave itself, already checked.
    pub hostname: Option<String>,
    /// The client identifier, for display.
    pub client_id: Option<Vec<u8>>,
}

/// Where a holding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Told to a guest that has not answered yet.
    Offered,
    /// The guest's until its end.
    Bound,
    /// Ended; kept for the same guest until somebody else needs it.
    Lapsed,
}

/// All holdings of one subnet.
#[derive(Debug)]
pub struct Table {
    by_mac: HashMap<MacAddr, Holding>,
    by_ip: HashMap<Ipv4Addr, MacAddr>,
    /// Addresses of the ranges nobody holds.
    free: BTreeSet<Ipv4Addr>,
    /// The same holdings and quarantines by their end, to find what has ended.
    offered: BTreeSet<(u64, Ipv4Addr)>,
    bound: BTreeSet<(u64, Ipv4Addr)>,
    lapsed: BTreeSet<(u64, Ipv4Addr)>,
    quarantined: BTreeSet<(u64, Ipv4Addr)>,
    ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
    statics: HashMap<MacAddr, Ipv4Addr>,
    kept: HashMap<Ipv4Addr, Option<MacAddr>>,
}

impl Table {
    /// An empty table for `scope`.
    pub fn new(scope: &Scope) -> Self {
        let statics = scope
            .hosts
            .iter()
            .filter_map(|host| host.mac.map(|mac| (mac, host.ip)))
            .collect::<HashMap<_, _>>();
        let mut kept: HashMap<_, _> = scope.hosts.iter().map(|host| (host.ip, host.mac)).collect();
        kept.insert(scope.server, None);
        let free = scope
            .ranges
            .iter()
            .flat_map(|&(first, last)| (u32::from(first)..=u32::from(last)).map(Ipv4Addr::from))
            .filter(|ip| !kept.contains_key(ip))
            .collect();
        Self {
            by_mac: HashMap::new(),
            by_ip: HashMap::new(),
            free,
            offered: BTreeSet::new(),
            bound: BTreeSet::new(),
            lapsed: BTreeSet::new(),
            quarantined: BTreeSet::new(),
            ranges: scope.ranges.clone(),
            statics,
            kept,
        }
    }

    /// What `mac` holds.
    pub fn holding(&self, mac: MacAddr) -> Option<&Holding> {
        self.by_mac.get(&mac)
    }

    /// Who holds `ip`.
    pub fn holder(&self, ip: Ipv4Addr) -> Option<MacAddr> {
        self.by_ip.get(&ip).copied()
    }

    /// All holdings that are leases now.
    pub fn leases(&self) -> impl Iterator<Item = (MacAddr, &Holding)> {
        self.by_mac.iter().filter(|(_, holding)| holding.state == State::Bound).map(|(mac, h)| (*mac, h))
    }

    /// All that is worth remembering: leases, and whose an address was last.
    pub fn remembered(&self) -> impl Iterator<Item = (MacAddr, &Holding)> {
        self.by_mac.iter().filter(|(_, holding)| holding.state != State::Offered).map(|(mac, h)| (*mac, h))
    }

    /// May `mac` ever hold `ip`? Its own fixed address, or one of the ranges that is nobody's fixed one.
    fn allowed(&self, mac: MacAddr, ip: Ipv4Addr, named: Option<Ipv4Addr>) -> bool {
        match self.fixed(mac, named) {
            Some(fixed) => fixed == ip,
            None => {
                !self.kept.contains_key(&ip)
                    && self.ranges.iter().any(|&(first, last)| (first..=last).contains(&ip))
            }
        }
    }

    fn fixed(&self, mac: MacAddr, named: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let by_name = || named.filter(|ip| self.kept.get(ip) == Some(&None));
        self.statics.get(&mac).copied().or_else(by_name)
    }

    /// Chooses an address for `mac` and keeps it for a while. `named`: the address fixed for the guest's
    /// name. `None`: no address is left.
    pub fn offer(
        &mut self,
        mac: MacAddr,
        wish: Option<Ipv4Addr>,
        named: Option<Ipv4Addr>,
        now: u64,
    ) -> Option<Ipv4Addr> {
        if let Some(held) = self.by_mac.get(&mac) {
            let ip = held.ip;
            if self.allowed(mac, ip, named) {
                if held.state != State::Bound {
                    self.hold(mac, Holding { state: State::Offered, until: now + OFFER_S, ..held.clone() });
                }
                return Some(ip);
            }
        }
        let ip = match self.fixed(mac, named) {
            Some(fixed) => self.takeable(fixed, now).then_some(fixed)?,
            None => self.choose(mac, wish)?,
        };
        if let Some(other) = self.by_ip.get(&ip).copied() {
            self.drop_mac(other);
        }
        self.drop_mac(mac);
        self.hold(
            mac,
            Holding { ip, state: State::Offered, until: now + OFFER_S, hostname: None, client_id: None },
        );
        Some(ip)
    }

    /// Nobody else has a right to `ip` now.
    fn takeable(&self, ip: Ipv4Addr, now: u64) -> bool {
        let in_quarantine = self.quarantined.iter().any(|&(until, held)| held == ip && until > now);
        let holder = self.by_ip.get(&ip).and_then(|mac| self.by_mac.get(mac));
        !in_quarantine && holder.is_none_or(|holding| holding.state == State::Lapsed)
    }

    fn choose(&self, mac: MacAddr, wish: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        if let Some(wish) = wish {
            let lapsed = self.by_ip.get(&wish).and_then(|mac| self.by_mac.get(mac));
            if self.free.contains(&wish) || lapsed.is_some_and(|holding| holding.state == State::Lapsed) {
                return Some(wish);
            }
        }
        let start = self.favourite(mac);
        let fresh = self.free.range(start..).next().or_else(|| self.free.first()).copied();
        let oldest = |set: &BTreeSet<(u64, Ipv4Addr)>| {
            let free_of_claims = |ip: &&(u64, Ipv4Addr)| !self.kept.contains_key(&ip.1);
            set.iter().find(free_of_claims).map(|&(_, ip)| ip)
        };
        fresh.or_else(|| oldest(&self.lapsed)).or_else(|| oldest(&self.offered))
    }

    /// Where in the ranges the search for `mac` begins: the same guest tends to the same address even when
    /// every record is lost, and neighbours do not crowd.
    fn favourite(&self, mac: MacAddr) -> Ipv4Addr {
        let hash = mac.0.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let sizes =
            self.ranges.iter().map(|&(first, last)| u64::from(u32::from(last) - u32::from(first)) + 1);
        let mut skip = hash % sizes.clone().sum::<u64>().max(1);
        for (&(first, _), size) in self.ranges.iter().zip(sizes) {
            if skip < size {
                let offset = u32::try_from(skip).expect("smaller than an IPv4 range");
                return Ipv4Addr::from(u32::from(first) + offset);
            }
            skip -= size;
        }
        Ipv4Addr::UNSPECIFIED
    }

    /// Makes `ip` the lease of `mac` until `until`, if nobody else has a right to it.
    pub fn bind(&mut self, mac: MacAddr, wanted: Holding, named: Option<Ipv4Addr>, now: u64) -> bool {
        let ip = wanted.ip;
        let own = self.by_ip.get(&ip) == Some(&mac);
        if !self.allowed(mac, ip, named) || !(own || self.takeable(ip, now)) {
            return false;
        }
        if let Some(other) = self.by_ip.get(&ip).copied().filter(|&other| other != mac) {
            self.drop_mac(other);
        }
        if !own {
            self.drop_mac(mac);
        }
        self.hold(mac, Holding { state: State::Bound, ..wanted });
        true
    }

    /// Takes in what a journal tells: later entries overrule earlier ones. False if today's definition has
    /// no place for it.
    pub fn restore(&mut self, mac: MacAddr, held: Holding, named: Option<Ipv4Addr>) -> bool {
        if !self.allowed(mac, held.ip, named) {
            return false;
        }
        if let Some(other) = self.by_ip.get(&held.ip).copied() {
            self.drop_mac(other);
        }
        self.drop_mac(mac);
        self.hold(mac, Holding { state: State::Bound, ..held });
        true
    }

    /// Ends the lease of `mac` on `ip`; the address stays its favourite.
    pub fn release(&mut self, mac: MacAddr, ip: Ipv4Addr, now: u64) -> bool {
        match self.by_mac.get(&mac) {
            Some(held) if held.ip == ip && held.state == State::Bound => {
                self.hold(mac, Holding { state: State::Lapsed, until: now, ..held.clone() });
                true
            }
            _ => false,
        }
    }

    /// `mac` found `ip` in use by somebody unknown: nobody gets it for a while. At most half of the ranges
    /// is kept away so, lest one guest decline everything.
    pub fn decline(&mut self, mac: MacAddr, ip: Ipv4Addr, now: u64) -> bool {
        if self.by_ip.get(&ip) != Some(&mac) {
            return false;
        }
        self.drop_mac(mac);
        let most = (self.free.len() + self.by_ip.len() + self.quarantined.len()).div_ceil(2);
        if self.quarantined.len() >= most
            && let Some((_, oldest)) = self.quarantined.pop_first()
        {
            self.give_back(oldest);
        }
        self.free.remove(&ip);
        self.quarantined.insert((now + QUARANTINE_S, ip));
        true
    }

    /// Moves on what has ended by `now`; says which leases ended.
    pub fn sweep(&mut self, now: u64) -> Vec<(MacAddr, Holding)> {
        let mut ended = Vec::new();
        while let Some(&(until, ip)) = self.offered.first().filter(|(until, _)| *until <= now) {
            self.offered.remove(&(until, ip));
            if let Some(mac) = self.by_ip.get(&ip).copied() {
                self.drop_mac(mac);
            }
        }
        while let Some(&(_, ip)) = self.bound.first().filter(|(until, _)| *until <= now) {
            let mac = self.by_ip[&ip];
            let held = Holding { state: State::Lapsed, ..self.by_mac[&mac].clone() };
            self.hold(mac, held.clone());
            ended.push((mac, held));
        }
        while let Some(&(until, ip)) = self.quarantined.first().filter(|(until, _)| *until <= now) {
            self.quarantined.remove(&(until, ip));
            self.give_back(ip);
        }
        ended
    }

    /// How many leases there are now.
    pub fn lease_count(&self) -> usize {
        self.bound.len()
    }

    /// How many addresses nobody holds.
    pub fn free_count(&self) -> usize {
        self.free.len()
    }

    /// The one place where a holding is put in.
    fn hold(&mut self, mac: MacAddr, holding: Holding) {
        self.drop_mac(mac);
        self.free.remove(&holding.ip);
        self.ends(holding.state).insert((holding.until, holding.ip));
        self.by_ip.insert(holding.ip, mac);
        self.by_mac.insert(mac, holding);
    }

    /// The one place where a holding is taken out.
    fn drop_mac(&mut self, mac: MacAddr) {
        if let Some(held) = self.by_mac.remove(&mac) {
            self.by_ip.remove(&held.ip);
            self.ends(held.state).remove(&(held.until, held.ip));
            self.give_back(held.ip);
        }
    }

    fn give_back(&mut self, ip: Ipv4Addr) {
        let in_ranges = self.ranges.iter().any(|&(first, last)| (first..=last).contains(&ip));
        if in_ranges && !self.kept.contains_key(&ip) {
            self.free.insert(ip);
        }
    }

    fn ends(&mut self, state: State) -> &mut BTreeSet<(u64, Ipv4Addr)> {
        match state {
            State::Offered => &mut self.offered,
            State::Bound => &mut self.bound,
            State::Lapsed => &mut self.lapsed,
        }
    }
}

#[cfg(test)]
mod tests;
