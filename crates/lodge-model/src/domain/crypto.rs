//! `<crypto>`: a device that encrypts for the guest.

use super::address::Place;
use super::virtio::VirtioDriver;
use crate::xml::words::words;
use crate::xml::{Foreign, Xml};

words! {
    /// What the guest sees.
    pub enum CryptoModel { Virtio = "virtio" }
}

words! {
    /// Who serves it.
    pub enum CryptoKind { Qemu = "qemu" }
}

/// `<crypto model='virtio' type='qemu'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Crypto {
    /// What the guest sees.
    #[xml(attr, required)]
    pub model: CryptoModel,
    /// Who serves it.
    #[xml(attr = "type", required)]
    pub kind: CryptoKind,
    /// `<backend model='builtin' queues='1'/>`.
    #[xml(child, required)]
    pub backend: CryptoBackend,
    /// `<driver iommu='on'/>`.
    #[xml(child)]
    pub driver: VirtioDriver,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// What does the work.
    pub enum CryptoBackendModel { Builtin = "builtin", Lkcf = "lkcf" }
}

/// `<backend model='builtin' queues='1'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct CryptoBackend {
    /// What does the work: QEMU or the host's kernel.
    #[xml(attr, required)]
    pub model: CryptoBackendModel,
    /// How many queues.
    #[xml(attr)]
    pub queues: Option<u32>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
