//! Aliases: libvirt's names for the devices of a running guest, which are QEMU's ids.

use lodge_model::domain::Domain;
use lodge_model::domain::address::{Address, Alias, DriveAddress, Place};
use lodge_model::domain::controller::{Controller, ControllerKind};
use lodge_model::domain::devices::MemballoonModel;
use lodge_model::domain::disk::{Disk, DiskBus};
use lodge_model::domain::interface::InterfaceKind;
use lodge_model::domain::memory_module::{MemoryModel, MemoryModule};

/// Gives each device without an alias the one libvirt would give it. Doing it twice changes nothing.
pub fn assign_aliases(domain: &mut Domain) {
    let is_q35 = domain.os.kind.machine.as_deref().is_some_and(|machine| machine.contains("q35"));
    let devices = &mut domain.devices;
    for disk in &mut devices.disks {
        let name = disk_alias(disk);
        give(&mut disk.place, || name);
    }
    for controller in &mut devices.controllers {
        let name = controller_alias(controller, is_q35);
        give(&mut controller.place, || name);
    }
    for (at, card) in devices.interfaces.iter_mut().enumerate() {
        if card.kind != InterfaceKind::Hostdev {
            give(&mut card.place, || format!("net{at}"));
        }
    }
    number(devices.serials.iter_mut().map(|device| &mut device.place), "serial");
    number(devices.parallels.iter_mut().map(|device| &mut device.place), "parallel");
    // The first console stands for the first serial port where it says so; then it is the same device.
    let serial0 = devices.serials.first().map(|serial| super::builder::alias(&serial.place).to_owned());
    for (at, console) in devices.consoles.iter_mut().enumerate() {
        let kind = console.target.as_deref().and_then(|target| target.kind.as_deref()).unwrap_or("serial");
        let stands_for = serial0.clone().filter(|_| at == 0 && kind == "serial");
        give(&mut console.place, || stands_for.unwrap_or_else(|| format!("console{at}")));
    }
    number(devices.channels.iter_mut().map(|device| &mut device.place), "channel");
    number(devices.inputs.iter_mut().map(|device| &mut device.place), "input");
    number(devices.videos.iter_mut().map(|device| &mut device.place), "video");
    number(devices.sounds.iter_mut().map(|device| &mut device.place), "sound");
    number(devices.redirdevs.iter_mut().map(|device| &mut device.place), "redir");
    number(devices.hubs.iter_mut().map(|device| &mut device.place), "hub");
    number(devices.watchdogs.iter_mut().map(|device| &mut device.place), "watchdog");
    let balloons = devices.memballoon.iter_mut().filter(|device| device.model != MemballoonModel::None);
    number(balloons.map(|device| &mut device.place), "balloon");
    number(devices.rngs.iter_mut().map(|device| &mut device.place), "rng");
    number(devices.panics.iter_mut().map(|device| &mut device.place), "panic");
    number(devices.vsock.iter_mut().map(|device| &mut device.place), "vsock");
    number(devices.filesystems.iter_mut().map(|device| &mut device.place), "fs");
    number(devices.smartcards.iter_mut().map(|device| &mut device.place), "smartcard");
    number(devices.tpms.iter_mut().map(|device| &mut device.place), "tpm");
    // Cards of the host's are devices of the host's, and come first.
    let cards = devices.interfaces.iter_mut().filter(|card| card.kind == InterfaceKind::Hostdev);
    let places = cards.map(|card| &mut card.place);
    number(places.chain(devices.hostdevs.iter_mut().map(|device| &mut device.place)), "hostdev");
    number(devices.shmems.iter_mut().map(|device| &mut device.place), "shmem");
    number(devices.cryptos.iter_mut().map(|device| &mut device.place), "crypto");
    number(devices.iommu.iter_mut().map(|device| &mut device.place), "iommu");
    number(devices.pstore.iter_mut().map(|device| &mut device.place), "pstore");
    if let Some(nvram) = &mut devices.nvram {
        give(&mut nvram.place, || "nvram".to_owned());
    }
    modules(&mut devices.memory_modules);
}

/// Modules are called by their sort, and those with a slot by it (qemuAssignDeviceMemoryAlias).
fn modules(modules: &mut [MemoryModule]) {
    let mut counts = std::collections::BTreeMap::<&str, u32>::new();
    for module in modules {
        let stem = match module.model {
            MemoryModel::Dimm => "dimm",
            MemoryModel::Nvdimm => "nvdimm",
            MemoryModel::VirtioPmem => "virtiopmem",
            MemoryModel::VirtioMem => "virtiomem",
            MemoryModel::SgxEpc => "epc",
        };
        let count = counts.entry(stem).or_default();
        let number = match &module.place.address {
            Some(Address::Dimm(address)) => address.slot,
            _ => *count,
        };
        *count += 1;
        give(&mut module.place, || format!("{stem}{number}"));
    }
}

fn number<'a>(places: impl Iterator<Item = &'a mut Place>, stem: &str) {
    for (at, place) in places.enumerate() {
        give(place, || format!("{stem}{at}"));
    }
}

fn give(place: &mut Place, name: impl FnOnce() -> String) {
    if place.alias.is_none() {
        place.alias = Some(Alias::new(name()));
    }
}

fn disk_alias(disk: &Disk) -> String {
    let number = disk_number(&disk.target.dev).unwrap_or(0);
    let drive = drive_address(disk);
    match disk_bus(disk) {
        DiskBus::Virtio => format!("virtio-disk{number}"),
        DiskBus::Usb => format!("usb-disk{number}"),
        DiskBus::Scsi => format!("scsi{}-{}-{}-{}", drive.controller, drive.bus, drive.target, drive.unit),
        bus => format!("{bus}{}-{}-{}", drive.controller, drive.bus, drive.unit),
    }
}

/// The bus of a disk: as said, or as its target's name says.
pub(super) fn disk_bus(disk: &Disk) -> DiskBus {
    disk.target.bus.unwrap_or(match disk.target.dev.get(..2) {
        Some("vd") => DiskBus::Virtio,
        Some("sd") => DiskBus::Sata,
        Some("fd") => DiskBus::Fdc,
        _ => DiskBus::Ide,
    })
}

/// Where a disk hangs on its controller: as said, or as its target's name says.
pub(super) fn drive_address(disk: &Disk) -> DriveAddress {
    if let Some(Address::Drive(address)) = &disk.place.address {
        return address.clone();
    }
    let number = disk_number(&disk.target.dev).unwrap_or(0);
    match disk_bus(disk) {
        DiskBus::Ide => DriveAddress { bus: number / 2, unit: number % 2, ..DriveAddress::default() },
        DiskBus::Sata => DriveAddress { controller: number / 6, unit: number % 6, ..DriveAddress::default() },
        DiskBus::Scsi => DriveAddress { controller: number / 7, unit: number % 7, ..DriveAddress::default() },
        _ => DriveAddress { unit: number, ..DriveAddress::default() },
    }
}

/// The number in a target's name: `vda` 0, `vdz` 25, `vdaa` 26.
fn disk_number(target: &str) -> Option<u32> {
    let letters = target.get(2..)?.bytes().take_while(u8::is_ascii_lowercase);
    let count = letters
        .fold(0u32, |number, letter| number.saturating_mul(26).saturating_add(u32::from(letter - b'a') + 1));
    count.checked_sub(1)
}

fn controller_alias(controller: &Controller, is_q35: bool) -> String {
    let index = controller.index.unwrap_or(0);
    match (controller.kind, index) {
        (ControllerKind::Pci, 0) if is_q35 => "pcie.0".to_owned(),
        (ControllerKind::Pci, _) => format!("pci.{index}"),
        (ControllerKind::Usb, 0) => "usb".to_owned(),
        (ControllerKind::Sata, 0) if is_q35 => "ide".to_owned(),
        (ControllerKind::Ide, 0) if !is_q35 => "ide".to_owned(),
        (kind, _) => format!("{kind}{index}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_count_like_spreadsheet_columns() {
        let numbers = [
            ("vda", Some(0)),
            ("vdz", Some(25)),
            ("vdaa", Some(26)),
            ("sdb1", Some(1)),
            ("vd", None),
            ("", None),
        ];
        for (target, number) in numbers {
            assert_eq!(disk_number(target), number, "{target}");
        }
    }
}
