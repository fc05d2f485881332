//! Where guests are kept and counted: cgroups, memory, disk, devices.

use crate::facts::{Cgroups, Facts, Memory};
use crate::report::{Check, Status};

use super::check;

const GIB: u64 = 1 << 30;

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    vec![cgroups(&facts.cgroups), memory(&facts.memory), disk(facts), passthrough(facts)]
}

fn cgroups(cgroups: &Cgroups) -> Check {
    let (id, title) = ("cgroups", "cgroups");
    let v1 = cgroups.v1_controllers.join(" ");
    let v2 = cgroups.v2_controllers.join(" ");
    match (&cgroups.v2, cgroups.v1_controllers.is_empty(), cgroups.v2_controllers.is_empty()) {
        (Some(path), true, false) => {
            check(id, title, Status::Ok, format!("v2 at {} with {v2}", path.display()), None)
        }
        (Some(path), true, true) => {
            let found =
                format!("v2 at {} without controllers: guests are grouped but not limited", path.display());
            check(
                id,
                title,
                Status::Warn,
                found,
                Some("`echo +cpu +memory > cgroup.subtree_control` in the parent group".to_owned()),
            )
        }
        (Some(path), false, _) => {
            let found =
                format!("hybrid: v1 controllers {v1}; v2 at {} with {}", path.display(), or_none(&v2));
            check(id, title, Status::Info, found, None)
        }
        (None, false, _) => check(id, title, Status::Info, format!("v1: {v1}"), None),
        (None, true, _) => {
            let next =
                "`mount -t cgroup2 none /sys/fs/cgroup`; guests run without, but are not counted or limited";
            check(id, title, Status::Warn, "none is mounted", Some(next.to_owned()))
        }
    }
}

fn or_none(words: &str) -> &str {
    if words.is_empty() { "none" } else { words }
}

fn memory(memory: &Memory) -> Check {
    let ksm = match memory.ksm {
        Some(true) => "; KSM merges equal pages",
        Some(false) => "; KSM is off",
        None => "; no KSM in this kernel",
    };
    let pages =
        if memory.huge_pages > 0 { format!("; {} huge pages", memory.huge_pages) } else { String::new() };
    let found =
        format!("{} of {} to be had{ksm}{pages}", gib(memory.available_bytes), gib(memory.total_bytes));
    if memory.available_bytes < GIB {
        let next = "stop something, or give guests less than their default of 1 GiB (`lodge run --memory`)"
            .to_owned();
        return check("memory", "memory", Status::Warn, found, Some(next));
    }
    check("memory", "memory", Status::Ok, found, None)
}

fn disk(facts: &Facts) -> Check {
    let disk = &facts.disk;
    let found =
        format!("{} free of {} under {}", gib(disk.free_bytes), gib(disk.total_bytes), disk.path.display());
    if disk.free_bytes < 5 * GIB {
        let next = format!("make room under {} (an image and a guest take about 3 GiB)", disk.path.display());
        return check("disk", "disk space", Status::Warn, found, Some(next));
    }
    check("disk", "disk space", Status::Ok, found, None)
}

fn gib(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
    let size = bytes as f64 / GIB as f64;
    format!("{size:.1} GiB")
}

/// Handing PCI devices to guests: good to know, never needed.
fn passthrough(facts: &Facts) -> Check {
    let there = &facts.passthrough;
    let cards: Vec<_> = there.sriov.iter().map(|(card, parts)| format!("{card} ({parts} parts)")).collect();
    let cards =
        if cards.is_empty() { "no SR-IOV cards".to_owned() } else { format!("SR-IOV: {}", cards.join(", ")) };
    let found = match (there.iommu_groups, there.asked_for) {
        (0, false) => {
            format!(
                "no IOMMU: guests cannot be given PCI devices; {} on the kernel's command line would ask for it; {cards}",
                flag(facts)
            )
        }
        (0, true) => format!(
            "no IOMMU although the kernel was asked: enable VT-d or AMD IOMMU in the BIOS or UEFI; {cards}"
        ),
        (groups, _) => format!("{groups} IOMMU groups; {cards}"),
    };
    check("passthrough", "IOMMU and SR-IOV", Status::Info, found, None)
}

fn flag(facts: &Facts) -> &'static str {
    if facts.cpu.vendor == "AuthenticAMD" { "amd_iommu=on" } else { "intel_iommu=on" }
}
