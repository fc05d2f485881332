//! Addresses: no two devices at one place, none on a bus or port that is not there.

use super::{Found, Seen, nth};
use crate::domain::Domain;
use crate::domain::address::{Address, DriveAddress, PciAddress};
use crate::domain::controller::{Controller, ControllerKind};
use crate::domain::devices::Devices;
use crate::domain::disk::DiskBus;

/// Ports of a virtio-serial controller that says nothing.
const VIRTIO_PORTS: u32 = 31;

pub(super) fn check(domain: &Domain, found: &mut Found) {
    let devices = &*domain.devices;
    let mut pci = Seen::default();
    let mut usb = Seen::default();
    let mut serial = Seen::default();
    devices.each_place(&mut |name, at, count, place| {
        let path = format!("{}/address", nth(&format!("/domain/devices/{name}"), at, count));
        match &place.address {
            // A serial port's console is that port by another name.
            Some(Address::Pci(_)) if name == "console" => {}
            Some(Address::Pci(address)) => {
                let spot = (address.domain, address.bus, address.slot, address.function);
                if spot != (0, 0, 0, 0) {
                    pci.note(found, spot, &path, || format!("PCI address {} is given twice", text(address)));
                    pci_place(devices, address, &path, found);
                }
            }
            Some(Address::Usb(address)) => {
                if let Some(port) = &address.port {
                    let key = (address.bus, port.clone());
                    usb.note(found, key, &path, || {
                        format!("USB port {port} of bus {} is given twice", address.bus)
                    });
                }
                usb_place(devices, address.bus, address.port.as_deref(), &path, found);
            }
            Some(Address::VirtioSerial(address)) if name == "channel" => {
                if address.port > 0 {
                    let key = (address.controller, address.port);
                    serial.note(found, key, &path, || {
                        format!(
                            "port {} of virtio-serial {} is given twice",
                            address.port, address.controller
                        )
                    });
                }
                let limit = controller(devices, ControllerKind::VirtioSerial, address.controller);
                let limit = limit.and_then(|controller| controller.ports).unwrap_or(VIRTIO_PORTS);
                if address.port >= limit {
                    found.add(
                        &path,
                        format!(
                            "virtio-serial {} has no port {}; its last is {}",
                            address.controller,
                            address.port,
                            limit - 1
                        ),
                    );
                }
            }
            _ => {}
        }
    });
    drives(devices, found);
}

fn text(address: &PciAddress) -> String {
    format!("{:04x}:{:02x}:{:02x}.{}", address.domain, address.bus, address.slot, address.function)
}

fn controller(devices: &Devices, kind: ControllerKind, index: u32) -> Option<&Controller> {
    devices.controllers.iter().find(|controller| controller.kind == kind && controller.index == Some(index))
}

fn pci_place(devices: &Devices, address: &PciAddress, path: &str, found: &mut Found) {
    if address.slot > 31 {
        found.add(path, format!("slot {:#x} is beyond 0x1f", address.slot));
    } else if address.function > 7 {
        found.add(path, format!("function {:#x} is beyond 7", address.function));
    } else if let Some(bus) = controller(devices, ControllerKind::Pci, address.bus.into()) {
        let model = bus.model.as_deref().unwrap_or_default();
        let wrong = match model {
            "pcie-root-port" | "pcie-switch-downstream-port" => address.slot != 0,
            "pci-root" | "pcie-root" | "pci-bridge" | "pcie-to-pci-bridge" => address.slot == 0,
            _ => false,
        };
        if wrong {
            let message = format!("PCI controller {} ({model}) has no slot {:#x}", address.bus, address.slot);
            found.add(path, message);
        }
    }
}

fn usb_place(devices: &Devices, bus: u32, port: Option<&str>, path: &str, found: &mut Found) {
    let mut controllers =
        devices.controllers.iter().filter(|controller| controller.kind == ControllerKind::Usb).peekable();
    if controllers.peek().is_none() {
        return;
    }
    let on_bus = controllers.find(|controller| controller.index.unwrap_or_default() == bus);
    match on_bus {
        None => found.add(path, format!("there is no USB controller {bus}")),
        Some(controller) if controller.model.as_deref() == Some("none") => {
            found.add(path, "USB is switched off (model='none')");
        }
        Some(controller) => {
            let first = port.and_then(|port| port.split('.').next());
            let number = first.map(|first| first.parse::<u32>().ok().filter(|number| *number > 0));
            match number {
                Some(None) => {
                    found.add(path, format!("`{}` is no USB port (as 1 or 1.2)", port.unwrap_or_default()));
                }
                Some(Some(number)) if controller.ports.is_some_and(|ports| number > ports) => {
                    found.add(
                        path,
                        format!("USB controller {bus} has {} ports", controller.ports.unwrap_or_default()),
                    );
                }
                Some(Some(_)) | None => {}
            }
        }
    }
}

fn drives(devices: &Devices, found: &mut Found) {
    let mut seen = Seen::default();
    for (at, disk) in devices.disks.iter().enumerate() {
        let (Some(Address::Drive(address)), Some(bus)) = (&disk.place.address, disk.target.bus) else {
            continue;
        };
        let path = format!("{}/address", nth("/domain/devices/disk", at, devices.disks.len()));
        let DriveAddress { controller, bus: channel, target, unit, .. } = address;
        let key = (bus, *controller, *channel, *target, *unit);
        seen.note(found, key, &path, || {
            format!("{bus} address {controller}:{channel}:{target}:{unit} is given twice")
        });
        // What else a controller has not, a start finds out, as with libvirt.
        let (controllers, channels, targets) = match bus {
            DiskBus::Ide => (1, u32::MAX, 1),
            DiskBus::Fdc => (1, 1, 1),
            DiskBus::Sata => (u32::MAX, 1, 1),
            DiskBus::Scsi if is_lsilogic(devices, *controller) => (u32::MAX, 1, 1),
            DiskBus::Scsi => (u32::MAX, 1, u32::MAX),
            DiskBus::Virtio | DiskBus::Xen | DiskBus::Usb | DiskBus::Uml | DiskBus::Sd | DiskBus::Nvme => {
                found.add(path, format!("a disk on bus `{bus}` has no address of type `drive`"));
                continue;
            }
        };
        for (name, number, count) in [
            ("controller", *controller, controllers),
            ("bus", *channel, channels),
            ("target", *target, targets),
        ] {
            if number >= count {
                found.add(format!("{path}/@{name}"), format!("on bus `{bus}` it is 0"));
            }
        }
    }
}

fn is_lsilogic(devices: &Devices, index: u32) -> bool {
    let known = controller(devices, ControllerKind::Scsi, index);
    known.is_some_and(|controller| controller.model.as_deref() == Some("lsilogic"))
}
