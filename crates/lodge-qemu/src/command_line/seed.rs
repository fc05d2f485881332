//! The cloud-init seed: a small read-only disk of Lodge's own beside the document's.
//!
//! A virtio disk, because cloud kernels have no driver for SATA or IDE; in a place the document leaves free, and
//! behind the document's own disks, so that these keep their names (`vda`) in the guest.

use lodge_model::domain::address::{Address, Place};
use lodge_model::domain::controller::ControllerKind;

use super::builder::{Builder, Family};
use super::props::Props;

/// The seed's disk, if there is a seed.
pub(super) fn seed(b: &mut Builder<'_>) {
    let Some(fd) = b.claims.seed else { return };
    b.at("/domain/metadata/lodge:guest/lodge:seed");
    let path = b.fdset(fd, "rdonly");
    let file = Props::driver("file")
        .with("filename", path)
        .with("node-name", "lodge-seed-storage")
        .with("read-only", true);
    b.json("-blockdev", &file);
    let format = Props::plain()
        .with("node-name", "lodge-seed-format")
        .with("read-only", true)
        .with("driver", "raw")
        .with("file", "lodge-seed-storage");
    b.json("-blockdev", &format);
    let (bus, slot) = free_place(b);
    let device = Props::driver("virtio-blk-pci")
        .with("bus", bus)
        .with("addr", format!("{slot:#x}"))
        .with("drive", "lodge-seed-format")
        .with("id", "lodge-seed")
        .with("serial", "lodge-seed");
    b.device("virtio-blk-pci", &device);
}

/// The last root port that nothing hangs on; else the highest free slot of the root.
fn free_place(b: &Builder<'_>) -> (String, u8) {
    let taken = taken(b);
    let is_free = |bus: u8, slot: u8| !taken.contains(&(bus, slot));
    let ports = b.domain.devices.controllers.iter().filter(|controller| {
        controller.kind == ControllerKind::Pci && controller.model.as_deref() == Some("pcie-root-port")
    });
    let free_port = ports
        .filter_map(|controller| u8::try_from(controller.index?).ok())
        .filter(|bus| is_free(*bus, 0))
        .max()
        .filter(|_| b.family == Family::Q35);
    if let Some(bus) = free_port {
        return (b.pci_bus(bus), 0);
    }
    // 0x1f is the chip set's on q35.
    let slot = (1..0x1f).rev().find(|slot| is_free(0, *slot)).unwrap_or(0x1e);
    (b.pci_bus(0), slot)
}

/// Every PCI address the document gives away.
fn taken(b: &Builder<'_>) -> Vec<(u8, u8)> {
    let devices = &*b.domain.devices;
    let places: Vec<&Place> = devices
        .disks
        .iter()
        .map(|device| &device.place)
        .chain(devices.controllers.iter().map(|device| &device.place))
        .chain(devices.interfaces.iter().map(|device| &device.place))
        .chain(devices.serials.iter().map(|device| &device.place))
        .chain(devices.inputs.iter().map(|device| &device.place))
        .chain(devices.sounds.iter().map(|device| &device.place))
        .chain(devices.videos.iter().map(|device| &device.place))
        .chain(devices.watchdogs.iter().map(|device| &device.place))
        .chain(devices.memballoon.iter().map(|device| &device.place))
        .chain(devices.rngs.iter().map(|device| &device.place))
        .chain(devices.panics.iter().map(|device| &device.place))
        .chain(devices.vsock.iter().map(|device| &device.place))
        .collect();
    places
        .iter()
        .filter_map(|place| place.address.as_ref().and_then(Address::pci))
        .map(|pci| (pci.bus, pci.slot))
        .collect()
}
