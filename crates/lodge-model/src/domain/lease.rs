//! `<lease>`: a lock that a lock manager takes for the guest.

use crate::xml::{Foreign, Xml};

/// `<lease>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
#[xml(open)]
pub struct Lease {
    /// Whose lock it is.
    #[xml(leaf)]
    pub lockspace: Option<String>,
    /// The lock's name in it.
    #[xml(leaf)]
    pub key: Option<String>,
    /// `<target path='/sanlock/lease' offset='1024'/>`.
    #[xml(child)]
    pub target: Option<LeaseTarget>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<target path='/sanlock/lease' offset='1024'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct LeaseTarget {
    /// The file it lies in.
    #[xml(attr)]
    pub path: Option<String>,
    /// Where in the file.
    #[xml(attr)]
    pub offset: Option<u64>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
