//! How a running guest is found again: `run/lodge/guests/UUID/domain.json`, with
//! `live.xml` and lodge-qemu's own note of the process beside it.
//!
//! Written when the QEMU is started and whenever what it says changes; read by the next daemon, and by the owner
//! itself after a panic. A process is known by pid, start time and the machine's boot, so a number that was given
//! out again, or a file that outlived a reboot, is never mistaken for a guest.
//! Deliberately absent: durability. After the host's crash there is no guest that could be found.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lodge_model::DomainId;
use lodge_model::domain::lifecycle::{
    CrashedReason, PausedReason, RunningReason, ShutdownReason, ShutoffReason, State, VirtState,
};
use lodge_sys::process::{Identity, boot_id};
use serde::{Deserialize, Serialize};

use crate::snapshot::Display;

/// What is kept of a running guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub domain: DomainId,
    pub name: String,
    pub domid: u32,
    pub pid: u32,
    pub start_time: u64,
    pub boot_id: String,
    pub started_ms: u64,
    /// It has no definition and is gone when it stops.
    pub transient: bool,
    pub accelerator: String,
    pub accelerator_reason: String,
    pub warnings: Vec<String>,
    pub console: Option<PathBuf>,
    pub displays: Vec<Display>,
    /// The alias of the guest agent's channel, if there is one: `channel0`.
    pub agent: Option<String>,
    /// libvirt's numbers of the state last seen.
    pub state: (VirtState, u32),
    /// It goes with the connection it was started from, and so with the daemon.
    #[serde(default)]
    pub autodestroy: bool,
    /// A shutdown of the guest's is to be followed by a boot (`reboot --mode acpi`).
    pub reboot_wanted: bool,
    /// Aliases of PCI devices that were taken from the host's drivers.
    #[serde(default)]
    pub taken: Vec<String>,
}

impl Record {
    /// The process, if this boot of the machine is the one it was started on.
    pub fn identity(&self) -> Option<Identity> {
        let now = boot_id().ok()?;
        (now == self.boot_id).then_some(Identity { pid: self.pid, start_time: self.start_time })
    }

    /// When the guest was started.
    pub fn started(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.started_ms)
    }

    /// The state last seen.
    pub fn last_state(&self) -> State {
        let (state, reason) = self.state;
        match state {
            VirtState::Running | VirtState::Blocked | VirtState::NoState => State::Running {
                reason: RunningReason::from_number(reason).unwrap_or(RunningReason::Unknown),
            },
            VirtState::Paused => {
                State::Paused { reason: PausedReason::from_number(reason).unwrap_or(PausedReason::Unknown) }
            }
            VirtState::Shutdown => State::InShutdown {
                reason: ShutdownReason::from_number(reason).unwrap_or(ShutdownReason::Unknown),
            },
            VirtState::Shutoff => State::Shutoff {
                reason: ShutoffReason::from_number(reason).unwrap_or(ShutoffReason::Unknown),
            },
            VirtState::Crashed => State::Crashed {
                reason: CrashedReason::from_number(reason).unwrap_or(CrashedReason::Unknown),
            },
            VirtState::PmSuspended => State::PmSuspended,
        }
    }

    /// Reads the record in a guest's directory. `None`: there is none, or it was cut short by a crash of the host.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(dir.join("domain.json")) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the record in a guest's directory.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        replace(&dir.join("domain.json"), &bytes)
    }
}

/// Replaces a file of a guest's directory whole, so that a reader sees the old or the new.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    std::fs::write(&new, bytes)?;
    std::fs::rename(&new, path)
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let own = Identity::own().unwrap();
        Record {
            domain: DomainId::random(),
            name: "web1".into(),
            domid: 3,
            pid: own.pid,
            start_time: own.start_time,
            boot_id: boot_id().unwrap(),
            started_ms: 1,
            transient: false,
            accelerator: "tcg".into(),
            accelerator_reason: "no KVM".into(),
            warnings: Vec::new(),
            console: None,
            displays: Vec::new(),
            agent: Some("channel0".into()),
            state: State::Paused { reason: PausedReason::IoError }.virt(),
            autodestroy: false,
            reboot_wanted: false,
            taken: vec!["hostdev0".into()],
        }
    }

    #[test]
    fn a_record_comes_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), None);
        let record = record();
        record.write(dir.path()).unwrap();
        let read = Record::read(dir.path()).unwrap().unwrap();
        assert_eq!(read, record);
        assert_eq!(read.last_state(), State::Paused { reason: PausedReason::IoError });
        assert!(read.identity().unwrap().alive());
    }

    #[test]
    fn a_record_of_another_boot_names_no_process() {
        let record = Record { boot_id: "another".into(), ..record() };
        assert_eq!(record.identity(), None);
    }

    #[test]
    fn a_record_cut_short_is_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("domain.json"), b"{\"domain\":").unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), None);
    }
}
