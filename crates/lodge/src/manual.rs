//! Shell completion and man pages, made from the command line's own grammar.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use clap_complete::Shell;
use lodge_client::api::ErrorKind;

use crate::args;
use crate::failure::Failure;
use crate::output;
use crate::session::Session;

/// What describes the program itself.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Print the completion script for a shell
    Completion(Completion),
    /// Write the man pages into a directory
    Man(Man),
}

#[derive(Debug, Args)]
pub struct Completion {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct Man {
    /// The directory, as /usr/local/share/man/man1
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Runs one of them.
pub fn run(verb: Verb, session: &Session) -> Result<(), Failure> {
    match verb {
        Verb::Completion(Completion { shell }) => {
            output::print(&completion(shell));
            Ok(())
        }
        Verb::Man(Man { directory }) => {
            let count = pages(&directory).map_err(|error| {
                Failure::new(
                    ErrorKind::Internal,
                    format!("cannot write man pages to `{}`", directory.display()),
                )
                .because(error)
            })?;
            session.say(&format!("{count} man pages written to {}\n", directory.display()));
            Ok(())
        }
    }
}

fn completion(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::plain_grammar(), "lodge", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// One page per verb and one for the whole; how many.
fn pages(directory: &Path) -> std::io::Result<usize> {
    std::fs::create_dir_all(directory)?;
    let mut grammar = args::plain_grammar();
    grammar.build();
    let mut count = 0;
    page(&grammar, "lodge", directory, &mut count)?;
    Ok(count)
}

fn page(command: &clap::Command, name: &str, directory: &Path, count: &mut usize) -> std::io::Result<()> {
    let title: &'static str = Box::leak(name.to_owned().into_boxed_str());
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone().name(title)).render(&mut text)?;
    std::fs::write(directory.join(format!("{name}.1")), text)?;
    *count += 1;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
    {
        page(below, &format!("{name}-{}", below.get_name()), directory, count)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_the_verbs() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = completion(shell);
            assert!(script.contains("domifaddr") && script.contains("remove-all-storage"), "{shell}");
            assert!(!script.contains("__kvm-probe"), "{shell} shows what is hidden");
        }
    }

    #[test]
    fn every_verb_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        let count = pages(directory.path()).unwrap();
        assert!(count > 70, "{count}");
        for name in ["lodge", "lodge-start", "lodge-image-build"] {
            let text = std::fs::read_to_string(directory.path().join(format!("{name}.1"))).unwrap();
            assert!(text.contains(".SH DESCRIPTION") && text.len() > 300, "{name}: {text}");
        }
    }
}
