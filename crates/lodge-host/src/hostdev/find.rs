//! Which devices of the host's a document means. Looks, and changes nothing.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use lodge_model::domain::Domain;
use lodge_model::domain::address::{Alias, Place};
use lodge_model::domain::disk::{Disk, SourceKind};
use lodge_model::domain::graphics::{Graphics, Input, InputKind};
use lodge_model::domain::hostdev::{HostAddress, Hostdev, HostdevKind, HostdevMode};
use lodge_model::domain::tpm::{Tpm, TpmBackendKind};
use lodge_model::xml::YesNo;

use super::error::{Fault, HostdevError};
use super::function::{self, Card};
use super::note::Rebound;
use super::taken::{Key, Wish};
use super::{Begin, pci, scsi, usb};
use crate::security;

/// The host's TPM where the document names none (libvirt's choice).
const TPM: &str = "/dev/tpm0";
/// Major number of input devices (Documentation/admin-guide/devices.txt).
const INPUT: u32 = 13;
/// Major number of graphics cards' nodes.
const DRM: u32 = 226;

/// A device of a document, found.
#[derive(Debug)]
pub(super) struct Found {
    pub element: String,
    pub alias: String,
    /// What nobody else may have meanwhile.
    pub wishes: Vec<Wish>,
    pub way: Way,
    /// What its card is to set for it, where it is a virtual function.
    pub card: Option<Card>,
}

/// How QEMU gets it.
#[derive(Debug)]
pub(super) enum Way {
    /// Opened for it; where it is, for the live document.
    Usb { path: PathBuf, bus: u32, device: u32 },
    /// Opened for it.
    Open { path: PathBuf },
    /// QEMU opens it by name.
    Node { path: PathBuf, major: u32 },
    /// QEMU asks VFIO for it.
    Vfio { group: u32, rebound: Option<Rebound> },
    /// Opened for it, with the file that cancels what it does.
    Tpm { path: PathBuf, cancel: PathBuf },
    /// The guest's memory is kept from the host, by this device if by one.
    Security { device: Option<PathBuf> },
    /// It is not there, which the document lets be.
    Missing,
}

/// All that `document` asks for, each found or not. Of each fault the first is told.
pub(super) fn each<'a>(
    root: &'a Path,
    document: &'a Domain,
    begin: Begin,
) -> impl Iterator<Item = Result<Found, HostdevError>> + 'a {
    let devices = &document.devices;
    let hostdevs = devices.hostdevs.iter().enumerate().filter(|(_, hostdev)| is_given(hostdev));
    let hostdevs = hostdevs.map(move |(at, hostdev)| {
        found(("hostdev", at), &hostdev.place, self::hostdev(root, hostdev, begin))
    });
    let cards = devices.interfaces.iter().enumerate().filter_map(move |(at, interface)| {
        let hostdev = interface.as_hostdev()?;
        let found = found(("interface", at), &hostdev.place, self::hostdev(root, &hostdev, begin));
        Some(found.and_then(|found| function::of_interface(root, interface, found)))
    });
    let inputs =
        devices.inputs.iter().enumerate().filter_map(move |(at, input)| {
            Some(found(("input", at), &input.place, self::input(root, input)?))
        });
    let tpms = devices.tpms.iter().enumerate();
    let tpms = tpms.filter(|(_, tpm)| tpm.backend.kind == TpmBackendKind::Passthrough);
    let tpms = tpms.map(move |(at, tpm)| found(("tpm", at), &tpm.place, Ok(self::tpm(root, tpm))));
    let screens = devices.graphics.iter().enumerate().filter(|(_, screen)| screen.needs_render_node());
    let screens = screens.map(move |(at, screen)| {
        // A screen has no alias of its own.
        let alias = Some(Alias::new(format!("graphics{at}")));
        let place = Place { alias, ..Place::default() };
        found(("graphics", at), &place, self::render_node(root, screen))
    });
    let disks = devices.disks.iter().enumerate().filter(|(_, disk)| disk.kind == SourceKind::Nvme);
    let disks = disks.map(move |(at, disk)| found(("disk", at), &disk.place, self::namespace(root, disk)));
    let security = document.security().ok().flatten().map(|security| self::security(root, security.kind()));
    cards.chain(hostdevs).chain(inputs).chain(tpms).chain(screens).chain(disks).chain(security)
}

type Parts = (Vec<Wish>, Way);

fn found(
    (name, at): (&str, usize),
    place: &Place,
    parts: Result<Parts, Fault>,
) -> Result<Found, HostdevError> {
    let element = format!("/domain/devices/{name}[{}]", at + 1);
    let alias = place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
    match parts {
        Ok((wishes, way)) => Ok(Found { element, alias, wishes, way, card: None }),
        Err(fault) => Err(HostdevError { element, fault }),
    }
}

/// Whether it is of this host, and something a guest can have; the rest is refused with the command line.
fn is_given(hostdev: &Hostdev) -> bool {
    hostdev.mode == HostdevMode::Subsystem && !hostdev.is_iscsi()
}

fn hostdev(root: &Path, hostdev: &Hostdev, begin: Begin) -> Result<Parts, Fault> {
    let source = &hostdev.source;
    match (hostdev.kind, &source.address) {
        (HostdevKind::Usb, _) => usb::find(root, source, begin),
        (HostdevKind::Pci, Some(HostAddress::Pci(address))) => {
            let managed = hostdev.managed == Some(YesNo::Yes);
            pci::find(root, pci::Wanted { driver: hostdev.driver.model.as_deref(), managed }, address)
        }
        (HostdevKind::Mdev, Some(HostAddress::Mdev(address))) => {
            let uuid = address.uuid.ok_or(Fault::Unnamed { what: "the uuid is missing" })?;
            pci::find_mediated(root, uuid.0)
        }
        (HostdevKind::Mdev, _) => Err(Fault::Unnamed { what: "<address uuid='…'/> is missing" }),
        (HostdevKind::Scsi, Some(HostAddress::Scsi(address))) => scsi::find(root, hostdev, address),
        (HostdevKind::Pci | HostdevKind::Scsi, _) => Err(Fault::Unnamed { what: "<address> is missing" }),
        (HostdevKind::ScsiHost, _) => scsi::find_target(root, source),
        (HostdevKind::Storage | HostdevKind::Misc | HostdevKind::Net, _) => {
            Err(Fault::Unnamed { what: "devices of this type are containers'" })
        }
    }
}

/// It is no device, and taken by nobody; but the host has it or has it not.
fn security(root: &Path, kind: &'static str) -> Result<Found, HostdevError> {
    let element = "/domain/launchSecurity".to_owned();
    if let Some(lacks) = security::lacking(root, kind) {
        return Err(HostdevError { element, fault: Fault::NoSecurity { kind, lacks } });
    }
    let device = (kind != "tdx").then(|| root.join(security::DEVICE));
    let alias = "launchSecurity".to_owned();
    Ok(Found { element, alias, wishes: Vec::new(), way: Way::Security { device }, card: None })
}

/// QEMU drives the controller itself, all of it: a second namespace of the same one cannot be another disk.
fn namespace(root: &Path, disk: &Disk) -> Result<Parts, Fault> {
    let what = "<source> needs a namespace and the <address> of its controller";
    let namespace = disk.nvme().ok_or(Fault::Unnamed { what })?;
    pci::find(root, pci::Wanted { driver: None, managed: namespace.managed }, &namespace.controller)
}

/// Several guests may name the same one: they take turns at it, by the keys that toggle the grab.
fn input(root: &Path, input: &Input) -> Option<Result<Parts, Fault>> {
    let source = input.source.as_deref();
    let path = match input.kind {
        InputKind::Evdev => source.and_then(|source| source.dev.as_deref()),
        InputKind::Passthrough => source.and_then(|source| source.evdev.as_deref()),
        InputKind::Mouse | InputKind::Tablet | InputKind::Keyboard => return None,
    };
    let path = path.ok_or(Fault::Unnamed { what: "<source> names no event device" });
    Some(path.map(|path| (Vec::new(), Way::Node { path: below(root, path), major: INPUT })))
}

/// What draws for screens is shared: each process has a context of its own in it.
fn render_node(root: &Path, screen: &Graphics) -> Result<Parts, Fault> {
    let named = screen.render_node().map(|path| below(root, path));
    let nodes = || std::fs::read_dir(root.join("dev/dri")).into_iter().flatten().flatten();
    let is_one = |entry: &DirEntry| entry.file_name().to_string_lossy().starts_with("renderD");
    let first = || nodes().filter(is_one).map(|entry| entry.path()).min();
    let path = named.or_else(first).ok_or(Fault::NoRenderNode)?;
    Ok((Vec::new(), Way::Node { path, major: DRM }))
}

fn tpm(root: &Path, tpm: &Tpm) -> Parts {
    let device = tpm.backend.device.as_ref().and_then(|device| device.path.as_deref()).unwrap_or(TPM);
    let name = Path::new(device).file_name().unwrap_or_default();
    // TPM 2.0 has no such file; its commands are cancelled through the device itself (virTPMCreateCancelPath).
    let classes = ["sys/class/tpm", "sys/class/misc"];
    let cancel = classes.map(|class| root.join(class).join(name).join("device/cancel"));
    let cancel = cancel.into_iter().find(|path| path.exists()).unwrap_or_else(|| root.join("dev/null"));
    let wish = Wish { key: Key::Tpm(PathBuf::from(device)), shareable: false };
    (vec![wish], Way::Tpm { path: below(root, device), cancel })
}

/// A path of the host's, below another root.
pub(super) fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
