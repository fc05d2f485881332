//! Devices: names, sources, numbers that must not be given twice.

use super::{Found, Seen, nth};
use crate::domain::Domain;
use crate::domain::chardev::{CharKind, CharMode, CharSource};
use crate::domain::devices::Devices;
use crate::domain::disk::{Disk, DiskBus, DiskDevice, SourceKind};
use crate::domain::graphics::Graphics;
use crate::domain::interface::{Interface, InterfaceKind};
use crate::domain::target_number;
use crate::xml::YesNo;

pub(super) fn check(domain: &Domain, found: &mut Found) {
    let devices = &*domain.devices;
    disks(domain, found);
    controllers(devices, found);
    interfaces(devices, found);
    streams(devices, found);
    for (at, graphics) in devices.graphics.iter().enumerate() {
        screen(graphics, &nth("/domain/devices/graphics", at, devices.graphics.len()), found);
    }
    let primary = devices.videos.iter().filter_map(|video| video.model.as_deref());
    if primary.filter(|model| model.primary == Some(YesNo::Yes)).count() > 1 {
        found.add("/domain/devices/video", "only one video device can be the primary one");
    }
    if devices.vsock.as_deref().and_then(|vsock| vsock.cid.as_ref()?.address).is_some_and(|cid| cid < 3) {
        found.add("/domain/devices/vsock/cid/@address", "a guest's number begins with 3");
    }
    aliases(devices, found);
}

fn disks(domain: &Domain, found: &mut Found) {
    let disks = &domain.devices.disks;
    let mut targets = Seen::default();
    for (at, disk) in disks.iter().enumerate() {
        let path = nth("/domain/devices/disk", at, disks.len());
        let target = disk.target.dev.as_str();
        targets.note(found, target, &format!("{path}/target/@dev"), || {
            format!("target `{target}` is given twice")
        });
        disk_source(disk, &path, found);
        disk_target(disk, &path, found);
        let iothread = disk.driver.as_deref().and_then(|driver| driver.iothread);
        if let Some(thread) =
            iothread.filter(|thread| *thread == 0 || *thread > domain.iothreads.unwrap_or_default())
            && domain.iothreadids.is_empty()
        {
            found.add(format!("{path}/driver/@iothread"), format!("there is no I/O thread {thread}"));
        }
        if let Some(wwn) = &disk.wwn
            && !is_wwn(wwn)
        {
            found.add(format!("{path}/wwn"), format!("`{wwn}` is no world-wide name: 16 hex digits"));
        }
    }
}

fn is_wwn(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn disk_target(disk: &Disk, path: &str, found: &mut Found) {
    let target = disk.target.dev.as_str();
    let path = format!("{path}/target/@dev");
    if target.is_empty()
        || target.contains('/')
        || target.chars().any(|c| c.is_control() || c.is_whitespace())
    {
        found.add(path, format!("{target:?} cannot name a disk"));
        return;
    }
    let placed_by_name = match disk.target.bus {
        Some(bus) => matches!(bus, DiskBus::Ide | DiskBus::Scsi | DiskBus::Sata | DiskBus::Fdc),
        None => ["hd", "sd", "fd"].iter().any(|prefix| target.starts_with(prefix)),
    };
    if placed_by_name && disk.place.address.is_none() && target_number(target).is_none() {
        found.add(
            path,
            format!("`{target}` says no place on the bus (as sda, sdb, …), and there is no <address>"),
        );
    }
}

fn disk_source(disk: &Disk, path: &str, found: &mut Found) {
    let removable = matches!(disk.device, DiskDevice::Cdrom | DiskDevice::Floppy);
    let Some(source) = disk.source.as_deref() else {
        if !removable {
            found.add(path, "element <source> is missing");
        }
        return;
    };
    let needed: &[(&str, &Option<String>)] = match disk.kind {
        SourceKind::File => &[("file", &source.file)],
        SourceKind::Block => &[("dev", &source.dev)],
        SourceKind::Dir => &[("dir", &source.dir)],
        SourceKind::Volume => &[("pool", &source.pool), ("volume", &source.volume)],
        SourceKind::Network => &[("protocol", &source.protocol)],
        SourceKind::Nvme | SourceKind::VhostUser | SourceKind::VhostVdpa => &[],
    };
    if disk.kind == SourceKind::Nvme && disk.nvme().is_none() {
        let message = "a namespace from 1 on and the PCI <address> of its controller are needed";
        found.add(format!("{path}/source"), message);
    }
    for (name, value) in needed {
        if value.as_deref().is_none_or(str::is_empty) && !removable {
            found.add(
                format!("{path}/source"),
                format!("attribute `{name}` is missing (the disk is of type `{}`)", disk.kind),
            );
        }
    }
    for path_text in [&source.file, &source.dev, &source.dir].into_iter().flatten() {
        if !path_text.is_empty() && (!path_text.starts_with('/') || path_text.chars().any(char::is_control)) {
            found.add(format!("{path}/source"), format!("{path_text:?} is no absolute path"));
        }
    }
}

fn controllers(devices: &Devices, found: &mut Found) {
    let mut seen = Seen::default();
    for (at, controller) in devices.controllers.iter().enumerate() {
        // A USB 2 controller and its companions share a number.
        let companion = controller.model.as_deref().is_some_and(|model| model.starts_with("ich9-"));
        let Some(index) = controller.index.filter(|_| !companion) else { continue };
        let path = nth("/domain/devices/controller", at, devices.controllers.len());
        let kind = controller.kind;
        seen.note(found, (kind, index), &format!("{path}/@index"), || {
            format!("{kind} controller {index} is given twice")
        });
    }
}

fn interfaces(devices: &Devices, found: &mut Found) {
    let mut names = Seen::default();
    for (at, interface) in devices.interfaces.iter().enumerate() {
        let path = nth("/domain/devices/interface", at, devices.interfaces.len());
        if let Some(mac) = interface.mac() {
            // Two may have one: the cards of a team do.
            if mac.is_multicast() {
                let message = format!("{mac} is a group's address and cannot be a device's");
                found.add(format!("{path}/mac/@address"), message);
            }
        }
        if let Some(target) = &interface.target {
            let path = format!("{path}/target/@dev");
            names.note(found, target.dev.as_str(), &path, || format!("`{}` is given twice", target.dev));
            if target.dev.is_empty() || target.dev.len() > 15 || target.dev.contains(['/', ' ', ':']) {
                found.add(
                    path,
                    format!(
                        "`{}` cannot name an interface: 1 to 15 characters without blanks, `/` and `:`",
                        target.dev
                    ),
                );
            }
        }
        interface_source(interface, &path, found);
    }
}

fn interface_source(interface: &Interface, path: &str, found: &mut Found) {
    let source = interface.source.as_deref();
    let needed = match interface.kind {
        InterfaceKind::Network => ("network", source.and_then(|source| source.network.as_deref())),
        InterfaceKind::Bridge => ("bridge", source.and_then(|source| source.bridge.as_deref())),
        InterfaceKind::Direct => ("dev", source.and_then(|source| source.dev.as_deref())),
        // passt makes its socket itself.
        InterfaceKind::VhostUser if interface.is_passt() => return,
        InterfaceKind::VhostUser => ("path", source.and_then(|source| source.path.as_deref())),
        InterfaceKind::User
        | InterfaceKind::Ethernet
        | InterfaceKind::Server
        | InterfaceKind::Client
        | InterfaceKind::Mcast
        | InterfaceKind::Internal
        | InterfaceKind::Hostdev
        | InterfaceKind::Udp
        | InterfaceKind::Vdpa
        | InterfaceKind::Null
        | InterfaceKind::Vds => return,
    };
    if needed.1.is_none_or(str::is_empty) {
        found.add(
            path,
            format!("<source {}='…'/> is missing (the interface is of type `{}`)", needed.0, interface.kind),
        );
    }
}

fn streams(devices: &Devices, found: &mut Found) {
    let lists = [
        ("serial", &devices.serials),
        ("parallel", &devices.parallels),
        ("console", &devices.consoles),
        ("channel", &devices.channels),
    ];
    for (name, list) in lists {
        for (at, device) in list.iter().enumerate() {
            let path = nth(&format!("/domain/devices/{name}"), at, list.len());
            let target = device.target.as_deref();
            let is_channel =
                name == "channel" && target.is_some_and(|target| target.kind.as_deref() == Some("virtio"));
            stream_source(device.kind, &device.sources, is_channel, &path, found);
            if name == "channel" && target.is_none_or(|target| target.kind.is_none()) {
                found.add(path, "a channel needs <target type='…'/>");
            }
        }
    }
    for (at, redirdev) in devices.redirdevs.iter().enumerate() {
        let path = nth("/domain/devices/redirdev", at, devices.redirdevs.len());
        stream_source(redirdev.kind, &redirdev.sources, false, &path, found);
    }
    for (at, card) in devices.smartcards.iter().enumerate() {
        if let Some(kind) = card.kind {
            let path = nth("/domain/devices/smartcard", at, devices.smartcards.len());
            stream_source(kind, &card.sources, false, &path, found);
        }
    }
    for (at, rng) in devices.rngs.iter().enumerate() {
        if let Some(kind) = rng.backend.kind {
            let path = format!("{}/backend", nth("/domain/devices/rng", at, devices.rngs.len()));
            stream_source(kind, &rng.backend.sources, false, &path, found);
        }
    }
    let mut names = Seen::default();
    for (at, channel) in devices.channels.iter().enumerate() {
        if let Some(name) = channel.channel_name() {
            let path = nth("/domain/devices/channel", at, devices.channels.len());
            names.note(found, name, &format!("{path}/target/@name"), || {
                format!("channel `{name}` is given twice")
            });
        }
    }
}

/// Where a stream leads to, of whatever device it is. A virtio channel's socket may be the daemon's to choose.
fn stream_source(kind: CharKind, sources: &[CharSource], is_channel: bool, path: &str, found: &mut Found) {
    let most = if kind == CharKind::Udp { 2 } else { 1 };
    if sources.len() > most {
        found.add(format!("{path}/source[{}]", most + 1), format!("type `{kind}` has no more than {most}"));
    }
    let has =
        |value: fn(&CharSource) -> &Option<String>| sources.iter().any(|source| value(source).is_some());
    for source in sources.iter().filter(|_| matches!(kind, CharKind::Tcp | CharKind::Unix)) {
        let Some(again) = source.foreign.tree("reconnect") else { continue };
        let path = format!("{path}/source/reconnect");
        if again.attribute("enabled") == Some("yes") {
            match again.attribute("timeout").map(str::parse::<u32>) {
                None => found.add(&path, "attribute `timeout` is missing"),
                Some(Ok(seconds)) if seconds > 0 => {}
                Some(_) => found.add(format!("{path}/@timeout"), "it is a number of seconds from 1"),
            }
        }
        let listens =
            source.mode == Some(CharMode::Bind) || (source.path.is_none() && kind == CharKind::Unix);
        if listens && again.attribute("enabled").is_some() {
            found.add(path, "who listens (mode='bind') connects to nobody, not again either");
        }
    }
    let connects = |source: &CharSource| source.mode != Some(CharMode::Bind) && source.service.is_some();
    let missing = match kind {
        CharKind::Dev | CharKind::File | CharKind::Pipe if !has(|source| &source.path) => "path",
        CharKind::Unix if !has(|source| &source.path) && !is_channel => "path",
        CharKind::Tcp if !has(|source| &source.host) => "host",
        CharKind::Tcp if !has(|source| &source.service) => "service",
        CharKind::Udp if !sources.iter().any(connects) => "service",
        CharKind::SpicePort if !has(|source| &source.channel) => "channel",
        CharKind::Null
        | CharKind::Vc
        | CharKind::Pty
        | CharKind::Dev
        | CharKind::File
        | CharKind::Pipe
        | CharKind::Stdio
        | CharKind::Udp
        | CharKind::Tcp
        | CharKind::Unix
        | CharKind::SpiceVmc
        | CharKind::SpicePort
        | CharKind::Nmdm
        | CharKind::QemuVdagent
        | CharKind::Dbus => return,
    };
    found.add(path, format!("<source {missing}='…'/> is missing (it is of type `{kind}`)"));
}

fn screen(graphics: &Graphics, path: &str, found: &mut Found) {
    if let (Some(socket), Some(listen)) = (&graphics.socket, graphics.listens.first())
        && listen.socket.as_ref().is_some_and(|other| other != socket)
    {
        found.add(format!("{path}/listen/@socket"), format!("it is another than the screen's own, {socket}"));
    }
    let ports = [("port", graphics.port), ("tlsPort", graphics.tls_port), ("websocket", graphics.websocket)];
    for (name, port) in ports {
        if let Some(port) = port.filter(|port| !(-1..=65535).contains(port)) {
            found.add(format!("{path}/@{name}"), format!("{port} is no port"));
        }
    }
}

fn aliases(devices: &Devices, found: &mut Found) {
    let mut seen = Seen::default();
    devices.each_place(&mut |name, at, count, place| {
        // The first console is the first serial port and has its alias.
        let Some(alias) = place.alias.as_ref().filter(|alias| alias.is_users() && name != "console") else {
            return;
        };
        let path = format!("{}/alias/@name", nth(&format!("/domain/devices/{name}"), at, count));
        seen.note(found, alias.name.as_str(), &path, || format!("alias `{}` is given twice", alias.name));
    });
}
