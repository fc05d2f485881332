//! The live document: the definition and what this run added to it.

use lodge_model::Bytes;
use lodge_model::domain::Domain;
use lodge_model::domain::address::{Alias, Place};
use lodge_model::domain::chardev::CharSource;
use lodge_model::domain::devices::MemballoonModel;
use lodge_model::domain::disk::{Disk, DiskBus, DiskDevice, DiskDriver, DiskSource, DiskTarget, SourceKind};
use lodge_model::domain::graphics::{GraphicsKind, Listen, ListenKind};
use lodge_model::domain::interface::InterfaceSource;
use lodge_model::domain::memory::Memory;
use lodge_qemu::qmp::{Balloon, Chardev};

use super::steps::{Running, Seed};
use crate::define::SEED_ALIAS;
use crate::ports::{AttachedNic, SeedDisk};
use crate::record::Record;

/// Puts in what is known once QEMU is there: number, interfaces, the screens' kind, the seed.
pub(crate) fn complete(document: &mut Domain, record: &Record, nics: Option<&[AttachedNic]>, seed: &Seed) {
    document.id = i32::try_from(record.domid).ok();
    lodge_model::domain::resctrl::show_names(document);
    screens(document, record);
    for (interface, nic) in document.devices.interfaces.iter_mut().zip(nics.unwrap_or_default()) {
        if let Some(dev) = &nic.ifname {
            interface.target.get_or_insert_default().dev.clone_from(dev);
        }
        if let Some(bridge) = &nic.bridge {
            let source: &mut InterfaceSource = interface.source.get_or_insert_default();
            source.bridge = Some(bridge.clone());
        }
    }
    if let Seed::Written(seed) = seed {
        add_seed(document, seed);
    }
}

/// The pseudo-terminals that QEMU has opened. The first console is the first serial port.
pub(crate) fn terminals(document: &mut Domain, running: &mut Running, chardevs: &[Chardev]) {
    let pty_of = |alias: &str| {
        let label = format!("char{alias}");
        chardevs.iter().find(|chardev| chardev.label == label).and_then(Chardev::pty).map(str::to_owned)
    };
    let devices = &mut document.devices;
    let lists = [
        ("serial", &mut devices.serials),
        ("parallel", &mut devices.parallels),
        ("channel", &mut devices.channels),
    ];
    for (word, list) in lists {
        for (at, device) in list.iter_mut().enumerate() {
            let Some(pty) = pty_of(&format!("{word}{at}")) else { continue };
            device.sources = vec![CharSource { path: Some(pty), ..CharSource::default() }];
        }
    }
    let first = devices.serials.first().and_then(|serial| serial.source()?.path.clone());
    for (at, console) in devices.consoles.iter_mut().enumerate() {
        let own = pty_of(&format!("console{at}"));
        if let Some(pty) = own.or_else(|| first.clone().filter(|_| at == 0)) {
            console.tty = Some(pty.clone());
            console.sources = vec![CharSource { path: Some(pty), ..CharSource::default() }];
        }
    }
    let console = devices.consoles.first().and_then(|console| console.source()?.path.clone());
    running.record.console = first.or(console).map(Into::into);
}

/// Whether QEMU was told to take memory back by the balloon.
pub(crate) fn is_to_be_smaller(document: &Domain) -> bool {
    let balloon = document.devices.memballoon.as_deref();
    balloon.is_some_and(|balloon| balloon.model != MemballoonModel::None)
        && document.current_memory.as_ref().is_some_and(|now| now.size < document.memory.size)
}

/// The memory that the guest has. What changes it later is heard.
pub(crate) fn size(document: &mut Domain, told: Option<Balloon>) {
    if let Some(Balloon { actual }) = told {
        document.current_memory = Some(Memory::from(Bytes(actual.min(document.memory.size.0))));
    }
}

/// A screen that is served otherwise than written shows as what it is.
fn screens(document: &mut Domain, record: &Record) {
    let mut displays = record.displays.iter();
    for graphics in &mut document.devices.graphics {
        if !matches!(graphics.kind, GraphicsKind::Spice | GraphicsKind::Vnc) || graphics.port.is_none() {
            continue;
        }
        let Some(display) = displays.next() else { continue };
        if graphics.kind == GraphicsKind::Spice && display.kind == "vnc" {
            graphics.kind = GraphicsKind::Vnc;
            (graphics.image, graphics.jpeg, graphics.zlib, graphics.playback) = (None, None, None, None);
            (graphics.streaming, graphics.mouse, graphics.clipboard, graphics.filetransfer) =
                (None, None, None, None);
            (graphics.tls_port, graphics.default_mode) = (None, None);
            graphics.channels.clear();
        }
        graphics.listen = Some(display.listen.clone());
        match graphics.listens.first_mut() {
            Some(listen) => listen.address = Some(display.listen.clone()),
            None => graphics.listens.push(Listen {
                kind: ListenKind::Address,
                address: Some(display.listen.clone()),
                ..Listen::default()
            }),
        }
    }
}

/// The seed shows as a read-only disk that is gone with the run; QEMU has it by that alias.
fn add_seed(document: &mut Domain, seed: &SeedDisk) {
    let source = DiskSource { file: Some(seed.path.display().to_string()), ..DiskSource::default() };
    let known =
        |disk: &Disk| disk.source.as_deref().and_then(|known| known.file.as_ref()) == source.file.as_ref();
    if document.devices.disks.iter().any(known) {
        return;
    }
    let taken = |dev: &String| document.devices.disks.iter().any(|disk| disk.target.dev == *dev);
    let Some(dev) = ('a'..='z').map(|letter| format!("vd{letter}")).find(|dev| !taken(dev)) else { return };
    let driver =
        DiskDriver { name: Some("qemu".to_owned()), format: Some("raw".to_owned()), ..DiskDriver::default() };
    document.devices.disks.push(Disk {
        kind: SourceKind::File,
        device: DiskDevice::Disk,
        driver: Some(Box::new(driver)),
        source: Some(Box::new(source)),
        target: DiskTarget { dev, bus: Some(DiskBus::Virtio), ..DiskTarget::default() },
        readonly: true,
        place: Place { alias: Some(Alias::new(SEED_ALIAS)), ..Place::default() },
        ..Disk::default()
    });
}
