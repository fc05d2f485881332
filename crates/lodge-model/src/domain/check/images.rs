//! What of a disk QEMU does not take at all: formats, secrets of another sort, addresses of another bus.

use super::{Found, nth};
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::disk::{Disk, DiskBus, DiskDevice, SourceKind};
use crate::domain::target_number;
use crate::xml::{Kept, OnOff, YesNo};

pub(super) fn check(domain: &Domain, found: &mut Found) {
    let disks = &domain.devices.disks;
    for (at, disk) in disks.iter().enumerate() {
        let path = nth("/domain/devices/disk", at, disks.len());
        format(disk, &path, found);
        encrypted(disk, &path, found);
        labels(disk, &path, found);
        secrets(disk, &path, found);
        place(disk, &path, found);
        guest(disk, &path, found);
    }
}

fn format(disk: &Disk, path: &str, found: &mut Found) {
    let path_of_format = format!("{path}/driver/@type");
    let format = disk.driver.as_deref().and_then(|driver| driver.format.as_deref());
    match format {
        Some("cow") => found.add(path_of_format, "QEMU reads no `cow`"),
        Some("dir") => found.add(path_of_format, "a directory is a disk of type='dir'"),
        Some("iso") => found.add(path_of_format, "an ISO 9660 image is `raw`"),
        Some("fat") if !matches!(disk.kind, SourceKind::Dir | SourceKind::Volume) => {
            found.add(path_of_format, "`fat` is made of a directory (type='dir')");
        }
        _ => {}
    }
}

/// QEMU itself encrypts what it writes raw or as qcow2; librbd's images are its own matter.
fn encrypted(disk: &Disk, path: &str, found: &mut Found) {
    let Some(format) = disk.driver.as_deref().and_then(|driver| driver.format.as_deref()) else { return };
    let is_qemus = |tree: &Kept| tree.attribute("engine") != Some("librbd");
    let tree = disk.encryption_trees().into_iter().next().flatten();
    if tree.is_some_and(|tree| is_qemus(&tree)) && !matches!(format, "raw" | "qcow2") {
        found.add(
            format!("{path}/driver/@type"),
            format!("an image of format `{format}` cannot be encrypted"),
        );
    }
}

/// A file's own label is said, or none is put on it.
fn labels(disk: &Disk, path: &str, found: &mut Found) {
    let labels = disk.source.as_deref().map(|source| source.seclabels.as_slice()).unwrap_or_default();
    for (at, label) in labels.iter().enumerate() {
        if label.relabel == Some(YesNo::Yes) && label.label.is_none() {
            found
                .add(nth(&format!("{path}/source/seclabel"), at, labels.len()), "element <label> is missing");
        }
    }
}

fn secrets(disk: &Disk, path: &str, found: &mut Found) {
    let source = disk.source.as_deref();
    let of_source = |name: &str| source.and_then(|source| source.foreign.tree(name));
    let both = [
        ("auth", disk.auth.tree("auth"), of_source("auth")),
        ("encryption", disk.encryption.tree("encryption"), of_source("encryption")),
    ];
    for (name, own, inner) in both {
        if own.is_some() && inner.is_some() {
            found.add(format!("{path}/source/{name}"), format!("<{name}> stands beside <source> already"));
        }
        let places = [(format!("{path}/{name}"), own), (format!("{path}/source/{name}"), inner)];
        for (path, tree) in places.into_iter().filter_map(|(path, tree)| Some((path, tree?))) {
            match name {
                "auth" => login(disk, &tree, &path, found),
                _ if tree.child("cipher").is_some() && tree.attribute("format") == Some("luks") => {
                    found.add(format!("{path}/cipher"), "the image itself says how it is encrypted");
                }
                _ => {}
            }
        }
    }
}

/// Who logs in at a server of this protocol has a secret of its sort.
fn login(disk: &Disk, auth: &Kept, path: &str, found: &mut Found) {
    let protocol = disk.source.as_deref().and_then(|source| source.protocol.as_deref());
    let wanted = match protocol.filter(|_| disk.kind == SourceKind::Network) {
        Some("iscsi") => "iscsi",
        Some("rbd") => "ceph",
        _ => return,
    };
    let Some(kind) = auth.child("secret").map(|secret| secret.attribute("type")) else { return };
    if kind != Some(wanted) {
        let given = kind.map_or_else(|| "no type".to_owned(), |kind| format!("type `{kind}`"));
        found.add(
            format!("{path}/secret"),
            format!("a secret of type `{wanted}` is needed, this one has {given}"),
        );
    }
}

/// Addresses are of the bus that the disk is on.
fn place(disk: &Disk, path: &str, found: &mut Found) {
    let (Some(bus), Some(address)) = (disk.target.bus, &disk.place.address) else { return };
    let fits = match bus {
        DiskBus::Ide | DiskBus::Sata | DiskBus::Scsi | DiskBus::Fdc => matches!(address, Address::Drive(_)),
        DiskBus::Usb => matches!(address, Address::Usb(_)),
        DiskBus::Virtio | DiskBus::Xen | DiskBus::Uml | DiskBus::Sd | DiskBus::Nvme => true,
    };
    // One of type `drive` on a USB disk is told with the drives' addresses.
    let is_told = bus == DiskBus::Usb && matches!(address, Address::Drive(_));
    if !fits && !is_told {
        found.add(
            format!("{path}/address/@type"),
            format!("a disk on bus `{bus}` has another sort of address"),
        );
    }
}

/// What the guest would see of it.
fn guest(disk: &Disk, path: &str, found: &mut Found) {
    let target = disk.target.dev.as_str();
    let is_named = ["fd", "hd", "vd", "sd", "xvd", "ubd"].iter().any(|prefix| {
        let letters =
            target.strip_prefix(prefix).map(|rest| rest.trim_end_matches(|c: char| c.is_ascii_digit()));
        letters.is_some_and(|letters| {
            !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_lowercase())
        })
    });
    if is_named && target_number(target).is_none() {
        found.add(format!("{path}/target/@dev"), format!("`{target}` is beyond the last disk"));
    }
    if is_named && target.ends_with(|c: char| c.is_ascii_digit()) {
        found.add(format!("{path}/target/@dev"), format!("`{target}` names a partition, not a disk"));
    }
    let is_empty = disk.kind != SourceKind::Nvme
        && disk.source.as_deref().is_none_or(|source| {
            let names = [&source.file, &source.dev, &source.dir, &source.volume, &source.protocol];
            names.into_iter().all(Option::is_none)
        });
    if disk.target.bus == Some(DiskBus::Usb) && is_empty {
        found.add(path, "a disk on bus `usb` cannot be empty");
    }
    if disk.target.rotation_rate.is_some() && disk.device != DiskDevice::Disk {
        found.add(format!("{path}/target/@rotation_rate"), format!("a {} has none", disk.device));
    }
    if disk.device == DiskDevice::Lun {
        let identity = [
            ("wwn", disk.wwn.is_some()),
            ("vendor", disk.vendor.is_some()),
            ("product", disk.product.is_some()),
        ];
        for (name, _) in identity.into_iter().filter(|(_, is_there)| *is_there) {
            found.add(format!("{path}/{name}"), "a lun says itself who it is");
        }
        if disk.driver.as_deref().is_some_and(|driver| driver.copy_on_read == Some(OnOff::On)) {
            found.add(format!("{path}/driver/@copy_on_read"), "a lun is not copied");
        }
        if disk.target.bus == Some(DiskBus::Virtio) {
            found.add(
                format!("{path}/target/@bus"),
                "QEMU's virtio disks pass no SCSI commands on; bus='scsi' does",
            );
        }
    }
    let is_ata = matches!(disk.target.bus, Some(DiskBus::Ide | DiskBus::Sata));
    if disk.readonly && disk.device == DiskDevice::Disk && is_ata {
        found.add(format!("{path}/readonly"), "IDE and SATA have no disks that are only read");
    }
    let has_filters = !disk.throttle_filters.tree("throttlefilters").unwrap_or_default().children.is_empty();
    if has_filters && disk.iotune.is_some() {
        found.add(format!("{path}/throttlefilters"), "either these or <iotune>");
    }
}
