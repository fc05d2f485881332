//! `<smartcard>`: a reader with a card, the host's, a made one, or one behind a stream.

use super::address::Place;
use super::chardev::{CharKind, CharLog, CharSource, Protocol};
use crate::xml::words::words;
use crate::xml::{Foreign, Xml};

words! {
    /// Whose card it is.
    pub enum SmartcardMode { Host = "host", HostCertificates = "host-certificates", Passthrough = "passthrough" }
}

/// `<smartcard mode='passthrough' type='spicevmc'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Smartcard {
    /// Whose card it is.
    #[xml(attr, required)]
    pub mode: SmartcardMode,
    /// passthrough: what the stream is.
    #[xml(attr = "type")]
    pub kind: Option<CharKind>,
    /// host-certificates: the names of three certificates.
    #[xml(leaves = "certificate")]
    pub certificates: Vec<String>,
    /// host-certificates: the NSS database that has them.
    #[xml(leaf)]
    pub database: Option<String>,
    /// passthrough: the stream's other end.
    #[xml(children = "source")]
    pub sources: Vec<CharSource>,
    /// passthrough over tcp.
    #[xml(child)]
    pub protocol: Option<Protocol>,
    /// passthrough: `<log file='…'/>`.
    #[xml(child)]
    pub log: Option<Box<CharLog>>,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
