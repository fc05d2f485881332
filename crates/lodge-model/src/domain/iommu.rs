//! `<iommu>`: what translates devices' addresses inside the guest.

use super::address::Place;
use crate::xml::words::{OnOff, words};
use crate::xml::{Foreign, Xml};

words! {
    /// Sorts of IOMMU.
    pub enum IommuModel { Intel = "intel", Smmuv3 = "smmuv3", Virtio = "virtio" }
}

/// `<iommu model='intel'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Iommu {
    /// The sort.
    #[xml(attr, required)]
    pub model: IommuModel,
    /// `<driver intremap='on'/>`.
    #[xml(child)]
    pub driver: IommuDriver,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<driver intremap='on' caching_mode='on'/>`: Intel's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct IommuDriver {
    /// Whether interrupts are translated, too.
    #[xml(attr = "intremap")]
    pub interrupt_remapping: Option<OnOff>,
    /// Whether missing entries are told, for devices of the host's.
    #[xml(attr)]
    pub caching_mode: Option<OnOff>,
    /// Whether there may be more than 255 processors.
    #[xml(attr)]
    pub eim: Option<OnOff>,
    /// Whether devices keep translations of their own.
    #[xml(attr)]
    pub iotlb: Option<OnOff>,
    /// How long addresses are.
    #[xml(attr = "aw_bits")]
    pub address_bits: Option<u32>,
    /// Whether devices' addresses are translated at all.
    #[xml(attr)]
    pub dma_translation: Option<OnOff>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
