//! Block jobs: long work of QEMU's on one disk of a running guest, beside all else that the guest is asked.
//!
//! ```text
//!  commit · pull · copy ──▶ noted ──▶ running ──▶ (ready) ──▶ pending ──▶ concluded ──▶ finish: document, locks, files, event
//!                                        │  abort ▲   │ pivot ▲   └─ finalize: bytes are durable before headers change
//!                                        └────────────┴── follow: what QEMU tells
//! ```
//!
//! Starting and ending one is a short act of the owner's; in between QEMU works alone and the owner is free. A job is
//! noted in the guest's directory before QEMU hears of it, and QEMU keeps one that has ended until it was read: a
//! daemon that was away finds both and goes on. What a disk stands on afterwards is asked of QEMU, not worked out.
//!
//! The guest's processors stand still while its disk changes over to another file (pivot): until the definition names
//! that file, nothing is written that a crash could lose.
//!
//! Deliberately absent: copies between hosts (migration) and backups.

pub mod abort;
pub mod commit;
pub mod copy;
mod finalize;
mod finish;
pub(crate) mod follow;
pub mod info;
pub(crate) mod layers;
mod note;
mod open;
pub mod pivot;
pub mod pull;
pub mod speed;
mod start;

use lodge_model::domain::disk::Disk;
use lodge_qemu::qmp::InSet;
use serde::{Deserialize, Serialize};

use crate::control::{Refusal, Running, Sort};

pub(crate) use finalize::WritingBack;
pub(crate) use finish::forget;
use layers::Layer;
pub(crate) use note::BlockJobs;
pub(crate) use open::settle_locks;

/// What a block job does (`virDomainBlockJobType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum BlockJobKind {
    /// Fills the guest's own file from those below it.
    Pull = 1,
    /// Fills another file and keeps it the same.
    Copy = 2,
    /// Puts what layers have into the one below them.
    Commit = 3,
    /// The same from the guest's own file on.
    ActiveCommit = 4,
}

impl BlockJobKind {
    /// libvirt's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Copy => "copy",
            Self::Commit => "commit",
            Self::ActiveCommit => "active-commit",
        }
    }

    /// Whether its last step changes the disk over to another file, when it is told to.
    pub const fn pivots(self) -> bool {
        matches!(self, Self::Copy | Self::ActiveCommit)
    }
}

/// How a block job ended, or that it is ready (`virConnectDomainEventBlockJobStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BlockJobStatus {
    /// It has done all.
    Completed = 0,
    /// It has not.
    Failed = 1,
    /// It was ended before its last step.
    Canceled = 2,
    /// All is there, and is kept the same until the job is ended.
    Ready = 3,
}

impl BlockJobStatus {
    /// libvirt's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Ready => "ready",
        }
    }
}

/// How far it is, as far as the owner has a part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    Running,
    Ready,
    Aborting,
    Pivoting,
}

/// A block job as it is noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockJob {
    /// QEMU's name of it; libvirt's way of naming.
    pub id: String,
    /// The disk's target.
    pub target: String,
    pub kind: BlockJobKind,
    pub stage: Stage,
    /// The files that are left behind are to be deleted.
    pub delete: bool,
    /// Descriptors for writing that QEMU was given for the job, and the layers they are of.
    pub opened: Vec<(u32, InSet)>,
    /// The layer that a commit goes into.
    #[serde(default)]
    pub into: Option<u32>,
    /// What the disk stands on when a copy has taken its place, the copy first.
    pub copy: Vec<Layer>,
    /// Numbers of the layers that the disk stands on if it ends well; empty where QEMU keeps how it ended.
    #[serde(default)]
    pub expected: Vec<u32>,
    /// The processors were held for the pivot, and are to go on.
    pub held: bool,
    /// Why it was not let end well.
    #[serde(default)]
    pub failure: Option<String>,
}

/// The limit that a caller gave, in bytes per second.
pub fn speed_of(bandwidth: u64, in_bytes: bool) -> Result<u64, Refusal> {
    let most = i64::MAX.cast_unsigned() >> 20;
    match (in_bytes, bandwidth) {
        (true, bytes) => Ok(bytes),
        (false, mib) if mib > most => {
            Err(Refusal::new(Sort::Overflow, format!("bandwidth must be less than {most}")))
        }
        (false, mib) => Ok(mib << 20),
    }
}

/// The place of the disk that `wanted` (its target or its file) means.
pub(crate) fn position(guest: &Running, wanted: &str) -> Result<usize, Refusal> {
    crate::control::tune::block::position(&guest.document, wanted)
        .ok_or_else(|| Refusal::arg(format!("disk '{wanted}' not found in domain")))
}

/// The disk, if a block job may begin on it.
pub(crate) fn idle_disk<'a>(guest: &'a Running, wanted: &str) -> Result<&'a Disk, Refusal> {
    let disk = &guest.document.devices.disks[position(guest, wanted)?];
    refuse_busy(guest, &disk.target.dev)?;
    if disk.source.is_none() {
        let target = &disk.target.dev;
        return Err(Refusal::invalid(format!("disk '{target}' does not have any media")));
    }
    refuse_transient(disk)?;
    Ok(disk)
}

/// Refuses what would outlive a disk that goes with the run.
pub(crate) fn refuse_transient(disk: &Disk) -> Result<(), Refusal> {
    if disk.transient {
        let target = &disk.target.dev;
        return Err(Refusal::unsupported(format!(
            "block jobs are not supported on transient disk '{target}'"
        )));
    }
    Ok(())
}

/// Refuses what cannot be done to a disk while a block job has it.
pub(crate) fn refuse_busy(guest: &Running, target: &str) -> Result<(), Refusal> {
    if BlockJobs::read(&guest.dir).of(target).is_some() {
        return Err(Refusal::new(Sort::BlockJob, format!("disk '{target}' already in active block job")));
    }
    Ok(())
}

/// The block job of the disk that `wanted` means.
pub(crate) fn job_of(guest: &Running, wanted: &str) -> Result<BlockJob, Refusal> {
    let target = &guest.document.devices.disks[position(guest, wanted)?].target.dev;
    BlockJobs::read(&guest.dir)
        .of(target)
        .cloned()
        .ok_or_else(|| Refusal::arg(format!("disk {target} does not have an active block job")))
}
