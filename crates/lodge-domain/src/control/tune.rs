//! Limits and weights of a guest: processors, memory, disks, cards.
//!
//! The names are libvirt's (`virsh schedinfo`, `blkiotune`, `memtune` …). What the document keeps as it is is read
//! and written as a small tree. On a running guest its own cgroup is written; where the host gave none, that is said.

pub mod block;
mod cgroup;
pub mod nic;
pub mod numa;
pub mod perf;
pub mod resctrl;
pub mod scheduler;
pub(crate) mod start;
pub(crate) mod threads;
pub mod weight;

pub(crate) use cgroup::failed;
pub use cgroup::{Bandwidth, Controller, Limits};

/// A value that somebody sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// A number from 0.
    Unsigned(u64),
    /// A number that may say "no limit" by being negative.
    Signed(i64),
    /// A yes or no.
    Flag(bool),
    /// A text.
    Text(String),
}

impl Setting {
    /// As a number from 0; negative ones are 0.
    pub fn unsigned(&self) -> u64 {
        match self {
            Self::Unsigned(number) => *number,
            Self::Signed(number) => u64::try_from(*number).unwrap_or(0),
            Self::Flag(flag) => u64::from(*flag),
            Self::Text(_) => 0,
        }
    }

    /// As a number.
    pub fn signed(&self) -> i64 {
        match self {
            Self::Unsigned(number) => i64::try_from(*number).unwrap_or(i64::MAX),
            Self::Signed(number) => *number,
            Self::Flag(flag) => i64::from(*flag),
            Self::Text(_) => 0,
        }
    }

    /// As a text.
    pub fn text(&self) -> &str {
        if let Self::Text(text) = self { text } else { "" }
    }
}

/// What somebody sets, by libvirt's names.
pub type Settings = Vec<(String, Setting)>;
