//! Streams of characters: serial and parallel ports, consoles, channels.

use lodge_model::domain::address::Address;
use lodge_model::domain::chardev::{CharDevice, CharKind, CharMode, CharSource};
use lodge_model::xml::{OnOff, YesNo};

use super::builder::{Builder, alias};
use super::props::{Props, escaped};

/// `<serial>`, `<parallel>`, `<console>`.
pub(super) fn ports(b: &mut Builder<'_>) {
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

fn port(b: &mut Builder<'_>, device: &CharDevice, at: usize, sort: &str) {
    if !back_end(b, device) {
        return;
    }
    let id = alias(&device.place);
    let target = device.target.as_deref();
    let model = target.and_then(|target| target.model.as_ref()).map(|model| model.name.as_str());
    let kind = target.and_then(|target| target.kind.as_deref());
    let name = match (sort, model.or(kind)) {
        ("parallel", _) => "isa-parallel",
        (_, None | Some("isa-serial" | "serial")) => "isa-serial",
        (_, Some("usb-serial")) => "usb-serial",
        (_, Some("pci-serial")) => "pci-serial",
        (_, Some(other)) => return b.refuse(format!("serial ports of target '{other}' are not supported")),
    };
    let number = target.and_then(|target| target.port).map_or(at, |port| port as usize);
    let props = Props::driver(name).with("chardev", format!("char{id}")).with("id", id);
    let props = match name {
        "usb-serial" => b.usb(props, &device.place),
        "pci-serial" => b.pci(props, &device.place),
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
            if back_end(b, device) {
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
    } else if !back_end(b, device) {
        return;
    }
    let props = on_virtio_serial(b, Props::driver("virtserialport"), device);
    let props =
        props.with("chardev", format!("char{id}")).with("id", id).maybe("name", device.channel_name());
    b.device("virtserialport", &props);
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

/// The host's end: `-chardev`. Whether it could be written.
pub(super) fn back_end(b: &mut Builder<'_>, device: &CharDevice) -> bool {
    let id = alias(&device.place).to_owned();
    let none = CharSource::default();
    let source = device.source().unwrap_or(&none);
    let path = source.path.as_deref();
    let text = match device.kind {
        CharKind::Pty => Some("pty".to_owned()),
        CharKind::Null => Some("null".to_owned()),
        CharKind::Vc => Some("vc".to_owned()),
        CharKind::Unix => unix(b, source, &id),
        CharKind::Tcp => tcp(b, device, source),
        CharKind::File => match (b.claims.files.get(&id).copied(), path) {
            (Some(fd), _) => Some(format!("file,path={},append=on", b.fdset(fd, "wronly"))),
            (None, Some(path)) => {
                Some(format!("file,path={},append={}", escaped(path), source.append.unwrap_or(OnOff::Off)))
            }
            (None, None) => refused(b, "type='file' needs a <source path='…'/>"),
        },
        CharKind::Pipe => match path {
            Some(path) => Some(format!("pipe,path={}", escaped(path))),
            None => refused(b, "type='pipe' needs a <source path='…'/>"),
        },
        CharKind::SpicePort if super::screen::serves_spice(b) => {
            Some(format!("spiceport,name={}", source.channel.as_deref().map(escaped).unwrap_or_default()))
        }
        CharKind::QemuVdagent => Some("qemu-vdagent,name=vdagent".to_owned()),
        kind => refused(b, &format!("type='{kind}' is not supported here")),
    };
    let Some(text) = text else { return false };
    let (kind, rest) = text
        .split_once(',')
        .map_or((text.as_str(), String::new()), |(kind, rest)| (kind, format!(",{rest}")));
    let log = match (b.claims.logs.get(&id).copied(), &device.log) {
        (Some(fd), _) => format!(",logfile={},logappend=on", b.fdset(fd, "wronly")),
        (None, Some(log)) => {
            let append = log.append.unwrap_or(OnOff::Off);
            format!(",logfile={},logappend={append}", escaped(&log.file))
        }
        (None, None) => String::new(),
    };
    b.arg("-chardev", format!("{kind},id=char{id}{rest}{log}"));
    true
}

fn refused(b: &mut Builder<'_>, reason: &str) -> Option<String> {
    b.refuse(reason);
    None
}

fn unix(b: &mut Builder<'_>, source: &CharSource, id: &str) -> Option<String> {
    let listens = source.mode.unwrap_or(CharMode::Bind) == CharMode::Bind;
    match (b.claims.sockets.get(id), source.path.as_deref()) {
        (Some(fd), _) => Some(format!("socket,fd={fd},server=on,wait=off")),
        (None, Some(path)) if listens => Some(format!("socket,path={},server=on,wait=off", escaped(path))),
        (None, Some(path)) => Some(format!("socket,path={}", escaped(path))),
        (None, None) => refused(b, "no socket was made for it"),
    }
}

fn tcp(b: &mut Builder<'_>, device: &CharDevice, source: &CharSource) -> Option<String> {
    if source.tls == Some(YesNo::Yes) {
        return refused(b, "TLS on a character device is not supported yet");
    }
    let (Some(host), Some(port)) = (source.host.as_deref(), source.service.as_deref()) else {
        return refused(b, "type='tcp' needs a <source host='…' service='…'/>");
    };
    let mut text = format!("socket,host={},port={}", escaped(host), escaped(port));
    match device.protocol.as_ref().map_or("raw", |protocol| protocol.kind.as_str()) {
        "raw" => {}
        "telnet" => text += ",telnet=on",
        other => return refused(b, &format!("protocol '{other}' is not supported; 'raw' and 'telnet' are")),
    }
    if source.mode.unwrap_or(CharMode::Connect) == CharMode::Bind {
        text += ",server=on,wait=off";
    }
    Some(text)
}
