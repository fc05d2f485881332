//! What can go wrong with a definition's file, and what to do about it.

use std::io;
use std::path::PathBuf;

use lodge_model::Kind;

use super::NameFault;

/// A failed act on definition files. `noun` is what the file defines.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named for what they are")]
pub enum DefinitionError {
    /// The name cannot be a file's.
    #[error("the {noun} name {name:?} cannot be used")]
    Name { noun: &'static str, name: String, source: NameFault },
    /// The directory is out of reach.
    #[error("cannot open the definitions in `{}`", path.display())]
    OpenDir { path: PathBuf, source: io::Error },
    /// The directory could not be listed.
    #[error("cannot list the definitions in `{}`", path.display())]
    List { path: PathBuf, source: io::Error },
    /// A file could not be read, or is no text.
    #[error("cannot read the {noun}'s definition `{}`", path.display())]
    Read { noun: &'static str, path: PathBuf, source: io::Error },
    /// The file could not be written; the old one, if any, stands.
    #[error("cannot write the {noun}'s definition `{}`", path.display())]
    Write { noun: &'static str, path: PathBuf, source: io::Error },
    /// The file could not be removed.
    #[error("cannot remove the {noun}'s definition `{}`", path.display())]
    Remove { noun: &'static str, path: PathBuf, source: io::Error },
    /// The new name is another object's.
    #[error("a {noun} named {name:?} is defined already")]
    Taken { noun: &'static str, name: String },
    /// The autostart mark could not be set or removed.
    #[error("cannot change the {noun}'s autostart mark `{}`", path.display())]
    Autostart { noun: &'static str, path: PathBuf, source: io::Error },
}

impl DefinitionError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Name { .. } => Kind::InvalidInput,
            Self::Taken { .. } => Kind::Exists,
            Self::Read { source, .. } if source.kind() == io::ErrorKind::InvalidData => Kind::Corrupt,
            Self::OpenDir { source, .. }
            | Self::List { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Remove { source, .. }
            | Self::Autostart { source, .. } => crate::store::io_kind(source),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Name { .. } => Some("choose a name without `/` and control characters".to_owned()),
            Self::Taken { .. } => Some("choose another name".to_owned()),
            Self::OpenDir { path, source }
            | Self::List { path, source }
            | Self::Read { path, source, .. }
            | Self::Write { path, source, .. }
            | Self::Remove { path, source, .. }
            | Self::Autostart { path, source, .. } => match crate::store::io_kind(source) {
                Kind::Exhausted => Some(format!(
                    "free some space on the file system of `{}`, then try again",
                    path.display()
                )),
                Kind::Denied => Some(format!(
                    "check the owner and mode of `{}`, and that its file system is not mounted read-only",
                    path.display()
                )),
                _ => None,
            },
        }
    }
}
