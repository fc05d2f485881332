//! What `lodge host check` says: findings with the next step for each miss.

use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::kvm::KvmVerdict;

/// What runs guest code on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The kernel's KVM.
    Kvm,
    /// QEMU's own translator: no help by the processor, about 10 to 30 times slower.
    Tcg,
    /// Nothing: QEMU is missing.
    None,
}

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Good to know; nothing to do.
    Info,
    /// Guests run, but slower or with something missing.
    Warning,
    /// Guests cannot run until this is mended.
    Failed,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// A stable name, to find it by in `-o json`.
    pub id: String,
    /// How it is to be taken.
    pub status: Status,
    /// What was found, in words.
    pub finding: String,
    /// What was run or could be run to see the same, where there is a command for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_by: Option<String>,
    /// The exact next steps, where something is to be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
}

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostReport {
    /// Whether guests can run at all.
    pub guests_can_run: bool,
    /// What they run on.
    pub accelerator: Accelerator,
    /// One sentence for a person in a hurry.
    pub summary: String,
    /// KVM's verdict.
    pub kvm: KvmVerdict,
    /// Every finding, in the order to read them.
    pub checks: Vec<Check>,
    /// What the findings were drawn from.
    pub facts: Facts,
}

impl HostReport {
    /// The findings that ask for a step.
    pub fn misses(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.status >= Status::Warning)
    }
}
