//! The guest's ends of streams of characters: serial and parallel ports, consoles, channels. The host's: `stream`.

use std::net::Ipv4Addr;

use lodge_model::domain::address::Address;
use lodge_model::domain::chardev::{CharDevice, CharKind};

use super::builder::{Builder, alias};
use super::props::Props;
use super::stream::{Stream, back_end};

/// `<serial>`, `<parallel>`, `<console>`.
pub(super) fn ports(b: &mut Builder<'_>) {
    numbers(b);
    for (at, serial) in b.domain.devices.serials.iter().enumerate() {
        b.at_device("serial", at);
        port(b, serial, at, "serial");
    }
    for (at, parallel) in b.domain.devices.parallels.iter().enumerate() {
        b.at_device("parallel", at);
        port(b, parallel, at, "parallel");
    }
    for (at, console) in b.domain.devices.consoles.iter().enumerate() {
        b.at_device("console", at);
        self::console(b, console, at);
    }
}

/// Refuses two ports of one number: QEMU would, in words of its own.
fn numbers(b: &mut Builder<'_>) {
    let devices = &b.domain.devices;
    for (sort, list) in [("serial", &devices.serials), ("parallel", &devices.parallels)] {
        let mut taken = Vec::new();
        for (at, device) in list.iter().enumerate() {
            let Some(target) = device.target.as_deref() else { continue };
            let is_on_board = matches!(target.kind.as_deref(), None | Some("isa-serial" | "serial"));
            let Some(number) = target.port.filter(|_| is_on_board) else { continue };
            if taken.contains(&number) {
                b.element = format!("/domain/devices/{sort}[{}]/target/@port", at + 1);
                b.refuse(format!("{sort} port {number} is given twice"));
            }
            taken.push(number);
        }
    }
}

fn port(b: &mut Builder<'_>, device: &CharDevice, at: usize, sort: &str) {
    if !back_end(b, &Stream::of(device)) {
        return;
    }
    let id = alias(&device.place);
    let target = device.target.as_deref();
    let model = target.and_then(|target| target.model.as_ref()).map(|model| model.name.as_str());
    let kind = target.and_then(|target| target.kind.as_deref());
    let name = match (sort, model.or(kind)) {
        ("parallel", _) => "isa-parallel",
        // They are on the board, and take the streams in their order.
        (_, Some("system-serial" | "pl011" | "16550a")) if b.family.is_virt() => {
            return b.arg("-serial", format!("chardev:char{id}"));
        }
        (_, None | Some("isa-serial" | "serial")) => "isa-serial",
        (_, Some("usb-serial")) => "usb-serial",
        (_, Some("pci-serial")) => "pci-serial",
        (_, Some("isa-debugcon")) => "isa-debugcon",
        (_, Some(other)) => return b.refuse(format!("serial ports of target '{other}' are not supported")),
    };
    let number = target.and_then(|target| target.port).map_or(at, |port| port as usize);
    let props = Props::driver(name).with("chardev", format!("char{id}")).with("id", id);
    let props = match name {
        "usb-serial" => b.usb(props, &device.place),
        "pci-serial" => b.pci(props, &device.place),
        "isa-debugcon" => match &device.place.address {
            Some(Address::Isa(isa)) => props.maybe("iobase", isa.io_base),
            _ => props,
        },
        _ => match &device.place.address {
            Some(Address::Isa(isa)) => {
                props.with("index", number).maybe("iobase", isa.io_base).maybe("irq", isa.irq)
            }
            _ => props.with("index", number),
        },
    };
    b.device(name, &props);
}

fn console(b: &mut Builder<'_>, device: &CharDevice, at: usize) {
    let kind = device.target.as_deref().and_then(|target| target.kind.as_deref()).unwrap_or("serial");
    match kind {
        // The first of these is the first serial port, seen as a console; its own stream needs none.
        "serial" if at == 0 => {
            if b.domain.devices.serials.is_empty() {
                port(b, device, 0, "serial");
            }
        }
        "virtio" => {
            if back_end(b, &Stream::of(device)) {
                let id = alias(&device.place);
                let props = on_virtio_serial(b, Props::driver("virtconsole"), device);
                let props = props.with("chardev", format!("char{id}")).with("id", id);
                b.device("virtconsole", &props);
            }
        }
        "serial" => b.refuse("a further console needs target type='virtio'"),
        other => b.refuse(format!("consoles of target type='{other}' are not supported")),
    }
}

/// `<channel>`.
pub(super) fn channels(b: &mut Builder<'_>) {
    for (at, channel) in b.domain.devices.channels.iter().enumerate() {
        b.at_device("channel", at);
        let kind = channel.target.as_deref().and_then(|target| target.kind.as_deref());
        match kind {
            Some("virtio") => self::channel(b, channel),
            Some("guestfwd") => forward(b, channel),
            _ => b.refuse(format!("channels of target type='{}' are not supported", kind.unwrap_or("?"))),
        }
    }
}

fn channel(b: &mut Builder<'_>, device: &CharDevice) {
    let id = alias(&device.place);
    if device.kind == CharKind::SpiceVmc {
        if !super::screen::serves_spice(b) {
            return b.warn("left out: it comes over SPICE, which this guest's screen does not have here");
        }
        b.arg("-chardev", format!("spicevmc,id=char{id},name=vdagent"));
    } else if !back_end(b, &Stream::of(device)) {
        return;
    }
    let props = on_virtio_serial(b, Props::driver("virtserialport"), device);
    // The name by which SPICE's agent looks for its port.
    let usual = (device.kind == CharKind::SpiceVmc).then_some("com.redhat.spice.0");
    let name = device.channel_name().or(usual);
    let props = props.with("chardev", format!("char{id}")).with("id", id).maybe("name", name);
    b.device("virtserialport", &props);
}

/// What the guest sends to this address and port of its network is the stream's; the network is QEMU's own.
fn forward(b: &mut Builder<'_>, device: &CharDevice) {
    let id = alias(&device.place);
    let target = device.target.as_deref();
    let address = target.and_then(|target| target.address.as_deref()).unwrap_or_default();
    let (Ok(address), Some(port)) = (address.parse::<Ipv4Addr>(), target.and_then(|target| target.port))
    else {
        return b.refuse("target type='guestfwd' needs an IPv4 address and a port");
    };
    if back_end(b, &Stream::of(device)) {
        b.arg("-netdev", format!("user,guestfwd=tcp:{address}:{port}-chardev:char{id},id={id}"));
    }
}

fn on_virtio_serial(b: &mut Builder<'_>, props: Props, device: &CharDevice) -> Props {
    match &device.place.address {
        Some(Address::VirtioSerial(address)) => props
            .with("bus", format!("virtio-serial{}.{}", address.controller, address.bus))
            .with("nr", address.port),
        None => props,
        Some(_) => {
            b.refuse("this device needs an address of type 'virtio-serial'");
            props
        }
    }
}
