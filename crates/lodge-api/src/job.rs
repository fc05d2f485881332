//! Jobs: acts that take longer than an answer should.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::ErrorBody;

/// A long act: where it is, and how it came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// The act.
    #[schema(example = "image.build")]
    pub kind: String,
    /// What it is about: a domain's or image's name.
    #[schema(example = "debian-12")]
    pub subject: String,
    /// Whether it goes on, and how it ended.
    pub state: JobState,
    /// The step it is at.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(example = "install packages")]
    pub phase: String,
    /// How much is done, from 0 to 1, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// What it does just now, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
    /// What came of it: the document its route names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// When it began. Unix time in ms.
    pub started_ms: u64,
    /// When it ended. Unix time in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
}

/// Whether a job goes on, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It goes on.
    Running,
    /// It did what was asked.
    Done,
    /// It did not; nothing of it is left.
    Failed,
    /// It was stopped on request; nothing of it is left.
    Cancelled,
}

impl JobState {
    /// Whether nothing more will come of it.
    pub fn has_ended(self) -> bool {
        self != Self::Running
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

/// How long to wait for a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct JobWait {
    /// Answer when the job ended, or after so many seconds as it then stands; at most 60. None given: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_s: Option<u64>,
}
