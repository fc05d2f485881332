//! Places for faults that were found in structs: their paths are looked up in the text again.

use super::reader::path;
use crate::Faults;
use roxmltree::{Document, Node};
use std::collections::HashMap;

/// Most elements whose places are looked up.
const ELEMENTS_MAX: usize = 10_000;

/// The paths of a document's elements, as faults name them, parents first. Empty for what is no document.
pub fn element_paths(text: &str) -> Vec<String> {
    let Ok(document) = super::bounds::document(text) else { return Vec::new() };
    paths(&document).map(|(path, _)| path).collect()
}

/// The path of each element.
fn paths<'a, 'input>(
    document: &'a Document<'input>,
) -> impl Iterator<Item = (String, Node<'a, 'input>)> + use<'a, 'input> {
    let mut numbers = HashMap::new();
    let elements = document.descendants().filter(Node::is_element).take(ELEMENTS_MAX);
    elements.map(move |node| (path(node, &mut numbers), node))
}

impl Faults {
    /// Fills in line and column of faults that have only a path, from the text the document was read from.
    #[must_use]
    pub fn locate(mut self, text: &str) -> Self {
        let Ok(document) = super::bounds::document(text) else { return self };
        let places: HashMap<_, _> = paths(&document).map(|(path, node)| (path, node.range().start)).collect();
        for fault in self.0.iter_mut().filter(|fault| fault.line == 0) {
            let mut wanted = fault.path.as_str();
            while !wanted.is_empty() {
                // A number is left out of the path where an element has no twin.
                let alone = wanted.strip_suffix("[1]").unwrap_or(wanted);
                if let Some(offset) = places.get(wanted).or_else(|| places.get(alone)) {
                    let place = document.text_pos_at(*offset);
                    (fault.line, fault.column) = (place.row, place.col);
                    break;
                }
                wanted = wanted.rsplit_once('/').map_or("", |(parent, _)| parent);
            }
        }
        self.0.sort_by_key(|fault| (fault.line, fault.column));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_where_several_share_a_name() {
        let text = "<d><a/><b><c x='1'/><c>t<e/></c></b><a><f xmlns='n'/><f/></a></d>";
        let wanted = [
            "/d",
            "/d/a[1]",
            "/d/b",
            "/d/b/c[1]",
            "/d/b/c[2]",
            "/d/b/c[2]/e",
            "/d/a[2]",
            "/d/a[2]/f",
            "/d/a[2]/f",
        ];
        assert_eq!(element_paths(text), wanted);
        assert_eq!(element_paths("<d>"), Vec::<String>::new());
    }
}
