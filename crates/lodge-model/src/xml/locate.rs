//! Places for faults that were found in structs: their paths are looked up in the text again.

use super::reader::path;
use crate::Faults;
use std::collections::HashMap;

impl Faults {
    /// Fills in line and column of faults that have only a path, from the text the document was read from.
    #[must_use]
    pub fn locate(mut self, text: &str) -> Self {
        let Ok(document) = roxmltree::Document::parse(text) else { return self };
        let mut places = HashMap::new();
        for node in document.descendants().filter(roxmltree::Node::is_element).take(10_000) {
            places.insert(path(node), node.range().start);
        }
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
