//! Disks that another process serves over vhost-user: a socket instead of block nodes. The guest's memory is shared with
//! that process, which the document's check asks for.

use lodge_model::domain::disk::{Disk, DiskBus};
use lodge_model::domain::os::BootSource;
use lodge_model::xml::{Kept, YesNo};

use super::alias::disk_bus;
use super::builder::{Builder, alias};
use super::controller::{virtio_name, virtio_options};
use super::props::{Props, escaped};

/// Its character device and itself.
pub(super) fn disk(b: &mut Builder<'_>, disk: &Disk) {
    let id = alias(&disk.place);
    if disk_bus(disk) != DiskBus::Virtio {
        return b.refuse("vhostuser disk supports only virtio bus");
    }
    let source = disk.source.as_deref();
    let reconnect = source.and_then(|source| source.foreign.tree("reconnect"));
    let server = match (b.claims.helpers.get(id), source.and_then(|source| source.foreign.attribute("path")))
    {
        (Some(fd), _) => format!("fd={fd}"),
        (None, Some(path)) => format!("path={}", escaped(path)),
        (None, None) => return b.refuse("missing 'path' attribute for vhostuser disk source"),
    };
    let again = reconnect.as_ref().and_then(|tree| again_s(b, tree));
    // Since QEMU 9.2 by milliseconds, and no other way later on.
    let version = b.capabilities.version;
    let by_ms = (version.major, version.minor) >= (9, 2);
    let again = match again {
        Some(seconds) if by_ms => format!(",reconnect-ms={}", u64::from(seconds) * 1000),
        Some(seconds) => format!(",reconnect={seconds}"),
        None => String::new(),
    };
    let chardev = format!("chr-vu-{id}");
    b.arg("-chardev", format!("socket,id={chardev},{server}{again}"));
    let name = virtio_name("vhost-user-blk-pci", disk.model.as_deref());
    let driver = disk.driver.as_deref();
    let props = Props::driver(&name)
        .maybe("num-queues", driver.and_then(|driver| driver.queues))
        .maybe("queue-size", driver.and_then(|driver| driver.queue_size));
    let props = b.pci(virtio_options(props, driver.map(|driver| &driver.virtio)), &disk.place);
    let boot_index = b.boot_index(&disk.place, BootSource::Hd);
    b.device(&name, &props.with("chardev", chardev).with("id", id).maybe("bootindex", boot_index));
}

/// After how many seconds QEMU connects again; libvirt's default is never.
fn again_s(b: &mut Builder<'_>, tree: &Kept) -> Option<u32> {
    if tree.attribute("enabled") != Some(YesNo::Yes.as_str()) {
        return None;
    }
    let seconds = tree.attribute("timeout").and_then(|text| text.parse().ok());
    if seconds.is_none() {
        b.refuse("<reconnect> needs a `timeout` in seconds");
    }
    seconds
}
