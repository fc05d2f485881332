//! Why a root cannot be used, and what to do about it.

use std::io;
use std::path::PathBuf;

use lodge_model::Kind;
use lodge_sys::fs::LockError;

/// Why a root cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// Neither `$HOME` nor the XDG variables say where a user's files are.
    #[error("the home directory is not known")]
    NoHome,
    /// The path could not be made absolute.
    #[error("cannot resolve the root `{}`", path.display())]
    Resolve {
        /// The path as given.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A directory of the tree could not be made.
    #[error("cannot create the directory `{}`", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another daemon uses the root, or its lock is out of reach.
    #[error("cannot use the root `{}`", root.display())]
    Lock {
        /// The root's directory.
        root: PathBuf,
        /// Who holds it, or why it could not be tried.
        source: LockError,
    },
}

impl RootError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoHome => Kind::InvalidInput,
            Self::Lock { source: LockError::Held { .. }, .. } => Kind::Busy,
            Self::Resolve { source, .. }
            | Self::Create { source, .. }
            | Self::Lock { source: LockError::Io { source, .. }, .. } => crate::store::io_kind(source),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoHome => "set HOME, or give --root DIR".to_owned(),
            Self::Resolve { .. } => "give --root a directory whose parent can be reached".to_owned(),
            Self::Create { path, .. } => {
                format!("check the owner and the free space of `{}`", path.display())
            }
            Self::Lock { source: LockError::Held { pid, .. }, .. } => match pid {
                Some(pid) => format!("stop that daemon (process {pid}), or give this one another --root DIR"),
                None => "stop the daemon that uses it, or give this one another --root DIR".to_owned(),
            },
            Self::Lock { .. } => "run it as the user who owns the root".to_owned(),
        })
    }
}
