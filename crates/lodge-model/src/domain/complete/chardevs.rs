//! Serial ports, consoles, channels: targets, numbers, the first console's twin, virtio-serial ports.

use super::Board;
use crate::domain::address::{Address, Place, VirtioSerialAddress};
use crate::domain::chardev::{CharDevice, CharKind, CharMode, CharModel, CharSource, CharTarget, Protocol};
use crate::domain::controller::ControllerKind;
use crate::domain::devices::{Devices, RngSource};
use std::collections::{BTreeMap, BTreeSet};

/// Ports of a virtio-serial controller that says nothing.
const VIRTIO_PORTS: u32 = 31;
/// No controller has more of them; a wild number in a document must not be counted up to.
const PORTS_MAX: u32 = 512;

/// Completes all streams of characters.
pub(super) fn complete(devices: &mut Devices, board: Board) {
    first_console_becomes_serial(devices);
    number_ports(&mut devices.serials);
    number_parallel_ports(&mut devices.parallels);
    for serial in &mut devices.serials {
        serial_target(serial, board);
    }
    serial_becomes_first_console(devices);
    for target in devices.parallels.iter_mut().filter_map(|parallel| parallel.target.as_deref_mut()) {
        (target.kind, target.model) = (None, None);
    }
    devices.channels.iter_mut().filter(|channel| is_virtio(channel)).for_each(forget_chosen_path);
    let all = [&mut devices.serials, &mut devices.parallels, &mut devices.consoles, &mut devices.channels];
    for device in all.into_iter().flatten() {
        complete_source(device.kind, &mut device.sources, &mut device.protocol);
        for source in &mut device.sources {
            source.foreign.sort(&["seclabel", "reconnect", "clipboard", "mouse"]);
        }
    }
    for redirdev in &mut devices.redirdevs {
        if redirdev.kind == CharKind::Dbus && redirdev.sources.is_empty() {
            let channel = Some("org.qemu.usbredir".to_owned());
            redirdev.sources.push(CharSource { channel, ..CharSource::default() });
        }
        complete_source(redirdev.kind, &mut redirdev.sources, &mut redirdev.protocol);
        without_labels(&mut redirdev.sources);
    }
    for card in &mut devices.smartcards {
        if let Some(kind) = card.kind {
            complete_source(kind, &mut card.sources, &mut card.protocol);
        }
        without_labels(&mut card.sources);
    }
    for backend in devices.rngs.iter_mut().map(|rng| &mut rng.backend) {
        if backend.model == RngSource::Random {
            backend.path.get_or_insert_with(|| "/dev/random".to_owned());
        }
        if let Some(kind) = backend.kind {
            complete_source(kind, &mut backend.sources, &mut backend.protocol);
            without_labels(&mut backend.sources);
        }
    }
    let twins = usize::from(has_console(devices.serials.first()));
    for (at, console) in (0_u32..).zip(&mut devices.consoles).skip(twins) {
        console.target.get_or_insert_default().port = Some(at);
    }
}

/// Labels are kept of ports, consoles and channels only.
fn without_labels(sources: &mut [CharSource]) {
    for source in sources {
        source.foreign.set_trees(&["seclabel"], &[]);
    }
}

/// Whether a serial port has a console as its twin: only those on the board do.
fn has_console(serial: Option<&CharDevice>) -> bool {
    serial.is_some_and(|serial| {
        let kind = serial.target.as_deref().and_then(|target| target.kind.as_deref());
        matches!(kind, None | Some("isa-serial" | "system-serial" | "spapr-vio-serial" | "sclp-serial"))
    })
}

/// What a console's target is; `serial` if nothing is said.
fn console_target(console: &CharDevice) -> &str {
    console.target.as_deref().and_then(|target| target.kind.as_deref()).unwrap_or("serial")
}

/// A document with a plain console and no serial port means a serial port with a console on it.
fn first_console_becomes_serial(devices: &mut Devices) {
    if let Some(console) = devices.consoles.first()
        && devices.serials.is_empty()
        && console_target(console) == "serial"
    {
        let mut serial = console.clone();
        serial.target = None;
        serial.tty = None;
        devices.serials.push(serial);
    }
}

/// The first serial port shows as the first console, too.
fn serial_becomes_first_console(devices: &mut Devices) {
    let Some(serial) = devices.serials.first().filter(|serial| has_console(Some(serial))) else {
        return;
    };
    let port = serial.target.as_deref().and_then(|target| target.port);
    let target = CharTarget { kind: Some("serial".to_owned()), port, ..CharTarget::default() };
    let place = Place { alias: serial.place.alias.clone(), ..Place::default() };
    let twin = CharDevice { target: Some(Box::new(target)), place, ..serial.clone() };
    match devices.consoles.first_mut().filter(|console| console_target(console) == "serial") {
        Some(console) => {
            // An address that it has been given says what the port's says.
            let address = console.place.address.take();
            *console = twin;
            console.place.address = address;
        }
        None => devices.consoles.insert(0, twin),
    }
}

/// Numbers ports that have no number after the highest that is given.
fn number_ports(ports: &mut [CharDevice]) {
    let given = |device: &CharDevice| device.target.as_deref().and_then(|target| target.port);
    let mut next = ports.iter().filter_map(given).max().map_or(0, |port| port.saturating_add(1));
    for device in ports {
        let target = device.target.get_or_insert_default();
        if target.port.is_none() {
            target.port = Some(next);
            next = next.saturating_add(1);
        }
    }
}

/// Parallel ports are numbered as they are read: after the highest before them.
fn number_parallel_ports(ports: &mut [CharDevice]) {
    let mut next = 0;
    for device in ports {
        let port = *device.target.get_or_insert_default().port.get_or_insert(next);
        next = next.max(port.saturating_add(1));
    }
}

fn serial_target(serial: &mut CharDevice, board: Board) {
    let target = serial.target.get_or_insert_default();
    if board.is_virt() {
        // By history the word for a PC's stands for nothing said.
        target.kind.take_if(|kind| kind == "isa-serial");
    }
    let usual = if board.is_virt() { "system-serial" } else { "isa-serial" };
    let kind = target.kind.get_or_insert_with(|| usual.to_owned());
    let model = match kind.as_str() {
        "isa-serial" | "pci-serial" | "usb-serial" => kind.as_str(),
        "isa-debug" => "isa-debugcon",
        "system-serial" if board == Board::ArmVirt => "pl011",
        "system-serial" if board == Board::RiscvVirt => "16550a",
        _ => return,
    };
    let model = model.to_owned();
    target.model.get_or_insert_with(|| CharModel { name: model, ..CharModel::default() });
}

pub(super) fn complete_source(
    kind: CharKind,
    sources: &mut Vec<CharSource>,
    protocol: &mut Option<Protocol>,
) {
    // Who says nothing connects (virDomainChrSourceDefParseTCP and its kin).
    let connects = |sources: &mut Vec<CharSource>| {
        for source in sources {
            source.mode.get_or_insert(CharMode::Connect);
        }
    };
    match kind {
        CharKind::Tcp => {
            connects(sources);
            protocol.get_or_insert_with(|| Protocol { kind: "raw".to_owned(), ..Protocol::default() });
        }
        CharKind::Udp => {
            connects(sources);
            sources.retain(|source| source.host.is_some() || source.service.is_some());
            sources.sort_by_key(|source| source.mode != Some(CharMode::Bind));
            sources.dedup_by_key(|source| source.mode);
        }
        // The daemon chooses the path; the document says nothing of it.
        CharKind::Unix => {
            connects(sources);
            sources.retain(|source| source.path.is_some());
        }
        CharKind::Pty | CharKind::Null | CharKind::Vc | CharKind::Stdio | CharKind::SpiceVmc => {
            sources.clear();
        }
        CharKind::Dev
        | CharKind::File
        | CharKind::Pipe
        | CharKind::SpicePort
        | CharKind::Nmdm
        | CharKind::QemuVdagent
        | CharKind::Dbus => {}
    }
    if kind != CharKind::Tcp {
        *protocol = None;
    }
}

/// A socket's path that libvirtd or lodge chose at a start is no part of the document: it changes with every start.
fn forget_chosen_path(channel: &mut CharDevice) {
    if channel.kind != CharKind::Unix {
        return;
    }
    let name = channel.channel_name().unwrap_or_default().to_owned();
    for source in &mut channel.sources {
        source.path.take_if(|path| is_daemons_path(path, &name));
    }
}

/// Whether a path is one of those that every libvirt up to now has chosen (qemuDomainChrMatchDefaultPath), or ours.
fn is_daemons_path(path: &str, name: &str) -> bool {
    const CHOSEN: [&str; 3] =
        ["/run/libvirt/qemu/channel/", "/var/lib/libvirt/qemu/channel/", "/etc/libvirt/qemu/channel/"];
    if path.contains("/run/lodge/guests/") {
        return true;
    }
    // DOMAIN.NAME, domain-DOMAIN/NAME or ID-DOMAIN/NAME.
    let is_guests = |rest: &str| {
        let rest = rest.strip_prefix("target/").unwrap_or(rest);
        let Some(guest) = rest.strip_suffix(name) else { return false };
        if let Some(guest) = guest.strip_suffix('.') {
            return !guest.is_empty() && !guest.contains('/');
        }
        let Some((id, domain)) = guest.strip_suffix('/').and_then(|guest| guest.split_once('-')) else {
            return false;
        };
        let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        (id == "domain" || is_number) && !domain.is_empty() && !domain.contains('/')
    };
    CHOSEN.iter().any(|dir| path.strip_prefix(dir).is_some_and(is_guests))
}

/// Whether a channel is a port of a virtio-serial controller.
pub(super) fn is_virtio(device: &CharDevice) -> bool {
    device.target.as_deref().and_then(|target| target.kind.as_deref()) == Some("virtio")
}

/// Gives virtio channels their ports, and more controllers where these have no more; port 0 is the console's
/// (virDomainVirtioSerialAddrNext).
pub(super) fn channel_ports(devices: &mut Devices) {
    let mut used: BTreeSet<(u32, u32)> = BTreeSet::new();
    for channel in &devices.channels {
        if let Some(Address::VirtioSerial(address)) = &channel.place.address
            && address.port > 0
        {
            used.insert((address.controller, address.port));
        }
    }
    let mut ports: BTreeMap<u32, u32> = BTreeMap::new();
    let known =
        devices.controllers.iter().filter(|controller| controller.kind == ControllerKind::VirtioSerial);
    for controller in known {
        ports.insert(controller.index.unwrap_or_default(), controller.ports.unwrap_or(VIRTIO_PORTS));
    }
    let free = |used: &BTreeSet<(u32, u32)>, controller: u32, ports: u32| {
        let mut places = (1..ports.min(PORTS_MAX)).map(|port| (controller, port));
        places.find(|place| !used.contains(place))
    };
    for channel in devices.channels.iter_mut().filter(|channel| is_virtio(channel)) {
        let place = match &channel.place.address {
            Some(Address::VirtioSerial(address)) if address.port == 0 => {
                let controller = address.controller;
                free(&used, controller, ports.get(&controller).copied().unwrap_or(VIRTIO_PORTS))
            }
            None => {
                let found = ports.iter().find_map(|(controller, ports)| free(&used, *controller, *ports));
                found.or_else(|| {
                    let next = (0..=u32::MAX).find(|index| !ports.contains_key(index))?;
                    ports.insert(next, VIRTIO_PORTS);
                    Some((next, 1))
                })
            }
            Some(_) => continue,
        };
        if let Some((controller, port)) = place {
            used.insert((controller, port));
            let address = VirtioSerialAddress { controller, port, ..VirtioSerialAddress::default() };
            channel.place.address = Some(Address::VirtioSerial(address));
        }
    }
    for index in ports.into_keys() {
        super::controllers::ensure(devices, ControllerKind::VirtioSerial, index, None);
    }
}
