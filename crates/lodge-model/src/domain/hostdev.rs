//! `<hostdev>`: a device of the host's that the guest gets.

use super::address::{PciAddress, Place};
use crate::DomainId;
use crate::xml::words::{OnOff, YesNo, words};
use crate::xml::{Element, Foreign, ForeignItem, Node, Reader, Value, Writer, Xml, read_number};

words! {
    /// How the device is given.
    pub enum HostdevMode { Subsystem = "subsystem", Capabilities = "capabilities" }
}

words! {
    /// What the device is; the last three are of `capabilities`, which are containers'.
    pub enum HostdevKind {
        Usb = "usb", Pci = "pci", Scsi = "scsi", ScsiHost = "scsi_host", Mdev = "mdev", Storage = "storage", Misc = "misc",
        Net = "net",
    }
}

words! {
    /// mdev: the bus it is on. scsi_host: how old the guest's drivers may be.
    pub enum HostdevModel {
        VfioPci = "vfio-pci", VfioCcw = "vfio-ccw", VfioAp = "vfio-ap", Virtio = "virtio",
        Transitional = "virtio-transitional", NonTransitional = "virtio-non-transitional",
    }
}

words! {
    /// Whether SCSI commands are looked at.
    pub enum Sgio { Filtered = "filtered", Unfiltered = "unfiltered" }
}

/// `<hostdev mode='subsystem' type='pci' managed='yes'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
#[xml(open)]
pub struct Hostdev {
    /// How the device is given.
    #[xml(attr)]
    pub mode: HostdevMode,
    /// What it is.
    #[xml(attr = "type", required)]
    pub kind: HostdevKind,
    /// pci: whether the daemon takes it from its driver and gives it back.
    #[xml(attr)]
    pub managed: Option<YesNo>,
    /// scsi.
    #[xml(attr)]
    pub sgio: Option<Sgio>,
    /// scsi: whether QEMU gets CAP_SYS_RAWIO.
    #[xml(attr)]
    pub rawio: Option<YesNo>,
    /// mdev, scsi_host.
    #[xml(attr)]
    pub model: Option<HostdevModel>,
    /// mdev, pci: whether its screen is shown.
    #[xml(attr)]
    pub display: Option<OnOff>,
    /// mdev, pci: whether there is a screen before its driver is there.
    #[xml(attr)]
    pub ramfb: Option<OnOff>,
    /// pci: `<driver name='vfio'/>`.
    #[xml(child)]
    pub driver: HostdevDriver,
    /// `<source>`: which device.
    #[xml(child, required)]
    pub source: HostdevSource,
    /// pci: `<teaming type='transient' persistent='ua-nic'/>`.
    #[xml(child)]
    pub teaming: Option<HostdevTeaming>,
    /// scsi: whether the guest may not write.
    #[xml(flag = "readonly")]
    pub read_only: bool,
    /// scsi: whether other guests may have it, too.
    #[xml(flag)]
    pub shareable: bool,
    /// Boot order, alias, ROM, address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign, keeps = "ip route")]
    pub foreign: Foreign,
}

words! {
    /// What gives the device to QEMU.
    pub enum HostdevDriverName { Kvm = "kvm", Vfio = "vfio", Xen = "xen" }
}

/// `<driver name='vfio' model='vfio-pci'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct HostdevDriver {
    /// What gives the device to QEMU.
    #[xml(attr)]
    pub name: Option<HostdevDriverName>,
    /// The host's module for it.
    #[xml(attr)]
    pub model: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Whether a start goes on without the device.
    pub enum StartupPolicy { Mandatory = "mandatory", Requisite = "requisite", Optional = "optional" }
}

words! {
    /// What a reset that the guest asks for does.
    pub enum GuestReset { Off = "off", Uninitialized = "uninitialized", On = "on" }
}

/// `<source>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct HostdevSource {
    /// scsi: `iscsi`; scsi_host: `vhost`.
    #[xml(attr)]
    pub protocol: Option<String>,
    /// iscsi: target and unit.
    #[xml(attr)]
    pub name: Option<String>,
    /// vhost: the target's name.
    #[xml(attr)]
    pub wwpn: Option<String>,
    /// usb: whether a start goes on without it.
    #[xml(attr = "startupPolicy")]
    pub startup_policy: Option<StartupPolicy>,
    /// usb, live: it was not there at the start.
    #[xml(attr, live)]
    pub missing: Option<YesNo>,
    /// usb: what a reset that the guest asks for does.
    #[xml(attr = "guestReset")]
    pub guest_reset: Option<GuestReset>,
    /// pci, Xen's.
    #[xml(attr = "writeFiltering")]
    pub write_filtering: Option<YesNo>,
    /// usb: `<vendor id='0x1234'/>`.
    #[xml(child)]
    pub vendor: Option<UsbId>,
    /// usb: `<product id='0xbeef'/>`.
    #[xml(child)]
    pub product: Option<UsbId>,
    /// scsi: `<adapter name='scsi_host0'/>`.
    #[xml(child)]
    pub adapter: Option<ScsiAdapter>,
    /// iscsi: `<host name='example.com' port='3260'/>`.
    #[xml(children = "host")]
    pub hosts: Vec<IscsiHost>,
    /// iscsi: `<auth>`, kept as it is.
    #[xml(kept = "auth")]
    pub auth: Foreign,
    /// iscsi: `<initiator><iqn name='iqn.2020-07.com.example:host'/></initiator>`.
    #[xml(child)]
    pub initiator: Option<IscsiInitiator>,
    /// `<address …/>`: which device it is.
    #[xml(child)]
    pub address: Option<HostAddress>,
    /// What this struct does not know: what containers get, and in a status from whom the device was taken.
    #[xml(foreign, keeps = "block char interface origstates @autoAddress")]
    pub foreign: Foreign,
}

/// `<vendor id='0x1234'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct UsbId {
    /// The number.
    #[xml(attr, hex = 4)]
    pub id: u16,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<adapter name='scsi_host0'/>`, `<iqn name='…'/>`: a name alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ScsiAdapter {
    /// Its name.
    #[xml(attr, required)]
    pub name: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<host name='example.com' port='3260'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct IscsiHost {
    /// Its name.
    #[xml(attr, required)]
    pub name: String,
    /// The port.
    #[xml(attr)]
    pub port: Option<u16>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "@transport")]
    pub foreign: Foreign,
}

/// `<initiator>`: who the target is told to be talking to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct IscsiInitiator {
    /// `<iqn name='iqn.2020-07.com.example:host'/>`.
    #[xml(child)]
    pub iqn: Option<ScsiAdapter>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<teaming type='transient' persistent='ua-nic'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct HostdevTeaming {
    /// Always `transient`.
    #[xml(attr = "type", required)]
    pub kind: String,
    /// The alias of the interface that stays.
    #[xml(attr)]
    pub persistent: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// Where the host has the device. Which sort it is, its own attributes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAddress {
    /// On PCI.
    Pci(PciAddress),
    /// On USB.
    Usb(HostUsbAddress),
    /// Behind a SCSI adapter.
    Scsi(HostScsiAddress),
    /// A mediated device.
    Mdev(MdevAddress),
}

/// `<address bus='1' device='2'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct HostUsbAddress {
    /// The bus.
    #[xml(attr, required)]
    pub bus: Number,
    /// The device's number on it, until it is pulled out.
    #[xml(attr, required)]
    pub device: Number,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<address bus='0' target='0' unit='0'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct HostScsiAddress {
    /// The bus.
    #[xml(attr, required)]
    pub bus: Number,
    /// The target.
    #[xml(attr, required)]
    pub target: Number,
    /// The unit.
    #[xml(attr, required)]
    pub unit: Number,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// A number, read in any of C's bases and written in decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Number(pub u64);

impl Value for Number {
    fn read_value(text: &str) -> Result<Self, String> {
        read_number(text).map(Self).ok_or_else(|| format!("`{text}` is no number (decimal or 0x…)"))
    }

    fn write_value(&self, out: &mut String) {
        self.0.write_value(out);
    }
}

/// `<address uuid='…'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct MdevAddress {
    /// Its name.
    #[xml(attr, required)]
    pub uuid: Option<DomainId>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl Element for HostAddress {
    fn read(node: Node<'_, '_>, tag: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let has = |name| node.has_attribute(name);
        Some(if has("uuid") {
            Self::Mdev(Element::read(node, tag, reader)?)
        } else if has("device") {
            Self::Usb(Element::read(node, "type", reader)?)
        } else if has("target") || has("unit") {
            Self::Scsi(Element::read(node, "type", reader)?)
        } else {
            Self::Pci(Element::read(node, "type", reader)?)
        })
    }

    fn write_attributes(&self, writer: &mut Writer) {
        match self {
            Self::Pci(address) => address.write_attributes(writer),
            Self::Usb(address) => address.write_attributes(writer),
            Self::Scsi(address) => address.write_attributes(writer),
            Self::Mdev(address) => address.write_attributes(writer),
        }
    }

    fn write_content(&self, writer: &mut Writer) {
        match self {
            Self::Pci(address) => address.write_content(writer),
            Self::Usb(address) => address.write_content(writer),
            Self::Scsi(address) => address.write_content(writer),
            Self::Mdev(address) => address.write_content(writer),
        }
    }

    fn visit_foreign<'a>(&'a self, visit: &mut dyn FnMut(&'a ForeignItem)) {
        match self {
            Self::Pci(address) => address.visit_foreign(visit),
            Self::Usb(address) => address.visit_foreign(visit),
            Self::Scsi(address) => address.visit_foreign(visit),
            Self::Mdev(address) => address.visit_foreign(visit),
        }
    }
}

impl Hostdev {
    /// Whether it is a SCSI unit, which sits on a controller of the guest's.
    pub fn is_scsi(&self) -> bool {
        self.mode == HostdevMode::Subsystem && self.kind == HostdevKind::Scsi
    }

    /// Whether the SCSI unit is reached over the network.
    pub fn is_iscsi(&self) -> bool {
        self.is_scsi() && self.source.protocol.as_deref() == Some("iscsi")
    }

    /// Whether two name the same device of the host's (virDomainHostdevMatch).
    pub fn names_same_device(&self, other: &Self) -> bool {
        let (a, b) = (&self.source, &other.source);
        if self.mode != other.mode || self.kind != other.kind {
            return false;
        }
        match self.kind {
            HostdevKind::Usb => match (&a.address, &b.address) {
                (Some(HostAddress::Usb(first)), Some(HostAddress::Usb(second))) => {
                    first.bus == second.bus && first.device == second.device
                }
                (Some(HostAddress::Usb(_)), _) => false,
                _ => a.vendor == b.vendor && a.product == b.product,
            },
            HostdevKind::Scsi if self.is_iscsi() => {
                a.name == b.name && a.hosts == b.hosts && other.is_iscsi()
            }
            HostdevKind::Scsi => a.protocol == b.protocol && a.adapter == b.adapter && a.address == b.address,
            HostdevKind::ScsiHost => a.wwpn == b.wwpn,
            HostdevKind::Pci | HostdevKind::Mdev => a.address == b.address,
            HostdevKind::Storage | HostdevKind::Misc | HostdevKind::Net => false,
        }
    }

    /// Whether the guest finds it on PCI.
    pub fn is_on_pci(&self) -> bool {
        let kind = match self.kind {
            HostdevKind::Pci | HostdevKind::ScsiHost => true,
            HostdevKind::Mdev => self.model.is_none_or(|model| model == HostdevModel::VfioPci),
            HostdevKind::Usb
            | HostdevKind::Scsi
            | HostdevKind::Storage
            | HostdevKind::Misc
            | HostdevKind::Net => false,
        };
        kind && self.mode == HostdevMode::Subsystem
    }
}
