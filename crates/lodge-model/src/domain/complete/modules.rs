//! Modules of memory: the guest's cell each belongs to, their slots, and what they make the whole.

use crate::Bytes;
use crate::domain::Domain;
use crate::domain::address::{Address, DimmAddress};
use crate::domain::cpu::{Numa, NumaCell};
use crate::domain::memory_module::{MemoryModel, MemoryModule, ModuleAccess};
use crate::domain::size::Kib;

/// Completes the modules, and the guest's memory by them.
pub(super) fn complete(domain: &mut Domain) {
    domain.devices.memory_modules.iter_mut().for_each(one);
    add_cell(domain);
    total(domain);
    slots(domain);
}

/// Drops what the sort of module does not have, as libvirt's parser passes over it.
fn one(module: &mut MemoryModule) {
    let MemoryModule { model, source, target, .. } = module;
    let is_virtio_mem = *model == MemoryModel::VirtioMem;
    let is_nvdimm = *model == MemoryModel::Nvdimm;
    let is_ram = matches!(model, MemoryModel::Dimm | MemoryModel::VirtioMem);
    if !is_ram {
        source.pagesize = None;
    }
    if !is_ram && *model != MemoryModel::SgxEpc {
        source.nodemask = None;
    }
    if !matches!(model, MemoryModel::Nvdimm | MemoryModel::VirtioPmem) {
        source.path = None;
    }
    if !is_nvdimm {
        (source.alignsize, source.pmem, target.label, target.read_only) = (None, false, None, false);
        module.uuid = None;
    }
    let empty = |size: &mut Kib| size.size.0 == 0;
    source.pagesize.take_if(empty);
    source.alignsize.take_if(empty);
    target.label.take_if(|label| label.size.size.0 == 0);
    target.block.take_if(empty);
    if !is_virtio_mem {
        (target.block, target.dynamic_memslots) = (None, None);
    }
    match &target.block {
        Some(_) => _ = target.requested.get_or_insert_default(),
        None => target.requested = None,
    }
    if !matches!(model, MemoryModel::VirtioMem | MemoryModel::VirtioPmem) {
        target.address = None;
    }
    target.address.take_if(|address| address.base == 0);
    if *model == MemoryModel::VirtioPmem {
        module.access.get_or_insert(ModuleAccess::Shared);
    }
}

/// A guest whose memory can grow needs a cell that it grows in (qemuDomainDefNumaAutoAdd).
fn add_cell(domain: &mut Domain) {
    let cells = domain.cpu.as_deref().and_then(|cpu| cpu.numa.as_deref()).map_or(0, |numa| numa.cells.len());
    if domain.max_memory.is_none() || cells > 0 {
        return;
    }
    // More than there is: `check` tells it.
    let Some(own) = domain.memory.size.0.checked_sub(modules_bytes(domain)) else { return };
    let count = domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count);
    let cpus = if count > 1 { format!("0-{}", count - 1) } else { "0".to_owned() };
    let cell = NumaCell {
        id: Some(0),
        cpus: Some(cpus),
        memory: Bytes(own).kib(),
        unit: Some("KiB".to_owned()),
        ..NumaCell::default()
    };
    let cpu = domain.cpu.get_or_insert_default();
    cpu.numa = Some(Box::new(Numa { cells: vec![cell], ..Numa::default() }));
    for module in &mut domain.devices.memory_modules {
        if matches!(module.model, MemoryModel::Dimm | MemoryModel::Nvdimm | MemoryModel::VirtioMem) {
            module.target.node.get_or_insert(0);
        }
    }
}

fn modules_bytes(domain: &Domain) -> u64 {
    let sizes = domain.devices.memory_modules.iter().map(|module| module.target.size.size.0);
    sizes.fold(0, u64::saturating_add)
}

/// Where there are cells, all memory is what they and the modules have (virDomainDefPostParseMemory).
fn total(domain: &mut Domain) {
    let cells = domain.cpu.iter().filter_map(|cpu| cpu.numa.as_deref()).flat_map(|numa| &numa.cells);
    let cells = cells.map(|cell| {
        Bytes::scaled(cell.memory, cell.unit.as_deref().unwrap_or("KiB")).map_or(0, |size| size.0)
    });
    let own = cells.fold(0, u64::saturating_add);
    if own == 0 {
        return;
    }
    domain.memory.size = Bytes(own.saturating_add(modules_bytes(domain)));
    let all = domain.memory.size;
    let current = domain.current_memory.get_or_insert_with(|| all.into());
    if current.size > all || current.size.0 == 0 {
        current.size = all;
    }
}

/// Gives modules without a slot the lowest that is free (qemuDomainAssignMemorySlots).
fn slots(domain: &mut Domain) {
    let Some(count) = domain.max_memory.as_deref().and_then(|most| most.slots) else { return };
    let modules = &mut domain.devices.memory_modules;
    let mut used: Vec<u32> = modules
        .iter()
        .filter_map(|module| match &module.place.address {
            Some(Address::Dimm(address)) => Some(address.slot),
            _ => None,
        })
        .collect();
    for module in modules.iter_mut() {
        let is_dimm = matches!(module.model, MemoryModel::Dimm | MemoryModel::Nvdimm);
        if is_dimm && module.place.address.is_none() {
            // None free: `check` tells it.
            let Some(slot) = (0..count).find(|slot| !used.contains(slot)) else { return };
            used.push(slot);
            module.place.address = Some(Address::Dimm(DimmAddress { slot, ..DimmAddress::default() }));
        }
    }
}
