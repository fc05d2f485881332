//! Everything durable of one root, opened and locked: what resources and the engine are given.

use std::io;
use std::sync::Arc;

use lodge_model::Kind;
use lodge_sys::fs::Lock;

use crate::definitions::{Collection, DefinitionError, Definitions};
use crate::{Db, DbError, Drivers, Root, RootError, SnapshotFiles};

/// A root's durable things. Cheap to clone; the root's lock is held until the last clone is gone.
#[derive(Debug, Clone)]
pub struct Store {
    root: Arc<Root>,
    domains: Definitions,
    networks: Definitions,
    pools: Definitions,
    db: Db,
    drivers: Drivers,
    _lock: Arc<Lock>,
}

/// Why a root's store did not open.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The tree could not be made or locked.
    #[error(transparent)]
    Root(RootError),
    /// A directory of definitions did not open.
    #[error(transparent)]
    Definitions(DefinitionError),
    /// The database did not open.
    #[error(transparent)]
    Db(DbError),
}

impl StoreError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Root(error) => error.kind(),
            Self::Definitions(error) => error.kind(),
            Self::Db(error) => error.kind(),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Root(error) => error.hint(),
            Self::Definitions(error) => error.hint(),
            Self::Db(error) => error.hint(),
        }
    }
}

impl Store {
    /// Locks the root, makes what is missing of it, removes a crash's leftovers and opens all.
    pub fn open(root: &Root) -> Result<Self, StoreError> {
        let lock = root.lock().map_err(StoreError::Root)?;
        root.prepare().map_err(StoreError::Root)?;
        let definitions = |collection| Definitions::open(root, collection).map_err(StoreError::Definitions);
        Ok(Self {
            domains: definitions(Collection::Domains)?,
            networks: definitions(Collection::Networks)?,
            pools: definitions(Collection::Pools)?,
            db: Db::open(&root.db()).map_err(StoreError::Db)?,
            drivers: Drivers::of(root),
            root: Arc::new(root.clone()),
            _lock: Arc::new(lock),
        })
    }

    /// Which path is what.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Domains' definitions.
    pub fn domains(&self) -> &Definitions {
        &self.domains
    }

    /// What is known of domains' snapshots.
    pub fn snapshots(&self) -> SnapshotFiles {
        SnapshotFiles::of(&self.root)
    }

    /// Networks' definitions.
    pub fn networks(&self) -> &Definitions {
        &self.networks
    }

    /// Pools' definitions.
    pub fn pools(&self) -> &Definitions {
        &self.pools
    }

    /// Which of libvirt's drivers are ours.
    pub fn drivers(&self) -> &Drivers {
        &self.drivers
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.db
    }
}

/// The kind of an I/O error, where its cause is all that is known.
pub(crate) fn io_kind(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::NotFound => Kind::NotFound,
        io::ErrorKind::AlreadyExists => Kind::Exists,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Exhausted,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => Kind::InvalidInput,
        _ => Kind::Internal,
    }
}
