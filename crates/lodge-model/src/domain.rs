//! The domain document: libvirt's `<domain>` as one tree of structs.
//!
//! [`Domain::parse`] reads, [`Domain::to_xml`] writes libvirt's canonical text, [`Domain::complete`] adds what
//! libvirt adds at a definition, [`Domain::check`] finds contradictions. Field order is libvirt's output order
//! (domain_conf.c, virDomainDefFormatInternalSetRootName; the order is also that of the RNG schema's docs).
//! What no field knows is kept verbatim in the `foreign` of its parent and listed by [`Domain::unsupported`].
//!
//! Deliberately absent: a second description of a guest beside libvirt's document.

pub mod address;
mod advice;
mod align;
pub mod chardev;
mod check;
mod complete;
pub mod controller;
pub mod copy;
pub mod cpu;
pub mod crypto;
pub mod devices;
pub mod disk;
pub mod features;
pub mod filesystem;
pub mod graphics;
pub mod hostdev;
pub mod interface;
pub mod iommu;
pub mod iothreads;
pub mod lease;
pub mod lifecycle;
pub mod lodge;
pub mod memory;
pub mod memory_module;
pub mod metadata;
pub mod os;
pub mod perf;
mod places;
mod platform;
pub mod processors;
pub mod qemu;
pub mod redirfilter;
pub mod resctrl;
pub mod security;
pub mod served;
pub mod shmem;
pub mod size;
pub mod smartcard;
pub mod status;
pub mod stores;
pub mod tpm;
pub mod virtio;

use crate::xml::words::words;
use crate::xml::{Foreign, ParseOptions, WriteOptions, Xml};
use crate::{DomainId, Fault, Faults};
use complete::target_number;
pub use lodge::LodgeGuest;
pub use platform::{Firmware, Machine, Platform};

words! {
    /// The hypervisor a document is for.
    pub enum DomainKind {
        Kvm = "kvm", Qemu = "qemu", Xen = "xen", Lxc = "lxc", Test = "test", Vmware = "vmware", Hyperv = "hyperv",
        Vbox = "vbox", Bhyve = "bhyve", Hvf = "hvf",
    }
}

/// A guest: libvirt's `<domain>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Domain {
    /// The hypervisor.
    #[xml(attr = "type", required)]
    pub kind: DomainKind,
    /// Number of the running guest; written only in the live form.
    #[xml(attr, live)]
    pub id: Option<i32>,
    /// The name.
    #[xml(leaf)]
    pub name: String,
    /// The identity; made by [`Domain::complete`] if missing.
    #[xml(leaf)]
    pub uuid: Option<DomainId>,
    /// `<genid>`.
    #[xml(child)]
    pub genid: Option<memory::Genid>,
    /// A short text for people.
    #[xml(leaf)]
    pub title: Option<String>,
    /// A long text for people.
    #[xml(leaf)]
    pub description: Option<String>,
    /// `<metadata>`: others' elements verbatim; ours by [`Domain::lodge`].
    #[xml(child)]
    pub metadata: Option<Box<Metadata>>,
    /// How far memory can grow by modules.
    #[xml(child = "maxMemory")]
    pub max_memory: Option<Box<memory::Memory>>,
    /// Memory at start.
    #[xml(child)]
    pub memory: memory::Memory,
    /// What of it the balloon leaves the guest.
    #[xml(child = "currentMemory")]
    pub current_memory: Option<memory::Memory>,
    /// `<blkiotune>`, kept as it is.
    #[xml(kept = "blkiotune")]
    pub blkiotune: Foreign,
    /// `<memtune>`, kept as it is.
    #[xml(kept = "memtune")]
    pub memtune: Foreign,
    /// `<memoryBacking>`.
    #[xml(child = "memoryBacking")]
    pub memory_backing: Option<Box<memory::MemoryBacking>>,
    /// `<vcpu>`.
    #[xml(child)]
    pub vcpu: Option<cpu::Vcpu>,
    /// `<vcpus>`, kept as it is.
    #[xml(kept = "vcpus")]
    pub vcpus: Foreign,
    /// Number of I/O threads.
    #[xml(leaf)]
    pub iothreads: Option<u32>,
    /// `<iothreadids>`, kept as it is.
    #[xml(kept = "iothreadids")]
    pub iothreadids: Foreign,
    /// `<defaultiothread>`, kept as it is.
    #[xml(kept = "defaultiothread")]
    pub default_iothread: Foreign,
    /// `<throttlegroups>`, kept as it is.
    #[xml(kept = "throttlegroups")]
    pub throttle_groups: Foreign,
    /// `<cputune>`.
    #[xml(child)]
    pub cputune: Option<Box<cpu::CpuTune>>,
    /// `<numatune>`, kept as it is.
    #[xml(kept = "numatune")]
    pub numatune: Foreign,
    /// `<resource>`; libvirt writes it only in the live form unless it is given.
    #[xml(child)]
    pub resource: Option<Box<memory::Resource>>,
    /// `<sysinfo>`.
    #[xml(children = "sysinfo")]
    pub sysinfo: Vec<os::Sysinfo>,
    /// `<bootloader>`, kept as it is.
    #[xml(kept = "bootloader")]
    pub bootloader: Foreign,
    /// `<bootloader_args>`, kept as it is.
    #[xml(kept = "bootloader_args")]
    pub bootloader_args: Foreign,
    /// `<os>`.
    #[xml(child)]
    pub os: os::Os,
    /// `<idmap>`, kept as it is.
    #[xml(kept = "idmap")]
    pub idmap: Foreign,
    /// `<features>`.
    #[xml(child)]
    pub features: Option<Box<features::Features>>,
    /// `<cpu>`.
    #[xml(child)]
    pub cpu: Option<Box<cpu::Cpu>>,
    /// `<clock>`.
    #[xml(child)]
    pub clock: Option<Box<features::Clock>>,
    /// What follows when the guest switches itself off.
    #[xml(leaf)]
    pub on_poweroff: Option<features::LifecycleAction>,
    /// What follows when the guest restarts.
    #[xml(leaf)]
    pub on_reboot: Option<features::LifecycleAction>,
    /// What follows when the guest crashes.
    #[xml(leaf)]
    pub on_crash: Option<features::LifecycleAction>,
    /// `<on_lockfailure>`, kept as it is.
    #[xml(kept = "on_lockfailure")]
    pub on_lockfailure: Foreign,
    /// `<pm>`.
    #[xml(child)]
    pub pm: Option<features::Pm>,
    /// `<perf>`, kept as it is.
    #[xml(kept = "perf")]
    pub perf: Foreign,
    /// `<devices>`.
    #[xml(child)]
    pub devices: Box<devices::Devices>,
    /// `<seclabel>`.
    #[xml(children = "seclabel")]
    pub seclabels: Vec<devices::SecLabel>,
    /// `<keywrap>`, kept as it is.
    #[xml(kept = "keywrap")]
    pub keywrap: Foreign,
    /// `<launchSecurity>`, kept as it is.
    #[xml(kept = "launchSecurity")]
    pub launch_security: Foreign,
    /// `<qemu:commandline>`.
    #[xml(child = "qemu:commandline")]
    pub qemu_commandline: Option<Box<memory::QemuCommandline>>,
    /// `<qemu:capabilities>`.
    #[xml(child = "qemu:capabilities")]
    pub qemu_capabilities: Option<Box<qemu::QemuCapabilities>>,
    /// `<qemu:override>`.
    #[xml(child = "qemu:override")]
    pub qemu_override: Option<Box<qemu::QemuOverride>>,
    /// `<qemu:deprecation>`.
    #[xml(child = "qemu:deprecation")]
    pub qemu_deprecation: Option<qemu::QemuDeprecation>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<metadata>`: elements of anyone's, each with a namespace of its own, kept verbatim.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Metadata {
    /// The elements.
    #[xml(foreign, known, double_quotes)]
    pub elements: Foreign,
}

impl Domain {
    /// Reads a document; what Lodge does not know is kept. All faults are told, not the first.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        crate::xml::parse(text, "domain", ParseOptions::default())
    }

    /// Reads a document strictly (`virsh define --validate`): what Lodge does not know is a fault.
    pub fn parse_strict(text: &str) -> Result<Self, Faults> {
        crate::xml::parse(text, "domain", ParseOptions { strict: true })
    }

    /// Writes libvirt's text of it.
    pub fn to_xml(&self, options: &WriteOptions) -> String {
        if options.migratable {
            crate::xml::write(&self.without_implicit_devices(), "domain", *options)
        } else {
            crate::xml::write(self, "domain", *options)
        }
    }

    /// Without those that every libvirt adds itself and an old one would refuse (qemuDomainDefFormatBufInternal).
    fn without_implicit_devices(&self) -> Self {
        let mut domain = self.clone();
        let implicit = graphics::Input {
            kind: graphics::InputKind::Keyboard,
            bus: Some(graphics::InputBus::Ps2),
            ..graphics::Input::default()
        };
        let plain =
            |input: &graphics::Input| graphics::Input { place: address::Place::default(), ..input.clone() };
        domain.devices.inputs.retain(|input| plain(input) != implicit);
        domain.devices.audios.retain(|audio| audio.id != 1 || !audio.foreign.is_empty());
        // What a q35 has by itself, if it does what it would do there (the others' act, or a reset).
        let is_itco = |watchdog: &devices::Watchdog| watchdog.model == devices::WatchdogModel::Itco;
        let others = domain.devices.watchdogs.iter().find(|watchdog| !is_itco(watchdog));
        let implied = devices::Watchdog {
            model: devices::WatchdogModel::Itco,
            action: others.map(|watchdog| watchdog.action).unwrap_or_default(),
            ..devices::Watchdog::default()
        };
        domain.devices.watchdogs.retain(|watchdog| {
            let named = watchdog.place.alias.as_ref().is_some_and(address::Alias::is_users);
            named || devices::Watchdog { place: address::Place::default(), ..watchdog.clone() } != implied
        });
        // The only bus of its sort, as the old board has it by itself.
        for (kind, model) in
            [(controller::ControllerKind::Pci, "pci-root"), (controller::ControllerKind::Usb, "piix3-uhci")]
        {
            let controllers = &mut domain.devices.controllers;
            if controllers.iter().filter(|controller| controller.kind == kind).count() == 1 {
                let implicit = |controller: &controller::Controller| {
                    controller.kind == kind
                        && controller.index == Some(0)
                        && controller.model.as_deref() == Some(model)
                };
                controllers.retain(|controller| !implicit(controller));
            }
        }
        domain
    }

    /// What is kept but not understood, with its place in the text it was read from.
    pub fn unsupported(&self) -> Vec<Fault> {
        crate::xml::unsupported(self)
    }

    /// Its identity, once it has one.
    pub fn id(&self) -> Option<DomainId> {
        self.uuid
    }
}
