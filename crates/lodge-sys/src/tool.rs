//! Other programs that do one act and end: `mount`, `mkfs`, `lvcreate`, `nft`.
//!
//! Rules: no shell; the environment is empty but for a fixed locale and PATH; stdin is what the caller gives and
//! nothing else; what is said is kept up to a bound. A program that is not done at its deadline is killed with all
//! it started, and its end is waited for, so that whoever goes on knows that nothing is under way any more.
//! It begins as every program here ([`crate::spawn`]), so that none waits for a file server that is gone.
//! Deliberately absent: programs that outlive us, and what a program may touch (see the caller's sandbox).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::runtime::Handle;

use crate::process::{Ending, Process};
use crate::spawn::Command;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most that is kept of what a program prints: `lvs` of 10,000 volumes.
const OUTPUT_BYTES: u64 = 16 << 20;
/// The last bytes kept of what it complains about.
const WORDS_BYTES: usize = 4000;

/// Why a program did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not installed.
    #[error("cannot find '{program}' in path")]
    Missing {
        /// Its name.
        program: &'static str,
    },
    /// It was not started, or its output not read.
    #[error("cannot run '{}'", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It was not done in time and has been killed.
    #[error("'{command}' was not done in {seconds} s and was killed")]
    Late {
        /// The program and its arguments.
        command: String,
        /// How long was waited.
        seconds: u64,
    },
    /// It failed.
    #[error("'{command}' ended with {ending}: {words}")]
    Failed {
        /// The program and its arguments.
        command: String,
        /// Its exit status; none: a signal ended it.
        status: Option<i32>,
        /// `exit status 1`, `fatal signal 9`.
        ending: String,
        /// What it said.
        words: String,
    },
    /// It printed more than anybody reads.
    #[error("'{command}' printed more than {OUTPUT_BYTES} bytes")]
    TooMuch {
        /// The program and its arguments.
        command: String,
    },
}

/// One run of a program.
#[derive(Debug)]
pub struct Tool {
    program: &'static str,
    /// Where it is, if that is not to be looked for.
    place: Option<PathBuf>,
    args: Vec<OsString>,
    deadline: Duration,
    input: Option<Vec<u8>>,
}

impl Tool {
    /// Will run `program`, looked for where programs of the system lie, for at most `deadline`.
    pub fn new(program: &'static str, deadline: Duration) -> Self {
        Self { program, place: None, args: Vec::new(), deadline, input: None }
    }

    /// Will run the program at `place`.
    pub fn at(place: &Path, deadline: Duration) -> Self {
        Self { place: Some(place.to_owned()), ..Self::new("", deadline) }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// What it reads from stdin; without it stdin is `/dev/null`.
    #[must_use]
    pub fn input(mut self, bytes: Vec<u8>) -> Self {
        self.input = Some(bytes);
        self
    }

    /// Runs it to its end and gives back what it printed.
    pub async fn run(self) -> Result<Vec<u8>, ToolError> {
        let place = self.place.or_else(|| find(self.program));
        let program = place.ok_or(ToolError::Missing { program: self.program })?;
        let command = said(&program, &self.args);
        let failed = |source| ToolError::Run { program: program.clone(), source };
        let (running, pipes) = start(&program, &self.args, self.input.is_some()).await.map_err(failed)?;
        let talk = talk(&running.process, pipes, self.input);
        let Ok(talked) = tokio::time::timeout(self.deadline, talk).await else {
            running.kill();
            let _ = running.process.ended().await;
            return Err(ToolError::Late { command, seconds: self.deadline.as_secs() });
        };
        let Talked { ending, printed, complaints } = talked.map_err(failed)?;
        let status = match ending {
            Ending::Status(status) => status,
            Ending::Unknown => return Err(failed(io::Error::other("somebody else has waited for it"))),
        };
        if status.success() {
            let is_bounded = (printed.len() as u64) < OUTPUT_BYTES;
            return if is_bounded { Ok(printed) } else { Err(ToolError::TooMuch { command }) };
        }
        let ending = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, signal) => format!("fatal signal {}", signal.unwrap_or_default()),
        };
        let from = complaints.len().saturating_sub(WORDS_BYTES);
        let words = String::from_utf8_lossy(&complaints[from..]).trim_end().to_owned();
        Err(ToolError::Failed { command, status: status.code(), ending, words })
    }
}

/// A program with all it has started (`mount` starts `mount.nfs`, which is what hangs): killed when this is dropped,
/// unless it has ended.
struct Running {
    process: Process,
    runtime: Handle,
}

impl Running {
    fn kill(&self) {
        let pid = i32::try_from(self.process.identity().pid).ok().and_then(Pid::from_raw);
        // Our own child, not waited for yet: its number is nobody else's. Gone already is as well.
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.process.poll_ended(), Ok(Some(_))) {
            return;
        }
        self.kill();
        let process = self.process.clone();
        // Somebody has to wait for it, or it stays a zombie.
        self.runtime.spawn(async move { process.ended().await });
    }
}

/// Our ends of what it reads and says.
struct Pipes {
    input: Option<Sender>,
    output: Receiver,
    errors: Receiver,
}

/// Starts it, on a thread that may wait: it comes back when the program itself runs.
async fn start(program: &Path, args: &[OsString], has_input: bool) -> io::Result<(Running, Pipes)> {
    let mut command = Command::new(program);
    command.args(args).env("PATH", PATH).env("LC_ALL", "C").no_new_privs(false);
    let input = if has_input {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        command.input(read);
        Some(Sender::from_owned_fd(write)?)
    } else {
        None
    };
    let listen = || -> io::Result<(Receiver, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Receiver::from_owned_fd(read)?, write))
    };
    let ((output, out), (errors, err)) = (listen()?, listen()?);
    command.output(out).errors(err);
    let runtime = Handle::current();
    let begin = move || command.spawn().map(|process| Running { process, runtime });
    // If nobody waits for it any more, it comes back all the same, and is killed.
    let begun = tokio::task::spawn_blocking(begin).await.map_err(io::Error::other)?;
    let running = begun.map_err(|error| {
        let kind = error.io().map_or(io::ErrorKind::InvalidInput, io::Error::kind);
        io::Error::new(kind, error)
    })?;
    Ok((running, Pipes { input, output, errors }))
}

struct Talked {
    ending: Ending,
    printed: Vec<u8>,
    complaints: Vec<u8>,
}

/// Gives it its input and hears it out.
async fn talk(process: &Process, pipes: Pipes, input: Option<Vec<u8>>) -> io::Result<Talked> {
    let Pipes { input: mut stdin, output, errors } = pipes;
    let give = async move {
        if let (Some(stdin), Some(input)) = (&mut stdin, input) {
            // A program that ends early says by its status what is wrong.
            let _ = stdin.write_all(&input).await;
        }
        drop(stdin);
    };
    let ((), printed, complaints) = tokio::join!(give, hear(output), hear(errors));
    Ok(Talked { ending: process.ended().await?, printed: printed?, complaints: complaints? })
}

/// All of it up to the bound; the rest is read and dropped, so that the program goes on.
async fn hear(mut from: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut heard = Vec::new();
    (&mut from).take(OUTPUT_BYTES).read_to_end(&mut heard).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(heard)
}

/// Where a program is.
pub fn find(program: &str) -> Option<PathBuf> {
    PATH.split(':').map(|dir| Path::new(dir).join(program)).find(|path| path.exists())
}

fn said(program: &Path, args: &[OsString]) -> String {
    args.iter().fold(program.display().to_string(), |text, arg| text + " " + &arg.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn what_is_given_comes_back_and_nothing_of_the_environment_goes_along() {
        let said = Tool::new("cat", SOON).input(b"hello".to_vec()).run().await.unwrap();
        assert_eq!(said, b"hello");
        let said = Tool::new("env", SOON).run().await.unwrap();
        let said = String::from_utf8(said).unwrap();
        let mut variables: Vec<_> = said.lines().collect();
        variables.sort_unstable();
        assert_eq!(variables, ["LC_ALL=C", &format!("PATH={PATH}")]);
    }

    #[tokio::test]
    async fn a_failure_says_what_was_run_and_why_it_failed() {
        let error = Tool::new("ls", SOON).args(["-d", "/nonexistent"]).run().await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("ls -d /nonexistent' ended with exit status 2: "), "{text}");
        assert!(text.ends_with("cannot access '/nonexistent': No such file or directory"), "{text}");
        let error = Tool::new("no-such-program", SOON).run().await.unwrap_err();
        assert_eq!(error.to_string(), "cannot find 'no-such-program' in path");
    }

    #[tokio::test]
    async fn what_hangs_is_killed_with_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        // The grandchild holds the pipe: only its end lets the wait end.
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let began = std::time::Instant::now();
        let run = Tool::new("sh", Duration::from_secs(1)).args(["-c", &script]).run();
        let error = run.await.unwrap_err();
        assert!(matches!(error, ToolError::Late { seconds: 1, .. }), "{error}");
        assert!(began.elapsed() < SOON);
        let pid: u32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        let is_there =
            || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "));
        while is_there() {
            assert!(began.elapsed() < SOON, "process {pid} lives on");
            tokio::task::yield_now().await;
        }
    }
}
