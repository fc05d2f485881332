//! One rule: what it does, in which direction, and the fields that a packet is held to.

use std::fmt::Write as _;

use roxmltree::Node;

use super::protocol::{Field, Protocol};
use super::value::{State, Value, signed};
use super::{BadFilter, PRIORITIES, required};
use crate::xml::escaped;

crate::xml::words::words! {
    /// What becomes of a packet.
    pub enum Action { Drop = "drop", Accept = "accept", Reject = "reject", Return = "return", Continue = "continue" }
}
crate::xml::words::words! {
    /// As the guest sees it: what it receives, what it sends, or both.
    pub enum Direction { In = "in", Out = "out", InOut = "inout" }
}

/// A rule's place where none is said.
const USUAL_PRIORITY: i32 = 500;

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What becomes of a packet that it fits.
    pub action: Action,
    /// Which packets it sees.
    pub direction: Direction,
    /// Its place in its chain; lower ones come first.
    pub priority: i32,
    /// `statematch='false'`: connections do not count.
    pub stateless: bool,
    /// What it looks at; none: at everything.
    pub protocol: Option<Protocol>,
    /// What it holds a packet to, in the order of the protocol's fields.
    pub items: Vec<Item>,
}

/// One field of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The field.
    pub field: &'static Field,
    /// The value.
    pub value: Value,
    /// A packet fits that has another value.
    pub negated: bool,
}

impl Rule {
    pub(super) fn read(node: Node<'_, '_>) -> Result<Self, BadFilter> {
        let priority = match node.attribute("priority") {
            Some(text) => signed(text).ok_or_else(|| {
                BadFilter::Markup(format!(
                    "Invalid value for attribute 'priority' in element 'rule': '{text}'. Expected integer value"
                ))
            })?,
            None => USUAL_PRIORITY,
        };
        let statematch = node.attribute("statematch").unwrap_or_default();
        let mut rule = Self {
            action: word(node, "action")?,
            direction: word(node, "direction")?,
            priority: if PRIORITIES.contains(&priority) { priority } else { USUAL_PRIORITY },
            stateless: statematch == "0" || statematch.eq_ignore_ascii_case("false"),
            protocol: None,
            items: Vec::new(),
        };
        for child in node.children().filter(Node::is_element) {
            let Ok(protocol) = child.tag_name().name().parse::<Protocol>() else { continue };
            // The first one counts, and further elements of it.
            if *rule.protocol.get_or_insert(protocol) == protocol {
                rule.read_fields(protocol, child)?;
                rule.check_ports(protocol)?;
            }
        }
        rule.fix();
        Ok(rule)
    }

    fn read_fields(&mut self, protocol: Protocol, node: Node<'_, '_>) -> Result<(), BadFilter> {
        let negated = node.attribute("match") == Some("no");
        let mut bad = None;
        for field in protocol.fields() {
            let Some(text) = node.attribute(field.name) else { continue };
            match Value::parse(text, &field.form) {
                Some(value) => {
                    self.items.retain(|item| item.field.name != field.name);
                    self.items.push(Item { field, value, negated });
                }
                None => bad = Some(format!("{} has illegal value {text}", field.name)),
            }
        }
        let place = |item: &Item| protocol.fields().position(|field| field.name == item.field.name);
        self.items.sort_by_key(place);
        bad.map_or(Ok(()), |bad| Err(BadFilter::Value(bad)))
    }

    fn check_ports(&self, protocol: Protocol) -> Result<(), BadFilter> {
        let name = match protocol {
            Protocol::Ip => "IP",
            Protocol::Ipv6 => "IPv6",
            _ => return Ok(()),
        };
        let has_ports = self.items.iter().any(|item| item.field.name.contains("port"));
        if !has_ports || self.value("protocol").is_some_and(Protocol::has_ports) {
            return Ok(());
        }
        Err(BadFilter::Value(format!(
            "{name} rule with port specification requires protocol specification with protocol to be either one of \
             tcp(6), udp(17), dccp(33), or sctp(132)"
        )))
    }

    /// What libvirt makes of signs, and of sets of addresses without their sides.
    fn fix(&mut self) {
        let Some(protocol) = self.protocol else { return };
        for (name, like) in protocol.signs() {
            let sign = self.item(like).is_some_and(|item| item.negated);
            if let Some(item) = self.items.iter_mut().find(|item| item.field.name == *name) {
                item.negated = sign;
            }
        }
        if matches!(protocol, Protocol::All | Protocol::AllIpv6) {
            return;
        }
        match (self.item("ipset").is_some(), self.item("ipsetflags").is_some()) {
            (true, false) => {
                let field = protocol.fields().find(|field| field.name == "ipsetflags");
                let at = self.items.iter().position(|item| item.field.name == "ipset");
                if let (Some(field), Some(at)) = (field, at) {
                    let value = Value::Sides(vec![true]);
                    self.items.insert(at + 1, Item { field, value, negated: false });
                }
            }
            (false, true) => self.items.retain(|item| item.field.name != "ipsetflags"),
            // libvirt drops both where both are said, so that the rule would fit every packet. Here they stay.
            (true, true) | (false, false) => {}
        }
    }

    /// One of its fields.
    pub fn item(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.field.name == name)
    }

    /// The value of one of its fields.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.item(name).map(|item| &item.value)
    }

    /// The states of connections that it is about, if any are said.
    pub fn states(&self) -> Option<State> {
        match self.value("state") {
            Some(Value::States(states)) if states.0 != 0 => Some(*states),
            _ => None,
        }
    }

    pub(super) fn write(&self, out: &mut String) {
        write!(
            out,
            "  <rule action='{}' direction='{}' priority='{}'",
            self.action, self.direction, self.priority
        )
        .expect("a String takes all");
        if self.stateless {
            out.push_str(" statematch='false'");
        }
        let Some(protocol) = self.protocol else {
            out.push_str("/>\n");
            return;
        };
        out.push_str(">\n");
        if self.items.is_empty() {
            writeln!(out, "    <{protocol}/>").expect("a String takes all");
        }
        // What fits as it is said comes first, then what fits otherwise.
        for negated in [false, true] {
            let mut items = self.items.iter().filter(|item| item.negated == negated).peekable();
            if items.peek().is_none() {
                continue;
            }
            write!(out, "    <{protocol}{}", if negated { " match='no'" } else { "" })
                .expect("a String takes all");
            for Item { field, value, .. } in items {
                let text = escaped(&value.text(&field.form));
                write!(out, " {}='{text}'", field.name).expect("a String takes all");
            }
            out.push_str("/>\n");
        }
        out.push_str("  </rule>\n");
    }
}

fn word<T: std::str::FromStr>(node: Node<'_, '_>, name: &str) -> Result<T, BadFilter> {
    let text = required(node, name)?;
    let bad = || format!("Invalid value for attribute '{name}' in element 'rule': '{text}'.");
    text.parse().map_err(|_| BadFilter::Markup(bad()))
}
