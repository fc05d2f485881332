//! PCI addresses of all devices, and the bridges they need (qemuDomainAssignPCIAddresses).
//!
//! It goes twice over the devices. The first time is dry: buses grow as devices need them, and so it is known
//! how many bridges there must be. The second time the bridges are among the devices and all get their places.

use super::Board;
use super::basics::CARDS;
use super::controllers::insert;
use super::pci_buses::{BusKind, Buses, Need, Spot};
use crate::Faults;
use crate::domain::address::{Address, PciAddress, Place};
use crate::domain::controller::{Controller, ControllerKind, ControllerModel};
use crate::domain::devices::{Devices, MemballoonModel, PanicModel, RngModel, WatchdogModel};
use crate::domain::disk::DiskBus;
use crate::domain::filesystem::{FilesystemDriverKind, FilesystemModel};
use crate::domain::graphics::{InputBus, SoundModel, VideoKind};
use crate::domain::hostdev::HostdevModel;
use crate::domain::interface::InterfaceKind;
use crate::domain::iommu::IommuModel;
use crate::domain::memory_module::{MemoryModel, MemoryModule};
use crate::xml::OnOff;

/// Gives every PCI device an address.
pub(super) fn complete(devices: &mut Devices, board: Board) -> Result<(), Faults> {
    let given = controller_kinds(devices, board);
    let mut dry = Buses::new(&given, true);
    place_all(devices, &mut dry, board, true)?;
    if board == Board::I440fx && dry.has_free_slot() && dry.len() > 1 {
        // One slot stays for a bridge that may be needed later.
        dry.next(Need::Pci);
    }
    if board.is_express() && given.len() == 1 && dry.len() > 1 {
        // Nobody chose any bridge: leave one port for a device that is plugged in later.
        dry.next(Need::Pcie);
    }
    for (index, kind) in (0_u32..).zip(dry.kinds()) {
        let named = |other: &Controller| other.kind == ControllerKind::Pci && other.index == Some(index);
        if !devices.controllers.iter().any(named) {
            let controller = Controller::new(ControllerKind::Pci, index, Some(kind.model()));
            insert(&mut devices.controllers, controller);
        }
    }
    devices.controllers.shrink_to_fit();
    let mut buses = Buses::new(&controller_kinds(devices, board), false);
    place_all(devices, &mut buses, board, false)?;
    describe_bridges(devices);
    mark_multifunction(devices, &buses);
    Ok(())
}

/// The places of devices that need a slot and have none.
pub(super) fn wanting(devices: &mut Devices) -> Vec<*const Place> {
    let mut found = Vec::new();
    each_need(devices, true, &mut |place, _| {
        if wants(place) {
            found.push(std::ptr::from_ref(place));
        }
    });
    found
}

/// On a board with both, one virtio device in memory takes along those that say nothing
/// (qemuDomainAssignVirtioMMIOAddresses).
pub(super) fn follow_mmio(devices: &mut Devices) {
    let mut has_one = false;
    devices
        .each_place(&mut |_, _, _, place| has_one |= matches!(place.address, Some(Address::VirtioMmio(_))));
    if !has_one {
        return;
    }
    let follow = |place: &mut Place| {
        if place.address.is_none() {
            place.address = Some(Address::VirtioMmio(Box::default()));
        }
    };
    let disks = devices.disks.iter_mut().filter(|disk| disk.target.bus == Some(DiskBus::Virtio));
    disks.for_each(|disk| follow(&mut disk.place));
    for interface in &mut devices.interfaces {
        if interface.model.as_ref().is_some_and(|model| model.kind == "virtio") {
            follow(&mut interface.place);
        }
    }
    let inputs = devices.inputs.iter_mut().filter(|input| input.bus == Some(InputBus::Virtio));
    inputs.for_each(|input| follow(&mut input.place));
    for controller in &mut devices.controllers {
        let is_virtio_scsi = controller.kind == ControllerKind::Scsi
            && controller.model.as_deref().is_some_and(|model| model.starts_with("virtio"));
        if is_virtio_scsi || controller.kind == ControllerKind::VirtioSerial {
            follow(&mut controller.place);
        }
    }
    if let Some(balloon) = &mut devices.memballoon
        && balloon.model == MemballoonModel::Virtio
    {
        follow(&mut balloon.place);
    }
    devices.rngs.iter_mut().for_each(|rng| follow(&mut rng.place));
}

/// The buses that controllers make, by index; gaps are filled with what the board takes.
fn controller_kinds(devices: &Devices, board: Board) -> Vec<BusKind> {
    let filler = if board.is_express() { BusKind::RootPort } else { BusKind::PciBridge };
    let mut kinds = Vec::new();
    for controller in devices.controllers.iter().filter(|controller| controller.kind == ControllerKind::Pci) {
        let index = usize::try_from(controller.index.unwrap_or_default()).unwrap_or(usize::MAX);
        let kind = controller.model.as_deref().and_then(BusKind::of_model);
        if let Some(kind) = kind
            && index < 256
        {
            if kinds.len() <= index {
                kinds.resize(index + 1, filler);
            }
            kinds[index] = kind;
        }
    }
    kinds
}

/// The PCI address a device has; one of only zeroes asks for any.
fn address(place: &Place) -> Option<Spot> {
    let address = place.address.as_ref().and_then(Address::pci)?;
    let empty = (address.domain, address.bus, address.slot, address.function) == (0, 0, 0, 0);
    (address.domain == 0 && !empty).then_some(Spot {
        bus: address.bus,
        slot: address.slot,
        function: address.function,
    })
}

/// Whether a device still needs a PCI address.
fn wants(place: &Place) -> bool {
    match &place.address {
        None => true,
        Some(Address::Pci(pci)) => (pci.domain, pci.bus, pci.slot, pci.function) == (0, 0, 0, 0),
        Some(_) => false,
    }
}

/// One run over all devices.
struct Run<'a> {
    buses: &'a mut Buses,
    board: Board,
    dry: bool,
    lacking: bool,
}

fn place_all(devices: &mut Devices, buses: &mut Buses, board: Board, dry: bool) -> Result<(), Faults> {
    let express = board.is_express();
    each_need(devices, express, &mut |place, need| {
        if let Some(spot) = address(place) {
            buses.take(spot, need);
        }
    });
    let mut run = Run { buses, board, dry, lacking: false };
    run.fixed(devices);
    each_need_before_controllers(devices, express, &mut |place, need| run.place(place, need));
    run.usb_companions(devices);
    each_need_from_controllers(devices, express, &mut |place, need| run.place(place, need));
    if run.lacking {
        return Err(Faults::one("/domain/devices", "no PCI slot is left for a device without an address"));
    }
    Ok(())
}

impl Run<'_> {
    /// Gives a device the next address if it needs one.
    fn place(&mut self, place: &mut Place, need: Need) {
        if !wants(place) {
            return;
        }
        match self.buses.next(need) {
            Some(spot) if !self.dry => set(place, spot),
            Some(_) => {}
            None => self.lacking = true,
        }
    }

    /// Gives a device a certain address if it needs one and that is free.
    fn place_at(&mut self, place: &mut Place, spot: Spot, whole_slot: bool) {
        let taken = if whole_slot {
            self.buses.functions(spot.bus, spot.slot) != 0
        } else {
            self.buses.is_taken(spot)
        };
        if wants(place) && !taken {
            self.buses.take(spot, Need::Integrated);
            // Also in the dry run, so that it is not looked at again; the address is the same both times.
            set(place, spot);
        }
    }

    /// What the board itself puts at certain places.
    fn fixed(&mut self, devices: &mut Devices) {
        match self.board {
            Board::Q35 => self.fixed_q35(devices),
            Board::I440fx => self.fixed_i440fx(devices),
            Board::ArmVirt | Board::RiscvVirt | Board::Isa | Board::Micro | Board::Bare | Board::Other => {}
        }
    }

    fn fixed_q35(&mut self, devices: &mut Devices) {
        let at = |slot, function| Spot { bus: 0, slot, function };
        // The ISA bridge and the SMBus.
        self.buses.take(at(0x1f, 0), Need::Integrated);
        self.buses.take(at(0x1f, 3), Need::Integrated);
        for controller in &mut devices.controllers {
            let model = controller.model.as_deref().unwrap_or_default();
            let place = &mut controller.place;
            match (controller.kind, controller.index) {
                (ControllerKind::Sata, Some(0)) => self.place_at(place, at(0x1f, 2), false),
                (ControllerKind::Usb, Some(index @ 0..=1)) => {
                    if let Some(function) = ich9_function(model) {
                        self.place_at(place, at(if index == 0 { 0x1d } else { 0x1a }, function), false);
                    }
                }
                (ControllerKind::Pci, _) if model == "dmi-to-pci-bridge" => {
                    self.place_at(place, at(0x1e, 0), true);
                }
                _ => {}
            }
        }
        self.primary_video(devices, at(1, 0));
        if let Some(sound) = devices.sounds.iter_mut().find(|sound| sound.model == SoundModel::Ich9) {
            self.place_at(&mut sound.place, at(0x1b, 0), true);
        }
    }

    fn fixed_i440fx(&mut self, devices: &mut Devices) {
        let at = |slot, function| Spot { bus: 0, slot, function };
        for controller in &mut devices.controllers {
            match (controller.kind, controller.index, controller.model.as_deref()) {
                (ControllerKind::Ide, Some(0), _) => self.place_at(&mut controller.place, at(1, 1), false),
                (ControllerKind::Usb, Some(0), None | Some("piix3-uhci")) => {
                    self.place_at(&mut controller.place, at(1, 2), false);
                }
                _ => {}
            }
        }
        // The PIIX3 has the rest of its slot.
        self.buses.take_slot(0, 1);
        self.primary_video(devices, at(2, 0));
    }

    fn primary_video(&mut self, devices: &mut Devices, spot: Spot) {
        let Some(video) = devices.videos.first_mut() else { return };
        let kind = video.model.as_deref().map(|model| model.kind);
        if !matches!(kind, None | Some(VideoKind::None | VideoKind::Ramfb)) {
            self.place_at(&mut video.place, spot, true);
        }
    }

    /// The four functions of a USB 2 controller share a slot.
    fn usb_companions(&mut self, devices: &mut Devices) {
        let ich9 = |controller: &Controller| {
            (controller.kind == ControllerKind::Usb)
                .then(|| ich9_function(controller.model.as_deref().unwrap_or_default()))
                .flatten()
        };
        for at in 0..devices.controllers.len() {
            let Some(function) = ich9(&devices.controllers[at]) else { continue };
            if !wants(&devices.controllers[at].place) {
                continue;
            }
            let index = devices.controllers[at].index;
            let mut twins =
                devices.controllers.iter().filter(|other| ich9(other).is_some() && other.index == index);
            let slot = twins.find_map(|other| address(&other.place)).or_else(|| self.buses.find(Need::Pci));
            let Some(slot) = slot.or_else(|| self.buses.next(Need::Pci)) else {
                self.lacking = true;
                continue;
            };
            let spot = Spot { function, ..slot };
            self.buses.take(spot, Need::Pci);
            // Its bus may exist only in the dry run, but then the second run adds the same bus.
            let place = &mut devices.controllers[at].place;
            set(place, spot);
            // The first function says so even where it is alone.
            if let (0, Some(Address::Pci(pci))) = (function, &mut place.address) {
                pci.multifunction.get_or_insert(OnOff::On);
            }
        }
    }
}

/// The function of an ICH9 USB 2 controller by its model.
fn ich9_function(model: &str) -> Option<u8> {
    match model {
        "ich9-uhci1" => Some(0),
        "ich9-uhci2" => Some(1),
        "ich9-uhci3" => Some(2),
        "ich9-ehci1" => Some(7),
        _ => None,
    }
}

fn set(place: &mut Place, spot: Spot) {
    let multifunction =
        place.address.as_ref().and_then(Address::pci).and_then(|address| address.multifunction);
    let address = PciAddress { multifunction, ..PciAddress::new(spot.bus, spot.slot, spot.function) };
    place.address = Some(Address::Pci(address));
}

/// Calls `visit` with every PCI device's place and need, in the order in which libvirt gives addresses.
fn each_need(devices: &mut Devices, express: bool, visit: &mut dyn FnMut(&mut Place, Need)) {
    each_need_before_controllers(devices, express, visit);
    each_need_from_controllers(devices, express, visit);
}

/// Bridges and what comes before other controllers.
fn each_need_before_controllers(
    devices: &mut Devices,
    express: bool,
    visit: &mut dyn FnMut(&mut Place, Need),
) {
    let pcie = if express { Need::Pcie } else { Need::Pci };
    for controller in &mut devices.controllers {
        if let Some(kind) = bridge_kind(controller) {
            visit(&mut controller.place, Need::Bridge(kind));
        }
    }
    for filesystem in &mut devices.filesystems {
        let is_old = filesystem.model == Some(FilesystemModel::Transitional);
        match filesystem.served_by() {
            FilesystemDriverKind::Virtiofs => visit(&mut filesystem.place, pcie),
            FilesystemDriverKind::Default | FilesystemDriverKind::Path | FilesystemDriverKind::Handle => {
                visit(&mut filesystem.place, if is_old { Need::Pci } else { pcie });
            }
            FilesystemDriverKind::Mtp
            | FilesystemDriverKind::Loop
            | FilesystemDriverKind::Nbd
            | FilesystemDriverKind::Ploop => {}
        }
    }
    for interface in devices.interfaces.iter_mut().filter(|other| other.kind != InterfaceKind::Hostdev) {
        match interface.model.as_ref().map(|model| model.kind.as_str()) {
            Some("virtio" | "virtio-non-transitional" | "e1000e" | "igb") => {
                visit(&mut interface.place, pcie);
            }
            Some("usb-net") => {}
            // What libvirt does not know it takes for modern.
            Some(model) if !CARDS.contains(&model) => visit(&mut interface.place, pcie),
            Some(_) | None => visit(&mut interface.place, Need::Pci),
        }
    }
    for sound in &mut devices.sounds {
        match sound.model {
            SoundModel::Ich6
            | SoundModel::Ich7
            | SoundModel::Ich9
            | SoundModel::Ac97
            | SoundModel::Es1370 => {
                visit(&mut sound.place, Need::Pci);
            }
            SoundModel::Virtio => visit(&mut sound.place, pcie),
            SoundModel::Sb16 | SoundModel::PcSpeaker | SoundModel::Usb => {}
        }
    }
}

/// Controllers but bridges, and what comes after them.
fn each_need_from_controllers(devices: &mut Devices, express: bool, visit: &mut dyn FnMut(&mut Place, Need)) {
    let pcie = if express { Need::Pcie } else { Need::Pci };
    for controller in &mut devices.controllers {
        if let Some(need) = controller_need(controller, pcie) {
            visit(&mut controller.place, need);
        }
    }
    for disk in devices.disks.iter_mut().filter(|disk| disk.target.bus == Some(DiskBus::Virtio)) {
        visit(
            &mut disk.place,
            if disk.model.as_deref() == Some("virtio-transitional") { Need::Pci } else { pcie },
        );
    }
    // The host's, first those that are written as interfaces.
    let interfaces = devices.interfaces.iter_mut().filter(|other| other.kind == InterfaceKind::Hostdev);
    interfaces.for_each(|interface| visit(&mut interface.place, pcie));
    for hostdev in devices.hostdevs.iter_mut().filter(|hostdev| hostdev.is_on_pci()) {
        let is_old = hostdev.model == Some(HostdevModel::Transitional);
        visit(&mut hostdev.place, if is_old { Need::Pci } else { pcie });
    }
    small_devices(devices, pcie, visit);
}

/// The bus that a PCI controller makes, but for the root.
fn bridge_kind(controller: &Controller) -> Option<BusKind> {
    let kind = BusKind::of_model(controller.model.as_deref()?)?;
    let is_root = matches!(kind, BusKind::PciRoot | BusKind::PcieRoot);
    (controller.kind == ControllerKind::Pci && !is_root).then_some(kind)
}

/// What another controller needs.
fn controller_need(controller: &Controller, pcie: Need) -> Option<Need> {
    let model = controller.model.as_deref().unwrap_or_default();
    match controller.kind {
        ControllerKind::Pci
        | ControllerKind::Fdc
        | ControllerKind::Ccid
        | ControllerKind::Isa
        | ControllerKind::Xenbus => None,
        ControllerKind::Usb => match model {
            "none" => None,
            "nec-xhci" | "qemu-xhci" => Some(pcie),
            _ => Some(Need::Pci),
        },
        // Those that are also for guests of old are on the old bus.
        ControllerKind::Scsi | ControllerKind::VirtioSerial if model == "virtio-transitional" => {
            Some(Need::Pci)
        }
        ControllerKind::Scsi => Some(if model.starts_with("virtio") { pcie } else { Need::Pci }),
        ControllerKind::VirtioSerial | ControllerKind::Nvme => Some(pcie),
        ControllerKind::Ide | ControllerKind::Sata => Some(Need::Pci),
    }
}

fn small_devices(devices: &mut Devices, pcie: Need, visit: &mut dyn FnMut(&mut Place, Need)) {
    if let Some(balloon) = &mut devices.memballoon
        && !matches!(balloon.model, MemballoonModel::None | MemballoonModel::Xen)
    {
        let is_old = balloon.model == MemballoonModel::VirtioTransitional;
        visit(&mut balloon.place, if is_old { Need::Pci } else { pcie });
    }
    let by_model = |model: RngModel| if model == RngModel::VirtioTransitional { Need::Pci } else { pcie };
    for rng in &mut devices.rngs {
        visit(&mut rng.place, by_model(rng.model));
    }
    let watchdogs = devices.watchdogs.iter_mut().filter(|watchdog| watchdog.model == WatchdogModel::I6300esb);
    watchdogs.for_each(|watchdog| visit(&mut watchdog.place, Need::Pci));
    for video in &mut devices.videos {
        match video.model.as_deref().map(|model| model.kind) {
            None | Some(VideoKind::None | VideoKind::Ramfb) => {}
            Some(VideoKind::Virtio) => visit(&mut video.place, pcie),
            Some(_) => visit(&mut video.place, Need::Pci),
        }
    }
    devices.shmems.iter_mut().for_each(|shmem| visit(&mut shmem.place, Need::Pci));
    let inputs = devices.inputs.iter_mut().filter(|input| input.bus == Some(InputBus::Virtio));
    for input in inputs {
        let is_old = input.model.as_deref() == Some("virtio-transitional");
        visit(&mut input.place, if is_old { Need::Pci } else { pcie });
    }
    for serial in &mut devices.serials {
        if serial.target.as_deref().and_then(|target| target.kind.as_deref()) == Some("pci-serial") {
            visit(&mut serial.place, Need::Pci);
        }
    }
    if let Some(iommu) = devices.iommu.as_deref_mut().filter(|iommu| iommu.model == IommuModel::Virtio) {
        visit(&mut iommu.place, Need::Integrated);
    }
    if let Some(vsock) = &mut devices.vsock {
        visit(&mut vsock.place, by_model(vsock.model.unwrap_or_default()));
    }
    let on_pci =
        |module: &&mut MemoryModule| matches!(module.model, MemoryModel::VirtioMem | MemoryModel::VirtioPmem);
    devices.memory_modules.iter_mut().filter(on_pci).for_each(|module| visit(&mut module.place, pcie));
    devices.cryptos.iter_mut().for_each(|crypto| visit(&mut crypto.place, Need::Pci));
    let panics = devices.panics.iter_mut().filter(|panic| panic.model == Some(PanicModel::Pvpanic));
    panics.for_each(|panic| visit(&mut panic.place, Need::Integrated));
    if let Some(pstore) = &mut devices.pstore {
        visit(&mut pstore.place, Need::Pci);
    }
}

/// Names QEMU's devices of bridges and numbers chassis and ports.
fn describe_bridges(devices: &mut Devices) {
    // Expander buses are numbered from above, two apart, below those that have a number (qemuDomainAssignPCIAddresses).
    let numbers = devices.controllers.iter().filter_map(|controller| controller.target.as_deref()?.bus_nr);
    let mut lowest_bus = numbers.min().map_or(256_u16, u16::from);
    for controller in &mut devices.controllers {
        let Some(kind) = bridge_kind(controller) else { continue };
        if let Some(device) = kind.device() {
            controller.model_name.get_or_insert_with(|| {
                Box::new(ControllerModel { name: device.to_owned(), ..ControllerModel::default() })
            });
        }
        let index = controller.index.and_then(|index| u8::try_from(index).ok()).unwrap_or_default();
        match kind {
            BusKind::PciBridge => {
                controller.target.get_or_insert_default().chassis_nr.get_or_insert(index);
            }
            BusKind::RootPort | BusKind::SwitchDownstream => {
                let spot = address(&controller.place);
                let target = controller.target.get_or_insert_default();
                target.chassis.get_or_insert(index);
                let port = spot.map_or(0, |spot| match kind {
                    BusKind::SwitchDownstream => spot.slot,
                    _ => (spot.slot << 3) | (spot.function & 7),
                });
                target.port.get_or_insert(port);
            }
            BusKind::Expander | BusKind::PcieExpander => {
                let target = controller.target.get_or_insert_default();
                let number = u8::try_from(lowest_bus.saturating_sub(2)).unwrap_or_default();
                lowest_bus = lowest_bus.min(u16::from(*target.bus_nr.get_or_insert(number)));
            }
            BusKind::PciRoot
            | BusKind::PcieRoot
            | BusKind::DmiToPciBridge
            | BusKind::PcieToPciBridge
            | BusKind::SwitchUpstream => {}
        }
    }
}

/// Function 0 of a slot that several share must say so (virDomainPCIAddressSetAllMulti).
fn mark_multifunction(devices: &mut Devices, buses: &Buses) {
    let mark = &mut |place: &mut Place, _: Need| {
        if let Some(Address::Pci(pci)) = &mut place.address
            && pci.domain == 0
            && pci.function == 0
            && pci.multifunction.is_none()
            && buses.functions(pci.bus, pci.slot).count_ones() > 1
        {
            pci.multifunction = Some(OnOff::On);
        }
    };
    each_need(devices, true, mark);
}
