//! What was typed is not understood: clap's errors in virsh's words, where virsh has some.

use std::process::ExitCode;

use crate::{help, output};

/// What was typed is not understood, or asked for help: the message and the exit code.
pub struct Refusal {
    text: String,
    code: u8,
}

impl Refusal {
    /// clap's error in virsh's words, where virsh has some.
    pub fn of(error: &clap::Error, verb: Option<&str>) -> Self {
        use clap::error::ErrorKind as Sort;
        if matches!(error.kind(), Sort::DisplayHelp | Sort::DisplayVersion) {
            return Self { text: error.to_string(), code: 0 };
        }
        let text = virsh_words(error, verb).unwrap_or_else(|| error.to_string());
        Self { text, code: if verb.is_some_and(help::is_of_virsh) { 1 } else { 2 } }
    }

    /// The message.
    #[cfg(test)]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Prints it where it belongs.
    pub fn tell(&self) -> ExitCode {
        if self.code == 0 {
            output::print(&self.text);
        } else {
            output::complain(&self.text);
        }
        ExitCode::from(self.code)
    }
}

fn virsh_words(error: &clap::Error, verb: Option<&str>) -> Option<String> {
    use clap::error::{ContextKind, ContextValue, ErrorKind as Sort};
    let first = |kind| match error.get(kind)? {
        ContextValue::String(word) => Some(word.clone()),
        ContextValue::Strings(words) => words.first().cloned(),
        _ => None,
    };
    let verb = verb.unwrap_or("lodge");
    let mut text = match error.kind() {
        Sort::InvalidSubcommand => {
            format!("error: unknown command: '{}'\n", first(ContextKind::InvalidSubcommand)?)
        }
        Sort::MissingRequiredArgument => {
            format!("error: command '{verb}' requires {} option\n", first(ContextKind::InvalidArg)?)
        }
        Sort::UnknownArgument => {
            let word = first(ContextKind::InvalidArg)?;
            if word.starts_with('-') {
                format!("error: command '{verb}' doesn't support option {word}\n")
            } else {
                format!("error: unexpected data '{word}'\n")
            }
        }
        _ => return None,
    };
    match (first(ContextKind::SuggestedSubcommand).or(first(ContextKind::SuggestedArg)), verb) {
        (Some(near), _) => text += &format!("hint: did you mean `{near}`?\n"),
        (None, _) if error.kind() == Sort::InvalidSubcommand => {
            text += "hint: `lodge help` lists the commands\n";
        }
        (None, "lodge") => text += "hint: `lodge help` lists the commands\n",
        (None, verb) => text += &format!("hint: `lodge help {verb}` tells its options\n"),
    }
    Some(text)
}
