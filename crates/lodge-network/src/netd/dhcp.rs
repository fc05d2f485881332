//! The DHCP server's decisions, RFC 2131: a message in, at most one message out. Pure: the time is told.
//!
//! We are the only server of the subnet, so we answer with authority: a guest that asks for what it cannot
//! have gets a NAK at once instead of silence. A guest is its hardware address, which the host gave it;
//! client identifiers are what the guest says, and two guests cloned from one image say the same.
//!
//! Deliberately absent: relays (`giaddr`), which cannot occur on a bridge of ours, BOOTP without options,
//! and probing of addresses: guests probe themselves (RFC 5227) and decline.

mod frame;
mod reply;

use std::collections::HashMap;
use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, HType, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};
use lodge_model::MacAddr;

pub use frame::{BROADCAST, udp_packet};

use super::names::valid_label;
use super::setup::Scope;
use super::table::{Holding, NEVER, State, Table};

/// Shortest message that is one: the fixed part and the cookie.
const MESSAGE_MIN_BYTES: usize = 240;

/// A reply and whom it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Hardware address of the receiver; [`BROADCAST`] for all.
    pub to_mac: [u8; 6],
    /// IPv4 address of the receiver.
    pub to_ip: Ipv4Addr,
    /// The DHCP message.
    pub message: Vec<u8>,
}

/// What a message changed. Each must be durable before the reply leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A lease was made, prolonged or renamed.
    Bound(MacAddr, Holding),
    /// A lease ended before its time.
    Ended(MacAddr, Holding),
    /// No address was left for this guest. Nothing to be made durable.
    Exhausted(MacAddr),
}

/// What comes of one message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The reply, if there is one.
    pub reply: Option<Reply>,
    /// The change, if there is one.
    pub change: Option<Change>,
}

/// One subnet's server.
#[derive(Debug)]
pub struct Server {
    scope: Scope,
    table: Table,
    /// Names the host gave to guests: they choose fixed addresses given by name.
    named: HashMap<String, Ipv4Addr>,
}

/// The parts of a client's message that decide anything.
struct Ask<'a> {
    message: &'a Message,
    mac: MacAddr,
    wish: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    hostname: Option<String>,
    client_id: Option<Vec<u8>>,
    named: Option<Ipv4Addr>,
}

impl Server {
    /// A server without leases.
    pub fn new(scope: Scope) -> Self {
        let named = scope
            .hosts
            .iter()
            .filter(|host| host.mac.is_none())
            .filter_map(|host| Some((host.name.as_ref()?.to_ascii_lowercase(), host.ip)))
            .collect();
        Self { table: Table::new(&scope), named, scope }
    }

    /// The leases.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What is given out.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Takes in a lease from the journal, unless today's definition has no place for it.
    pub fn restore(&mut self, mac: MacAddr, holding: Holding, vouched: &[String]) -> bool {
        let named = self.named_address(vouched, holding.hostname.as_deref());
        self.table.restore(mac, holding, named)
    }

    /// Takes in the end of a lease from the journal.
    pub fn end(&mut self, mac: MacAddr, now: u64) {
        if let Some(ip) = self.table.holding(mac).map(|held| held.ip) {
            self.table.release(mac, ip, now);
        }
    }

    /// Ends what has ended by `now`.
    pub fn sweep(&mut self, now: u64) -> Vec<(MacAddr, Holding)> {
        self.table.sweep(now)
    }

    /// Decides about one datagram. `vouched` are the names the host gave to a hardware address.
    pub fn handle<'n>(
        &mut self,
        datagram: &[u8],
        vouched: impl FnOnce(MacAddr) -> &'n [String],
        now: u64,
    ) -> Outcome {
        let Some(message) = decode(datagram) else { return Outcome::default() };
        let Some(mac) =
            <[u8; 6]>::try_from(message.chaddr()).ok().map(MacAddr).filter(|mac| !mac.is_multicast())
        else {
            return Outcome::default();
        };
        let ask = self.read(&message, mac, vouched(mac));
        match message.opts().msg_type() {
            Some(MessageType::Discover) => self.discover(&ask, now),
            Some(MessageType::Request) => self.request(&ask, now),
            Some(MessageType::Decline) => self.decline(&ask, now),
            Some(MessageType::Release) => self.release(&ask, now),
            Some(MessageType::Inform) => self.inform(&ask),
            _ => Outcome::default(),
        }
    }

    fn read<'a>(&self, message: &'a Message, mac: MacAddr, vouched: &[String]) -> Ask<'a> {
        let options = message.opts();
        let hostname = match options.get(OptionCode::Hostname) {
            // A guest may send its full name; the first label is its own.
            Some(DhcpOption::Hostname(name)) => {
                let label = name.trim_end_matches('\0').split('.').next().unwrap_or_default();
                valid_label(label).then(|| label.to_ascii_lowercase())
            }
            _ => None,
        };
        let client_id = match options.get(OptionCode::ClientIdentifier) {
            Some(DhcpOption::ClientIdentifier(id)) => Some(id.clone()),
            _ => None,
        };
        let wish = match options.get(OptionCode::RequestedIpAddress) {
            Some(DhcpOption::RequestedIpAddress(ip)) => Some(*ip),
            _ => None,
        };
        let server = match options.get(OptionCode::ServerIdentifier) {
            Some(DhcpOption::ServerIdentifier(ip)) => Some(*ip),
            _ => None,
        };
        let named = self.named_address(vouched, hostname.as_deref());
        Ask { message, mac, wish, server, hostname, client_id, named }
    }

    /// The address reserved for a guest's name: one that the host gave it, or one that it says where that counts.
    fn named_address(&self, vouched: &[String], said: Option<&str>) -> Option<Ipv4Addr> {
        let said = said.filter(|_| self.scope.guest_names);
        vouched
            .iter()
            .map(String::as_str)
            .chain(said)
            .find_map(|name| self.named.get(&name.to_ascii_lowercase()).copied())
    }

    fn discover(&mut self, ask: &Ask<'_>, now: u64) -> Outcome {
        match self.table.offer(ask.mac, ask.wish, ask.named, now) {
            Some(ip) => Outcome { reply: self.reply(ask, MessageType::Offer, ip), change: None },
            None => Outcome { reply: None, change: Some(Change::Exhausted(ask.mac)) },
        }
    }

    /// RFC 2131 section 4.3.2: which of the client's four states the request comes from.
    fn request(&mut self, ask: &Ask<'_>, now: u64) -> Outcome {
        let current = ask.message.ciaddr();
        let renewing = !current.is_unspecified();
        let wanted = match (ask.server, ask.wish) {
            // SELECTING, but another server was chosen.
            (Some(server), _) if server != self.scope.server => return Outcome::default(),
            (_, Some(wish)) if !renewing => wish,
            _ if renewing => current,
            _ => return Outcome::default(),
        };
        let hostname = ask.hostname.clone();
        let until = self.lease_end(now);
        let holding =
            Holding { ip: wanted, state: State::Bound, until, hostname, client_id: ask.client_id.clone() };
        if !self.table.bind(ask.mac, holding.clone(), ask.named, now) {
            return Outcome { reply: self.refuse(ask), change: None };
        }
        Outcome {
            reply: self.reply(ask, MessageType::Ack, wanted),
            change: Some(Change::Bound(ask.mac, holding)),
        }
    }

    fn lease_end(&self, now: u64) -> u64 {
        if self.scope.lease_s == u32::MAX { NEVER } else { now + u64::from(self.scope.lease_s) }
    }

    fn decline(&mut self, ask: &Ask<'_>, now: u64) -> Outcome {
        let ours = ask.server.is_none_or(|server| server == self.scope.server);
        let held = self.table.holding(ask.mac).cloned();
        let change = match (ask.wish, held) {
            (Some(ip), Some(held)) if ours && held.ip == ip && self.table.decline(ask.mac, ip, now) => {
                Some(Change::Ended(ask.mac, held))
            }
            _ => None,
        };
        Outcome { reply: None, change }
    }

    fn release(&mut self, ask: &Ask<'_>, now: u64) -> Outcome {
        let ip = ask.message.ciaddr();
        let ours = ask.server.is_none_or(|server| server == self.scope.server);
        let ended = ours && self.table.release(ask.mac, ip, now);
        let change = ended
            .then(|| self.table.holding(ask.mac).cloned())
            .flatten()
            .map(|held| Change::Ended(ask.mac, held));
        Outcome { reply: None, change }
    }

    fn inform(&self, ask: &Ask<'_>) -> Outcome {
        if ask.message.ciaddr().is_unspecified() {
            return Outcome::default();
        }
        Outcome { reply: self.reply(ask, MessageType::Ack, Ipv4Addr::UNSPECIFIED), change: None }
    }
}

/// Reads a client's message; `None` for what is none, or not from an Ethernet client.
fn decode(datagram: &[u8]) -> Option<Message> {
    // hlen is checked before `chaddr()` slices by it.
    let fixed = datagram.get(..MESSAGE_MIN_BYTES)?;
    if fixed[1] != 1 || fixed[2] != 6 || fixed[236..240] != [99, 130, 83, 99] {
        return None;
    }
    let message = Message::decode(&mut Decoder::new(&essence(fixed, &datagram[MESSAGE_MIN_BYTES..]))).ok()?;
    let from_client = message.opcode() == Opcode::BootRequest && message.htype() == HType::Eth;
    (from_client && message.giaddr().is_unspecified()).then_some(message)
}

/// The message with nothing but the options that decide anything, each once and of its right length. A guest
/// can send what makes dhcproto 0.15 panic (a client FQDN or network interface option of a wrong length), so
/// it sees none of the options we do not read, and no server or file name.
fn essence(fixed: &[u8], mut options: &[u8]) -> Vec<u8> {
    let mut bytes = fixed.to_vec();
    bytes[44..236].fill(0);
    let mut seen = [false; 256];
    while let [code, rest @ ..] = options {
        let code = *code;
        if code == u8::from(OptionCode::Pad) {
            options = rest;
            continue;
        }
        let Some((value, rest)) =
            rest.split_first().and_then(|(length, rest)| rest.split_at_checked((*length).into()))
        else {
            break;
        };
        let wanted = match OptionCode::from(code) {
            OptionCode::MessageType => value.len() == 1,
            OptionCode::RequestedIpAddress | OptionCode::ServerIdentifier => value.len() == 4,
            OptionCode::Hostname => value.iter().all(u8::is_ascii),
            OptionCode::ClientIdentifier | OptionCode::ParameterRequestList => !value.is_empty(),
            OptionCode::End => break,
            _ => false,
        };
        if wanted && !std::mem::replace(&mut seen[usize::from(code)], true) {
            bytes.extend([code, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
            bytes.extend(value);
        }
        options = rest;
    }
    bytes.push(u8::from(OptionCode::End));
    bytes
}

/// For the fuzzer: a server on a small subnet takes `datagram` and must neither panic nor give two guests
/// one address.
pub fn fuzz(datagram: &[u8]) {
    let mut server = Server::new(Scope::example());
    for now in 0..3 {
        let outcome = server.handle(datagram, |_| &[], now);
        if let Some(reply) = outcome.reply {
            assert!(Message::decode(&mut Decoder::new(&reply.message)).is_ok(), "our own reply is readable");
        }
        let ips: std::collections::HashSet<_> = server.table.leases().map(|(_, held)| held.ip).collect();
        assert_eq!(ips.len(), server.table.leases().count());
    }
}

fn encode(message: &Message) -> Option<Vec<u8>> {
    let mut bytes = message.to_vec().ok()?;
    // RFC 1542 section 2.1: clients and switches may drop what is shorter than BOOTP's 300 bytes.
    bytes.resize(bytes.len().max(300), 0);
    Some(bytes)
}

#[cfg(test)]
mod tests;
