//! libvirt's configuration files as they are written: `key = value`, where a value is a number, a string or a list.
//!
//! ```text
//! tls_port = "16514"                 # strings in " or ', """ over several lines; no escapes
//! max_clients = 5000
//! tls_allowed_dn_list = [ "DN1",     # lists over several lines
//!                         "DN2" ]
//! ```
//!
//! Here, on the ground, because the doors' files and the guests' (`qemu.conf`) have one syntax. Only the syntax: what a
//! key means is the matter of who reads it. Every complaint names the file and the line, as libvirtd's do.

use std::fmt;
use std::path::{Path, PathBuf};

/// Longest file that is read: libvirt's own limit.
const FILE_MAX_BYTES: u64 = 1024 * 1024;
/// Most values in one list.
const LIST_MAX: usize = 4096;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is set.
    pub key: String,
    /// To what.
    pub value: Value,
    /// Where the key stands.
    pub line: usize,
}

/// What a key may be set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(i64),
    /// A string.
    Text(String),
    /// A list of strings (libvirt's daemons have no other lists).
    List(Vec<String>),
}

impl Value {
    /// The sort, for complaints.
    pub fn sort(&self) -> &'static str {
        match self {
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
        }
    }
}

/// A place in a file, as it is shown to people: `FILE:LINE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// It is there and cannot be opened, or is too long.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not in libvirt's syntax.
    #[error("{place}: {expected}")]
    Syntax {
        /// Where.
        place: Place,
        /// What should stand there.
        expected: &'static str,
    },
}

/// Reads a file; none if there is no such file.
pub fn read(path: &Path) -> Result<Option<Vec<Entry>>, ConfError> {
    let failed = |source| ConfError::Read { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if metadata.len() > FILE_MAX_BYTES => {
            return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
        }
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    parse(&text).map(Some).map_err(|(line, expected)| ConfError::Syntax {
        place: Place { file: path.to_owned(), line },
        expected,
    })
}

/// What went wrong, and in which line.
type Fault = (usize, &'static str);

/// Reads a file's text.
pub fn parse(text: &str) -> Result<Vec<Entry>, Fault> {
    let mut reader = Reader { rest: text, line: 1 };
    let mut entries = Vec::new();
    loop {
        reader.skip_blank_lines();
        if reader.rest.is_empty() {
            return Ok(entries);
        }
        entries.push(reader.entry()?);
    }
}

/// A string, or what stands there instead.
pub fn text(value: Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(format!("expected a string, got {}", other.sort())),
    }
}

/// A number, or what stands there instead.
pub fn number<N: TryFrom<i64>>(value: Value) -> Result<N, String> {
    match value {
        Value::Number(number) => N::try_from(number).map_err(|_| format!("{number} is out of range")),
        other => Err(format!("expected a number, got {}", other.sort())),
    }
}

/// Yes or no, as 1 and 0.
pub fn flag(value: Value) -> Result<bool, String> {
    match number(value)? {
        0_i64 => Ok(false),
        1 => Ok(true),
        other => Err(format!("is 0 or 1, not {other}")),
    }
}

/// A list; one string is a list of one.
pub fn list(value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::List(list) => Ok(list),
        Value::Text(one) => Ok(vec![one]),
        Value::Number(_) => Err("expected a list of strings, got a number".to_owned()),
    }
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.rest = &self.rest[next.len_utf8()..];
        self.line += usize::from(next == '\n');
        Some(next)
    }

    fn fault<T>(&self, expected: &'static str) -> Result<T, Fault> {
        Err((self.line, expected))
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r']);
    }

    fn skip_comment(&mut self) {
        if self.peek() == Some('#') {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.rest = &self.rest[end..];
        }
    }

    /// Spaces, comments and ends of lines.
    fn skip_blank_lines(&mut self) {
        loop {
            self.skip_spaces();
            self.skip_comment();
            if self.peek() != Some('\n') {
                return;
            }
            self.bump();
        }
    }

    fn entry(&mut self) -> Result<Entry, Fault> {
        let line = self.line;
        let key = self.key()?;
        self.skip_spaces();
        if self.bump() != Some('=') {
            return Err((line, "expecting an assignment: `key = value`"));
        }
        self.skip_spaces();
        let value = self.value()?;
        self.skip_spaces();
        self.skip_comment();
        match self.peek() {
            None => {}
            Some('\n') => {
                self.bump();
            }
            Some(_) => return self.fault("expecting a separator: one assignment per line"),
        }
        Ok(Entry { key, value, line })
    }

    fn key(&mut self) -> Result<String, Fault> {
        let of_key = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = self.rest.find(|c| !of_key(c)).unwrap_or(self.rest.len());
        let (key, rest) = self.rest.split_at(end);
        if !key.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return self.fault("expecting a name");
        }
        self.rest = rest;
        Ok(key.to_owned())
    }

    fn value(&mut self) -> Result<Value, Fault> {
        match self.peek() {
            Some('"' | '\'') => self.string().map(Value::Text),
            Some('[') => self.list().map(Value::List),
            Some(c) if c.is_ascii_digit() || c == '-' => self.number().map(Value::Number),
            _ => self.fault("expecting a value: a number, a \"string\" or a [ list ]"),
        }
    }

    fn number(&mut self) -> Result<i64, Fault> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        match digits.parse() {
            Ok(number) => {
                self.rest = rest;
                Ok(number)
            }
            Err(_) => self.fault("expecting a number"),
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        if let Some(rest) = self.rest.strip_prefix("\"\"\"") {
            let Some(end) = rest.find("\"\"\"") else {
                return self.fault("unterminated string: the closing \"\"\" is missing");
            };
            let text = rest[..end].to_owned();
            self.line += text.matches('\n').count();
            self.rest = &rest[end + 3..];
            return Ok(text);
        }
        let Some(quote) = self.bump() else { return self.fault("expecting a string") };
        match self.rest.find([quote, '\n']) {
            Some(end) if self.rest[end..].starts_with(quote) => {
                let text = self.rest[..end].to_owned();
                self.rest = &self.rest[end + 1..];
                Ok(text)
            }
            _ => self.fault("unterminated string: the closing quote is missing"),
        }
    }

    fn list(&mut self) -> Result<Vec<String>, Fault> {
        self.bump();
        let mut list = Vec::new();
        loop {
            self.skip_blank_lines();
            match self.peek() {
                Some(']') => {
                    self.bump();
                    break;
                }
                Some('"' | '\'') => list.push(self.string()?),
                _ => return self.fault("expecting a string or the list's closing ]"),
            }
            if list.len() > LIST_MAX {
                return self.fault("too long a list");
            }
            self.skip_blank_lines();
            match self.bump() {
                Some(',') => {}
                Some(']') => break,
                _ => return self.fault("expecting a separator in list: , or ]"),
            }
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Value {
        parse(text).unwrap().remove(0).value
    }

    #[test]
    fn values_of_every_sort_are_read() {
        assert_eq!(one("max_clients = 5000"), Value::Number(5000));
        assert_eq!(one("keepalive_interval=-1 # never"), Value::Number(-1));
        assert_eq!(one("tls_port = \"16514\"\n"), Value::Text("16514".into()));
        assert_eq!(one("tls_port = 'a\"b'"), Value::Text("a\"b".into()));
        assert_eq!(one("x = \"\"\"two\nlines\"\"\""), Value::Text("two\nlines".into()));
        assert_eq!(one("l = [ \"a\", # first\n\n 'b',\n]"), Value::List(vec!["a".into(), "b".into()]));
        assert_eq!(one("l = []"), Value::List(vec![]));
    }

    #[test]
    fn lines_are_counted_through_comments_and_lists() {
        let entries = parse("# c\n\na = 1\nl = [ 'x',\n'y' ]\n  b = 2").unwrap();
        let lines: Vec<_> = entries.iter().map(|entry| (entry.key.as_str(), entry.line)).collect();
        assert_eq!(lines, [("a", 3), ("l", 4), ("b", 6)]);
    }

    #[test]
    fn what_is_not_libvirts_syntax_is_refused_with_its_line() {
        for (text, line) in [
            ("a = 1\nb", 2),
            ("a = ", 1),
            ("a = \"x", 1),
            ("a = [ 'x'", 1),
            ("a = 1 2", 1),
            ("= 3", 1),
            ("a = --4", 1),
            ("a = 99999999999999999999", 1),
            ("a = [ [ 'x' ] ]", 1),
        ] {
            assert_eq!(parse(text).unwrap_err().0, line, "{text}");
        }
    }
}
