//! The programs a build runs, each shut in namespaces of its own.
//!
//! Rules: a tool runs under `unshare` in its own process and mount namespaces, so that one kill
//! ends it with all its children and nothing it mounted is seen outside; without a network unless
//! it is the one that fetches packages; with an empty environment but for what is named here; with
//! a deadline. Its standard input is the work directory's lock (see [`crate::work`]).
//!
//! Deliberately absent: a jail; what they read is packages, which the archive's keys vouch for.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use lodge_sys::{
    process::Ending,
    spawn::{Command, Tied},
};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::unix::pipe::Receiver,
};
use tokio_util::sync::CancellationToken;

use crate::{error::BuildError, progress::Phase, work::WorkDir};

/// A program the build needs and did not find, with the Debian package that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingTool {
    /// The program.
    pub program: &'static str,
    /// Debian's package.
    pub package: &'static str,
}

const NEEDED: &[MissingTool] = &[
    MissingTool { program: "mmdebstrap", package: "mmdebstrap" },
    MissingTool { program: "apt-get", package: "apt" },
    MissingTool { program: "mke2fs", package: "e2fsprogs" },
    MissingTool { program: "qemu-img", package: "qemu-utils" },
    MissingTool { program: "unshare", package: "util-linux" },
    MissingTool { program: "chroot", package: "coreutils" },
];

/// Where programs are looked for, by us and by the tools themselves.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The lines kept of what a tool wrote to its standard error.
const LAST_WORDS_LINES: usize = 12;
const LINE_LIMIT: usize = 2000;
const OUTPUT_LIMIT: u64 = 1 << 20;
/// How long the processes of a killed tool may take to be gone.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// Which of the programs that a build runs are not installed.
pub fn missing_tools() -> Vec<MissingTool> {
    NEEDED.iter().copied().filter(|tool| find(tool.program).is_none()).collect()
}

fn find(program: &str) -> Option<PathBuf> {
    PATH.split(':').map(|dir| Path::new(dir).join(program)).find(|place| place.exists())
}

/// Whether a tool may use the host's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Host,
    None,
}

/// Runs tools for one build.
pub(crate) struct Toolbox<'a> {
    pub work: &'a WorkDir,
    pub cancel: &'a CancellationToken,
    /// `SOURCE_DATE_EPOCH`, for a build that can be repeated to the byte.
    pub epoch_s: Option<u64>,
}

/// One run of a tool.
pub(crate) struct Run {
    pub program: &'static str,
    pub args: Vec<OsString>,
    pub network: Network,
    pub phase: Phase,
    pub limit: Duration,
}

impl Toolbox<'_> {
    /// Runs a tool to its end; `on_line` gets each line of its standard error. Returns its output.
    pub async fn run(&self, run: Run, mut on_line: impl FnMut(&str) + Send) -> Result<String, BuildError> {
        let phase = run.phase;
        let failed = |source| BuildError::StartTool { program: run.program, source };
        if self.cancel.is_cancelled() {
            return Err(BuildError::Cancelled { phase });
        }
        let Started { tied, output, errors } = self.start(&run).await.map_err(failed)?;
        let mut words = VecDeque::new();
        let mut streams = Box::pin(read_streams(output, errors, &mut words, &mut on_line));
        let ended = tokio::select! {
            output = &mut streams => output.map_err(failed),
            () = self.cancel.cancelled() => Err(BuildError::Cancelled { phase }),
            () = tokio::time::sleep(run.limit) => {
                Err(BuildError::ToolSlow { program: run.program, phase, limit: run.limit })
            }
        };
        let output = match ended {
            Ok(output) => output,
            Err(error) => {
                // `unshare --kill-child`: its end is the end of the whole namespace. The streams end
                // when the last process of it is gone; until then it may still write files.
                drop(tied);
                let _ = tokio::time::timeout(KILL_WAIT, &mut streams).await;
                return Err(error);
            }
        };
        drop(streams);
        let ending = tied.ended().await.map_err(failed)?;
        if matches!(ending, Ending::Status(status) if status.success()) {
            return Ok(output);
        }
        Err(BuildError::ToolFailed {
            program: run.program,
            phase,
            status: describe(ending),
            last_words: words.make_contiguous().join(" | "),
        })
    }

    /// It ends with what comes back. In a session of its own, so out of the reach of the terminal's ^C: the build itself
    /// decides.
    async fn start(&self, run: &Run) -> io::Result<Started> {
        let program = find("unshare").ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc"]);
        command.arg("--kill-child=SIGKILL");
        if run.network == Network::None {
            command.arg("--net");
        }
        command.arg("--").arg(run.program).args(&run.args);
        command.env("PATH", PATH).env("LC_ALL", "C.UTF-8").env("HOME", "/root");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command.env("TMPDIR", self.work.path());
        // Only if somebody wants it: with it, Debian's Python compiles its modules so that each
        // import reads and hashes the source again, which slows every cloud-init run.
        if let Some(epoch_s) = self.epoch_s {
            command.env("SOURCE_DATE_EPOCH", epoch_s.to_string());
            command.env("E2FSPROGS_FAKE_TIME", epoch_s.to_string());
        }
        if run.network == Network::Host {
            // How this host's apt may have to reach its mirror.
            for name in ["http_proxy", "https_proxy", "no_proxy"] {
                if let Some(value) = std::env::var_os(name) {
                    command.env(name, value);
                }
            }
        }
        let ((output, out), (errors, err)) = (listen()?, listen()?);
        command.input(self.work.lock_for_tool()?.into()).output(out).errors(err).no_new_privs(false);
        let tied = command.spawn_tied().await.map_err(io::Error::other)?;
        Ok(Started { tied, output, errors })
    }
}

/// A tool that runs, and what it says.
struct Started {
    tied: Tied,
    output: Receiver,
    errors: Receiver,
}

fn listen() -> io::Result<(Receiver, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((Receiver::from_owned_fd(read)?, write))
}

/// Reads a tool's two streams until both end, that is until its last process is gone.
async fn read_streams(
    output: Receiver,
    errors: Receiver,
    words: &mut VecDeque<String>,
    on_line: &mut (impl FnMut(&str) + Send),
) -> io::Result<String> {
    let mut text = String::new();
    let mut output = output.take(OUTPUT_LIMIT);
    let read_output = output.read_to_string(&mut text);
    let (got_output, got_errors) = tokio::join!(read_output, read_lines(errors, words, on_line));
    got_errors?;
    got_output?;
    Ok(text)
}

async fn read_lines(
    stream: Receiver,
    words: &mut VecDeque<String>,
    on_line: &mut (impl FnMut(&str) + Send),
) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await? > 0 {
        line.truncate(LINE_LIMIT);
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if text.is_empty() {
            continue;
        }
        tracing::trace!(line = %text, "tool wrote");
        on_line(&text);
        words.push_back(text);
        if words.len() > LAST_WORDS_LINES {
            words.pop_front();
        }
    }
    Ok(())
}

fn describe(ending: Ending) -> String {
    let Ending::Status(status) = ending else { return ending.to_string() };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Duration) -> Run {
        Run {
            program: "sh",
            args: vec!["-c".into(), script.into()],
            network: Network::None,
            phase: Phase::Disk,
            limit,
        }
    }

    async fn outcome(
        script: &str,
        limit_ms: u64,
        cancel_ms: Option<u64>,
    ) -> Option<Result<String, BuildError>> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: namespaces need root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let work = WorkDir::create(dir.path(), "t").unwrap();
        let cancel = CancellationToken::new();
        if let Some(ms) = cancel_ms {
            let cancel = cancel.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                cancel.cancel();
            });
        }
        let toolbox = Toolbox { work: &work, cancel: &cancel, epoch_s: None };
        Some(toolbox.run(run(script, Duration::from_millis(limit_ms)), |_| ()).await)
    }

    #[tokio::test]
    async fn a_failing_tool_is_quoted() {
        let Some(result) = outcome("echo one >&2; echo two >&2; exit 3", 20_000, None).await else {
            return;
        };
        let text = result.unwrap_err().to_string();
        assert_eq!(text, "`sh` failed (exit status 3) while writing the disk: one | two");
    }

    #[tokio::test]
    async fn a_tool_has_no_environment_and_no_network() {
        let Some(result) = outcome("echo ${CARGO:-none}; ls /sys/class/net >&2", 20_000, None).await else {
            return;
        };
        assert_eq!(result.unwrap(), "none\n");
    }

    #[tokio::test]
    async fn cancelling_ends_a_tool_with_all_its_children() {
        // The pipe stays open as long as any child lives: the run returns only when all are gone.
        let Some(result) = outcome("sleep 600 & sleep 600", 60_000, Some(200)).await else {
            return;
        };
        assert!(matches!(result, Err(BuildError::Cancelled { .. })));
    }

    #[tokio::test]
    async fn a_tool_that_hangs_is_ended() {
        let Some(result) = outcome("sleep 600", 200, None).await else { return };
        assert!(matches!(result, Err(BuildError::ToolSlow { .. })));
    }
}
