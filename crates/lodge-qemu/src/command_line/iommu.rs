//! `<iommu>`: what translates devices' addresses inside the guest. It stands before all that are on PCI.

use lodge_model::domain::iommu::IommuModel;
use lodge_model::xml::OnOff;

use super::builder::{Builder, Family, alias};
use super::props::Props;

/// The one there is.
pub(super) fn iommu(b: &mut Builder<'_>) {
    let Some(iommu) = b.domain.devices.iommu.as_deref() else { return };
    b.at("/domain/devices/iommu");
    let id = alias(&iommu.place);
    let is_here = match iommu.model {
        // A word of `-machine`.
        IommuModel::Smmuv3 if b.family == Family::ArmVirt => return,
        IommuModel::Virtio => matches!(b.family, Family::Q35 | Family::ArmVirt),
        IommuModel::Intel | IommuModel::Smmuv3 => b.family == Family::Q35,
    };
    if !is_here {
        return b.refuse(format!("IOMMU device: '{}' is only supported with Q35 machines", iommu.model));
    }
    match iommu.model {
        IommuModel::Intel => {
            let driver = &iommu.driver;
            let props = Props::driver("intel-iommu")
                .with("id", id)
                .maybe("intremap", driver.interrupt_remapping.map(OnOff::as_str))
                .maybe("caching-mode", driver.caching_mode.map(OnOff::is_on))
                .maybe("eim", driver.eim.map(OnOff::as_str))
                .maybe("device-iotlb", driver.iotlb.map(OnOff::is_on))
                .maybe("aw-bits", driver.address_bits)
                .maybe("dma-translation", driver.dma_translation.map(OnOff::is_on));
            b.device("intel-iommu", &props);
        }
        IommuModel::Virtio => {
            let props = b.pci(Props::driver("virtio-iommu-pci").with("id", id), &iommu.place);
            b.device("virtio-iommu-pci", &props);
        }
        IommuModel::Smmuv3 => b.refuse("IOMMU device: 'smmuv3' is only supported with ARM Virt machines"),
    }
}
