//! `lodge daemon`, and the other processes this program can be: netd, the KVM probe, the reader and the editor of disks.
//!
//! The daemon's life, in order: open the engine (which recovers what a crash left and adopts what runs), listen,
//! say so, start what is marked for autostart, serve, and on SIGTERM or SIGINT stop serving. Guests and networks
//! run on: the next daemon adopts them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use lodge_engine::{Config, Engine, EngineError};
use lodge_http::{BindError, Listener};
use lodge_libvirt::{DoorError, Doors, Opening};
use lodge_store::{Root, RootError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tracing::info;

use crate::output;

pub mod background;
mod controls;
mod idle;
mod log;
mod memory;
mod settings;

/// How long the daemon's end waits for threads that are at files.
const LAST_THREADS: Duration = Duration::from_secs(5);

/// Other processes than a command.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// The daemon: keeps guests and networks, answers the API. Stopping it stops no guest
    Daemon(Daemon),
    /// One network's DHCP and DNS; started by the daemon
    Netd(Netd),
}

#[derive(Debug, Args)]
pub struct Daemon {
    /// Keep everything under this directory, apart from the host's own daemon [default: / as root, else this
    /// user's own directories]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// A document that asks for KVM where KVM is not usable: run it under TCG with a warning, or refuse
    /// [default: allow, or what etc/lodge/lodge.toml says]
    #[arg(long, value_enum, value_name = "WHAT")]
    accelerator_fallback: Option<Fallback>,
    /// Open the TLS and TCP ports too, as libvirtd.conf says
    #[arg(short, long)]
    listen: bool,
    /// End after so long without clients and with nothing running; 0: never
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Read this file instead of libvirtd.conf
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Go on in the background once the sockets are there
    #[arg(short = 'd', long = "daemon")]
    background: bool,
    /// Write the process's number to this file
    #[arg(short, long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Log everything
    #[arg(short, long)]
    verbose: bool,
}

/// What to do where KVM is asked for and not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fallback {
    /// Run it under TCG, with a warning
    Allow,
    /// Refuse to start it
    Refuse,
}

#[derive(Debug, Args)]
pub struct Netd {
    /// What the daemon hands over
    #[arg(value_name = "ARG", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs one of them to its end.
pub fn run(verb: Verb) -> ExitCode {
    match verb {
        Verb::Daemon(daemon) => daemon.run(),
        // Before any thread exists: it gives up its privileges for the whole process.
        Verb::Netd(netd) => lodge_network::netd::run(netd.args),
    }
}

/// Times guest code under KVM: what `host check` and the daemon start this program as. Not in the grammar, so that
/// neither help nor completion shows it.
pub fn kvm_probe(mut words: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let asked = words.nth(1).is_some_and(|word| word == lodge_host::PROBE_ARGUMENT);
    asked.then(lodge_host::probe_main)
}

/// Edits guests' disks, confined: what the daemon starts this program as. Not in the grammar either, and before any
/// thread exists.
pub fn disk_edit(words: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let words: Vec<String> = words.skip(1).map_while(|word| word.into_string().ok()).collect();
    let (word, args) = words.split_first()?;
    (word == lodge_disk::edit::WORKER_ARGUMENT).then(|| lodge_disk::edit::worker_main(args))
}

/// Reads a guest's disks: what the daemon starts this program as. Not in the grammar either, and before any thread
/// exists, for it gives up its privileges.
pub fn disk_worker(mut words: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let asked = words.nth(1).is_some_and(|word| word == lodge_disk::worker::ARGUMENT);
    let socket = words.next().and_then(|word| word.to_str()?.parse().ok());
    asked.then(|| lodge_disk::worker::main(socket))
}

impl Daemon {
    fn run(self) -> ExitCode {
        if self.background {
            return background::start(self.words());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let outcome = match runtime {
            Ok(runtime) => {
                let outcome = runtime.block_on(self.serve());
                // Threads that wait for a file server which is gone would keep it from its end.
                runtime.shutdown_timeout(LAST_THREADS);
                outcome
            }
            Err(source) => Err(Trouble::Runtime(source)),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(trouble) => {
                output::complain(&trouble.text());
                ExitCode::FAILURE
            }
        }
    }

    /// Itself as words, without the option that is done with. The paths are whole: it may begin elsewhere.
    fn words(&self) -> Vec<OsString> {
        let mut words = Vec::new();
        let paths = [("--root", &self.root), ("--config", &self.config), ("--pid-file", &self.pid_file)];
        for (option, path) in paths {
            if let Some(path) = path {
                words.push(option.into());
                words.push(std::path::absolute(path).unwrap_or_else(|_| path.clone()).into());
            }
        }
        if let Some(fallback) = self.accelerator_fallback.and_then(|fallback| fallback.to_possible_value()) {
            words.push(format!("--accelerator-fallback={}", fallback.get_name()).into());
        }
        words.extend(self.timeout.map(|seconds| format!("--timeout={seconds}").into()));
        words.extend(self.listen.then(|| "--listen".into()));
        words.extend(self.verbose.then(|| "--verbose".into()));
        words
    }

    async fn serve(self) -> Result<(), Trouble> {
        let places = Root::new(self.root.clone()).map_err(Trouble::Root)?;
        let told = settings::told(self.accelerator_fallback, &places).map_err(Trouble::Settings)?;
        let settings =
            lodge_libvirt::Settings::read(&places, self.config.as_deref()).map_err(Trouble::Doors)?;
        let handed = lodge_sys::activation::take().map_err(Trouble::Handed)?;
        let log = log::start(&places.logs(), &settings, self.verbose);
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        let stop = Stop::listen().map_err(Trouble::Signals)?;

        let fallback = told.fallback == Fallback::Allow;
        let config = Config {
            root: self.root,
            accelerator_fallback: fallback,
            program: None,
            duplicates: told.duplicates,
            guest_names: told.guest_names,
            stay_when_full: told.stay_when_full,
        };
        let engine = Engine::open(config).await.map_err(Trouble::Open)?;
        let libvirt = lodge_libvirt::Server::new(engine.clone());
        let timeout = self.timeout.filter(|seconds| *seconds > 0);
        let patience = idle::Patience::of(timeout.map(|seconds| Duration::from_secs(seconds.into())));
        let told_to_stop = Arc::new(Notify::new());
        let controls =
            controls::Controls { log, patience: patience.clone(), stop: Arc::clone(&told_to_stop) };
        let opening = Opening {
            settings,
            listen: self.listen,
            sasl_in_clear: told.tcp_sasl_without_encryption,
            bus: None,
            handed,
            controls: Arc::new(controls),
        };
        let doors = Doors::open(&libvirt, &places, opening).map_err(Trouble::Door)?;
        // Last: who waits for the daemon waits for this one.
        let listener = Listener::bind(&engine.rest_socket(), None).map_err(Trouble::Bind)?;
        let pid_file = self.pid_file.map(PidFile::write).transpose()?;
        info!(socket = %listener.path().display(), pid = std::process::id(), "daemon listens");
        tell_systemd(&[sd_notify::NotifyState::Ready]);
        tokio::spawn({
            let engine = engine.clone();
            async move { engine.autostart().await }
        });
        tokio::spawn(memory::keep_small());

        let (rest, lobby) = (listener.connections(), Arc::clone(doors.lobby()));
        let connected = move || rest.now() + lobby.gate.crowd().clients + lobby.admin_gate.crowd().clients;
        let end = async {
            tokio::select! {
                () = stop.wait(doors.lobby()) => {}
                () = told_to_stop.notified() => {}
                () = patience.end(engine.clone(), connected) => {}
            }
        };
        lodge_http::serve(engine.clone(), listener, end).await;
        tell_systemd(&[sd_notify::NotifyState::Stopping]);
        libvirt.close().await;
        engine.close().await;
        drop(pid_file);
        info!("daemon stopped; guests and networks run on");
        Ok(())
    }
}

/// The file with the process's number. It goes when this is dropped.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: PathBuf) -> Result<Self, Trouble> {
        match std::fs::write(&path, format!("{}\n", std::process::id())) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(Trouble::PidFile { path, source }),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody may have taken it away already.
        drop(std::fs::remove_file(&self.0));
    }
}

/// Only systemd asks to be told, by an environment variable; elsewhere nothing happens.
fn tell_systemd(states: &[sd_notify::NotifyState<'_>]) {
    // In the background the one who listened has gone.
    let heard = states.iter().any(|state| matches!(state, sd_notify::NotifyState::Ready));
    if !heard && std::env::var_os(background::MARK).is_some() {
        return;
    }
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd not told");
    }
}

/// The signals that end the daemon.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    reload: tokio::signal::unix::Signal,
}

impl Stop {
    /// From now on they no longer kill it.
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves when one came. SIGHUP reads the certificates anew and ends nothing.
    async fn wait(mut self, lobby: &lodge_libvirt::door::Lobby) {
        let name = loop {
            tokio::select! {
                _ = self.terminate.recv() => break "SIGTERM",
                _ = self.interrupt.recv() => break "SIGINT",
                _ = self.reload.recv() => match lobby.tls.as_ref().map(|tls| tls.reload()) {
                    Some(Err(error)) => tracing::warn!(error = chain(&error), "certificates stay as they were"),
                    Some(Ok(())) => info!("certificates read anew"),
                    None => info!("SIGHUP: nothing to read anew"),
                },
            }
        };
        info!(signal = name, "daemon stops");
    }
}

/// Why there is no daemon.
#[derive(Debug)]
enum Trouble {
    Runtime(std::io::Error),
    Root(RootError),
    Settings(settings::SettingsError),
    Signals(std::io::Error),
    Open(EngineError),
    Bind(BindError),
    Doors(lodge_libvirt::SettingsError),
    Door(DoorError),
    Handed(std::io::Error),
    PidFile { path: PathBuf, source: std::io::Error },
}

impl Trouble {
    /// What failed, why, what to do next.
    fn text(&self) -> String {
        let (error, hint) = match self {
            Self::Runtime(error) => (format!("cannot start threads: {error}"), None),
            Self::Root(error) => (chain(error), error.hint()),
            Self::Settings(error) => (chain(error), Some(error.hint().to_owned())),
            Self::Signals(error) => (format!("cannot take signals: {error}"), None),
            Self::Open(error) => (error.body().to_string(), error.hint().map(str::to_owned)),
            Self::Doors(error) => (chain(error), Some(error.hint().to_owned())),
            Self::Door(error) => (chain(error), error.hint().map(str::to_owned)),
            Self::Handed(error) => (format!("cannot take systemd's sockets: {error}"), None),
            Self::PidFile { path, source } => (format!("cannot write `{}`: {source}", path.display()), None),
            Self::Bind(error) => (chain(error), error.hint().map(str::to_owned)),
        };
        let hint = hint.map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
        format!("error: the daemon does not start: {error}\n{hint}")
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
