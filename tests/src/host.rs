//! A daemon under test.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// How long anything that does not wait for a guest may take before a test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// One daemon with a root of its own.
pub struct Host {
    root: PathBuf,
    /// Kept for its drop; none where the caller owns the directory.
    _directory: Option<tempfile::TempDir>,
    daemon: Child,
    flags: Vec<String>,
}

impl Host {
    /// Starts a daemon under a new root.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts a daemon with more flags.
    pub fn start_with(flags: &[&str]) -> Result<Self> {
        Self::start_told("", flags)
    }

    /// Starts a daemon with these settings in its `lodge.toml`, and more flags.
    pub fn start_told(settings: &str, flags: &[&str]) -> Result<Self> {
        // Short, because UNIX socket paths are; open to others, because guests run as users of their own.
        let directory = tempfile::Builder::new().prefix("lodge-").tempdir_in("/var/tmp")?;
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory.path(), permissions)?;
        if !settings.is_empty() {
            let place = directory.path().join("etc/lodge");
            fs::create_dir_all(&place)?;
            fs::write(place.join("lodge.toml"), settings)?;
        }
        Self::start_at(directory.path().to_owned(), Some(directory), flags)
    }

    /// Starts a daemon in a directory that is the caller's.
    pub fn start_in(root: &Path) -> Result<Self> {
        Self::start_at(root.to_owned(), None, &[])
    }

    fn start_at(root: PathBuf, directory: Option<tempfile::TempDir>, flags: &[&str]) -> Result<Self> {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let daemon = spawn_daemon(&root, &flags)?;
        let mut host = Self { root, _directory: directory, daemon, flags };
        host.wait_until_it_answers()?;
        Ok(host)
    }

    /// The daemon's process.
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.id()
    }

    /// The daemon's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The REST socket.
    pub fn socket(&self) -> PathBuf {
        self.root().join("run/lodge/lodge.sock")
    }

    /// Kills the daemon as a crash would. Guests and netd stay.
    pub fn kill_daemon(&mut self) -> Result<()> {
        self.daemon.kill()?;
        self.daemon.wait()?;
        Ok(())
    }

    /// The same while others still use this host: only the signal; [`Host::start_daemon`] reaps.
    pub fn kill_daemon_now(&self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.daemon);
        Ok(rustix::process::kill_process(pid, rustix::process::Signal::KILL)?)
    }

    /// Begins `lodge ARGS`, and kills the daemon amid it when `moment` has come; then starts the daemon anew. The client is
    /// ended too: it follows what it asked for, and would wait for a daemon to come back.
    pub fn cut(&mut self, args: &[&str], moment: impl FnOnce(&mut Child) -> Result<()>) -> Result<()> {
        let mut client = Command::new(lodge_program()?);
        client.arg("--connect").arg(self.socket()).args(args).stdout(Stdio::null()).stderr(Stdio::null());
        let mut client = client.spawn()?;
        let came = moment(&mut client);
        self.kill_daemon()?;
        client.kill()?;
        client.wait()?;
        came?;
        self.start_daemon()
    }

    /// Starts the daemon anew on the same root.
    pub fn start_daemon(&mut self) -> Result<()> {
        self.daemon.kill()?;
        self.daemon.wait()?;
        self.daemon = spawn_daemon(&self.root, &self.flags)?;
        self.wait_until_it_answers()
    }

    /// Runs `lodge ARGS` to its end.
    pub fn lodge(&self, args: &[&str]) -> Result<Done> {
        self.lodge_for(PATIENCE, args)
    }

    /// Runs `lodge ARGS`, which may wait for a guest.
    pub fn lodge_for(&self, patience: Duration, args: &[&str]) -> Result<Done> {
        let mut command = Command::new(lodge_program()?);
        command.arg("--connect").arg(self.socket()).args(args);
        // Keys and known hosts of this user's side are kept apart from those of whoever runs the tests.
        command.env("HOME", &self.root);
        for variable in
            ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"]
        {
            command.env_remove(variable);
        }
        finish(&mut command, patience, &format!("lodge {}", args.join(" ")))
    }

    /// What `lodge ARGS -o json` prints; failing is an error.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let done = self.lodge(&[args, &["-o", "json"]].concat())?.ok()?;
        serde_json::from_str(&done.stdout).with_context(|| format!("no JSON: {}", done.stdout))
    }

    /// Writes a file under the root's `documents` and gives its path.
    pub fn file(&self, name: &str, text: &str) -> Result<String> {
        let directory = self.root().join("documents");
        fs::create_dir_all(&directory)?;
        let path = directory.join(name);
        fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// A socket file may be left of a daemon that was killed, so an answer counts, not the file.
    fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !answers(&self.socket()) {
            if let Some(status) = self.daemon.try_wait()? {
                bail!("the daemon ended with {status}:\n{}", self.log());
            }
            ensure!(Instant::now() < deadline, "the daemon does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// What the daemon has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root().join("daemon.out")).unwrap_or_default()
    }

    fn take_down(&mut self) -> Result<()> {
        if self.daemon.try_wait()?.is_some() {
            self.start_daemon()?;
        }
        for name in self.lodge(&["list", "--name"])?.lines() {
            self.lodge(&["destroy", &name])?;
        }
        for name in self.lodge(&["net-list", "--name"])?.lines() {
            self.lodge(&["net-destroy", &name])?.ok()?;
        }
        let pid = rustix::process::Pid::from_child(&self.daemon);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.daemon.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "the daemon does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = self.take_down() {
            eprintln!("the daemon under test could not be taken down: {error:#}\n{}", self.log());
            drop(self.daemon.kill());
            drop(self.daemon.wait());
        }
        if std::thread::panicking() {
            eprintln!("the daemon said:\n{}", self.log());
        }
    }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Done {
    /// What was run, for messages.
    pub command: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Done {
    /// Itself if the exit code is 0, else an error with all that was said.
    pub fn ok(self) -> Result<Self> {
        ensure!(
            self.status.success(),
            "`{}` ended with {}\n{}{}",
            self.command,
            self.status,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// Itself if it failed and its standard error holds each of `words`.
    pub fn fails_saying(self, words: &[&str]) -> Result<Self> {
        ensure!(!self.status.success(), "`{}` succeeded, which it must not\n{}", self.command, self.stdout);
        for word in words {
            ensure!(
                self.stderr.contains(word),
                "`{}` failed without saying {word:?}:\n{}",
                self.command,
                self.stderr
            );
        }
        Ok(self)
    }

    /// The non-empty lines of standard output, trimmed.
    pub fn lines(&self) -> Vec<String> {
        self.stdout.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

/// Runs `command` to its end, but not longer than `patience`.
pub fn finish(command: &mut Command, patience: Duration, name: &str) -> Result<Done> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.with_context(|| format!("cannot run `{name}`"))?;
    let pid = rustix::process::Pid::from_child(&child);
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || send.send(child.wait_with_output()));
    let Ok(ended) = receive.recv_timeout(patience) else {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        bail!("`{name}` was not done after {patience:?}");
    };
    let Output { status, stdout, stderr } = ended?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Done { command: name.to_owned(), status, stdout: text(stdout), stderr: text(stderr) })
}

/// Whether somebody answers there. That one can connect is not enough: a child that a killed daemon was just starting
/// has the listening socket until it becomes its program.
fn answers(socket: &Path) -> bool {
    let asked = || -> std::io::Result<usize> {
        let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /v1/version HTTP/1.1\r\nHost: lodge\r\nConnection: close\r\n\r\n")?;
        stream.read(&mut [0; 64])
    };
    asked().is_ok_and(|read| read > 0)
}

fn spawn_daemon(root: &Path, flags: &[String]) -> Result<Child> {
    let log = File::options().create(true).append(true).open(root.join("daemon.out"))?;
    Command::new(lodge_program()?)
        .args(["daemon", "--root"])
        .arg(root)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start the daemon")
}

/// The program under test: built beside the tests by `cargo xtask test`.
pub fn lodge_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LODGE_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let program =
        test.ancestors().skip(1).map(|directory| directory.join("lodge")).find(|path| path.is_file());
    program.context("there is no `lodge` program beside the tests; `cargo build -p lodge` makes it")
}
