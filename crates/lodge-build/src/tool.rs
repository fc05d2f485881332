//! The programs a build runs, each shut in namespaces of its own.
//!
//! Rules: a tool runs under `unshare` in its own process and mount namespaces, so that one kill
//! ends it with all its children and nothing it mounted is seen outside; without a network unless
//! it is the one that fetches packages; with an empty environment but for what is named here; with
//! a deadline. Its standard input is the work directory's lock (see [`crate::work`]).
//!
//! Deliberately absent: `lodge_sys::spawn`, made for processes that outlive the daemon.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, Command},
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
    let is_there = |program: &str| PATH.split(':').any(|dir| Path::new(dir).join(program).exists());
    NEEDED.iter().copied().filter(|tool| !is_there(tool.program)).collect()
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
        let mut child = self.spawn(&run).map_err(failed)?;
        let mut words = VecDeque::new();
        let mut streams = Box::pin(read_streams(&mut child, &mut words, &mut on_line));
        let ended = tokio::select! {
            output = &mut streams => output.map_err(failed),
            () = self.cancel.cancelled() => Err(BuildError::Cancelled { phase }),
            () = tokio::time::sleep(run.limit) => {
                Err(BuildError::ToolSlow { program: run.program, phase, limit: run.limit })
            }
        };
        if ended.is_err() {
            // `unshare --kill-child`: its end is the end of the whole namespace. The streams end
            // when the last process of it is gone; until then it may still write files.
            let _ = child.start_kill();
            let _ = tokio::time::timeout(KILL_WAIT, &mut streams).await;
        }
        drop(streams);
        let status = child.wait().await.map_err(failed)?;
        let output = ended?;
        if status.success() {
            return Ok(output);
        }
        Err(BuildError::ToolFailed {
            program: run.program,
            phase,
            status: describe(status),
            last_words: words.make_contiguous().join(" | "),
        })
    }

    fn spawn(&self, run: &Run) -> io::Result<Child> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc"]);
        command.arg("--kill-child=SIGKILL");
        if run.network == Network::None {
            command.arg("--net");
        }
        command.arg("--").arg(run.program).args(&run.args);
        command.env_clear();
        command.envs([("PATH", PATH), ("LC_ALL", "C.UTF-8"), ("HOME", "/root")]);
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
            let proxies = ["http_proxy", "https_proxy", "no_proxy"];
            command.envs(proxies.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        }
        command.stdin(Stdio::from(self.work.lock_for_tool()?));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.current_dir("/").kill_on_drop(true);
        // Out of the reach of the terminal's ^C: the build itself decides.
        command.process_group(0);
        command.spawn()
    }
}

/// Reads a child's two streams until both end, that is until its last process is gone.
fn read_streams<'a, F: FnMut(&str) + Send>(
    child: &mut Child,
    words: &'a mut VecDeque<String>,
    on_line: &'a mut F,
) -> impl Future<Output = io::Result<String>> + use<'a, F> {
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    async move {
        let mut output = String::new();
        let mut stdout = stdout.take(OUTPUT_LIMIT);
        let read_output = stdout.read_to_string(&mut output);
        let (got_output, got_errors) = tokio::join!(read_output, read_lines(stderr, words, on_line));
        got_errors?;
        got_output?;
        Ok(output)
    }
}

async fn read_lines(
    stream: ChildStderr,
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

fn describe(status: ExitStatus) -> String {
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
