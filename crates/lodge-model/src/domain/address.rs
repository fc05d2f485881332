//! Where a device sits in the guest: the `<address>` element, and what every device has beside it.

use crate::xml::words::{OnOff, YesNo, words};
use crate::xml::{Foreign, Kept, Xml, read_number};

/// What every device can have after its own elements: boot order, alias, ROM, address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
#[xml(part)]
pub struct Place {
    /// `<boot order='1'/>`.
    #[xml(child)]
    pub boot: Option<Box<BootOrder>>,
    /// `<alias name='virtio-disk0'/>`; written only in the live form unless it is the user's (`ua-…`).
    #[xml(child, live_unless_user)]
    pub alias: Option<Alias>,
    /// `<master startport='0'/>` of a USB companion.
    #[xml(child)]
    pub master: Option<Box<Master>>,
    /// `<rom …/>`.
    #[xml(child)]
    pub rom: Option<Box<Rom>>,
    /// `<acpi index='…'/>`.
    #[xml(child)]
    pub acpi: Option<Box<AcpiIndex>>,
    /// `<address …/>`.
    #[xml(child)]
    pub address: Option<Address>,
}

/// `<master startport='0'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Master {
    /// The first port of the master it serves.
    #[xml(attr = "startport", required)]
    pub start_port: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<boot order='1'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct BootOrder {
    /// From 1; the lowest is tried first.
    #[xml(attr, required)]
    pub order: u32,
    /// s390's load parameter.
    #[xml(attr = "loadparm")]
    pub load_parameter: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<alias name='…'/>`: QEMU's id of the device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Alias {
    /// The name.
    #[xml(attr, required)]
    pub name: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl Alias {
    /// An alias of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), foreign: Foreign::default() }
    }

    /// Whether the user chose it; such an alias is part of the definition.
    pub fn is_users(&self) -> bool {
        self.name.starts_with("ua-")
    }
}

/// `<rom enabled='…' bar='…' file='…'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Rom {
    /// Whether the device has a ROM at all.
    #[xml(attr)]
    pub enabled: Option<YesNo>,
    /// Whether the guest sees it.
    #[xml(attr)]
    pub bar: Option<OnOff>,
    /// The ROM's file.
    #[xml(attr)]
    pub file: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<acpi index='1'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct AcpiIndex {
    /// The device's number in the guest's firmware tables.
    #[xml(attr, required)]
    pub index: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// A device's address, by its `type`.
#[derive(Debug, Clone, PartialEq, Eq, Xml)]
#[xml(tag = "type")]
pub enum Address {
    /// On a PCI bus.
    #[xml(value = "pci")]
    Pci(PciAddress),
    /// On a drive controller.
    #[xml(value = "drive")]
    Drive(DriveAddress),
    /// On a virtio-serial bus.
    #[xml(value = "virtio-serial")]
    VirtioSerial(VirtioSerialAddress),
    /// On a smart-card bus.
    #[xml(value = "ccid")]
    Ccid(CcidAddress),
    /// On a USB bus.
    #[xml(value = "usb")]
    Usb(UsbAddress),
    /// On pSeries' virtual bus.
    #[xml(value = "spapr-vio")]
    SpaprVio(Box<OtherAddress>),
    /// s390 virtio without a bus.
    #[xml(value = "virtio-s390")]
    VirtioS390(Box<OtherAddress>),
    /// s390's channel subsystem.
    #[xml(value = "ccw")]
    Ccw(Box<OtherAddress>),
    /// Memory-mapped virtio.
    #[xml(value = "virtio-mmio")]
    VirtioMmio(Box<OtherAddress>),
    /// On the ISA bus.
    #[xml(value = "isa")]
    Isa(IsaAddress),
    /// A memory module's slot.
    #[xml(value = "dimm")]
    Dimm(DimmAddress),
    /// Any free place; libvirt replaces it by an address.
    #[xml(value = "unassigned")]
    Unassigned(Box<OtherAddress>),
}

impl Address {
    /// The PCI address, if it is one.
    pub const fn pci(&self) -> Option<&PciAddress> {
        if let Self::Pci(address) = self { Some(address) } else { None }
    }
}

/// `<address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct PciAddress {
    /// PCI domain (segment).
    #[xml(attr, hex = 4)]
    pub domain: u16,
    /// Bus = index of the PCI controller.
    #[xml(attr, hex = 2)]
    pub bus: u8,
    /// Slot 0 to 31.
    #[xml(attr, hex = 2)]
    pub slot: u8,
    /// Function 0 to 7.
    #[xml(attr, hex = 1)]
    pub function: u8,
    /// Whether other functions share the slot.
    #[xml(attr)]
    pub multifunction: Option<OnOff>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "zpci")]
    pub foreign: Foreign,
}

impl PciAddress {
    /// An address in domain 0.
    pub fn new(bus: u8, slot: u8, function: u8) -> Self {
        Self { bus, slot, function, ..Self::default() }
    }

    /// An element that is only kept, if it is one of PCI.
    pub(crate) fn of_kept(address: &Kept) -> Option<Self> {
        if address.attribute("type").is_some_and(|kind| kind != "pci") {
            return None;
        }
        let number = |name: &str| address.attribute(name).map_or(Some(0), read_number);
        Some(Self {
            domain: number("domain")?.try_into().ok()?,
            ..Self::new(
                number("bus")?.try_into().ok()?,
                number("slot")?.try_into().ok()?,
                number("function")?.try_into().ok()?,
            )
        })
    }

    /// The element to be kept: `<address type='pci' …/>`.
    pub fn to_kept(&self) -> Kept {
        let Self { domain, bus, slot, function, .. } = self;
        Kept::new("address")
            .with("type", "pci")
            .with("domain", format!("0x{domain:04x}"))
            .with("bus", format!("0x{bus:02x}"))
            .with("slot", format!("0x{slot:02x}"))
            .with("function", format!("0x{function:x}"))
    }
}

/// `<address type='drive' controller='0' bus='0' target='0' unit='0'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct DriveAddress {
    /// Index of the controller.
    #[xml(attr)]
    pub controller: u32,
    /// Bus on it.
    #[xml(attr)]
    pub bus: u32,
    /// Target on the bus (scsi).
    #[xml(attr)]
    pub target: u32,
    /// Unit on the bus or target.
    #[xml(attr)]
    pub unit: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<address type='virtio-serial' controller='0' bus='0' port='1'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct VirtioSerialAddress {
    /// Index of the controller.
    #[xml(attr)]
    pub controller: u32,
    /// Bus on it: always 0 in QEMU.
    #[xml(attr)]
    pub bus: u32,
    /// Port; 0 is kept for the console.
    #[xml(attr)]
    pub port: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<address type='ccid' controller='0' slot='0'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct CcidAddress {
    /// Index of the controller.
    #[xml(attr)]
    pub controller: u32,
    /// Slot on it.
    #[xml(attr)]
    pub slot: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<address type='usb' bus='0' port='1.2'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct UsbAddress {
    /// Index of the USB controller.
    #[xml(attr)]
    pub bus: u32,
    /// Port path: numbers from 1 with dots through hubs.
    #[xml(attr)]
    pub port: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<address type='isa' iobase='0x3f8' irq='0x4'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct IsaAddress {
    /// First I/O port.
    #[xml(attr = "iobase", hex = 1)]
    pub io_base: Option<u32>,
    /// Interrupt line.
    #[xml(attr, hex = 1)]
    pub irq: Option<u32>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<address type='dimm' slot='0' base='0x100000000'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct DimmAddress {
    /// The slot, from 0.
    #[xml(attr)]
    pub slot: u32,
    /// Where it begins in the guest's memory; QEMU finds a place if nothing is said.
    #[xml(attr, hex = 1)]
    pub base: Option<u64>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// An address of a machine Lodge does not run yet, kept as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct OtherAddress {
    /// All attributes but the type.
    #[xml(foreign, known)]
    pub attributes: Foreign,
}

words! {
    /// Sorts of address, for tables.
    pub enum AddressKind {
        Pci = "pci", Drive = "drive", VirtioSerial = "virtio-serial", Ccid = "ccid", Usb = "usb", SpaprVio = "spapr-vio",
        VirtioS390 = "virtio-s390", Ccw = "ccw", VirtioMmio = "virtio-mmio", Isa = "isa", Dimm = "dimm", Unassigned = "unassigned",
    }
}
