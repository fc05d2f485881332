//! Starting a guest's QEMU.
//!
//! It gets descriptors, its own session and cgroup and, where we may, a user of its own; so it needs no path that
//! it could not open and nothing of it hangs on us. `vmm.json` in the guest's directory is written before the guest's
//! processors run, and tells a later daemon whom to look for.
//! Deliberately absent: `cont` (the caller lets the guest run when all else is in place), and retries.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lodge_model::{DomainId, Kind};
use lodge_sys::cgroup::Cgroup;
use lodge_sys::process::{Ending, Process};
pub use lodge_sys::spawn::Credentials;
use lodge_sys::spawn::{Command, SpawnError};

use crate::claims::{Accelerator, Descriptors};
use crate::command_line::{CommandLine, MonitorCommand};
use crate::qmp::{Monitor, MonitorError};
use crate::vmm::{MONITOR_SOCKET, Note, QEMU_LOG, VMM_FILE, Vmm, write_note};

/// Every QEMU's environment: it looks for its modules and ROMs by itself; the rest is what libvirt gives, so that
/// messages are in English.
pub const ENVIRONMENT: [(&str, &str); 2] =
    [("LC_ALL", "C"), ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")];

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
    /// The cgroup has limits: they are to hold from the first page on.
    pub limited: bool,
    /// The host's processors that QEMU begins on; none: all that the daemon may.
    pub processors: Vec<u32>,
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
    let monitor = match noted {
        Ok(()) => greeted(&process, &spec.directory, &log, spec.patience).await,
        Err(error) => Err(error),
    };
    let monitor = match monitor {
        Ok(monitor) => do_commands(&monitor, spec.command_line.commands).await.map(|()| monitor),
        Err(error) => Err(error),
    };
    match monitor {
        Ok(monitor) => {
            join_v1(spec.cgroup.filter(|_| !spec.limited), identity.pid);
            Ok(Vmm { note, process, monitor, directory: spec.directory })
        }
        Err(error) => {
            let _ = process.kill();
            let _ = process.ended().await;
            let _ = std::fs::remove_file(spec.directory.join(VMM_FILE));
            Err(error)
        }
    }
}

/// Counts the process in cgroup v1, beside all else: the kernel may take 15 ms for it. Not before the monitor answers:
/// meanwhile no thread of QEMU's can begin, and it begins many while it comes up.
fn join_v1(cgroup: Option<Cgroup>, pid: u32) {
    let Some(cgroup) = cgroup else { return };
    tokio::task::spawn_blocking(move || {
        if let Err(error) = cgroup.join_v1(pid) {
            tracing::warn!(pid, %error, "QEMU not counted in cgroup v1");
        }
    });
}

fn start(spec: &mut LaunchSpec, log: &Path) -> Result<Process, LaunchError> {
    let opened = |path: &Path| {
        use std::os::unix::fs::OpenOptionsExt;
        std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)
    };
    let output = opened(log).map_err(|source| LaunchError::Directory { path: log.to_owned(), source })?;
    let mut command = Command::new(&spec.binary);
    command.args(spec.command_line.words()).output(output.into());
    for (name, value) in ENVIRONMENT {
        command.env(name, value);
    }
    command.lock_memory(spec.command_line.locks_memory);
    command.raw_commands(spec.command_line.passes_raw_commands);
    for (name, value) in &spec.command_line.environment {
        command.env(name, value);
    }
    if let Some(credentials) = &spec.credentials {
        command.credentials(credentials.clone());
    }
    match &spec.cgroup {
        Some(cgroup) if spec.limited => command.limited_by(cgroup),
        Some(cgroup) => command.cgroup(cgroup),
        None => &mut command,
    };
    command.processors(&spec.processors);
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
