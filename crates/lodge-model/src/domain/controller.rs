//! `<controller>`.

use super::address::Place;
use super::virtio::VirtioOptions;
use crate::xml::words::{OnOff, words};
use crate::xml::{Foreign, Xml};

words! {
    /// What a controller is of.
    pub enum ControllerKind {
        Ide = "ide", Fdc = "fdc", Scsi = "scsi", Sata = "sata", VirtioSerial = "virtio-serial", Ccid = "ccid", Usb = "usb",
        Pci = "pci", Xenbus = "xenbus", Isa = "isa", Nvme = "nvme",
    }
}

/// `<controller type='pci' index='1' model='pcie-root-port'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Controller {
    /// What it is of.
    #[xml(attr = "type", required)]
    pub kind: ControllerKind,
    /// Its number among those of its kind.
    #[xml(attr)]
    pub index: Option<u32>,
    /// Its model: `qemu-xhci`, `pcie-root-port`, `virtio-scsi` …
    #[xml(attr)]
    pub model: Option<String>,
    /// virtio-serial and USB: number of ports.
    #[xml(attr)]
    pub ports: Option<u32>,
    /// virtio-serial: number of interrupt vectors.
    #[xml(attr)]
    pub vectors: Option<u32>,
    /// PCI: `<model name='pcie-root-port'/>`.
    #[xml(child = "model")]
    pub model_name: Option<Box<ControllerModel>>,
    /// PCI: `<target chassis='1' port='0x10'/>`.
    #[xml(child)]
    pub target: Option<Box<ControllerTarget>>,
    /// `<driver …/>`.
    #[xml(child)]
    pub driver: Option<Box<ControllerDriver>>,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// `<pcihole64 unit='KiB'>1048576</pcihole64>`.
    #[xml(child = "pcihole64")]
    pub pci_hole64: Option<Box<PciHole>>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "@maxGrantFrames @maxEventChannels")]
    pub foreign: Foreign,
}

impl Controller {
    /// A controller without an address.
    pub fn new(kind: ControllerKind, index: u32, model: Option<&str>) -> Self {
        Self { kind, index: Some(index), model: model.map(str::to_owned), ..Self::default() }
    }
}

/// `<model name='pcie-root-port'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ControllerModel {
    /// QEMU's device.
    #[xml(attr, required)]
    pub name: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<target chassis='1' port='0x10'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ControllerTarget {
    /// Of a pci-bridge.
    #[xml(attr = "chassisNr")]
    pub chassis_nr: Option<u8>,
    /// Of a PCI Express port.
    #[xml(attr)]
    pub chassis: Option<u8>,
    /// Of a PCI Express port: slot × 8 + function by custom.
    #[xml(attr, hex = 1)]
    pub port: Option<u8>,
    /// Of an expander bus.
    #[xml(attr = "busNr")]
    pub bus_nr: Option<u8>,
    /// Of a pSeries host bridge.
    #[xml(attr)]
    pub index: Option<u32>,
    /// Whether devices can be plugged.
    #[xml(attr)]
    pub hotplug: Option<OnOff>,
    /// Host NUMA node.
    #[xml(leaf)]
    pub node: Option<u32>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "@memReserve")]
    pub foreign: Foreign,
}

/// `<driver queues='4' iothread='1'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ControllerDriver {
    /// virtio-scsi: number of queues.
    #[xml(attr)]
    pub queues: Option<u32>,
    /// virtio-scsi: commands of a unit.
    #[xml(attr)]
    pub cmd_per_lun: Option<u32>,
    /// virtio-scsi: sectors of a transfer.
    #[xml(attr)]
    pub max_sectors: Option<u32>,
    /// virtio's notification by eventfd.
    #[xml(attr)]
    pub ioeventfd: Option<OnOff>,
    /// Which I/O thread serves it.
    #[xml(attr)]
    pub iothread: Option<u32>,
    /// What every virtio device can have.
    #[xml(flatten)]
    pub virtio: VirtioOptions,
    /// What this struct does not know.
    #[xml(foreign, keeps = "iothreads")]
    pub foreign: Foreign,
}

/// `<pcihole64 unit='KiB'>1048576</pcihole64>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct PciHole {
    /// The unit; KiB after completion.
    #[xml(attr)]
    pub unit: Option<String>,
    /// How much, counted in `unit`.
    #[xml(text)]
    pub size: u64,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
