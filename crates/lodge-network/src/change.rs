//! What of a network can be changed while it runs, beside its sections: names for people, and others' metadata.

/// Which of a network's two documents an act is about. Neither: the running one where it runs, else the definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Affects {
    /// The running network.
    pub live: bool,
    /// The definition.
    pub config: bool,
}

/// Which words are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataPart {
    /// `<description>`.
    Description,
    /// `<title>`.
    Title,
    /// The element of this namespace in `<metadata>`.
    Element(String),
}

impl MetadataPart {
    /// libvirt's number (virNetworkMetadataType) and the namespace.
    pub(crate) fn told(&self) -> (i32, Option<String>) {
        match self {
            Self::Description => (0, None),
            Self::Title => (1, None),
            Self::Element(uri) => (2, Some(uri.clone())),
        }
    }
}

/// New words; `None` takes the old ones away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataChange {
    /// Which.
    pub part: MetadataPart,
    /// The text, or the element as XML.
    pub text: Option<String>,
    /// The prefix that an element gets.
    pub key: Option<String>,
}
