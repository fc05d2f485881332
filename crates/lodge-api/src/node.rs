//! What the host can give its guests, and how its processors and memory stand: what virsh calls `capabilities`, `nodeinfo`
//! and their kin.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The sort of guest that is asked about; what is not said is the host's own choice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct GuestSort {
    /// The program.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/usr/bin/qemu-system-x86_64")]
    pub emulator: Option<String>,
    /// Its architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "x86_64")]
    pub arch: Option<String>,
    /// The machine type, by name or alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "q35")]
    pub machine: Option<String>,
    /// `kvm` or `qemu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virt_type: Option<String>,
}

/// An architecture whose processors are asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ArchQuery {
    /// Its name.
    pub arch: String,
}

/// How many processors a guest can have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct MaxVcpusQuery {
    /// How it is run: `kvm` or `qemu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// A processor model as this host's QEMU has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuestCpuModel {
    /// Its name.
    pub name: String,
    /// Whether a guest can have all of it here; `null`: QEMU does not say.
    pub usable: Option<bool>,
    /// QEMU will drop it.
    pub deprecated: bool,
}

/// What several processors have in common is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CpuBaseline {
    /// Documents with the processors: `<cpu>`, several of them, `<domain>`, `<capabilities>`, `<domainCapabilities>`.
    pub document: String,
    /// Write features out that a model has by itself.
    #[serde(default)]
    pub features: bool,
    /// Leave out what keeps a guest from moving.
    #[serde(default)]
    pub migratable: bool,
    /// Of what QEMU gives such a guest here; otherwise of the described hosts alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestSort>,
}

/// How a processor stands to this host's is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CpuCompare {
    /// A document with the processor: `<cpu>`, `<domain>`, `<capabilities>`, `<domainCapabilities>`.
    pub document: String,
    /// An incompatible one is an error that says why.
    #[serde(default)]
    pub strictly: bool,
    /// Refuse what no `<cpu>` can have.
    #[serde(default)]
    pub validate: bool,
    /// Against what QEMU gives such a guest here; otherwise against the host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestSort>,
}

/// How a processor stands to this host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CpuStanding {
    /// The host lacks something of it.
    Incompatible,
    /// The host is the same.
    Identical,
    /// The host has more.
    Superset,
}

/// The host's processors and memory at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// The machine's sort: `x86_64`.
    pub model: String,
    /// Processors that are on.
    pub cpus: u32,
    /// The first one's speed now; 0 where it is not told.
    pub mhz: u32,
    /// Sockets of a cell.
    pub sockets: u32,
    /// Cores of a socket.
    pub cores: u32,
    /// Threads of a core.
    pub threads: u32,
    /// Memory cells.
    pub cells: u32,
    /// All memory and what is free of it.
    pub memory: NodeMemory,
    /// The same of each cell, in order of their numbers.
    pub cell_memory: Vec<NodeMemory>,
    /// Time spent by all processors.
    pub times: CpuTimes,
    /// The same of each that is on.
    pub cpu_times: Vec<CpuTimes>,
    /// Numbers of the processors that there are.
    pub present: Vec<u32>,
}

/// Memory, of the host or of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeMemory {
    /// The cell's number; of the host none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<u32>,
    /// All.
    pub total_kib: u64,
    /// Free.
    pub free_kib: u64,
    /// The kernel's buffers; told of the host only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffers_kib: Option<u64>,
    /// Files kept in memory; told of the host only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_kib: Option<u64>,
}

/// Time spent since the host's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CpuTimes {
    /// The processor's number; of all none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// In programs.
    pub user_ns: u64,
    /// In the kernel.
    pub kernel_ns: u64,
    /// In nothing.
    pub idle_ns: u64,
    /// In waiting for disks.
    pub iowait_ns: u64,
}
