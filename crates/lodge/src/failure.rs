//! How a verb fails: what failed, why, what to do next, and the exit code.
//!
//! virsh's verbs print virsh's two lines (`error: Failed to start domain 'web1'`, `error: …`) and end with 1, so that
//! scripts go on; Lodge's own end with a code by the sort of failure. A hint line is ours on both.

use std::process::ExitCode;

use lodge_client::ClientError;
use lodge_client::api::{ErrorBody, ErrorKind};

use crate::args::Format;
use crate::output;
use crate::session::Session;

/// Why a verb did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    /// What failed, in virsh's words where virsh has some.
    what: Option<String>,
    /// The rest of it.
    body: ErrorBody,
    /// The exit code of a program that ran in our place (`ssh`); nothing is printed then.
    code: Option<u8>,
}

impl Failure {
    /// A failure of this program's own.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { what: None, body: ErrorBody::new(kind, message), code: None }
    }

    /// Ends with another program's code; that program has said why.
    pub fn silent(code: u8) -> Self {
        Self { code: Some(code), ..Self::new(ErrorKind::Internal, "") }
    }

    /// Adds what to do next, unless the daemon said it already.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint.get_or_insert(hint.into());
        self
    }

    /// Adds why.
    #[must_use]
    pub fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.body.causes.push(cause.to_string());
        self
    }

    /// Makes what was said the first line, and `why` the second.
    #[must_use]
    pub fn below(mut self, why: impl Into<String>) -> Self {
        self.what = Some(std::mem::replace(&mut self.body.message, why.into()));
        self
    }

    /// Puts `what` before what was said.
    #[must_use]
    pub fn below_what(self, what: impl Into<String>) -> Self {
        Self { what: Some(what.into()), ..self }
    }

    /// Lengthens the first of two lines: "Failed to save domain 'web1' to /file".
    #[must_use]
    pub fn further(mut self, words: &str) -> Self {
        self.what = self.what.map(|what| format!("{what} {words}"));
        self
    }

    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        self.body.kind
    }

    /// Prints it to standard error.
    pub fn tell(&self, session: &Session) {
        if self.code.is_some() {
            return;
        }
        let text = match session.format() {
            Format::Table => self.lines(),
            Format::Json => output::json(&self.body),
        };
        output::complain(&text);
    }

    /// virsh's lines, then the hint.
    fn lines(&self) -> String {
        let mut lines = String::new();
        let mut line = |mark: &str, text: &str| {
            lines.push_str(mark);
            lines.push_str(text.trim_end());
            lines.push('\n');
        };
        match &self.what {
            // "cannot start domain `web1`" after "Failed to start domain 'web1'" would say it twice.
            Some(what) => {
                line("error: ", what);
                let repeats = self.body.message.starts_with("cannot ") && !self.body.causes.is_empty();
                let why = if repeats { self.body.causes.join(": ") } else { self.body.to_string() };
                if !why.is_empty() && why != *what {
                    line("error: ", &why);
                }
            }
            None => line("error: ", &self.body.to_string()),
        }
        if let Some(hint) = &self.body.hint {
            line("hint: ", hint);
        }
        lines
    }

    /// 1 for virsh's verbs; for ours by [`code`].
    pub fn exit_code(&self, of_virsh: bool) -> ExitCode {
        ExitCode::from(self.code.unwrap_or(if of_virsh { 1 } else { code(self.kind()) }))
    }
}

/// The exit codes of Lodge's own verbs; `lodge help exit-codes` prints this table.
pub const EXIT_CODES: [(u8, &str); 13] = [
    (0, "done"),
    (1, "a fault of Lodge or of the host; any failure of a verb that virsh has too"),
    (2, "the request makes no sense, or was typed wrongly"),
    (3, "no such thing"),
    (4, "the name, UUID or address is taken"),
    (5, "the thing is not in a state that admits this"),
    (6, "another job has the thing"),
    (7, "it contradicts something that is already so, or was cancelled"),
    (8, "permission denied"),
    (9, "not possible here, or not yet"),
    (10, "a limit or the host's resources are used up"),
    (11, "no daemon, no answer, or not in time"),
    (12, "something stored or received is damaged"),
];

/// The exit code for a sort of failure. No wildcard: a new sort must choose.
fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Internal => 1,
        ErrorKind::InvalidInput => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::Exists => 4,
        ErrorKind::InvalidState => 5,
        ErrorKind::Busy => 6,
        ErrorKind::Conflict => 7,
        ErrorKind::Denied => 8,
        ErrorKind::Unsupported => 9,
        ErrorKind::Exhausted => 10,
        ErrorKind::Unavailable => 11,
        ErrorKind::Corrupt => 12,
    }
}

/// What was typed makes no sense.
pub fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::InvalidInput, message)
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self { what: None, body: error.body(), code: None }
    }
}

/// Puts virsh's first line before what the daemon said.
pub trait What<T> {
    /// `what` is a whole line: "Failed to start domain 'web1'".
    fn what(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
    /// For an act on a domain: an unknown one is told as virsh tells it.
    fn on_domain(self, dom: &str, what: &str) -> Result<T, Failure>;
    /// The same for a network.
    fn on_network(self, net: &str, what: &str) -> Result<T, Failure>;
}

impl<T> What<T> for Result<T, ClientError> {
    fn what(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure { what: Some(what()), ..Failure::from(error) })
    }

    fn on_domain(self, dom: &str, what: &str) -> Result<T, Failure> {
        self.map_err(|error| match error.kind() {
            ErrorKind::NotFound if what.is_empty() || names(&error, dom, "domain") => {
                Failure::new(ErrorKind::NotFound, format!("failed to get domain '{dom}'"))
                    .hint("`lodge list --all` shows the domains there are")
            }
            _ => Failure {
                what: (!what.is_empty()).then(|| format!("Failed to {what} domain '{dom}'")),
                ..Failure::from(error)
            },
        })
    }

    fn on_network(self, net: &str, what: &str) -> Result<T, Failure> {
        self.map_err(|error| match error.kind() {
            ErrorKind::NotFound if what.is_empty() || names(&error, net, "network") => {
                Failure::new(ErrorKind::NotFound, format!("failed to get network '{net}'"))
                    .hint("`lodge net-list --all` shows the networks there are")
            }
            _ => Failure {
                what: (!what.is_empty()).then(|| format!("Failed to {what} network {net}")),
                ..Failure::from(error)
            },
        })
    }
}

/// Whether what was not found is the domain or network itself, and not a file of it.
fn names(error: &ClientError, name: &str, sort: &str) -> bool {
    let message = error.to_string();
    message.contains(sort) && message.contains(name) && error.causes().is_empty()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn api(message: &str, causes: &[&str]) -> Result<(), ClientError> {
        let causes = causes.iter().map(ToString::to_string).collect();
        let body = ErrorBody { kind: ErrorKind::InvalidState, message: message.into(), hint: None, causes };
        Err(ClientError::Api(body))
    }

    #[test]
    fn nothing_is_said_twice() {
        let told = api("cannot start domain `web1`", &["domain is already running"]);
        let failure =
            told.on_domain("web1", "start").unwrap_err().hint("`lodge domstate web1` shows its state");
        expect![[r"
            error: Failed to start domain 'web1'
            error: domain is already running
            hint: `lodge domstate web1` shows its state
        "]]
        .assert_eq(&failure.lines());
    }

    #[test]
    fn an_unknown_domain_is_told_as_virsh_tells_it() {
        let body = ErrorBody::new(ErrorKind::NotFound, "there is no domain `web1`");
        let failure = Err::<(), _>(ClientError::Api(body)).on_domain("web1", "start").unwrap_err();
        expect![[r"
            error: failed to get domain 'web1'
            hint: `lodge list --all` shows the domains there are
        "]]
        .assert_eq(&failure.lines());
    }

    #[test]
    fn each_kind_has_its_own_code() {
        let mut codes: Vec<u8> = ErrorKind::ALL.map(code).to_vec();
        codes.sort_unstable();
        let listed: Vec<u8> = EXIT_CODES.iter().map(|(code, _)| *code).skip(1).collect();
        assert_eq!(codes, listed);
    }
}
