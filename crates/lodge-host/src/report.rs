//! What `lodge host check` says: findings with the next step for each miss.

use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::kvm::KvmVerdict;

/// The upshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Guests run with the processor's help.
    Ready,
    /// Guests run, but by emulation.
    Slow,
    /// Something that guests need is missing.
    Missing,
}

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Good to know; nothing to do.
    Info,
    /// Guests run all the same, but not as well.
    Warn,
    /// Guests cannot run until this is mended.
    Miss,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// A name for programs that stays the same.
    pub id: String,
    /// A name for people.
    pub title: String,
    /// How it is to be taken.
    pub status: Status,
    /// What was found, and by which command a person sees the same.
    pub found: String,
    /// The exact next step, where one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostReport {
    /// The upshot.
    pub verdict: Verdict,
    /// The upshot as a sentence.
    pub summary: String,
    /// What type of hypervisor this set-up is, and why, as a sentence.
    pub hypervisor: String,
    /// KVM's verdict.
    pub kvm: KvmVerdict,
    /// Every finding, in the order a person would look.
    pub checks: Vec<Check>,
    /// What the findings were drawn from.
    pub facts: Facts,
}
