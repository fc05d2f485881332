//! What one netd knows: leases, names, and the journal that keeps them.
//!
//! One thread, so a `RefCell` and not a lock: it is borrowed for one decision and never across an `await`.
//! The rule is *durable, then told*: [`Book::note`] puts a change into the journal's memory, [`Book::commit`]
//! makes it durable, and only then replies and events leave.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use lodge_model::MacAddr;
use tokio::sync::broadcast;

use super::dhcp::{Change, Outcome, Server};
use super::dns::Holders;
use super::journal::{Entry, Journal};
use super::names::{Found, Names};
use super::setup::{DnsRules, Scope};
use super::table::{Holding, NEVER, State};
use crate::wire::{Event, PAGE, WireLease};

/// Events kept for a slow listener.
const EVENTS_KEPT: usize = 4_096;

/// All that one netd knows.
#[derive(Debug)]
pub struct Book {
    state: RefCell<Known>,
    events: broadcast::Sender<Event>,
    dhcp_messages: Cell<u64>,
    dns_queries: Cell<u64>,
}

#[derive(Debug)]
struct Known {
    server: Option<Server>,
    names: Names,
    journal: Journal,
}

impl Book {
    /// Takes up what the journal tells.
    pub fn new(
        server: Option<Server>,
        names: Names,
        journal: Journal,
        entries: Vec<Entry>,
        now: u64,
    ) -> Self {
        let mut known = Known { server, names, journal };
        for entry in entries {
            known.replay(entry, now);
        }
        known.forget_lapsed(now);
        Self {
            state: RefCell::new(known),
            events: broadcast::channel(EVENTS_KEPT).0,
            dhcp_messages: Cell::new(0),
            dns_queries: Cell::new(0),
        }
    }

    /// Decides about one DHCP datagram; what changed is noted, not yet durable.
    pub fn dhcp(&self, datagram: &[u8], now: u64) -> Outcome {
        self.dhcp_messages.set(self.dhcp_messages.get() + 1);
        let known = &mut *self.state.borrow_mut();
        let Some(server) = &mut known.server else { return Outcome::default() };
        let names = &known.names;
        let outcome = server.handle(datagram, |mac| names.vouched(mac), now);
        if let Some(change) = &outcome.change {
            known.note(change);
        }
        outcome
    }

    /// Ends what has ended; returns the events to tell.
    pub fn sweep(&self, now: u64) -> Vec<Event> {
        let known = &mut *self.state.borrow_mut();
        known.forget_lapsed(now).into_iter().map(|(mac, held)| Event::Ended { mac, ip: held.ip }).collect()
    }

    /// Makes all noted changes durable. Many may wait for one call.
    pub async fn commit(&self) -> io::Result<()> {
        let file = self.state.borrow_mut().journal.write()?;
        match file {
            Some(file) => {
                tokio::task::spawn_blocking(move || file.sync_data()).await.map_err(io::Error::other)?
            }
            None => Ok(()),
        }
    }

    /// Writes a new snapshot when the journal has grown long.
    pub fn compact(&self) -> io::Result<()> {
        let known = &mut *self.state.borrow_mut();
        let live = known.server.as_ref().map_or(0, |server| server.table().lease_count());
        if !known.journal.is_long(live) {
            return Ok(());
        }
        let entries = known.entries();
        known.journal.snapshot(&entries)
    }

    /// Tells listeners.
    pub fn tell(&self, event: Event) {
        // Nobody listening is well: the daemon may be down.
        let _ = self.events.send(event);
    }

    /// What will be told from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// The event of a change.
    pub fn event(&self, change: &Change) -> Event {
        match change {
            Change::Bound(mac, held) => Event::Lease(self.state.borrow().lease(*mac, held)),
            Change::Ended(mac, held) => Event::Ended { mac: *mac, ip: held.ip },
            Change::Exhausted(mac) => Event::Exhausted { mac: *mac },
        }
    }

    /// The host gives names to a guest. Written but not made durable: that survives the end of this process,
    /// and a crash of the host ends the guest too.
    pub fn vouch(&self, mac: MacAddr, names: Vec<String>) -> io::Result<()> {
        let known = &mut *self.state.borrow_mut();
        known.names.vouch(mac, &names);
        known.journal.note(&Entry::Names { mac, names });
        known.journal.write().map(drop)
    }

    /// Whether addresses are given out at all.
    pub fn serves_dhcp(&self) -> bool {
        self.state.borrow().server.is_some()
    }

    /// From now on gives out `scope` and knows the names of `rules`. What guests have, and their names, is taken over
    /// as it would be from the journal: where the new configuration has no place for a lease, it is forgotten.
    pub fn reconfigure(&self, scope: Option<Scope>, rules: &DnsRules, now: u64) {
        let known = &mut *self.state.borrow_mut();
        let entries = known.entries();
        let hosts = scope.as_ref().map(|scope| scope.hosts.clone()).unwrap_or_default();
        known.server = scope.map(Server::new);
        known.names = Names::new(rules, &hosts);
        for entry in entries {
            known.replay(entry, now);
        }
    }

    /// Guests the host has given names to.
    pub fn named(&self) -> Vec<MacAddr> {
        self.state.borrow().names.all_vouched().map(|(mac, _)| mac).collect()
    }

    /// The lease of one guest.
    pub fn lease(&self, mac: MacAddr) -> Option<WireLease> {
        let known = self.state.borrow();
        let held = known.server.as_ref()?.table().holding(mac)?;
        (held.state == State::Bound).then(|| known.lease(mac, held))
    }

    /// One page of leases after an address, and whether there is another.
    pub fn leases(&self, after: Option<Ipv4Addr>) -> (Vec<WireLease>, bool) {
        let known = self.state.borrow();
        let table = known.server.as_ref().map(Server::table);
        let mut leases: Vec<WireLease> = table
            .into_iter()
            .flat_map(super::table::Table::leases)
            .filter(|(_, held)| after.is_none_or(|after| held.ip > after))
            .map(|(mac, held)| known.lease(mac, held))
            .collect();
        leases.sort_by_key(|lease| lease.ip);
        let more = leases.len() > PAGE;
        leases.truncate(PAGE);
        (leases, more)
    }

    /// Counts: leases, free addresses, DHCP messages, DNS queries.
    pub fn counts(&self) -> (usize, usize, u64, u64) {
        let known = self.state.borrow();
        let table = known.server.as_ref().map(Server::table);
        let leases = table.map_or(0, super::table::Table::lease_count);
        let free = table.map_or(0, super::table::Table::free_count);
        (leases, free, self.dhcp_messages.get(), self.dns_queries.get())
    }

    /// One more DNS query.
    pub fn count_query(&self) {
        self.dns_queries.set(self.dns_queries.get() + 1);
    }

    /// Lets `look` see names and who holds which address.
    pub fn with_names<T>(&self, look: impl FnOnce(&Names, &BorrowedHolders<'_>) -> T) -> T {
        let known = self.state.borrow();
        look(&known.names, &BorrowedHolders(known.server.as_ref()))
    }

    /// The addresses of a name of this network.
    pub fn resolve(&self, name: &str) -> Vec<IpAddr> {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.with_names(|names, holders| match names.find(name, |mac| holders.address_of(mac)) {
            Some(Found::Addresses(ips)) => ips,
            Some(Found::Guest(_)) | None => Vec::new(),
        })
    }
}

/// Who holds which address, while the book is open.
pub struct BorrowedHolders<'b>(Option<&'b Server>);

impl Holders for BorrowedHolders<'_> {
    fn address_of(&self, mac: MacAddr) -> Option<Ipv4Addr> {
        let held = self.0?.table().holding(mac)?;
        (held.state == State::Bound).then_some(held.ip)
    }

    fn holder(&self, ip: Ipv4Addr) -> Option<MacAddr> {
        let table = self.0?.table();
        table.holder(ip).filter(|mac| table.holding(*mac).is_some_and(|held| held.state == State::Bound))
    }
}

impl Known {
    fn replay(&mut self, entry: Entry, now: u64) {
        match entry {
            Entry::Lease { mac, ip, until, hostname, client_id } => {
                let held = Holding { ip, state: State::Bound, until, hostname, client_id };
                let Some(server) = &mut self.server else { return };
                if server.restore(mac, held.clone(), self.names.vouched(mac)) {
                    self.names.claim(mac, held.hostname.as_deref());
                }
            }
            Entry::End { mac } => {
                if let Some(server) = &mut self.server {
                    server.end(mac, now);
                }
                self.names.unclaim(mac);
            }
            Entry::Names { mac, names } => self.names.vouch(mac, &names),
        }
    }

    fn note(&mut self, change: &Change) {
        match change {
            Change::Bound(mac, held) => {
                self.names.claim(*mac, held.hostname.as_deref());
                self.journal.note(&entry(*mac, held));
            }
            Change::Ended(mac, _) => {
                self.names.unclaim(*mac);
                self.journal.note(&Entry::End { mac: *mac });
            }
            Change::Exhausted(_) => {}
        }
    }

    /// Leases whose time has come: their names are free again. The journal knows their end already.
    fn forget_lapsed(&mut self, now: u64) -> Vec<(MacAddr, Holding)> {
        let ended = self.server.as_mut().map(|server| server.sweep(now)).unwrap_or_default();
        for (mac, _) in &ended {
            self.names.unclaim(*mac);
        }
        ended
    }

    fn entries(&self) -> Vec<Entry> {
        let names = self.names.all_vouched().map(|(mac, names)| Entry::Names { mac, names: names.to_vec() });
        let leases = self.server.iter().flat_map(|server| server.table().remembered());
        names.chain(leases.map(|(mac, held)| entry(mac, held))).collect()
    }

    fn lease(&self, mac: MacAddr, held: &Holding) -> WireLease {
        WireLease {
            mac,
            ip: held.ip,
            expires: if held.until == NEVER { 0 } else { held.until },
            hostname: self.names.name_of_guest(mac).or(held.hostname.as_ref()).cloned(),
            client_id: held.client_id.clone(),
        }
    }
}

fn entry(mac: MacAddr, held: &Holding) -> Entry {
    Entry::Lease {
        mac,
        ip: held.ip,
        until: held.until,
        hostname: held.hostname.clone(),
        client_id: held.client_id.clone(),
    }
}
