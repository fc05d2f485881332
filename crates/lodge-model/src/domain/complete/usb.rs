//! USB ports: which device hangs on which port of which controller or hub.

use crate::Faults;
use crate::domain::address::{Address, Place, UsbAddress};
use crate::domain::chardev::CharDevice;
use crate::domain::controller::{Controller, ControllerKind};
use crate::domain::devices::{Devices, Hub};
use crate::domain::disk::DiskBus;
use crate::domain::filesystem::FilesystemDriverKind;
use crate::domain::graphics::{InputBus, SoundModel};
use crate::domain::hostdev::HostdevKind;

/// Ports of a hub (QEMU's usb-hub).
const HUB_PORTS: u32 = 8;

/// A controller's bus: its ports and the hubs on them.
struct Bus {
    index: u32,
    ports: Vec<Port>,
}

/// A port: free, taken, or with a hub of further ports.
#[derive(Clone)]
enum Port {
    Free,
    Taken,
    Hub(Vec<Port>),
}

/// Ports of a controller.
fn ports(controller: &Controller) -> u32 {
    match controller.model.as_deref().unwrap_or_default() {
        "nec-xhci" | "qemu-xhci" => controller.ports.unwrap_or(4),
        "ehci" | "ich9-ehci1" => 6,
        "none" => 0,
        model if model.starts_with("ich9-uhci") => 0,
        _ => 2,
    }
}

/// Gives every USB device a port; adds hubs when there are too few.
pub(super) fn complete(devices: &mut Devices) -> Result<(), Faults> {
    let mut buses = buses(&devices.controllers);
    for hub in &devices.hubs {
        take(&mut buses, &hub.place, true);
    }
    let mut missing = 0_usize;
    for_each(devices, &mut |place| {
        if take(&mut buses, place, false) {
            missing += 1;
        }
    });
    let missing_hubs = devices.hubs.iter().filter(|hub| wants(&hub.place)).count();
    if missing + missing_hubs == 0 {
        return Ok(());
    }
    add_hubs(devices, &buses);
    let mut lacking = false;
    for hub in &mut devices.hubs {
        lacking |= !assign(&mut buses, &mut hub.place, true);
    }
    for_each_mut(devices, &mut |place| lacking |= !assign(&mut buses, place, false));
    if lacking { Err(Faults::one("/domain/devices", "no USB port is left for a USB device")) } else { Ok(()) }
}

/// The places of devices that need a port.
pub(super) fn wanting(devices: &Devices) -> Vec<*const Place> {
    let mut found = Vec::new();
    for_each(devices, &mut |place| found.push(std::ptr::from_ref(place)));
    found
}

fn buses(controllers: &[Controller]) -> Vec<Bus> {
    let mut buses: Vec<Bus> = Vec::new();
    for controller in controllers.iter().filter(|controller| controller.kind == ControllerKind::Usb) {
        let (index, count) = (controller.index.unwrap_or_default(), ports(controller).min(64) as usize);
        match buses.iter_mut().find(|bus| bus.index == index) {
            Some(bus) if bus.ports.len() < count => bus.ports.resize(count, Port::Free),
            Some(_) => {}
            None => buses.push(Bus { index, ports: vec![Port::Free; count] }),
        }
    }
    buses.sort_by_key(|bus| bus.index);
    buses
}

/// Adds as many hubs as all devices need, with a port more than is taken; each takes a port itself
/// (qemuDomainUSBAddressAddHubs).
fn add_hubs(devices: &mut Devices, buses: &[Bus]) {
    let mut count = devices.hubs.len();
    for_each(devices, &mut |_| count += 1);
    let ports: usize = buses.iter().map(|bus| bus.ports.len()).sum();
    let available = ports + devices.hubs.len() * HUB_PORTS as usize;
    if ports > 0 && count > available {
        let hubs = (count - available + 1).div_ceil(HUB_PORTS as usize - 1);
        devices.hubs.extend(std::iter::repeat_with(Hub::default).take(hubs));
    }
}

/// Whether the device still needs a port.
fn wants(place: &Place) -> bool {
    match &place.address {
        None => true,
        Some(Address::Usb(address)) => address.port.is_none(),
        Some(_) => false,
    }
}

/// Marks the port of a device that has one; `true` if it has none.
fn take(buses: &mut [Bus], place: &Place, hub: bool) -> bool {
    if let Some(Address::Usb(address)) = &place.address
        && let Some(path) = &address.port
        && let Some(bus) = buses.iter_mut().find(|bus| bus.index == address.bus)
    {
        mark(&mut bus.ports, path, hub);
    }
    wants(place)
}

fn mark(ports: &mut [Port], path: &str, hub: bool) {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let number = first.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let Some(port) = number.and_then(|number| ports.get_mut(number)) else { return };
    match (rest, port) {
        (None, port @ (Port::Free | Port::Taken)) => {
            *port = if hub { Port::Hub(vec![Port::Free; HUB_PORTS as usize]) } else { Port::Taken };
        }
        (Some(rest), Port::Hub(ports)) => mark(ports, rest, hub),
        (None, Port::Hub(_)) | (Some(_), Port::Free | Port::Taken) => {}
    }
}

/// The first free port, nearest to the controller first.
fn find(ports: &[Port], prefix: &str) -> Option<String> {
    let free = ports.iter().position(|port| matches!(port, Port::Free));
    if let Some(at) = free {
        return Some(format!("{prefix}{}", at + 1));
    }
    ports.iter().enumerate().find_map(|(at, port)| match port {
        Port::Hub(ports) => find(ports, &format!("{prefix}{}.", at + 1)),
        Port::Free | Port::Taken => None,
    })
}

/// Gives a device a port if it needs one; `false` if none is left.
fn assign(buses: &mut [Bus], place: &mut Place, hub: bool) -> bool {
    if !wants(place) {
        return true;
    }
    let wanted = match &place.address {
        Some(Address::Usb(address)) => Some(address.bus),
        _ => None,
    };
    for bus in buses.iter_mut().filter(|bus| wanted.is_none_or(|wanted| wanted == bus.index)) {
        if let Some(path) = find(&bus.ports, "") {
            mark(&mut bus.ports, &path, hub);
            place.address =
                Some(Address::Usb(UsbAddress { bus: bus.index, port: Some(path), ..UsbAddress::default() }));
            return true;
        }
    }
    false
}

fn is_usb_serial(serial: &CharDevice) -> bool {
    serial.target.as_deref().and_then(|target| target.kind.as_deref()) == Some("usb-serial")
}

/// Every USB device but hubs, in libvirt's order (virDomainUSBDeviceDefForeach).
macro_rules! walk {
    ($devices:ident, $visit:ident, $iter:ident, $place:ident) => {
        let disks = $devices.disks.$iter().filter(|disk| disk.target.bus == Some(DiskBus::Usb));
        disks.for_each(|disk| $visit($place!(disk)));
        let sounds = $devices.sounds.$iter().filter(|sound| sound.model == SoundModel::Usb);
        sounds.for_each(|sound| $visit($place!(sound)));
        let hostdevs = $devices.hostdevs.$iter().filter(|hostdev| hostdev.kind == HostdevKind::Usb);
        hostdevs.for_each(|hostdev| $visit($place!(hostdev)));
        let readers = $devices.controllers.$iter().filter(|other| other.kind == ControllerKind::Ccid);
        readers.for_each(|reader| $visit($place!(reader)));
        let serials = $devices.serials.$iter().filter(|serial| is_usb_serial(serial));
        serials.for_each(|serial| $visit($place!(serial)));
        let nics = $devices.interfaces.$iter().filter(|nic| nic.model() == Some("usb-net"));
        nics.for_each(|nic| $visit($place!(nic)));
        let inputs = $devices.inputs.$iter().filter(|input| input.bus == Some(InputBus::Usb));
        inputs.for_each(|input| $visit($place!(input)));
        let mtp = $devices.filesystems.$iter().filter(|other| other.served_by() == FilesystemDriverKind::Mtp);
        mtp.for_each(|filesystem| $visit($place!(filesystem)));
        $devices.redirdevs.$iter().for_each(|redirdev| $visit($place!(redirdev)));
    };
}

macro_rules! shared {
    ($device:ident) => {
        &$device.place
    };
}

macro_rules! exclusive {
    ($device:ident) => {
        &mut $device.place
    };
}

fn for_each(devices: &Devices, visit: &mut dyn FnMut(&Place)) {
    walk!(devices, visit, iter, shared);
}

fn for_each_mut(devices: &mut Devices, visit: &mut dyn FnMut(&mut Place)) {
    walk!(devices, visit, iter_mut, exclusive);
}
