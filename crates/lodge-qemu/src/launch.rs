//! A guest's QEMU as a process: starting one, finding one again, ending one.
//!
//! ```text
//!  launch ──▶ Vmm ──▶ (the daemon dies; QEMU does not) ──▶ adopt ──▶ Vmm ──▶ stop
//! ```
//!
//! QEMU gets descriptors, its own session and cgroup and, where we may, a user of its own; so it needs no path that
//! it could not open and nothing of it hangs on us. `vmm.json` in the guest's directory is written before the guest's
//! processors run, and tells a later daemon whom to look for.
//! Deliberately absent: `cont` (the caller lets the guest run when all else is in place), and retries.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lodge_model::{DomainId, Kind};
use lodge_sys::cgroup::Cgroup;
use lodge_sys::process::{Ending, Identity, Process};
pub use lodge_sys::spawn::Credentials;
use lodge_sys::spawn::{Command, SpawnError};
use serde::{Deserialize, Serialize};

use crate::claims::{Accelerator, Descriptors};
use crate::command_line::{CommandLine, MonitorCommand};
use crate::qmp::{Monitor, MonitorError};

/// Name of the monitor's socket in a guest's directory.
pub const MONITOR_SOCKET: &str = "monitor.sock";
/// Name of the guest agent channel's socket in a guest's directory.
pub const AGENT_SOCKET: &str = "agent.sock";
/// Name of QEMU's own output in a guest's directory.
pub const QEMU_LOG: &str = "qemu.log";
/// Name of the file that tells a later daemon about the process.
pub const VMM_FILE: &str = "vmm.json";

/// A QEMU to be started.
#[derive(Debug)]
pub struct LaunchSpec {
    /// The program.
    pub binary: PathBuf,
    /// Whose it is.
    pub id: DomainId,
    /// The guest's run-time directory (`run/lodge/guests/UUID`), there already.
    pub directory: PathBuf,
    /// Its arguments.
    pub command_line: CommandLine,
    /// The descriptors the arguments name.
    pub descriptors: Descriptors,
    /// Which accelerator the arguments choose; noted for later.
    pub accelerator: Accelerator,
    /// Whom it runs as; `None`: as the daemon.
    pub credentials: Option<Credentials>,
    /// Its cgroup, there already.
    pub cgroup: Option<Cgroup>,
    /// How long it may take until its monitor answers.
    pub patience: Duration,
}

/// Why a QEMU did not come up.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A file in the guest's directory could not be made.
    #[error("cannot write `{}`", path.display())]
    Directory {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A disk's file cannot be used without the host's page cache.
    #[error("{element}: its file system cannot do without the host's cache")]
    Direct {
        /// The disk.
        element: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The program did not start.
    #[error("cannot start QEMU")]
    Spawn {
        /// At which step.
        source: SpawnError,
    },
    /// It ended by itself: an argument, a descriptor or the host does not suit it.
    #[error("QEMU ended with {status} before its monitor answered: {last_words}")]
    Ended {
        /// How it ended.
        status: Ending,
        /// The end of its log.
        last_words: String,
        /// Its log.
        log: PathBuf,
    },
    /// It runs and says nothing.
    #[error("QEMU's monitor gave no answer in {waited:?}")]
    Silent {
        /// How long was waited.
        waited: Duration,
    },
    /// Its monitor answers, and not as a QEMU's.
    #[error("QEMU's monitor cannot be used")]
    Monitor {
        /// What went wrong.
        source: MonitorError,
    },
}

impl LaunchError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Directory { source, .. } if source.kind() == io::ErrorKind::StorageFull => Kind::Exhausted,
            Self::Spawn { source } if source.io().map(io::Error::kind) == Some(io::ErrorKind::NotFound) => {
                Kind::NotFound
            }
            Self::Directory { .. } | Self::Spawn { .. } | Self::Ended { .. } | Self::Monitor { .. } => {
                Kind::Internal
            }
            Self::Direct { .. } => Kind::Unsupported,
            Self::Silent { .. } => Kind::Unavailable,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Spawn { source } if source.io().map(io::Error::kind) == Some(io::ErrorKind::NotFound) => {
                Some("install QEMU (Debian: qemu-system-x86), or name another one in <emulator>".to_owned())
            }
            Self::Ended { log, .. } => Some(format!("all that QEMU said is in {}", log.display())),
            Self::Silent { .. } => {
                Some("see that the host is not out of memory or processor time".to_owned())
            }
            Self::Direct { .. } => Some("use cache='writeback' for this disk, or move it".to_owned()),
            Self::Directory { .. } | Self::Spawn { .. } | Self::Monitor { .. } => None,
        }
    }
}

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
    note: Note,
    process: Process,
    monitor: Monitor,
    directory: PathBuf,
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

/// Users of their own for guests: of 2^28 numbers that nobody gives away (systemd's UIDS-GIDS calls them unused).
const GUEST_USERS: u32 = 0x7000_0000;

/// The unprivileged user that guest `id`'s QEMU runs as: its own, so that one guest's QEMU cannot touch another's.
/// `None` where we may not change users ourselves.
pub fn guest_credentials(id: DomainId, accelerator: Accelerator) -> Option<Credentials> {
    use std::os::unix::fs::MetadataExt;
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let [.., a, b, c, d] = *id.0.as_bytes();
    let uid = GUEST_USERS | (u32::from_be_bytes([a, b, c, d]) & 0x0fff_ffff);
    let kvm = std::fs::metadata("/dev/kvm").ok().filter(|_| accelerator == Accelerator::Kvm);
    Some(Credentials { uid, gid: uid, groups: kvm.map(|meta| meta.gid()).into_iter().collect() })
}

/// Starts a QEMU and waits for its monitor. The guest's processors stand still (`-S`).
///
/// On an error nothing of it is left but the files in the guest's directory.
pub async fn launch(mut spec: LaunchSpec) -> Result<Vmm, LaunchError> {
    let log = spec.directory.join(QEMU_LOG);
    for (fd, element) in &spec.command_line.direct {
        let failed = |source| LaunchError::Direct { element: element.clone(), source };
        spec.descriptors.set_direct(*fd).map_err(failed)?;
    }
    let process = start(&mut spec, &log)?;
    let identity = process.identity();
    let note = Note {
        id: spec.id,
        pid: identity.pid,
        start_time: identity.start_time,
        boot_id: lodge_sys::process::boot_id().unwrap_or_default(),
        accelerator: spec.accelerator.to_string(),
        cgroup: spec.cgroup.as_ref().map(|cgroup| cgroup.relative().to_owned()),
    };
    let path = spec.directory.join(VMM_FILE);
    let noted = write_note(&path, &note).map_err(|source| LaunchError::Directory { path, source });
    if let Some(cgroup) = spec.cgroup {
        tokio::task::spawn_blocking(move || {
            if let Err(error) = cgroup.join_v1(identity.pid) {
                tracing::warn!(pid = identity.pid, %error, "QEMU not counted in cgroup v1");
            }
        });
    }
    let monitor = match noted {
        Ok(()) => greeted(&process, &spec.directory, &log, spec.patience).await,
        Err(error) => Err(error),
    };
    let monitor = match monitor {
        Ok(monitor) => do_commands(&monitor, spec.command_line.commands).await.map(|()| monitor),
        Err(error) => Err(error),
    };
    match monitor {
        Ok(monitor) => Ok(Vmm { note, process, monitor, directory: spec.directory }),
        Err(error) => {
            let _ = process.kill();
            let _ = process.ended().await;
            let _ = std::fs::remove_file(spec.directory.join(VMM_FILE));
            Err(error)
        }
    }
}

fn start(spec: &mut LaunchSpec, log: &Path) -> Result<Process, LaunchError> {
    let opened = |path: &Path| {
        use std::os::unix::fs::OpenOptionsExt;
        std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)
    };
    let output = opened(log).map_err(|source| LaunchError::Directory { path: log.to_owned(), source })?;
    let mut command = Command::new(&spec.binary);
    command.args(spec.command_line.words()).output(output.into());
    // QEMU looks for its modules and ROMs by itself; the rest is what libvirt gives, so that messages are in English.
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    for (name, value) in &spec.command_line.environment {
        command.env(name, value);
    }
    if let Some(credentials) = &spec.credentials {
        command.credentials(credentials.clone());
    }
    if let Some(cgroup) = &spec.cgroup {
        command.cgroup(cgroup);
    }
    for fd in std::mem::take(&mut spec.descriptors.0) {
        command.fd(fd);
    }
    command.spawn().map_err(|source| LaunchError::Spawn { source })
}

async fn greeted(
    process: &Process,
    directory: &Path,
    log: &Path,
    patience: Duration,
) -> Result<Monitor, LaunchError> {
    let ended = |status| LaunchError::Ended {
        status,
        last_words: crate::log::last_words_in(log),
        log: log.to_owned(),
    };
    let socket = directory.join(MONITOR_SOCKET);
    let connecting = Monitor::connect(&socket, patience);
    tokio::select! {
        biased;
        end = process.ended() => match end {
            Ok(status) => Err(ended(status)),
            Err(source) => Err(LaunchError::Directory { path: log.to_owned(), source }),
        },
        answer = connecting => match answer {
            Ok(monitor) => Ok(monitor),
            Err(MonitorError::Silent { waited, .. }) => Err(LaunchError::Silent { waited }),
            // A QEMU that dies closes its socket a moment before it can be waited for.
            Err(source) => match tokio::time::timeout(Duration::from_secs(2), process.ended()).await {
                Ok(Ok(status)) => Err(ended(status)),
                _ => Err(LaunchError::Monitor { source }),
            },
        },
    }
}

/// What has no argument of its own. A password or a cable that does not take effect fails the start; a figure the
/// guest itself must follow (its balloon) does not.
async fn do_commands(monitor: &Monitor, commands: Vec<MonitorCommand>) -> Result<(), LaunchError> {
    for MonitorCommand { command, arguments, element } in commands {
        let answer = monitor.execute::<serde::de::IgnoredAny>(command, arguments).await;
        match answer {
            Ok(_) => {}
            Err(error @ MonitorError::Refused { .. }) if matches!(command, "balloon" | "qom-set") => {
                tracing::warn!(%element, %error, "left as it is");
            }
            Err(source) => return Err(LaunchError::Monitor { source }),
        }
    }
    Ok(())
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

/// Removes the note of a QEMU that has ended.
pub fn forget(directory: &Path) {
    let _ = std::fs::remove_file(directory.join(VMM_FILE));
}

/// Written whole or not at all. Not synced: it means nothing after the host's own end.
fn write_note(path: &Path, note: &Note) -> io::Result<()> {
    let fresh = path.with_extension("tmp");
    std::fs::write(&fresh, serde_json::to_vec_pretty(note)?)?;
    std::fs::rename(&fresh, path)
}

fn read_note(path: &Path) -> Result<Note, AdoptError> {
    let text = std::fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => AdoptError::Nothing { path: path.to_owned() },
        _ => AdoptError::Note { path: path.to_owned(), reason: error.to_string() },
    })?;
    serde_json::from_slice(&text)
        .map_err(|error| AdoptError::Note { path: path.to_owned(), reason: error.to_string() })
}
