//! Why a disk was not edited. It is as it was then.

use serde::{Deserialize, Serialize};

/// An edit that did not happen. Travels from the confined process to the daemon, so causes are words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum EditError {
    /// The guest's path leads nowhere: a cycle of links, a file where a directory should be.
    #[error("cannot reach {path} in the guest: {why}")]
    Unreachable {
        /// The path.
        path: String,
        /// What is in the way.
        why: String,
    },
    /// Something is there that is not replaced.
    #[error("cannot write {path} in the guest: {why}")]
    InTheWay {
        /// The path.
        path: String,
        /// What is there.
        why: String,
    },
    /// A name that the tool cannot be told.
    #[error(
        "cannot edit {path} in the guest: its name has a line break in it, or is too long, which {program} cannot be told (rename it in the guest)"
    )]
    Untellable {
        /// The path.
        path: String,
        /// The tool.
        program: String,
    },
    /// No device of the guest has this name.
    #[error("the guest's disks have no device {device}")]
    NoDevice {
        /// The name.
        device: String,
    },
    /// The new identity does not fit what is there.
    #[error("cannot give {device} the identity '{uuid}': {why}")]
    BadIdentity {
        /// The device.
        device: String,
        /// What was wanted.
        uuid: String,
        /// What would fit.
        why: String,
    },
    /// What is there cannot be edited by this program.
    #[error("cannot edit {place}: {why}")]
    Unsupported {
        /// The device, or a path.
        place: String,
        /// What it is, and what to do instead.
        why: String,
    },
    /// What is there is not in a state to be edited.
    #[error("cannot edit {place}: {why}")]
    Unfit {
        /// The device.
        place: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// What is on the disk contradicts itself.
    #[error("{place} is damaged: {why}")]
    Damaged {
        /// The device, or a path.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// The guest's file system is full.
    #[error("the file system on {device} has no room for {path} (free some in the guest)")]
    NoRoom {
        /// What was to be written.
        path: String,
        /// The device.
        device: String,
    },
    /// A tool failed, or what it did is not what was asked for.
    #[error("{program} did not edit {place}: {why}")]
    Tool {
        /// Its name.
        program: String,
        /// The device, or a path.
        place: String,
        /// How it ended, what it said.
        why: String,
    },
    /// A tool is not installed.
    #[error("'{program}' is not installed: it edits {place} (install the package {package})")]
    Missing {
        /// Its name.
        program: String,
        /// Where it comes from.
        package: String,
        /// The device.
        place: String,
    },
    /// Reading or writing an image.
    #[error("cannot {act}: {why}")]
    Disk {
        /// What was to be done.
        act: String,
        /// The system's reason.
        why: String,
    },
    /// The confined process ended, or did not come to its end.
    #[error("the process that edits disks {why}")]
    Worker {
        /// What became of it.
        why: String,
    },
    /// The host cannot show parts of a disk as files.
    #[error("cannot show parts of a disk as files: {why} (the kernel needs FUSE: load its module `fuse`)")]
    NoFuse {
        /// The kernel's reason.
        why: String,
    },
}
