//! The guest's processor and its cells: levels of caches, widths, which processors and pages each cell has.

use super::{Found, Seen, nth};
use crate::domain::Domain;
use crate::domain::cpu::{Cpu, CpuCacheMode, CpuMode, MaxPhysAddrMode, Numa};
use crate::domain::processors::Processors;

pub(super) fn check(domain: &Domain, found: &mut Found) {
    huge_pages(domain, found);
    let Some(cpu) = domain.cpu.as_deref() else { return };
    processor(cpu, found);
    if let Some(numa) = cpu.numa.as_deref() {
        cells(domain, numa, found);
    }
}

/// Each of the guest's cells has pages of one size.
fn huge_pages(domain: &Domain, found: &mut Found) {
    let backing = domain.memory_backing.as_deref().and_then(|backing| backing.hugepages.as_ref());
    let pages = backing.map(|hugepages| hugepages.pages.as_slice()).unwrap_or_default();
    let cells = domain.cpu.as_deref().and_then(|cpu| cpu.numa.as_deref()).map_or(0, |numa| numa.cells.len());
    let mut seen = Seen::default();
    for (at, page) in pages.iter().enumerate() {
        let path = nth("/domain/memoryBacking/hugepages/page", at, pages.len());
        // A guest without cells has one all the same: it is all of it.
        let Some(nodes) = page.nodeset.as_ref().filter(|nodes| cells > 0 || nodes.as_str() != "0") else {
            seen.note(found, None, &path, || "two sizes are for all cells that are not named".to_owned());
            continue;
        };
        for node in Processors::parse(nodes).iter().flat_map(Processors::numbers) {
            seen.note(found, Some(*node), &path, || format!("cell {node} has pages of two sizes"));
            if *node as usize >= cells {
                found.add(format!("{path}/@nodeset"), format!("the guest has no cell {node}"));
            }
        }
    }
}

fn processor(cpu: &Cpu, found: &mut Found) {
    let vendor = cpu.model.as_ref().and_then(|model| model.vendor_id.as_deref());
    if vendor.is_some_and(|vendor| vendor.len() != 12 || vendor.contains(',')) {
        found.add("/domain/cpu/model/@vendor_id", "it has 12 characters and no comma");
    }
    let takes_hosts = matches!(cpu.mode, Some(CpuMode::HostPassthrough | CpuMode::Maximum));
    if cpu.cache.as_ref().is_some_and(|cache| cache.mode == CpuCacheMode::Passthrough) && !takes_hosts {
        found.add("/domain/cpu/cache", "the host's caches go with mode='host-passthrough' or 'maximum'");
    }
    match cpu.cache.as_ref().map(|cache| (cache.mode, cache.level)) {
        Some((CpuCacheMode::Emulate, level)) if level != Some(3) => {
            found.add("/domain/cpu/cache/@level", "what is emulated is level 3");
        }
        Some((CpuCacheMode::Passthrough | CpuCacheMode::Disable, Some(_))) => {
            found.add("/domain/cpu/cache/@level", "all levels are passed through or left out together");
        }
        _ => {}
    }
    let address = cpu.max_phys_addr.as_ref();
    let by_host = address.filter(|address| address.mode == MaxPhysAddrMode::Passthrough);
    if by_host.is_some_and(|address| address.bits.is_some()) {
        found.add("/domain/cpu/maxphysaddr/@bits", "the host's width is taken: it has no number here");
    }
}

fn cells(domain: &Domain, numa: &Numa, found: &mut Found) {
    let count = numa.cells.len();
    let most = domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count);
    let (mut ids, mut taken) = (Seen::default(), Seen::default());
    let mut processors = 0_usize;
    for (at, cell) in numa.cells.iter().enumerate() {
        if let Some(access) = cell.access.as_deref().filter(|access| !["shared", "private"].contains(access))
        {
            let path = format!("{}/@memAccess", nth("/domain/cpu/numa/cell", at, count));
            found.add(path, format!("`{access}` is not known here (known: shared, private)"));
        }
    }
    for (at, cell) in numa.cells.iter().enumerate() {
        let path = nth("/domain/cpu/numa/cell", at, count);
        if let Some(id) = cell.id {
            ids.note(found, id, &format!("{path}/@id"), || format!("cell {id} is given twice"));
            if id as usize >= count {
                found.add(format!("{path}/@id"), format!("{count} cells have numbers up to {}", count - 1));
            }
        }
        if let Some(list) = &cell.cpus {
            let path = format!("{path}/@cpus");
            match Processors::parse(list) {
                None => found.add(path, format!("`{list}` is no list of processors (as 0-3)")),
                Some(set) => {
                    processors += set.numbers().len();
                    for number in set.numbers() {
                        taken.note(found, *number, &path, || format!("processor {number} is in two cells"));
                    }
                }
            }
        }
        let siblings = cell.distances.iter().flat_map(|distances| &distances.siblings);
        let siblings: Vec<_> = siblings.collect();
        for (index, sibling) in siblings.iter().enumerate() {
            let path = nth(&format!("{path}/distances/sibling"), index, siblings.len());
            let own = cell.id.unwrap_or(u32::try_from(at).unwrap_or(u32::MAX));
            if sibling.id as usize >= count {
                found.add(format!("{path}/@id"), format!("there is no cell {}", sibling.id));
            } else if sibling.id == own && sibling.value != 10 {
                found.add(path, "a cell is 10 from itself");
            } else if sibling.value < 10 {
                found.add(format!("{path}/@value"), "a distance begins with 10");
            }
        }
    }
    if processors > most as usize {
        found.add("/domain/cpu/numa", format!("its cells have {processors} processors, <vcpu> has {most}"));
    }
}
