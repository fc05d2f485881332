//! The writer: libvirt's text, straight into one string.

use super::foreign::{Dump, Foreign, ForeignItem, Quotes};
use super::{Element, QEMU_NAMESPACE, Value, WriteOptions};
use std::fmt::Write as _;

/// The state of writing one document.
pub struct Writer {
    out: String,
    depth: usize,
    /// The last start tag has no `>` yet.
    open: bool,
    /// A text was written after the last start tag.
    texted: bool,
    /// QEMU's prefix is declared.
    namespaced: bool,
    options: WriteOptions,
}

impl Writer {
    pub(super) fn new(options: WriteOptions) -> Self {
        Self {
            out: String::with_capacity(8192),
            depth: 0,
            open: false,
            texted: false,
            namespaced: false,
            options,
        }
    }

    pub(super) fn finish(mut self) -> String {
        self.out.shrink_to_fit();
        self.out
    }

    /// Whether the form of the running guest is written.
    pub fn is_live(&self) -> bool {
        !self.options.inactive && !self.options.migratable
    }

    /// Whether passwords are written.
    pub fn shows_secrets(&self) -> bool {
        self.options.security_info || self.options.migratable
    }

    fn indent(&mut self) {
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
    }

    fn start(&mut self, name: &str) {
        self.close_start_tag();
        self.indent();
        self.out.push('<');
        self.out.push_str(name);
        self.open = true;
        self.texted = false;
        self.depth += 1;
    }

    fn end(&mut self, name: &str) {
        self.depth -= 1;
        if self.open {
            self.out.push_str("/>\n");
        } else {
            if !self.texted {
                self.indent();
            }
            let _ = writeln!(self.out, "</{name}>");
        }
        self.open = false;
        self.texted = false;
    }

    /// Ends the start tag, so that the element gets an end tag even when it is empty.
    pub fn close_start_tag(&mut self) {
        if self.open {
            self.out.push_str(">\n");
            self.open = false;
        }
    }

    /// Writes a child element.
    pub fn child<T: Element>(&mut self, name: &str, value: &T) {
        self.start(name);
        value.write_attributes(self);
        value.write_content(self);
        self.end(name);
    }

    /// Writes a child element unless there would be nothing in it.
    pub fn child_unless_empty<T: Element>(&mut self, name: &str, value: &T) {
        let (length, open, texted) = (self.out.len(), self.open, self.texted);
        self.start(name);
        let empty = self.out.len();
        value.write_attributes(self);
        value.write_content(self);
        if self.out.len() == empty {
            self.out.truncate(length);
            (self.open, self.texted) = (open, texted);
            self.depth -= 1;
        } else {
            self.end(name);
        }
    }

    fn escaped<T: Value>(&mut self, value: &T) {
        let from = self.out.len();
        value.write_value(&mut self.out);
        escape_from(&mut self.out, from, &SINGLE);
    }

    /// Writes `name='value'`.
    pub fn attribute<T: Value>(&mut self, name: &str, value: &T) {
        let _ = write!(self.out, " {name}='");
        self.escaped(value);
        self.out.push('\'');
    }

    /// Writes `name='word'`; the word needs no escaping.
    pub fn word_attribute(&mut self, name: &str, word: &str) {
        let _ = write!(self.out, " {name}='{word}'");
    }

    /// Writes `name='0x…'` with at least so many digits.
    pub fn hex_attribute(&mut self, name: &str, value: u64, digits: usize) {
        let _ = write!(self.out, " {name}='0x{value:0digits$x}'");
    }

    /// Declares one of libvirt's own namespaces.
    pub fn namespace(&mut self, prefix: &str) {
        if !self.namespaced {
            self.namespaced = true;
            let _ = write!(self.out, " xmlns:{prefix}='{QEMU_NAMESPACE}'");
        }
    }

    /// Writes the element's own text.
    pub fn text<T: Value>(&mut self, value: &T) {
        let from = self.out.len();
        if self.open {
            self.out.push('>');
        }
        let text_from = self.out.len();
        value.write_value(&mut self.out);
        if self.out.len() == text_from {
            self.out.truncate(from);
            return;
        }
        escape_from(&mut self.out, text_from, &TEXT);
        self.open = false;
        self.texted = true;
    }

    /// Writes `<name>text</name>`.
    pub fn leaf<T: Value>(&mut self, name: &str, value: &T, foreign: Option<&Foreign>) {
        self.start(name);
        self.leaf_attributes(name, foreign);
        self.out.push('>');
        let from = self.out.len();
        value.write_value(&mut self.out);
        escape_from(&mut self.out, from, &TEXT);
        self.open = false;
        self.texted = true;
        self.end(name);
    }

    /// Writes `<name>text</name>` unless the text is empty.
    pub fn leaf_unless_empty<T: Value>(&mut self, name: &str, value: &T, foreign: Option<&Foreign>) {
        let from = self.out.len();
        value.write_value(&mut self.out);
        let empty = self.out.len() == from;
        self.out.truncate(from);
        let annotated =
            |item: &ForeignItem| matches!(item, ForeignItem::LeafAttribute { leaf, .. } if **leaf == *name);
        if !empty || foreign.is_some_and(|foreign| foreign.items().iter().any(annotated)) {
            self.leaf(name, value, foreign);
        }
    }

    /// Writes `<name/>`.
    pub fn flag(&mut self, name: &str, foreign: Option<&Foreign>) {
        self.start(name);
        self.leaf_attributes(name, foreign);
        self.end(name);
    }

    fn leaf_attributes(&mut self, wanted: &str, foreign: Option<&Foreign>) {
        for item in foreign.map_or(&[][..], Foreign::items) {
            if let ForeignItem::LeafAttribute { leaf, name, value, .. } = item
                && **leaf == *wanted
            {
                self.foreign_attribute(name, value);
            }
        }
    }

    fn foreign_attribute(&mut self, name: &str, value: &str) {
        let _ = write!(self.out, " {name}='");
        let from = self.out.len();
        self.out.push_str(value);
        escape_from(&mut self.out, from, &SINGLE);
        self.out.push('\'');
    }

    /// Writes kept attributes.
    pub fn foreign_attributes(&mut self, foreign: &Foreign) {
        for item in foreign.items() {
            if let ForeignItem::Attribute { name, value, .. } = item {
                self.foreign_attribute(name, value);
            }
        }
    }

    /// Writes kept elements; in `<metadata>` with double quotes, as libxml2 does.
    pub fn foreign_elements(&mut self, foreign: &Foreign, double_quotes: bool) {
        let quotes = if double_quotes { Quotes::Double } else { Quotes::Single };
        for item in foreign.items() {
            if let ForeignItem::Element { xml, .. } = item {
                self.close_start_tag();
                self.texted = false;
                Dump { out: &mut self.out, quotes }.text(xml, self.depth);
                self.out.push('\n');
            }
        }
    }
}

/// Characters with their references.
pub(super) type Escapes = [(char, &'static str)];
/// libvirt's virBufferEscapeString, for attributes in single quotes; line breaks would not survive otherwise.
pub(super) const SINGLE: [(char, &str); 8] = [
    ('<', "&lt;"),
    ('>', "&gt;"),
    ('&', "&amp;"),
    ('\'', "&apos;"),
    ('"', "&quot;"),
    ('\n', "&#10;"),
    ('\t', "&#9;"),
    ('\r', "&#13;"),
];
/// libvirt's virBufferEscapeString, for text.
pub(super) const TEXT: [(char, &str); 6] =
    [('<', "&lt;"), ('>', "&gt;"), ('&', "&amp;"), ('\'', "&apos;"), ('"', "&quot;"), ('\r', "&#13;")];

/// Escapes what stands in `out` from byte `from` on, and drops what XML cannot hold.
pub(super) fn escape_from(out: &mut String, from: usize, escapes: &Escapes) {
    let special = |c: char| {
        matches!(c, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
            || escapes.iter().any(|(escaped, _)| *escaped == c)
    };
    if !out[from..].contains(special) {
        return;
    }
    let raw = out.split_off(from);
    for c in raw.chars() {
        if let Some((_, reference)) = escapes.iter().find(|(escaped, _)| *escaped == c) {
            out.push_str(reference);
        } else if matches!(c, '\n' | '\t') || !matches!(c, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}') {
            out.push(c);
        }
    }
}

/// `text` as it stands in an attribute, or between tags.
pub fn escaped(text: &str) -> String {
    let mut out = text.to_owned();
    escape_from(&mut out, 0, &SINGLE);
    out
}
