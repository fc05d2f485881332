//! DNS for the guests: names of this network are answered here, all others by the host's own servers.
//!
//! This file decides, purely: [`decide`] looks at one query and says *answer this*, *ask outside* or *say
//! nothing*. `dns::forward` asks outside, `dns::cache` remembers, `dns::serve` has the sockets.
//!
//! Deliberately absent: recursion of our own, zone transfers, dynamic updates, DNSSEC validation (what
//! comes from upstream passes as it is), and any answer to somebody outside the network.

mod cache;
pub(super) mod forward;
pub(super) mod serve;

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{PTR, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use ipnet::IpNet;
use lodge_model::MacAddr;

use super::names::{Found, Names};
use super::setup::DnsRules;

/// How long others may keep our answers, in seconds: leases come and go.
const TTL_S: u32 = 5;
/// Largest query taken; real ones are below 512 bytes.
const QUERY_MAX_BYTES: usize = 4096;
/// What a client without EDNS takes over UDP.
const PLAIN_UDP_BYTES: usize = 512;

/// What is to be done with a query.
#[derive(Debug)]
pub enum Decision {
    /// Send this.
    Answer(Box<Message>),
    /// Ask outside.
    Forward(Box<Message>),
    /// Nothing: it is no query, or the asker is a stranger.
    Ignore,
}

/// Who holds which address, as far as names need it.
pub trait Holders {
    /// The address of a guest.
    fn address_of(&self, mac: MacAddr) -> Option<Ipv4Addr>;
    /// The guest at an address.
    fn holder(&self, ip: Ipv4Addr) -> Option<MacAddr>;
}

/// Decides about one datagram or one message of a TCP stream from `client`.
pub fn decide(
    query: &[u8],
    client: IpAddr,
    rules: &DnsRules,
    names: &Names,
    holders: &impl Holders,
) -> Decision {
    if query.len() > QUERY_MAX_BYTES || !may_ask(client, rules) {
        return Decision::Ignore;
    }
    let Ok(query) = Message::from_vec(query) else { return Decision::Ignore };
    if query.metadata.message_type != MessageType::Query {
        return Decision::Ignore;
    }
    if query.metadata.op_code != OpCode::Query {
        return Decision::Answer(refusal(&query, ResponseCode::NotImp));
    }
    let [question] = query.queries.as_slice() else {
        return Decision::Answer(refusal(&query, ResponseCode::FormErr));
    };
    if question.query_class() != DNSClass::IN {
        return Decision::Answer(refusal(&query, ResponseCode::Refused));
    }
    let (name, kind) = (question.name().clone(), question.query_type());
    if matches!(kind, RecordType::AXFR | RecordType::IXFR) {
        return Decision::Answer(refusal(&query, ResponseCode::Refused));
    }
    let text = plain(&name);
    if let Some(ip) = reverse_address(&name) {
        return reverse(query, name, ip, rules, names, holders);
    }
    if let Some(answer) = records(&query, &name, &text, kind, rules) {
        return Decision::Answer(answer);
    }
    if let Some(found) = names.find(&text, |mac| holders.address_of(mac)) {
        let ips = match found {
            Found::Addresses(ips) => ips,
            Found::Guest(_) => Vec::new(),
        };
        return Decision::Answer(addresses(&query, &name, kind, &ips));
    }
    if has_records(&text, rules) {
        return Decision::Answer(refusal(&query, ResponseCode::NoError));
    }
    if ours_alone(&text, client, rules, names) {
        let is_domain = names.domain() == Some(text.as_str());
        let code = if is_domain { ResponseCode::NoError } else { ResponseCode::NXDomain };
        return Decision::Answer(refusal(&query, code));
    }
    Decision::Forward(Box::new(query))
}

/// Only the network's guests and the host itself may ask.
fn may_ask(client: IpAddr, rules: &DnsRules) -> bool {
    client.is_loopback() || rules.clients.iter().any(|&(ip, prefix)| within(ip, prefix, client))
}

fn within(ip: IpAddr, prefix: u8, other: IpAddr) -> bool {
    IpNet::new(ip, prefix).is_ok_and(|net| net.contains(&other))
}

/// Names nobody outside is to be asked for. What the host itself asks about our domain came from the
/// host's resolver, to which asking outside could lead back: a circle.
fn ours_alone(name: &str, client: IpAddr, rules: &DnsRules, names: &Names) -> bool {
    let from_host = client.is_loopback() || rules.clients.iter().any(|&(ip, _)| ip == client);
    let below = names.without_domain(name).is_some() || names.domain() == Some(name);
    let single = !name.is_empty() && !name.contains('.');
    below && (rules.local_only || from_host) || single && (!rules.forward_plain_names || from_host)
}

fn reverse(
    query: Message,
    name: Name,
    ip: IpAddr,
    rules: &DnsRules,
    names: &Names,
    holders: &impl Holders,
) -> Decision {
    let holder = match ip {
        IpAddr::V4(ip) => holders.holder(ip),
        IpAddr::V6(_) => None,
    };
    let known = names.name_of(ip, holder).and_then(|name| Name::from_ascii(format!("{name}.")).ok());
    let inside = rules.clients.iter().any(|&(net, prefix)| within(net, prefix, ip));
    match known {
        Some(target) => {
            let mut answer = blank(&query, ResponseCode::NoError);
            if matches!(query.queries[0].query_type(), RecordType::PTR | RecordType::ANY) {
                answer.add_answer(Record::from_rdata(name, TTL_S, RData::PTR(PTR(target))));
            }
            Decision::Answer(Box::new(answer))
        }
        None if inside => Decision::Answer(refusal(&query, ResponseCode::NXDomain)),
        None => Decision::Forward(Box::new(query)),
    }
}

fn addresses(query: &Message, name: &Name, kind: RecordType, ips: &[IpAddr]) -> Box<Message> {
    let mut answer = blank(query, ResponseCode::NoError);
    for ip in ips {
        let data = match (ip, kind) {
            (IpAddr::V4(ip), RecordType::A | RecordType::ANY) => RData::A((*ip).into()),
            (IpAddr::V6(ip), RecordType::AAAA | RecordType::ANY) => RData::AAAA((*ip).into()),
            _ => continue,
        };
        answer.add_answer(Record::from_rdata(name.clone(), TTL_S, data));
    }
    Box::new(answer)
}

/// Whether the document gives a name a text or a service.
fn has_records(name: &str, rules: &DnsRules) -> bool {
    rules.texts.iter().any(|text| text.name == name)
        || rules.services.iter().any(|service| service.name == name)
}

/// The document's texts and services of a name, where these are asked for.
fn records(
    query: &Message,
    name: &Name,
    plain: &str,
    kind: RecordType,
    rules: &DnsRules,
) -> Option<Box<Message>> {
    /// Longest piece of a text record (RFC 1035, 3.3).
    const PIECE_BYTES: usize = 255;
    let mut found = Vec::new();
    if matches!(kind, RecordType::TXT | RecordType::ANY) {
        for text in rules.texts.iter().filter(|text| text.name == plain) {
            let pieces = text.text.as_bytes().chunks(PIECE_BYTES);
            let pieces = pieces.map(|piece| String::from_utf8_lossy(piece).into_owned()).collect();
            found.push(RData::TXT(TXT::new(pieces)));
        }
    }
    if matches!(kind, RecordType::SRV | RecordType::ANY) {
        for service in rules.services.iter().filter(|service| service.name == plain) {
            let target = Name::from_ascii(&service.target).ok()?;
            found.push(RData::SRV(SRV::new(service.priority, service.weight, service.port, target)));
        }
    }
    if found.is_empty() {
        return None;
    }
    let mut answer = blank(query, ResponseCode::NoError);
    for data in found {
        answer.add_answer(Record::from_rdata(name.clone(), TTL_S, data));
    }
    Some(Box::new(answer))
}

fn blank(query: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.metadata.checking_disabled = query.metadata.checking_disabled;
    answer.metadata.authoritative = matches!(code, ResponseCode::NoError | ResponseCode::NXDomain);
    answer.metadata.response_code = code;
    answer.add_queries(query.queries.iter().cloned());
    answer.edns = query.edns.as_ref().map(|_| {
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_max_payload(1232);
        edns
    });
    answer
}

/// An answer that says only its code.
pub(super) fn refusal(query: &Message, code: ResponseCode) -> Box<Message> {
    Box::new(blank(query, code))
}

/// The name without its final dot, in lower case.
fn plain(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_ascii_lowercase()
}

/// The address a name of `in-addr.arpa` or `ip6.arpa` stands for; `None` if it is not a whole one.
fn reverse_address(name: &Name) -> Option<IpAddr> {
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

/// How large an answer over UDP this query admits.
fn udp_limit(query: &Message) -> usize {
    let edns = query.edns.as_ref().map_or(0, |edns| usize::from(edns.max_payload()));
    edns.clamp(PLAIN_UDP_BYTES, 4096)
}

/// The answer as bytes, cut to nothing but the question where it is too large for `most`.
fn fit(answer: &Message, most: usize) -> Option<Vec<u8>> {
    let bytes = answer.to_vec().ok()?;
    if bytes.len() <= most { Some(bytes) } else { answer.truncate().to_vec().ok() }
}

/// For the fuzzer: any bytes are decided about, and every answer can be written.
pub fn fuzz(query: &[u8]) {
    struct Nobody;
    impl Holders for Nobody {
        fn address_of(&self, _: MacAddr) -> Option<Ipv4Addr> {
            None
        }
        fn holder(&self, _: Ipv4Addr) -> Option<MacAddr> {
            None
        }
    }
    let client = IpAddr::from([10, 0, 0, 9]);
    let rules = DnsRules {
        clients: vec![(IpAddr::from([10, 0, 0, 1]), 24)],
        local_only: true,
        ..DnsRules::default()
    };
    let names = Names::new(&DnsRules { domain: Some("lan".into()), ..rules.clone() }, &[]);
    match decide(query, client, &rules, &names, &Nobody) {
        Decision::Answer(answer) => assert!(fit(&answer, 512).is_some_and(|bytes| bytes.len() <= 4096 + 512)),
        Decision::Forward(query) => assert!(!query.queries.is_empty()),
        Decision::Ignore => {}
    }
}

#[cfg(test)]
mod tests;
