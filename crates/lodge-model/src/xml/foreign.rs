//! XML that no struct knows: kept as text, written back at the end of its parent.
//!
//! It is kept in libxml2's formatted form (as libvirt dumps `<metadata>`): white space between elements is not
//! kept, all other text is. Every namespace it uses is declared on it, so it can stand anywhere.

use super::writer::{Escapes, SINGLE, TEXT, escape_from};
use crate::Fault;
use roxmltree::Node;
use std::fmt;

/// One unknown element or attribute.
#[derive(Debug, Clone, Eq)]
pub enum ForeignItem {
    /// `name='value'`.
    Attribute {
        /// Its name, without prefix.
        name: Box<str>,
        /// Its value, unescaped.
        value: Box<str>,
        /// Where it stood.
        at: Position,
    },
    /// `name='value'` of a child that otherwise is only a text or a flag.
    LeafAttribute {
        /// The child's name.
        leaf: Box<str>,
        /// Its name, without prefix.
        name: Box<str>,
        /// Its value, unescaped.
        value: Box<str>,
        /// Where it stood.
        at: Position,
    },
    /// An element with all that is in it.
    Element {
        /// Its local name.
        name: Box<str>,
        /// Its text, with every namespace it uses declared on it.
        xml: Box<str>,
        /// Where it stood.
        at: Position,
    },
}

/// Where something stood in the text it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// Line from 1.
    pub line: u32,
    /// Column from 1.
    pub column: u32,
    /// The element's path.
    pub path: Box<str>,
}

impl ForeignItem {
    /// An element out of its text; `None` if that is not well-formed.
    pub fn element(xml: &str) -> Option<Self> {
        let document = roxmltree::Document::parse(xml).ok()?;
        let root = document.root_element();
        let name = root.tag_name().name().into();
        Some(Self::Element { name, xml: canonical(root).into(), at: Position::default() })
    }

    /// Where it stood in the text it was read from.
    pub(super) fn position(&self) -> &Position {
        match self {
            Self::Attribute { at, .. } | Self::LeafAttribute { at, .. } | Self::Element { at, .. } => at,
        }
    }

    /// The same, as if it had stood there.
    pub(super) fn standing(mut self, place: Position) -> Self {
        match &mut self {
            Self::Attribute { at, .. } | Self::LeafAttribute { at, .. } | Self::Element { at, .. } => {
                *at = place;
            }
        }
        self
    }

    /// What it says, without where it stood.
    fn said(&self) -> (Option<&str>, &str, &str) {
        match self {
            Self::Attribute { name, value, .. } => (None, name, value),
            Self::LeafAttribute { leaf, name, value, .. } => (Some(leaf), name, value),
            Self::Element { xml, .. } => (Some(""), "", xml),
        }
    }

    /// As a line of the list of unsupported things.
    pub(super) fn as_fault(&self) -> Fault {
        let (at, message) = match self {
            Self::Attribute { at, .. } | Self::LeafAttribute { at, .. } => {
                (at, "attribute is kept but not supported")
            }
            Self::Element { at, .. } => (at, "element is kept but not supported"),
        };
        Fault { line: at.line, column: at.column, path: at.path.to_string(), message: message.to_owned() }
    }
}

/// Two are equal if they say the same; where they stood does not count.
impl PartialEq for ForeignItem {
    fn eq(&self, other: &Self) -> bool {
        self.said() == other.said()
    }
}

/// What of an element its struct does not know; one pointer when there is nothing, which is nearly always.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Foreign(
    #[expect(clippy::box_collection, reason = "8 bytes instead of 24 in every element")]
    Option<Box<Vec<ForeignItem>>>,
);

impl Foreign {
    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// What is kept, in the order of the text.
    pub fn items(&self) -> &[ForeignItem] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// The kept elements' texts.
    pub fn elements(&self) -> impl Iterator<Item = &str> {
        self.items().iter().filter_map(|item| match item {
            ForeignItem::Element { xml, .. } => Some(&**xml),
            ForeignItem::Attribute { .. } | ForeignItem::LeafAttribute { .. } => None,
        })
    }

    /// Keeps one more.
    pub fn push(&mut self, item: ForeignItem) {
        self.0.get_or_insert_default().push(item);
    }

    /// Forgets all but what `keep` says.
    pub fn retain(&mut self, keep: impl FnMut(&ForeignItem) -> bool) {
        if let Some(items) = &mut self.0 {
            items.retain(keep);
            if items.is_empty() {
                self.0 = None;
            }
        }
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.items()).finish()
    }
}

/// `node` and all in it as a text that can stand alone.
pub(super) fn canonical(node: Node<'_, '_>) -> String {
    let mut out = String::new();
    Dump { out: &mut out, quotes: Quotes::Double }.element(node, 0, true, true);
    out
}

/// Which quotes attributes stand in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    /// libvirt's.
    Single,
    /// libxml2's.
    Double,
}

/// libxml2's xmlAttrSerializeContent.
const DOUBLE: [(char, &str); 7] = [
    ('<', "&lt;"),
    ('>', "&gt;"),
    ('&', "&amp;"),
    ('"', "&quot;"),
    ('\n', "&#10;"),
    ('\t', "&#9;"),
    ('\r', "&#13;"),
];
/// libxml2's xmlEscapeEntities.
const PLAIN: [(char, &str); 4] = [('<', "&lt;"), ('>', "&gt;"), ('&', "&amp;"), ('\r', "&#13;")];

/// Writes trees as libxml2's xmlNodeDump with formatting does.
pub(super) struct Dump<'a> {
    pub(super) out: &'a mut String,
    pub(super) quotes: Quotes,
}

impl Dump<'_> {
    /// Writes a kept text anew, indented.
    pub(super) fn text(&mut self, xml: &str, depth: usize) {
        match roxmltree::Document::parse(xml) {
            Ok(document) => {
                self.indent(depth);
                self.element(document.root_element(), depth, true, true);
            }
            // Cannot be: the text was made by `canonical`. Losing it would be worse than bad indentation.
            Err(_) => self.out.push_str(xml),
        }
    }

    fn indent(&mut self, depth: usize) {
        for _ in 0..depth {
            self.out.push_str("  ");
        }
    }

    fn escaped(&mut self, text: &str, escapes: &Escapes) {
        let from = self.out.len();
        self.out.push_str(text);
        escape_from(self.out, from, escapes);
    }

    fn attribute(&mut self, name: &str, value: &str) {
        let (quote, escapes): (_, &Escapes) = match self.quotes {
            Quotes::Single => ('\'', &SINGLE),
            Quotes::Double => ('"', &DOUBLE),
        };
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push('=');
        self.out.push(quote);
        self.escaped(value, escapes);
        self.out.push(quote);
    }

    /// `root`: declare what is declared above it, too. `formatted`: break lines between children.
    fn element(&mut self, node: Node<'_, '_>, depth: usize, formatted: bool, root: bool) {
        let source = node.document().input_text();
        let name = qualified_name(&source[node.range()]);
        self.out.push('<');
        self.out.push_str(name);
        self.namespaces(node, root);
        for attribute in node.attributes() {
            self.attribute(&source[attribute.range_qname()], attribute.value());
        }
        // libvirt's own text of it has a line break between two tags, and that says nothing.
        let says = |child: &Node<'_, '_>| name != "encryption" || !is_blank(*child);
        let children: Vec<_> = kept_children(node).filter(says).collect();
        if children.is_empty() && name == "encryption" && self.quotes == Quotes::Single {
            // libvirt ends it by a tag of its own whatever is in it (virStorageEncryptionFormat).
            self.out.push_str(">\n");
            self.indent(depth);
            self.out.push_str("</encryption>");
            return;
        }
        if children.is_empty() {
            self.out.push_str("/>");
            return;
        }
        self.out.push('>');
        let formatted = formatted && !children.iter().any(Node::is_text);
        for child in children {
            if formatted {
                self.out.push('\n');
                self.indent(depth + 1);
            }
            if child.is_element() {
                self.element(child, depth + 1, formatted, false);
            } else if child.is_text() {
                let escapes: &Escapes = if self.quotes == Quotes::Single { &TEXT } else { &PLAIN };
                self.escaped(child.text().unwrap_or_default(), escapes);
            } else {
                self.out.push_str(&source[child.range()]);
            }
        }
        if formatted {
            self.out.push('\n');
            self.indent(depth);
        }
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    fn namespaces(&mut self, node: Node<'_, '_>, root: bool) {
        let source = &node.document().input_text()[node.range()];
        let parent = node.parent_element();
        for namespace in node.namespaces() {
            let inherited = parent.is_some_and(|parent| {
                parent
                    .namespaces()
                    .any(|other| other.name() == namespace.name() && other.uri() == namespace.uri())
            });
            let prefix = namespace.name();
            let used = || match prefix {
                Some(prefix) => source.contains(&format!("{prefix}:")),
                None => true,
            };
            if prefix == Some("xml") || (inherited && !(root && used())) {
                continue;
            }
            match prefix {
                Some(prefix) => self.attribute(&format!("xmlns:{prefix}"), namespace.uri()),
                None => self.attribute("xmlns", namespace.uri()),
            }
        }
    }
}

/// The name in a start tag, with prefix.
fn qualified_name(source: &str) -> &str {
    let source = source.strip_prefix('<').unwrap_or(source);
    let end = source.find(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/').unwrap_or(source.len());
    &source[..end]
}

/// Children without the white space between elements (libxml2's areBlanks without a DTD).
fn kept_children<'a, 'input: 'a>(node: Node<'a, 'input>) -> impl Iterator<Item = Node<'a, 'input>> {
    let lone = node.children().count() == 1;
    let starts_with_text = node.first_child().is_some_and(|child| !is_blank(child) && child.is_text());
    node.children().filter(move |child| {
        let after_text = child.prev_sibling().is_some_and(|before| before.is_text());
        !is_blank(*child) || lone || starts_with_text || after_text
    })
}

fn is_blank(node: Node<'_, '_>) -> bool {
    node.is_text() && node.text().is_none_or(|text| text.trim_matches([' ', '\t', '\n', '\r']).is_empty())
}
