//! A kept element as a small tree, for reading and changing what no struct models (`<memtune>`, `<perf>` …).
//!
//! Deliberately absent: namespaces and comments; elements that have them stay untouched unless they are replaced.

use super::foreign::{Foreign, ForeignItem};

/// An element: attributes, children, or a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Its attributes, in their order.
    pub attributes: Vec<(String, String)>,
    /// Its text, if it has no children.
    pub text: String,
    /// Its children.
    pub children: Vec<Kept>,
}

#[allow(clippy::needless_pass_by_value, reason = "numbers and texts are given as they are")]
impl Kept {
    /// An empty element.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// With one more attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.set_attribute(name, Some(value.to_string()));
        self
    }

    /// With this text.
    #[must_use]
    pub fn text(mut self, text: impl ToString) -> Self {
        self.text = text.to_string();
        self
    }

    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Sets or removes an attribute.
    pub fn set_attribute(&mut self, name: &str, value: Option<String>) {
        self.attributes.retain(|(known, _)| known != name || value.is_some());
        let Some(value) = value else { return };
        match self.attributes.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.attributes.push((name.to_owned(), value)),
        }
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first child of this name, made if there is none.
    pub fn child_mut(&mut self, name: &str) -> &mut Self {
        let at = self.children.iter().position(|child| child.name == name).unwrap_or_else(|| {
            self.children.push(Self::new(name));
            self.children.len() - 1
        });
        &mut self.children[at]
    }

    /// Puts `child` in place of all children of its name.
    pub fn set_child(&mut self, child: Self) {
        self.remove(&child.name.clone());
        self.children.push(child);
    }

    /// Removes all children of this name.
    pub fn remove(&mut self, name: &str) {
        self.children.retain(|child| child.name != name);
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty() && self.children.is_empty() && self.text.is_empty()
    }

    /// Reads the text of one element.
    pub fn parse(xml: &str) -> Option<Self> {
        let document = roxmltree::Document::parse(xml).ok()?;
        Some(Self::of(document.root_element()))
    }

    fn of(node: roxmltree::Node<'_, '_>) -> Self {
        let children: Vec<Self> = node.children().filter(roxmltree::Node::is_element).map(Self::of).collect();
        let text = if children.is_empty() {
            node.text().unwrap_or_default().trim().to_owned()
        } else {
            String::new()
        };
        let attributes = node.attributes().map(|a| (a.name().to_owned(), a.value().to_owned())).collect();
        Self { name: node.tag_name().name().to_owned(), attributes, text, children }
    }

    /// Its text, which [`Kept::parse`] reads.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        for (name, value) in &self.attributes {
            out.push(' ');
            out.push_str(name);
            out.push_str("='");
            escape(value, out);
            out.push('\'');
        }
        if self.children.is_empty() && self.text.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        escape(&self.text, out);
        self.children.iter().for_each(|child| child.write(out));
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }
}

fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
}

impl Foreign {
    /// A kept attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.items().iter().find_map(|item| match item {
            ForeignItem::Attribute { name: known, value, .. } if &**known == name => Some(&**value),
            _ => None,
        })
    }

    /// The first kept element of this name as a tree.
    pub fn tree(&self, name: &str) -> Option<Kept> {
        self.items().iter().find_map(|item| match item {
            ForeignItem::Element { name: known, xml, .. } if &**known == name => Kept::parse(xml),
            _ => None,
        })
    }

    /// All kept elements of this name as trees.
    pub fn trees(&self, name: &str) -> Vec<Kept> {
        let is_it = |item: &ForeignItem| match item {
            ForeignItem::Element { name: known, xml, .. } if &**known == name => Kept::parse(xml),
            _ => None,
        };
        self.items().iter().filter_map(is_it).collect()
    }

    /// Puts `trees` where the first kept element of these names is, or last, in place of all of them. Each counts as
    /// standing where the first of its name stood.
    pub fn set_trees(&mut self, names: &[&str], trees: &[Kept]) {
        let is_one = |item: &ForeignItem| matches!(item, ForeignItem::Element { name, .. } if names.contains(&&**name));
        let made = trees.iter().filter_map(|tree| {
            let mut text = String::new();
            tree.write(&mut text);
            let made = ForeignItem::element(&text)?;
            let is_it = |item: &&ForeignItem| matches!(item, ForeignItem::Element { name, .. } if **name == *tree.name);
            Some(match self.items().iter().find(is_it) {
                Some(stood) => made.standing(stood.position().clone()),
                None => made,
            })
        });
        let mut made: Vec<_> = made.collect();
        let mut items = Vec::with_capacity(self.items().len() + made.len());
        for item in self.items() {
            if is_one(item) {
                items.append(&mut made);
            } else {
                items.push(item.clone());
            }
        }
        items.append(&mut made);
        self.replace(items);
    }

    fn replace(&mut self, items: Vec<ForeignItem>) {
        *self = Self::default();
        for item in items {
            self.push(item);
        }
    }

    /// Puts the kept elements in this order; those of one name stay as they are, others come last.
    pub fn sort(&mut self, order: &[&str]) {
        let place = |item: &ForeignItem| match item {
            ForeignItem::Element { name, .. } => {
                order.iter().position(|known| *known == &**name).unwrap_or(order.len())
            }
            ForeignItem::Attribute { .. } | ForeignItem::LeafAttribute { .. } => 0,
        };
        if self.items().is_sorted_by_key(place) {
            return;
        }
        let mut items = self.items().to_vec();
        items.sort_by_key(place);
        self.replace(items);
    }

    /// Puts `tree` in place of the kept elements of its name; an empty one goes.
    pub fn set_tree(&mut self, tree: &Kept) {
        let is_one =
            |item: &&ForeignItem| matches!(item, ForeignItem::Element { name, .. } if **name == *tree.name);
        let stood = self.items().iter().find(is_one).map(|item| item.position().clone());
        self.retain(|item| !matches!(item, ForeignItem::Element { name, .. } if **name == *tree.name));
        if tree.is_empty() {
            return;
        }
        let mut text = String::new();
        tree.write(&mut text);
        if let Some(item) = ForeignItem::element(&text) {
            self.push(match stood {
                Some(stood) => item.standing(stood),
                None => item,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_element_is_read_changed_and_written() {
        let mut kept = Foreign::default();
        let tree = Kept::new("memtune");
        kept.set_tree(&tree);
        assert!(kept.is_empty());
        let mut tree = Kept::new("memtune");
        tree.set_child(Kept::new("hard_limit").with("unit", "KiB").text(1 << 20));
        tree.set_child(Kept::new("note").with("of", "a<b'c"));
        kept.set_tree(&tree);
        assert_eq!(kept.items().len(), 1);
        let read = kept.tree("memtune").unwrap();
        assert_eq!(read, tree);
        tree.remove("note");
        tree.remove("hard_limit");
        kept.set_tree(&tree);
        assert!(kept.is_empty());
    }
}
