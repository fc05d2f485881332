//! Why a snapshot's document cannot be had: libvirt's sorts and words.

use roxmltree::{Document, ParsingOptions};

use crate::{Faults, Kind};

/// libvirt's sorts of what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotSort {
    /// `VIR_ERR_XML_ERROR`.
    Xml,
    /// `VIR_ERR_XML_DETAIL`.
    XmlDetail,
    /// `VIR_ERR_CONFIG_UNSUPPORTED`.
    ConfigUnsupported,
    /// `VIR_ERR_OPERATION_UNSUPPORTED`.
    Unsupported,
    /// `VIR_ERR_OPERATION_INVALID`.
    Invalid,
    /// `VIR_ERR_INVALID_ARG`.
    InvalidArg,
    /// `VIR_ERR_INTERNAL_ERROR`.
    Internal,
}

/// What is wrong with a snapshot's document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFault {
    /// It cannot be read. Every fault is told.
    #[error("the snapshot's document is not valid: {0}")]
    Document(Faults),
    /// It contradicts itself, the domain, or what can be done; in libvirt's words.
    #[error("{text}")]
    Refused {
        /// libvirt's sort.
        sort: SnapshotSort,
        /// libvirt's words.
        text: String,
        /// libvirt's part for snapshot documents says it, not its QEMU driver.
        of_document: bool,
    },
}

impl SnapshotFault {
    /// A refusal of the document's.
    pub fn new(sort: SnapshotSort, text: impl Into<String>) -> Self {
        Self::Refused { sort, text: text.into(), of_document: true }
    }

    /// A refusal of the QEMU driver's.
    pub fn of_qemu(sort: SnapshotSort, text: impl Into<String>) -> Self {
        Self::Refused { sort, text: text.into(), of_document: false }
    }

    /// For those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Document(_) => Kind::InvalidInput,
            Self::Refused { sort, .. } => match sort {
                SnapshotSort::Xml
                | SnapshotSort::XmlDetail
                | SnapshotSort::InvalidArg
                | SnapshotSort::Internal => Kind::InvalidInput,
                SnapshotSort::ConfigUnsupported | SnapshotSort::Unsupported => Kind::Unsupported,
                SnapshotSort::Invalid => Kind::InvalidState,
            },
        }
    }
}

/// The text without `<domain>` and `<inactiveDomain>`: libvirt does not look at a request's, whatever is in them.
pub(super) fn without_documents(text: &str) -> Result<String, SnapshotFault> {
    cut(text, |node| matches!(node.tag_name().name(), "domain" | "inactiveDomain"))
}

/// The text without a `<domain>` that has only a UUID, as old versions of libvirt wrote it.
pub(super) fn without_bare_domain(text: &str) -> Result<String, SnapshotFault> {
    cut(text, |node| node.tag_name().name() == "domain" && node.attribute("type").is_none())
}

fn cut(text: &str, is_cut: impl Fn(&roxmltree::Node<'_, '_>) -> bool) -> Result<String, SnapshotFault> {
    if text.len() > crate::xml::DOCUMENT_MAX_BYTES {
        let message = format!("the document is {} bytes long", text.len());
        return Err(SnapshotFault::Document(Faults::one("", message)));
    }
    let settings =
        ParsingOptions { allow_dtd: false, nodes_limit: crate::xml::NODES_MAX, ..Default::default() };
    // What is no XML is told by the reading itself, with its place.
    let Ok(document) = Document::parse_with_options(text, settings) else { return Ok(text.to_owned()) };
    let mut kept = text.to_owned();
    let doomed = document.root_element().children().filter(|node| node.is_element() && is_cut(node));
    // The last first, so that the ranges before it stay true; line breaks stay, so that lines do.
    for node in doomed.collect::<Vec<_>>().into_iter().rev() {
        let lines = text[node.range()].matches('\n').count();
        kept.replace_range(node.range(), &"\n".repeat(lines));
    }
    Ok(kept)
}
