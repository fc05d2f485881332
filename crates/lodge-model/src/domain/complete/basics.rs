//! Identity, memory, processors, machine, clock, and what follows the guest's end.

use super::Board;
use crate::domain::cpu::{CpuCheck, CpuMatch, CpuMode, CpuModel, Fallback, FeaturePolicy, Placement, Vcpu};
use crate::domain::devices::{Devices, SecLabel};
use crate::domain::features::{Clock, ClockBasis, ClockOffset, Features, HypervMode, LifecycleAction, Pm};
use crate::domain::interface::{Interface, InterfaceDriver, InterfaceKind, InterfaceModel, Mac};
use crate::domain::memory::MemoryBacking;
use crate::domain::os::{BootDevice, BootSource, Sysinfo, SysinfoBlock, SysinfoEntry};
use crate::domain::{Domain, DomainKind, Platform};
use crate::xml::{Foreign, ForeignItem, Kept, OnOff, read_number};
use crate::{Bytes, DomainId, MacAddr};
use std::collections::BTreeSet;

/// Completes what stands outside of `<devices>`.
pub(super) fn complete(domain: &mut Domain, platform: &Platform) {
    domain.uuid.get_or_insert_with(DomainId::random);
    if let Some(genid) = &mut domain.genid {
        genid.uuid.get_or_insert_with(|| DomainId::random().to_string());
    }
    for text in [&mut domain.title, &mut domain.description] {
        text.take_if(|text| text.is_empty());
    }
    if let Some(metadata) = &mut domain.metadata {
        one_of_each(&mut metadata.elements);
    }
    domain.metadata.take_if(|metadata| metadata.elements.is_empty());
    memory(domain);
    super::tuning::complete(domain);
    machine(domain, platform);
    processors(domain, platform);
    features(domain);
    clock(domain.clock.get_or_insert_default());
    domain.sysinfo.iter_mut().for_each(sysinfo);
    domain.on_poweroff.get_or_insert(LifecycleAction::Destroy);
    domain.on_reboot.get_or_insert(LifecycleAction::Restart);
    domain.on_crash.get_or_insert(LifecycleAction::Destroy);
    for label in domain.seclabels.iter_mut().filter(|label| label.kind.as_deref() == Some("dynamic")) {
        // It is chosen at every start.
        label.label = None;
    }
    // Alone and of no model it is of the host's first, which is none.
    if let [label] = domain.seclabels.as_mut_slice()
        && label.model.is_none()
        && label.base_label.is_none()
        && label.kind.as_deref().is_none_or(|kind| kind == "dynamic")
    {
        *label = SecLabel { kind: Some("none".to_owned()), ..SecLabel::default() };
    }
    for label in domain.seclabels.iter_mut().filter(|label| label.kind.as_deref() == Some("none")) {
        label.model.get_or_insert_with(|| "none".to_owned());
    }
    domain.devices.emulator.get_or_insert_with(|| platform.emulator.clone());
}

/// Others' elements are of a namespace each; of two of one the first stays (virXMLNodeSanitizeNamespaces).
fn one_of_each(elements: &mut Foreign) {
    let mut seen = BTreeSet::new();
    elements.retain(|item| {
        let ForeignItem::Element { xml, .. } = item else { return true };
        let Ok(document) = roxmltree::Document::parse(xml) else { return true };
        let namespace = document.root_element().tag_name().namespace().map(str::to_owned);
        namespace.is_some_and(|namespace| seen.insert(namespace))
    });
}

fn memory(domain: &mut Domain) {
    if let Some(numa) = domain.cpu.iter_mut().find_map(|cpu| cpu.numa.as_deref_mut()) {
        super::numa::complete(numa, domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count));
    }
    let pages = domain.memory_backing.iter_mut().filter_map(|backing| backing.hugepages.as_mut());
    for page in pages.flat_map(|hugepages| &mut hugepages.pages) {
        to_kib(&mut page.size, &mut page.unit);
    }
    if domain.memory_backing.as_deref().is_some_and(|backing| *backing == MemoryBacking::default()) {
        domain.memory_backing = None;
    }
    let memory = domain.memory.size;
    let current = domain.current_memory.get_or_insert_with(|| memory.into());
    if current.size > memory || current.size.0 == 0 {
        current.size = memory;
    }
}

/// A clock's offset in seconds is a variable one's (virDomainClockDefParseXML).
fn clock(clock: &mut Clock) {
    let is_number = clock.adjustment.as_deref().is_some_and(|text| text.parse::<i64>().is_ok());
    if matches!(clock.offset, ClockOffset::Utc | ClockOffset::Localtime) && is_number {
        clock.basis = Some(match clock.offset {
            ClockOffset::Localtime => ClockBasis::Localtime,
            _ => ClockBasis::Utc,
        });
        clock.offset = ClockOffset::Variable;
    }
    if clock.offset == ClockOffset::Variable {
        // What is no number is libvirt's nothing.
        clock.adjustment.take_if(|text| text.parse::<i64>().is_err());
        clock.adjustment.get_or_insert_with(|| "0".to_owned());
        clock.basis.get_or_insert(ClockBasis::Utc);
    }
}

/// Brings a number with a unit to KiB; a unit nobody knows is left for `check`.
pub(super) fn to_kib(number: &mut u64, unit: &mut Option<String>) {
    if let Ok(bytes) = Bytes::scaled(*number, unit.as_deref().unwrap_or("KiB")) {
        *number = bytes.kib();
        *unit = Some("KiB".to_owned());
    }
}

fn machine(domain: &mut Domain, platform: &Platform) {
    let os = &mut domain.os;
    os.kind.arch.get_or_insert_with(|| platform.arch.clone());
    if let Some(machine) = &mut os.kind.machine {
        platform.canonical_machine(machine).to_owned().clone_into(machine);
    } else {
        os.kind.machine = platform.default_machine().map(str::to_owned);
    }
    let devices = &domain.devices;
    let disks = devices.disks.iter().map(|disk| &disk.place);
    let interfaces = devices.interfaces.iter().map(|interface| &interface.place);
    let redirdevs = devices.redirdevs.iter().map(|redirdev| &redirdev.place);
    let hostdevs = devices.hostdevs.iter().map(|hostdev| &hostdev.place);
    let filesystems = devices.filesystems.iter().map(|filesystem| &filesystem.place);
    let all = disks.chain(interfaces).chain(redirdevs).chain(hostdevs).chain(filesystems);
    let ordered = all.into_iter().any(|place| place.boot.is_some());
    if os.boot.is_empty() && !ordered {
        os.boot.push(BootDevice { dev: BootSource::Hd, ..BootDevice::default() });
    }
}

fn processors(domain: &mut Domain, platform: &Platform) {
    let vcpu = domain.vcpu.get_or_insert_with(|| Vcpu { count: 1, ..Vcpu::default() });
    vcpu.placement.get_or_insert(Placement::Static);
    vcpu.current.take_if(|current| *current == vcpu.count);
    let machine = domain.os.kind.machine.as_deref().unwrap_or_default();
    let is_pc = matches!(domain.os.kind.arch.as_deref(), None | Some("x86_64" | "i686"));
    let own =
        platform.machines.iter().find(|known| known.name == machine).and_then(|known| known.cpu.as_ref());
    let usual = if is_pc { own.or(platform.cpu_model.as_ref()) } else { own };
    // What QEMU takes by itself is known of TCG alone but for PCs.
    let usual = usual.filter(|_| is_pc || domain.kind == DomainKind::Qemu).cloned();
    if usual.is_none() && domain.cpu.is_none() {
        return;
    }
    let default_model = usual.unwrap_or_default();
    let default_model = &default_model;
    let cpu = domain.cpu.get_or_insert_default();
    match *cpu.mode.get_or_insert(CpuMode::Custom) {
        CpuMode::HostModel => {
            // Of the model it only says whose it pretends to be.
            let vendor = cpu.model.take().and_then(|model| model.vendor_id);
            cpu.model = vendor.map(|vendor| CpuModel { vendor_id: Some(vendor), ..CpuModel::default() });
            cpu.check.get_or_insert(CpuCheck::Partial);
        }
        CpuMode::HostPassthrough => {
            cpu.check.get_or_insert(CpuCheck::None);
            if is_pc {
                // QEMU says of its 64-bit processors alone whether they are.
                let is_64 = domain.os.kind.arch.as_deref() != Some("i686");
                cpu.migratable.get_or_insert(OnOff::from(is_64));
            }
        }
        CpuMode::Maximum => {
            cpu.check.get_or_insert(CpuCheck::None);
        }
        CpuMode::Custom => custom_model(cpu, default_model, domain.kind),
    }
    if cpu.mode != Some(CpuMode::Custom) {
        cpu.matching = None;
    }
    if let Some(topology) = &mut cpu.topology {
        topology.dies.get_or_insert(1);
        topology.clusters.get_or_insert(1);
    }
    for feature in &mut cpu.features {
        feature.policy.get_or_insert(FeaturePolicy::Require);
    }
}

fn custom_model(cpu: &mut crate::domain::cpu::Cpu, default_model: &str, kind: DomainKind) {
    cpu.matching.get_or_insert(CpuMatch::Exact);
    let named = cpu.model.as_ref().is_some_and(|model| model.name.is_some());
    if named {
        // What is emulated is not compared with the host's.
        let check = if kind == DomainKind::Qemu { CpuCheck::None } else { CpuCheck::Partial };
        cpu.check.get_or_insert(check);
        if let Some(model) = &mut cpu.model {
            model.fallback.get_or_insert(Fallback::Allow);
        }
    } else if !default_model.is_empty() {
        cpu.check.get_or_insert(CpuCheck::None);
        cpu.model = Some(CpuModel {
            fallback: Some(Fallback::Forbid),
            name: Some(default_model.to_owned()),
            ..CpuModel::default()
        });
    }
}

fn features(domain: &mut Domain) {
    if Board::of(domain) == Board::ArmVirt {
        // The emulated version 3 once lacked what PCI Express needs (qemuDomainDefEnableDefaultFeatures).
        let gic = domain.features.get_or_insert_default().gic.get_or_insert_default();
        gic.version.get_or_insert_with(|| "2".to_owned());
    }
    if domain.features.as_deref().is_some_and(|features| *features == Features::default()) {
        domain.features = None;
    }
    let smm = domain.features.as_mut().and_then(|features| features.smm.as_mut());
    if let Some(smm) = smm
        && let Some(segment) = smm.foreign.tree("tseg").filter(|segment| segment.attribute("unit").is_none())
    {
        smm.foreign.set_tree(&Kept::new("tseg").with("unit", "MiB").text(segment.text.trim()));
    }
    let tcg = domain.features.as_mut().and_then(|features| features.tcg.as_mut());
    if let Some(cache) = tcg.and_then(|tcg| tcg.tb_cache.as_mut()) {
        to_kib(&mut cache.size, &mut cache.unit);
    }
    if let Some(hyperv) = domain.features.as_mut().and_then(|features| features.hyperv.as_mut()) {
        hyperv.mode.get_or_insert(HypervMode::Custom);
    }
    if domain.pm.as_ref().is_some_and(|pm| *pm == Pm::default()) {
        domain.pm = None;
    }
}

/// Cards that libvirt knows by name, in whatever case it is written.
pub(super) const CARDS: [&str; 21] = [
    "netfront",
    "rtl8139",
    "virtio",
    "e1000",
    "e1000e",
    "igb",
    "virtio-transitional",
    "virtio-non-transitional",
    "usb-net",
    "spapr-vlan",
    "lan9118",
    "scm91c111",
    "vlance",
    "vmxnet",
    "vmxnet2",
    "vmxnet3",
    "Am79C970A",
    "Am79C973",
    "82540EM",
    "82545EM",
    "82543GC",
];

/// Completes network interfaces: addresses, models; names of the daemon's own taps are forgotten.
pub(super) fn complete_interfaces(devices: &mut Devices, board: Board) {
    for interface in &mut devices.interfaces {
        let mac = interface.mac.get_or_insert_with(Mac::default);
        // Nothing but zeros is none.
        if mac.address == MacAddr::default() {
            mac.address = MacAddr::random();
        }
        // A host's device is what it is.
        if interface.kind == InterfaceKind::Hostdev {
            // Of virtio's words none is about it.
            if let Some(driver) = interface.driver.as_deref_mut() {
                let kept = std::mem::take(driver);
                *driver = InterfaceDriver { name: kept.name, foreign: kept.foreign, ..Default::default() };
            }
            interface.driver.take_if(|driver| **driver == InterfaceDriver::default());
        } else {
            let is_virtios = matches!(interface.kind, InterfaceKind::Vdpa | InterfaceKind::VhostUser);
            interface.model.get_or_insert_with(|| InterfaceModel {
                kind: if is_virtios || board.is_virt() { "virtio" } else { "rtl8139" }.to_owned(),
                ..InterfaceModel::default()
            });
            if let Some(model) = &mut interface.model
                && let Some(known) = CARDS.iter().find(|known| known.eq_ignore_ascii_case(&model.kind))
            {
                (*known).clone_into(&mut model.kind);
            }
            if interface.model().is_some_and(|model| !model.starts_with("virtio")) {
                // What it says is of virtio (virDomainNetDefParseXML).
                interface.driver = None;
                if let Some(backend) = interface.backend.as_deref_mut() {
                    backend.vhost = None;
                }
            } else if let Some(driver) = interface.driver.as_deref_mut() {
                // There is always one.
                driver.queues.take_if(|queues| *queues <= 1);
            }
        }
        if !matches!(interface.kind, InterfaceKind::Network | InterfaceKind::Bridge | InterfaceKind::Ethernet)
        {
            interface.filterref = Foreign::default();
        }
        let frames =
            interface.coalesce.tree("coalesce").and_then(|tree| tree.child("rx")?.child("frames").cloned());
        let most = frames.and_then(|frames| frames.attribute("max")?.parse::<u32>().ok());
        if most.is_none_or(|most| most == 0) {
            interface.coalesce = Foreign::default();
        }
        interface_source(interface);
        name_port(interface);
        let generated = match interface.kind {
            InterfaceKind::Direct => &["macvtap", "macvlan"][..],
            _ => &["vnet"][..],
        };
        interface.target.take_if(|target| generated.iter().any(|prefix| target.dev.starts_with(prefix)));
    }
}

/// A port of Open vSwitch has a name for its controller (virNetDevVPortProfileParse).
fn name_port(interface: &mut Interface) {
    let port = interface.virtualport.tree("virtualport");
    let is_switchs = |port: &Kept| {
        port.attribute("type") == Some("openvswitch") && interface.kind != InterfaceKind::Network
    };
    let Some(mut port) = port.filter(is_switchs) else { return };
    let parameters = port.child_mut("parameters");
    if parameters.attribute("interfaceid").is_none() {
        let profile = parameters.attribute("profileid").map(str::to_owned);
        parameters.set_attribute("profileid", None);
        parameters.set_attribute("interfaceid", Some(uuid::Uuid::new_v4().to_string()));
        parameters.set_attribute("profileid", profile);
        interface.virtualport.set_tree(&port);
    }
}

fn interface_source(interface: &mut Interface) {
    let kind = interface.kind;
    if let Some(source) = interface.source.as_deref_mut() {
        if kind == InterfaceKind::Direct {
            source.mode.get_or_insert_with(|| "vepa".to_owned());
        }
        if kind == InterfaceKind::Hostdev {
            let mut addresses = source.foreign.trees("address");
            for address in &mut addresses {
                for (name, digits) in [("domain", 4), ("bus", 2), ("slot", 2), ("function", 1)] {
                    if let Some(number) = address.attribute(name).and_then(read_number) {
                        address.set_attribute(name, Some(format!("0x{number:0digits$x}")));
                    }
                }
            }
            source.foreign.set_trees(&["address"], &addresses);
        }
        if kind == InterfaceKind::Ethernet {
            let mut addresses = source.foreign.trees("ip");
            for address in &mut addresses {
                let text = address.attribute("address").unwrap_or_default();
                let family = if text.contains(':') { "ipv6" } else { "ipv4" };
                let given = std::mem::take(&mut address.attributes);
                let found = |name: &str| {
                    given.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
                };
                for name in ["address", "family", "prefix", "peer"] {
                    let value = found(name).or_else(|| (name == "family").then(|| family.to_owned()));
                    address.set_attribute(name, value);
                }
            }
            source.foreign.set_trees(&["ip"], &addresses);
        }
    }
    if let Some(mut filter) = interface.filterref.tree("filterref") {
        // libvirt keeps the parameters in a table and writes them by their names.
        filter.children.sort_by_key(|parameter| parameter.attribute("name").map(str::to_owned));
        interface.filterref.set_tree(&filter);
    }
}

/// libvirt's order of the entries of SMBIOS (virSysinfoFormat).
fn sysinfo(sysinfo: &mut Sysinfo) {
    let order = |block: Option<&mut SysinfoBlock>, names: &[&str]| {
        let place = |entry: &SysinfoEntry| {
            names.iter().position(|name| Some(*name) == entry.name.as_deref()).unwrap_or(names.len())
        };
        if let Some(block) = block {
            block.entries.sort_by_key(place);
        }
    };
    for entry in sysinfo.entries.iter_mut().filter(|entry| entry.file.is_some()) {
        entry.value = None;
    }
    order(sysinfo.bios.as_mut(), &["vendor", "version", "date", "release"]);
    let system = ["manufacturer", "product", "version", "serial", "uuid", "sku", "family"];
    order(sysinfo.system.as_mut(), &system);
    for board in &mut sysinfo.base_boards {
        order(Some(board), &["manufacturer", "product", "version", "serial", "asset", "location"]);
    }
    order(sysinfo.chassis.as_mut(), &["manufacturer", "version", "serial", "asset", "sku"]);
}
