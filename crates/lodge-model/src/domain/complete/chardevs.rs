//! Serial ports, consoles, channels: targets, numbers, the first console's twin, virtio-serial ports.

use super::Board;
use crate::domain::address::{Address, Place, VirtioSerialAddress};
use crate::domain::chardev::{CharDevice, CharKind, CharModel, CharSource, CharTarget, Protocol};
use crate::domain::devices::{Devices, RngSource};

/// Ports of a virtio-serial controller that says nothing.
const VIRTIO_PORTS: u32 = 31;

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
    let all = [&mut devices.serials, &mut devices.parallels, &mut devices.consoles, &mut devices.channels];
    for device in all.into_iter().flatten() {
        complete_source(device.kind, &mut device.sources, &mut device.protocol);
        for source in &mut device.sources {
            source.foreign.sort(&["seclabel", "reconnect"]);
        }
    }
    for redirdev in &mut devices.redirdevs {
        complete_source(redirdev.kind, &mut redirdev.sources, &mut redirdev.protocol);
        without_labels(&mut redirdev.sources);
    }
    for card in &mut devices.smartcards {
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
    channel_ports(&mut devices.channels);
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
        matches!(
            kind,
            None | Some("isa-serial" | "system-serial" | "spapr-vio-serial" | "sclp-serial" | "isa-debug")
        )
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
        Some(console) => *console = twin,
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
    match kind {
        CharKind::Tcp => {
            protocol.get_or_insert_with(|| Protocol { kind: "raw".to_owned(), ..Protocol::default() });
        }
        // The daemon chooses the path; the document says nothing of it.
        CharKind::Unix => {
            sources.retain(|source| source.path.as_deref().is_some_and(|path| !is_daemons_path(path)));
        }
        CharKind::Pty | CharKind::Null | CharKind::Vc | CharKind::Stdio | CharKind::SpiceVmc => {
            sources.clear();
        }
        CharKind::Dev
        | CharKind::File
        | CharKind::Pipe
        | CharKind::Udp
        | CharKind::SpicePort
        | CharKind::Nmdm
        | CharKind::QemuVdagent
        | CharKind::Dbus => {}
    }
}

/// Whether a socket's path is one that libvirtd or lodge chose at a start; it changes with every start.
fn is_daemons_path(path: &str) -> bool {
    const CHOSEN: [&str; 3] = [
        "/run/libvirt/qemu/channel/",
        "/var/run/libvirt/qemu/channel/",
        "/var/lib/libvirt/qemu/channel/target/",
    ];
    CHOSEN.iter().any(|dir| path.starts_with(dir)) || path.contains("/run/lodge/guests/")
}

/// Whether a channel is a port of a virtio-serial controller.
pub(super) fn is_virtio(device: &CharDevice) -> bool {
    device.target.as_deref().and_then(|target| target.kind.as_deref()) == Some("virtio")
}

/// Gives virtio channels their ports; port 0 is the console's.
fn channel_ports(channels: &mut [CharDevice]) {
    let mut used: Vec<(u32, u32)> = Vec::new();
    for channel in channels.iter() {
        if let Some(Address::VirtioSerial(address)) = &channel.place.address
            && address.port > 0
        {
            used.push((address.controller, address.port));
        }
    }
    for channel in channels.iter_mut().filter(|channel| is_virtio(channel)) {
        let wanted = match &channel.place.address {
            Some(Address::VirtioSerial(address)) if address.port == 0 => Some(address.controller),
            None => None,
            Some(_) => continue,
        };
        let controllers = wanted.map_or(0..=u32::MAX, |controller| controller..=controller);
        let mut places =
            controllers.flat_map(|controller| (1..VIRTIO_PORTS).map(move |port| (controller, port)));
        if let Some((controller, port)) = places.find(|place| !used.contains(place)) {
            used.push((controller, port));
            let address = VirtioSerialAddress { controller, port, ..VirtioSerialAddress::default() };
            channel.place.address = Some(Address::VirtioSerial(address));
        }
    }
}
