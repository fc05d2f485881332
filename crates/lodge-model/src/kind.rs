//! The closed set of sorts an error belongs to, for those who did not cause it.
//!
//! Every error of every crate has `kind()`; each front (command line, REST, libvirt RPC) has one exhaustive
//! table from here to its own numbers. Deliberately absent: messages; they are the errors' own.

use serde::{Deserialize, Serialize};

/// What sort of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The named thing does not exist.
    NotFound,
    /// A thing of that name (UUID, address …) exists already.
    Exists,
    /// What was given cannot be understood or contradicts itself.
    InvalidInput,
    /// The thing's present state does not admit the request.
    InvalidState,
    /// Another job holds the thing; try again later.
    Busy,
    /// It collides with something else on this host.
    Conflict,
    /// The caller may not.
    Denied,
    /// Understood, but neither Lodge nor this host can do it.
    Unsupported,
    /// Space, memory, addresses or another finite thing ran out.
    Exhausted,
    /// Something needed does not answer (in time).
    Unavailable,
    /// Stored or received bytes are damaged.
    Corrupt,
    /// A fault of Lodge itself or of a part of the host that should not fail.
    Internal,
}

impl Kind {
    /// The kind's word as it stands in JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::InvalidInput => "invalid_input",
            Self::InvalidState => "invalid_state",
            Self::Busy => "busy",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Unsupported => "unsupported",
            Self::Exhausted => "exhausted",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
