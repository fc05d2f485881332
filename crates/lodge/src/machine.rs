//! Verbs on what a machine is: `clone template identity sysprep virt-clone`.
//!
//! `virt-clone` takes the options of the program of that name; what of them has no meaning here is refused by name.

use clap::Subcommand;

use crate::failure::Failure;
use crate::session::Session;

mod clone;
mod identity;
mod keys;
mod sysprep;
mod template;
mod virt_clone;

/// Verbs on what a machine is.
#[derive(Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
pub enum Verb {
    /// Make other machines of a domain that is shut off, or of a template
    Clone(clone::Clone),
    /// Templates: master copies of domains, read-only, by name and version
    #[command(subcommand)]
    Template(template::Verb),
    /// What makes a machine this machine, and what became of it
    #[command(subcommand)]
    Identity(identity::Verb),
    /// Take the identity and the traces of users out of domains, with the options of the program virt-sysprep
    Sysprep(sysprep::Sysprep),
    /// As `clone`, with the options of the program virt-clone
    VirtClone(virt_clone::VirtClone),
}

/// Runs one of them.
pub async fn run(verb: Verb, session: &mut Session) -> Result<(), Failure> {
    match verb {
        Verb::Clone(verb) => verb.run(session).await,
        Verb::Template(verb) => verb.run(session).await,
        Verb::Identity(verb) => verb.run(session).await,
        Verb::Sysprep(verb) => verb.run(session).await,
        Verb::VirtClone(verb) => verb.run(session).await,
    }
}

/// The words of a verb as its own grammar wants them: `-o` is `--original` to those who know virt-clone, and `--output`
/// to all other verbs.
pub fn settle(mut words: Vec<std::ffi::OsString>, verb: Option<usize>) -> Vec<std::ffi::OsString> {
    let Some(at) = verb.filter(|at| words[*at] == "virt-clone") else { return words };
    for word in &mut words[at + 1..] {
        let Some(text) = word.to_str() else { continue };
        if text == "-o" {
            *word = "--original".into();
        } else if let Some(name) = text.strip_prefix("-o").filter(|_| !text.starts_with("--")) {
            *word = format!("--original={}", name.strip_prefix('=').unwrap_or(name)).into();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::settle;

    #[test]
    fn the_original_is_named_as_virt_clones_users_do() {
        let settled = |line: &str| {
            let words = line.split(' ').map(Into::into).collect();
            let words = settle(words, Some(1));
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(settled("lodge virt-clone -o a -n b"), "lodge virt-clone --original a -n b");
        assert_eq!(
            settled("lodge virt-clone -oa --output json"),
            "lodge virt-clone --original=a --output json"
        );
        assert_eq!(settled("lodge clone -o json"), "lodge clone -o json");
    }
}
