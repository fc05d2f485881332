//! Changing what lies on a guest's disk while it is off.
//!
//! ```text
//!   daemon (client)                        worker: confined, alone reads what the guest wrote
//!   ─────────────────                      ──────────────────────────────────────────────────
//!   images' descriptors, edits ──────────▶ chain ▸ redo ▸ layout ▸ tree ▸ plan
//!   debugfs, tune2fs in a jail ◀────────── "this act, on this view"
//!     works on /view/disk      ◀═ FUSE ══▶ blocks of one device; writes are kept in memory
//!   how it ended               ──────────▶ read back with our own reader: as wanted?
//!                                          redo log, fsynced (where the disk is somebody's already)
//!   outcome of each edit       ◀────────── images written, flushed
//! ```
//! Nothing is written to an image before every edit was carried out and read back, so a tool that fails, a damaged file
//! system, a process that is killed leave the images as they were. Only the last moment, in which a few megabytes are
//! written, needs more: a clone in the making is thrown away then, an existing disk has the redo log. That is simpler
//! than an overlay that is committed, works for raw disks as well, and costs one write of what has changed.
//!
//! No guest's file system is mounted by the host's kernel: what FUSE shows is bytes. Deliberately absent: what is to be
//! changed and why (`lodge-guest`), which images a guest has and who may touch them (`lodge-storage`, `lodge-engine`).

mod carry_out;
mod client;
mod device;
mod error;
mod ext;
mod fat;
pub(crate) mod fuzz;
mod guest;
mod jail;
mod kernel;
mod log;
mod lvm;
mod plan;
mod redo;
mod tool;
mod tree;
mod verify;
mod wire;
mod worker;

use serde::{Deserialize, Serialize};

pub use self::{
    client::{Editor, Recovered},
    error::EditError,
    worker::run as worker_main,
};

/// The word that this program is started with to become the confined process.
pub const WORKER_ARGUMENT: &str = "disk-edit";

/// What an edit came to. Either way it was read back and is so now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was otherwise before.
    Changed,
    /// It was so already.
    Already,
}

#[cfg(test)]
mod tests;
