//! What is plugged where: hubs on the way to a USB port, buses that take such a controller, boards' own places.

use super::{Found, nth};
use crate::domain::Domain;
use crate::domain::address::{Address, Place};
use crate::domain::complete::Board;
use crate::domain::controller::{Controller, ControllerKind};
use crate::domain::devices::Devices;
use crate::domain::disk::DiskBus;
use crate::domain::graphics::InputBus;
use crate::domain::hostdev::HostdevKind;
use std::collections::HashSet;

/// Ports of a hub (QEMU's usb-hub).
const HUB_PORTS: u32 = 8;
/// Deepest chain of hubs that libvirt reads (VIR_DOMAIN_DEVICE_USB_MAX_PORT_DEPTH).
const USB_DEPTH_MAX: usize = 4;

pub(super) fn check(domain: &Domain, found: &mut Found) {
    let devices = &*domain.devices;
    usb(devices, found);
    masters(devices, found);
    pci(domain, found);
    drives(devices, found);
    ps2(domain, found);
    let serials = &devices.serials;
    for (at, serial) in serials.iter().enumerate().filter(|_| Board::of(domain).is_pc()) {
        let kind = serial.target.as_deref().and_then(|target| target.kind.as_deref());
        if kind == Some("system-serial") {
            let path = nth("/domain/devices/serial", at, serials.len());
            found.add(format!("{path}/target/@type"), "this machine has no serial port of its own sort");
        }
    }
}

/// The way to each USB port goes over hubs that are there.
fn usb(devices: &Devices, found: &mut Found) {
    let port = |place: &Place| match &place.address {
        Some(Address::Usb(address)) => Some((address.bus, address.port.clone()?)),
        _ => None,
    };
    let hubs: HashSet<(u32, String)> = devices.hubs.iter().filter_map(|hub| port(&hub.place)).collect();
    devices.each_place(&mut |name, at, count, place| {
        let Some((bus, port)) = port(place) else { return };
        let path = format!("{}/address/@port", nth(&format!("/domain/devices/{name}"), at, count));
        let steps: Vec<_> = port.split('.').collect();
        if steps.len() > USB_DEPTH_MAX {
            return found
                .add(path, format!("hubs are plugged into hubs {} times at most", USB_DEPTH_MAX - 1));
        }
        let Some((hub, last)) = port.rsplit_once('.') else { return };
        if !hubs.contains(&(bus, hub.to_owned())) {
            found.add(path, format!("there is no hub at port {hub} of bus {bus}"));
        } else if last.parse::<u32>().ok().is_none_or(|last| !(1..=HUB_PORTS).contains(&last)) {
            found.add(path, format!("a hub has {HUB_PORTS} ports, from 1"));
        }
    });
}

/// Who serves the slow devices of a USB 2 controller needs that controller.
fn masters(devices: &Devices, found: &mut Found) {
    let is_companion = |controller: &&Controller| {
        controller.model.as_deref().is_some_and(|model| model.starts_with("ich9-uhci"))
    };
    let mut all =
        devices.controllers.iter().filter(|controller| controller.kind == ControllerKind::Usb).peekable();
    if all.peek().is_some() && all.all(|controller| is_companion(&controller)) {
        found.add(
            "/domain/devices/controller",
            "USB 2 companions alone: their master `ich9-ehci1` is missing",
        );
    }
}

fn pci(domain: &Domain, found: &mut Found) {
    let devices = &*domain.devices;
    let all = &devices.controllers;
    let board = Board::of(domain);
    let root = match board {
        Board::I440fx => Some("pci-root"),
        Board::Q35 | Board::ArmVirt | Board::RiscvVirt => Some("pcie-root"),
        Board::Isa | Board::Micro | Board::Bare | Board::Other => None,
    };
    let cells = domain.cpu.as_deref().and_then(|cpu| cpu.numa.as_deref()).map_or(0, |numa| numa.cells.len());
    for (at, controller) in
        all.iter().enumerate().filter(|(_, controller)| controller.kind == ControllerKind::Pci)
    {
        let path = nth("/domain/devices/controller", at, all.len());
        let model = controller.model.as_deref().unwrap_or_default();
        let is_root = matches!(model, "pci-root" | "pcie-root");
        if let Some(root) = root.filter(|root| {
            domain.os.kind.machine.is_some()
                && controller.index == Some(0)
                && !model.is_empty()
                && *root != model
        }) {
            found.add(format!("{path}/@model"), format!("controller 0 of this machine is `{root}`"));
        }
        if is_root && controller.place.address.is_some() {
            found.add(format!("{path}/address"), "the root of PCI has no address");
        }
        let node = controller.target.as_deref().and_then(|target| target.node);
        if let Some(node) = node.filter(|node| *node as usize >= cells) {
            found.add(format!("{path}/target/node"), format!("the guest has no cell {node}"));
        }
        // What only a root takes, libvirt leaves nowhere else.
        let Some(address) = controller.place.address.as_ref().and_then(Address::pci) else { continue };
        let needs_root = matches!(model, "pci-expander-bus" | "pcie-expander-bus" | "dmi-to-pci-bridge");
        if needs_root && address.bus != 0 {
            found.add(format!("{path}/address"), format!("`{model}` is plugged into the root (bus 0) only"));
        }
    }
    let iommu = devices.iommu.as_deref().and_then(|iommu| iommu.place.address.as_ref()?.pci());
    if iommu.is_some_and(|address| address.bus != 0) {
        found.add("/domain/devices/iommu/address", "it is part of the board (bus 0)");
    }
    own_functions(domain, board, found);
}

/// PCI functions that are the board's own: nobody else's place.
fn own_functions(domain: &Domain, board: Board, found: &mut Found) {
    let has_ide = domain.devices.controllers.iter().any(|controller| controller.kind == ControllerKind::Ide);
    let own = |slot: u8, function: u8| match board {
        Board::I440fx => (slot, function) == (1, 1) && has_ide,
        Board::Q35 => slot == 31 && matches!(function, 0 | 2 | 3),
        _ => false,
    };
    let controllers = &domain.devices.controllers;
    let is_boards = |at: usize| {
        let controller = &controllers[at];
        controller.index == Some(0)
            && match controller.kind {
                ControllerKind::Ide => board == Board::I440fx,
                ControllerKind::Sata => board == Board::Q35,
                _ => false,
            }
    };
    domain.devices.each_place(&mut |name, at, count, place| {
        let Some(address) = place.address.as_ref().and_then(Address::pci) else { return };
        if address.foreign.tree("zpci").is_some() {
            let path = format!("{}/address", nth(&format!("/domain/devices/{name}"), at, count));
            found.add(path, "this machine has no zPCI");
        }
        let is_own = (address.domain, address.bus) == (0, 0) && own(address.slot, address.function);
        if is_own && name != "console" && !(name == "controller" && is_boards(at)) {
            let path = format!("{}/address", nth(&format!("/domain/devices/{name}"), at, count));
            found.add(path, format!("0000:00:{:02x}.{} is the board's own", address.slot, address.function));
        }
    });
}

/// SCSI units: those of disks, and the host's that are given.
fn drives(devices: &Devices, found: &mut Found) {
    let place = |place: &Place| match &place.address {
        Some(Address::Drive(address)) => {
            Some((address.controller, address.bus, address.target, address.unit))
        }
        _ => None,
    };
    let on_scsi = devices.disks.iter().filter(|disk| disk.target.bus == Some(DiskBus::Scsi));
    let mut taken: HashSet<_> = on_scsi.filter_map(|disk| place(&disk.place)).collect();
    let hostdevs = &devices.hostdevs;
    for (at, hostdev) in hostdevs.iter().enumerate().filter(|(_, hostdev)| hostdev.kind == HostdevKind::Scsi)
    {
        if let Some((controller, bus, target, unit)) = place(&hostdev.place)
            && !taken.insert((controller, bus, target, unit))
        {
            let path = format!("{}/address", nth("/domain/devices/hostdev", at, hostdevs.len()));
            found.add(path, format!("scsi address {controller}:{bus}:{target}:{unit} is given twice"));
        }
    }
}

/// What hangs on the old keyboard controller where it is switched off.
fn ps2(domain: &Domain, found: &mut Found) {
    let Some(features) = domain.features.as_deref() else { return };
    if features.ps2.as_ref().is_none_or(|ps2| ps2.state.is_on()) {
        return;
    }
    let inputs = &domain.devices.inputs;
    for (at, _) in inputs.iter().enumerate().filter(|(_, input)| input.bus == Some(InputBus::Ps2)) {
        found.add(
            nth("/domain/devices/input", at, inputs.len()),
            "bus `ps2` is switched off (<ps2 state='off'/>)",
        );
    }
    if features.vmport.as_ref().is_some_and(|vmport| vmport.state.is_on()) {
        found.add("/domain/features/vmport", "it is reached by `ps2`, which is switched off");
    }
}
