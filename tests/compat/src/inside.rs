//! What runs inside a house: the daemon is started, then the steps, one process each; every outcome is a line of JSON
//! on standard output.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::{
    house::Side,
    script::{How, Step},
};

/// The longest any command may take, waiting for a guest included.
const PATIENCE: Duration = Duration::from_mins(1);
const LOG: &str = "/run/house/daemon.log";

/// What a step gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The step.
    pub step: Step,
    /// Its exit code; none where it was killed, by us after a minute or by a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took_ms: u64,
    /// Whether the daemon ended under it. It was started again.
    pub daemon_died: bool,
}

/// A line from the house.
#[derive(Debug, Serialize, Deserialize)]
pub enum Line {
    /// A step is done.
    Outcome(Outcome),
    /// What the daemon has said, at the end.
    Log(String),
}

/// Runs the steps of the file against the daemon of this side.
pub fn run(side: Side, lodge: &Path, steps: &Path) -> Result<()> {
    let steps: Vec<Step> = serde_json::from_str(&fs::read_to_string(steps)?)?;
    let mut options = String::new();
    let mut daemon = Daemon::start(side, lodge, &options)?;
    let mut background = HashMap::new();
    for step in steps {
        if step.how == How::Restart {
            daemon.stop()?;
            options = step.command;
            daemon = Daemon::start(side, lodge, &options)?;
            continue;
        }
        let begun = Instant::now();
        let Some(run) = run_step(&step, &mut background)? else { continue };
        let daemon_died = daemon.has_ended()?;
        let took_ms = begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        let outcome =
            Outcome { step, code: run.code, stdout: run.stdout, stderr: run.stderr, took_ms, daemon_died };
        say(&Line::Outcome(outcome))?;
        if daemon_died {
            daemon = Daemon::start(side, lodge, &options)?;
        }
    }
    say(&Line::Log(log()))
}

/// Starts the daemon of this side and runs one program to its end, with our own output: for measurements.
pub fn run_program(side: Side, lodge: &Path, program: &[String]) -> Result<()> {
    let daemon = Daemon::start(side, lodge, "")?;
    let (first, rest) = program.split_first().context("no program is named")?;
    let mut command = Command::new(first);
    command.args(rest).env("HOUSE_DAEMON_PID", daemon.child.id().to_string());
    environment(&mut command);
    let status = command.status().with_context(|| format!("cannot run {first}"))?;
    ensure!(status.success(), "`{}` ended with {status}\n{}", program.join(" "), log());
    Ok(())
}

fn say(line: &Line) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    Ok(writeln!(out)?)
}

fn log() -> String {
    String::from_utf8_lossy(&fs::read(LOG).unwrap_or_default()).into_owned()
}

struct Daemon {
    child: Child,
}

impl Daemon {
    /// With options that both sides take, apart by spaces.
    fn start(side: Side, lodge: &Path, options: &str) -> Result<Self> {
        let mut command = match side {
            Side::Libvirtd => {
                spawn(&mut Command::new("virtlogd"))?;
                Command::new("libvirtd")
            }
            Side::Lodge => {
                let mut command = Command::new(lodge);
                command.arg("daemon");
                command
            }
        };
        let mut daemon = Self { child: spawn(command.args(options.split_whitespace()))? };
        daemon.wait_until_it_answers()?;
        Ok(daemon)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The sockets are there before the drivers are; asked for its version, the daemon has them.
            let mut virsh = Command::new("virsh");
            environment(&mut virsh);
            let asked = virsh.arg("version").output().context("cannot run virsh")?;
            if asked.status.success() {
                return Ok(());
            }
            let why = String::from_utf8_lossy(&asked.stderr).into_owned();
            if self.has_ended()? {
                bail!("the daemon ended at once:\n{}", log());
            }
            if Instant::now() > deadline {
                bail!("the daemon does not answer `virsh version`: {why}\n{}", log());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Guests and networks run on, on both sides.
    fn stop(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended()? {
            ensure!(Instant::now() < deadline, "the daemon does not stop:\n{}", log());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }
}

fn spawn(command: &mut Command) -> Result<Child> {
    let log = File::options().create(true).append(true).open(LOG)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// The same words on both sides, and nothing of whoever runs this.
fn environment(command: &mut Command) {
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("HOME", "/run/house/home").env("TERM", "dumb");
    for (name, _) in std::env::vars() {
        if name.starts_with("XDG_") || name.starts_with("LIBVIRT") || name.starts_with("VIRSH") {
            command.env_remove(name);
        }
    }
}

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A command on its way.
struct Running {
    pid: Pid,
    ended: Receiver<std::io::Result<Output>>,
}

impl Running {
    fn start(shell: &str) -> Result<Self> {
        let mut command = Command::new("sh");
        environment(&mut command);
        command.args(["-c", shell]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.process_group(0).spawn().with_context(|| format!("cannot run `{shell}`"))?;
        let pid = Pid::from_child(&child);
        let (send, ended) = channel();
        thread::spawn(move || send.send(child.wait_with_output()));
        Ok(Self { pid, ended })
    }

    fn finish(&self) -> Result<Run> {
        let output = match self.ended.recv_timeout(PATIENCE) {
            Ok(output) => output?,
            Err(RecvTimeoutError::Timeout) => {
                kill_process_group(self.pid, Signal::KILL)?;
                self.ended.recv()??
            }
            Err(RecvTimeoutError::Disconnected) => bail!("a command's watcher ended"),
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
    }
}

/// `None` where there is nothing to tell yet: the step began in the background.
fn run_step(step: &Step, background: &mut HashMap<String, Running>) -> Result<Option<Run>> {
    match &step.how {
        How::Compared | How::Sorted | How::Code | How::Quiet => {
            Running::start(&step.command)?.finish().map(Some)
        }
        How::Until(word) => {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let run = Running::start(&step.command)?.finish()?;
                if run.stdout.contains(word) || Instant::now() > deadline {
                    // A wait in vain shows as a step that was killed.
                    let code = run.stdout.contains(word).then_some(0);
                    return Ok(Some(Run { code, ..run }));
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        How::Start(name) => {
            background.insert(name.clone(), Running::start(&step.command)?);
            // What listens must be listening before the next step makes something to hear.
            thread::sleep(Duration::from_millis(500));
            Ok(None)
        }
        How::Restart => bail!("a restart is the daemon's matter"),
        How::End(name) => {
            background.remove(name).with_context(|| format!("`{name}` was not started"))?.finish().map(Some)
        }
    }
}
