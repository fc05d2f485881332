//! The rules of one card, as chains of nft's. Pure.
//!
//! Two passes, as libvirt's ebtables and iptables were: what looks at frames first, then what looks at packets over IP;
//! what the first accepts the second still sees. A frame goes through the card's root chain, from which chains of one sort
//! of frames are jumped to in the order of their priorities, between root's own rules. Rules over IP have one chain. What
//! no rule decides passes. `reject` is done as `drop`: a bridge has nobody to answer for it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use lodge_model::MacAddr;
use lodge_model::nwfilter::{Action, Direction, Parameters, Protocol, Rule, State, Value};

use super::resolve::Flat;
use super::{FilterError, Result, expression};

/// The maps from a card's name to its chain, one per pass and direction.
pub(super) const MAPS: [&str; 4] = ["frames-out", "frames-in", "packets-out", "packets-in"];

/// The rules of one card.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Card {
    /// Chains with their rules' texts; those that are jumped to come first.
    pub chains: Vec<(String, Vec<String>)>,
    /// Which chain each map leads to.
    pub ways: Vec<(&'static str, String)>,
    /// Some rule asks for states of connections.
    pub needs_connections: Option<String>,
}

/// A direction, seen from the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

impl Way {
    const BOTH: [Self; 2] = [Self::Out, Self::In];

    fn word(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }

    fn map(self, of_packets: bool) -> &'static str {
        match (of_packets, self) {
            (false, Self::Out) => MAPS[0],
            (false, Self::In) => MAPS[1],
            (true, Self::Out) => MAPS[2],
            (true, Self::In) => MAPS[3],
        }
    }
}

/// A rule's text and its place.
struct Line {
    priority: i32,
    text: String,
}

/// A chain below root.
struct Sub {
    name: String,
    sort: &'static str,
    priority: i32,
    lines: Vec<Line>,
}

/// The chains of a card with these rules.
pub(super) fn card(ifname: &str, rules: &[Flat]) -> Result<Card> {
    let mut card = Card::default();
    for way in Way::BOTH {
        frames(&mut card, ifname, rules, way)?;
    }
    for way in Way::BOTH {
        packets(&mut card, ifname, rules, way)?;
    }
    Ok(card)
}

fn frames(card: &mut Card, ifname: &str, rules: &[Flat], way: Way) -> Result<()> {
    let mut root: Vec<Line> = Vec::new();
    let mut subs: Vec<Sub> = Vec::new();
    for flat in rules.iter().filter(|flat| flat.rule.protocol.is_none_or(Protocol::is_ethernet)) {
        let rule = &flat.rule;
        if rule.action == Action::Continue {
            continue;
        }
        let mirrored = match (rule.direction, way) {
            (Direction::Out, Way::Out) | (Direction::In | Direction::InOut, Way::In) => false,
            (Direction::InOut, Way::Out) => true,
            (Direction::Out, Way::In) | (Direction::In, Way::Out) => continue,
        };
        let Some(text) = expression::of(rule, mirrored).map_err(|what| refused(flat, &what))? else {
            continue;
        };
        let text = with_verdict(text, rule);
        if flat.chain == "root" {
            root.push(Line { priority: rule.priority, text });
            continue;
        }
        // A rule never comes before its chain.
        let line = Line { priority: rule.priority.max(flat.chain_priority), text };
        match subs.iter_mut().find(|sub| sub.name == flat.chain) {
            Some(sub) => sub.lines.push(line),
            None => subs.push(Sub {
                name: flat.chain.clone(),
                sort: flat.sort,
                priority: flat.chain_priority,
                lines: vec![line],
            }),
        }
    }
    if root.is_empty() && subs.is_empty() {
        return Ok(());
    }
    // Those of one priority stay in their order.
    root.sort_by_key(|line| line.priority);
    subs.sort_by_key(|sub| sub.priority);
    let base = format!("{}-{}", identifier(ifname), way.word());
    let mut names = BTreeSet::from([base.clone()]);
    let mut jumps: Vec<(i32, String)> = Vec::new();
    for mut sub in subs {
        sub.lines.sort_by_key(|line| line.priority);
        let plain = format!("{base}-{}", sub.name.replace(':', "_"));
        let name = (1..).map(|number| if number == 1 { plain.clone() } else { format!("{plain}.{number}") });
        let name = name.take(rules.len() + 2).find(|name| !names.contains(name)).unwrap_or(plain);
        names.insert(name.clone());
        card.chains.push((name.clone(), sub.lines.into_iter().map(|line| line.text).collect()));
        jumps.push((sub.priority, format!("{}jump {name}", sees(sub.sort))));
    }
    let mut lines = Vec::new();
    let mut jumps = jumps.into_iter().peekable();
    for line in root {
        while let Some((_, jump)) = jumps.next_if(|(priority, _)| *priority <= line.priority) {
            lines.push(jump);
        }
        lines.push(line.text);
    }
    lines.extend(jumps.map(|(_, jump)| jump));
    card.chains.push((base.clone(), lines));
    card.ways.push((way.map(false), base));
    Ok(())
}

/// Which frames a chain of this sort sees.
fn sees(sort: &str) -> String {
    let condition = match sort {
        "ipv4" => "ether type 0x0800",
        "ipv6" => "ether type 0x86dd",
        "arp" => "ether type 0x0806",
        "rarp" => "ether type 0x8035",
        "vlan" => "ether type 0x8100",
        "stp" => expression::SPANNING_TREE,
        _ => return String::new(),
    };
    format!("{condition} ")
}

fn packets(card: &mut Card, ifname: &str, rules: &[Flat], way: Way) -> Result<()> {
    let over_ip = |flat: &&Flat| flat.rule.protocol.is_some_and(|protocol| !protocol.is_ethernet());
    let mut rules: Vec<&Flat> = rules.iter().filter(over_ip).collect();
    // Root's own come first.
    rules.sort_by_key(|flat| {
        let is_root = flat.chain == "root";
        let priority = flat.rule.priority;
        (!is_root, if is_root { priority } else { priority.max(flat.chain_priority) })
    });
    let mut lines = Vec::new();
    for flat in rules {
        let rule = &flat.rule;
        if rule.action == Action::Continue {
            continue;
        }
        let is_own = matches!(
            (rule.direction, way),
            (Direction::Out, Way::Out) | (Direction::In | Direction::InOut, Way::In)
        );
        let counts = expression::counts_connections(rule);
        if !is_own && rule.direction != Direction::InOut && !counts {
            continue;
        }
        let Some(mut text) = expression::of(rule, !is_own).map_err(|what| refused(flat, &what))? else {
            continue;
        };
        let mut connections = |text: &mut String, words: &str| {
            text.push(' ');
            text.push_str(words);
            card.needs_connections.get_or_insert_with(|| described(flat));
        };
        if let Some(Value::Number { value, .. }) = rule.value("connlimit-above") {
            if way == Way::In {
                // As libvirt does it: connections are counted where the guest's packets come from.
                if !is_own || rule.direction == Direction::InOut {
                    continue;
                }
                return Err(refused(flat, "connlimit-above of what the guest receives"));
            }
            if rule.item("connlimit-above").is_some_and(|item| item.negated) {
                return Err(refused(flat, "connlimit-above with match='no'"));
            }
            connections(&mut text, &format!("ct count over {value}"));
        }
        if counts {
            let words = if is_own {
                "ct direction original ct state new,established"
            } else {
                "ct direction reply ct state established"
            };
            connections(&mut text, words);
        } else if let Some(states) = rule.states().filter(|states| states.0 & State::NONE == 0) {
            if rule.stateless {
                return Err(refused(flat, "state beside statematch='false'"));
            }
            if rule.item("state").is_some_and(|item| item.negated) {
                return Err(refused(flat, "state with match='no'"));
            }
            connections(&mut text, &format!("ct state {states}"));
        }
        lines.push(with_verdict(text, rule));
    }
    if !lines.is_empty() {
        let name = format!("{}-{}.packets", identifier(ifname), way.word());
        card.chains.push((name.clone(), lines));
        card.ways.push((way.map(true), name));
    }
    Ok(())
}

fn with_verdict(mut text: String, rule: &Rule) -> String {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(match rule.action {
        Action::Drop | Action::Reject => "drop",
        Action::Accept => "accept",
        Action::Return => "return",
        Action::Continue => "continue",
    });
    if let Some(Value::Text(comment)) = rule.value("comment") {
        // nft's comments have no quotes and 128 bytes at most.
        let is_plain =
            |letter: &char| letter.is_ascii_graphic() && !"\"\\".contains(*letter) || *letter == ' ';
        let comment: String = comment.chars().filter(is_plain).take(100).collect();
        if !comment.is_empty() {
            write!(text, " comment \"{comment}\"").expect("a String takes all");
        }
    }
    text
}

/// A rule, for people.
fn described(flat: &Flat) -> String {
    let Rule { action, direction, priority, protocol, .. } = &flat.rule;
    let protocol = protocol.map(|protocol| format!("<{protocol}> of ")).unwrap_or_default();
    format!(
        "{protocol}<rule action='{action}' direction='{direction}' priority='{priority}'> of filter '{}'",
        flat.filter
    )
}

fn refused(flat: &Flat, what: &str) -> FilterError {
    FilterError::Unsupported {
        filter: flat.filter.clone(),
        what: format!("{what} ({})", described(flat)),
        hint: "leave it out of the filter, or use another filter",
    }
}

/// The rules of a card whose guest's address is yet to be learned: it may ask for one by DHCP, and nothing else.
pub(super) fn dhcp_only(ifname: &str, mac: MacAddr, variables: &Parameters) -> Result<Card> {
    let base = identifier(ifname);
    let (out, inward) = (format!("{base}-out"), format!("{base}-in"));
    let asks = format!("ether saddr {mac} ether type 0x0800 meta l4proto 17 th sport 68 th dport 67 accept");
    let mut answers = Vec::new();
    let servers = variables.0.get("DHCPSERVER").map_or(&[][..], Vec::as_slice);
    let sources: Vec<String> = if servers.is_empty() {
        vec![String::new()]
    } else {
        let address = |text: &String| match text.parse::<std::net::Ipv4Addr>() {
            Ok(address) => Ok(format!("ip saddr {address} ")),
            Err(_) => Err(FilterError::Variables(format!("DHCPSERVER: '{text}' is no IPv4 address"))),
        };
        servers.iter().map(address).collect::<Result<_>>()?
    };
    for source in &sources {
        for to in [mac.to_string(), "ff:ff:ff:ff:ff:ff".to_owned()] {
            answers.push(format!(
                "ether daddr {to} ether type 0x0800 {source}meta l4proto 17 th sport 67 th dport 68 accept"
            ));
        }
    }
    answers.push("drop".to_owned());
    Ok(Card {
        chains: vec![(out.clone(), vec![asks, "drop".to_owned()]), (inward.clone(), answers)],
        ways: vec![(MAPS[0], out), (MAPS[1], inward)],
        needs_connections: None,
    })
}

impl Card {
    /// Nothing goes over it.
    pub fn closed(ifname: &str) -> Self {
        let name = format!("{}-closed", identifier(ifname));
        Self {
            chains: vec![(name.clone(), vec!["drop".to_owned()])],
            ways: vec![(MAPS[0], name.clone()), (MAPS[1], name)],
            needs_connections: None,
        }
    }
}

/// A card's name as nft can read it in the name of a chain.
fn identifier(ifname: &str) -> String {
    let is_plain = ifname.starts_with(|first: char| first.is_ascii_alphabetic())
        && ifname.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter));
    if is_plain {
        return ifname.to_owned();
    }
    ifname.bytes().fold("hex.".to_owned(), |mut name, byte| {
        write!(name, "{byte:02x}").expect("a String takes all");
        name
    })
}
