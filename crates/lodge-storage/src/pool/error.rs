//! Why an act on a pool or its volumes failed, in libvirt's words: clients and people look for them.
//!
//! A variant is a sort of error as libvirt has them, so that a front's table is one line each. What is prefixed
//! to a text ("Storage pool not found: …") is the front's matter.

use std::{io, path::PathBuf};

use lodge_model::{Bytes, Faults, Kind, storage::PoolKind};
use lodge_store::DefinitionError;

use crate::error::{StorageError, kind_of};

/// Why an act on a pool or its volumes failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// There is no such pool.
    #[error("no storage pool with matching {by} '{value}'{}", note(of.as_ref()))]
    NoPool {
        /// `name`, `uuid`, `target path`.
        by: &'static str,
        /// What was looked for.
        value: String,
        /// The name that came along with a UUID.
        of: Option<String>,
    },
    /// There is no such volume.
    #[error("no storage vol with matching {by} {}", if *by == "key" { value.clone() } else { format!("'{value}'") })]
    NoVolume {
        /// `name`, `key`, `path`.
        by: &'static str,
        /// What was looked for.
        value: String,
    },
    /// The document is no good.
    #[error("{0}")]
    Document(String),
    /// The document is not XML.
    #[error("{0}")]
    Syntax(String),
    /// The document is of another kind.
    #[error("expecting root element of '{wanted}', not '{found}'")]
    Root {
        /// `pool`, `volume`.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// The document has what libvirt's schema does not have.
    #[error("{0}")]
    Schema(String),
    /// The document asks for what is not supported.
    #[error("{0}")]
    Config(String),
    /// An argument is no good.
    #[error("{0}")]
    Argument(String),
    /// The pool's or volume's state is against it.
    #[error("{0}")]
    State(String),
    /// Another pool is in the way.
    #[error("{0}")]
    Clash(String),
    /// There is a volume of this name.
    #[error("storage volume '{name}' exists already")]
    VolumeExists {
        /// The name.
        name: String,
    },
    /// Pools of this type come later.
    #[error("missing backend for pool type {} ({kind})", *kind as u8)]
    NoBackend {
        /// The type.
        kind: PoolKind,
    },
    /// Things are not as they must be.
    #[error("{0}")]
    Internal(String),
    /// Not done for this sort of volume.
    #[error("{0}")]
    Unsupported(String),
    /// Not done for this sort of pool.
    #[error("{0}")]
    NoSupport(String),
    /// This value of an argument is not supported.
    #[error("{0}")]
    ArgumentUnsupported(String),
    /// The system refused an act.
    #[error("{act}: {}", reason(source))]
    System {
        /// What was tried: `cannot open directory '/x'`.
        act: String,
        /// What the system said.
        source: io::Error,
    },
    /// A volume cannot go: something needs its bytes.
    #[error("volume '{name}' is still in use: {why}")]
    InUse {
        /// The volume.
        name: String,
        /// Who needs it.
        why: String,
        /// What to do next.
        next: String,
    },
    /// The pool's file system does not answer, or the pool is at another act that does not end.
    #[error("storage pool '{name}' gave no answer in {seconds} s")]
    Silent {
        /// The pool.
        name: String,
        /// How long was waited.
        seconds: u64,
    },
    /// There is no such secret, or it has no value.
    #[error("{0}")]
    NoSecret(String),
    /// There is something on the device already.
    #[error("{0}")]
    Built(String),
    /// A server, a device or a group is not there.
    #[error("{0}")]
    Missing(String),
    /// An act failed for a reason of its own.
    #[error("{act}: {why}")]
    Failed {
        /// What was tried.
        act: String,
        /// Why it failed.
        why: Box<PoolError>,
    },
    /// A program was not done in time.
    #[error("'{command}' was not done in {seconds} s")]
    Late {
        /// The program and its arguments.
        command: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A program failed.
    #[error("Child process ({command}) unexpected {ending}: {words}")]
    Tool {
        /// The program and its arguments.
        command: String,
        /// `exit status 1`.
        ending: String,
        /// What it said.
        words: String,
    },
    /// More is asked for than the pool can hold.
    #[error("{act}: {} bytes are wanted, {} are free", wanted.0, free.0)]
    Full {
        /// What was tried.
        act: String,
        /// What is wanted.
        wanted: Bytes,
        /// What there is.
        free: Bytes,
    },
    /// A disk's file is not as it should be.
    #[error(transparent)]
    Disk(StorageError),
    /// The definition's file could not be read or written.
    #[error(transparent)]
    Definition(DefinitionError),
    /// A file of the daemon's own could not be written.
    #[error("cannot write `{}`", path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A worker ended early.
    #[error("a worker of the storage panicked on pool '{name}'")]
    Panicked {
        /// The pool.
        name: String,
    },
}

impl PoolError {
    /// An act the system refused.
    pub(crate) fn system(act: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::System { act: act.into(), source: source.into() }
    }

    /// It may be well later: nothing is known to be wrong.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Silent { .. } | Self::Late { .. })
    }

    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoPool { .. } | Self::NoVolume { .. } | Self::Missing(_) | Self::NoSecret(_) => {
                Kind::NotFound
            }
            Self::Document(_) | Self::Syntax(_) | Self::Root { .. } | Self::Schema(_) | Self::Argument(_) => {
                Kind::InvalidInput
            }
            Self::State(_) => Kind::InvalidState,
            Self::Failed { why, .. } => why.kind(),
            Self::Built(_) | Self::Clash(_) | Self::VolumeExists { .. } => Kind::Exists,
            Self::Config(_)
            | Self::NoBackend { .. }
            | Self::Unsupported(_)
            | Self::NoSupport(_)
            | Self::ArgumentUnsupported(_) => Kind::Unsupported,
            Self::System { source, .. } | Self::Note { source, .. } => kind_of(source),
            Self::InUse { .. } => Kind::Conflict,
            Self::Silent { .. } | Self::Late { .. } => Kind::Unavailable,
            Self::Full { .. } => Kind::Exhausted,
            Self::Disk(source) => source.kind(),
            Self::Definition(source) => source.kind(),
            Self::Internal(_) | Self::Tool { .. } | Self::Panicked { .. } => Kind::Internal,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoPool { .. } => "see `lodge pool-list --all`",
            Self::NoVolume { .. } => {
                "see `lodge vol-list POOL`; `lodge pool-refresh POOL` finds files made by others"
            }
            Self::NoBackend { .. } => {
                "pools of type dir, fs, netfs, logical and disk run; the other types come later"
            }
            Self::Built(_) => "build it with --overwrite if nothing on the device is needed any more",
            Self::NoSecret(_) => "see `lodge secret-list`; `lodge secret-set-value` gives one its value",
            Self::Failed { why, .. } => return why.hint(),
            Self::VolumeExists { .. } => "choose another name",
            Self::InUse { next, .. } => return Some(next.clone()),
            Self::Silent { .. } | Self::Late { .. } => "see whether its server or device answers (dmesg, df)",
            Self::System { source, .. } if kind_of(source) == Kind::Exhausted => {
                "free some space and try again"
            }
            Self::Disk(source) => return source.hint(),
            Self::Definition(source) => return source.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn note(of: Option<&String>) -> String {
    of.map(|name| format!(" ({name})")).unwrap_or_default()
}

/// What is wrong with a document as a whole, if it is that.
pub(crate) fn of_whole(faults: &Faults, wanted: &'static str) -> Option<PoolError> {
    let fault = faults.0.first()?;
    let root = fault.message.strip_prefix("the document is a <").and_then(|rest| rest.split_once('>'));
    match root {
        Some((found, _)) => Some(PoolError::Root { wanted, found: found.to_owned() }),
        None if fault.path.is_empty() => Some(PoolError::Syntax(faults.to_string())),
        None => None,
    }
}

/// The system's words alone: `No such file or directory`.
pub fn reason(source: &io::Error) -> String {
    let text = source.to_string();
    match text.rfind(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_libvirts() {
        let no_pool = |of: Option<&str>| PoolError::NoPool {
            by: "uuid",
            value: "u".to_owned(),
            of: of.map(str::to_owned),
        };
        assert_eq!(no_pool(None).to_string(), "no storage pool with matching uuid 'u'");
        assert_eq!(no_pool(Some("p")).to_string(), "no storage pool with matching uuid 'u' (p)");
        let no_volume = |by| PoolError::NoVolume { by, value: "zz".to_owned() }.to_string();
        assert_eq!(no_volume("key"), "no storage vol with matching key zz");
        assert_eq!(no_volume("path"), "no storage vol with matching path 'zz'");
        let backend = PoolError::NoBackend { kind: PoolKind::Logical };
        assert_eq!(backend.to_string(), "missing backend for pool type 3 (logical)");
        let system = PoolError::system("cannot open directory '/x'", rustix::io::Errno::NOENT);
        assert_eq!(system.to_string(), "cannot open directory '/x': No such file or directory");
    }
}
