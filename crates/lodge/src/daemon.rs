//! `lodge daemon`, and the other processes this program can be: netd, the KVM probe.
//!
//! The daemon's life, in order: open the engine (which recovers what a crash left and adopts what runs), listen,
//! say so, start what is marked for autostart, serve, and on SIGTERM or SIGINT stop serving. Guests and networks
//! run on: the next daemon adopts them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use lodge_engine::{Config, Engine, EngineError};
use lodge_http::{BindError, Listener};
use lodge_store::{Root, RootError};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::output;

mod log;
mod settings;

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

impl Daemon {
    fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(self.serve()),
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

    async fn serve(self) -> Result<(), Trouble> {
        let places = Root::new(self.root.clone()).map_err(Trouble::Root)?;
        let fallback = settings::fallback(self.accelerator_fallback, &places).map_err(Trouble::Settings)?;
        log::start(&places.logs());
        let stop = Stop::listen().map_err(Trouble::Signals)?;

        let config =
            Config { root: self.root, accelerator_fallback: fallback == Fallback::Allow, program: None };
        let engine = Engine::open(config).await.map_err(Trouble::Open)?;
        let listener = Listener::bind(&engine.rest_socket(), None).map_err(Trouble::Bind)?;
        let libvirt = lodge_libvirt::Server::new(engine.clone());
        lodge_libvirt::listen(&libvirt).map_err(Trouble::Libvirt)?;
        info!(socket = %listener.path().display(), pid = std::process::id(), "daemon listens");
        tell_systemd(&[sd_notify::NotifyState::Ready]);
        tokio::spawn({
            let engine = engine.clone();
            async move { engine.autostart().await }
        });

        lodge_http::serve(engine.clone(), listener, stop.wait()).await;
        tell_systemd(&[sd_notify::NotifyState::Stopping]);
        libvirt.close().await;
        engine.close().await;
        info!("daemon stopped; guests and networks run on");
        Ok(())
    }
}

/// Only systemd asks to be told, by an environment variable; elsewhere nothing happens.
fn tell_systemd(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd not told");
    }
}

/// The signals that end the daemon.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    /// From now on they no longer kill it.
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
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
    Libvirt(lodge_libvirt::ListenError),
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
            Self::Libvirt(error) => (chain(error), None),
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
