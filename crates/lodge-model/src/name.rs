//! Names of domains, networks, pools and volumes: what libvirt accepts, and no more than a file name can hold.
//!
//! A definition lives in a file of its name (`NAME.xml`), so a name is never a path.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest name in bytes: `NAME.xml.new` must fit a file name of 255.
pub const NAME_MAX_BYTES: usize = 240;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing there.
    #[error("the name is empty")]
    Empty,
    /// Only blanks.
    #[error("the name is only white space")]
    Blank,
    /// A slash would make it a path.
    #[error("name `{0}` has a `/`")]
    Slash(String),
    /// A line break would break lists and files.
    #[error("name {0:?} has a line break or another control character")]
    Control(String),
    /// `.` and `..` are directories.
    #[error("name `{0}` is a directory's")]
    Directory(String),
    /// Longer than a file's name can be.
    #[error("the name is {0} bytes long; at most {NAME_MAX_BYTES} are possible")]
    TooLong(usize),
}

/// Says whether `name` can name a domain, network, pool or volume.
pub fn check_name(name: &str) -> Result<(), BadName> {
    if name.is_empty() {
        Err(BadName::Empty)
    } else if name.trim().is_empty() {
        Err(BadName::Blank)
    } else if name.contains('/') {
        Err(BadName::Slash(name.to_owned()))
    } else if name.chars().any(char::is_control) {
        Err(BadName::Control(name.to_owned()))
    } else if name == "." || name == ".." {
        Err(BadName::Directory(name.to_owned()))
    } else if name.len() > NAME_MAX_BYTES {
        Err(BadName::TooLong(name.len()))
    } else {
        Ok(())
    }
}

/// A checked name of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

impl DomainName {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for DomainName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for DomainName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        check_name(text).map(|()| Self(text.to_owned()))
    }
}

impl TryFrom<String> for DomainName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        check_name(&text).map(|()| Self(text))
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_files_are_refused() {
        for good in ["web1", "rhel8.0", "Ünïcode guest", "-dash", "a b"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "  ", "a/b", "a\nb", "..", "."] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check_name(&"n".repeat(300)), Err(BadName::TooLong(300)));
    }
}
