//! Documents that are only ever written: what the host tells of itself.
//!
//! Capabilities, devices of the host and the like are never read by Lodge, so they need no types; they are written in
//! libvirt's manner, straight into one string. Deliberately absent: reading.

use crate::xml::escaped;
use std::fmt::{Display, Write};

/// A text that grows element by element.
#[derive(Debug, Default)]
pub struct Markup {
    out: String,
    open: Vec<String>,
}

/// Attributes of an element, in order.
pub type Attributes<'a> = &'a [(&'a str, &'a dyn Display)];

impl Markup {
    /// An empty text.
    pub fn new() -> Self {
        Self::default()
    }

    fn indent(&mut self) {
        for _ in 0..self.open.len() {
            self.out.push_str("  ");
        }
    }

    fn tag(&mut self, name: &str, attributes: Attributes<'_>) {
        self.indent();
        let _ = write!(self.out, "<{name}");
        for (key, value) in attributes {
            let _ = write!(self.out, " {key}='{}'", escaped(&value.to_string()));
        }
    }

    /// `<name …>`: what follows is inside, until [`Self::end`].
    pub fn start(&mut self, name: &str, attributes: Attributes<'_>) {
        self.tag(name, attributes);
        self.out.push_str(">\n");
        self.open.push(name.to_owned());
    }

    /// The end tag of the innermost open element.
    pub fn end(&mut self) {
        let Some(name) = self.open.pop() else { return };
        self.indent();
        let _ = writeln!(self.out, "</{name}>");
    }

    /// `<name …/>`.
    pub fn empty(&mut self, name: &str, attributes: Attributes<'_>) {
        self.tag(name, attributes);
        self.out.push_str("/>\n");
    }

    /// `<name …>text</name>`.
    pub fn leaf(&mut self, name: &str, attributes: Attributes<'_>, text: impl Display) {
        self.tag(name, attributes);
        let _ = writeln!(self.out, ">{}</{name}>", escaped(&text.to_string()));
    }

    /// An empty line, as libvirt has some.
    pub fn gap(&mut self) {
        self.out.push('\n');
    }

    /// The text of another document, indented to its place.
    pub fn insert(&mut self, text: &str) {
        for line in text.lines() {
            if !line.is_empty() {
                self.indent();
                self.out.push_str(line);
            }
            self.out.push('\n');
        }
    }

    /// The text; open elements get their end tags.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::Markup;

    #[test]
    fn elements_are_indented_and_escaped() {
        let mut text = Markup::new();
        text.start("a", &[("x", &"1'2")]);
        text.leaf("b", &[], "x & y");
        text.empty("c", &[("n", &3)]);
        text.insert("<d>\n  <e/>\n</d>\n");
        assert_eq!(
            text.finish(),
            "<a x='1&apos;2'>\n  <b>x &amp; y</b>\n  <c n='3'/>\n  <d>\n    <e/>\n  </d>\n</a>\n"
        );
    }
}
