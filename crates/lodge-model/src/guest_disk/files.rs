//! The part of a guest's file tree that somebody asked for.
//!
//! Names are bytes: a guest may write any. Content is cut at the asker's limit and says so.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// A path in the guest, absolute, without `.`, `..`, doubled or trailing slashes. Printed with escapes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct FilePath(Vec<u8>);

/// The bytes are no such path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no path in a guest (it must be absolute, without `.` and `..`)")]
pub struct NotAFilePath(pub String);

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Every file that was asked for and is there, and no other.
    pub nodes: BTreeMap<FilePath, FileNode>,
    /// What initramfs images that were looked into have, by the paths of the images.
    #[serde(default)]
    pub archives: BTreeMap<FilePath, Archive>,
    /// What could not be read. Whoever concludes from a file's absence must look here first.
    pub gaps: Vec<Gap>,
}

/// What an initramfs unpacks to, as far as it has words that somebody looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// What has one of the words in its name, its content or where it points: as the kernel unpacks it in the end, by its
    /// path there.
    pub members: BTreeMap<FilePath, FileNode>,
    /// The whole file's size.
    pub bytes: u64,
    /// How what is appended must be packed.
    #[serde(default)]
    pub tail: Tail,
    /// Why it is not known to its end, or nothing can be appended to it. None: all of it was read.
    pub fault: Option<String>,
}

/// What the end of an initramfs asks of what is appended to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tail {
    /// Nothing: any part may follow, at a multiple of four bytes.
    #[default]
    Open,
    /// It is packed by `lz4 -l` to its last byte: what follows must be too, and comes behind so many unpacked bytes.
    Lz4 {
        /// All that the chunks unpack to.
        unpacked: u64,
    },
}

/// One thing in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileNode {
    /// A plain file.
    File {
        /// Its beginning, as much as was asked for.
        bytes: Vec<u8>,
        /// Its whole size.
        size: u64,
        /// Who owns it.
        owner: Owner,
    },
    /// A symbolic link: where it points. It was not followed.
    Link(Vec<u8>),
    /// A directory.
    Directory(Owner),
    /// A device, a socket, a pipe.
    Other,
}

/// Owner and permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// The twelve permission bits.
    pub mode: u16,
}

/// A place that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The path, or the device.
    pub place: String,
    /// Why.
    pub why: String,
}

impl FilePath {
    /// The path of these bytes, if they are one.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, NotAFilePath> {
        let bytes = bytes.into();
        let is_whole = bytes == b"/"
            || bytes.strip_prefix(b"/").is_some_and(|rest| {
                rest.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
            });
        if is_whole && !bytes.contains(&0) {
            return Ok(Self(bytes));
        }
        Err(NotAFilePath(bytes.escape_ascii().to_string()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its text, where it is one.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The last part.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// The names on the way to it.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }
}

impl TryFrom<Vec<u8>> for FilePath {
    type Error = NotAFilePath;

    fn try_from(bytes: Vec<u8>) -> Result<Self, NotAFilePath> {
        Self::new(bytes)
    }
}

impl From<FilePath> for Vec<u8> {
    fn from(path: FilePath) -> Self {
        path.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => f.write_str(&text.escape_debug().to_string()),
            None => f.write_str(&self.0.escape_ascii().to_string()),
        }
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Files {
    /// What is at a path that was asked for.
    pub fn node(&self, path: &str) -> Option<&FileNode> {
        self.nodes.get(&FilePath::new(path).ok()?)
    }

    /// The bytes of a plain file.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        match self.node(path)? {
            FileNode::File { bytes, .. } => Some(bytes),
            FileNode::Link(_) | FileNode::Directory(_) | FileNode::Other => None,
        }
    }

    /// The text of a plain file; what is not UTF-8 in it is replaced.
    pub fn text(&self, path: &str) -> Option<String> {
        self.bytes(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clean_absolute_paths_are_paths() {
        for good in ["/", "/etc", "/etc/machine-id", "/a b/\n/..."] {
            assert_eq!(FilePath::new(good).expect("a path").as_bytes(), good.as_bytes());
        }
        for bad in ["", "etc", "//", "/etc/", "/etc//x", "/./etc", "/etc/..", "/a\0b"] {
            assert!(FilePath::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_hostile_name_is_printed_on_one_line() {
        assert_eq!(FilePath::new("/a\nb\u{1b}[2J").expect("a path").to_string(), "/a\\nb\\u{1b}[2J");
        assert_eq!(FilePath::new(b"/\xff\n".to_vec()).expect("a path").to_string(), "/\\xff\\n");
    }
}
