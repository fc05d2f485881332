//! Identity, memory, processors, machine, clock, and what follows the guest's end.

use crate::domain::cpu::{
    CpuCheck, CpuMatch, CpuMode, CpuModel, CpuTune, Fallback, FeaturePolicy, Placement, Vcpu,
};
use crate::domain::devices::Devices;
use crate::domain::features::{Clock, Features, HypervMode, LifecycleAction, Pm};
use crate::domain::interface::{InterfaceKind, InterfaceModel, Mac};
use crate::domain::memory::MemoryBacking;
use crate::domain::os::{BootDevice, BootSource};
use crate::domain::{Domain, DomainKind, Platform};
use crate::xml::OnOff;
use crate::{Bytes, DomainId, MacAddr};

/// Completes what stands outside of `<devices>`.
pub(super) fn complete(domain: &mut Domain, platform: &Platform) {
    domain.uuid.get_or_insert_with(DomainId::random);
    if let Some(genid) = &mut domain.genid {
        genid.uuid.get_or_insert_with(|| DomainId::random().to_string());
    }
    for text in [&mut domain.title, &mut domain.description] {
        text.take_if(|text| text.is_empty());
    }
    memory(domain);
    machine(domain, platform);
    processors(domain, platform);
    features(domain);
    domain.clock.get_or_insert_with(|| Box::new(Clock::default()));
    domain.on_poweroff.get_or_insert(LifecycleAction::Destroy);
    domain.on_reboot.get_or_insert(LifecycleAction::Restart);
    domain.on_crash.get_or_insert(LifecycleAction::Destroy);
    for label in domain.seclabels.iter_mut().filter(|label| label.kind.as_deref() == Some("dynamic")) {
        // It is chosen at every start.
        label.label = None;
    }
    domain.devices.emulator.get_or_insert_with(|| platform.emulator.clone());
}

fn memory(domain: &mut Domain) {
    let cells = domain.cpu.iter_mut().filter_map(|cpu| cpu.numa.as_mut()).flat_map(|numa| &mut numa.cells);
    for (at, cell) in cells.enumerate() {
        cell.id.get_or_insert_with(|| u32::try_from(at).unwrap_or(u32::MAX));
        to_kib(&mut cell.memory, &mut cell.unit);
    }
    let pages = domain.memory_backing.iter_mut().filter_map(|backing| backing.hugepages.as_mut());
    for page in pages.flat_map(|hugepages| &mut hugepages.pages) {
        to_kib(&mut page.size, &mut page.unit);
    }
    if domain.memory_backing.as_deref().is_some_and(|backing| *backing == MemoryBacking::default()) {
        domain.memory_backing = None;
    }
    if domain.cputune.as_deref().is_some_and(|tune| *tune == CpuTune::default()) {
        domain.cputune = None;
    }
    let memory = domain.memory.size;
    domain.current_memory.get_or_insert_with(|| memory.into());
}

/// Brings a number with a unit to KiB; a unit nobody knows is left for `check`.
fn to_kib(number: &mut u64, unit: &mut Option<String>) {
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
    let Some(default_model) = &platform.cpu_model else { return };
    let cpu = domain.cpu.get_or_insert_default();
    match *cpu.mode.get_or_insert(CpuMode::Custom) {
        CpuMode::HostModel => {
            cpu.model = None;
            cpu.check.get_or_insert(CpuCheck::Partial);
        }
        CpuMode::HostPassthrough => {
            cpu.check.get_or_insert(CpuCheck::None);
            cpu.migratable.get_or_insert(OnOff::On);
        }
        CpuMode::Maximum => {
            cpu.check.get_or_insert(CpuCheck::None);
        }
        CpuMode::Custom => custom_model(cpu, default_model, domain.kind),
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
    } else {
        cpu.check.get_or_insert(CpuCheck::None);
        cpu.model = Some(CpuModel {
            fallback: Some(Fallback::Forbid),
            name: Some(default_model.to_owned()),
            ..CpuModel::default()
        });
    }
}

fn features(domain: &mut Domain) {
    if domain.features.as_deref().is_some_and(|features| *features == Features::default()) {
        domain.features = None;
    }
    if let Some(hyperv) = domain.features.as_mut().and_then(|features| features.hyperv.as_mut()) {
        hyperv.mode.get_or_insert(HypervMode::Custom);
    }
    if domain.pm.as_ref().is_some_and(|pm| *pm == Pm::default()) {
        domain.pm = None;
    }
}

/// Completes network interfaces: addresses, models; names of the daemon's own taps are forgotten.
pub(super) fn complete_interfaces(devices: &mut Devices) {
    for interface in &mut devices.interfaces {
        interface.mac.get_or_insert_with(|| Mac { address: MacAddr::random(), ..Mac::default() });
        interface.model.get_or_insert_with(|| InterfaceModel {
            kind: "rtl8139".to_owned(),
            ..InterfaceModel::default()
        });
        let generated = match interface.kind {
            InterfaceKind::Direct => &["macvtap", "macvlan"][..],
            _ => &["vnet"][..],
        };
        interface.target.take_if(|target| generated.iter().any(|prefix| target.dev.starts_with(prefix)));
    }
}
