//! What the storage needs of others: which files guests are made of, and the values of secrets, which encrypted volumes
//! are made and opened with. The engine answers; nothing here knows domains.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use lodge_model::DomainId;
use uuid::Uuid;

use crate::pool::error::PoolError;

/// All guests, as far as files are concerned.
pub trait Guests: Send + Sync + fmt::Debug {
    /// Every guest with the files its definition, its running document and its own state name. Asked on a blocking
    /// thread, and often: an answer that did not change is the same `Arc`.
    fn list(&self) -> Vec<GuestFiles>;

    /// The same, but only what documents name. Asked at every start of a guest.
    fn named(&self) -> Vec<GuestFiles> {
        self.list()
    }
}

/// The files of one guest.
#[derive(Debug, Clone)]
pub struct GuestFiles {
    /// Its identity.
    pub id: DomainId,
    /// Its name.
    pub name: Arc<str>,
    /// It runs.
    pub is_active: bool,
    /// What it is made of.
    pub files: Arc<[FileUse]>,
}

/// A file that belongs to a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUse {
    /// The file.
    pub path: PathBuf,
    /// What it is to the guest.
    pub part: Part,
    /// Its format in the document's word; none: it is no disk image.
    pub format: Option<String>,
    /// The guest writes to it.
    pub writes: bool,
    /// Others may write to it as well.
    pub shareable: bool,
}

impl FileUse {
    /// A file that is no disk.
    pub fn plain(path: impl AsRef<Path>, part: Part, writes: bool) -> Self {
        Self { path: path.as_ref().to_owned(), part, format: None, writes, shareable: false }
    }
}

/// What a file is to a guest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A disk, by its target.
    Disk(String),
    /// A file that the document names below a disk (`<backingStore>`).
    Backing(String),
    /// UEFI's variables.
    Nvram,
    /// UEFI itself.
    Loader,
    /// The kernel of a direct boot.
    Kernel,
    /// Its initial RAM disk.
    Initrd,
    /// Its device tree.
    Dtb,
    /// The cloud-init seed.
    Seed,
    /// Memory that the next start goes on from.
    SavedMemory,
    /// What a serial port or the like writes to.
    Log,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(target) => write!(f, "disk {target}"),
            Self::Backing(target) => write!(f, "backing file of disk {target}"),
            Self::Nvram => f.write_str("NVRAM"),
            Self::Loader => f.write_str("firmware"),
            Self::Kernel => f.write_str("kernel"),
            Self::Initrd => f.write_str("initrd"),
            Self::Dtb => f.write_str("device tree"),
            Self::Seed => f.write_str("seed"),
            Self::SavedMemory => f.write_str("saved memory"),
            Self::Log => f.write_str("log"),
        }
    }
}

/// How a document names a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretName {
    /// By its identity.
    Uuid(Uuid),
    /// By what it is for: a volume's path, or what the user wrote there.
    Usage(String),
}

/// A secret's value. It is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(pub Vec<u8>);

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue")
    }
}

/// Where secrets are kept.
pub trait Secrets: Send + Sync + fmt::Debug {
    /// A secret's value, for the daemon's own use.
    fn value(&self, name: &SecretName) -> Result<SecretValue, PoolError>;
    /// The secret that is for the volume at this path.
    fn of_volume(&self, path: &Path) -> Option<Uuid>;
}

/// There are none: for who opens pools without an engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoSecrets;

impl Secrets for NoSecrets {
    fn value(&self, name: &SecretName) -> Result<SecretValue, PoolError> {
        let text = match name {
            SecretName::Uuid(uuid) => format!("no secret with matching uuid '{uuid}'"),
            SecretName::Usage(usage) => format!("no secret with matching usage '{usage}'"),
        };
        Err(PoolError::NoSecret(text))
    }

    fn of_volume(&self, _path: &Path) -> Option<Uuid> {
        None
    }
}
