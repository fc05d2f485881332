//! What was read from the host, before anybody judges it. Plain values: a test writes them down by hand.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that `lodge host check` looks at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The kernel and the distribution.
    pub system: System,
    /// The processor.
    pub cpu: Cpu,
    /// What this host itself runs on.
    pub hypervisor: Hypervisor,
    /// KVM's kernel modules.
    pub modules: Modules,
    /// QEMU and what belongs to it.
    pub qemu: Qemu,
    /// The cgroup layout.
    pub cgroups: Cgroups,
    /// nftables, forwarding, other people's rules.
    pub firewall: Firewall,
    /// Other managers of virtual machines and networks.
    pub others: OtherManagers,
    /// The host's memory.
    pub memory: Memory,
    /// The file system for guests' disks.
    pub disk: Disk,
    /// Handing devices to guests.
    pub passthrough: Passthrough,
}

/// The kernel and the distribution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct System {
    /// `uname -r`.
    pub kernel: String,
    /// `PRETTY_NAME` of os-release.
    pub distribution: String,
    /// `uname -m`.
    pub architecture: String,
    /// Whether this process is root's.
    pub root: bool,
}

/// The processor, as `/proc/cpuinfo` tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    /// `GenuineIntel`, `AuthenticAMD`.
    pub vendor: String,
    /// `model name`.
    pub model: String,
    /// Logical processors.
    pub count: usize,
    /// Flag `vmx`: Intel VT-x.
    pub vmx: bool,
    /// Flag `svm`: AMD-V.
    pub svm: bool,
    /// Flag `hypervisor`: this is itself a virtual machine.
    pub hypervisor: bool,
}

/// What this host itself runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hypervisor {
    /// The signature of CPUID leaf 0x4000_0000: `KVMKVMKVM`, `VMwareVMware` …
    pub signature: Option<String>,
    /// `/sys/hypervisor/type` (`xen`).
    pub sysfs: Option<String>,
    /// DMI's vendor and product.
    pub dmi: Option<String>,
    /// A container runtime, where this is a container.
    pub container: Option<String>,
}

/// One kernel module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Module {
    /// Loaded, as `/proc/modules` tells.
    Loaded,
    /// Part of the kernel: in `/sys/module`, and not in `/proc/modules`.
    BuiltIn,
    /// Neither.
    #[default]
    Absent,
}

/// KVM's kernel modules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Modules {
    /// Whether the kernel has loadable modules (`/proc/modules` exists).
    pub loadable: bool,
    /// `kvm`.
    pub kvm: Module,
    /// `kvm_intel`.
    pub kvm_intel: Module,
    /// `kvm_amd`.
    pub kvm_amd: Module,
    /// Any other `kvm_*` (`kvm_pvm`).
    pub other: Vec<String>,
    /// Parameter `nested` of the vendor's module.
    pub nested: Option<bool>,
    /// `modprobe` would find `kvm` for this kernel.
    pub on_disk: bool,
}

/// QEMU and what belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Qemu {
    /// Emulators found, with their version (`qemu-system-x86_64`, `10.0.2`).
    pub emulators: Vec<(PathBuf, String)>,
    /// `qemu-img`.
    pub img: Option<PathBuf>,
    /// QEMU is built in one piece or its SPICE module is there.
    pub spice: bool,
    /// The virtio-gpu module is there.
    pub gpu: bool,
    /// SeaBIOS.
    pub seabios: Option<PathBuf>,
    /// OVMF (UEFI).
    pub ovmf: Option<PathBuf>,
}

/// The cgroup layout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cgroups {
    /// Where cgroup v2 is mounted.
    pub v2: Option<PathBuf>,
    /// Controllers of v2 (`cgroup.controllers`).
    pub v2_controllers: Vec<String>,
    /// Controllers mounted in the manner of v1.
    pub v1_controllers: Vec<String>,
}

/// nftables, forwarding, other people's rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Firewall {
    /// `nft`.
    pub nft: Option<PathBuf>,
    /// The tables it lists (`ip filter`), or why it cannot.
    pub tables: Option<Result<Vec<String>, String>>,
    /// `net.ipv4.ip_forward`.
    pub ip_forward: Option<bool>,
    /// Chains of others at the forward hook whose policy is drop.
    pub forward_drops: Vec<String>,
}

/// Other managers of virtual machines and networks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OtherManagers {
    /// Processes by name and number (`libvirtd 812`).
    pub running: Vec<(String, u32)>,
    /// Addresses on which somebody answers DNS (port 53).
    pub dns: Vec<String>,
    /// libvirt's default bridge, `virbr0`, exists; its alias, where it has one.
    pub virbr0: Option<String>,
}

/// The host's memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// `MemTotal`.
    pub total_bytes: u64,
    /// `MemAvailable`.
    pub available_bytes: u64,
    /// Kernel same-page merging runs; nothing where the kernel has none.
    pub ksm: Option<bool>,
    /// Huge pages set aside.
    pub huge_pages: u64,
}

/// The file system for guests' disks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// The directory that was asked about, or the nearest above it that exists.
    pub path: PathBuf,
    /// The file system's size.
    pub total_bytes: u64,
    /// What a new file may take.
    pub free_bytes: u64,
}

/// Handing devices to guests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Passthrough {
    /// IOMMU groups.
    pub iommu_groups: usize,
    /// The kernel was told `intel_iommu=on` or `amd_iommu=on`.
    pub asked_for: bool,
    /// Network cards that can be split, with the number of parts (`eth0`, 7).
    pub sriov: Vec<(String, u32)>,
}
