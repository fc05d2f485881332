//! What says how the host serves a guest: `<memtune>`, `<blkiotune>`, `<numatune>`, `<cputune>`, `<iothreadids>`.
//!
//! Others read and change these as trees (`Kept`), so they are brought to libvirt's form as trees: its order, KiB, lists
//! of processors as ranges, one element per thread.

use crate::Bytes;
use crate::domain::Domain;
use crate::domain::cpu::{CpuTune, Placement, Vcpu};
use crate::domain::disk::IoTune;
use crate::domain::processors::Processors;
use crate::domain::resctrl;
use crate::xml::{Foreign, Kept};

/// What libvirt takes for no limit (VIR_DOMAIN_MEMORY_PARAM_UNLIMITED), in KiB.
const UNLIMITED_KIB: u64 = 9_007_199_254_740_991;

/// Completes all of them.
pub(super) fn complete(domain: &mut Domain) {
    memory(&mut domain.memtune);
    disks(&mut domain.blkiotune);
    cells(domain);
    iothreads(domain);
    throttle_groups(domain);
    if let Some(list) = domain.vcpu.as_mut().and_then(|vcpu| vcpu.cpuset.as_mut()) {
        ranges(list);
    }
    let count = domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count);
    if let Some(tune) = domain.cputune.as_deref_mut() {
        processors(tune);
        resources(tune, count);
    }
    domain.cputune.take_if(|tune| **tune == CpuTune::default());
}

/// Brings a list of processors to the form that libvirt writes; what is no list is left for `check`.
pub(super) fn ranges(list: &mut String) {
    if let Some(set) = Processors::parse(list) {
        *list = set.to_string();
    }
}

fn ranges_of(element: &mut Kept, attribute: &str) {
    if let Some(mut list) = element.attribute(attribute).map(str::to_owned) {
        ranges(&mut list);
        element.set_attribute(attribute, Some(list));
    }
}

/// Changes the tree of that name, if there is one; an empty one goes.
fn change(kept: &mut Foreign, name: &str, change: impl FnOnce(&mut Kept)) {
    if let Some(mut tree) = kept.tree(name) {
        change(&mut tree);
        kept.set_tree(&tree);
    }
}

fn memory(kept: &mut Foreign) {
    const ORDER: [&str; 4] = ["hard_limit", "soft_limit", "min_guarantee", "swap_hard_limit"];
    change(kept, "memtune", |tree| {
        for limit in &mut tree.children {
            let unit = limit.attribute("unit").unwrap_or("KiB");
            let scaled = limit.text.parse().ok().and_then(|number| Bytes::scaled(number, unit).ok());
            if let Some(bytes) = scaled {
                *limit = Kept::new(&limit.name).with("unit", "KiB").text(bytes.kib());
            }
        }
        tree.children.retain(|limit| limit.text.parse() != Ok(UNLIMITED_KIB));
        sort(tree, &ORDER);
    });
}

fn disks(kept: &mut Foreign) {
    const ORDER: [&str; 6] =
        ["path", "weight", "read_iops_sec", "write_iops_sec", "read_bytes_sec", "write_bytes_sec"];
    change(kept, "blkiotune", |tree| {
        for device in tree.children.iter_mut().filter(|child| child.name == "device") {
            sort(device, &ORDER);
        }
        sort(tree, &["weight", "device"]);
    });
}

/// Puts children in this order; those of one name stay as they are.
fn sort(tree: &mut Kept, order: &[&str]) {
    tree.children.sort_by_key(|child| order.iter().position(|name| *name == child.name));
}

fn cells(domain: &mut Domain) {
    let is_auto = domain.vcpu.as_ref().is_some_and(|vcpu| vcpu.placement == Some(Placement::Auto));
    let kept = &mut domain.numatune;
    change(kept, "numatune", |tree| {
        for cell in &mut tree.children {
            ranges_of(cell, "nodeset");
            let says_nothing = cell.attribute("placement").is_none() && cell.attribute("nodeset").is_none();
            let by_numad = cell.attribute("placement") == Some("auto")
                || (is_auto && says_nothing && cell.name == "memory");
            let mode = cell.attribute("mode").unwrap_or("strict");
            let mut made = Kept::new(&cell.name);
            for name in ["cellid", "mode", "nodeset"] {
                let value = if name == "mode" { Some(mode) } else { cell.attribute(name) };
                if !(by_numad && name == "nodeset") {
                    made.set_attribute(name, value.map(str::to_owned));
                }
            }
            if by_numad {
                made.set_attribute("placement", Some("auto".to_owned()));
            }
            *cell = made;
        }
        let number = |cell: &Kept| cell.attribute("cellid").and_then(|id| id.parse::<u32>().ok());
        tree.children.sort_by_key(|cell| (cell.name != "memory", number(cell)));
    });
    // Who lets numad place the memory, and pins nothing, lets it place the processors.
    let by_numad = kept.tree("numatune").is_some_and(|tree| {
        tree.child("memory").is_some_and(|memory| memory.attribute("placement") == Some("auto"))
    });
    let is_pinned = domain.cputune.as_deref().is_some_and(|tune| {
        !tune.vcpu_pins.is_empty() || tune.emulator_pin.is_some() || !tune.iothread_pins.is_empty()
    });
    if by_numad && !is_pinned {
        let vcpu = domain.vcpu.get_or_insert_with(|| Vcpu { count: 1, ..Vcpu::default() });
        if vcpu.cpuset.is_none() {
            vcpu.placement = Some(Placement::Auto);
        }
    }
    // Who lets numad place the processors lets it place the memory.
    if is_auto && kept.is_empty() {
        let mut tree = Kept::new("numatune");
        tree.set_child(Kept::new("memory").with("mode", "strict").with("placement", "auto"));
        kept.set_tree(&tree);
    }
}

fn iothreads(domain: &mut Domain) {
    let threads = domain.iothreads();
    let mut count = None;
    change(&mut domain.iothreadids, "iothreadids", |tree| {
        for thread in &threads {
            let id = thread.number.to_string();
            if !tree.all("iothread").any(|item| item.attribute("id") == Some(id.as_str())) {
                tree.children.push(Kept::new("iothread").with("id", id));
            }
        }
        count = u32::try_from(tree.children.len()).ok();
    });
    domain.iothreads = count.or(domain.iothreads).filter(|count| *count > 0);
}

fn processors(tune: &mut CpuTune) {
    for pin in &mut tune.vcpu_pins {
        ranges(&mut pin.cpuset);
    }
    tune.vcpu_pins.sort_by_key(|pin| pin.vcpu);
    for pin in &mut tune.iothread_pins {
        ranges(&mut pin.cpuset);
    }
    tune.iothread_pins.sort_by_key(|pin| pin.iothread);
    if let Some(pin) = &mut tune.emulator_pin {
        ranges(&mut pin.cpuset);
    }
    let mut turns = tune.foreign.trees("emulatorsched");
    for (name, list) in [("vcpusched", "vcpus"), ("iothreadsched", "iothreads")] {
        let given = tune.foreign.trees(name);
        let mut single: Vec<(u32, Kept)> = Vec::new();
        for item in &given {
            let Some(numbers) = item.attribute(list).and_then(Processors::parse) else { return };
            for &number in numbers.numbers() {
                let mut one = Kept::new(name).with(list, number);
                for attribute in ["scheduler", "priority"] {
                    one.set_attribute(attribute, item.attribute(attribute).map(str::to_owned));
                }
                single.push((number, one));
            }
        }
        single.sort_by_key(|(number, _)| *number);
        turns.extend(single.into_iter().map(|(_, one)| one));
    }
    tune.foreign.set_trees(&["emulatorsched", "vcpusched", "iothreadsched"], &turns);
}

/// Parts of caches and of the way to memory. What contradicts is left for `check`.
fn resources(tune: &mut CpuTune, count: u32) {
    if resctrl::is_mentioned(tune)
        && let Ok(groups) = resctrl::groups(tune, count)
    {
        resctrl::write(tune, &groups, false);
    }
}

/// libvirt's order of a group's limits, which is that of a disk's (virDomainDiskIoTuneFormat).
fn throttle_groups(domain: &mut Domain) {
    change(&mut domain.throttle_groups, "throttlegroups", |tree| {
        for group in &mut tree.children {
            sort(group, &limits());
            // Of a disk the name is among the limits, of a group it is last.
            let name = group.child("group_name").cloned();
            if let Some(name) = name {
                group.set_child(name);
            }
        }
    });
    for tune in domain.devices.disks.iter_mut().filter_map(|disk| disk.iotune.as_deref_mut()) {
        tune.foreign.sort(&limits());
    }
}

/// What a disk's limits consist of, in libvirt's order.
fn limits() -> Vec<&'static str> {
    let (before, behind) = IoTune::LIMITS.split_at(IoTune::BEFORE_GROUP);
    [before, &["group_name"][..], behind].concat()
}
