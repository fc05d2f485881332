//! What of a disk does not go together: its bus, its source, and what the guest is to see of it.

use super::{Found, nth};
use crate::domain::Domain;
use crate::domain::disk::{
    CacheMode, Disk, DiskBus, DiskDevice, DiskDriver, DiskSource, IoMode, IoTune, SourceKind, Transport,
};
use crate::domain::virtio::VirtioOptions;
use crate::xml::{Kept, OnOff};

/// Protocols of disks on the network.
const PROTOCOLS: [&str; 11] =
    ["nbd", "rbd", "gluster", "iscsi", "http", "https", "ftp", "ftps", "nfs", "ssh", "vxhs"];

pub(super) fn check(domain: &Domain, found: &mut Found) {
    let disks = &domain.devices.disks;
    let groups = domain.throttle_groups.tree("throttlegroups").unwrap_or_default();
    for (at, disk) in disks.iter().enumerate() {
        let path = nth("/domain/devices/disk", at, disks.len());
        bus(disk, &path, found);
        identity(disk, &path, found);
        access(disk, &path, found);
        super::served::check(domain, disk, &path, found);
        if let Some(driver) = disk.driver.as_deref() {
            self::driver(disk, driver, &format!("{path}/driver"), found);
        }
        if let Some(source) = disk.source.as_deref() {
            self::source(disk, source, &path, found);
        }
        if let Some(tune) = disk.iotune.as_deref() {
            limits(tune, &format!("{path}/iotune"), found);
            shared_limits(disks, at, tune, &format!("{path}/iotune/group_name"), found);
        }
        let filters = disk.throttle_filters.tree("throttlefilters").unwrap_or_default();
        for filter in &filters.children {
            let name = filter.attribute("group").unwrap_or_default();
            let is_it = |group: &&Kept| group.child("group_name").is_some_and(|known| known.text == name);
            if groups.children.iter().find(is_it).is_none() {
                found.add(format!("{path}/throttlefilters"), format!("there is no group `{name}` of limits"));
            }
        }
    }
}

fn bus(disk: &Disk, path: &str, found: &mut Found) {
    let Some(bus) = disk.target.bus else { return };
    let path = format!("{path}/target/@bus");
    let device = disk.device;
    let fits = match device {
        _ if bus == DiskBus::Nvme => false,
        DiskDevice::Cdrom => bus != DiskBus::Virtio,
        DiskDevice::Floppy => bus == DiskBus::Fdc,
        DiskDevice::Lun => matches!(bus, DiskBus::Virtio | DiskBus::Scsi),
        DiskDevice::Disk => true,
    };
    if !fits {
        found.add(path, format!("a {device} cannot be on bus `{bus}`"));
    }
}

fn identity(disk: &Disk, path: &str, found: &mut Found) {
    let bus = disk.target.bus;
    let mut on = |has: bool, element: &str, buses: &[DiskBus]| {
        if let Some(bus) = bus.filter(|bus| has && !buses.contains(bus)) {
            found.add(format!("{path}/{element}"), format!("a disk on bus `{bus}` has none"));
        }
    };
    on(disk.wwn.is_some(), "wwn", &[DiskBus::Ide, DiskBus::Scsi]);
    on(disk.vendor.is_some(), "vendor", &[DiskBus::Scsi]);
    let turning = [DiskBus::Scsi, DiskBus::Ide, DiskBus::Sata];
    on(disk.product.is_some(), "product", &turning);
    on(disk.target.rotation_rate.is_some(), "target/@rotation_rate", &turning);
    on(disk.target.removable.is_some(), "target/@removable", &[DiskBus::Usb, DiskBus::Scsi]);
    for (element, text, most) in [("vendor", &disk.vendor, 8), ("product", &disk.product, 16)] {
        if text.as_ref().is_some_and(|text| text.chars().count() > most) {
            found.add(format!("{path}/{element}"), format!("it is longer than {most} characters"));
        }
    }
    let is_drive = matches!(disk.device, DiskDevice::Cdrom | DiskDevice::Floppy);
    if disk.target.tray.is_some() && !is_drive {
        found.add(format!("{path}/target/@tray"), format!("a {} has no tray", disk.device));
    }
    let geometry = disk.geometry.tree("geometry").unwrap_or_default();
    if let Some(word) = geometry.attribute("trans").filter(|word| !["auto", "none", "lba"].contains(word)) {
        found.add(format!("{path}/geometry"), format!("`{word}` is not known here (known: auto, none, lba)"));
    }
}

/// Who may do what with it.
fn access(disk: &Disk, path: &str, found: &mut Found) {
    if disk.sg_io.as_deref() == Some("unfiltered") {
        found.add(format!("{path}/@sgio"), "commands that nobody looks at are not possible any more");
    }
    for (name, is_there) in [("sgio", disk.sg_io.is_some()), ("rawio", disk.raw_io.is_some())] {
        if is_there && disk.device != DiskDevice::Lun {
            found.add(format!("{path}/@{name}"), "it is about the commands of a device='lun'");
        }
    }
    let passes_on = matches!(disk.kind, SourceKind::Block | SourceKind::Network | SourceKind::Volume);
    if disk.device == DiskDevice::Lun && !passes_on {
        found.add(
            format!("{path}/@device"),
            format!("a lun is a device of the host's, not of type `{}`", disk.kind),
        );
    }
    let is_read_only = disk.readonly || disk.device == DiskDevice::Cdrom;
    if disk.transient && is_read_only {
        found.add(format!("{path}/transient"), "nothing is written to it that could be thrown away");
    }
    let target = &disk.target.dev;
    if disk.transient && !matches!(disk.kind, SourceKind::File | SourceKind::Volume | SourceKind::VhostUser) {
        let text = format!("transient disk supported only with 'file' type ({target})");
        found.add(format!("{path}/transient"), text);
    }
    if disk.transient && matches!(disk.device, DiskDevice::Floppy | DiskDevice::Lun) {
        let text = format!("transient disk supported only with 'disk' device ({target})");
        found.add(format!("{path}/transient"), text);
    }
    let format = disk.driver.as_deref().and_then(|driver| driver.format.as_deref());
    if let Some(format) = format.filter(|format| disk.shareable && *format != "raw") {
        found.add(
            format!("{path}/shareable"),
            format!("two guests cannot write one image of format `{format}`"),
        );
    }
    let auth = disk.auth.tree("auth");
    if auth.is_some_and(|auth| auth.child("secret").is_none()) {
        found.add(format!("{path}/auth"), "element <secret> is missing");
    }
    for (place, tree) in [
        ("", disk.encryption.tree("encryption")),
        ("source/", disk.source.as_deref().and_then(|source| source.foreign.tree("encryption"))),
    ] {
        let Some(tree) = tree else { continue };
        let format = tree.attribute("format").unwrap_or_default();
        if !["default", "qcow", "luks", "luks2", "luks-any"].contains(&format) {
            found.add(format!("{path}/{place}encryption"), format!("format `{format}` is not known here"));
        }
        let is_rbd = disk.source.as_deref().is_some_and(|source| source.protocol.as_deref() == Some("rbd"));
        if tree.attribute("engine") == Some("librbd") && !is_rbd {
            found.add(
                format!("{path}/{place}encryption/@engine"),
                "librbd knows images of protocol='rbd' only",
            );
        }
    }
}

fn driver(disk: &Disk, driver: &DiskDriver, path: &str, found: &mut Found) {
    if let Some(name) = driver.name.as_deref().filter(|name| *name != "qemu") {
        found.add(format!("{path}/@name"), format!("`{name}` is not known here (known: qemu)"));
    }
    const FORMATS: [&str; 17] = [
        "none", "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop", "cow",
        "qcow", "qcow2", "qed", "vmdk",
    ];
    if let Some(format) = driver.format.as_deref().filter(|format| !FORMATS.contains(format)) {
        found.add(format!("{path}/@type"), format!("format `{format}` is not known here"));
    }
    for thread in driver.foreign.tree("iothreads").unwrap_or_default().all("iothread") {
        let id = thread.attribute("id").and_then(|id| id.parse::<u32>().ok()).filter(|id| *id > 0);
        if id.is_none() {
            found.add(format!("{path}/iothreads/iothread/@id"), "a number from 1 is missing");
        }
    }
    let is_direct = matches!(driver.cache, Some(CacheMode::None | CacheMode::DirectSync));
    if driver.io == Some(IoMode::Native) && !is_direct {
        found.add(format!("{path}/@io"), "io='native' needs cache='none' or 'directsync'");
    }
    let is_read_only = disk.readonly || disk.device == DiskDevice::Cdrom;
    if driver.copy_on_read == Some(OnOff::On) && is_read_only {
        found.add(
            format!("{path}/@copy_on_read"),
            "what is read cannot be copied to a disk that is only read",
        );
    }
    let Some(bus) = disk.target.bus.filter(|bus| *bus != DiskBus::Virtio) else { return };
    let VirtioOptions { iommu, ats, packed, page_per_vq } = &driver.virtio;
    for (name, is_given) in [
        ("iothread", driver.iothread.is_some()),
        ("queues", driver.queues.is_some()),
        ("queue_size", driver.queue_size.is_some()),
        ("event_idx", driver.event_idx.is_some()),
        ("ioeventfd", driver.ioeventfd.is_some()),
        ("iommu", iommu.is_some()),
        ("ats", ats.is_some()),
        ("packed", packed.is_some()),
        ("page_per_vq", page_per_vq.is_some()),
    ] {
        if is_given {
            found.add(format!("{path}/@{name}"), format!("it is for bus `virtio`, not `{bus}`"));
        }
    }
}

fn source(disk: &Disk, source: &DiskSource, path: &str, found: &mut Found) {
    let path = format!("{path}/source");
    let is_network = disk.kind == SourceKind::Network;
    if is_network && source.startup_policy.is_some() {
        found.add(format!("{path}/@startupPolicy"), "whether it is there, only a start can tell");
    }
    let Some(protocol) = source.protocol.as_deref().filter(|_| is_network) else { return };
    if !PROTOCOLS.contains(&protocol) && protocol != "tftp" {
        let message = format!("`{protocol}` is not known here (known: {})", PROTOCOLS.join(", "));
        return found.add(format!("{path}/@protocol"), message);
    }
    if source.name.as_deref().is_none_or(str::is_empty) && protocol != "nbd" {
        found.add(format!("{path}/@name"), "attribute `name` is missing");
    }
    for host in &source.hosts {
        let is_unix = host.transport == Some(Transport::Unix);
        if is_unix && host.socket.is_none() {
            found.add(format!("{path}/host"), "attribute `socket` is missing (the transport is `unix`)");
        } else if !is_unix && host.name.as_deref().is_none_or(str::is_empty) {
            found.add(format!("{path}/host"), "attribute `name` is missing");
        }
    }
}

/// A limit of both ways and one of each exclude each other.
/// Disks of one group share its limits: they say the same. The second of a pair is told.
fn shared_limits(disks: &[Disk], at: usize, tune: &IoTune, path: &str, found: &mut Found) {
    let Some(group) = tune.group() else { return };
    if !tune.has_limits() {
        return found.add(path, "a group has limits: none is set here");
    }
    let same = |other: &IoTune| IoTune::LIMITS.iter().all(|name| other.limit(name) == tune.limit(name));
    for disk in &disks[..at] {
        let Some(other) = disk.iotune.as_deref().filter(|other| other.group().as_ref() == Some(&group))
        else {
            continue;
        };
        if !same(other) {
            let (one, two) = (&disk.target.dev, &disks[at].target.dev);
            found.add(path, format!("disks {one} and {two} of group `{group}` have different limits"));
        }
    }
}

fn limits(tune: &IoTune, path: &str, found: &mut Found) {
    let kept = |name: &str| {
        let text = tune.foreign.tree(name).map(|limit| limit.text);
        text.and_then(|text| text.parse::<u64>().ok())
    };
    let sets = [
        ("bytes_sec", tune.total_bytes_sec, tune.read_bytes_sec, tune.write_bytes_sec),
        ("iops_sec", tune.total_iops_sec, tune.read_iops_sec, tune.write_iops_sec),
        (
            "bytes_sec_max",
            kept("total_bytes_sec_max"),
            kept("read_bytes_sec_max"),
            kept("write_bytes_sec_max"),
        ),
        ("iops_sec_max", kept("total_iops_sec_max"), kept("read_iops_sec_max"), kept("write_iops_sec_max")),
    ];
    for (name, total, read, write) in sets {
        let is_set = |limit: Option<u64>| limit.is_some_and(|limit| limit > 0);
        if is_set(total) && (is_set(read) || is_set(write)) {
            found.add(
                path,
                format!("total_{name} and one of read_{name} and write_{name} exclude each other"),
            );
        }
    }
}
