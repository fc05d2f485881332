//! The machine itself: name, type, accelerator, monitor, and what stands at the end of the line.

use lodge_model::Bytes;
use lodge_model::domain::DomainKind;
use lodge_model::domain::features::{IoapicDriver, TimerName};
use lodge_model::domain::graphics::SoundModel;
use lodge_model::domain::iommu::IommuModel;
use lodge_model::domain::memory_module::MemoryModel;
use lodge_model::domain::os::LoaderKind;
use lodge_model::domain::qemu::Deprecation;
use lodge_model::xml::{OnOff, YesNo};

use super::builder::{Builder, Family, OWN};
use super::props::escaped;
use crate::claims::Accelerator;

/// `-name`, `-S`, and whose arguments these are.
pub(super) fn identity(b: &mut Builder<'_>) {
    b.at("/domain/name");
    b.arg("-name", format!("guest={},debug-threads=on", escaped(&b.domain.name)));
    b.at(OWN);
    b.flag("-S");
}

/// `-machine` and `-accel`.
pub(super) fn machine(b: &mut Builder<'_>) {
    b.at("/domain/os/type");
    let kind = &b.domain.os.kind;
    if kind.text != "hvm" {
        b.refuse(format!("`{}` is not supported; QEMU runs `hvm`", kind.text));
    }
    let arch = kind.arch.as_deref().unwrap_or("x86_64");
    if !["x86_64", "i686"].contains(&arch) && b.capabilities.arch() != arch {
        b.refuse_hinted(
            format!("this host has no QEMU for architecture `{arch}`"),
            format!("install qemu-system-{arch}"),
        );
        return;
    }
    let name = kind.machine.as_deref().unwrap_or("pc");
    check(b, name);
    let properties = properties(b);
    b.at("/domain/os/type");
    b.arg("-machine", [vec![name.to_owned()], properties].concat().join(","));
    accelerator(b);
    protected_memory(b);
}

/// How much memory only system management mode sees.
fn protected_memory(b: &mut Builder<'_>) {
    let smm = b.domain.features.as_deref().and_then(|features| features.smm.as_ref());
    let Some(segment) = smm.and_then(|smm| smm.foreign.tree("tseg")) else { return };
    b.at("/domain/features/smm/tseg");
    if b.family != Family::Q35 {
        return b.refuse("only machine q35 has one");
    }
    let unit = segment.attribute("unit").unwrap_or("MiB");
    match segment.text.parse().ok().map(|size| Bytes::scaled(size, unit)) {
        Some(Ok(size)) => b.arg("-global", format!("mch.extended-tseg-mbytes={}", size.kib() / 1024)),
        Some(Err(error)) => b.refuse(error.to_string()),
        None => b.refuse(format!("`{}` is no amount of memory", segment.text)),
    }
}

/// Whether this QEMU can be the machine.
fn check(b: &mut Builder<'_>, name: &str) {
    let Some(machine) = b.capabilities.machine(name) else {
        let family = match b.family {
            Family::Q35 => "q35",
            family if family.is_virt() => "virt",
            _ => "pc",
        };
        let newest = b.capabilities.newest(family).map_or(family, |machine| machine.name.as_str());
        let hint =
            format!("`{newest}` is its newest of this family: set it in <os><type machine='{newest}'>");
        b.refuse_hinted(format!("this QEMU ({}) has no machine `{name}`", b.capabilities.version), hint);
        return;
    };
    let arch = b.domain.os.kind.arch.as_deref().unwrap_or("x86_64");
    if Family::of(arch, &machine.name).is_none() {
        b.refuse(format!(
            "machines of the family of `{name}` are not supported yet; those of PCs and `virt` are"
        ));
    }
    let wanted = b.domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count);
    if wanted > machine.cpu_max {
        b.at("/domain/vcpu");
        b.refuse(format!("machine `{name}` has at most {} processors, not {wanted}", machine.cpu_max));
    }
}

fn properties(b: &mut Builder<'_>) -> Vec<String> {
    let mut list = vec!["usb=off".to_owned()];
    let ram = b.ram_id();
    let mut set = |name: &str, value: &str| list.push(format!("{name}={value}"));
    let features = b.domain.features.as_deref();
    let toggles =
        features.map(|features| (features.vmport.as_ref(), features.smm.as_ref(), features.ps2.as_ref()));
    let (vmport, smm, ps2) = toggles.unwrap_or_default();
    if let Some(vmport) = vmport {
        set("vmport", vmport.state.as_str());
    }
    let needs_smm = b.domain.os.loader.as_deref().is_some_and(|loader| loader.secure == Some(YesNo::Yes));
    match smm {
        Some(smm) => set("smm", smm.state.as_str()),
        None if needs_smm => set("smm", "on"),
        None => {}
    }
    if b.family == Family::ArmVirt {
        let gic = features.and_then(|features| features.gic.as_ref()).and_then(|gic| gic.version.as_deref());
        set("gic-version", gic.unwrap_or("2"));
    }
    if b.domain.devices.iommu.as_deref().is_some_and(|iommu| iommu.model == IommuModel::Smmuv3) {
        set("iommu", "smmuv3");
    }
    set("dump-guest-core", b.domain.memory.dump_core.unwrap_or(OnOff::Off).as_str());
    if b.domain.memory_backing.as_deref().is_some_and(|backing| backing.no_share_pages) {
        set("mem-merge", "off");
    }
    match features.and_then(|features| features.ioapic.as_ref()) {
        Some(ioapic) if b.claims.accelerator == Accelerator::Kvm => {
            let split = if ioapic.driver == IoapicDriver::Qemu { "split" } else { "on" };
            set("kernel_irqchip", split);
        }
        None if super::security::splits_interrupts(b.domain) => set("kernel_irqchip", "split"),
        _ => {}
    }
    if super::security::is_asked(b.domain) {
        set("confidential-guest-support", super::security::ID);
    }
    if !super::numa::has_cells(b.domain) {
        set("memory-backend", &ram);
    } else if super::numa::has_attributes(b.domain) {
        set("hmat", "on");
    }
    let loader = b.domain.os.loader.as_deref();
    let is_rom = loader.is_some_and(|loader| loader.kind == Some(LoaderKind::Rom));
    if b.claims.firmware.is_some() && !is_rom {
        set("pflash0", "libvirt-pflash0-format");
        if b.claims.nvram.is_some() {
            set("pflash1", "libvirt-pflash1-format");
        }
    }
    if let Some(present) = super::time::timer(b.domain, TimerName::Hpet).and_then(|timer| timer.present) {
        set("hpet", if present.is_yes() { "on" } else { "off" });
    }
    if b.family != Family::Isa {
        set("acpi", if features.is_some_and(|features| features.acpi) { "on" } else { "off" });
    }
    if b.domain.devices.memory_modules.iter().any(|module| module.model == MemoryModel::Nvdimm) {
        set("nvdimm", "on");
    }
    if let Some(ps2) = ps2 {
        set("i8042", ps2.state.as_str());
    }
    if b.domain.os.bios.as_ref().is_some_and(|bios| bios.use_serial == Some(YesNo::Yes)) {
        set("graphics", "off");
    }
    if b.domain.devices.sounds.iter().any(|sound| sound.model == SoundModel::PcSpeaker) {
        set("pcspk-audiodev", "audio1");
    }
    list
}

fn accelerator(b: &mut Builder<'_>) {
    b.at("/domain/@type");
    match (b.domain.kind, b.claims.accelerator) {
        (DomainKind::Kvm, Accelerator::Tcg) => {
            let why = b.claims.fallback_reason.as_deref().unwrap_or("KVM is not usable on this host");
            b.warn(format!(
                "the guest runs under QEMU's own translator (TCG), many times slower than KVM: {why}"
            ));
        }
        (DomainKind::Kvm, Accelerator::Kvm) | (DomainKind::Qemu, Accelerator::Tcg) => {}
        (DomainKind::Qemu, Accelerator::Kvm) => {
            b.refuse("type='qemu' asks for TCG, but KVM was claimed for it");
        }
        (kind, _) => b.refuse(format!("type='{kind}' is not supported; `kvm` and `qemu` are")),
    }
    match b.claims.accelerator {
        Accelerator::Kvm => {
            let kvm = b.domain.features.as_deref().and_then(|features| features.kvm.as_deref());
            let ring = kvm.and_then(|kvm| kvm.foreign.tree("dirty-ring"));
            match ring.filter(|ring| ring.attribute("state") == Some("on")) {
                Some(ring) => {
                    let size = ring.attribute("size").unwrap_or("4096");
                    b.arg("-accel", format!("kvm,dirty-ring-size={}", escaped(size)));
                }
                None => b.arg("-accel", "kvm"),
            }
        }
        Accelerator::Tcg => {
            let tcg = b.domain.features.as_deref().and_then(|features| features.tcg.as_ref());
            let cache = tcg.and_then(|tcg| tcg.tb_cache.as_ref());
            let size = cache.map(|cache| Bytes::scaled(cache.size, cache.unit.as_deref().unwrap_or("KiB")));
            match size {
                None => b.arg("-accel", "tcg,thread=multi"),
                Some(Ok(size)) => b.arg("-accel", format!("tcg,thread=multi,tb-size={}", size.kib() / 1024)),
                Some(Err(error)) => {
                    b.at("/domain/features/tcg/tb-cache");
                    b.refuse(error.to_string());
                }
            }
        }
    }
}

/// `-uuid`.
pub(super) fn uuid(b: &mut Builder<'_>) {
    b.at("/domain/uuid");
    match b.domain.uuid {
        Some(uuid) => b.arg("-uuid", uuid.to_string()),
        None => b.refuse("a domain needs a UUID to be started"),
    }
}

/// The monitor, and no screens or devices but ours.
pub(super) fn monitor(b: &mut Builder<'_>) {
    b.at(OWN);
    if !super::screen::has_display(b.domain) {
        b.arg("-display", "none");
    }
    b.flag("-no-user-config");
    b.flag("-nodefaults");
    let monitor = b.claims.monitor;
    b.arg("-chardev", format!("socket,id=charmonitor,fd={monitor},server=on,wait=off"));
    b.arg("-mon", "chardev=charmonitor,id=monitor,mode=control");
}

/// Incoming memory, the sandbox, and the user's own words.
pub(super) fn last(b: &mut Builder<'_>) {
    b.at(OWN);
    if b.claims.incoming {
        b.arg("-incoming", "defer");
    }
    if b.capabilities.has_sandbox() {
        b.arg("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    }
    b.arg("-msg", "timestamp=on");
    qemus_own(b);
    let Some(own) = b.domain.qemu_commandline.as_deref() else { return };
    for (at, arg) in own.args.iter().enumerate() {
        b.at(format!("/domain/qemu:commandline/qemu:arg[{}]", at + 1));
        b.flag(&arg.value);
    }
    for env in &own.env {
        b.env(&env.name, env.value.as_deref().unwrap_or_default());
    }
}

/// The rest of QEMU's namespace. What overrides name is done where devices are written.
fn qemus_own(b: &mut Builder<'_>) {
    let behavior = b.domain.qemu_deprecation.as_ref().and_then(|deprecation| deprecation.behavior);
    let words = match behavior {
        None | Some(Deprecation::None) => None,
        Some(Deprecation::Omit) => Some("deprecated-output=hide"),
        Some(Deprecation::Reject) => Some("deprecated-input=reject,deprecated-output=hide"),
        Some(Deprecation::Crash) => Some("deprecated-input=crash,deprecated-output=hide"),
    };
    if let Some(words) = words {
        b.at("/domain/qemu:deprecation");
        b.arg("-compat", words);
    }
    if let Some(capabilities) = b.domain.qemu_capabilities.as_deref() {
        let all = capabilities.added.iter().chain(&capabilities.removed);
        let names: Vec<&str> = all.map(|capability| capability.capability.as_str()).collect();
        b.at("/domain/qemu:capabilities");
        b.warn(format!("without effect: what QEMU can do is asked of QEMU itself ({})", names.join(", ")));
    }
    b.unused_overrides();
}
