//! Completion at the prompt: verbs, options, and the names of what the daemon has.

use clap::Command;
use rustyline::Context;
use rustyline::Helper;
use rustyline::completion::{Completer as Completing, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;

/// What the daemon has, as far as it was asked.
#[derive(Debug, Default)]
pub struct Names {
    pub domains: Vec<String>,
    pub networks: Vec<String>,
    pub images: Vec<String>,
}

/// rustyline's helper of the prompt.
pub struct Completer {
    grammar: Command,
    names: Names,
}

impl Completer {
    /// Knows no names yet.
    pub fn new(grammar: Command) -> Self {
        Self { grammar, names: Names::default() }
    }

    /// Takes in the names of now.
    pub fn learn(&mut self, names: Names) {
        self.names = names;
    }

    /// What may stand where `line` ends, and where the word it would replace begins.
    fn candidates(&self, line: &str) -> (usize, Vec<String>) {
        let line_start = line.rfind(';').map_or(0, |at| at + 1);
        let start = line.rfind([' ', ';']).map_or(0, |at| at + 1);
        let (before, word) = (&line[line_start..start], &line[start..]);
        let mut command = &self.grammar;
        for known in before.split_whitespace() {
            command = command.find_subcommand(known).unwrap_or(command);
        }
        let all = if command.has_subcommands() {
            command
                .get_subcommands()
                .filter(|below| !below.is_hide_set())
                .map(|below| below.get_name().to_owned())
                .collect()
        } else if word.starts_with('-') {
            command
                .get_arguments()
                .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
                .collect()
        } else {
            self.names_for(command)
        };
        (start, all.into_iter().filter(|candidate| candidate.starts_with(word)).collect())
    }

    fn names_for(&self, command: &Command) -> Vec<String> {
        let wanted = command.get_positionals().next().and_then(|argument| argument.get_value_names());
        let names = match wanted.and_then(|names| names.first()).map(clap::builder::Str::as_str) {
            Some("domain") => &self.names.domains,
            Some("network") => &self.names.networks,
            Some("IMAGE") => &self.names.images,
            _ => return Vec::new(),
        };
        names.iter().map(|name| quoted(name)).collect()
    }
}

impl Helper for Completer {}
impl Highlighter for Completer {}
impl Validator for Completer {}
impl Hinter for Completer {
    type Hint = String;
}

/// A name with a blank is one word.
fn quoted(name: &str) -> String {
    if name.contains([' ', '\'', '"', ';', '\\']) { format!("'{name}'") } else { name.to_owned() }
}

impl Completing for Completer {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = self.candidates(line.get(..at).unwrap_or(line));
        let pair = |word: String| Pair { display: word.clone(), replacement: word + " " };
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_options_and_names() {
        let mut completer = Completer::new(crate::args::grammar());
        completer.learn(Names {
            domains: vec!["web1".into(), "web two".into()],
            networks: vec!["default".into()],
            images: vec!["debian-12".into()],
        });
        let found = |line: &str| completer.candidates(line).1.join(" ");
        assert_eq!(found("domi"), "domid dominfo domiflist domifaddr domifstat");
        assert_eq!(found("start web"), "web1");
        assert_eq!(found("destroy --gr"), "--graceful");
        assert_eq!(found("net-start d"), "default");
        assert_eq!(found("image b"), "build");
        assert_eq!(found("image build d"), "debian-12");
        assert_eq!(found("domid x; start "), "web1 'web two'");
        assert_eq!(completer.candidates("start web").0, 6);
    }
}
