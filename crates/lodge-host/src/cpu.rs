//! Processors by name: which features a model has, which model fits a set of features.
//!
//! ```text
//!  x86_features.txt, x86_models.txt ──▶ Table (read once)
//!  CPUID, KVM's registers ──▶ Bits ──▶ decode ──▶ model + features     (capabilities, baseline, host-model)
//!  a client's <cpu> ──▶ Bits ──▶ compare
//! ```
//!
//! The tables hold facts in a form of our own. Names, their order and the way a model is chosen agree with libvirt's,
//! since clients store the answers in guests' documents and carry them from host to host.
//! Deliberately absent: processors that are not x86.

mod answer;
mod decode;
mod host;
mod table;
mod update;

pub use answer::{Comparison, CpuError, Ground, baseline, compare};
pub use decode::{Choice, KnownModel, Question, Wanted, decode};
pub use host::{HostCpu, host_cpu};
pub use table::{Bits, Feature, Model, Signature, Table, table};
pub use update::update;
