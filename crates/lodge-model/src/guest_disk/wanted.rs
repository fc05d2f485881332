//! Which files somebody wants to see: patterns of paths, each with the most bytes of a file.
//!
//! `*` stands for any bytes within one part of a path (also a leading dot), `**` as a whole part for any number of
//! parts, none too. Nothing else is special, so a name in brackets is a name.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::FilePath;

/// One wish to see files. A directory that fits is told as a directory, not with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Which.
    pub pattern: Pattern,
    /// How much of each file. Where several wishes fit one path, the largest holds.
    pub most_bytes: u64,
}

/// An absolute pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    parts: Vec<String>,
}

/// The text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no pattern of paths (it must be absolute, without `.` and `..`, and `**` must be a whole part)"
)]
pub struct NotAPattern(pub String);

impl Pattern {
    /// The pattern of this text, if it is one.
    pub fn new(text: &str) -> Result<Self, NotAPattern> {
        let fault = || NotAPattern(text.escape_debug().to_string());
        let rest = text.strip_prefix('/').ok_or_else(fault)?;
        let parts: Vec<String> = rest.split('/').map(str::to_owned).collect();
        let is_good = |part: &String| {
            !matches!(part.as_str(), "" | "." | "..")
                && !part.contains('\0')
                && (part == "**" || !part.contains("**"))
        };
        if parts.iter().all(is_good) { Ok(Self { parts }) } else { Err(fault()) }
    }

    /// Its parts, for whoever walks a tree along it.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(String::as_str)
    }

    /// Whether a path fits.
    pub fn matches(&self, path: &FilePath) -> bool {
        let names: Vec<&[u8]> = path.parts().collect();
        // One row of the table "does pattern[..p] fit names[..n]": linear in memory, never exponential.
        let mut fits = vec![false; names.len() + 1];
        fits[0] = true;
        for part in &self.parts {
            let mut next = vec![false; names.len() + 1];
            if part == "**" {
                let mut any = false;
                for (here, there) in fits.iter().zip(&mut next) {
                    any |= here;
                    *there = any;
                }
            } else {
                for (at, name) in names.iter().enumerate() {
                    next[at + 1] = fits[at] && Self::part_fits(part, name);
                }
            }
            fits = next;
        }
        fits.last().copied().unwrap_or_default()
    }

    /// Whether one name fits one part that is not `**`.
    pub fn part_fits(part: &str, name: &[u8]) -> bool {
        let mut pieces = part.as_bytes().split(|byte| *byte == b'*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let mut pieces: Vec<&[u8]> = pieces.collect();
        let Some(last) = pieces.pop() else { return rest.is_empty() };
        for piece in pieces {
            let Some(at) = (0..=rest.len()).find(|at| rest[*at..].starts_with(piece)) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last)
    }
}

impl TryFrom<String> for Pattern {
    type Error = NotAPattern;

    fn try_from(text: String) -> Result<Self, NotAPattern> {
        Self::new(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| write!(f, "/{part}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_what_they_say() {
        let table = [
            ("/etc/fstab", "/etc/fstab", true),
            ("/etc/fstab", "/etc/fstab.d", false),
            ("/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_rsa_key", true),
            ("/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_rsa_key.pub", false),
            ("/etc/*/x", "/etc/a/b/x", false),
            ("/var/log/**", "/var/log", true),
            ("/var/log/**", "/var/log/a/b", true),
            ("/var/**/x", "/var/x", true),
            ("/var/**/x", "/var/a/b/x", true),
            ("/var/**/x", "/var/a/b/y", false),
            ("/a*b*c", "/abc", true),
            ("/a*b*c", "/acb", false),
            ("/*a", "/a", true),
            ("/aa*aa", "/aaa", false),
            ("/[ab]", "/a", false),
        ];
        for (pattern, path, fits) in table {
            let pattern = Pattern::new(pattern).unwrap();
            assert_eq!(pattern.matches(&FilePath::new(path).unwrap()), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "etc", "/", "/etc/", "/a//b", "/../a", "/a**", "/**a/b"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Pattern::new("/a/**/*.b").unwrap().to_string(), "/a/**/*.b");
    }
}
