//! What this host can do: CPU, KVM proven by running code, QEMU, cgroups, firewall.
//!
//! ```text
//!  gather::facts (reads the host) ──▶ Facts ──▶ judge (pure) ──▶ HostReport
//!  lodge_sys::kvm::prove (a child) ──▶ KvmVerdict ──┘
//! ```
//!
//! [`check`] is `lodge host check`; [`kvm_verdict`] is what a start of a guest asks. Nothing here changes the host,
//! and nothing here fails: what cannot be found out is itself a finding.
//!
//! Beside that, [`Host`] answers what libvirt's clients ask of a host: `capabilities`, `domcapabilities`, processors
//! by name ([`cpu`]), memory and processors by place ([`node`]).
//!
//! Deliberately absent: repairs. Each finding says the next step; the person takes it.

mod capabilities;
pub mod cpu;
pub mod devices;
mod domain_capabilities;
mod facts;
mod firmware;
mod gather;
mod host;
pub mod hostdev;
mod identity;
mod judge;
mod kvm;
pub mod node;
mod report;
pub mod security;

pub use capabilities::HostDocument;
pub use domain_capabilities::{DomainDocument, host_model, known_models};
pub use facts::{
    Cgroups, Cpu, Disk, Facts, Firewall, Hypervisor, Memory, Module, Modules, OtherManagers, Passthrough,
    Qemu, System,
};
pub use host::{GuestModel, GuestSort, Host, HostError};
pub use identity::host_uuid;
pub use judge::judge;
pub use kvm::{KvmVerdict, kvm_verdict, probe_main};
/// The hidden argument that makes the program the probe's child.
pub use lodge_sys::kvm::PROBE_ARGUMENT;
pub use report::{Check, HostReport, Status, Verdict};

use std::path::Path;

/// Looks at the whole host. `state` is a directory on the file system that holds the guests' disks.
pub async fn check(state: &Path) -> HostReport {
    let state = state.to_owned();
    let work = tokio::task::spawn_blocking(move || {
        let facts = gather::facts(&state);
        judge(facts, kvm::verdict_now())
    });
    work.await.expect("gathering facts does not panic")
}
