//! How far a guest is on its way from power-on to ready, told truthfully.
//!
//! ```text
//!            processors run     lease, agent         agent answers      its records
//!  Stopped ──────▶ Booting ──────▶ Address ──────▶ Agent ──────▶ CloudInit ──────▶ Ready
//!     ▲               │               │              │              │   │ a module failed
//!     │  guest gone   └── no progress within the phase's budget ────┘   ▼
//!     └────────────────────────────────────────────────────────────▶ Failed
//! ```
//!
//! - [`machine`]: the rules, pure: what was seen goes in with its time, the verdict comes out.
//! - [`cloud_init`]: what cloud-init's records say, pure.
//! - [`watcher`]: the task that looks (agent, leases) and feeds the machine.
//! - [`guest`]: what it looks through: two small traits.
//!
//! A phase has a budget that grows with how slow the guest's processors are here, and starts anew with each
//! progress; when it is used up, the verdict is *stalled* with what was last seen. Looking goes on: a stalled guest
//! that moves on is on its way again. What a guest lacks (cloud-init, agent, its permission to read files) is told in
//! the notes, not waited for.
//! Deliberately absent: acting on the verdict.

pub mod cloud_init;
pub mod guest;
pub mod machine;
pub mod watcher;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use guest::{Guest, GuestError, Leases};
pub use machine::{Event, Machine, Sight};
pub use watcher::{Signal, Watcher, watch};

/// A guest's way so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Readiness {
    /// Where it is now.
    pub phase: Phase,
    /// When it came there, in milliseconds since 1970.
    pub since_ms: u64,
    /// What is being waited for, or was seen last, for a person.
    pub message: String,
    /// Why it is not ready, in phase `failed`.
    pub failure: Option<Failure>,
    /// Every phase it went through, the first first.
    pub timeline: Vec<Milestone>,
    /// Its addresses, as far as known.
    pub addresses: Vec<IpAddr>,
    /// The name it gives itself.
    pub hostname: Option<String>,
    /// Its agent's been heard.
    pub agent: bool,
    /// Where its cloud-init is.
    pub cloud_init: Option<CloudInit>,
    /// What is odd or could not be looked at; each a sentence.
    pub notes: Vec<String>,
    /// How many times slower than a bare host it runs; deadlines are scaled by it.
    pub speed: f64,
    /// When the present phase is taken as stuck, in milliseconds since 1970.
    pub deadline_ms: Option<u64>,
}

/// A point on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It does not run.
    #[default]
    Stopped,
    /// Its processors run; nothing was heard of it.
    Booting,
    /// It has an address.
    Address,
    /// Its agent answers.
    Agent,
    /// Its cloud-init works.
    CloudInit,
    /// Its own set-up is done, as far as can be seen.
    Ready,
    /// Its own set-up failed, or it is stuck.
    Failed,
}

/// Why a guest is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The part that failed: cloud-init's module or stage, `datasource`, or the phase it is stuck in.
    pub module: String,
    /// What happened, in one line.
    pub reason: String,
    /// The line of the guest's log that says it, where one was found.
    pub log_line: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// Nothing failed as far as can be seen, but nothing moved for longer than the budget.
    pub stalled: bool,
}

/// One phase gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Milestone {
    /// The phase.
    pub phase: Phase,
    /// When it was entered, in milliseconds since 1970.
    pub entered_ms: u64,
    /// How long it took; `None` for the present one.
    pub duration_ms: Option<u64>,
}

/// Where a guest's cloud-init is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudInit {
    /// The stage that runs now: `init-local`, `init`, `modules-config`, `modules-final`.
    pub stage: Option<String>,
    /// Where its data came from, such as `DataSourceNoCloud`.
    pub datasource: Option<String>,
    /// Modules that failed so far.
    pub failed: Vec<String>,
    /// What it complained of and went on (23.4 and later).
    pub recoverable: Vec<String>,
}

impl Phase {
    /// Its word, as a person reads it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Booting => "booting",
            Self::Address => "address",
            Self::Agent => "agent",
            Self::CloudInit => "cloud-init",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}
