//! Controllers: their numbers and models, and those that the board or a device calls for.

use super::Board;
use super::basics::to_kib;
use super::chardevs::is_virtio;
use super::hostdevs;
use crate::domain::address::{Address, Master};
use crate::domain::controller::{Controller, ControllerKind};
use crate::domain::devices::Devices;
use crate::domain::disk::DiskBus;
use crate::domain::smartcard::Smartcard;
use std::collections::BTreeSet;

/// Completes the controllers but for the PCI bridges that only the search for slots calls for.
pub(super) fn complete(devices: &mut Devices, board: Board) {
    number(&mut devices.controllers);
    models(&mut devices.controllers, board);
    sort(&mut devices.controllers);
    // These libvirt's parser adds already.
    if let Some((highest, model)) = hostdevs::scsi_controllers(devices) {
        for index in 0..=highest {
            ensure(devices, ControllerKind::Scsi, index, Some(model.as_deref().unwrap_or("lsilogic")));
        }
    }
    let (usb_model, root_model) = match board {
        Board::Q35 => (Some("qemu-xhci"), Some("pcie-root")),
        Board::I440fx | Board::Other => (Some("piix3-uhci"), Some("pci-root")),
        Board::ArmVirt | Board::RiscvVirt => (None, Some("pcie-root")),
        Board::Micro => (Some("piix3-uhci"), None),
        Board::Isa | Board::Bare => (None, None),
    };
    if let Some(model) = usb_model
        && !devices.controllers.iter().any(|controller| controller.kind == ControllerKind::Usb)
    {
        insert(&mut devices.controllers, Controller::new(ControllerKind::Usb, 0, Some(model)));
    }
    if board == Board::Q35 {
        ensure(devices, ControllerKind::Sata, 0, None);
    }
    if let Some(model) = root_model {
        ensure(devices, ControllerKind::Pci, 0, Some(model));
    }
    for (bus, kind, model) in [
        (DiskBus::Scsi, ControllerKind::Scsi, Some("lsilogic")),
        (DiskBus::Fdc, ControllerKind::Fdc, None),
        (DiskBus::Ide, ControllerKind::Ide, None),
        (DiskBus::Sata, ControllerKind::Sata, None),
    ] {
        for_disks(devices, bus, kind, model);
    }
    for_channels(devices);
    super::chardevs::channel_ports(devices);
    for_smartcards(devices);
}

/// A reader for each number that a card names.
fn for_smartcards(devices: &mut Devices) {
    let number = |card: &Smartcard| match &card.place.address {
        Some(Address::Ccid(address)) => address.controller,
        _ => 0,
    };
    let named: BTreeSet<u32> = devices.smartcards.iter().map(number).collect();
    for index in named {
        ensure(devices, ControllerKind::Ccid, index, None);
    }
}

/// Numbers controllers that have no number: the lowest that is free of their kind. A USB 2 controller and its companions
/// share one where they stand beside each other, each model once (virDomainAssignControllerIndexes).
fn number(controllers: &mut [Controller]) {
    let given = |controller: &Controller| Some((controller.kind, controller.index?));
    let mut used: BTreeSet<_> = controllers.iter().filter_map(given).collect();
    let mut groups: BTreeSet<(u32, String)> = controllers
        .iter()
        .filter(|controller| is_usb2(controller))
        .filter_map(|controller| Some((controller.index?, controller.model.clone()?)))
        .collect();
    // The USB controller before this one, if it is one of USB 2.
    let mut group = None;
    for controller in controllers {
        if controller.index.is_none() {
            let model = controller.model.clone().unwrap_or_default();
            let shared = group.filter(|index| is_usb2(controller) && !groups.contains(&(*index, model)));
            let free = || (0..=u32::MAX).find(|index| !used.contains(&(controller.kind, *index)));
            controller.index = shared.or_else(free);
        }
        used.extend(given(controller));
        if controller.kind == ControllerKind::Usb {
            group = controller.index.filter(|_| is_usb2(controller));
            if let (Some(index), Some(model)) = (group, controller.model.clone()) {
                groups.insert((index, model));
            }
        }
    }
}

/// Whether it is a USB 2 controller of Intel's, or serves the slow devices of one.
fn is_usb2(controller: &Controller) -> bool {
    controller.model.as_deref() == Some("ich9-ehci1") || is_companion(controller)
}

/// Whether it serves the slow devices of a USB 2 controller.
fn is_companion(controller: &Controller) -> bool {
    controller.model.as_deref().is_some_and(|model| model.starts_with("ich9-uhci"))
}

fn models(controllers: &mut [Controller], board: Board) {
    for controller in controllers {
        if let Some(hole) = controller.pci_hole64.as_deref_mut() {
            to_kib(&mut hole.size, &mut hole.unit);
        }
        let default = match (controller.kind, board) {
            (ControllerKind::Usb, Board::ArmVirt) => "qemu-xhci",
            // One that is added to a q35 is modern; one that is named is as old as the word.
            (ControllerKind::Usb, Board::I440fx | Board::Q35 | Board::RiscvVirt) => "piix3-uhci",
            (ControllerKind::Scsi, board) if board != Board::Other => "lsilogic",
            (ControllerKind::Pci, board) if board.is_express() && controller.index == Some(0) => "pcie-root",
            (ControllerKind::Pci, Board::I440fx) if controller.index == Some(0) => "pci-root",
            _ => continue,
        };
        controller.model.take_if(|model| model == "auto");
        controller.model.get_or_insert_with(|| default.to_owned());
        if is_companion(controller) {
            let start_port = match controller.model.as_deref() {
                Some("ich9-uhci2") => 2,
                Some("ich9-uhci3") => 4,
                _ => 0,
            };
            controller
                .place
                .master
                .get_or_insert_with(|| Box::new(Master { start_port, ..Master::default() }));
        }
    }
}

/// Puts a controller among its kind by number, or last (virDomainControllerInsertPreAlloced).
pub(super) fn insert(controllers: &mut Vec<Controller>, controller: Controller) {
    let mut place = None;
    for (at, other) in controllers.iter().enumerate().rev().filter(|(_, other)| other.kind == controller.kind)
    {
        let companion_first = other.index == controller.index
            && controller.place.master.is_none()
            && other.place.master.is_some();
        if other.index > controller.index || companion_first {
            place = Some(at);
        } else if place.is_none() {
            place = Some(at + 1);
        }
    }
    controllers.insert(place.unwrap_or(controllers.len()), controller);
}

fn sort(controllers: &mut Vec<Controller>) {
    let unsorted = std::mem::replace(controllers, Vec::with_capacity(controllers.len() + 8));
    for controller in unsorted {
        insert(controllers, controller);
    }
}

/// Adds a controller unless there is one of that kind and number.
pub(super) fn ensure(devices: &mut Devices, kind: ControllerKind, index: u32, model: Option<&str>) {
    if !devices.controllers.iter().any(|other| other.kind == kind && other.index == Some(index)) {
        insert(&mut devices.controllers, Controller::new(kind, index, model));
    }
}

/// Controllers up to the highest that a disk of that bus names.
fn for_disks(devices: &mut Devices, bus: DiskBus, kind: ControllerKind, model: Option<&str>) {
    /// No machine has more; a wild number in a document must not make a million of them.
    const CONTROLLERS_MAX: u32 = 256;
    let on_bus = devices.disks.iter().filter(|disk| disk.target.bus == Some(bus));
    let named = on_bus.filter_map(|disk| match &disk.place.address {
        Some(Address::Drive(address)) => Some(address.controller),
        _ => None,
    });
    let Some(highest) = named.max() else { return };
    for index in 0..=highest.min(CONTROLLERS_MAX) {
        ensure(devices, kind, index, model);
    }
}

fn for_channels(devices: &mut Devices) {
    let virtio = devices.channels.iter().chain(&devices.consoles).filter(|device| is_virtio(device));
    let mut named: Vec<u32> = virtio
        .map(|device| match &device.place.address {
            Some(Address::VirtioSerial(address)) => address.controller,
            _ => 0,
        })
        .collect();
    named.sort_unstable();
    named.dedup();
    for index in named {
        ensure(devices, ControllerKind::VirtioSerial, index, None);
    }
}
