//! `<memory>` among the devices: modules beside what the guest starts with.

use lodge_model::Bytes;
use lodge_model::domain::Domain;
use lodge_model::domain::address::Address;
use lodge_model::domain::memory::{MemoryAccessMode, MemoryAllocationMode, MemorySourceKind};
use lodge_model::domain::memory_module::{MemoryModel, MemoryModule, ModuleAccess};
use lodge_model::domain::processors::Processors;
use lodge_model::xml::YesNo;

use super::builder::{Builder, alias};
use super::props::Props;

/// What all modules have together: `<memory>` counts it, what the guest starts with does not.
pub(super) fn total(domain: &Domain) -> Bytes {
    let sizes = domain.devices.memory_modules.iter().map(|module| module.target.size.size.0);
    Bytes(sizes.fold(0, u64::saturating_add))
}

/// All of them.
pub(super) fn modules(b: &mut Builder<'_>) {
    for (at, module) in b.domain.devices.memory_modules.iter().enumerate() {
        b.at_device("memory", at);
        if module.model == MemoryModel::SgxEpc {
            b.refuse("sgx epc isn't supported by this QEMU binary");
        } else if b.domain.max_memory.is_none() {
            b.refuse_hinted("a guest with modules needs room for them", "add <maxMemory slots='…'>");
        } else {
            object(b, module);
            device(b, module);
        }
    }
}

/// What is behind it on the host.
fn object(b: &mut Builder<'_>, module: &MemoryModule) {
    let id = format!("mem{}", alias(&module.place));
    let backing = b.domain.memory_backing.as_deref();
    let is_memfd = backing
        .and_then(|backing| backing.source.as_ref())
        .is_some_and(|source| source.kind == MemorySourceKind::Memfd);
    let all = backing.and_then(|backing| backing.access.as_ref()).map(|access| access.mode);
    let shared = match module.access {
        Some(access) => Some(access == ModuleAccess::Shared),
        None => all.map(|mode| mode == MemoryAccessMode::Shared),
    };
    let pages = module.source.pagesize.as_ref().map(|size| size.size);
    let mut object = match &module.source.path {
        Some(path) => Props::object("memory-backend-file", &id).with("mem-path", path.as_str()),
        // Shared memory must be a file; one in memory serves as well as one of hugetlbfs.
        None if is_memfd || pages.is_some() || shared == Some(true) => {
            Props::object("memory-backend-memfd", &id)
        }
        None => Props::object("memory-backend-ram", &id),
    };
    if let Some(size) = pages {
        object = object.with("hugetlb", true).with("hugetlbsize", size.0);
    }
    let discard = module.discard.or(backing.filter(|backing| backing.discard).map(|_| YesNo::Yes));
    if module.source.path.is_some() && module.model != MemoryModel::Nvdimm {
        object = object.maybe("discard-data", discard.map(YesNo::is_yes));
    }
    object = object.maybe("share", shared);
    if module.model == MemoryModel::VirtioMem {
        object.set("reserve", false);
    }
    object.set("size", module.target.size.size.0);
    object = object.maybe("align", module.source.alignsize.as_ref().map(|size| size.size.0));
    if module.source.pmem {
        object.set("pmem", true);
    }
    if module.target.read_only && module.source.path.is_some() {
        object.set("readonly", true);
        object.set("rom", "off");
    }
    // What lies in a file is there from the start; so are huge pages. A real module of persistent memory only wears.
    let is_early = backing.and_then(|backing| backing.allocation.as_ref()?.mode)
        == Some(MemoryAllocationMode::Immediate);
    let is_whole = match &module.source.path {
        Some(_) => module.model == MemoryModel::Nvdimm && !module.source.pmem,
        None => pages.is_some(),
    };
    // virtio-mem fills what it plugs itself.
    if module.model != MemoryModel::VirtioMem && (is_whole || is_early) {
        object.set("prealloc", true);
    }
    if let Some(list) = &module.source.nodemask {
        match Processors::parse(list) {
            Some(nodes) => {
                object = object.with("host-nodes", nodes.numbers().to_vec()).with("policy", "bind");
            }
            None => b.refuse(format!("`{list}` is no list of the host's cells (as 0-1)")),
        }
    }
    b.json("-object", &object);
}

/// Whether virtio-mem takes its memory of the host when it plugs it, not when the guest first writes there.
fn fills_itself(b: &Builder<'_>, module: &MemoryModule) -> bool {
    let allocation = b.domain.memory_backing.as_deref().and_then(|backing| backing.allocation.as_ref()?.mode);
    let is_early = allocation == Some(MemoryAllocationMode::Immediate);
    module.model == MemoryModel::VirtioMem && (is_early || module.source.pagesize.is_some())
}

/// What the guest sees.
fn device(b: &mut Builder<'_>, module: &MemoryModule) {
    let id = alias(&module.place);
    let target = &module.target;
    let name = match module.model {
        MemoryModel::Dimm => "pc-dimm",
        MemoryModel::Nvdimm => "nvdimm",
        MemoryModel::VirtioPmem => "virtio-pmem-pci",
        MemoryModel::VirtioMem => "virtio-mem-pci",
        MemoryModel::SgxEpc => return,
    };
    let props = Props::driver(name)
        .maybe("node", target.node)
        .maybe("label-size", target.label.as_ref().map(|label| label.size.size.0))
        .maybe("block-size", target.block.as_ref().map(|block| block.size.0))
        .maybe("requested-size", target.requested.as_ref().map(|size| size.size.0).filter(|size| *size > 0))
        .maybe("unarmed", target.read_only.then_some(true))
        .with("memdev", format!("mem{id}"))
        .maybe("memaddr", target.address.as_ref().map(|address| address.base))
        .maybe("prealloc", fills_itself(b, module).then_some(true))
        .maybe("dynamic-memslots", target.dynamic_memslots.map(YesNo::is_yes))
        .with("id", id);
    let props = match (&module.place.address, module.model) {
        (Some(Address::Dimm(address)), MemoryModel::Dimm | MemoryModel::Nvdimm) => {
            props.with("slot", address.slot).maybe("addr", address.base)
        }
        (None, MemoryModel::Dimm | MemoryModel::Nvdimm) => props,
        (Some(_), MemoryModel::Dimm | MemoryModel::Nvdimm) => {
            b.refuse("this device needs an address of type 'dimm'");
            props
        }
        _ => b.pci(props, &module.place),
    };
    b.device(name, &props);
}
