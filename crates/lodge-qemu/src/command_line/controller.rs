//! Controllers: PCI's tree, USB, SCSI, SATA, virtio-serial, smart cards.

use super::disk::mapping;
use lodge_model::domain::controller::{Controller, ControllerKind};
use lodge_model::domain::virtio::VirtioOptions;
use lodge_model::xml::OnOff;

use super::builder::{Builder, Family, alias};
use super::props::Props;

/// Every controller, in libvirt's order of kinds: what others hang on comes first.
pub(super) fn controllers(b: &mut Builder<'_>) {
    let order = [
        ControllerKind::Pci,
        ControllerKind::Usb,
        ControllerKind::Scsi,
        ControllerKind::Ide,
        ControllerKind::Sata,
        ControllerKind::Fdc,
        ControllerKind::VirtioSerial,
        ControllerKind::Ccid,
        ControllerKind::Nvme,
        ControllerKind::Xenbus,
        ControllerKind::Isa,
    ];
    for kind in order {
        for (at, controller) in b.domain.devices.controllers.iter().enumerate() {
            if controller.kind == kind {
                b.at_device("controller", at);
                one(b, controller);
            }
        }
    }
}

fn one(b: &mut Builder<'_>, controller: &Controller) {
    let index = controller.index.unwrap_or(0);
    match controller.kind {
        ControllerKind::Pci => pci(b, controller, index),
        ControllerKind::Usb => super::usb::controller(b, controller),
        ControllerKind::Scsi => scsi(b, controller),
        // The first ones are part of the machine.
        ControllerKind::Ide | ControllerKind::Fdc
            if index == 0 && matches!(b.family, Family::I440fx | Family::Isa) => {}
        ControllerKind::Ide => b.refuse("this machine has no such IDE controller"),
        ControllerKind::Sata if index == 0 && b.family == Family::Q35 => {}
        ControllerKind::Sata => on_pci(b, controller, "ahci", Props::driver("ahci")),
        ControllerKind::Fdc if index == 0 => {
            let props = Props::driver("isa-fdc").with("id", alias(&controller.place));
            b.device("isa-fdc", &props);
        }
        ControllerKind::Fdc => b.refuse("a PC has one floppy controller"),
        ControllerKind::VirtioSerial => {
            let name = virtio_name("virtio-serial-pci", controller.model.as_deref());
            let props = Props::driver(&name)
                .maybe("max_ports", controller.ports)
                .maybe("vectors", controller.vectors);
            let props = virtio_options(props, controller.driver.as_deref().map(|driver| &driver.virtio));
            on_pci(b, controller, &name, props);
        }
        ControllerKind::Ccid => {
            let props = Props::driver("usb-ccid").with("id", alias(&controller.place));
            let props = b.usb(props, &controller.place);
            b.device("usb-ccid", &props);
        }
        ControllerKind::Nvme | ControllerKind::Xenbus | ControllerKind::Isa => {
            b.refuse(format!("controllers of type '{}' are not supported yet", controller.kind));
        }
    }
}

/// `virtio-net-pci` and its two stricter forms, by libvirt's model word.
pub(super) fn virtio_name(plain: &str, model: Option<&str>) -> String {
    match model {
        Some(model) if model.ends_with("-non-transitional") => format!("{plain}-non-transitional"),
        Some(model) if model.ends_with("-transitional") => format!("{plain}-transitional"),
        _ => plain.to_owned(),
    }
}

/// What every virtio device can be told by its `<driver>`.
pub(super) fn virtio_options(props: Props, options: Option<&VirtioOptions>) -> Props {
    let Some(options) = options else { return props };
    props
        .maybe("iommu_platform", options.iommu.map(OnOff::is_on))
        .maybe("ats", options.ats.map(OnOff::is_on))
        .maybe("packed", options.packed.map(OnOff::is_on))
        .maybe("page-per-vq", options.page_per_vq.map(OnOff::is_on))
}

fn on_pci(b: &mut Builder<'_>, controller: &Controller, name: &str, props: Props) {
    let props = b.pci(props.with("id", alias(&controller.place)), &controller.place);
    b.device(name, &props);
}

fn scsi(b: &mut Builder<'_>, controller: &Controller) {
    let model = controller.model.as_deref().unwrap_or("lsilogic");
    let name = match model {
        "lsilogic" => "lsi53c895a",
        "lsisas1068" => "mptsas1068",
        "lsisas1078" => "megasas",
        "vmpvscsi" => "pvscsi",
        "am53c974" => "am53c974",
        "dc390" => "dc390",
        _ if model.starts_with("virtio") => "virtio-scsi-pci",
        _ => return b.refuse(format!("SCSI controllers of model '{model}' are not supported")),
    };
    let name = virtio_name(name, Some(model));
    let mut props = Props::driver(&name);
    if let Some(driver) = controller.driver.as_deref() {
        props = props
            .maybe("iothread", driver.iothread.map(|number| format!("iothread{number}")))
            .maybe("ioeventfd", driver.ioeventfd.map(lodge_model::xml::OnOff::is_on))
            .maybe("num_queues", driver.queues)
            .maybe("cmd_per_lun", driver.cmd_per_lun)
            .maybe("max_sectors", driver.max_sectors)
            .maybe("iothread-vq-mapping", driver.foreign.tree("iothreads").map(|tree| mapping(&tree)));
        props = virtio_options(props, Some(&driver.virtio));
    }
    on_pci(b, controller, &name, props);
}

fn pci(b: &mut Builder<'_>, controller: &Controller, index: u32) {
    let model = controller.model.as_deref().unwrap_or(if index == 0 { "root" } else { "pcie-root-port" });
    let qemu = controller.model_name.as_deref().map(|model| model.name.as_str());
    let target = controller.target.as_deref();
    let chassis = || target.and_then(|target| target.chassis).map_or(index, u32::from);
    let port = target.and_then(|target| target.port).map(u32::from);
    let hotplug = target.and_then(|target| target.hotplug).map(lodge_model::xml::OnOff::is_on);
    match model {
        "pci-root" | "pcie-root" | "root" => root(b, controller, index),
        "pcie-root-port" => {
            let name = qemu.unwrap_or("pcie-root-port");
            let props =
                Props::driver(name).maybe("port", port).with("chassis", chassis()).maybe("hotplug", hotplug);
            on_pci(b, controller, name, props);
        }
        "pcie-switch-upstream-port" => {
            on_pci(b, controller, "x3130-upstream", Props::driver("x3130-upstream"));
        }
        "pcie-switch-downstream-port" => {
            let props = Props::driver("xio3130-downstream").maybe("port", port).with("chassis", chassis());
            on_pci(b, controller, "xio3130-downstream", props.maybe("hotplug", hotplug));
        }
        "pcie-to-pci-bridge" => on_pci(b, controller, "pcie-pci-bridge", Props::driver("pcie-pci-bridge")),
        "dmi-to-pci-bridge" => on_pci(b, controller, "i82801b11-bridge", Props::driver("i82801b11-bridge")),
        "pci-bridge" => {
            let number = target.and_then(|target| target.chassis_nr).map_or(index, u32::from);
            on_pci(b, controller, "pci-bridge", Props::driver("pci-bridge").with("chassis_nr", number));
        }
        "pcie-expander-bus" | "pci-expander-bus" => {
            let name = if model == "pcie-expander-bus" { "pxb-pcie" } else { "pxb" };
            let bus_nr = target.and_then(|target| target.bus_nr).map(u32::from);
            on_pci(b, controller, name, Props::driver(name).maybe("bus_nr", bus_nr));
        }
        _ => b.refuse(format!("PCI controllers of model '{model}' are not supported")),
    }
}

/// The root is the machine's own; only its hole can be set.
fn root(b: &mut Builder<'_>, controller: &Controller, index: u32) {
    if index != 0 {
        b.refuse("a PC has one PCI root, with index 0");
    }
    let Some(hole) = controller.pci_hole64.as_deref() else { return };
    let host = match b.family {
        Family::Q35 => "q35-pcihost",
        Family::I440fx => "i440FX-pcihost",
        _ => return b.refuse("setting the 64-bit PCI hole size is only supported on PCs"),
    };
    match lodge_model::Bytes::scaled(hole.size, hole.unit.as_deref().unwrap_or("KiB")) {
        Ok(size) => b.arg("-global", format!("{host}.pci-hole64-size={}K", size.kib())),
        Err(error) => b.refuse(format!("pcihole64: {error}")),
    }
}
