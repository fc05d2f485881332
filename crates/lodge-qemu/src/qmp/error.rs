//! What can go wrong between us and a monitor.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lodge_model::Kind;

/// Why a monitor's command brought no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MonitorError {
    /// The socket is not there or nobody listens.
    #[error("cannot connect to the monitor at `{}`", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The kernel's reason.
        source: Arc<io::Error>,
    },
    /// Something answered, and it was not a QEMU's greeting.
    #[error("what answered at the monitor is no QEMU: {said}")]
    NotQmp {
        /// The beginning of what it said, escaped.
        said: String,
    },
    /// No answer in time. The command may yet happen.
    #[error("QEMU's monitor gave no answer to `{command}` in {waited:?}")]
    Silent {
        /// The command, or `greeting`.
        command: String,
        /// How long was waited.
        waited: Duration,
    },
    /// QEMU said no.
    #[error("QEMU refused `{command}`: {description}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's error class: `GenericError`, `CommandNotFound`, `DeviceNotFound`, …
        class: String,
        /// QEMU's words.
        description: String,
    },
    /// The connection ended: QEMU is gone, or talks nonsense.
    #[error("the monitor is lost: {reason}")]
    Lost {
        /// How it ended.
        reason: Arc<str>,
    },
    /// The answer has another shape than this command's answers have.
    #[error("cannot understand QEMU's answer to `{command}`")]
    Answer {
        /// The command.
        command: String,
        /// Where it differs.
        source: Arc<serde_json::Error>,
    },
}

impl MonitorError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Connect { .. } | Self::Silent { .. } | Self::Lost { .. } => Kind::Unavailable,
            Self::NotQmp { .. } | Self::Answer { .. } => Kind::Internal,
            Self::Refused { class, .. } => match class.as_str() {
                "CommandNotFound" => Kind::Unsupported,
                "DeviceNotFound" => Kind::NotFound,
                "DeviceNotActive" => Kind::InvalidState,
                _ => Kind::Internal,
            },
        }
    }

    /// Whether QEMU refused because it does not know the command at all.
    pub fn is_unknown_command(&self) -> bool {
        matches!(self, Self::Refused { class, .. } if class == "CommandNotFound")
    }

    /// Whether the connection is gone, so that no further command can work.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Connect { .. } | Self::NotQmp { .. })
    }
}
