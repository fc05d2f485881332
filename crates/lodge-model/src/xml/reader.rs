//! The reader: takes attributes, texts and children out of nodes, and collects faults with their places.

use super::foreign::{self, Foreign, ForeignItem, Position};
use super::value::{Value, read_number};
use super::{ParseOptions, QEMU_NAMESPACE};
use crate::{Fault, Faults};
use roxmltree::{Attribute, Node, NodeId};
use std::collections::HashMap;

/// Most faults that are told of one document.
const FAULTS_MAX: usize = 100;
/// Most unknown elements and attributes that are kept of one document.
const FOREIGN_MAX: usize = 1024;

/// The state of reading one document.
pub struct Reader<'a> {
    text: &'a str,
    strict: bool,
    faults: Vec<Fault>,
    foreign_count: usize,
    cursor: Cursor,
    numbers: Numbers,
}

/// The numbers of elements among those of their name, `None` for one that has no twin. All children of an element are
/// counted at once and once: to count them for each of many would take the square of the time.
type Numbers = HashMap<NodeId, Option<usize>>;

/// The last place asked for: places are mostly asked for in the text's order.
#[derive(Clone, Copy)]
struct Cursor {
    offset: usize,
    line: u32,
    column: u32,
}

const START: Cursor = Cursor { offset: 0, line: 1, column: 1 };

/// An attribute's name as a match key: one with a prefix matches nothing.
pub fn attribute_key<'a>(attribute: &Attribute<'a, '_>) -> &'a str {
    if attribute.namespace().is_none() { attribute.name() } else { "" }
}

/// An element's prefix and name as a match key. The prefix is libvirt's own, whatever the document calls it.
pub fn element_key<'a>(node: Node<'a, '_>) -> (&'static str, &'a str) {
    let name = node.tag_name();
    let prefix = match name.namespace() {
        None => "",
        Some(QEMU_NAMESPACE) => "qemu",
        Some(_) => "?",
    };
    (prefix, name.name())
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, options: ParseOptions) -> Self {
        Self {
            text,
            strict: options.strict,
            faults: Vec::new(),
            foreign_count: 0,
            cursor: START,
            numbers: Numbers::new(),
        }
    }

    pub(super) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    pub(super) fn into_faults(mut self) -> Faults {
        self.faults.sort_by_key(|fault| (fault.line, fault.column));
        Faults(self.faults)
    }

    fn push(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    /// Notes that something is wrong with `node`.
    pub fn fault(&mut self, node: Node<'_, '_>, message: impl Into<String>) {
        self.fault_at(node, node.range().start, None, message.into());
    }

    /// Notes that something is wrong with `node` unless its text is there and has been judged.
    pub(crate) fn fault_unless_any(&mut self, node: Node<'_, '_>, message: &str) {
        if own_text(node).trim().is_empty() {
            self.fault(node, message);
        }
    }

    fn fault_at(&mut self, node: Node<'_, '_>, offset: usize, attribute: Option<&str>, message: String) {
        // What is not told needs no place.
        if self.faults.len() < FAULTS_MAX {
            let path = self.path(node, attribute);
            let (line, column) = self.place(offset);
            self.push(Fault { line, column, path, message });
        }
    }

    fn attribute_fault(&mut self, node: Node<'_, '_>, attribute: &Attribute<'_, '_>, message: String) {
        self.fault_at(node, attribute.range().start, Some(attribute.name()), message);
    }

    /// The path of an element or of one of its attributes.
    fn path(&mut self, node: Node<'_, '_>, attribute: Option<&str>) -> String {
        let path = path(node, &mut self.numbers);
        attribute.map_or_else(|| path.clone(), |name| format!("{path}/@{name}"))
    }

    /// Line and column of a byte of the text.
    fn place(&mut self, offset: usize) -> (u32, u32) {
        let mut cursor = if offset >= self.cursor.offset { self.cursor } else { START };
        for c in self.text.get(cursor.offset..offset).unwrap_or_default().chars() {
            (cursor.line, cursor.column) =
                if c == '\n' { (cursor.line + 1, 1) } else { (cursor.line, cursor.column.saturating_add(1)) };
        }
        cursor.offset = offset;
        self.cursor = cursor;
        (cursor.line, cursor.column)
    }

    /// An attribute's value.
    pub fn attribute<T: Value>(&mut self, node: Node<'_, '_>, attribute: &Attribute<'_, '_>) -> Option<T> {
        match T::read_value(attribute.value()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.attribute_fault(node, attribute, message);
                None
            }
        }
    }

    /// A number that may be hexadecimal.
    pub fn number_attribute<T: TryFrom<u64>>(
        &mut self,
        node: Node<'_, '_>,
        attribute: &Attribute<'_, '_>,
    ) -> Option<T> {
        let text = attribute.value();
        let value = read_number(text).and_then(|number| T::try_from(number).ok());
        if value.is_none() {
            let bits = 8 * size_of::<T>();
            self.attribute_fault(
                node,
                attribute,
                format!("`{text}` is no number of at most {bits} bits (decimal or 0x…)"),
            );
        }
        value
    }

    /// The element's own text; `None` if there is none but white space.
    pub fn text<T: Value>(&mut self, node: Node<'_, '_>) -> Option<T> {
        let text = own_text(node);
        // Between elements white space says nothing.
        let mixed = node.children().any(|child| child.is_element());
        let text = if mixed { text.trim() } else { &text };
        if text.trim().is_empty() {
            return None;
        }
        T::read_value(text).map_err(|message| self.fault(node, message)).ok()
    }

    /// The text of a child that has only a text.
    pub fn leaf<T: Value>(
        &mut self,
        child: Node<'_, '_>,
        foreign: Option<&mut Foreign>,
        known: bool,
    ) -> Option<T> {
        self.no_more_than_text(child, foreign, known, &[]);
        let text = own_text(child);
        if T::EMPTY_IS_NONE && text.is_empty() {
            return None;
        }
        T::read_value(&text).map_err(|message| self.fault(child, message)).ok()
    }

    /// A child that is only there or not; attributes named in `keeps` are no fault.
    pub fn flag(&mut self, child: Node<'_, '_>, foreign: Option<&mut Foreign>, known: bool, keeps: &[&str]) {
        self.no_more_than_text(child, foreign, known, keeps);
    }

    /// Keeps the attributes of a leaf with its parent; its children cannot be kept.
    fn no_more_than_text(
        &mut self,
        child: Node<'_, '_>,
        mut foreign: Option<&mut Foreign>,
        known: bool,
        keeps: &[&str],
    ) {
        for attribute in child.attributes() {
            let known = known || keeps.contains(&attribute.name());
            // An element that is there twice is written once, and an attribute of it, too.
            let is_kept = |item: &ForeignItem| {
                matches!(item, ForeignItem::LeafAttribute { leaf, name, .. }
                    if **leaf == *child.tag_name().name() && **name == *attribute.name())
            };
            if foreign.as_deref().is_some_and(|foreign| foreign.items().iter().any(is_kept)) {
                continue;
            }
            if let Some(position) =
                self.unknown(child, attribute.range().start, Some(attribute.name()), known)
                && let Some(foreign) = foreign.as_deref_mut()
            {
                foreign.push(ForeignItem::LeafAttribute {
                    leaf: child.tag_name().name().into(),
                    name: attribute.name().into(),
                    value: attribute.value().into(),
                    at: position,
                });
            }
        }
        for inner in child.children().filter(Node::is_element) {
            self.fault(inner, "nothing but text can stand here");
        }
    }

    /// Whether `child` is the first of its name; a second one is a fault.
    pub fn first(&mut self, child: Node<'_, '_>, first: bool) -> bool {
        if !first {
            self.fault(child, "is given twice");
        }
        first
    }

    /// A required attribute is not there.
    pub fn missing_attribute(&mut self, node: Node<'_, '_>, name: &str) {
        if node.attribute(name).is_none() {
            self.fault(node, format!("attribute `{name}` is missing"));
        }
    }

    /// A required child is not there.
    pub fn missing_child(&mut self, node: Node<'_, '_>, name: &str) {
        if !node.children().any(|child| child.is_element() && child.tag_name().name() == name) {
            self.fault(node, format!("element <{name}> is missing"));
        }
    }

    /// An attribute's word is none of `known`.
    pub fn bad_word(&mut self, node: Node<'_, '_>, name: &str, word: &str, known: &[&'static str]) {
        let message = super::unknown_word(word, known.iter().copied());
        match node.attribute_node(name) {
            Some(attribute) => self.attribute_fault(node, &attribute, message),
            None => self.fault(node, message),
        }
    }

    /// Text where only elements are expected; libvirt passes over it.
    pub fn stray_text(&mut self, child: Node<'_, '_>, knows_text: bool) {
        if self.strict
            && !knows_text
            && child.is_text()
            && child.text().is_some_and(|text| !text.trim().is_empty())
            && let Some(parent) = child.parent()
        {
            self.fault(parent, "text is not allowed here");
        }
    }

    /// Notes something unknown: `None` where it is a fault, otherwise where it stands.
    fn unknown(
        &mut self,
        node: Node<'_, '_>,
        offset: usize,
        attribute: Option<&str>,
        known: bool,
    ) -> Option<Position> {
        let what = if attribute.is_some() { "attribute" } else { "element" };
        if self.strict && !known {
            self.fault_at(node, offset, attribute, format!("unknown {what}"));
            return None;
        }
        self.foreign_count += 1;
        if self.foreign_count > FOREIGN_MAX {
            if self.foreign_count == FOREIGN_MAX + 1 {
                self.fault_at(
                    node,
                    offset,
                    attribute,
                    format!("more than {FOREIGN_MAX} unknown elements and attributes"),
                );
            }
            return None;
        }
        let (line, column) = self.place(offset);
        Some(Position { line, column, path: self.path(node, attribute).into() })
    }

    /// An attribute no field knows.
    pub fn unknown_attribute(
        &mut self,
        node: Node<'_, '_>,
        attribute: &Attribute<'_, '_>,
        foreign: Option<&mut Foreign>,
        known: bool,
    ) {
        if let Some(at) = self.unknown(node, attribute.range().start, Some(attribute.name()), known)
            && let Some(foreign) = foreign
        {
            let name = attribute.name().into();
            foreign.push(ForeignItem::Attribute { name, value: attribute.value().into(), at });
        }
    }

    /// An element no field knows.
    pub fn unknown_element(&mut self, child: Node<'_, '_>, foreign: Option<&mut Foreign>, known: bool) {
        if let Some(at) = self.unknown(child, child.range().start, None, known)
            && let Some(foreign) = foreign
        {
            let name = child.tag_name().name().into();
            foreign.push(ForeignItem::Element { name, xml: foreign::canonical(child).into(), at });
        }
    }
}

/// All text directly in an element; comments split it.
fn own_text<'a>(node: Node<'a, '_>) -> std::borrow::Cow<'a, str> {
    let mut texts = node.children().filter(Node::is_text).filter_map(|child| child.text());
    let first = texts.next().unwrap_or_default();
    match texts.next() {
        None => first.into(),
        Some(second) => {
            std::iter::once(first).chain(std::iter::once(second)).chain(texts).collect::<String>().into()
        }
    }
}

/// The path of an element: `/domain/devices/disk[2]/source`. A number stands where several share a name.
pub(super) fn path(node: Node<'_, '_>, numbers: &mut Numbers) -> String {
    let mut steps = Vec::new();
    for ancestor in node.ancestors().filter(Node::is_element) {
        if let (None, Some(parent)) = (numbers.get(&ancestor.id()), ancestor.parent()) {
            number_children(parent, numbers);
        }
        let name = ancestor.tag_name().name();
        let number = numbers.get(&ancestor.id()).copied().flatten();
        steps.push(number.map_or_else(|| name.to_owned(), |number| format!("{name}[{number}]")));
    }
    steps.iter().rev().fold(String::new(), |path, step| path + "/" + step)
}

fn number_children(parent: Node<'_, '_>, numbers: &mut Numbers) {
    let mut counts = HashMap::<_, (NodeId, usize)>::new();
    for child in parent.children().filter(Node::is_element) {
        let name = (child.tag_name().namespace(), child.tag_name().name());
        let (first, count) = counts.entry(name).or_insert((child.id(), 0));
        *count += 1;
        let number = (*count > 1).then_some(*count);
        if number == Some(2) {
            numbers.insert(*first, Some(1));
        }
        numbers.insert(child.id(), number);
    }
}
