//! Modules of memory: sizes, cells, slots and places. The words are libvirt's.

use super::{Found, nth};
use crate::domain::Domain;
use crate::domain::address::{Address, DimmAddress};
use crate::domain::memory_module::{MemoryModel, MemoryModule, ModuleAccess};
use crate::xml::YesNo;

/// The smallest piece of virtio-mem: a transparent huge page of x86.
const BLOCK_KIB_MIN: u64 = 2048;
/// What the guest's own table in an nvdimm needs.
const LABEL_KIB_MIN: u64 = 128;
/// A page.
const PAGE_BYTES: u64 = 4096;

pub(super) fn check(domain: &Domain, found: &mut Found) {
    let modules = &domain.devices.memory_modules;
    let all = modules.iter().map(|module| module.target.size.size.0).fold(0, u64::saturating_add);
    let path = |at| nth("/domain/devices/memory", at, modules.len());
    let cells = domain.cpu.as_deref().and_then(|cpu| cpu.numa.as_deref()).map_or(0, |numa| numa.cells.len());
    if cells == 0 && all > domain.memory.size.0 {
        found.add(path(0), "Total size of memory devices exceeds the total memory size");
    }
    let mut free = domain.max_memory.as_deref().and_then(|most| most.slots);
    for (at, module) in modules.iter().enumerate() {
        let path = path(at);
        node(module, cells, domain.max_memory.is_some(), &path, found);
        match module.model {
            MemoryModel::Dimm => {}
            MemoryModel::Nvdimm => nvdimm(module, &path, found),
            MemoryModel::VirtioPmem => pmem(module, &path, found),
            MemoryModel::VirtioMem => virtio_mem(module, &path, found),
            MemoryModel::SgxEpc => found.add(&path, "sgx epc isn't supported by this QEMU binary"),
        }
        if matches!(module.model, MemoryModel::Dimm | MemoryModel::Nvdimm) {
            match free {
                Some(0) => found.add(&path, "failed to find an empty memory slot"),
                Some(count) => free = Some(count - 1),
                None => {}
            }
        }
        clash(&modules[..at], module, &path, found);
    }
}

/// The guest's cell must be there; where memory can grow one is added.
fn node(module: &MemoryModule, cells: usize, grows: bool, path: &str, found: &mut Found) {
    let Some(node) = module.target.node else { return };
    let path = format!("{path}/target/node");
    let cells = if cells == 0 && grows { 1 } else { cells };
    if module.model == MemoryModel::VirtioPmem {
        found.add(path, "virtio-pmem does not support NUMA nodes");
    } else if cells == 0 {
        found.add(path, "can't add memory backend as guest has no NUMA nodes configured");
    } else if node as usize >= cells {
        let message = format!(
            "can't add memory backend for guest node '{node}' as the guest has only '{cells}' NUMA nodes configured"
        );
        found.add(path, message);
    }
}

fn nvdimm(module: &MemoryModule, path: &str, found: &mut Found) {
    if module.source.path.is_none() {
        found.add(path, "path is required for model 'nvdimm'");
    }
    if module.discard == Some(YesNo::Yes) {
        found.add(format!("{path}/@discard"), "discard is not supported for nvdimms");
    }
    if module.uuid.is_some() {
        found.add(format!("{path}/uuid"), "UUID is not supported for NVDIMM device");
    }
    if let Some(label) = &module.target.label {
        let path = format!("{path}/target/label/size");
        if (1..LABEL_KIB_MIN).contains(&label.size.size.kib()) {
            found.add(path, "nvdimm label must be at least 128KiB");
        } else if label.size.size >= module.target.size.size {
            found.add(path, "label size must be smaller than NVDIMM size");
        }
    }
}

fn pmem(module: &MemoryModule, path: &str, found: &mut Found) {
    if module.source.path.is_none() {
        found.add(path, "path is required for model 'virtio-pmem'");
    }
    if module.discard == Some(YesNo::Yes) {
        found.add(format!("{path}/@discard"), "discard is not supported for model 'virtio-pmem'");
    }
    if module.access == Some(ModuleAccess::Private) {
        found.add(format!("{path}/@access"), "shared access mode required for virtio-pmem device");
    }
    if module.target.address.as_ref().is_some_and(|address| !address.base.is_multiple_of(PAGE_BYTES)) {
        let message = format!("memory address must be aligned to {PAGE_BYTES} bytes");
        found.add(format!("{path}/target/address/@base"), message);
    }
}

fn virtio_mem(module: &MemoryModule, path: &str, found: &mut Found) {
    let target = &module.target;
    let path = format!("{path}/target");
    let size = target.size.size.kib();
    let Some(block) = target.block.as_ref().map(|block| block.size.kib()).filter(|block| *block > 0) else {
        return found.add(path, "block size too small, must be at least 2048KiB");
    };
    if !block.is_power_of_two() {
        return found.add(format!("{path}/block"), "block size must be a power of two");
    }
    if block < BLOCK_KIB_MIN {
        let message = format!("block size too small, must be at least {BLOCK_KIB_MIN}KiB");
        return found.add(format!("{path}/block"), message);
    }
    let requested = target.requested.as_ref().map_or(0, |requested| requested.size.kib());
    if requested > size {
        let message = format!("requested size must be smaller than or equal to @size ({size}KiB)");
        found.add(format!("{path}/requested"), message);
    } else if !requested.is_multiple_of(block) {
        found.add(format!("{path}/requested"), "requested size must be an integer multiple of block size");
    }
    if target.address.as_ref().is_some_and(|address| !address.base.is_multiple_of(block << 10)) {
        found.add(format!("{path}/address/@base"), "memory device address must be aligned to blocksize");
    }
}

fn dimm(module: &MemoryModule) -> Option<&DimmAddress> {
    match &module.place.address {
        Some(Address::Dimm(address)) => Some(address),
        _ => None,
    }
}

/// Where it begins and ends in the guest's memory, if that is said.
fn range(module: &MemoryModule) -> Option<(u64, u64)> {
    let begin = match module.model {
        MemoryModel::Dimm | MemoryModel::Nvdimm => dimm(module)?.base?,
        MemoryModel::VirtioPmem | MemoryModel::VirtioMem => module.target.address.as_ref()?.base,
        MemoryModel::SgxEpc => return None,
    };
    let label = module.target.label.as_ref().map_or(0, |label| label.size.size.0);
    let align = module.source.alignsize.as_ref().map_or(PAGE_BYTES, |align| align.size.0.max(1));
    let mapped =
        module.target.size.size.0.saturating_sub(label.checked_next_multiple_of(align).unwrap_or(label));
    (begin > 0).then(|| (begin, begin.saturating_add(mapped)))
}

/// Slots and places that one before has already.
fn clash(before: &[MemoryModule], module: &MemoryModule, path: &str, found: &mut Found) {
    for other in before {
        if let (Some(one), Some(two)) = (dimm(module), dimm(other))
            && one.slot == two.slot
        {
            let message =
                format!("memory device slot '{}' is already being used by another memory device", one.slot);
            return found.add(format!("{path}/address"), message);
        }
        if let (Some((begin, end)), Some((other_begin, other_end))) = (range(module), range(other))
            && begin < other_end
            && other_begin < end
        {
            let path = match dimm(module) {
                Some(_) => format!("{path}/address"),
                None => format!("{path}/target/address"),
            };
            let message = format!(
                "memory device address [{begin:#x}:{end:#x}] overlaps with other memory device ({other_begin:#x})"
            );
            return found.add(path, message);
        }
    }
}
