//! `<hostdev>`: devices of the host's. Who may have them, and who frees them of their drivers, is the engine's matter:
//! without its claim a device is refused.

use lodge_model::domain::address::{Address, PciAddress};
use lodge_model::domain::hostdev::{
    GuestReset, HostAddress, Hostdev, HostdevDriverName, HostdevKind, HostdevMode, HostdevModel,
    StartupPolicy,
};
use lodge_model::xml::{OnOff, YesNo};

use super::builder::{Builder, alias};
use super::controller::virtio_name;
use super::props::Props;
use crate::claims::{FdNumber, HostdevClaim};

/// All of them; first those that are written as interfaces, as libvirt has them.
pub(super) fn hostdevs(b: &mut Builder<'_>) {
    for (at, card) in b.domain.devices.interfaces.iter().enumerate() {
        b.at_device("interface", at);
        if let Some(hostdev) = card.as_hostdev() {
            pci(b, &hostdev);
        }
    }
    for (at, hostdev) in b.domain.devices.hostdevs.iter().enumerate() {
        b.at_device("hostdev", at);
        if hostdev.mode == HostdevMode::Capabilities {
            b.refuse("mode='capabilities' is containers'");
            continue;
        }
        match hostdev.kind {
            HostdevKind::Usb => usb(b, hostdev),
            HostdevKind::Pci => pci(b, hostdev),
            HostdevKind::Scsi => scsi(b, hostdev),
            HostdevKind::ScsiHost => vhost(b, hostdev),
            HostdevKind::Mdev => mdev(b, hostdev),
            kind => b.refuse(format!("devices of type='{kind}' are containers'")),
        }
    }
}

/// The descriptor that the engine has of it; refuses without.
fn descriptor(b: &mut Builder<'_>, hostdev: &Hostdev, what: &str) -> Option<FdNumber> {
    match b.claims.hostdevs.get(alias(&hostdev.place)) {
        Some(HostdevClaim::Opened(fd)) => Some(*fd),
        Some(HostdevClaim::Ready) | None => {
            b.refuse(format!("{what} was not opened"));
            None
        }
    }
}

/// Whether the engine has made it ready for VFIO; refuses if not.
fn is_ready(b: &mut Builder<'_>, hostdev: &Hostdev, what: &str) -> bool {
    let ready = b.claims.hostdevs.get(alias(&hostdev.place)) == Some(&HostdevClaim::Ready);
    if !ready {
        b.refuse(format!("{what} was not given to VFIO"));
    }
    ready
}

fn usb(b: &mut Builder<'_>, hostdev: &Hostdev) {
    let id = alias(&hostdev.place);
    let source = &hostdev.source;
    let may_miss =
        source.startup_policy == Some(StartupPolicy::Optional) || source.missing.is_some_and(YesNo::is_yes);
    let path = if may_miss && !b.claims.hostdevs.contains_key(id) {
        b.warn("the host has no such device now; the guest starts without it, as its startupPolicy says");
        return;
    } else {
        let Some(fd) = descriptor(b, hostdev, "the host's USB device") else { return };
        b.fdset(fd, "usb")
    };
    let (reset, all) = match hostdev.source.guest_reset {
        None => (None, None),
        Some(GuestReset::Off) => (Some(false), None),
        Some(GuestReset::Uninitialized) => (Some(true), Some(false)),
        Some(GuestReset::On) => (Some(true), Some(true)),
    };
    let props = Props::driver("usb-host")
        .with("hostdevice", path)
        .with("id", id)
        .maybe("bootindex", hostdev.place.boot.as_ref().map(|boot| boot.order))
        .maybe("guest-reset", reset)
        .maybe("guest-resets-all", all);
    let props = b.usb(props, &hostdev.place);
    b.device("usb-host", &props);
}

pub(super) fn pci_text(address: &PciAddress) -> String {
    format!("{:04x}:{:02x}:{:02x}.{:x}", address.domain, address.bus, address.slot, address.function)
}

fn pci(b: &mut Builder<'_>, hostdev: &Hostdev) {
    if matches!(hostdev.place.address, Some(Address::Unassigned(_))) {
        // Taken from the host, and not given to the guest: it shares a group with one that is.
        return;
    }
    if let Some(name) = hostdev.driver.name.filter(|name| *name != HostdevDriverName::Vfio) {
        return b.refuse_hinted(
            format!("QEMU has no driver '{name}' for PCI devices"),
            "use <driver name='vfio'/>",
        );
    }
    let Some(HostAddress::Pci(address)) = &hostdev.source.address else {
        return b.refuse("<source> names no PCI device");
    };
    let host = pci_text(address);
    if !is_ready(b, hostdev, &format!("the host's PCI device {host}")) {
        return;
    }
    let name = driver(hostdev);
    let pair = hostdev.teaming.as_ref().and_then(|teaming| teaming.persistent.as_deref());
    let props = Props::driver(name)
        .with("host", host)
        .with("id", alias(&hostdev.place))
        .maybe("bootindex", hostdev.place.boot.as_ref().map(|boot| boot.order))
        .maybe("failover_pair_id", pair);
    vfio(b, hostdev, name, props);
}

fn mdev(b: &mut Builder<'_>, hostdev: &Hostdev) {
    let Some(HostAddress::Mdev(address)) = &hostdev.source.address else {
        return b.refuse("<source> names no mediated device");
    };
    let Some(uuid) = address.uuid else { return b.refuse("the mediated device's uuid is missing") };
    if hostdev.model != Some(HostdevModel::VfioPci) {
        return b.refuse("a PC has mediated devices of model='vfio-pci' only");
    }
    if !is_ready(b, hostdev, &format!("the mediated device {uuid}")) {
        return;
    }
    let name = driver(hostdev);
    let props = Props::driver(name)
        .with("id", alias(&hostdev.place))
        .with("sysfsdev", format!("/sys/bus/mdev/devices/{uuid}"));
    vfio(b, hostdev, name, props);
}

/// A screen before the guest's driver is there needs the form that cannot be plugged.
fn driver(hostdev: &Hostdev) -> &'static str {
    if hostdev.ramfb == Some(OnOff::On) { "vfio-pci-nohotplug" } else { "vfio-pci" }
}

/// What all VFIO devices have; the guest's memory is locked for them.
fn vfio(b: &mut Builder<'_>, hostdev: &Hostdev, name: &str, props: Props) {
    let ramfb = hostdev.ramfb == Some(OnOff::On);
    let props =
        props.maybe("display", hostdev.display.map(OnOff::as_str)).maybe("ramfb", ramfb.then_some(true));
    let props = b.pci(props, &hostdev.place);
    b.lock_memory();
    b.device(name, &props);
}

fn vhost(b: &mut Builder<'_>, hostdev: &Hostdev) {
    let Some(wwpn) = hostdev.source.wwpn.as_deref() else {
        return b.refuse("<source wwpn='…'/> is missing");
    };
    let Some(fd) = descriptor(b, hostdev, "/dev/vhost-scsi") else { return };
    let name = virtio_name("vhost-scsi-pci", hostdev.model.map(HostdevModel::as_str));
    let props = Props::driver(&name)
        .with("wwpn", wwpn)
        .with("vhostfd", fd.to_string())
        .with("id", alias(&hostdev.place));
    let props = b.pci(props, &hostdev.place);
    b.device(&name, &props);
}

fn scsi(b: &mut Builder<'_>, hostdev: &Hostdev) {
    let id = alias(&hostdev.place);
    if hostdev.rawio.is_some_and(YesNo::is_yes) {
        b.pass_raw_commands();
    }
    let node = format!("libvirt-{id}-backend");
    let props = if hostdev.is_iscsi() {
        match iscsi(b, hostdev) {
            Some(props) => props,
            None => return,
        }
    } else {
        let Some(fd) = descriptor(b, hostdev, "the host's SCSI unit") else { return };
        // QEMU asks the name whether it is a generic SCSI device, and a set of descriptors has none.
        Props::plain().with("driver", "host_device").with("filename", format!("/proc/self/fd/{fd}"))
    };
    let props = props.with("node-name", node.as_str()).with("read-only", hostdev.read_only);
    b.json("-blockdev", &props);
    let props = Props::driver("scsi-generic")
        .with("drive", node)
        .with("id", id)
        .maybe("bootindex", hostdev.place.boot.as_ref().map(|boot| boot.order));
    let props = match &hostdev.place.address {
        Some(Address::Drive(drive)) if super::disk::is_old_scsi(b, drive.controller) => {
            props.with("bus", format!("scsi{}.{}", drive.controller, drive.bus)).with("scsi-id", drive.unit)
        }
        Some(Address::Drive(drive)) => props
            .with("bus", format!("scsi{}.0", drive.controller))
            .with("channel", drive.bus)
            .with("scsi-id", drive.target)
            .with("lun", drive.unit),
        _ => return b.refuse("this device needs an address of type 'drive'"),
    };
    b.device("scsi-generic", &props);
}

/// The unit of an iSCSI target; one that needs a login is refused with what else is only kept.
fn iscsi(b: &mut Builder<'_>, hostdev: &Hostdev) -> Option<Props> {
    let source = &hostdev.source;
    let host = source.hosts.first()?;
    let (target, unit) = source.name.as_deref()?.rsplit_once('/')?;
    let Ok(lun) = unit.parse::<u32>() else {
        b.refuse(format!("`{unit}` behind the target's name is no number of a unit"));
        return None;
    };
    let initiator = source.initiator.as_ref().and_then(|initiator| initiator.iqn.as_ref());
    Some(
        Props::plain()
            .with("driver", "iscsi")
            .with("portal", format!("{}:{}", host.name, host.port.unwrap_or(3260)))
            .with("target", target)
            .with("lun", lun)
            .with("transport", "tcp")
            .maybe("initiator-name", initiator.map(|iqn| iqn.name.as_str())),
    )
}
