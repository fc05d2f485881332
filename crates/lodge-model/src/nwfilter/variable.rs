//! Variables of rules (`$IP`, `$IP[@1]`, `$IP[2]`), and the parameters that give them their values.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use roxmltree::Node;

use super::value::unsigned_prefix;
use crate::xml::escaped;

/// The highest number of an iterator.
const ITERATOR_MAX: u32 = 1000;

/// What a rule asks of a variable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Access {
    /// The variable's name.
    pub name: String,
    /// Which of its values.
    pub place: Place,
}

/// Which of a variable's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// All of them, in turn: variables of one iterator go together.
    Iterator(u32),
    /// This one, from 0.
    Element(u32),
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

impl Access {
    /// What stands behind the `$`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let end = text.find(|letter| !is_name(letter)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if rest.is_empty() {
            return Some(Self { name: name.to_owned(), place: Place::Iterator(0) });
        }
        let rest = rest.strip_prefix('[')?.trim_start();
        let (is_iterator, rest) = match rest.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (number, rest) = unsigned_prefix(rest)?;
        // As libvirt reads it: what follows the bracket is not looked at.
        rest.trim_start().strip_prefix(']')?;
        let place = if is_iterator { Place::Iterator(number) } else { Place::Element(number) };
        (!is_iterator || number <= ITERATOR_MAX).then(|| Self { name: name.to_owned(), place })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.name)?;
        match self.place {
            Place::Iterator(0) => Ok(()),
            Place::Iterator(number) => write!(f, "[@{number}]"),
            Place::Element(number) => write!(f, "[{number}]"),
        }
    }
}

/// Variables with their values, by name; a name that is given several times is a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters(pub BTreeMap<String, Vec<String>>);

impl Parameters {
    /// Those of a `<filterref>`. What cannot be one is passed over, as libvirt passes it over.
    pub(super) fn read(node: Node<'_, '_>) -> Self {
        let mut all = Self::default();
        for node in node.children().filter(|child| child.tag_name().name() == "parameter") {
            if let (Some(name), Some(value)) = (node.attribute("name"), node.attribute("value"))
                && name.chars().all(is_name)
                && !value.is_empty()
                && value.chars().all(|letter| letter.is_ascii_alphanumeric() || ".:".contains(letter))
            {
                all.0.entry(name.to_owned()).or_default().push(value.to_owned());
            }
        }
        all
    }

    /// The rest of a `<filterref>` whose start tag is open.
    pub(super) fn write(&self, out: &mut String, indent: &str) {
        if self.0.is_empty() {
            out.push_str("/>\n");
            return;
        }
        out.push_str(">\n");
        for (name, values) in &self.0 {
            for value in values {
                let (name, value) = (escaped(name), escaped(value));
                writeln!(out, "{indent}  <parameter name='{name}' value='{value}'/>")
                    .expect("a String takes all");
            }
        }
        writeln!(out, "{indent}</filterref>").expect("a String takes all");
    }

    /// These, and of `others` those that are not among them.
    #[must_use]
    pub fn over(&self, others: &Self) -> Self {
        let mut all = others.clone();
        all.0.extend(self.0.iter().map(|(name, values)| (name.clone(), values.clone())));
        all
    }

    /// The first value of a variable.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }

    /// The same, with this variable in place of what it was.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), vec![value.to_owned()]);
        self
    }
}
