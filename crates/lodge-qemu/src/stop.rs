//! Ending a QEMU, and being sure that it has ended.

use std::io;
use std::path::Path;
use std::time::Duration;

use lodge_model::Kind;
use lodge_sys::process::{Ending, Identity, Process};

use crate::vmm::{VMM_FILE, Vmm, forget, read_note};

/// How a QEMU is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// At once, as one pulls a plug: SIGKILL. What the guest has not written is lost; images stay whole.
    Kill,
    /// SIGTERM: QEMU flushes its images and ends; after the time given, an error (libvirt's `--graceful`).
    Graceful(Duration),
    /// `quit`, and SIGKILL if it has not ended in the time given.
    Quit(Duration),
}

/// Why a QEMU did not end.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// A signal or a wait failed.
    #[error("cannot end QEMU (pid {pid})")]
    Signal {
        /// Its number.
        pid: u32,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It still runs.
    #[error("QEMU (pid {pid}) has not ended in {waited:?}")]
    StillRuns {
        /// Its number.
        pid: u32,
        /// How long was waited.
        waited: Duration,
    },
}

impl StopError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Signal { .. } => Kind::Internal,
            Self::StillRuns { .. } => Kind::Busy,
        }
    }
}

/// How long after SIGKILL the kernel may take: a process in the middle of a disk's answer cannot die before it.
const DEATH: Duration = Duration::from_secs(30);

impl Vmm {
    /// Ends it and waits for the end. Fine if it has ended already. The note is removed.
    pub async fn stop(&self, how: Stop) -> Result<Ending, StopError> {
        let pid = self.note.pid;
        let signal = |source| StopError::Signal { pid, source };
        let ending = match how {
            Stop::Kill => self.kill().await?,
            Stop::Graceful(patience) => {
                self.process.terminate().map_err(signal)?;
                match tokio::time::timeout(patience, self.process.ended()).await {
                    Ok(ending) => ending.map_err(signal)?,
                    Err(_) => return Err(StopError::StillRuns { pid, waited: patience }),
                }
            }
            Stop::Quit(patience) => {
                let quit = async {
                    let _ = self.monitor.quit().await;
                    self.process.ended().await
                };
                match tokio::time::timeout(patience, quit).await {
                    Ok(ending) => ending.map_err(signal)?,
                    Err(_) => self.kill().await?,
                }
            }
        };
        forget(&self.directory);
        Ok(ending)
    }

    async fn kill(&self) -> Result<Ending, StopError> {
        kill_and_wait(&self.process).await
    }
}

async fn kill_and_wait(process: &Process) -> Result<Ending, StopError> {
    let pid = process.identity().pid;
    let signal = |source| StopError::Signal { pid, source };
    process.kill().map_err(signal)?;
    match tokio::time::timeout(DEATH, process.ended()).await {
        Ok(ending) => ending.map_err(signal),
        Err(_) => Err(StopError::StillRuns { pid, waited: DEATH }),
    }
}

/// Kills the process noted in a guest's directory, if it is still that one, whether its monitor answers or not: for a
/// half-made start and for a guest that cannot be adopted.
pub async fn kill_noted(directory: &Path) -> Result<(), StopError> {
    let Ok(note) = read_note(&directory.join(VMM_FILE)) else { return Ok(()) };
    let identity = Identity { pid: note.pid, start_time: note.start_time };
    let same_boot = lodge_sys::process::boot_id().is_ok_and(|boot_id| boot_id == note.boot_id);
    let held = Process::hold(identity).map_err(|source| StopError::Signal { pid: note.pid, source })?;
    if let Some(process) = held.filter(|_| same_boot) {
        kill_and_wait(&process).await?;
    }
    forget(directory);
    Ok(())
}
