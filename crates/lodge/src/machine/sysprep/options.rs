//! virt-sysprep's options that change files, in the order in which they were said: a later one sees what an earlier one did.
//!
//! They are a table and not fields, for clap's derived structs forget the order between options. The ones that are refused
//! are known here, so that they are not taken for a slip of the pen; why they are refused says the daemon.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::failure::{Failure, invalid};

const HEADING: &str = "What else is to be in the guest (done in the order in which it is said)";

/// One of virt-sysprep's options.
struct Known {
    name: &'static str,
    /// What it takes. None: it is a flag.
    value: Option<&'static str>,
    /// What it does. None: it is refused, and shown nowhere.
    about: Option<&'static str>,
}

const fn takes(name: &'static str, value: &'static str, about: &'static str) -> Known {
    Known { name, value: Some(value), about: Some(about) }
}

const fn flag(name: &'static str, about: &'static str) -> Known {
    Known { name, value: None, about: Some(about) }
}

const fn refused(name: &'static str, value: &'static str) -> Known {
    Known { name, value: Some(value), about: None }
}

const fn refused_flag(name: &'static str) -> Known {
    Known { name, value: None, about: None }
}

const OPTIONS: &[Known] = &[
    takes("append-line", "FILE:LINE", "A line more at the end of a file"),
    takes("chmod", "PERMISSIONS:FILE", "Other permissions; decimal, unless a 0 stands before them"),
    takes("chown", "UID:GID:PATH", "Another owner, in numbers"),
    takes(
        "commands-from-file",
        "FILE",
        "These options from a file, one a line, without dashes: `write /etc/motd:hello`",
    ),
    takes("copy", "SOURCE:DEST", "Copy a file inside the guest"),
    takes("copy-in", "LOCALPATH:DIRECTORY", "Copy a file or a directory into a directory of the guest's"),
    takes(
        "delete",
        "PATH",
        "Remove a file, or a directory with all that is in it; `*` stands for any letters",
    ),
    refused("edit", "FILE:EXPR"),
    takes("firstboot", "SCRIPT", "Have the guest run a script at its next boot, as root"),
    takes("firstboot-command", "COMMAND", "Have the guest run a command at its next boot, as root"),
    takes("firstboot-install", "PACKAGES", "Have the guest install packages at its next boot"),
    refused("inject-blnsvr", "METHOD"),
    refused("inject-qemu-ga", "METHOD"),
    refused("inject-virtio-win", "METHOD"),
    refused("install", "PACKAGES"),
    refused("key", "SELECTOR"),
    refused_flag("keys-from-stdin"),
    takes("link", "TARGET:LINK[:LINK]", "A symbolic link to a target"),
    takes("mkdir", "DIRECTORY", "A directory, and those on the way to it"),
    refused("mount-options", "OPTIONS"),
    takes("move", "SOURCE:DEST", "Move a file inside the guest"),
    refused_flag("network"),
    flag("no-network", "So it is always: nothing of the guest's runs, with or without a network"),
    flag("no-logfile", "So it is always: no log of this is left in the guest"),
    takes(
        "password",
        "USER:SELECTOR",
        "A user's password: password:WORD, file:FILE, random, disabled, locked[:…] or crypt:HASH",
    ),
    takes("root-password", "SELECTOR", "The same of root"),
    refused("run", "SCRIPT"),
    refused("run-command", "COMMAND"),
    refused("script", "PROGRAM"),
    refused("scriptdir", "DIRECTORY"),
    refused("scrub", "FILE"),
    flag("selinux-relabel", "Have the guest label all its files anew at its next boot"),
    refused("sm-attach", "SELECTOR"),
    refused("sm-credentials", "SELECTOR"),
    refused_flag("sm-register"),
    refused_flag("sm-remove"),
    refused_flag("sm-unregister"),
    takes(
        "ssh-inject",
        "USER[:SELECTOR]",
        "A public key that lets somebody in: file:FILE, string:KEY, or yours from ~/.ssh",
    ),
    refused("tar-in", "TARFILE:DIRECTORY"),
    takes("timezone", "TIMEZONE", "The time zone, like Europe/London"),
    takes("touch", "FILE", "A file, empty where there is none"),
    takes("truncate", "FILE", "A file with nothing in it any more"),
    takes("truncate-recursive", "DIRECTORY", "The same of all files in a directory"),
    refused("uninstall", "PACKAGES"),
    refused_flag("update"),
    takes("upload", "FILE:DEST", "A file of yours, with its owner and permissions"),
    takes("write", "FILE:CONTENT", "A file with this in it"),
];

/// Lines that a file of commands may have.
const LINES_MAX: usize = 10_000;

/// Options and their values, in their order.
#[derive(Debug, Default)]
pub struct Said(Vec<(String, String)>);

impl Said {
    /// The same, with those of files of commands in their place.
    pub fn in_order(self) -> Result<Vec<(String, String)>, Failure> {
        let mut all = Vec::new();
        for (name, value) in self.0 {
            if name == "commands-from-file" {
                let text = std::fs::read_to_string(&value)
                    .map_err(|error| invalid(format!("cannot read `{value}`")).because(error))?;
                all.extend(commands(&text).map_err(|why| invalid(format!("{value}: {why}")))?);
            } else {
                all.push((name, value));
            }
        }
        Ok(all)
    }
}

/// The options in a file: one a line, its value after it. A line that ends with a backslash goes on in the next.
fn commands(text: &str) -> Result<Vec<(String, String)>, String> {
    let joined = text.replace("\\\n", "");
    let mut all = Vec::new();
    for line in joined.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let known = OPTIONS.iter().find(|known| known.name == name && name != "commands-from-file");
        let Some(known) = known else { return Err(format!("`{name}` is no command")) };
        if let Some(form) = known.value.filter(|_| value.trim().is_empty()) {
            return Err(format!("`{name}` lacks {form}"));
        }
        all.push((name.to_owned(), value.trim_start().to_owned()));
        if all.len() > LINES_MAX {
            return Err(format!("there are more than {LINES_MAX} commands"));
        }
    }
    Ok(all)
}

impl Args for Said {
    fn augment_args(command: Command) -> Command {
        let argument = |known: &Known| {
            let argument = Arg::new(known.name).long(known.name).help_heading(HEADING);
            let argument = match known.value {
                Some(form) => argument.value_name(form).action(ArgAction::Append).allow_hyphen_values(true),
                None => argument.action(ArgAction::SetTrue),
            };
            match known.about {
                Some(about) => argument.help(about),
                None => argument.hide(true),
            }
        };
        OPTIONS.iter().map(argument).fold(command, Command::arg)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Said {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut all: Vec<(usize, String, String)> = Vec::new();
        for Known { name, value, .. } in OPTIONS {
            if matches.value_source(name) != Some(ValueSource::CommandLine) {
                continue;
            }
            let places = matches.indices_of(name).into_iter().flatten();
            let values: Vec<String> = match value {
                Some(_) => matches.get_many(name).into_iter().flatten().cloned().collect(),
                None => vec![String::new()],
            };
            all.extend(places.zip(values).map(|(place, value)| (place, (*name).to_owned(), value)));
        }
        all.sort_by_key(|(place, ..)| *place);
        Ok(Self(all.into_iter().map(|(_, name, value)| (name, value)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Vec<(String, String)> {
        let command = Said::augment_args(Command::new("sysprep").no_binary_name(true));
        Said::from_arg_matches(&command.get_matches_from(line.split(' '))).unwrap().0
    }

    #[test]
    fn options_keep_their_order() {
        let shown = |line: &str| {
            said(line)
                .into_iter()
                .map(|(name, value)| format!("{name} {value}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(
            shown("--write /a:1 --mkdir /b --write /c:2 --selinux-relabel --delete /d --update"),
            "write /a:1, mkdir /b, write /c:2, selinux-relabel , delete /d, update "
        );
        assert_eq!(shown("--chmod 0644:/a --append-line /a:-x"), "chmod 0644:/a, append-line /a:-x");
    }

    #[test]
    fn commands_are_read_from_files() {
        let text = "# a comment\n\nwrite /etc/motd:hello there\n  mkdir /srv\nappend-line /etc/hosts:\\\n1.2.3.4 x\nupdate\n";
        let all = commands(text).unwrap();
        let shown: Vec<String> = all.into_iter().map(|(name, value)| format!("{name}|{value}")).collect();
        assert_eq!(
            shown,
            ["write|/etc/motd:hello there", "mkdir|/srv", "append-line|/etc/hosts:1.2.3.4 x", "update|"]
        );
        for bad in ["colour x", "write", "commands-from-file x"] {
            assert!(commands(bad).is_err(), "{bad}");
        }
    }
}
