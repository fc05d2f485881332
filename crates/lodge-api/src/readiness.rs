//! How far the guest inside a domain is, and how it got there.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::InterfaceAddresses;
use crate::host::{AcceleratorView, SpeedView};

/// How far a guest is. A statement of what was seen, never of what time should have brought.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Where it is now.
    pub phase: Phase,
    /// When it came there. Unix time in ms.
    pub since_ms: u64,
    /// What exactly is being waited for or was seen last, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(example = "cloud-init: running modules of stage final")]
    pub message: String,
    /// Why it will not get ready, in phase `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ReadinessFailure>,
    /// Every phase it went through, the first first.
    #[serde(default)]
    pub timeline: Vec<PhaseTime>,
    /// Its addresses, as far as known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceAddresses>,
    /// The guest's own host name, once its agent told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// How its processors are run, and why so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<AcceleratorView>,
    /// How fast that is here; deadlines are scaled by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<SpeedView>,
    /// When this phase is taken as stuck. Unix time in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// A point on the way from power-on to ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The domain is shut off.
    #[default]
    Stopped,
    /// Its processors run; nothing was heard of it.
    Booting,
    /// It has an address.
    Address,
    /// Its agent answers.
    Agent,
    /// cloud-init works.
    CloudInit,
    /// Its own set-up is done.
    Ready,
    /// Its own set-up failed, or it is stuck; `failure` tells.
    Failed,
}

impl Phase {
    /// The word for it, as in JSON but for a person.
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

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Why a guest will not get ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReadinessFailure {
    /// The part that failed: cloud-init's module, or `boot`, `address`, `agent`.
    #[schema(example = "config-package-update-upgrade-install")]
    pub module: String,
    /// The line of the guest's log that says it, where one was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_line: Option<String>,
    /// What happened, in one line.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One phase gone through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhaseTime {
    /// The phase.
    pub phase: Phase,
    /// When it was entered. Unix time in ms.
    pub entered_ms: u64,
    /// How long it took; absent for the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}
