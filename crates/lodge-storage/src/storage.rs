//! The crate's one handle: where things lie, who has them, and how files are touched.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use lodge_store::{Db, Store};

use crate::{
    chain::Gate, claims::Claims, error::StorageError, graph::observe::Sight, limits, ports::Guests,
    space::Looks, temp, vol::tool::sweep_pipes,
};

/// The storage of one root. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Storage {
    inner: Arc<Inner>,
}

/// The directories of pools.
#[derive(Debug, Clone)]
struct Places {
    default: PathBuf,
    pools: Vec<PathBuf>,
}

#[derive(Debug)]
struct Inner {
    /// Where disks go, and what else is a pool.
    places: Mutex<Places>,
    images: PathBuf,
    db: Db,
    /// Held for table look-ups only, never over I/O.
    claims: Mutex<Claims>,
    /// libvirt's metadata of snapshots.
    snapshots: PathBuf,
    /// Who knows guests; none: there are none.
    guests: OnceLock<Arc<dyn Guests>>,
    sight: Sight,
    /// Places whose room is being looked at.
    looks: Looks,
}

impl Storage {
    /// Opens the storage of a root; what a crash left in its directories is removed.
    pub async fn open(store: &Store) -> Result<Self, StorageError> {
        let root = store.root();
        let inner = Inner {
            places: Mutex::new(Places { default: root.default_pool(), pools: Vec::new() }),
            images: root.images(),
            db: store.db().clone(),
            claims: Mutex::default(),
            snapshots: root.managed_saves().with_file_name("snapshot"),
            guests: OnceLock::new(),
            sight: Sight::default(),
            looks: Looks::default(),
        };
        let storage = Self { inner: Arc::new(inner) };
        for dir in [storage.pool_dir(), storage.images_dir().to_owned()] {
            storage
                .blocking(&dir.clone(), limits::LOOK, move || {
                    temp::sweep(&dir).map_err(|source| StorageError::List { path: dir, source })
                })
                .await?;
        }
        let pipes = std::env::temp_dir();
        let sweep = {
            let dir = pipes.clone();
            move || sweep_pipes(&dir).map_err(|source| StorageError::List { path: dir, source })
        };
        // A directory that others write, and nothing of worth in it.
        if let Err(error) = storage.blocking(&pipes, limits::LOOK, sweep).await {
            tracing::warn!(%error, "no leftovers looked for");
        }
        Ok(storage)
    }

    /// The directory of the pool `default`.
    pub fn pool_dir(&self) -> PathBuf {
        self.places().default.clone()
    }

    /// The directories of all pools, the default one first.
    pub(crate) fn pool_dirs(&self) -> Vec<PathBuf> {
        let Places { default, pools } = self.places().clone();
        let others = pools.into_iter().filter(|dir| *dir != default);
        std::iter::once(default.clone()).chain(others).collect()
    }

    pub(crate) fn set_places(&self, default: PathBuf, pools: Vec<PathBuf>) {
        *self.places() = Places { default, pools };
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Replaced whole, so a panic leaves the old or the new.
        self.inner.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory of the images; `lodge_build` builds into it.
    pub fn images_dir(&self) -> &Path {
        &self.inner.images
    }

    pub(crate) fn snapshots_dir(&self) -> &Path {
        &self.inner.snapshots
    }

    pub(crate) fn inner_guests(&self) -> &OnceLock<Arc<dyn Guests>> {
        &self.inner.guests
    }

    /// What was seen of the host before.
    pub(crate) fn sight(&self) -> &Sight {
        &self.inner.sight
    }

    pub(crate) fn space_looks(&self) -> &Looks {
        &self.inner.looks
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    pub(crate) fn claims(&self) -> MutexGuard<'_, Claims> {
        // A panic under the lock leaves the table as it was before or after: every change is one call.
        self.inner.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files that were made templates.
    pub(crate) async fn templates(&self) -> Result<Vec<PathBuf>, StorageError> {
        let failed = |source| StorageError::Registry { act: "list the templates", source };
        self.db().templates().await.map_err(failed)
    }

    /// What images may name as their backing files.
    pub(crate) fn gate(&self) -> Gate {
        let mut dirs = self.pool_dirs();
        dirs.push(self.inner.images.clone());
        Gate { dirs, ..Gate::default() }
    }

    /// Touches files on a blocking thread. After `limit` the caller goes on without an answer; the
    /// thread ends when the kernel lets it.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        path: &Path,
        limit: Duration,
        act: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        match tokio::time::timeout(limit, tokio::task::spawn_blocking(act)).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StorageError::Panicked { path: path.to_owned() }),
            Err(_) => Err(StorageError::Silent { path: path.to_owned(), seconds: limit.as_secs() }),
        }
    }
}
