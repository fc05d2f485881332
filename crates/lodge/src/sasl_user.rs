//! Verbs about who comes in by libvirt's protocol: `sasl-user`, `install-links`. They work on files of the host, with
//! or without a daemon; a running daemon sees a change at the next login.

use std::io::{IsTerminal, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use lodge_libvirt::door::Users;
use lodge_store::Root;

use crate::{called, output, terminal};

/// Longest password that is read.
const PASSWORD_MAX_BYTES: u64 = 1024;

/// About the doors.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Who may log in with name and password (SASL) where libvirtd.conf asks for it
    SaslUser(SaslUser),
    /// Make the links that let libvirt's clients find this program: libvirtd, virtqemud, virt-ssh-helper …
    InstallLinks(InstallLinks),
}

#[derive(Debug, Args)]
pub struct SaslUser {
    #[command(subcommand)]
    act: Act,
    /// The daemon's root directory [default: / as root, else this user's own directories]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Add a user, or change the password. It is asked for, or read from standard input
    Add {
        /// The user's name
        name: String,
    },
    /// Show who there is
    List,
    /// Take a user out
    Rm {
        /// The user's name
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct InstallLinks {
    /// The directory under which `sbin/libvirtd`, `bin/virt-ssh-helper` … are made
    #[arg(long, default_value = "/usr/local", value_name = "DIR")]
    prefix: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// Runs one of them.
pub fn run(verb: Verb) -> ExitCode {
    let outcome = match verb {
        Verb::SaslUser(verb) => verb.run(),
        Verb::InstallLinks(verb) => verb.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            output::complain(&format!("error: {text}\n"));
            ExitCode::FAILURE
        }
    }
}

impl SaslUser {
    fn run(self) -> Result<(), String> {
        let root = Root::new(self.root).map_err(|error| error.to_string())?;
        let users = Users::at(root.configuration().join("sasl-users"));
        let told = |error: lodge_libvirt::door::UsersError| {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            format!("{error}{cause}{hint}")
        };
        match self.act {
            Act::Add { name } => users.set(&name, &password(&name)?).map_err(told),
            Act::Rm { name } => users.remove(&name).map_err(told),
            Act::List => {
                let names = users.names().map_err(told)?;
                for name in names {
                    output::print(&format!("{name}\n"));
                }
                Ok(())
            }
        }
    }
}

/// From the terminal twice and unseen, else the first line of standard input.
fn password(name: &str) -> Result<String, String> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        let mut text = String::new();
        let read = input.lock().take(PASSWORD_MAX_BYTES).read_to_string(&mut text);
        read.map_err(|error| format!("cannot read the password: {error}"))?;
        return Ok(text.lines().next().unwrap_or_default().to_owned());
    }
    let first = ask(&format!("Password for {name}: "))?;
    if first == ask("Again: ")? { Ok(first) } else { Err("the two differ".to_owned()) }
}

fn ask(prompt: &str) -> Result<String, String> {
    terminal::hidden_line(prompt).map_err(|error| format!("cannot read the password: {error}"))
}

impl InstallLinks {
    fn run(self) -> Result<(), String> {
        let program =
            std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
        let daemons = called::DAEMONS.iter().map(|name| self.prefix.join("sbin").join(name));
        let links: Vec<_> = daemons.chain([self.prefix.join("bin").join(called::SSH_HELPER)]).collect();
        if !self.force
            && let Some(there) = links.iter().find(|link| is_foreign(link, &program))
        {
            return Err(format!("`{}` is there already; --force replaces it", there.display()));
        }
        for link in links {
            place(&link, &program).map_err(|error| format!("cannot make `{}`: {error}", link.display()))?;
            output::print(&format!("{} -> {}\n", link.display(), program.display()));
        }
        Ok(())
    }
}

fn is_foreign(link: &Path, program: &Path) -> bool {
    link.symlink_metadata().is_ok() && std::fs::read_link(link).ok().as_deref() != Some(program)
}

/// The link takes the name at once: nobody finds nothing there.
fn place(link: &Path, program: &Path) -> std::io::Result<()> {
    let directory = link.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let unnamed = directory.join(format!(".lodge-link-{}", std::process::id()));
    symlink(program, &unnamed)?;
    std::fs::rename(&unnamed, link).inspect_err(|_| drop(std::fs::remove_file(&unnamed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_and_foreign_files_stay() {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().to_owned();
        let install = |force| InstallLinks { prefix: prefix.clone(), force }.run();
        std::fs::create_dir_all(prefix.join("sbin")).unwrap();
        std::fs::write(prefix.join("sbin/libvirtd"), "another").unwrap();
        assert!(install(false).unwrap_err().contains("sbin/libvirtd"));
        assert!(!prefix.join("sbin/virtqemud").exists());
        install(true).unwrap();
        install(false).unwrap();
        assert_eq!(
            std::fs::read_link(prefix.join("bin/virt-ssh-helper")).unwrap(),
            std::env::current_exe().unwrap()
        );
    }
}
