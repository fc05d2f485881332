//! What lies inside a guest's disks, changed while the guest is off: the seam to those who read and edit disks.
//!
//! Nothing here pretends. What was not changed, or could not be verified, is told as such.

use std::path::PathBuf;

use lodge_api::{IdentityChange, InsideState};
use lodge_model::MacAddr;
use lodge_storage::Format;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;

/// What is to become of what lies inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wish {
    /// It stays as it is.
    Keep,
    /// It is another machine.
    Another {
        /// Its host name; none: as it was.
        hostname: Option<String>,
        /// The addresses of its interfaces: before, and from now on.
        macs: Vec<(MacAddr, MacAddr)>,
    },
    /// It is no machine at all: others are made of it.
    Template,
}

/// A disk of a guest that is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuestDisk {
    pub target: String,
    pub path: PathBuf,
    pub format: Format,
    pub is_encrypted: bool,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InsideReport {
    /// In short.
    pub state: InsideState,
    /// Item by item.
    pub changes: Vec<IdentityChange>,
    /// What was not done.
    pub warnings: Vec<String>,
}

impl InsideReport {
    /// As the book keeps it.
    pub fn items(&self) -> Value {
        serde_json::json!({ "inside": self.state, "changes": self.changes })
    }
}

/// Who changes it.
#[derive(Debug, Clone)]
pub(crate) struct Inside {}

impl Inside {
    /// Makes what lies on the disks what was wished, and says what became of it.
    pub async fn change(&self, _name: &str, disks: &[GuestDisk], wish: &Wish) -> Result<InsideReport> {
        if *wish == Wish::Keep {
            return Ok(InsideReport { state: InsideState::Kept, ..InsideReport::default() });
        }
        let mut report = InsideReport::default();
        if disks.is_empty() {
            return Ok(InsideReport { state: InsideState::Reset, ..report });
        }
        report.warnings.push("the identity inside the disks was not changed".to_owned());
        Ok(report)
    }
}
