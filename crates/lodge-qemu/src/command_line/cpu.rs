//! Processors: model, features, number.

use lodge_model::domain::cpu::{Cpu, CpuCacheMode, CpuMatch, CpuMode, FeaturePolicy, MaxPhysAddrMode};
use lodge_model::domain::devices::{Panic, PanicModel};
use lodge_model::domain::features::{Features, Toggle};
use lodge_model::domain::iothreads::Pool;
use lodge_model::xml::OnOff;

use super::builder::Builder;
use super::props::Props;

/// `-cpu`.
pub(super) fn cpu(b: &mut Builder<'_>) {
    b.at("/domain/cpu");
    let cpu = b.domain.cpu.as_deref();
    let model = model(b, cpu);
    let mut words = vec![model];
    if let Some(cpu) = cpu {
        details(b, cpu, &mut words);
    }
    super::time::processor_clocks(b, &mut words);
    if let Some(features) = b.domain.features.as_deref() {
        paravirtual(b, features, &mut words);
    }
    let is_hyperv = |panic: &Panic| panic.model == Some(PanicModel::Hyperv);
    if let Some(at) = b.domain.devices.panics.iter().position(is_hyperv) {
        b.at_device("panic", at);
        if b.is_kvm() {
            words.push("hv-crash=on".to_owned());
        } else {
            b.warn("left out under TCG, which has no such thing: hv-crash=on");
        }
    }
    b.at("/domain/cpu");
    b.arg("-cpu", words.join(","));
}

fn model(b: &mut Builder<'_>, cpu: Option<&Cpu>) -> String {
    let named = cpu.and_then(|cpu| cpu.model.as_ref()).and_then(|model| model.name.as_deref());
    let mode = cpu.and_then(|cpu| cpu.mode).unwrap_or(CpuMode::Custom);
    let migratable = cpu.and_then(|cpu| cpu.migratable).unwrap_or(OnOff::On);
    if !b.family.is_pc() && matches!(mode, CpuMode::HostModel | CpuMode::HostPassthrough) {
        let arch = b.domain.os.kind.arch.clone().unwrap_or_default();
        b.refuse(format!(
            "CPU mode '{mode}' for {arch} {} domain is not supported by this host",
            b.domain.kind
        ));
    }
    match (mode, b.is_kvm()) {
        (CpuMode::HostModel | CpuMode::HostPassthrough, true) => format!("host,migratable={migratable}"),
        (CpuMode::HostModel | CpuMode::HostPassthrough, false) => {
            b.warn(format!("mode='{mode}' means KVM; under TCG the guest sees all that TCG can do (`max`)"));
            // A fifth level of page tables is of no use below 64 TiB, and TCG walks each level in software: with it a
            // Debian guest took a seventh more processor time to boot.
            if b.family.is_pc() { "max,la57=off" } else { "max" }.to_owned()
        }
        (CpuMode::Maximum, _) => "max".to_owned(),
        (CpuMode::Custom, _) => match named {
            // What QEMU has without a word, said aloud.
            None if b.family.is_pc() => "qemu64".to_owned(),
            None => default_model(b),
            Some(name) => {
                check(b, name);
                name.to_owned()
            }
        },
    }
}

/// What this machine of QEMU's has without a word.
fn default_model(b: &Builder<'_>) -> String {
    let machine = b.domain.os.kind.machine.as_deref().unwrap_or_default();
    let known = b.capabilities.machine(machine).and_then(|machine| machine.default_cpu());
    known.unwrap_or("max").to_owned()
}

fn check(b: &mut Builder<'_>, name: &str) {
    b.at("/domain/cpu/model");
    match b.capabilities.cpu_model(name) {
        None => b.refuse_hinted(
            format!("this QEMU ({}) has no processor model `{name}`", b.capabilities.version),
            "`-cpu help` of the emulator lists those it has",
        ),
        Some(model) if !b.is_kvm() => match model.unavailable_features.as_deref() {
            Some(missing) if !missing.is_empty() => {
                b.warn(format!(
                    "TCG cannot do all of `{name}`; the guest will not see: {}",
                    missing.join(", ")
                ));
            }
            _ => {}
        },
        Some(_) => {}
    }
    b.at("/domain/cpu");
}

fn details(b: &mut Builder<'_>, cpu: &Cpu, words: &mut Vec<String>) {
    if cpu.matching == Some(CpuMatch::Strict) {
        words.push("enforce".to_owned());
    }
    if let Some(vendor) = cpu.model.as_ref().and_then(|model| model.vendor_id.as_deref()) {
        words.push(format!("vendor={vendor}"));
    }
    for feature in &cpu.features {
        let policy = feature.policy.unwrap_or(FeaturePolicy::Require);
        let name = &feature.name;
        words.push(match policy {
            FeaturePolicy::Force | FeaturePolicy::Require | FeaturePolicy::Optional => format!("{name}=on"),
            FeaturePolicy::Disable | FeaturePolicy::Forbid => format!("{name}=off"),
        });
    }
    if let Some(cache) = &cpu.cache {
        let words_of = match (cache.mode, cache.level) {
            (CpuCacheMode::Passthrough, None) => "host-cache-info=on,l3-cache=off",
            (CpuCacheMode::Disable, None) => "host-cache-info=off,l3-cache=off",
            (CpuCacheMode::Emulate, None | Some(3)) => "host-cache-info=off,l3-cache=on",
            _ => {
                b.at("/domain/cpu/cache");
                b.refuse(format!("mode='{}' of level {:?} is not supported", cache.mode, cache.level));
                ""
            }
        };
        words.push(words_of.to_owned());
    }
    match &cpu.max_phys_addr {
        Some(addr) if addr.mode == MaxPhysAddrMode::Passthrough => {
            words.push("host-phys-bits=on".to_owned());
            words.extend(addr.limit.map(|limit| format!("host-phys-bits-limit={limit}")));
        }
        Some(addr) => words.extend(addr.bits.map(|bits| format!("phys-bits={bits}"))),
        None => {}
    }
}

/// What a guest that knows its hypervisor can use. All of it is KVM's: under TCG it has no meaning, and is left out
/// with a warning.
fn paravirtual(b: &mut Builder<'_>, features: &Features, words: &mut Vec<String>) {
    let before = words.len();
    if let Some(eoi) = features.apic.as_ref().and_then(|apic| apic.eoi) {
        words.push(format!("kvm-pv-eoi={eoi}"));
    }
    if let Some(spinlock) = &features.pvspinlock {
        words.push(format!("kvm-pv-unhalt={}", spinlock.state));
    }
    b.at("/domain/features/hyperv");
    if let Some(hyperv) = features.hyperv.as_deref() {
        let mut toggle = |name: &str, toggle: &Option<Toggle>| {
            words.extend(toggle.as_ref().map(|toggle| format!("hv-{name}={}", toggle.state)));
        };
        toggle("relaxed", &hyperv.relaxed);
        toggle("vapic", &hyperv.vapic);
        toggle("vpindex", &hyperv.vpindex);
        toggle("runtime", &hyperv.runtime);
        toggle("synic", &hyperv.synic);
        toggle("stimer", &hyperv.stimer);
        toggle("reset", &hyperv.reset);
        toggle("frequencies", &hyperv.frequencies);
        toggle("reenlightenment", &hyperv.reenlightenment);
        toggle("tlbflush", &hyperv.tlbflush);
        toggle("ipi", &hyperv.ipi);
        toggle("evmcs", &hyperv.evmcs);
        toggle("avic", &hyperv.avic);
        toggle("emsr-bitmap", &hyperv.emsr_bitmap);
        toggle("xmm-input", &hyperv.xmm_input);
        let mut inner = |name: &str, toggle: &Option<Toggle>, element: &str| {
            let tree = toggle.as_ref().and_then(|toggle| toggle.foreign.tree(element));
            if let Some(state) = tree.as_ref().and_then(|tree| tree.attribute("state")) {
                words.push(format!("hv-{name}={state}"));
            }
        };
        inner("stimer-direct", &hyperv.stimer, "direct");
        inner("tlbflush-direct", &hyperv.tlbflush, "direct");
        inner("tlbflush-ext", &hyperv.tlbflush, "extended");
        if let Some(spinlocks) = hyperv.spinlocks.as_ref().filter(|spinlocks| spinlocks.state.is_on()) {
            words.push(format!("hv-spinlocks={:#x}", spinlocks.retries.unwrap_or(0x1fff)));
        }
        if let Some(id) = hyperv.vendor_id.as_ref().filter(|id| id.state.is_on()) {
            words.push(format!("hv-vendor-id={}", id.value.as_deref().unwrap_or_default()));
        }
        match hyperv.mode {
            None | Some(lodge_model::domain::features::HypervMode::Custom) => {}
            Some(lodge_model::domain::features::HypervMode::Passthrough) => {
                words.push("hv-passthrough=on".to_owned());
            }
            Some(mode) => b.refuse(format!("mode='{mode}' is not supported yet")),
        }
    }
    if let Some(kvm) = features.kvm.as_deref() {
        words.extend(kvm.hidden.as_ref().filter(|hidden| hidden.state.is_on()).map(|_| "kvm=off".to_owned()));
        let named = [
            ("kvm-hint-dedicated", &kvm.hint_dedicated),
            ("kvm-poll-control", &kvm.poll_control),
            ("kvm-pv-ipi", &kvm.pv_ipi),
        ];
        let on = named.iter().filter_map(|(name, toggle)| Some(format!("{name}={}", toggle.as_ref()?.state)));
        words.extend(on);
    }
    if let Some(pmu) = &features.pmu {
        words.push(format!("pmu={}", pmu.state));
    }
    if !b.is_kvm() && words.len() > before {
        b.at("/domain/features");
        b.warn(format!("left out under TCG, which has no such thing: {}", words[before..].join(", ")));
        words.truncate(before);
    }
}

/// `-smp`.
pub(super) fn topology(b: &mut Builder<'_>) {
    b.at("/domain/vcpu");
    let most = b.domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count);
    let first = b.domain.vcpu.as_ref().map_or(1, lodge_model::domain::cpu::Vcpu::at_start);
    if first == 0 || first > most {
        b.refuse(format!("{first} of {most} processors at start make no sense"));
    }
    let mut text = first.to_string();
    if first != most {
        text += &format!(",maxcpus={most}");
    }
    let topology = b.domain.cpu.as_deref().and_then(|cpu| cpu.topology.as_ref());
    match topology {
        None => text += &format!(",sockets={most},cores=1,threads=1"),
        Some(topology) => {
            let (dies, clusters) = (topology.dies.unwrap_or(1), topology.clusters.unwrap_or(1));
            let product =
                [topology.sockets, dies, clusters, topology.cores, topology.threads].iter().product::<u32>();
            if product != most {
                b.at("/domain/cpu/topology");
                b.refuse(format!("the topology makes {product} processors, but <vcpu> says {most}"));
            }
            text += &format!(",sockets={}", topology.sockets);
            if topology.dies.is_some() {
                text += &format!(",dies={dies}");
            }
            if clusters != 1 {
                text += &format!(",clusters={clusters}");
            }
            text += &format!(",cores={},threads={}", topology.cores, topology.threads);
        }
    }
    b.arg("-smp", text);
    super::numa::cells(b);
    iothreads(b);
}

fn iothreads(b: &mut Builder<'_>) {
    b.at("/domain/iothreads");
    for thread in b.domain.iothreads() {
        let object = Props::object("iothread", &format!("iothread{}", thread.number))
            .maybe("poll-max-ns", thread.poll_max_ns)
            .maybe("poll-grow", thread.poll_grow)
            .maybe("poll-shrink", thread.poll_shrink);
        b.json("-object", &pool(object, thread.pool));
    }
    b.at("/domain/defaultiothread");
    let of_loop = b.domain.main_loop_pool();
    if of_loop != Pool::default() {
        b.json("-object", &pool(Props::object("main-loop", "main-loop"), of_loop));
    }
}

fn pool(object: Props, pool: Pool) -> Props {
    object.maybe("thread-pool-min", pool.least).maybe("thread-pool-max", pool.most)
}
