//! Which device of a document is meant.

use lodge_model::domain::Domain;
use lodge_model::domain::address::{Address, Place};
use lodge_model::domain::chardev::CharDevice;
use lodge_model::domain::interface::Interface;
use lodge_model::xml::ForeignItem;

use super::Given;
use crate::control::{Refusal, Sort};

/// A device of a document: the list it is in, and its place there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Disk(usize),
    Controller(usize),
    Interface(usize),
    Serial(usize),
    Parallel(usize),
    Console(usize),
    Channel(usize),
    Input(usize),
    Sound(usize),
    Video(usize),
    Redirdev(usize),
    Rng(usize),
    Watchdog(usize),
    Memballoon,
    Vsock,
    /// Of a kind that is kept as it is: the element's name and its text.
    Kept(&'static str, ForeignItem),
}

/// The lists of what is kept as it is and may come and go.
const KEPT: [&str; 8] = ["hostdev", "filesystem", "lease", "tpm", "shmem", "memory", "iommu", "smartcard"];

fn missing(text: impl Into<String>) -> Refusal {
    Refusal::new(Sort::DeviceMissing, text)
}

/// The device of `domain` that `given` means, found as libvirt finds it.
pub(super) fn find(domain: &Domain, given: &Given) -> Result<Found, Refusal> {
    let (all, one) = (&*domain.devices, &given.devices);
    let absent = || missing("device not present in domain configuration");
    match given.element.as_str() {
        "disk" => {
            let target = one.disks.first().map_or("", |disk| disk.target.dev.as_str());
            let at = all.disks.iter().position(|disk| disk.target.dev == target);
            at.map(Found::Disk).ok_or_else(|| missing(format!("no target device {target}")))
        }
        "interface" => interface(&all.interfaces, one.interfaces.first().ok_or_else(absent)?),
        "controller" => {
            let wanted = one.controllers.first().ok_or_else(absent)?;
            let same = |other: &lodge_model::domain::controller::Controller| {
                other.kind == wanted.kind && other.index.unwrap_or(0) == wanted.index.unwrap_or(0)
            };
            let at = all.controllers.iter().position(same);
            at.map(Found::Controller).ok_or_else(|| {
                missing(format!("controller {}:{} not found", wanted.kind, wanted.index.unwrap_or(0)))
            })
        }
        "serial" => character(&all.serials, one.serials.first()).map(Found::Serial).ok_or_else(absent),
        "parallel" => {
            character(&all.parallels, one.parallels.first()).map(Found::Parallel).ok_or_else(absent)
        }
        "console" => character(&all.consoles, one.consoles.first()).map(Found::Console).ok_or_else(absent),
        "channel" => character(&all.channels, one.channels.first()).map(Found::Channel).ok_or_else(absent),
        "input" => {
            let wanted = one.inputs.first().ok_or_else(absent)?;
            let same = |other: &lodge_model::domain::graphics::Input| {
                other.kind == wanted.kind
                    && (wanted.bus.is_none() || other.bus == wanted.bus)
                    && (wanted.model.is_none() || other.model == wanted.model)
                    && fits(&wanted.place, &other.place)
            };
            let at = all.inputs.iter().position(same);
            at.map(Found::Input).ok_or_else(|| missing("matching input device not found"))
        }
        "sound" => {
            let wanted = one.sounds.first().ok_or_else(absent)?;
            let at = all
                .sounds
                .iter()
                .position(|other| other.model == wanted.model && fits(&wanted.place, &other.place));
            at.map(Found::Sound).ok_or_else(absent)
        }
        "rng" => {
            let wanted = one.rngs.first().ok_or_else(absent)?;
            let at = all.rngs.iter().position(|other| {
                other.model == wanted.model
                    && other.backend == wanted.backend
                    && fits(&wanted.place, &other.place)
            });
            at.map(Found::Rng).ok_or_else(|| missing("no matching RNG device was found"))
        }
        "redirdev" => {
            let wanted = one.redirdevs.first().ok_or_else(absent)?;
            let at = all.redirdevs.iter().position(|other| fits(&wanted.place, &other.place));
            at.map(Found::Redirdev).ok_or_else(|| missing("no matching redirdev was found"))
        }
        "watchdog" => {
            let wanted = one.watchdogs.first().ok_or_else(absent)?;
            let at = all
                .watchdogs
                .iter()
                .position(|other| other.model == wanted.model && fits(&wanted.place, &other.place));
            at.map(Found::Watchdog).ok_or_else(|| missing("no matching watchdog was found"))
        }
        "vsock" if all.vsock.is_some() => Ok(Found::Vsock),
        "vsock" => Err(Refusal::new(Sort::Failed, "matching vsock device not found")),
        other => kept(domain, given, other),
    }
}

fn kept(domain: &Domain, given: &Given, element: &str) -> Result<Found, Refusal> {
    let Some(element) = KEPT.into_iter().find(|known| *known == element) else {
        return Err(Refusal::unsupported(format!(
            "persistent detach of device '{element}' is not supported"
        )));
    };
    let wanted = super::inventory::kept_list(&given.devices, element).and_then(|list| list.items().first());
    let all = super::inventory::kept_list(&domain.devices, element)
        .map(lodge_model::xml::Foreign::items)
        .unwrap_or_default();
    let found = wanted.and_then(|wanted| all.iter().find(|item| says(wanted, item)));
    found
        .map(|item| Found::Kept(element, item.clone()))
        .ok_or_else(|| missing("device not present in domain configuration"))
}

/// Whether `item` says all that `wanted` says (an address that was added does not count).
fn says(wanted: &ForeignItem, item: &ForeignItem) -> bool {
    let tree = |item: &ForeignItem| match item {
        ForeignItem::Element { xml, .. } => lodge_model::xml::Kept::parse(xml),
        _ => None,
    };
    let (Some(wanted), Some(item)) = (tree(wanted), tree(item)) else { return false };
    wanted.attributes.iter().all(|pair| item.attributes.contains(pair))
        && wanted.children.iter().all(|child| item.children.contains(child))
}

/// libvirt: by MAC address, and where one is said by address and alias.
fn interface(all: &[Interface], wanted: &Interface) -> Result<Found, Refusal> {
    let same = |other: &&Interface| {
        wanted.mac().is_none_or(|mac| other.mac() == Some(mac)) && fits(&wanted.place, &other.place)
    };
    let mut found = all.iter().enumerate().filter(|(_, other)| same(other));
    let (first, second) = (found.next(), found.next());
    let mac = wanted.mac().map(|mac| mac.to_string()).unwrap_or_default();
    match (first, second) {
        (Some((at, _)), None) => Ok(Found::Interface(at)),
        (Some(_), Some(_)) => {
            Err(Refusal::new(Sort::Failed, format!("multiple devices matching MAC address {mac} found"))
                .of_domain())
        }
        (None, _) => {
            let address = match &wanted.place.address {
                Some(Address::Pci(pci)) => {
                    format!("{:04x}:{:02x}:{:02x}.{}", pci.domain, pci.bus, pci.slot, pci.function)
                }
                _ => "(<null>)".to_owned(),
            };
            let alias = wanted.place.alias.as_ref().map_or("(<null>)", |alias| alias.name.as_str());
            Err(missing(format!(
                "no device found at address '{address}' matching MAC address '{mac}' and alias '{alias}'"
            ))
            .of_domain())
        }
    }
}

/// Whether a device at `is` is one that was asked for at `wanted`.
fn fits(wanted: &Place, is: &Place) -> bool {
    let alias = wanted.alias.as_ref().is_none_or(|alias| is.alias.as_ref() == Some(alias));
    alias && (wanted.address.is_none() || wanted.address == is.address)
}

fn character(all: &[CharDevice], wanted: Option<&CharDevice>) -> Option<usize> {
    let wanted = wanted?;
    let port = |device: &CharDevice| device.target.as_deref().and_then(|target| target.port);
    all.iter().position(|other| {
        other.kind == wanted.kind
            && (port(wanted).is_none() || port(other) == port(wanted))
            && (wanted.channel_name().is_none() || other.channel_name() == wanted.channel_name())
            && fits(&wanted.place, &other.place)
    })
}

/// The device with this alias, and its element's name.
pub(super) fn by_alias(domain: &Domain, alias: &str) -> Option<(&'static str, Found)> {
    let devices = &*domain.devices;
    let is = |place: &Place| place.alias.as_ref().is_some_and(|known| known.name == alias);
    macro_rules! look {
        ($($list:ident $word:literal $found:ident),* $(,)?) => {
            $(if let Some(at) = devices.$list.iter().position(|device| is(&device.place)) {
                return Some(($word, Found::$found(at)));
            })*
        };
    }
    look!(
        disks "disk" Disk, controllers "controller" Controller, interfaces "interface" Interface,
        serials "serial" Serial, parallels "parallel" Parallel, consoles "console" Console,
        channels "channel" Channel, inputs "input" Input, sounds "sound" Sound, videos "video" Video,
        redirdevs "redirdev" Redirdev, rngs "rng" Rng, watchdogs "watchdog" Watchdog,
    );
    if devices.memballoon.as_ref().is_some_and(|balloon| is(&balloon.place)) {
        return Some(("memballoon", Found::Memballoon));
    }
    devices.vsock.as_ref().is_some_and(|vsock| is(&vsock.place)).then_some(("vsock", Found::Vsock))
}

/// A device's place in the guest.
pub(super) fn place<'a>(domain: &'a Domain, found: &Found) -> Option<&'a Place> {
    let devices = &*domain.devices;
    match found {
        Found::Disk(at) => devices.disks.get(*at).map(|device| &device.place),
        Found::Controller(at) => devices.controllers.get(*at).map(|device| &device.place),
        Found::Interface(at) => devices.interfaces.get(*at).map(|device| &device.place),
        Found::Serial(at) => devices.serials.get(*at).map(|device| &device.place),
        Found::Parallel(at) => devices.parallels.get(*at).map(|device| &device.place),
        Found::Console(at) => devices.consoles.get(*at).map(|device| &device.place),
        Found::Channel(at) => devices.channels.get(*at).map(|device| &device.place),
        Found::Input(at) => devices.inputs.get(*at).map(|device| &device.place),
        Found::Sound(at) => devices.sounds.get(*at).map(|device| &device.place),
        Found::Video(at) => devices.videos.get(*at).map(|device| &device.place),
        Found::Redirdev(at) => devices.redirdevs.get(*at).map(|device| &device.place),
        Found::Rng(at) => devices.rngs.get(*at).map(|device| &device.place),
        Found::Watchdog(at) => devices.watchdogs.get(*at).map(|device| &device.place),
        Found::Memballoon => devices.memballoon.as_deref().map(|device| &device.place),
        Found::Vsock => devices.vsock.as_deref().map(|device| &device.place),
        Found::Kept(..) => None,
    }
}
