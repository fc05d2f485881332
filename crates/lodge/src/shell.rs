//! `shell`: the same verbs at a prompt, over one connection, with history and completion; and the verbs that only
//! mean something there (`cd`, `connect`, `quit`), which virsh has at its top level too.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use rustyline::Editor;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;

use crate::args::{self, Global};
use crate::failure::{Failure, invalid};
use crate::help::Help;
use crate::output;
use crate::session::Session;
use crate::virsh;

mod complete;

/// Verbs of the shell.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// The interactive shell: the same commands at a prompt, with history and completion
    Shell(NoOption),
    /// print help
    Help(Help),
    /// quit this interactive terminal
    Quit,
    /// quit this interactive terminal
    Exit,
    /// change the current directory
    Cd(Cd),
    /// print the current directory
    Pwd,
    /// echo arguments
    Echo(Echo),
    /// (re)connect to a daemon
    Connect(Connect),
}

/// Takes nothing.
#[derive(Debug, Args)]
pub struct NoOption {}

#[derive(Debug, Args)]
pub struct Cd {
    /// directory to switch to (default: home or else root)
    #[arg(value_name = "dir")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Echo {
    /// arguments to echo
    #[arg(value_name = "string")]
    words: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Connect {
    /// the daemon: a socket's path, a root directory, or a URI
    #[arg(value_name = "name")]
    name: Option<String>,
}

/// Runs one of them outside of the shell, or those that are the same inside.
pub fn run_verb(verb: Verb, session: &mut Session) -> Result<(), Failure> {
    match verb {
        Verb::Help(help) => output::print(&help.text()?),
        Verb::Echo(echo) => output::print(&format!("{}\n", echo.words.join(" "))),
        Verb::Pwd => {
            let here = std::env::current_dir()
                .map_err(|error| invalid("cannot get the current directory").because(error))?;
            output::print(&format!("{}\n", here.display()));
        }
        Verb::Quit | Verb::Exit => {}
        Verb::Cd(_) => return Err(invalid("cd: command valid only in interactive mode")),
        Verb::Connect(connect) => session.reconnect(connect.name),
        Verb::Shell(_) => return Err(invalid("this is the shell already")),
    }
    Ok(())
}

/// The prompt's loop.
pub fn run(global: Global) -> ExitCode {
    let runtime = args::runtime();
    let mut session = Session::new(global);
    let mut editor = match Editor::<complete::Completer, FileHistory>::new() {
        Ok(editor) => editor,
        Err(error) => {
            output::complain(&format!("error: cannot read from this terminal: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    editor.set_helper(Some(complete::Completer::new(args::grammar())));
    let history = history_file();
    if let Some(file) = &history {
        // There is none at the first time.
        drop(editor.load_history(file));
    }
    session.say(
        "Welcome to lodge, the virtualization interactive terminal.\n\nType:  'help' for help with commands\n       \
         'quit' to quit\n\n",
    );
    let mut code = ExitCode::SUCCESS;
    loop {
        if let Some(helper) = editor.helper_mut() {
            helper.learn(runtime.block_on(names(&mut session)));
        }
        match editor.readline("lodge # ") {
            Ok(line) => {
                // A line that cannot be kept in the history is still a line.
                drop(editor.add_history_entry(line.as_str()));
                match runtime.block_on(run_line(&line, &mut session)) {
                    Some(ended) => code = ended,
                    None => break,
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => {
                output::print("\n");
                break;
            }
            Err(error) => {
                output::complain(&format!("error: cannot read from this terminal: {error}\n"));
                code = ExitCode::FAILURE;
                break;
            }
        }
    }
    if let Some(file) = &history {
        drop(std::fs::create_dir_all(file.parent().unwrap_or(file)));
        drop(editor.save_history(file));
    }
    runtime.shutdown_background();
    code
}

/// Runs a line's commands; `None`: the user quits.
async fn run_line(line: &str, session: &mut Session) -> Option<ExitCode> {
    let commands = match virsh::split(line) {
        Ok(commands) => commands,
        Err(why) => {
            output::complain(&format!("error: {why}\n"));
            return Some(ExitCode::FAILURE);
        }
    };
    let mut code = ExitCode::SUCCESS;
    for words in commands {
        let words = std::iter::once("lodge".to_owned()).chain(words).map(Into::into);
        let cli = match args::parse(words) {
            Ok(cli) => cli,
            Err(refusal) => {
                code = refusal.tell();
                continue;
            }
        };
        match cli.verb {
            args::Verb::Shell(Verb::Quit | Verb::Exit) => return None,
            args::Verb::Shell(Verb::Cd(cd)) => change_directory(cd),
            verb => {
                let laid_over = session.with(cli.global);
                let before = session.swap(laid_over);
                code = args::run_one(verb, session).await;
                session.swap(before);
            }
        }
    }
    Some(code)
}

fn change_directory(cd: Cd) {
    let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let directory = cd.dir.unwrap_or_else(home);
    if let Err(error) = std::env::set_current_dir(&directory) {
        output::complain(&format!("error: cd: {}: {error}\n", directory.display()));
    }
}

/// Guests' and networks' names for completion; none where no daemon answers.
async fn names(session: &mut Session) -> complete::Names {
    let Ok(client) = session.client().await else { return complete::Names::default() };
    let domains = client.domains(&lodge_client::api::DomainFilter::default()).await.unwrap_or_default();
    let networks = client.networks().await.unwrap_or_default();
    let images = client.images().await.unwrap_or_default();
    complete::Names {
        domains: domains.into_iter().map(|domain| domain.name).collect(),
        networks: networks.into_iter().map(|network| network.name).collect(),
        images: images.into_iter().map(|image| image.name).collect(),
    }
}

fn history_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(base.join("lodge/history"))
}
