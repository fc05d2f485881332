//! Changing a device in its place.

use lodge_model::domain::Domain;
use lodge_model::domain::disk::{Disk, DiskDevice, SourceKind};
use lodge_model::domain::graphics::Graphics;
use lodge_model::domain::interface::{Interface, InterfaceKind, LinkState};
use serde_json::json;

use super::find::{self, Found};
use super::{Given, medium};
use crate::control::tune::nic;
use crate::control::{Refusal, Running, Sort};

/// How to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpdateOptions {
    /// A locked tray is opened all the same.
    pub force: bool,
}

/// Puts `given` in the place of the device it means in a definition.
pub(super) fn in_document(domain: &mut Domain, given: &Given) -> Result<(), Refusal> {
    let Given { element, devices } = given;
    match element.as_str() {
        "disk" => {
            let Some(disk) = devices.disks.first() else { return Ok(()) };
            let at = domain.devices.disks.iter().position(|other| other.target.dev == disk.target.dev);
            let at = at.ok_or_else(|| Refusal::arg(format!("target {} doesn't exist.", disk.target.dev)))?;
            let old = &domain.devices.disks[at];
            let address = disk.place.address.clone().or_else(|| old.place.address.clone());
            let bus = disk.target.bus.or(old.target.bus);
            let mut new = disk.clone();
            new.place.address = address;
            new.target.bus = bus;
            domain.devices.disks[at] = new;
            Ok(())
        }
        "interface" => {
            let Found::Interface(at) = find::find(domain, given)? else { return Ok(()) };
            let Some(card) = devices.interfaces.first() else { return Ok(()) };
            let old = &domain.devices.interfaces[at];
            let mut new = card.clone();
            new.place.address = new.place.address.or_else(|| old.place.address.clone());
            domain.devices.interfaces[at] = new;
            Ok(())
        }
        "graphics" => {
            let Some(screen) = devices.graphics.first() else { return Ok(()) };
            let at = screen_like(domain, screen)?;
            domain.devices.graphics[at] = screen.clone();
            Ok(())
        }
        other => Err(Refusal::unsupported(format!("persistent update of device '{other}' is not supported"))),
    }
}

fn screen_like(domain: &Domain, screen: &Graphics) -> Result<usize, Refusal> {
    let at = domain.devices.graphics.iter().position(|other| other.kind == screen.kind);
    at.ok_or_else(|| {
        Refusal::new(
            Sort::DeviceMissing,
            format!("cannot find existing graphics device to modify of type '{}'", screen.kind),
        )
    })
}

/// Changes a device of the running guest.
pub(super) async fn live(running: &mut Running, given: Given, options: UpdateOptions) -> Result<(), Refusal> {
    match given.element.as_str() {
        "disk" => disk(running, &given, options).await,
        "interface" => interface(running, &given).await,
        "graphics" => graphics(running, &given).await,
        other => Err(Refusal::unsupported(format!("live update of device '{other}' is not supported"))),
    }
}

async fn disk(running: &mut Running, given: &Given, options: UpdateOptions) -> Result<(), Refusal> {
    let Some(wanted) = given.devices.disks.first() else { return Ok(()) };
    let target = &wanted.target.dev;
    let old = running.document.devices.disks.iter().find(|disk| disk.target.dev == *target);
    let old = old.ok_or_else(|| Refusal::internal(format!("disk '{target}' not found")))?;
    if let Some(bus) = wanted.target.bus.filter(|bus| Some(*bus) != old.target.bus) {
        return Err(Refusal::unsupported(format!("cannot modify field 'bus' of the disk: {bus}")));
    }
    if wanted.device != old.device {
        return Err(Refusal::unsupported("cannot modify field 'device' of the disk"));
    }
    if matches!(old.device, DiskDevice::Cdrom | DiskDevice::Floppy) {
        let same = is_same_source(wanted, old) && wanted.source.is_some() == old.source.is_some();
        return if same { Ok(()) } else { medium::change(running, given, options.force).await };
    }
    if !is_same_source(wanted, old) {
        return Err(Refusal::unsupported("cannot modify field 'source' of the disk"));
    }
    if is_like(wanted, old) {
        return Ok(());
    }
    Err(Refusal::unsupported(
        "changing a disk of a running guest other than a drive's medium is not supported yet",
    ))
}

fn is_same_source(wanted: &Disk, old: &Disk) -> bool {
    let served =
        |disk: &Disk| disk.source.as_ref().filter(|_| disk.kind == SourceKind::Network).map(|s| s.address());
    wanted.path() == old.path() && served(wanted) == served(old)
}

fn is_like(wanted: &Disk, old: &Disk) -> bool {
    wanted.readonly == old.readonly && wanted.shareable == old.shareable && wanted.serial == old.serial
}

async fn interface(running: &mut Running, given: &Given) -> Result<(), Refusal> {
    let Found::Interface(at) = find::find(&running.document, given)? else { return Ok(()) };
    let Some(wanted) = given.devices.interfaces.first() else { return Ok(()) };
    let old = running.document.devices.interfaces[at].clone();
    refuse_changes(wanted, &old)?;
    let up = |card: &Interface| card.link.as_ref().is_none_or(|link| link.state == LinkState::Up);
    if up(wanted) != up(&old) {
        let alias = old.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
        running.tell_qemu("set_link", json!({ "name": alias, "up": up(wanted) })).await?;
    }
    running.document.devices.interfaces[at].link.clone_from(&wanted.link);
    if wanted.bandwidth != old.bandwidth {
        nic::limit(running, at, wanted.bandwidth.clone()).await?;
    }
    if wanted.filterref != old.filterref {
        let card = Interface { filterref: wanted.filterref.clone(), ..old };
        running.shared.ports.nics.filter(running.id, &running.document, &card).await?;
        running.document.devices.interfaces[at].filterref = card.filterref;
    }
    Ok(())
}

fn refuse_changes(wanted: &Interface, old: &Interface) -> Result<(), Refusal> {
    let cannot = |what: &str| Err(Refusal::unsupported(format!("cannot modify network device {what}")));
    // A network's bridge is the daemon's to say; a mode that is not said is the one there is.
    let source = |card: &Interface| {
        let source = card.source.as_deref().cloned().unwrap_or_default();
        let bridge = source.bridge.filter(|_| card.kind == InterfaceKind::Bridge);
        let mode = source.mode.or_else(|| old.source.as_deref()?.mode.clone());
        (source.network, source.dev, mode, bridge, source.path, source.address, source.port)
    };
    if wanted.kind != old.kind || source(wanted) != source(old) {
        return cannot("source of a running guest yet");
    }
    if wanted.model.is_some() && wanted.model() != old.model() {
        return cannot("model");
    }
    if wanted.place.address.is_some() && wanted.place.address != old.place.address {
        return cannot("guest PCI address");
    }
    if wanted.mtu != old.mtu && wanted.mtu.is_some() {
        return cannot("MTU");
    }
    Ok(())
}

async fn graphics(running: &mut Running, given: &Given) -> Result<(), Refusal> {
    let Some(wanted) = given.devices.graphics.first() else { return Ok(()) };
    let at = screen_like(&running.document, wanted)?;
    let old = running.document.devices.graphics[at].clone();
    let fixed = wanted.port.is_some_and(|port| port > 0 && Some(port) != old.port);
    if fixed && !wanted.autoport.is_some_and(lodge_model::xml::YesNo::is_yes) {
        return Err(Refusal::unsupported("cannot change port settings on vnc graphics"));
    }
    if wanted.passwd != old.passwd {
        let password = wanted.passwd.clone().unwrap_or_default();
        let protocol = old.kind.as_str();
        running.monitor.set_password(protocol, &password).await?;
        running.document.devices.graphics[at].passwd.clone_from(&wanted.passwd);
    }
    Ok(())
}
