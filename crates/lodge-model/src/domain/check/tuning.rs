//! How the host is to serve a guest: lists of processors and cells, threads, periods, limits.

use super::{Found, Seen, nth};
use crate::Bytes;
use crate::domain::Domain;
use crate::domain::DomainKind;
use crate::domain::cpu::{CpuTune, Placement};
use crate::domain::processors::Processors;
use crate::domain::resctrl;
use crate::xml::Kept;

/// Shortest and longest period, in µs (libvirt's VIR_CGROUP_CPU_PERIOD_*).
const PERIOD_US: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
/// Least and most of a quota, in µs (VIR_CGROUP_CPU_QUOTA_*).
const QUOTA_US: std::ops::RangeInclusive<i64> = 1_000..=17_592_186_044_415;

pub(super) fn check(domain: &Domain, found: &mut Found) {
    vcpus(domain, found);
    memory(domain, found);
    cells(domain, found);
    iothreads(domain, found);
    if let Some(tune) = domain.cputune.as_deref() {
        periods(tune, found);
        pins(tune, found);
        turns(domain, tune, found);
        resources(domain, tune, found);
    }
}

/// Parts of the host's caches, and of the way to its memory.
fn resources(domain: &Domain, tune: &CpuTune, found: &mut Found) {
    let count = domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count);
    match resctrl::groups(tune, count) {
        Err(clash) => found.add(clash.path, clash.message),
        Ok(groups) if groups.is_empty() || domain.kind == DomainKind::Kvm => {}
        Ok(_) => {
            let elements = ["cachetune", "memorytune"];
            for name in elements.into_iter().filter(|name| tune.foreign.tree(name).is_some()) {
                let message = "cachetune is only supported for KVM domains";
                found.add(format!("/domain/cputune/{name}"), message);
            }
        }
    }
}

/// Tells a text that is no list of processors.
fn list(text: &str, path: impl Into<String>, found: &mut Found) {
    if Processors::parse(text).is_none_or(|set| set.numbers().is_empty()) {
        found.add(path, format!("`{text}` is no list of numbers (as 0-3,^2)"));
    }
}

fn vcpus(domain: &Domain, found: &mut Found) {
    if let Some(cpuset) = domain.vcpu.as_ref().and_then(|vcpu| vcpu.cpuset.as_deref()) {
        list(cpuset, "/domain/vcpu/@cpuset", found);
    }
    let Some(tree) = domain.vcpus.tree("vcpus") else { return };
    let count = domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count);
    for (at, vcpu) in tree.children.iter().enumerate() {
        let path = nth("/domain/vcpus/vcpu", at, tree.children.len());
        match vcpu.attribute("id").and_then(|id| id.parse::<u32>().ok()) {
            None => found.add(format!("{path}/@id"), "a number is missing"),
            Some(id) if id >= count => {
                found.add(
                    format!("{path}/@id"),
                    format!("{id} is beyond the last processor, {}", count.saturating_sub(1)),
                );
            }
            Some(0) if vcpu.attribute("enabled") == Some("no") => {
                found.add("/domain/vcpus", "processor 0 cannot be off");
            }
            Some(_) => {}
        }
    }
}

fn memory(domain: &Domain, found: &mut Found) {
    for limit in domain.memtune.tree("memtune").unwrap_or_default().children {
        let path = format!("/domain/memtune/{}", limit.name);
        if limit.name == "min_guarantee" {
            found.add(path, "Parameter 'min_guarantee' not supported by QEMU.");
            continue;
        }
        let unit = limit.attribute("unit").unwrap_or("KiB");
        match limit.text.parse::<u64>() {
            Err(_) => found.add(path, format!("`{}` is no amount of memory", limit.text)),
            Ok(number) => {
                if let Err(error) = Bytes::scaled(number, unit) {
                    found.add(path, error.to_string());
                }
            }
        }
    }
}

fn cells(domain: &Domain, found: &mut Found) {
    const MODES: [&str; 4] = ["strict", "preferred", "interleave", "restrictive"];
    let tree = domain.numatune.tree("numatune").unwrap_or_default();
    let is_auto = domain.vcpu.as_ref().is_some_and(|vcpu| vcpu.placement == Some(Placement::Auto));
    let own = domain.cpu.as_deref().and_then(|cpu| cpu.numa.as_deref()).map_or(0, |numa| numa.cells.len());
    let memory = tree.child("memory");
    let by_numad = memory.is_some_and(|memory| {
        let is_said = memory.attribute("placement").is_some() || memory.attribute("nodeset").is_some();
        memory.attribute("placement") == Some("auto") || (is_auto && !is_said)
    });
    let is_restrictive = |item: &Kept| item.attribute("mode") == Some("restrictive");
    for item in &tree.children {
        let path = format!("/domain/numatune/{}", item.name);
        if item.name == "memnode" && by_numad {
            found.add(path.as_str(), "numad places all memory: it is not bound cell by cell");
        }
        if item.name == "memnode" && memory.is_some_and(is_restrictive) != is_restrictive(item) {
            found.add(format!("{path}/@mode"), "`restrictive` is the mode of all or of none");
        }
        if let Some(mode) = item.attribute("mode").filter(|mode| !MODES.contains(mode)) {
            found.add(
                format!("{path}/@mode"),
                format!("`{mode}` is not known here (known: {})", MODES.join(", ")),
            );
        }
        match item.attribute("nodeset") {
            Some(nodes) => list(nodes, format!("{path}/@nodeset"), found),
            None if item.attribute("placement") == Some("auto") => {}
            None if is_auto && item.name == "memory" && item.attribute("placement").is_none() => {}
            None => found.add(path.as_str(), "attribute `nodeset` is missing"),
        }
        if item.name == "memnode" {
            let id = item.attribute("cellid").and_then(|id| id.parse::<usize>().ok());
            if id.is_none_or(|id| id >= own) {
                let named = item.attribute("cellid").unwrap_or_default();
                found.add(format!("{path}/@cellid"), format!("the guest has no cell {named}"));
            }
        }
    }
}

fn iothreads(domain: &Domain, found: &mut Found) {
    let tree = domain.iothreadids.tree("iothreadids").unwrap_or_default();
    let mut seen = Seen::default();
    for thread in &tree.children {
        let path = "/domain/iothreadids/iothread";
        match thread.attribute("id").and_then(|id| id.parse::<u32>().ok()).filter(|id| *id > 0) {
            None => found.add(format!("{path}/@id"), "a number from 1 is missing"),
            Some(id) => seen.note(found, id, path, || format!("I/O thread {id} is given twice")),
        }
    }
}

fn periods(tune: &CpuTune, found: &mut Found) {
    let periods = [
        ("period", tune.period_us),
        ("global_period", tune.global_period_us),
        ("emulator_period", tune.emulator_period_us),
        ("iothread_period", tune.iothread_period_us),
    ];
    for (name, period) in periods {
        if let Some(period) = period.filter(|period| *period != 0 && !PERIOD_US.contains(period)) {
            let message = format!("{period} is not from {} to {}", PERIOD_US.start(), PERIOD_US.end());
            found.add(format!("/domain/cputune/{name}"), message);
        }
    }
    let quotas = [
        ("quota", tune.quota_us),
        ("global_quota", tune.global_quota_us),
        ("emulator_quota", tune.emulator_quota_us),
        ("iothread_quota", tune.iothread_quota_us),
    ];
    for (name, quota) in quotas {
        if let Some(quota) = quota.filter(|quota| *quota > 0 && !QUOTA_US.contains(quota)) {
            let message = format!("{quota} is not from {} to {}", QUOTA_US.start(), QUOTA_US.end());
            found.add(format!("/domain/cputune/{name}"), message);
        }
    }
}

fn pins(tune: &CpuTune, found: &mut Found) {
    let mut seen = Seen::default();
    for (at, pin) in tune.vcpu_pins.iter().enumerate() {
        let path = nth("/domain/cputune/vcpupin", at, tune.vcpu_pins.len());
        list(&pin.cpuset, format!("{path}/@cpuset"), found);
        seen.note(found, pin.vcpu, &path, || format!("processor {} is pinned twice", pin.vcpu));
    }
    let mut seen = Seen::default();
    for (at, pin) in tune.iothread_pins.iter().enumerate() {
        let path = nth("/domain/cputune/iothreadpin", at, tune.iothread_pins.len());
        list(&pin.cpuset, format!("{path}/@cpuset"), found);
        seen.note(found, pin.iothread, &path, || format!("I/O thread {} is pinned twice", pin.iothread));
    }
    if let Some(pin) = &tune.emulator_pin {
        list(&pin.cpuset, "/domain/cputune/emulatorpin/@cpuset", found);
    }
}

fn turns(domain: &Domain, tune: &CpuTune, found: &mut Found) {
    const SCHEDULERS: [&str; 4] = ["batch", "idle", "fifo", "rr"];
    let threads: Vec<u32> = domain.iothreads().iter().map(|thread| thread.number).collect();
    for (name, attribute) in [("vcpusched", "vcpus"), ("iothreadsched", "iothreads"), ("emulatorsched", "")] {
        let path = format!("/domain/cputune/{name}");
        let mut seen = Seen::default();
        for turn in tune.foreign.trees(name) {
            let scheduler = turn.attribute("scheduler").unwrap_or_default();
            if !SCHEDULERS.contains(&scheduler) {
                let message = format!("`{scheduler}` is not known here (known: {})", SCHEDULERS.join(", "));
                found.add(format!("{path}/@scheduler"), message);
            }
            if attribute.is_empty() {
                continue;
            }
            match turn.attribute(attribute).and_then(Processors::parse) {
                None => found.add(format!("{path}/@{attribute}"), "a list of numbers is missing"),
                Some(numbers) => {
                    for number in numbers.numbers() {
                        seen.note(found, *number, &path, || format!("{number} is given twice"));
                        if attribute == "iothreads" && !threads.contains(number) {
                            found.add(
                                format!("{path}/@{attribute}"),
                                format!("there is no I/O thread {number}"),
                            );
                        }
                    }
                }
            }
        }
    }
}
