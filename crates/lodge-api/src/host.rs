//! The host and the daemon on it: version, facts, and the check of what a hypervisor needs.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which daemon this is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// Lodge's version.
    #[schema(example = "0.1.0")]
    pub lodge: String,
    /// The API's version: the first part of every path.
    #[schema(example = "v1")]
    pub api: String,
    /// The version of QEMU guests get, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qemu: Option<String>,
    /// The daemon's process.
    pub pid: u32,
    /// The directory all its paths lie under; `/` for the host's daemon.
    pub root: String,
    /// When it started. Unix time in ms.
    pub started_ms: u64,
}

/// The host as the daemon sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HostView {
    /// The host's name.
    pub hostname: String,
    /// Its machine, as `uname -m`.
    #[schema(example = "x86_64")]
    pub arch: String,
    /// Its kernel's release.
    pub kernel: String,
    /// The processor's model.
    #[serde(default)]
    pub cpu_model: String,
    /// Processors online.
    pub cpus: u32,
    /// Memory in all, in KiB.
    pub memory_kib: u64,
    /// Memory to be had, in KiB.
    pub memory_available_kib: u64,
    /// The QEMU guests get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qemu: Option<String>,
    /// What guests are run with by default, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<AcceleratorView>,
    /// How fast that is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<SpeedView>,
    /// Domains known.
    pub domains: u32,
    /// Domains that run.
    pub domains_active: u32,
    /// Networks that are up.
    #[serde(default)]
    pub networks_active: u32,
    /// Odd things seen, each a sentence for a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How processors are run, and why so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AcceleratorView {
    /// `kvm` or `tcg`.
    #[schema(example = "tcg")]
    pub name: String,
    /// Why that one.
    #[schema(example = "/dev/kvm opens, but guest code does not run: timed out after 2 s")]
    pub why: String,
}

/// How fast guests run here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SpeedView {
    /// How many times slower than the bare host; 1.0 or more.
    #[schema(example = 12.5)]
    pub factor: f64,
}

/// What `lodge host check` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostReport {
    /// The upshot.
    pub verdict: Verdict,
    /// The upshot as a sentence.
    #[schema(
        example = "guests run, but without hardware help: KVM is present and does not execute guest code"
    )]
    pub summary: String,
    /// What type of hypervisor this set-up is, and why, as a sentence.
    pub hypervisor: String,
    /// Every check, in the order a person would make them.
    pub checks: Vec<HostCheck>,
}

/// The upshot of a host check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Guests run with hardware help.
    Ready,
    /// Guests run, but by emulation.
    Slow,
    /// Something that guests need is missing.
    Missing,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "ready",
            Self::Slow => "slow",
            Self::Missing => "missing",
        })
    }
}

/// One check of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostCheck {
    /// A name for programs that stays the same.
    #[schema(example = "kvm.run")]
    pub id: String,
    /// A name for people.
    pub title: String,
    /// How it came out.
    pub status: CheckStatus,
    /// What was found.
    pub found: String,
    /// The exact next step, where one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// Guests run all the same, but not as well.
    Warn,
    /// Guests need it and it is not there.
    Miss,
    /// Neither good nor bad.
    Info,
}

impl fmt::Display for CheckStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Miss => "miss",
            Self::Info => "info",
        })
    }
}
