//! Why a seed was not made.

use std::io;

use lodge_model::Kind;

use super::UserDataFault;
use crate::keys::KeyFault;

/// What is wrong with what a seed was to be made of.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The user-data would not do what it is meant to do.
    #[error("the user-data cannot be used")]
    UserData {
        /// Why.
        source: UserDataFault,
    },
    /// A public key is none.
    #[error("the SSH key number {number} cannot be used")]
    Key {
        /// Counted from 1.
        number: usize,
        /// Why.
        source: KeyFault,
    },
    /// There are more keys than a seed takes.
    #[error("{found} SSH keys are given; a seed takes {most}")]
    TooManyKeys {
        /// How many.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// The host name is none.
    #[error("`{name}` cannot be a host name: {reason}")]
    Hostname {
        /// As given, shortened.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file system could not be made.
    #[error("cannot make the seed's file system")]
    Iso {
        /// The cause.
        source: io::Error,
    },
}

impl SeedError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::UserData { .. } | Self::Key { .. } | Self::TooManyKeys { .. } | Self::Hostname { .. } => {
                Kind::InvalidInput
            }
            Self::Iso { .. } => Kind::Internal,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UserData { source } => source.hint(),
            Self::Key { source, .. } => source.hint(),
            Self::TooManyKeys { .. } => {
                Some("put the others into the user-data, or into one user's file".to_owned())
            }
            Self::Hostname { .. } => {
                Some("use letters, digits and `-`, in parts of at most 63 separated by dots".to_owned())
            }
            Self::Iso { .. } => None,
        }
    }
}
