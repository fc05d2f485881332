//! What is wrong in a document: every fault with its place, not only the first.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One fault of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Line from 1; 0 where the text is not at hand (see [`Faults::locate`]).
    pub line: u32,
    /// Column from 1, in characters; 0 as above.
    pub column: u32,
    /// The element or attribute, as `/domain/devices/disk[2]/source/@file`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl Fault {
    /// A fault found in a document that is no text any more.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { line: 0, column: 0, path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// All faults of a document; never empty where it is an error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, thiserror::Error)]
#[serde(transparent)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// One fault without a text.
    pub fn one(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self(vec![Fault::at(path, message)])
    }

    /// The error's sort: always invalid input.
    pub const fn kind(&self) -> crate::Kind {
        crate::Kind::InvalidInput
    }

    /// `Ok` if there is no fault.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}
