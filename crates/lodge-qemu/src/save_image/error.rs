//! What can go wrong with a saved guest.

use std::io;
use std::path::PathBuf;

use lodge_model::Kind;

use crate::qmp::MonitorError;

/// Why a guest was not saved, or not restored.
#[derive(Debug, thiserror::Error)]
pub enum SaveImageError {
    /// The file cannot be read.
    #[error("cannot read the saved guest `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the saved guest `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It is some other file.
    #[error("`{}` is not a saved guest", path.display())]
    NotASave {
        /// The file.
        path: PathBuf,
    },
    /// The save was not finished.
    #[error("`{}` is only the beginning of a saved guest: the save was interrupted", path.display())]
    Partial {
        /// The file.
        path: PathBuf,
    },
    /// A later libvirt wrote it.
    #[error("`{}` has version {found} of the format; version 2 is understood", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Its memory is compressed.
    #[error("the memory in `{}` is stored by method {method}, which is not supported yet", path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
        /// How.
        method: &'static str,
    },
    /// Its parts contradict each other.
    #[error("the saved guest `{}` is damaged: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// In what way.
        reason: &'static str,
    },
    /// A new document does not fit into the old one's place.
    #[error("the new document needs {needed} bytes, and `{}` has room for {room}", path.display())]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// Bytes there are.
        room: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// QEMU's monitor failed meanwhile.
    #[error("QEMU could not {act} the guest's memory")]
    Monitor {
        /// `save` or `restore`.
        act: &'static str,
        /// What went wrong.
        source: MonitorError,
    },
    /// QEMU gave up.
    #[error("QEMU could not {act} the guest's memory: {reason}")]
    Failed {
        /// `save` or `restore`.
        act: &'static str,
        /// QEMU's words.
        reason: String,
    },
    /// It was called off.
    #[error("the {act} of the guest's memory was called off")]
    Cancelled {
        /// `save` or `restore`.
        act: &'static str,
    },
}

impl SaveImageError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Open { source, .. } | Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Kind::NotFound,
                io::ErrorKind::PermissionDenied => Kind::Denied,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Exhausted,
                _ => Kind::Internal,
            },
            Self::NotASave { .. } => Kind::InvalidInput,
            Self::Partial { .. } | Self::Corrupt { .. } => Kind::Corrupt,
            Self::Version { .. } | Self::Compressed { .. } => Kind::Unsupported,
            Self::NoRoom { .. } => Kind::Exhausted,
            Self::Monitor { source, .. } => source.kind(),
            Self::Failed { .. } => Kind::Internal,
            Self::Cancelled { .. } => Kind::InvalidState,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Partial { .. } => Some("remove the file; the guest itself was not stopped by that save"),
            Self::Compressed { .. } => {
                Some("restore it with the libvirtd that wrote it, or set save_image_format = \"raw\" there")
            }
            Self::NoRoom { .. } => {
                Some("shorten the document, or restore the guest and change it while it runs")
            }
            Self::Failed { act: "save", .. } => {
                Some("see that the file system has room for the guest's memory")
            }
            _ => None,
        }
    }
}
