//! Others' elements of a network's `<metadata>`: the same as a domain's.

use super::Network;
use crate::domain::Domain;
use crate::domain::metadata::MetadataFault;

impl Network {
    /// The element of namespace `uri`, without that namespace.
    pub fn metadata_element(&self, uri: &str) -> Option<String> {
        let bearer = Domain { metadata: self.metadata.clone(), ..Domain::default() };
        bearer.metadata_element(uri)
    }

    /// Replaces the element of namespace `uri`; `None` removes it. `key` is the prefix it gets.
    pub fn set_metadata_element(
        &mut self,
        uri: &str,
        element: Option<(&str, &str)>,
    ) -> Result<(), MetadataFault> {
        let mut bearer = Domain { metadata: self.metadata.take(), ..Domain::default() };
        let done = bearer.set_metadata_element(uri, element);
        self.metadata = bearer.metadata;
        done
    }
}
