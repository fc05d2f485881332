//! Programs that serve a guest beside its QEMU: swtpm (a TPM), virtiofsd (directories), passt (a network).
//!
//! ```text
//!  HelperSpec ─▶ start ─▶ helper-NAME.json ─▶ (the daemon dies; it does not) ─▶ end_helpers
//! ```
//!
//! As QEMU they get a session, the guest's cgroup, descriptors instead of paths and, where we may, the guest's own
//! user. The note in the guest's directory tells a later daemon whom to end, and [`MARK`] in the environment whose a
//! process is that died between its start and its note. What each is told are pure functions, a file per program.
//! Deliberately absent: when they start and end (lodge-domain), and a new start of one that died: QEMU would not talk
//! to it.

pub mod passt;
pub mod swtpm;
pub mod virtiofsd;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lodge_model::Kind;
use lodge_sys::cgroup::Cgroup;
use lodge_sys::process::{Ending, Identity, Process, boot_id};
use lodge_sys::spawn::{Command, Credentials, SpawnError};
use serde::{Deserialize, Serialize};

use crate::claims::Descriptors;
use crate::launch::ENVIRONMENT;
use crate::log::last_words;

/// The variable that names a helper's guest, by its directory.
pub const MARK: &str = "LODGE_GUEST";

/// How long one may take to end by itself once its QEMU has.
const GOING: Duration = Duration::from_millis(200);
/// How long after SIGTERM.
const TERM: Duration = Duration::from_secs(2);
/// How long after SIGKILL the kernel may take.
const DEATH: Duration = Duration::from_secs(30);
/// How much of what one says is read.
const WORDS_BYTES: u64 = 8 << 10;

/// A helper to be started.
#[derive(Debug)]
pub struct HelperSpec {
    /// A word for files: `tpm0-swtpm`.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The descriptors that the arguments name.
    pub descriptors: Descriptors,
    /// Further variables of its environment.
    pub environment: Vec<(String, String)>,
    /// The guest's run-time directory, there already.
    pub directory: PathBuf,
    /// Where it says what it does and what goes wrong.
    pub log: PathBuf,
    /// Whom it runs as; `None`: as the daemon.
    pub credentials: Option<Credentials>,
    /// The guest's cgroup.
    pub cgroup: Option<Cgroup>,
    /// It may take other users by programs that are allowed to (newuidmap).
    pub takes_users: bool,
}

/// Why a helper does not serve.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// A file of its could not be made.
    #[error("cannot write `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The program did not start.
    #[error("cannot start `{}`", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// At which step.
        source: SpawnError,
    },
    /// It ended and should serve, or failed at what it was to do.
    #[error("`{}` ended with {ending}: {words}", program.display())]
    Ended {
        /// The program.
        program: PathBuf,
        /// How it ended.
        ending: Ending,
        /// The last it said.
        words: String,
    },
    /// It is not done.
    #[error("`{}` was not done in {waited:?}", program.display())]
    Late {
        /// The program.
        program: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// It cannot be waited for.
    #[error("cannot wait for `{}`", program.display())]
    Wait {
        /// The program.
        program: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl HelperError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => Kind::Exhausted,
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Kind::Denied,
            Self::Spawn { source, .. }
                if source.io().map(io::Error::kind) == Some(io::ErrorKind::NotFound) =>
            {
                Kind::NotFound
            }
            Self::Late { .. } => Kind::Unavailable,
            Self::File { .. } | Self::Spawn { .. } | Self::Ended { .. } | Self::Wait { .. } => Kind::Internal,
        }
    }
}

/// A helper that runs.
#[derive(Debug)]
pub struct Helper {
    process: Process,
    program: PathBuf,
    log: Log,
}

/// Its log, and where this run's part of it begins.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    begun: u64,
}

/// What a later daemon must know to end it.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    program: PathBuf,
    pid: u32,
    start_time: u64,
    boot_id: String,
}

impl Helper {
    /// Starts it, and notes it in the guest's directory.
    pub fn start(spec: HelperSpec) -> Result<Self, HelperError> {
        let HelperSpec { name, program, arguments, descriptors, environment, directory, log, .. } = spec;
        let failed = |path: &Path, source| HelperError::File { path: path.to_owned(), source };
        let output = append(&log).map_err(|source| failed(&log, source))?;
        let begun = output.metadata().map_or(0, |metadata| metadata.len());
        let errors = output.try_clone().map_err(|source| failed(&log, source))?;
        let mut command = Command::new(&program);
        command.args(&arguments).output(output.into()).errors(errors.into());
        for (name, value) in ENVIRONMENT {
            command.env(name, value);
        }
        command.env(MARK, &directory);
        for (name, value) in &environment {
            command.env(name, value);
        }
        if let Some(credentials) = spec.credentials {
            command.credentials(credentials);
        }
        command.no_new_privs(!spec.takes_users);
        if let Some(cgroup) = &spec.cgroup {
            command.limited_by(cgroup);
        }
        for fd in descriptors.0 {
            command.fd(fd);
        }
        let process =
            command.spawn().map_err(|source| HelperError::Spawn { program: program.clone(), source })?;
        let note = directory.join(format!("{NOTE_PREFIX}{name}{NOTE_SUFFIX}"));
        let noted = write_note(&note, &program, process.identity());
        let helper = Self { process, program, log: Log { path: log, begun } };
        match noted {
            Ok(()) => Ok(helper),
            Err(source) => {
                let _ = helper.process.kill();
                Err(failed(&note, source))
            }
        }
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The last that it said in this run.
    pub fn last_words(&self) -> String {
        self.log.last_words()
    }

    /// Waits until it has done what it was to do.
    pub async fn done(&self, patience: Duration) -> Result<(), HelperError> {
        match tokio::time::timeout(patience, self.process.ended()).await {
            Err(_) => {
                let _ = self.process.kill();
                let _ = tokio::time::timeout(DEATH, self.process.ended()).await;
                Err(HelperError::Late { program: self.program.clone(), waited: patience })
            }
            Ok(Err(source)) => Err(HelperError::Wait { program: self.program.clone(), source }),
            Ok(Ok(Ending::Status(status))) if status.success() => Ok(()),
            Ok(Ok(ending)) => Err(self.ended(ending)),
        }
    }

    /// Waits until it serves, as `ready` finds, or has ended.
    pub async fn serves<T>(
        &self,
        ready: impl Future<Output = io::Result<T>>,
        patience: Duration,
    ) -> Result<T, HelperError> {
        let program = self.program.clone();
        let answered = async {
            tokio::select! {
                biased;
                end = self.process.ended() => Err(match end {
                    Ok(ending) => self.ended(ending),
                    Err(source) => HelperError::Wait { program: self.program.clone(), source },
                }),
                answer = ready => match answer {
                    Ok(answer) => Ok(answer),
                    // One that dies closes its socket a moment before it can be waited for.
                    Err(source) => match tokio::time::timeout(TERM, self.process.ended()).await {
                        Ok(Ok(ending)) => Err(self.ended(ending)),
                        _ => Err(HelperError::Wait { program: self.program.clone(), source }),
                    },
                },
            }
        };
        match tokio::time::timeout(patience, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(HelperError::Late { program, waited: patience }),
        }
    }

    fn ended(&self, ending: Ending) -> HelperError {
        HelperError::Ended { program: self.program.clone(), ending, words: self.log.last_words() }
    }
}

impl Log {
    fn last_words(&self) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.path)?;
            let end = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.begun.max(end.saturating_sub(WORDS_BYTES))))?;
            let mut bytes = Vec::new();
            file.take(WORDS_BYTES).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().map(|text| last_words(&text)).unwrap_or_default()
    }
}

const NOTE_PREFIX: &str = "helper-";
const NOTE_SUFFIX: &str = ".json";

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn write_note(path: &Path, program: &Path, identity: Identity) -> io::Result<()> {
    let note = Note {
        program: program.to_owned(),
        pid: identity.pid,
        start_time: identity.start_time,
        boot_id: boot_id()?,
    };
    let fresh = path.with_extension("tmp");
    std::fs::write(&fresh, serde_json::to_vec_pretty(&note)?)?;
    std::fs::rename(&fresh, path)
}

/// The helpers noted in a guest's directory that still run.
pub fn helpers_in(directory: &Path) -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let is_note = |name: &str| name.starts_with(NOTE_PREFIX) && name.ends_with(NOTE_SUFFIX);
    let notes = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_note));
    let now = boot_id().unwrap_or_default();
    let held = notes.filter_map(|entry| {
        let note: Note = serde_json::from_slice(&std::fs::read(entry.path()).ok()?).ok()?;
        let identity = Identity { pid: note.pid, start_time: note.start_time };
        Process::hold(identity).ok().flatten().filter(|_| note.boot_id == now)
    });
    held.collect()
}

/// Ends the helpers noted in a guest's directory, whose QEMU has ended: they may go by themselves, are asked, then
/// killed. `false`: the kernel could not end one.
pub async fn end_helpers(directory: &Path) -> bool {
    let mut all = true;
    for process in helpers_in(directory) {
        all &= end(&process).await;
    }
    all
}

async fn end(process: &Process) -> bool {
    let within = |patience| tokio::time::timeout(patience, process.ended());
    if within(GOING).await.is_ok() {
        return true;
    }
    let _ = process.terminate();
    if within(TERM).await.is_ok() {
        return true;
    }
    let _ = process.kill();
    within(DEATH).await.is_ok()
}

/// Whether process `pid` was started as a helper of the guest with this directory.
pub fn is_helper_of(pid: u32, directory: &Path) -> bool {
    let Ok(variables) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
    let wanted = format!("{MARK}={}", directory.display());
    variables.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(dir: &Path, script: &str) -> HelperSpec {
        HelperSpec {
            name: "fs0".into(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            descriptors: Descriptors::default(),
            environment: Vec::new(),
            directory: dir.to_owned(),
            log: dir.join("log"),
            credentials: None,
            cgroup: None,
            takes_users: false,
        }
    }

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn what_it_says_before_its_end_is_told_and_nothing_older() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("log"), "of another run\n").unwrap();
        let helper = Helper::start(spec(dir.path(), "echo no such state >&2; exit 3")).unwrap();
        let error = helper.done(SOON).await.unwrap_err().to_string();
        assert_eq!(error, "`/bin/sh` ended with exit status: 3: no such state");
        let helper = Helper::start(spec(dir.path(), "exit 0")).unwrap();
        helper.done(SOON).await.unwrap();
        let mut missing = spec(dir.path(), "");
        missing.program = "/nonexistent/swtpm".into();
        assert_eq!(Helper::start(missing).unwrap_err().kind(), Kind::NotFound);
    }

    #[tokio::test]
    async fn one_that_does_not_come_up_is_waited_for_until_its_end_or_the_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let helper = Helper::start(spec(dir.path(), "echo broken >&2; exit 1")).unwrap();
        let never = std::future::pending::<io::Result<()>>();
        let error = helper.serves(never, SOON).await.unwrap_err().to_string();
        assert!(error.ends_with("exit status: 1: broken"), "{error}");
        let helper = Helper::start(spec(dir.path(), "exec sleep 600")).unwrap();
        let never = std::future::pending::<io::Result<()>>();
        let late = helper.serves(never, Duration::from_millis(1)).await.unwrap_err();
        assert!(matches!(late, HelperError::Late { .. }), "{late}");
        assert!(end_helpers(dir.path()).await);
    }

    #[tokio::test]
    async fn a_later_daemon_finds_and_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let stubborn = spec(dir.path(), "trap '' TERM; echo up >&2; while :; do sleep 600; done");
        let helper = Helper::start(stubborn).unwrap();
        let pid = helper.process().identity().pid;
        assert!(is_helper_of(pid, dir.path()) && !is_helper_of(pid, Path::new("/another")));
        assert_eq!(helpers_in(dir.path()).len(), 1);
        drop(helper);
        assert!(end_helpers(dir.path()).await);
        assert!(helpers_in(dir.path()).is_empty());
        assert_eq!(Identity::of(pid).unwrap(), None);
    }
}
