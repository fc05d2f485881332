//! What a refused or failed request answers: its kind, what failed, why, and what to do next.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The sort of failure; programs branch on this and on nothing else.
    pub kind: ErrorKind,
    /// What failed, in one line.
    #[schema(example = "cannot start domain `web1`")]
    pub message: String,
    /// What to do next, where something can be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Why, from the nearest cause to the first; none repeats another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl ErrorBody {
    /// A body of one line.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, causes: Vec::new() }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The message of `error` with its causes; the hint is the caller's to add.
    pub fn of(kind: ErrorKind, error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        Self { causes: causes.map(ToString::to_string).collect(), ..Self::new(kind, error.to_string()) }
    }
}

/// The message and its causes on one line; the hint is for those who have room for it.
impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// The sort of a failure, as `lodge_model::Kind`, in the API's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// No such thing. HTTP 404.
    NotFound,
    /// The name, UUID or MAC is taken. HTTP 409.
    Exists,
    /// The request makes no sense. HTTP 400.
    InvalidInput,
    /// The thing is not in a state that admits this. HTTP 409.
    InvalidState,
    /// Another job has the thing. HTTP 409.
    Busy,
    /// It contradicts something that is already so. HTTP 409.
    Conflict,
    /// The caller may not. HTTP 403.
    Denied,
    /// Not possible here, or not yet. HTTP 501.
    Unsupported,
    /// A limit or the host's resources are used up. HTTP 507.
    Exhausted,
    /// What it depends on does not answer. HTTP 503.
    Unavailable,
    /// Something stored or received is damaged. HTTP 500.
    Corrupt,
    /// A fault of Lodge or of the host. HTTP 500.
    Internal,
}

impl ErrorKind {
    /// Every kind, for tables.
    pub const ALL: [Self; 12] = [
        Self::NotFound,
        Self::Exists,
        Self::InvalidInput,
        Self::InvalidState,
        Self::Busy,
        Self::Conflict,
        Self::Denied,
        Self::Unsupported,
        Self::Exhausted,
        Self::Unavailable,
        Self::Corrupt,
        Self::Internal,
    ];
}
