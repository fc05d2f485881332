//! `<cpu>`, `<vcpu>`, `<cputune>`: the guest's processors.

use crate::xml::words::{OnOff, YesNo, words};
use crate::xml::{Foreign, Xml};

words! {
    /// How vcpus are placed on the host's processors.
    pub enum Placement { Static = "static", Auto = "auto" }
}

/// `<vcpu placement='static' cpuset='0-3' current='2'>4</vcpu>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Vcpu {
    /// Who places them.
    #[xml(attr)]
    pub placement: Option<Placement>,
    /// The host's processors they may use, as `0-3,^2`.
    #[xml(attr)]
    pub cpuset: Option<String>,
    /// How many are plugged at start; all if none is said.
    #[xml(attr)]
    pub current: Option<u32>,
    /// How many there can be.
    #[xml(text)]
    pub count: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl Vcpu {
    /// How many the guest has at start.
    pub fn at_start(&self) -> u32 {
        self.current.unwrap_or(self.count)
    }
}

/// `<cputune>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct CpuTune {
    /// Weight against others.
    #[xml(leaf)]
    pub shares: Option<u64>,
    /// Enforcement interval of each vcpu in µs.
    #[xml(leaf = "period")]
    pub period_us: Option<u64>,
    /// µs of each period a vcpu may run; negative: no limit.
    #[xml(leaf = "quota")]
    pub quota_us: Option<i64>,
    /// The same of the whole domain.
    #[xml(leaf = "global_period")]
    pub global_period_us: Option<u64>,
    /// The same of the whole domain.
    #[xml(leaf = "global_quota")]
    pub global_quota_us: Option<i64>,
    /// The same of QEMU's other threads.
    #[xml(leaf = "emulator_period")]
    pub emulator_period_us: Option<u64>,
    /// The same of QEMU's other threads.
    #[xml(leaf = "emulator_quota")]
    pub emulator_quota_us: Option<i64>,
    /// The same of I/O threads.
    #[xml(leaf = "iothread_period")]
    pub iothread_period_us: Option<u64>,
    /// The same of I/O threads.
    #[xml(leaf = "iothread_quota")]
    pub iothread_quota_us: Option<i64>,
    /// `<vcpupin vcpu='0' cpuset='1'/>`.
    #[xml(children = "vcpupin")]
    pub vcpu_pins: Vec<VcpuPin>,
    /// `<emulatorpin cpuset='0-1'/>`.
    #[xml(child = "emulatorpin")]
    pub emulator_pin: Option<EmulatorPin>,
    /// `<iothreadpin iothread='1' cpuset='0'/>`.
    #[xml(children = "iothreadpin")]
    pub iothread_pins: Vec<IothreadPin>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "iothreadsched vcpusched emulatorsched cachetune memorytune")]
    pub foreign: Foreign,
}

/// `<vcpupin vcpu='0' cpuset='1'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct VcpuPin {
    /// The vcpu's number.
    #[xml(attr, required)]
    pub vcpu: u32,
    /// The host's processors.
    #[xml(attr, required)]
    pub cpuset: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<emulatorpin cpuset='0-1'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct EmulatorPin {
    /// The host's processors.
    #[xml(attr, required)]
    pub cpuset: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<iothreadpin iothread='1' cpuset='0'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct IothreadPin {
    /// The thread's number.
    #[xml(attr, required)]
    pub iothread: u32,
    /// The host's processors.
    #[xml(attr, required)]
    pub cpuset: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Where the processor's model comes from.
    pub enum CpuMode { Custom = "custom", HostModel = "host-model", HostPassthrough = "host-passthrough", Maximum = "maximum" }
}

words! {
    /// How a guest's processor is matched with the host's.
    pub enum CpuMatch { Minimum = "minimum", Exact = "exact", Strict = "strict" }
}

words! {
    /// How far the result is compared with what was asked.
    pub enum CpuCheck { None = "none", Partial = "partial", Full = "full" }
}

/// `<cpu mode='host-model' check='partial'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Cpu {
    /// Where the model comes from.
    #[xml(attr)]
    pub mode: Option<CpuMode>,
    /// How it is matched.
    #[xml(attr = "match")]
    pub matching: Option<CpuMatch>,
    /// How far it is checked.
    #[xml(attr)]
    pub check: Option<CpuCheck>,
    /// Whether features that block migration are left out.
    #[xml(attr)]
    pub migratable: Option<OnOff>,
    /// `<model fallback='allow'>Skylake-Client</model>`.
    #[xml(child)]
    pub model: Option<CpuModel>,
    /// `<vendor>Intel</vendor>`.
    #[xml(leaf)]
    pub vendor: Option<String>,
    /// `<topology …/>`.
    #[xml(child)]
    pub topology: Option<Topology>,
    /// `<cache mode='passthrough'/>`.
    #[xml(child)]
    pub cache: Option<CpuCache>,
    /// `<maxphysaddr mode='passthrough'/>`.
    #[xml(child = "maxphysaddr")]
    pub max_phys_addr: Option<MaxPhysAddr>,
    /// `<feature policy='require' name='vmx'/>`.
    #[xml(children = "feature")]
    pub features: Vec<CpuFeature>,
    /// `<numa>`.
    #[xml(child)]
    pub numa: Option<Box<Numa>>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "signature @deprecated_features")]
    pub foreign: Foreign,
}

words! {
    /// What to do when the host lacks the model.
    pub enum Fallback { Allow = "allow", Forbid = "forbid" }
}

/// `<model fallback='allow' vendor_id='…'>Skylake-Client</model>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct CpuModel {
    /// Whether a near model will do.
    #[xml(attr)]
    pub fallback: Option<Fallback>,
    /// The vendor string the guest sees.
    #[xml(attr)]
    pub vendor_id: Option<String>,
    /// The model's name.
    #[xml(text)]
    pub name: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<topology sockets='1' dies='1' clusters='1' cores='2' threads='1'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Topology {
    /// Sockets.
    #[xml(attr, required)]
    pub sockets: u32,
    /// Dies of a socket.
    #[xml(attr)]
    pub dies: Option<u32>,
    /// Clusters of a die.
    #[xml(attr)]
    pub clusters: Option<u32>,
    /// Cores of a cluster.
    #[xml(attr, required)]
    pub cores: u32,
    /// Threads of a core.
    #[xml(attr, required)]
    pub threads: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// What cache the guest sees.
    pub enum CpuCacheMode { Emulate = "emulate", Passthrough = "passthrough", Disable = "disable" }
}

/// `<cache level='3' mode='emulate'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct CpuCache {
    /// Which level.
    #[xml(attr)]
    pub level: Option<u32>,
    /// What of it is seen.
    #[xml(attr, required)]
    pub mode: CpuCacheMode,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Where the width of physical addresses comes from.
    pub enum MaxPhysAddrMode { Passthrough = "passthrough", Emulate = "emulate" }
}

/// `<maxphysaddr mode='emulate' bits='42'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct MaxPhysAddr {
    /// Where it comes from.
    #[xml(attr, required)]
    pub mode: MaxPhysAddrMode,
    /// Its bits.
    #[xml(attr)]
    pub bits: Option<u32>,
    /// At most so many of the host's.
    #[xml(attr)]
    pub limit: Option<u32>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// What is asked of a processor feature.
    pub enum FeaturePolicy { Force = "force", Require = "require", Optional = "optional", Disable = "disable", Forbid = "forbid" }
}

/// `<feature policy='require' name='vmx'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct CpuFeature {
    /// What is asked.
    #[xml(attr)]
    pub policy: Option<FeaturePolicy>,
    /// The feature's name.
    #[xml(attr, required)]
    pub name: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<numa>` inside `<cpu>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Numa {
    /// `<cell …/>`.
    #[xml(children = "cell")]
    pub cells: Vec<NumaCell>,
    /// `<interconnects>`.
    #[xml(child)]
    pub interconnects: Option<Box<Interconnects>>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<cell id='0' cpus='0-1' memory='2097152' unit='KiB'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct NumaCell {
    /// The cell's number.
    #[xml(attr)]
    pub id: Option<u32>,
    /// Its vcpus.
    #[xml(attr)]
    pub cpus: Option<String>,
    /// Its memory, counted in `unit`.
    #[xml(attr, required)]
    pub memory: u64,
    /// The unit; KiB after completion.
    #[xml(attr)]
    pub unit: Option<String>,
    /// `shared` or `private`.
    #[xml(attr = "memAccess")]
    pub access: Option<String>,
    /// Whether its contents may be thrown away at the end.
    #[xml(attr)]
    pub discard: Option<YesNo>,
    /// `<distances>`.
    #[xml(child)]
    pub distances: Option<Box<Distances>>,
    /// `<cache level='1' …>`.
    #[xml(children = "cache")]
    pub caches: Vec<CellCache>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<distances>`: how far other cells' memory is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Distances {
    /// `<sibling id='1' value='21'/>`.
    #[xml(children = "sibling")]
    pub siblings: Vec<Sibling>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<sibling id='1' value='21'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Sibling {
    /// The other cell.
    #[xml(attr, required)]
    pub id: u32,
    /// How far it is; 10 is a cell's own, 255 never.
    #[xml(attr, required)]
    pub value: u8,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Where a line can be in a cache.
    pub enum Associativity { None = "none", Direct = "direct", Full = "full" }
}

words! {
    /// When a cache writes.
    pub enum CachePolicy { None = "none", WriteBack = "writeback", WriteThrough = "writethrough" }
}

/// `<cache level='1' associativity='direct' policy='writeback'>`: of the memory's side (ACPI's HMAT).
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct CellCache {
    /// Which level.
    #[xml(attr, required)]
    pub level: u32,
    /// Where a line can be.
    #[xml(attr, required)]
    pub associativity: Associativity,
    /// When it writes.
    #[xml(attr, required)]
    pub policy: CachePolicy,
    /// `<size value='10' unit='KiB'/>`.
    #[xml(child, required)]
    pub size: CacheAmount,
    /// `<line value='8' unit='B'/>`.
    #[xml(child, required)]
    pub line: CacheAmount,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<size value='10' unit='KiB'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct CacheAmount {
    /// How much, counted in `unit`.
    #[xml(attr, required)]
    pub value: u64,
    /// The unit.
    #[xml(attr)]
    pub unit: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<interconnects>`: how quick memory is from where (ACPI's HMAT).
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Interconnects {
    /// `<latency …/>`, in nanoseconds.
    #[xml(children = "latency")]
    pub latencies: Vec<Interconnect>,
    /// `<bandwidth …/>`, counted in its unit per second.
    #[xml(children = "bandwidth")]
    pub bandwidths: Vec<Interconnect>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Which accesses are meant.
    pub enum AccessKind { Access = "access", Read = "read", Write = "write" }
}

/// `<latency initiator='0' target='1' type='access' value='5'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Interconnect {
    /// The cell whose processors ask.
    #[xml(attr, required)]
    pub initiator: u32,
    /// The cell whose memory is meant.
    #[xml(attr, required)]
    pub target: u32,
    /// Which of the memory's caches, if not the memory itself.
    #[xml(attr)]
    pub cache: Option<u32>,
    /// Which accesses.
    #[xml(attr = "type", required)]
    pub kind: AccessKind,
    /// How much.
    #[xml(attr, required)]
    pub value: u64,
    /// The unit of a bandwidth.
    #[xml(attr)]
    pub unit: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
