//! What a pool's type means on the host: how it is looked for, built, started, stopped, deleted, looked into.
//!
//! ```text
//!  dir      a directory
//!  fs       a device with a file system, mounted     ─┐ volumes are files (`vol`)
//!  netfs    a server's directory, mounted            ─┘
//!  logical  a volume group; volumes are its logical volumes
//!  disk     a device with a partition table; volumes are its partitions
//! ```
//!
//! Rules: a backend knows no table and tells no event; it is given a document and answers with what it saw. Each act
//! may run twice: what is there already is no error. What a program prints is read by pure code in a file of its own.
//! Types that come later have no backend, and `missing backend for pool type` is said of them.

pub(crate) mod dir;
pub(crate) mod disk;
pub(crate) mod empty;
pub(crate) mod fs;
pub(crate) mod logical;
pub(crate) mod mount;
pub(crate) mod netfs;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lodge_model::storage::{Extent, Pool, PoolKind};
use lodge_sys::tool::{Tool, ToolError};

use super::{document::Room, error::PoolError, run::BuildOptions};
use crate::{
    limits,
    vol::facts::{Owner, PoolVolume},
};

/// Volumes by name.
pub(crate) type Volumes = BTreeMap<String, Arc<PoolVolume>>;

/// A type of pool that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Dir,
    Fs,
    Netfs,
    Logical,
    Disk,
}

/// What the host says of a pool that is to be taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    /// It runs.
    Runs,
    /// It does not.
    Rests,
    /// The host has no mark of it: what was noted counts.
    AsNoted,
}

/// What a look into a pool brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub room: Room,
    pub owner: Option<Owner>,
    pub volumes: Volumes,
    /// What no partition has.
    pub free: Vec<Extent>,
}

impl Backend {
    pub fn of(kind: PoolKind) -> Result<Self, PoolError> {
        match kind {
            PoolKind::Dir => Ok(Self::Dir),
            PoolKind::Fs => Ok(Self::Fs),
            PoolKind::Netfs => Ok(Self::Netfs),
            PoolKind::Logical => Ok(Self::Logical),
            PoolKind::Disk => Ok(Self::Disk),
            PoolKind::Iscsi
            | PoolKind::IscsiDirect
            | PoolKind::Scsi
            | PoolKind::Mpath
            | PoolKind::Rbd
            | PoolKind::Sheepdog
            | PoolKind::Gluster
            | PoolKind::Zfs
            | PoolKind::Vstorage => Err(PoolError::NoBackend { kind }),
        }
    }

    /// Its volumes are files of its directory.
    pub const fn holds_files(self) -> bool {
        match self {
            Self::Dir | Self::Fs | Self::Netfs => true,
            Self::Logical | Self::Disk => false,
        }
    }

    /// How long a caller waits for it, but for building, which may last.
    pub const fn patience(self) -> Duration {
        match self {
            Self::Dir | Self::Fs | Self::Netfs => limits::SCAN,
            Self::Logical | Self::Disk => limits::LASTING,
        }
    }

    /// Whether the host says that it runs.
    pub async fn truth(self, pool: Pool) -> Result<Truth, PoolError> {
        match self {
            Self::Dir | Self::Disk => Ok(Truth::AsNoted),
            Self::Fs => mount::truth(fs::mount_of(&pool)?).await,
            Self::Netfs => mount::truth(netfs::mount_of(&pool)?).await,
            Self::Logical => logical::truth(&pool).await,
        }
    }

    pub async fn build(self, pool: Pool, options: BuildOptions) -> Result<(), PoolError> {
        match self {
            Self::Dir | Self::Netfs => dir::build(pool, options).await,
            Self::Fs => fs::build(pool, options).await,
            Self::Logical => logical::build(&pool, options).await,
            Self::Disk => disk::build(&pool, options).await,
        }
    }

    pub async fn start(self, pool: Pool) -> Result<(), PoolError> {
        match self {
            Self::Dir => Ok(()),
            Self::Fs => mount::mount(fs::mount_of(&pool)?).await,
            Self::Netfs => mount::mount(netfs::mount_of(&pool)?).await,
            Self::Logical => logical::start(&pool).await,
            Self::Disk => disk::start(&pool).await,
        }
    }

    pub async fn stop(self, pool: Pool) -> Result<(), PoolError> {
        match self {
            Self::Dir | Self::Disk => Ok(()),
            Self::Fs => mount::unmount(fs::mount_of(&pool)?).await,
            Self::Netfs => mount::unmount(netfs::mount_of(&pool)?).await,
            Self::Logical => logical::stop(&pool).await,
        }
    }

    pub async fn delete(self, pool: Pool) -> Result<(), PoolError> {
        match self {
            Self::Dir | Self::Fs | Self::Netfs => dir::delete(pool).await,
            Self::Logical => logical::delete(&pool).await,
            Self::Disk => Err(PoolError::NoSupport("pool does not support pool deletion".to_owned())),
        }
    }

    pub async fn look(self, pool: Pool, known: Volumes) -> Result<Seen, PoolError> {
        match self {
            Self::Dir | Self::Fs | Self::Netfs => dir::look(pool, known).await,
            Self::Logical => logical::look(&pool).await,
            Self::Disk => disk::look(&pool, known).await,
        }
    }
}

/// The pool's directory, which a type with a backend has.
pub(crate) fn dir_of(pool: &Pool) -> Result<PathBuf, PoolError> {
    Backend::of(pool.kind)?;
    let missing = || PoolError::Document("missing storage pool target path".to_owned());
    pool.path().map(PathBuf::from).ok_or_else(missing)
}

/// The directory whose files are the pool's volumes; none of a pool of devices.
pub(crate) fn file_dir_of(pool: &Pool) -> Option<PathBuf> {
    let holds_files = Backend::of(pool.kind).is_ok_and(Backend::holds_files);
    pool.path().filter(|_| holds_files).map(PathBuf::from)
}

/// The devices of a document.
pub(crate) fn devices(pool: &Pool) -> Vec<&str> {
    let source = pool.source.as_deref();
    source.map_or_else(Vec::new, |source| source.devices.iter().filter_map(|d| d.path.as_deref()).collect())
}

/// The one device of a pool that has exactly one.
pub(crate) fn one_device(pool: &Pool) -> Result<&Path, PoolError> {
    match devices(pool)[..] {
        [device] if device.starts_with('/') => Ok(Path::new(device)),
        [device] => Err(PoolError::Document(format!("source device '{device}' is no absolute path"))),
        [] => Err(PoolError::Internal("missing source device".to_owned())),
        _ => Err(PoolError::Internal("expected exactly 1 device for the storage pool".to_owned())),
    }
}

/// The format of a document's source.
pub(crate) fn format(pool: &Pool) -> &str {
    let format = pool.source.as_deref().and_then(|source| source.format.as_ref()?.kind.as_deref());
    format.unwrap_or_default()
}

/// The name of a document's source: a volume group's.
pub(crate) fn source_name(pool: &Pool) -> &str {
    pool.source.as_deref().and_then(|source| source.name.as_deref()).unwrap_or_default()
}

/// A program of the system, with the time an act on devices may take.
pub(crate) fn tool(program: &'static str) -> Tool {
    Tool::new(program, limits::DEVICE_TOOL)
}

/// Touches files off the runtime's threads.
pub(crate) async fn off_thread<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, PoolError> + Send + 'static,
) -> Result<T, PoolError> {
    let done = tokio::task::spawn_blocking(act).await;
    done.map_err(|_| PoolError::Panicked { name: String::new() })?
}

/// Waits until udev has made the links of new devices, where there is udev.
pub(crate) async fn settle_devices() {
    if !Path::new("/run/udev/control").exists() {
        return;
    }
    if let Err(error) = tool("udevadm").args(["settle", "--timeout=20"]).run().await {
        tracing::warn!(%error, "devices not waited for");
    }
}

impl From<ToolError> for PoolError {
    fn from(error: ToolError) -> Self {
        match error {
            ToolError::Missing { program } => {
                Self::system(format!("Cannot find '{program}' in path"), rustix::io::Errno::NOENT)
            }
            ToolError::Run { program, source } => {
                Self::system(format!("cannot run '{}'", program.display()), source)
            }
            ToolError::Late { command, seconds } => Self::Late { command, seconds },
            ToolError::Failed { command, ending, words, .. } => Self::Tool { command, ending, words },
            ToolError::TooMuch { .. } => Self::Internal(error.to_string()),
        }
    }
}

/// A device must be there, and be one.
pub(crate) fn block_device(path: &Path) -> Result<std::fs::Metadata, PoolError> {
    use std::os::unix::fs::FileTypeExt as _;
    let failed =
        |source: io::Error| PoolError::system(format!("cannot open device '{}'", path.display()), source);
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.file_type().is_block_device() {
        return Ok(metadata);
    }
    Err(PoolError::Argument(format!("source device '{}' is not a block device", path.display())))
}
