//! The document of a network filter: libvirt's `<filter>`, and of a card that has one: `<filterbinding>`.
//!
//! ```text
//!  <filter> ─┬─ <filterref> ──▶ another filter, with parameters
//!            └─ <rule> ──▶ one protocol's fields, each with a value or a variable
//! ```
//!
//! Read and written as libvirt 11.3 does it (virNWFilterDefParseXML and its kin): what it does not know is dropped, as
//! there. Deliberately absent: what a rule does to a packet; that is the network's matter.

use std::fmt::Write as _;

use roxmltree::Node;

use crate::xml::{Foreign, bounds, escaped};
use crate::{Fault, Faults};

mod binding;
mod protocol;
mod rule;
mod strict;
mod value;
mod variable;

pub use binding::Binding;
pub use protocol::{Field, Form, Protocol};
pub use rule::{Action, Direction, Item, Rule};
pub use value::{State, Value};
pub use variable::{Access, Parameters, Place};

/// Longest name of a chain.
const CHAIN_MAX: usize = 12;
/// Priorities of chains and rules.
const PRIORITIES: std::ops::RangeInclusive<i32> = -1000..=1000;
/// A chain's name, or its beginning, and the priority it has if none is said.
const CHAINS: [(&str, i32); 8] = [
    ("root", 0),
    ("mac", -800),
    ("vlan", -750),
    ("stp", 0),
    ("arp", -500),
    ("rarp", -400),
    ("ipv4", -700),
    ("ipv6", -600),
];

/// Why a document is no filter. The words are libvirt's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFilter {
    /// It is no XML, or another document.
    #[error(transparent)]
    Xml(#[from] Faults),
    /// An element lacks something, or has what it cannot have.
    #[error("{0}")]
    Markup(String),
    /// A chain that there is not.
    #[error("{0}")]
    Argument(String),
    /// A value that a field cannot have.
    #[error("{0}")]
    Value(String),
}

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NwFilter {
    /// The name.
    pub name: String,
    /// Where its rules stand: `root`, or one of the sorts of frames, or a name that begins so.
    pub chain: String,
    /// The chain's place among others; lower ones come first.
    pub priority: i32,
    /// The identity.
    pub uuid: Option<uuid::Uuid>,
    /// Its rules and the filters that it takes in, in their order.
    pub entries: Vec<Entry>,
}

/// One of a filter's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A rule.
    Rule(Rule),
    /// Another filter.
    Reference(Reference),
}

/// `<filterref>`: of a filter, of an interface, of a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The other filter's name.
    pub filter: String,
    /// What its variables are.
    pub parameters: Parameters,
}

impl NwFilter {
    /// Reads a document and fills in what libvirt fills in.
    pub fn parse(text: &str) -> Result<Self, BadFilter> {
        let document = bounds::document(text)?;
        let root = root(&document, "filter")?;
        let name = said(root, "name").ok_or_else(|| BadFilter::Value("filter has no name".to_owned()))?;
        let (chain, priority) = chain_of(root)?;
        let uuid = child(root, "uuid").map(|uuid| text_of(uuid).parse());
        let uuid = uuid.transpose().map_err(|_| BadFilter::Markup("malformed uuid element".to_owned()))?;
        let mut entries = Vec::new();
        for node in root.children().filter(Node::is_element) {
            match node.tag_name().name() {
                "rule" => entries.push(Entry::Rule(Rule::read(node)?)),
                "filterref" => entries.push(Entry::Reference(Reference::read(node)?)),
                _ => {}
            }
        }
        Ok(Self { name: name.to_owned(), chain, priority, uuid, entries })
    }

    /// The same, but what nobody knows is a fault.
    pub fn parse_strict(text: &str) -> Result<Self, BadFilter> {
        strict::check(text)?;
        Self::parse(text)
    }

    /// libvirt's text of it.
    pub fn to_xml(&self) -> String {
        let mut out = format!("<filter name='{}' chain='{}'", escaped(&self.name), escaped(&self.chain));
        if self.priority != 0 {
            write!(out, " priority='{}'", self.priority).expect("a String takes all");
        }
        out.push_str(">\n");
        if let Some(uuid) = self.uuid {
            writeln!(out, "  <uuid>{uuid}</uuid>").expect("a String takes all");
        }
        for entry in &self.entries {
            match entry {
                Entry::Rule(rule) => rule.write(&mut out),
                Entry::Reference(reference) => reference.write(&mut out, "  "),
            }
        }
        out.push_str("</filter>\n");
        out
    }

    /// The sort of frames that its chain sees, for chains may have names of their own that begin with it.
    pub fn chain_sort(&self) -> &'static str {
        sort_of(&self.chain).unwrap_or("root")
    }

    /// The filters that it takes in.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Reference(reference) => Some(reference),
            Entry::Rule(_) => None,
        })
    }

    /// Its rules.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Rule(rule) => Some(rule),
            Entry::Reference(_) => None,
        })
    }
}

impl Reference {
    /// Reads a `<filterref>` that stands alone.
    pub fn parse(text: &str) -> Result<Self, BadFilter> {
        let document = bounds::document(text)?;
        Self::read(root(&document, "filterref")?)
    }

    /// What an interface keeps of its own.
    pub fn of(kept: &Foreign) -> Option<Self> {
        kept.elements().find_map(|text| Self::parse(text).ok())
    }

    fn read(node: Node<'_, '_>) -> Result<Self, BadFilter> {
        let filter = required(node, "filter")?.to_owned();
        Ok(Self { filter, parameters: Parameters::read(node) })
    }

    fn write(&self, out: &mut String, indent: &str) {
        write!(out, "{indent}<filterref filter='{}'", escaped(&self.filter)).expect("a String takes all");
        self.parameters.write(out, indent);
    }
}

/// The chain and its priority. What is said of the priority counts only where a chain is named.
fn chain_of(root: Node<'_, '_>) -> Result<(String, i32), BadFilter> {
    let priority = match said(root, "priority") {
        Some(text) => {
            let unread = || BadFilter::Argument(format!("Could not parse chain priority '{text}'"));
            let priority = value::signed(text).ok_or_else(unread)?;
            if !PRIORITIES.contains(&priority) {
                return Err(BadFilter::Argument(format!(
                    "Priority '{priority}' is outside valid range of [{},{}]",
                    PRIORITIES.start(),
                    PRIORITIES.end()
                )));
            }
            Some(priority)
        }
        None => None,
    };
    let Some(chain) = said(root, "chain") else { return Ok(("root".to_owned(), 0)) };
    let refused = |text: String| Err(BadFilter::Argument(text));
    if chain.len() > CHAIN_MAX {
        return refused(format!("Name of chain is longer than {CHAIN_MAX} characters"));
    }
    if !chain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte)) {
        return refused("Chain name contains invalid characters".to_owned());
    }
    let Some(sort) = sort_of(chain) else {
        let others: Vec<&str> = CHAINS[1..].iter().map(|(name, _)| *name).collect();
        return refused(format!(
            "Invalid chain name '{chain}'. Please use a chain name called 'root' or any of the following prefixes: {}",
            others.join(", ")
        ));
    };
    let usual = CHAINS.iter().find(|(name, _)| *name == sort).map_or(0, |(_, priority)| *priority);
    Ok((chain.to_owned(), priority.unwrap_or(usual)))
}

fn sort_of(chain: &str) -> Option<&'static str> {
    let fits = |name: &str| if name == "root" { chain == name } else { chain.starts_with(name) };
    CHAINS.iter().map(|(name, _)| *name).find(|name| fits(name))
}

fn root<'a, 'input>(
    document: &'a roxmltree::Document<'input>,
    name: &str,
) -> Result<Node<'a, 'input>, BadFilter> {
    let root = document.root_element();
    if root.tag_name().name() == name && root.tag_name().namespace().is_none() {
        return Ok(root);
    }
    let text = format!("the document is a <{}>, not a <{name}>", root.tag_name().name());
    Err(Faults(vec![Fault::at("", text)]).into())
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.is_element() && child.tag_name().name() == name)
}

fn text_of<'a>(node: Node<'a, '_>) -> &'a str {
    node.text().unwrap_or_default().trim()
}

/// An attribute that is there and not empty.
fn said<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attribute(name).filter(|value| !value.is_empty())
}

fn required<'a>(node: Node<'a, '_>, name: &str) -> Result<&'a str, BadFilter> {
    node.attribute(name).ok_or_else(|| {
        let element = node.tag_name().name();
        BadFilter::Markup(format!("Missing required attribute '{name}' in element '{element}'"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_and_written() {
        let text = "<filter name='no-mac-spoofing' chain='mac' priority='-800'>\n  \
                    <uuid>732c140a-790c-4b82-ba65-337bc47e0d31</uuid>\n  \
                    <rule action='return' direction='out' priority='500'>\n    <mac srcmacaddr='$MAC'/>\n  </rule>\n  \
                    <rule action='drop' direction='out' priority='500'>\n    <mac/>\n  </rule>\n</filter>\n";
        assert_eq!(NwFilter::parse(text).unwrap().to_xml(), text);
        let small = NwFilter::parse("<filter name='f'/>").unwrap();
        assert_eq!((small.chain.as_str(), small.priority), ("root", 0));
        assert!(NwFilter::parse("<filter/>").is_err());
        let unknown = NwFilter::parse("<filter name='a' chain='foo'/>").unwrap_err();
        assert!(unknown.to_string().contains("prefixes: mac, vlan"));
    }

    #[test]
    fn what_nobody_knows_is_dropped_and_refused_when_asked_for() {
        for text in [
            "<filter name='f' foo='1'/>",
            "<filter name='f'><foo/></filter>",
            "<filter name='f'><rule action='drop' direction='in' foo='1'/></filter>",
            "<filter name='f'><rule action='drop' direction='in'><foo/></rule></filter>",
            "<filter name='f'><rule action='drop' direction='in'><mac foo='1'/></rule></filter>",
            "<filter name='f'><rule action='drop' direction='in'><mac/><tcp/></rule></filter>",
        ] {
            NwFilter::parse(text).unwrap();
            assert!(matches!(NwFilter::parse_strict(text), Err(BadFilter::Xml(_))), "{text}");
        }
        let text = "<filter name='f'><uuid>732c140a-790c-4b82-ba65-337bc47e0d31</uuid><filterref filter='a'>\
                    <parameter name='A' value='b'/></filterref><rule action='drop' direction='in' priority='5' \
                    statematch='false'><mac match='no' protocolid='arp'/></rule></filter>";
        NwFilter::parse_strict(text).unwrap();
    }
}
