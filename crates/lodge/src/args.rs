//! What was typed, and where it goes.
//!
//! The verbs are flat, as virsh's are; each group lives in a file of its own and is flattened in here.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::failure::{self, Failure};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::{
    adopt, daemon, disk, domain, help, host, instance, machine, manual, network, network_filter, sasl_user,
    secret, shell, snapshot, storage, virsh,
};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "lodge", version, disable_help_subcommand = true, max_term_width = 110)]
#[command(about = "One program for a Linux host's virtual machines")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What stands before or after any verb.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// The daemon: a socket's path, a daemon's root directory, or a URI (lodge:///system, qemu:///session).
    /// Otherwise LODGE_CONNECT, the host's daemon, the user's own
    #[arg(short, long, global = true, value_name = "URI")]
    pub connect: Option<String>,
    /// How to print what is found
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
    /// Say only what was asked for: no headings, no progress, no confirmations
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, as virsh does
    #[default]
    Table,
    /// For programs: the API's documents
    Json,
}

/// Every verb. A group's enum is flattened, so a person sees one list.
#[derive(Debug, Subcommand)]
pub enum Verb {
    #[command(flatten)]
    Domain(domain::Verb),
    #[command(flatten)]
    Snapshot(snapshot::Verb),
    #[command(flatten)]
    Network(network::Verb),
    #[command(flatten)]
    NetworkFilter(network_filter::Verb),
    #[command(flatten)]
    Storage(storage::Verb),
    #[command(flatten)]
    Secret(secret::Verb),
    #[command(flatten)]
    Disk(disk::Verb),
    #[command(flatten)]
    Instance(instance::Verb),
    #[command(flatten)]
    Machine(machine::Verb),
    #[command(flatten)]
    Host(host::Verb),
    #[command(flatten)]
    Adopt(adopt::Verb),
    #[command(flatten)]
    Shell(shell::Verb),
    #[command(flatten)]
    Manual(manual::Verb),
    #[command(flatten)]
    Service(daemon::Verb),
    #[command(flatten)]
    Doors(sasl_user::Verb),
}

/// The command line's grammar as clap has it, for man pages and completion scripts.
pub fn plain_grammar() -> clap::Command {
    Cli::command()
}

/// The command line's grammar, with the grouped list of verbs as its help.
pub fn grammar() -> clap::Command {
    let plain = Cli::command();
    let overview = help::overview(&plain);
    plain.override_help(overview)
}

/// Reads what was typed; a refusal is a message and an exit code, help and version among them.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, Refusal> {
    let grammar = grammar();
    let words: Vec<OsString> = words.into_iter().collect();
    let at = virsh::verb(&words);
    let words = virsh::settle(&grammar, machine::settle(words, at));
    let verb = virsh::verb(&words).map(|at| words[at].to_string_lossy().into_owned());
    let matches =
        grammar.try_get_matches_from(words).map_err(|error| Refusal::of(&error, verb.as_deref()))?;
    Cli::from_arg_matches(&matches).map_err(|error| Refusal::of(&error, verb.as_deref()))
}

/// Does it. What serves or talks runs in its own way; all else is one task.
pub fn run(cli: Cli) -> ExitCode {
    let Cli { global, verb } = cli;
    match verb {
        Verb::Service(verb) => daemon::run(verb),
        Verb::Doors(verb) => sasl_user::run(verb),
        Verb::Shell(shell::Verb::Shell(_)) => shell::run(global),
        verb => {
            let runtime = runtime();
            let mut session = Session::new(global);
            let code = runtime.block_on(run_one(verb, &mut session));
            // Nothing of the runtime is worth waiting for: a blocked read of the terminal least of all.
            runtime.shutdown_background();
            code
        }
    }
}

/// One thread is enough for a client.
pub fn runtime() -> tokio::runtime::Runtime {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.expect("a runtime of one thread needs only an epoll descriptor")
}

/// Runs one verb to its end and tells how it went; virsh's verbs end with a blank line, as virsh's do.
pub async fn run_one(verb: Verb, session: &mut Session) -> ExitCode {
    let of_virsh = verb.is_of_virsh();
    let outcome = dispatch(verb, session).await;
    if of_virsh {
        session.say("\n");
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(session);
            failure.exit_code(of_virsh)
        }
    }
}

impl Verb {
    /// Whether virsh has this verb too: then its blank line, its exit code 1.
    fn is_of_virsh(&self) -> bool {
        match self {
            Self::Domain(_) | Self::NetworkFilter(_) | Self::Secret(_) | Self::Shell(_) => true,
            Self::Snapshot(verb) => verb.is_of_virsh(),
            Self::Network(verb) => verb.is_of_virsh(),
            Self::Storage(verb) => verb.is_of_virsh(),
            Self::Host(verb) => verb.is_of_virsh(),
            Self::Adopt(_)
            | Self::Disk(_)
            | Self::Instance(_)
            | Self::Machine(_)
            | Self::Manual(_)
            | Self::Service(_)
            | Self::Doors(_) => false,
        }
    }
}

async fn dispatch(verb: Verb, session: &mut Session) -> Result<(), Failure> {
    match verb {
        Verb::Domain(verb) => domain::run(verb, session).await,
        Verb::Snapshot(verb) => snapshot::run(verb, session).await,
        Verb::Network(verb) => network::run(verb, session).await,
        Verb::NetworkFilter(verb) => network_filter::run(verb, session).await,
        Verb::Storage(verb) => storage::run(verb, session).await,
        Verb::Secret(verb) => secret::run(verb, session).await,
        Verb::Disk(verb) => disk::run(verb, session).await,
        Verb::Instance(verb) => instance::run(verb, session).await,
        Verb::Machine(verb) => machine::run(verb, session).await,
        Verb::Host(verb) => host::run(verb, session).await,
        Verb::Adopt(verb) => adopt::run(verb, session).await,
        Verb::Shell(verb) => shell::run_verb(verb, session),
        Verb::Manual(verb) => manual::run(verb, session),
        Verb::Service(_) => Err(failure::invalid("this serves, and is not run from the shell")),
        Verb::Doors(_) => {
            Err(failure::invalid("this is about files of the host, and is not run from the shell"))
        }
    }
}

#[cfg(test)]
mod tests;
