//! What a disk cannot have that another process serves (`type='vhostuser'`), or that is a SCSI device handed through
//! (`device='lun'`). The words are libvirt's.

use super::Found;
use crate::domain::Domain;
use crate::domain::disk::{Disk, DiskDevice, SourceKind};

pub(super) fn check(domain: &Domain, disk: &Disk, path: &str, found: &mut Found) {
    if disk.kind == SourceKind::VhostUser {
        vhost_user(disk, path, found);
        if !super::nics::shares_memory(domain) {
            found.add(path, "'vhostuser' requires shared memory");
        }
    }
    if disk.device == DiskDevice::Lun {
        lun(disk, path, found);
    }
}

fn vhost_user(disk: &Disk, path: &str, found: &mut Found) {
    let driver = disk.driver.as_deref();
    let attribute = |has: fn(&crate::domain::disk::DiskDriver) -> bool| driver.is_some_and(has);
    for (is_there, what) in [
        (attribute(|driver| driver.cache.is_some()), "cache"),
        (attribute(|driver| driver.error_policy.is_some()), "error_policy"),
        (attribute(|driver| driver.io.is_some()), "io"),
        (attribute(|driver| driver.ioeventfd.is_some()), "ioeventfd"),
        (attribute(|driver| driver.copy_on_read.is_some()), "copy_on_read"),
        (attribute(|driver| driver.discard.is_some()), "discard"),
        (attribute(|driver| driver.iothread.is_some()), "iothread"),
        (attribute(|driver| driver.detect_zeroes.is_some()), "detect_zeroes"),
        (attribute(|driver| driver.foreign.tree("metadata_cache").is_some()), "metadata_cache"),
        (disk.iotune.is_some(), "iotune"),
        (disk.backing_store.as_deref().is_some_and(|store| store.source.is_some()), "backingStore"),
        (disk.encryption_tree().is_some(), "encryption"),
        (disk.readonly, "readonly"),
        (disk.shareable, "shareable"),
        (disk.transient, "transient"),
        (disk.serial.is_some(), "serial"),
        (disk.wwn.is_some(), "wwn"),
        (disk.vendor.is_some(), "vendor"),
        (disk.product.is_some(), "product"),
    ] {
        if is_there {
            found.add(path, format!("{what} is not supported with vhostuser disk"));
        }
    }
    if disk.snapshot.as_deref().is_some_and(|word| word != "no") {
        found.add(format!("{path}/@snapshot"), "only snapshot=no is supported with vhostuser disk");
    }
}

fn lun(disk: &Disk, path: &str, found: &mut Found) {
    let format = disk.driver.as_deref().and_then(|driver| driver.format.as_deref());
    if format.is_some_and(|format| format != "raw") {
        found.add(path, "disk device 'lun' must use 'raw' format");
    }
    if disk.source.as_deref().is_some_and(|source| source.foreign.tree("slices").is_some()) {
        found.add(path, "disk device 'lun' doesn't support storage slice");
    }
    if disk.encryption_tree().is_some() {
        found.add(path, "disk device 'lun' doesn't support encryption");
    }
    let protocol = disk.source.as_deref().and_then(|source| source.protocol.as_deref());
    if let Some(protocol) = protocol.filter(|word| disk.kind == SourceKind::Network && *word != "iscsi") {
        found.add(path, format!("disk device='lun' is not supported for protocol='{protocol}'"));
    }
}
