//! What is wrong with the files of pools, why, and what would mend it.
//!
//! ```text
//!  graph ─▶ find (pure) ─▶ findings, each with an id ─▶ repair ID (only what is safe)
//! ```
//!
//! Rules:
//! - Looking changes nothing. A repair is of one finding, looked for anew, and refused if it is not there any more.
//! - Safe is: no byte that anybody can name changes. What is not safe is told with the command a person would use.
//! - An id is made of the finding's kind and place, so that it is the same at every look.
//!
//! Deliberately absent: deleting files nobody owns. They may be somebody's all the same.

mod find;
mod repair;

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A disk in a pool that no guest, image, snapshot or other disk needs.
    Orphan,
    /// A disk stands on a file that is not there.
    BackingMissing,
    /// Disks stand on each other in a circle.
    Circle,
    /// A file is not of the format that is said of it.
    WrongFormat,
    /// The disks of a pool may grow beyond it.
    Overcommitted,
    /// A file that an interrupted act left.
    Leftover,
    /// A commit was cut off.
    CutCommit,
    /// A disk has clusters that nothing uses.
    LeakedClusters,
    /// A disk is damaged.
    Damaged,
    /// A guest's file is not there.
    FileMissing,
    /// A guest's disk lies elsewhere now.
    Moved,
    /// A guest's disk is another file than the one it was.
    Replaced,
    /// Two guests write one file.
    TwoWriters,
    /// A snapshot's file is not there.
    SnapshotMissing,
    /// Snapshots of a guest that is not there.
    SnapshotOfNobody,
}

impl FindingKind {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Orphan => "orphan",
            Self::BackingMissing => "backing-missing",
            Self::Circle => "circle",
            Self::WrongFormat => "wrong-format",
            Self::Overcommitted => "overcommitted",
            Self::Leftover => "leftover",
            Self::CutCommit => "cut-commit",
            Self::LeakedClusters => "leaked-clusters",
            Self::Damaged => "damaged",
            Self::FileMissing => "file-missing",
            Self::Moved => "moved",
            Self::Replaced => "replaced",
            Self::TwoWriters => "two-writers",
            Self::SnapshotMissing => "snapshot-missing",
            Self::SnapshotOfNobody => "snapshot-of-nobody",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What a repair names it by.
    pub id: String,
    /// What is wrong.
    pub kind: FindingKind,
    /// Where.
    pub path: PathBuf,
    /// Why it is wrong, in a sentence.
    pub why: String,
    /// What would mend it: what a repair does, or the command a person would use.
    pub repair: String,
    /// Lodge does it by itself when asked to.
    pub is_safe: bool,
}

impl Finding {
    /// `told`: what else tells it from another finding at the same place.
    pub(crate) fn new(kind: FindingKind, path: &Path, told: &str, why: String, repair: String) -> Self {
        // FNV-1a, written out so that an id never changes with a library.
        let mut hash: u32 = 0x811c_9dc5;
        let place = path.as_os_str().as_encoded_bytes();
        for byte in place.iter().chain(b"\0").chain(told.as_bytes()) {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        Self { id: format!("{kind}-{hash:08x}"), kind, path: path.to_owned(), why, repair, is_safe: false }
    }

    pub(crate) fn safe(self) -> Self {
        Self { is_safe: true, ..self }
    }
}

/// How thoroughly is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DoctorOptions {
    /// Every qcow2 that nobody has is read whole (`qemu-img check`). It takes its time.
    pub deep: bool,
}
