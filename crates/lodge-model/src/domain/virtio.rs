//! What every virtio device can be told by its `<driver>`.

use crate::xml::words::OnOff;
use crate::xml::{Foreign, Xml};

/// Attributes of `<driver>` that all virtio devices share.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
#[xml(part)]
pub struct VirtioOptions {
    /// Whether its memory is reached through the guest's IOMMU.
    #[xml(attr)]
    pub iommu: Option<OnOff>,
    /// Whether it keeps translations of addresses.
    #[xml(attr)]
    pub ats: Option<OnOff>,
    /// Whether its queues are of the packed form.
    #[xml(attr)]
    pub packed: Option<OnOff>,
    /// Whether each queue has a page of its own for notifications.
    #[xml(attr)]
    pub page_per_vq: Option<OnOff>,
}

/// `<driver iommu='on' ats='on'/>` of a device that has nothing else there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct VirtioDriver {
    /// The options.
    #[xml(flatten)]
    pub options: VirtioOptions,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
