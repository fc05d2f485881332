//! The names this program is called by besides its own.
//!
//! A link named like one of libvirt's daemons is `lodge daemon` with that daemon's options: that is how libvirt's
//! clients start a user's session (`libvirtd --timeout=120`). A link named `virt-ssh-helper` is the byte pump of
//! `qemu+ssh://`. `lodge install-links` makes them.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use crate::{output, ssh_helper};

/// libvirt's daemons that clients may start or units may name.
pub const DAEMONS: [&str; 9] = [
    "libvirtd",
    "virtqemud",
    "virtnetworkd",
    "virtstoraged",
    "virtnodedevd",
    "virtsecretd",
    "virtnwfilterd",
    "virtinterfaced",
    "virtproxyd",
];
/// The other end of `qemu+ssh://`.
pub const SSH_HELPER: &str = "virt-ssh-helper";

/// The libvirt whose options, sockets and protocol these are.
const LIBVIRT_VERSION: &str = "11.3.0";

/// What the words mean under the name the program was called by.
pub enum Called {
    /// Its own verbs.
    Plain(Vec<OsString>),
    /// Done already.
    Done(ExitCode),
}

/// Reads the name.
pub fn settle(words: Vec<OsString>) -> Called {
    let name = words.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str);
    match name {
        Some(SSH_HELPER) => Called::Done(ssh_helper::run(words)),
        Some(daemon) if DAEMONS.contains(&daemon) => {
            if words.iter().any(|word| word == "--version" || word == "-V") {
                let own = env!("CARGO_PKG_VERSION");
                output::print(&format!("{daemon} (lodge {own}, libvirt) {LIBVIRT_VERSION}\n"));
                return Called::Done(ExitCode::SUCCESS);
            }
            let own = [OsString::from("lodge"), OsString::from("daemon")];
            Called::Plain(own.into_iter().chain(words.into_iter().skip(1)).collect())
        }
        _ => Called::Plain(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(words: &[&str]) -> Vec<OsString> {
        match settle(words.iter().map(OsString::from).collect()) {
            Called::Plain(words) => words,
            Called::Done(_) => panic!("it is done already"),
        }
    }

    #[test]
    fn a_daemons_name_is_our_daemon() {
        assert_eq!(plain(&["/usr/sbin/libvirtd", "--timeout=120"]), ["lodge", "daemon", "--timeout=120"]);
        assert_eq!(plain(&["virtqemud", "-d", "-t", "5"]), ["lodge", "daemon", "-d", "-t", "5"]);
        assert_eq!(plain(&["lodge", "list"]), ["lodge", "list"]);
    }
}
