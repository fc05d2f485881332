//! The host's devices: what their sort does not have goes, SCSI units get a place on a controller.

use crate::domain::address::{Address, DriveAddress};
use crate::domain::controller::{Controller, ControllerKind};
use crate::domain::devices::Devices;
use crate::domain::disk::DiskBus;
use crate::domain::hostdev::{Hostdev, HostdevDriver, HostdevKind, HostdevModel};
use crate::xml::{OnOff, YesNo};

/// Units that libvirt puts on a SCSI bus by itself (SCSI_NARROW_BUS_MAX_CONT_UNIT).
const UNITS: u32 = 7;
/// No machine has more controllers.
const CONTROLLERS_MAX: u32 = 256;

/// Completes the host's devices.
pub(super) fn complete(devices: &mut Devices) {
    devices.hostdevs.iter_mut().for_each(one);
    for at in 0..devices.hostdevs.len() {
        if devices.hostdevs[at].is_scsi() && devices.hostdevs[at].place.address.is_none() {
            let free = next_unit(devices);
            devices.hostdevs[at].place.address = free.map(Address::Drive);
        }
    }
}

/// Drops what the sort of device does not have, as libvirt's parser passes over it.
fn one(hostdev: &mut Hostdev) {
    hostdev.managed.get_or_insert(YesNo::No);
    let kind = hostdev.kind;
    let is_shown = matches!(kind, HostdevKind::Pci | HostdevKind::Mdev);
    if !is_shown {
        (hostdev.display, hostdev.ramfb) = (None, None);
    }
    if kind != HostdevKind::Pci {
        hostdev.driver = HostdevDriver::default();
        hostdev.source.write_filtering = None;
    }
    if kind != HostdevKind::Scsi {
        (hostdev.read_only, hostdev.shareable) = (false, false);
        hostdev.source.adapter = None;
    }
    if kind != HostdevKind::Usb {
        hostdev.source.guest_reset = None;
        (hostdev.source.vendor, hostdev.source.product) = (None, None);
    }
    if kind == HostdevKind::Mdev && hostdev.model == Some(HostdevModel::VfioPci) {
        hostdev.display.get_or_insert(OnOff::Off);
    }
    if hostdev.is_iscsi()
        && let Some(name) = hostdev.source.name.as_mut().filter(|name| !name.contains('/'))
    {
        // The first unit, if none is said.
        name.push_str("/0");
    }
}

/// The first free unit of the first controller that has one.
fn next_unit(devices: &Devices) -> Option<DriveAddress> {
    let on_scsi = devices.disks.iter().filter(|disk| disk.target.bus == Some(DiskBus::Scsi));
    let disks = on_scsi.map(|disk| &disk.place);
    let units = devices.hostdevs.iter().filter(|hostdev| hostdev.is_scsi()).map(|hostdev| &hostdev.place);
    let used: Vec<_> = disks
        .chain(units)
        .filter_map(|place| match &place.address {
            Some(Address::Drive(drive)) => Some((drive.controller, drive.bus, drive.target, drive.unit)),
            _ => None,
        })
        .collect();
    let places = (0..CONTROLLERS_MAX).flat_map(|controller| (0..UNITS).map(move |unit| (controller, unit)));
    let mut free = places.filter(|(controller, unit)| {
        !used.contains(&(*controller, 0, 0, *unit)) && has_unit(&devices.controllers, *controller, *unit)
    });
    free.next().map(|(controller, unit)| DriveAddress { controller, unit, ..DriveAddress::default() })
}

/// Whether a controller of that number has room for such a unit (virDomainSCSIDriveAddressIsUsed).
fn has_unit(controllers: &[Controller], index: u32, unit: u32) -> bool {
    let named = |other: &&Controller| other.kind == ControllerKind::Scsi && other.index == Some(index);
    let model = controllers.iter().find(named).and_then(|controller| controller.model.as_deref());
    model != Some("lsisas1068") || unit <= 1
}

/// The controllers that SCSI units of the host's call for: the highest number, and the model of those that are missing
/// (virDomainDefMaybeAddHostdevSCSIcontroller).
pub(super) fn scsi_controllers(devices: &Devices) -> Option<(u32, Option<String>)> {
    let (mut highest, mut model) = (None, None);
    for hostdev in devices.hostdevs.iter().filter(|hostdev| hostdev.is_scsi()) {
        let index = match &hostdev.place.address {
            Some(Address::Drive(address)) => address.controller,
            _ => 0,
        };
        if highest < Some(index) {
            highest = Some(index);
            let named =
                |other: &&Controller| other.kind == ControllerKind::Scsi && other.index == Some(index);
            let found = devices.controllers.iter().find(named);
            model = found.and_then(|controller| controller.model.clone()).or(model);
        }
    }
    Some((highest?.min(CONTROLLERS_MAX), model))
}
