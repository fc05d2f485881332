//! Why an act on a chain was not done.

use std::{io, path::PathBuf};

use lodge_model::Kind;

use crate::{
    error::{StorageError, kind_of},
    format::Format,
    graph::need::Need,
    pool::error::PoolError,
};

/// Why an act on a chain was not done. Whatever it was, every image opens and shows what it showed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The chain itself, or a file of it, is no good.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The tool failed, or is not there.
    #[error(transparent)]
    Tool(Box<PoolError>),
    /// The file named is not below the other.
    #[error("`{}` does not stand on `{}`", top.display(), base.display())]
    NotBelow {
        /// The upper file.
        top: PathBuf,
        /// The one it was said to stand on.
        base: PathBuf,
    },
    /// The file stands on nothing.
    #[error("`{}` stands on no other file", path.display())]
    StandsAlone {
        /// The file.
        path: PathBuf,
    },
    /// A snapshot inside would change.
    #[error("`{}` keeps snapshots inside, which would change with what lies below them", path.display())]
    SnapshotsInside {
        /// The file.
        path: PathBuf,
    },
    /// The guest's disk would become larger.
    #[error("`{}` has {top_bytes} bytes and `{}`, which it would go into, has {base_bytes}", top.display(), base.display())]
    Smaller {
        /// The upper file.
        top: PathBuf,
        /// Its size.
        top_bytes: u64,
        /// The lower file.
        base: PathBuf,
        /// Its size.
        base_bytes: u64,
    },
    /// Somebody else needs bytes that the act would change.
    #[error("`{}` cannot be changed: {need}", path.display())]
    Needed {
        /// The file.
        path: PathBuf,
        /// Who, and why.
        need: Need,
    },
    /// The two files are not the same bytes.
    #[error("`{}` and `{}` do not have the same bytes", old.display(), new.display())]
    Differs {
        /// What the file stands on.
        old: PathBuf,
        /// What it was to stand on.
        new: PathBuf,
    },
    /// The file would stand on itself.
    #[error("`{}` would stand on itself", path.display())]
    Circle {
        /// The file.
        path: PathBuf,
    },
    /// A copy elsewhere would look for what it stands on beside itself.
    #[error("`{}` names what it stands on by a relative path", path.display())]
    RelativeBacking {
        /// The file.
        path: PathBuf,
    },
    /// Acts that make a new file and rename it do not work on devices.
    #[error("`{}` is a block device; this act needs a file", path.display())]
    Device {
        /// The device.
        path: PathBuf,
    },
    /// Only qcow2 stands on other files.
    #[error("`{}` is {format}; only a qcow2 stands on other files", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it is said to be.
        format: Format,
    },
    /// The file system refused.
    #[error("cannot {act} `{}`", path.display())]
    File {
        /// What was tried: "replace".
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ChainError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Storage(source) => source.kind(),
            Self::Tool(source) => source.kind(),
            Self::NotBelow { .. } | Self::StandsAlone { .. } | Self::Circle { .. } | Self::Format { .. } => {
                Kind::InvalidInput
            }
            Self::SnapshotsInside { .. } | Self::Needed { .. } | Self::Differs { .. } => Kind::Conflict,
            Self::Smaller { .. } => Kind::InvalidState,
            Self::Device { .. } | Self::RelativeBacking { .. } => Kind::Unsupported,
            Self::File { source, .. } => kind_of(source),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Storage(source) => return source.hint(),
            Self::Tool(source) => return source.hint(),
            Self::NotBelow { top, .. } => {
                format!("see what it stands on: lodge chain show {}", top.display())
            }
            Self::SnapshotsInside { .. } => "delete those snapshots first".to_owned(),
            Self::Smaller { base, top_bytes, .. } => {
                format!(
                    "make the upper disk as large first, or shrink `{}` to {top_bytes} bytes",
                    base.display()
                )
            }
            Self::Needed { need, .. } => need.next_step(),
            Self::Differs { .. } => "without --unsafe what differs is copied".to_owned(),
            Self::RelativeBacking { .. } => "make a copy that stands alone: --full".to_owned(),
            Self::Device { .. } => "copy it into a file first: lodge vol-clone".to_owned(),
            Self::File { source, .. } if kind_of(source) == Kind::Exhausted => {
                "free some space and try again".to_owned()
            }
            Self::StandsAlone { .. } | Self::Circle { .. } | Self::Format { .. } | Self::File { .. } => {
                return None;
            }
        })
    }
}

impl From<PoolError> for ChainError {
    fn from(error: PoolError) -> Self {
        Self::Tool(Box::new(error))
    }
}
