//! Disks: bus, driver, order, and their addresses on drive controllers.

use crate::Bytes;
use crate::domain::address::{Address, DriveAddress};
use crate::domain::devices::{Devices, SecLabel};
use crate::domain::disk::{CacheMode, Disk, DiskBus, DiskDevice, DiskSource, SourceKind, Transport, Tray};
use crate::xml::{Foreign, ForeignItem, Kept, YesNo};

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
    if disk.source.is_none()
        && matches!(disk.kind, SourceKind::Block | SourceKind::Network | SourceKind::Volume)
    {
        // An empty drive: there is nothing that could be a block device or lie elsewhere.
        disk.kind = SourceKind::File;
    }
    disk.readonly |= disk.device == DiskDevice::Cdrom;
    if disk.readonly {
        disk.snapshot.take_if(|snapshot| snapshot == "no");
    }
    // What is usual is not said, what is not the bus's neither (virDomainDiskDefFormat).
    disk.target.tray.take_if(|tray| *tray == Tray::Closed);
    if bus != DiskBus::Usb {
        disk.target.removable = None;
    }
    let driver = disk.driver.get_or_insert_default();
    driver.name.get_or_insert_with(|| "qemu".to_owned());
    driver.cache.take_if(|cache| *cache == CacheMode::Default);
    if let Some(mut cache) = driver.foreign.tree("metadata_cache") {
        in_bytes(&mut cache);
        driver.foreign.set_tree(&cache);
    }
    if disk.kind != SourceKind::Volume {
        // What a volume holds, its pool says at the start.
        driver.format.get_or_insert_with(|| "raw".to_owned());
    }
    if disk.kind == SourceKind::VhostUser {
        disk.snapshot.get_or_insert_with(|| "no".to_owned());
    }
    encryption(&mut disk.encryption);
    if let Some(source) = &mut disk.source {
        labels(&mut source.seclabels);
        encryption(&mut source.foreign);
        if disk.kind == SourceKind::Network {
            network_source(source);
        }
    }
    let mut store = disk.backing_store.as_deref_mut();
    while let Some(layer) = store {
        if let Some(format) = &mut layer.format
            && let Some(mut cache) = format.foreign.tree("metadata_cache")
        {
            in_bytes(&mut cache);
            format.foreign.set_tree(&cache);
        }
        if let Some(source) = &mut layer.source {
            encryption(&mut source.foreign);
        }
        if let (Some(SourceKind::Network), Some(source)) = (layer.kind, &mut layer.source) {
            network_source(source);
        }
        store = layer.backing_store.as_deref_mut();
    }
    if disk.place.address.is_none()
        && let Some(address) = drive_address(bus, &disk.target.dev)
    {
        disk.place.address = Some(Address::Drive(address));
    }
}

/// The caches of formats' own data, here and of the files below, are counted in bytes.
fn in_bytes(tree: &mut Kept) {
    tree.children.iter_mut().for_each(in_bytes);
    if tree.name == "max_size" {
        let unit = tree.attribute("unit").unwrap_or("bytes");
        let size = tree.text.trim().parse().ok().and_then(|number| Bytes::scaled(number, unit).ok());
        if let Some(size) = size {
            *tree = Kept::new("max_size").with("unit", "bytes").text(size.0);
        }
    }
}

/// What is skipped is known of running guests alone, and an override that says nothing is none.
fn labels(labels: &mut Vec<SecLabel>) {
    for label in labels.iter_mut() {
        label
            .foreign
            .retain(|item| !matches!(item, ForeignItem::Attribute { name, .. } if **name == *"labelskip"));
    }
    labels.retain(|label| label.label.is_some() || label.relabel == Some(YesNo::No));
}

/// LUKS is QEMU's matter unless somebody else is named (qemuDomainDeviceDiskDefPostParse).
fn encryption(kept: &mut Foreign) {
    let Some(mut tree) = kept.tree("encryption") else { return };
    if tree.attribute("format") == Some("luks") && tree.attribute("engine").is_none() {
        tree.set_attribute("engine", Some("qemu".to_owned()));
        kept.set_trees(&["encryption"], &[tree]);
    }
}

/// Ports that nobody named, and the form in which libvirt writes the rest (virDomainStorageNetworkParseHosts).
fn network_source(source: &mut DiskSource) {
    let port = match source.protocol.as_deref().unwrap_or_default() {
        "nbd" => Some(10809),
        "http" => Some(80),
        "https" => Some(443),
        "ftp" => Some(21),
        "ftps" => Some(990),
        "iscsi" => Some(3260),
        "ssh" => Some(22),
        "gluster" => Some(24007),
        "vxhs" => Some(9999),
        _ => None,
    };
    for host in &mut source.hosts {
        host.transport.take_if(|transport| *transport == Transport::Tcp);
        if host.transport.is_none() && host.port.is_none() {
            host.port = port;
        }
    }
    if source.protocol.as_deref() == Some("iscsi")
        && let Some(name) = source.name.as_mut().filter(|name| !name.contains('/'))
    {
        name.push_str("/0");
    }
    // A namespace is that of an NVMe device.
    source
        .foreign
        .retain(|item| !matches!(item, ForeignItem::Attribute { name, .. } if **name == *"namespace"));
    source.foreign.sort(&[
        "snapshot",
        "config",
        "initiator",
        "readahead",
        "timeout",
        "reconnect",
        "knownHosts",
        "identity",
        "slices",
        "auth",
        "encryption",
    ]);
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
