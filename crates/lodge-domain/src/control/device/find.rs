//! Which device of a document is meant.

use lodge_model::domain::Domain;
use lodge_model::domain::address::{Address, Place};
use lodge_model::domain::chardev::CharDevice;
use lodge_model::domain::devices::Devices;
use lodge_model::domain::filesystem::Filesystem;
use lodge_model::domain::hostdev::Hostdev;
use lodge_model::domain::interface::Interface;
use lodge_model::domain::lease::Lease;
use lodge_model::domain::memory_module::MemoryModule;
use lodge_model::domain::shmem::Shmem;
use lodge_model::domain::smartcard::Smartcard;
use lodge_model::domain::tpm::Tpm;

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
    Hostdev(usize),
    Filesystem(usize),
    Lease(usize),
    Tpm(usize),
    Shmem(usize),
    Memory(usize),
    Smartcard(usize),
    Iommu,
}

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
        other => of_the_host(all, one, other).and_then(|found| found.ok_or_else(absent)),
    }
}

/// Devices that name something of the host's; these are known by what they name.
fn of_the_host(all: &Devices, one: &Devices, element: &str) -> Result<Option<Found>, Refusal> {
    macro_rules! find {
        ($list:ident, $found:ident, $same:expr) => {
            one.$list.first().and_then(|wanted| {
                let at = all
                    .$list
                    .iter()
                    .position(|other| $same(wanted, other) && fits(&wanted.place, &other.place));
                at.map(Found::$found)
            })
        };
    }
    Ok(match element {
        "hostdev" => find!(hostdevs, Hostdev, |a: &Hostdev, b: &Hostdev| a.names_same_device(b)),
        "filesystem" => find!(filesystems, Filesystem, |a: &Filesystem, b: &Filesystem| a.tag() == b.tag()),
        "lease" => one.leases.first().and_then(|wanted| {
            let same = |other: &Lease| other.key == wanted.key && other.lockspace == wanted.lockspace;
            all.leases.iter().position(same).map(Found::Lease)
        }),
        "tpm" => find!(tpms, Tpm, |a: &Tpm, b: &Tpm| a.backend.kind == b.backend.kind),
        "shmem" => find!(shmems, Shmem, |a: &Shmem, b: &Shmem| a.name == b.name && a.kind() == b.kind()),
        "memory" => find!(memory_modules, Memory, |a: &MemoryModule, b: &MemoryModule| {
            let node = a.target.node.is_none() || a.target.node == b.target.node;
            node && a.model == b.model && a.source == b.source && a.target.size == b.target.size
        }),
        "smartcard" => find!(smartcards, Smartcard, |a: &Smartcard, b: &Smartcard| a.mode == b.mode),
        "iommu" => {
            let models = [one, all].map(|devices| devices.iommu.as_deref().map(|iommu| iommu.model));
            (models[0].is_some() && models[0] == models[1]).then_some(Found::Iommu)
        }
        other => {
            let message = format!("persistent detach of device '{other}' is not supported");
            return Err(Refusal::unsupported(message));
        }
    })
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
        redirdevs "redirdev" Redirdev, rngs "rng" Rng, watchdogs "watchdog" Watchdog, hostdevs "hostdev" Hostdev,
        filesystems "filesystem" Filesystem, tpms "tpm" Tpm, shmems "shmem" Shmem, memory_modules "memory" Memory,
        smartcards "smartcard" Smartcard,
    );
    if devices.iommu.as_ref().is_some_and(|iommu| is(&iommu.place)) {
        return Some(("iommu", Found::Iommu));
    }
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
        Found::Hostdev(at) => devices.hostdevs.get(*at).map(|device| &device.place),
        Found::Filesystem(at) => devices.filesystems.get(*at).map(|device| &device.place),
        Found::Tpm(at) => devices.tpms.get(*at).map(|device| &device.place),
        Found::Shmem(at) => devices.shmems.get(*at).map(|device| &device.place),
        Found::Memory(at) => devices.memory_modules.get(*at).map(|device| &device.place),
        Found::Smartcard(at) => devices.smartcards.get(*at).map(|device| &device.place),
        Found::Iommu => devices.iommu.as_deref().map(|device| &device.place),
        Found::Lease(_) => None,
    }
}
