//! A guest's QEMU, and the note by which a later daemon finds it again.
//!
//! ```text
//!  launch ──▶ Vmm ──▶ (the daemon dies; QEMU does not) ──▶ adopt ──▶ Vmm ──▶ stop
//! ```

use std::io;
use std::path::{Path, PathBuf};

use lodge_model::DomainId;
use lodge_sys::process::{Ending, Identity, Process};
use serde::{Deserialize, Serialize};

use crate::adopt::AdoptError;
use crate::qmp::Monitor;

/// Name of the monitor's socket in a guest's directory.
pub const MONITOR_SOCKET: &str = "monitor.sock";
/// Name of the guest agent channel's socket in a guest's directory.
pub const AGENT_SOCKET: &str = "agent.sock";
/// Name of QEMU's own output in a guest's directory.
pub const QEMU_LOG: &str = "qemu.log";
/// Name of the file that tells a later daemon about the process.
pub const VMM_FILE: &str = "vmm.json";

/// What a later daemon must know to find a QEMU again: `vmm.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The guest.
    pub id: DomainId,
    /// The process.
    pub pid: u32,
    /// When it started (field 22 of `proc_pid_stat(5)`).
    pub start_time: u64,
    /// The host's boot that the start time counts from.
    pub boot_id: String,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// Path of its cgroup below each hierarchy.
    pub cgroup: Option<PathBuf>,
}

/// A guest's QEMU: the process, and its monitor.
#[derive(Debug, Clone)]
pub struct Vmm {
    pub(crate) note: Note,
    pub(crate) process: Process,
    pub(crate) monitor: Monitor,
    pub(crate) directory: PathBuf,
}

impl Vmm {
    /// Its monitor.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// The process.
    pub fn identity(&self) -> Identity {
        self.process.identity()
    }

    /// What is noted about it.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Waits for the process's end. Any number may wait.
    pub async fn ended(&self) -> io::Result<Ending> {
        self.process.ended().await
    }

    /// The end of its log, for people.
    pub fn last_words(&self) -> String {
        crate::log::last_words_in(&self.directory.join(QEMU_LOG))
    }
}

/// Removes the note of a QEMU that has ended.
pub fn forget(directory: &Path) {
    let _ = std::fs::remove_file(directory.join(VMM_FILE));
}

/// Written whole or not at all. Not synced: it means nothing after the host's own end.
pub(crate) fn write_note(path: &Path, note: &Note) -> io::Result<()> {
    let fresh = path.with_extension("tmp");
    std::fs::write(&fresh, serde_json::to_vec_pretty(note)?)?;
    std::fs::rename(&fresh, path)
}

pub(crate) fn read_note(path: &Path) -> Result<Note, AdoptError> {
    let text = std::fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => AdoptError::Nothing { path: path.to_owned() },
        _ => AdoptError::Note { path: path.to_owned(), reason: error.to_string() },
    })?;
    serde_json::from_slice(&text)
        .map_err(|error| AdoptError::Note { path: path.to_owned(), reason: error.to_string() })
}
