//! `<nvram>` and `<pstore>`: little stores that outlive a run.

use super::address::Place;
use super::size::Kib;
use crate::xml::words::words;
use crate::xml::{Foreign, Xml};

/// `<nvram>`: pSeries' own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
#[xml(open)]
pub struct Nvram {
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Sorts of store.
    pub enum PstoreBackend { AcpiErst = "acpi-erst" }
}

/// `<pstore backend='acpi-erst'>`: where a kernel that dies leaves its last words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Pstore {
    /// The sort.
    #[xml(attr, required)]
    pub backend: PstoreBackend,
    /// The host's file.
    #[xml(leaf)]
    pub path: Option<String>,
    /// How much fits in.
    #[xml(child, required)]
    pub size: Kib,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
