//! Finding a QEMU again that an earlier daemon started.
//!
//! Three things must agree, or it is not taken over: the process (number, start time, the host's boot), a monitor that
//! answers, and the UUID it answers with. Deliberately absent: killing what does not agree (see `stop`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use lodge_model::{DomainId, Kind};
use lodge_sys::process::{Identity, Process};

use crate::qmp::{Monitor, MonitorError};
use crate::vmm::{MONITOR_SOCKET, VMM_FILE, Vmm, read_note};

/// Why a running QEMU was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// `vmm.json` is not there: none was started, or it was stopped in order.
    #[error("no running QEMU is noted in `{}`", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
    },
    /// `vmm.json` cannot be read.
    #[error("the note `{}` about a running QEMU is unreadable: {reason}", path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// In what way.
        reason: String,
    },
    /// The process that was noted is gone.
    #[error("QEMU (pid {pid}) has ended meanwhile")]
    Gone {
        /// Its number then.
        pid: u32,
    },
    /// The process is there, and its monitor does not answer.
    #[error("QEMU (pid {pid}) runs, but its monitor does not answer")]
    Monitor {
        /// Its number.
        pid: u32,
        /// What went wrong.
        source: MonitorError,
    },
    /// The monitor answers for another guest.
    #[error("the QEMU (pid {pid}) found is guest {found}, not {wanted}")]
    Stranger {
        /// Its number.
        pid: u32,
        /// Whom it says it is.
        found: String,
        /// Whom it should be.
        wanted: DomainId,
    },
}

impl AdoptError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Nothing { .. } | Self::Gone { .. } => Kind::NotFound,
            Self::Note { .. } => Kind::Corrupt,
            Self::Monitor { .. } => Kind::Unavailable,
            Self::Stranger { .. } => Kind::Conflict,
        }
    }

    /// Whether it is certain that no QEMU of this guest runs.
    pub fn is_surely_gone(&self) -> bool {
        matches!(self, Self::Nothing { .. } | Self::Gone { .. })
    }
}

/// Takes over the QEMU of guest `id` that an earlier daemon started, if it is surely that one.
pub async fn adopt(directory: &Path, id: DomainId, patience: Duration) -> Result<Vmm, AdoptError> {
    let note = read_note(&directory.join(VMM_FILE))?;
    let identity = Identity { pid: note.pid, start_time: note.start_time };
    let gone = || AdoptError::Gone { pid: note.pid };
    let same_boot = lodge_sys::process::boot_id().is_ok_and(|boot_id| boot_id == note.boot_id);
    let process = match Process::hold(identity) {
        Ok(Some(process)) if same_boot => process,
        _ => return Err(gone()),
    };
    let silent = |source| AdoptError::Monitor { pid: note.pid, source };
    let asked = async {
        let monitor = Monitor::connect(&directory.join(MONITOR_SOCKET), patience).await?;
        let found = monitor.uuid().await?.uuid;
        Ok::<_, MonitorError>((monitor, found))
    };
    let (monitor, found) = match asked.await {
        Ok(answers) => answers,
        Err(_) if matches!(process.poll_ended(), Ok(Some(_))) => return Err(gone()),
        Err(source) => return Err(silent(source)),
    };
    if DomainId(found) != id || note.id != id {
        return Err(AdoptError::Stranger { pid: note.pid, found: found.to_string(), wanted: id });
    }
    Ok(Vmm { note, process, monitor, directory: directory.to_owned() })
}

/// A QEMU that somebody else started, with what must be known to take it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The guest.
    pub id: DomainId,
    /// The process.
    pub identity: Identity,
    /// Whether its processors run under KVM.
    pub accelerator: crate::claims::Accelerator,
    /// Its monitor's socket.
    pub monitor: PathBuf,
    /// The guest agent's socket, if the guest has a channel for one.
    pub agent: Option<PathBuf>,
}

/// Whether `identity` is the QEMU of guest `id`, as its arguments say.
pub fn is_qemu_of(identity: Identity, id: DomainId) -> bool {
    let Ok(arguments) = std::fs::read(format!("/proc/{}/cmdline", identity.pid)) else { return false };
    let (wanted, mut words) = (id.to_string(), arguments.split(|byte| *byte == 0));
    let named = words.by_ref().any(|word| word == b"-uuid")
        && words.next().is_some_and(|word| word.eq_ignore_ascii_case(wanted.as_bytes()));
    named && identity.alive()
}

/// Notes a stranger's QEMU in a guest's directory (there already), so that [`adopt`] finds it. Its sockets stay where
/// they are; here they get names. Doing it again changes nothing.
pub fn introduce(directory: &Path, stranger: &Stranger) -> std::io::Result<()> {
    let sockets = [
        (crate::vmm::MONITOR_SOCKET, Some(&stranger.monitor)),
        (crate::vmm::AGENT_SOCKET, stranger.agent.as_ref()),
    ];
    for (name, target) in sockets {
        let (Some(target), link) = (target, directory.join(name)) else { continue };
        if *target == link {
            continue;
        }
        let fresh = directory.join(format!("{name}.new"));
        let _ = std::fs::remove_file(&fresh);
        std::os::unix::fs::symlink(target, &fresh)?;
        std::fs::rename(&fresh, &link)?;
    }
    let note = crate::vmm::Note {
        id: stranger.id,
        pid: stranger.identity.pid,
        start_time: stranger.identity.start_time,
        boot_id: lodge_sys::process::boot_id()?,
        accelerator: stranger.accelerator.to_string(),
        cgroup: None,
    };
    crate::vmm::write_note(&directory.join(VMM_FILE), &note)
}
