//! XML that no struct knows: kept verbatim, written back at the end of its parent.

use std::fmt;

/// One unknown element or attribute.
#[derive(Debug, Clone, Eq)]
pub enum ForeignItem {
    /// `name='value'`.
    Attribute {
        /// Its name, with prefix.
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

/// Two are equal if they say the same; where they stood does not count.
impl PartialEq for ForeignItem {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Attribute { name: a, value: v, .. }, Self::Attribute { name: b, value: w, .. }) => {
                a == b && v == w
            }
            (Self::Element { xml: a, .. }, Self::Element { xml: b, .. }) => a == b,
            (Self::Attribute { .. }, Self::Element { .. })
            | (Self::Element { .. }, Self::Attribute { .. }) => false,
        }
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

    /// Keeps one more.
    pub fn push(&mut self, item: ForeignItem) {
        self.0.get_or_insert_default().push(item);
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.items()).finish()
    }
}
