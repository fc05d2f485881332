//! `<memory>` among the devices: modules of memory beside what the guest starts with.

use super::address::Place;
use super::size::Kib;
use crate::DomainId;
use crate::xml::words::{YesNo, words};
use crate::xml::{Foreign, Xml};

words! {
    /// Sorts of module.
    pub enum MemoryModel {
        Dimm = "dimm", Nvdimm = "nvdimm", VirtioPmem = "virtio-pmem", VirtioMem = "virtio-mem", SgxEpc = "sgx-epc",
    }
}

words! {
    /// Whether others see what the guest writes.
    pub enum ModuleAccess { Shared = "shared", Private = "private" }
}

/// `<memory model='dimm' access='private' discard='yes'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
#[xml(open)]
pub struct MemoryModule {
    /// The sort.
    #[xml(attr, required)]
    pub model: MemoryModel,
    /// Whether others see what the guest writes.
    #[xml(attr)]
    pub access: Option<ModuleAccess>,
    /// Whether its contents may be thrown away at the end.
    #[xml(attr)]
    pub discard: Option<YesNo>,
    /// nvdimm of pSeries.
    #[xml(leaf)]
    pub uuid: Option<DomainId>,
    /// `<source>`: what it is on the host.
    #[xml(child)]
    pub source: ModuleSource,
    /// `<target>`: what the guest sees.
    #[xml(child, required)]
    pub target: ModuleTarget,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<source>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ModuleSource {
    /// The host's cells it may come from, as `0-1`.
    #[xml(leaf)]
    pub nodemask: Option<String>,
    /// Size of the host's pages.
    #[xml(child)]
    pub pagesize: Option<Kib>,
    /// nvdimm, virtio-pmem: the file.
    #[xml(leaf)]
    pub path: Option<String>,
    /// nvdimm: what its place is a multiple of.
    #[xml(child)]
    pub alignsize: Option<Kib>,
    /// nvdimm: whether the file is persistent memory itself.
    #[xml(flag)]
    pub pmem: bool,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<target dynamicMemslots='yes'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ModuleTarget {
    /// virtio-mem: whether KVM gets it piece by piece.
    #[xml(attr = "dynamicMemslots")]
    pub dynamic_memslots: Option<YesNo>,
    /// How much.
    #[xml(child, required)]
    pub size: Kib,
    /// The guest's cell.
    #[xml(leaf)]
    pub node: Option<u32>,
    /// nvdimm: `<label><size unit='KiB'>128</size></label>`.
    #[xml(child)]
    pub label: Option<ModuleLabel>,
    /// nvdimm: whether the guest may not write.
    #[xml(flag = "readonly")]
    pub read_only: bool,
    /// virtio-mem: its smallest piece.
    #[xml(child)]
    pub block: Option<Kib>,
    /// virtio-mem: how much of it the guest is to have.
    #[xml(child)]
    pub requested: Option<Kib>,
    /// virtio-mem, live: how much of it the guest has.
    #[xml(child, live)]
    pub current: Option<Kib>,
    /// virtio-mem, virtio-pmem: `<address base='0x180000000'/>`.
    #[xml(child)]
    pub address: Option<ModuleBase>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<label>`: room for the guest's own table of an nvdimm.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ModuleLabel {
    /// How much.
    #[xml(child, required)]
    pub size: Kib,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<address base='0x180000000'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ModuleBase {
    /// Where it begins in the guest's memory.
    #[xml(attr, hex = 1)]
    pub base: u64,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
