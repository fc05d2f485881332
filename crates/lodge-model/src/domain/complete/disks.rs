//! Disks: bus, driver, order, and their addresses on drive controllers.

use crate::domain::address::{Address, DriveAddress};
use crate::domain::devices::Devices;
use crate::domain::disk::{Disk, DiskBus, DiskDevice, DiskSource, SourceKind};

/// Completes the disks.
pub(super) fn complete(devices: &mut Devices) {
    for disk in &mut devices.disks {
        complete_disk(disk);
    }
    sort(&mut devices.disks);
}

fn complete_disk(disk: &mut Disk) {
    let bus = *disk.target.bus.get_or_insert_with(|| default_bus(disk.device, &disk.target.dev));
    disk.source.take_if(|source| **source == DiskSource::default());
    if disk.source.is_none() && disk.kind == SourceKind::Block {
        // An empty drive: there is nothing that could be a block device.
        disk.kind = SourceKind::File;
    }
    disk.readonly |= disk.device == DiskDevice::Cdrom;
    let driver = disk.driver.get_or_insert_default();
    driver.name.get_or_insert_with(|| "qemu".to_owned());
    driver.format.get_or_insert_with(|| "raw".to_owned());
    if disk.place.address.is_none()
        && let Some(address) = drive_address(bus, &disk.target.dev)
    {
        disk.place.address = Some(Address::Drive(address));
    }
}

/// The bus that a target's name means (virDomainDiskDefParseXML).
fn default_bus(device: DiskDevice, target: &str) -> DiskBus {
    match target.get(..2).unwrap_or_default() {
        _ if device == DiskDevice::Floppy => DiskBus::Fdc,
        "hd" => DiskBus::Ide,
        "sd" => DiskBus::Scsi,
        "fd" => DiskBus::Fdc,
        "xv" => DiskBus::Xen,
        "ub" => DiskBus::Uml,
        _ => DiskBus::Virtio,
    }
}

/// The number in a target's name: `vda` is 0, `vdz` 25, `vdaa` 26 (virDiskNameParse).
pub(in crate::domain) fn target_number(target: &str) -> Option<u32> {
    let prefix = ["fd", "hd", "vd", "sd", "xvd", "ubd", "nvme"]
        .into_iter()
        .find(|prefix| target.starts_with(prefix))?;
    let letters = target[prefix.len()..].trim_end_matches(|c: char| c.is_ascii_digit());
    if letters.is_empty() || !letters.bytes().all(|b| b.is_ascii_lowercase()) {
        return None;
    }
    letters
        .bytes()
        .try_fold(0_u32, |number, letter| number.checked_mul(26)?.checked_add(u32::from(letter - b'a') + 1))
        .map(|number| number - 1)
}

/// Where a disk of that name sits on its bus (virDomainDiskDefAssignAddress); SCSI is taken as narrow.
fn drive_address(bus: DiskBus, target: &str) -> Option<DriveAddress> {
    let number = target_number(target)?;
    let (controller, bus, unit) = match bus {
        DiskBus::Scsi => (number / 7, 0, number % 7),
        DiskBus::Ide => (number / 4, number % 4 / 2, number % 2),
        DiskBus::Sata => (number / 6, 0, number % 6),
        DiskBus::Fdc => (number / 2, 0, number % 2),
        DiskBus::Virtio | DiskBus::Xen | DiskBus::Usb | DiskBus::Uml | DiskBus::Sd | DiskBus::Nvme => {
            return None;
        }
    };
    Some(DriveAddress { controller, bus, unit, ..DriveAddress::default() })
}

/// Puts disks of a bus in the order of their names; buses stay in the order they first appear in.
fn sort(disks: &mut Vec<Disk>) {
    let mut sorted: Vec<Disk> = Vec::with_capacity(disks.len());
    disks.drain(..).for_each(|disk| insert(&mut sorted, disk));
    *disks = sorted;
}

/// Puts a disk among those of its bus by its name, or last (virDomainDiskInsert).
fn insert(sorted: &mut Vec<Disk>, disk: Disk) {
    let number = target_number(&disk.target.dev);
    let mut place = None;
    for (at, other) in
        sorted.iter().enumerate().rev().filter(|(_, other)| other.target.bus == disk.target.bus)
    {
        if target_number(&other.target.dev) > number {
            place = Some(at);
        } else if place.is_none() {
            place = Some(at + 1);
        }
    }
    sorted.insert(place.unwrap_or(sorted.len()), disk);
}

impl Devices {
    /// Adds a disk where libvirt shows it: among those of its bus by its name, or last.
    pub fn insert_disk(&mut self, disk: Disk) {
        insert(&mut self.disks, disk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_names_are_numbered_as_by_libvirt() {
        for (name, number) in
            [("vda", Some(0)), ("sdz", Some(25)), ("vdaa", Some(26)), ("hdc", Some(2)), ("sda1", Some(0))]
        {
            assert_eq!(target_number(name), number, "{name}");
        }
        for bad in ["", "vd", "eth0", "vdA", "vdzzzzzzzzzzz", "vd-"] {
            assert_eq!(target_number(bad), None, "{bad}");
        }
    }
}
