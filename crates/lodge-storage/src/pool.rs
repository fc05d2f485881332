//! Pools: who they are, whether they run, what is in them. What a type of pool means on the host is its `backend`'s.
//!
//! ```text
//!             define                start                    refresh ─┐
//!   (nothing) ──────▶ inactive ───────────▶ active (volumes known) ◀──┘
//!       ▲ ▲  undefine   │  ▲      destroy     │
//!       │ └─────────────┘  └──────────────────┤ persistent
//!       └─────────────────────────────────────┘ transient
//! ```
//!
//! Rules:
//! - Tables are behind a lock that no I/O is done under: lists and look-ups never wait for a disk.
//! - What touches a pool as a whole has the pool's *turn*, and takes it along onto the blocking thread or into the
//!   task. A directory that hangs keeps its own turn, and no other pool's; who waits for it is told so after a while.
//! - What lasts and concerns one volume (a copy, a wipe, a stream) holds that volume, not the pool.
//! - The definition's file is written before the table says so.
//!
//! Files: definitions as libvirt's in `etc/libvirt/storage`, what runs in `run/libvirt/storage`, so that libvirtd and
//! Lodge take each other's pools over.
//!
//! - The host is the truth: what is mounted at a daemon's start runs, whatever was noted.
//!
//! Deliberately absent: types without a backend (they are defined and listed, not run); formats' data.

pub(crate) mod backend;
pub(crate) mod capabilities;
pub(crate) mod conflict;
pub(crate) mod default;
pub(crate) mod define;
pub(crate) mod document;
pub(crate) mod error;
pub(crate) mod reflink;
pub(crate) mod run;
pub(crate) mod shape;
pub(crate) mod sources;
pub(crate) mod state;
pub(crate) mod table;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lodge_model::{
    PoolId,
    storage::{Pool, PoolKind},
};
use lodge_store::{Collection, Definitions, Store};
use tokio::sync::{OwnedMutexGuard, broadcast};

use self::table::{Slot, Tables};
pub use self::{
    error::PoolError,
    table::{PoolHandle, PoolView},
};
use crate::{
    Storage, limits,
    ports::{NoSecrets, Secrets},
    vol::facts::PoolVolume,
};

/// What happens to pools, by libvirt's numbers; a refresh has an event of its own there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolEvent {
    /// A definition came or changed.
    Defined = 0,
    /// A definition went.
    Undefined = 1,
    /// It runs.
    Started = 2,
    /// It runs no more.
    Stopped = 3,
    /// Its directory was made.
    Created = 4,
    /// Its directory was removed.
    Deleted = 5,
    /// Its volumes were looked at anew.
    Refreshed = 6,
}

impl PoolEvent {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Defined => "defined",
            Self::Undefined => "undefined",
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Created => "created",
            Self::Deleted => "deleted",
            Self::Refreshed => "refreshed",
        }
    }
}

/// An event: which pool, its name, what happened.
pub type PoolHappening = (PoolId, String, PoolEvent);

/// Every pool of one root. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pools {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub storage: Storage,
    pub definitions: Definitions,
    /// `run/libvirt/storage`.
    pub running: PathBuf,
    pub tables: Mutex<Tables>,
    /// Definitions and names change one at a time.
    pub defining: Arc<tokio::sync::Mutex<()>>,
    pub events: broadcast::Sender<PoolHappening>,
    pub default_dir: PathBuf,
    pub db: lodge_store::Db,
    pub secrets: Arc<dyn Secrets>,
}

impl Pools {
    /// Loads the definitions and takes up pools that ran. Starts nothing: see [`Self::autostart`].
    pub async fn open(store: &Store, storage: &Storage) -> Result<Self, PoolError> {
        Self::open_with(store, storage, Arc::new(NoSecrets)).await
    }

    /// The same, with the secrets that encrypted volumes are opened with.
    pub async fn open_with(
        store: &Store,
        storage: &Storage,
        secrets: Arc<dyn Secrets>,
    ) -> Result<Self, PoolError> {
        let root = store.root().clone();
        let definitions = tokio::task::spawn_blocking(move || Definitions::open(&root, Collection::Pools))
            .await
            .map_err(|_| PoolError::Panicked { name: String::new() })?
            .map_err(PoolError::Definition)?;
        let inner = Inner {
            storage: storage.clone(),
            definitions,
            running: store.root().libvirt_socket("storage"),
            tables: Mutex::default(),
            defining: Arc::default(),
            events: broadcast::channel(limits::EVENTS_KEPT).0,
            default_dir: store.root().default_pool(),
            db: store.db().clone(),
            secrets,
        };
        let pools = Self { inner: Arc::new(inner) };
        pools.load().await?;
        pools.tell_storage();
        Ok(pools)
    }

    /// Every pool, by name.
    pub fn list(&self) -> Vec<PoolView> {
        let mut views: Vec<_> = self.tables().slots().map(Slot::view).collect();
        views.sort_by(|one, other| one.name.cmp(&other.name));
        views
    }

    /// One pool, by name or UUID.
    pub fn find(&self, pool: &str) -> Result<PoolView, PoolError> {
        self.by_name(pool).or_else(|error| match pool.parse() {
            Ok(id) => self.by_id(id, None),
            Err(_) => Err(error),
        })
    }

    /// One pool by name.
    pub fn by_name(&self, name: &str) -> Result<PoolView, PoolError> {
        let tables = self.tables();
        let slot = tables.slots().find(|slot| slot.def.name == name);
        slot.map(Slot::view).ok_or_else(|| no_pool("name", name))
    }

    /// One pool by UUID. `name`: what the caller believes it is called, for the error.
    pub fn by_id(&self, id: PoolId, name: Option<&str>) -> Result<PoolView, PoolError> {
        self.with(id, name, Slot::view)
    }

    /// One pool by its directory.
    pub fn by_target(&self, path: &str) -> Result<PoolView, PoolError> {
        let wanted = document::tidy(path);
        let tables = self.tables();
        // libvirt knows the target of active pools only.
        let slot = tables.slots().find(|slot| slot.is_active && slot.def.path() == Some(wanted.as_str()));
        slot.map(Slot::view).ok_or_else(|| no_pool("target path", path))
    }

    /// libvirt's document: of what runs, or (`inactive`) of what is defined.
    pub fn xml(&self, pool: &PoolHandle, inactive: bool) -> Result<String, PoolError> {
        self.with(pool.id, Some(&pool.name), |slot| document::write(slot.document(inactive)))
    }

    /// The volumes of an active pool, by name.
    pub fn volumes(&self, pool: &PoolHandle) -> Result<Vec<Arc<PoolVolume>>, PoolError> {
        self.with(pool.id, Some(&pool.name), |slot| {
            slot.active()?;
            Ok(slot.volumes.values().cloned().collect())
        })?
    }

    /// How many volumes an active pool has.
    pub fn volume_count(&self, pool: &PoolHandle) -> Result<usize, PoolError> {
        self.with(pool.id, Some(&pool.name), |slot| slot.active().map(|()| slot.volumes.len()))?
    }

    /// A volume by its name.
    pub fn volume(&self, pool: &PoolHandle, name: &str) -> Result<Arc<PoolVolume>, PoolError> {
        self.with(pool.id, Some(&pool.name), |slot| {
            slot.active()?;
            slot.volume(name).cloned()
        })?
    }

    /// A volume by its key or path (`by` is for the error), with its pool.
    pub fn volume_by_path(
        &self,
        path: &str,
        by: &'static str,
    ) -> Result<(PoolView, Arc<PoolVolume>), PoolError> {
        let wanted = if path.starts_with('/') { document::tidy(path) } else { path.to_owned() };
        let tables = self.tables();
        let in_slot = |slot: &Slot| {
            let name = Path::new(&wanted).strip_prefix(slot.def.path()?).ok().and_then(Path::to_str);
            let by_name = name.and_then(|name| slot.volumes.get(name));
            let is_it = |volume: &&Arc<PoolVolume>| {
                volume.path == Path::new(&wanted) || (by == "key" && volume.key() == wanted)
            };
            // Of devices the key is not the path.
            let of_devices = || slot.volumes.values().filter(|volume| volume.block.is_some()).find(is_it);
            Some((slot.view(), by_name.or_else(of_devices).cloned()?))
        };
        let found = tables.slots().filter(|slot| slot.is_active).find_map(in_slot);
        found.ok_or_else(|| PoolError::NoVolume { by, value: path.to_owned() })
    }

    /// What happens from now on. A reader who lags loses the oldest.
    pub fn subscribe(&self) -> broadcast::Receiver<PoolHappening> {
        self.inner.events.subscribe()
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn secrets(&self) -> &dyn Secrets {
        &*self.inner.secrets
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.inner.storage
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        // A panic under the lock leaves a table in which each entry is whole: every change is one assignment.
        self.inner.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a pool's slot.
    pub(crate) fn with<T>(
        &self,
        id: PoolId,
        name: Option<&str>,
        look: impl FnOnce(&Slot) -> T,
    ) -> Result<T, PoolError> {
        self.tables().get(id).map(look).ok_or_else(|| PoolError::NoPool {
            by: "uuid",
            value: id.to_string(),
            of: name.map(str::to_owned),
        })
    }

    /// Changes a pool's slot.
    pub(crate) fn change<T>(
        &self,
        pool: &PoolHandle,
        change: impl FnOnce(&mut Slot) -> T,
    ) -> Result<T, PoolError> {
        self.tables().get_mut(pool.id).map(change).ok_or_else(|| PoolError::NoPool {
            by: "uuid",
            value: pool.id.to_string(),
            of: Some(pool.name.clone()),
        })
    }

    pub(crate) fn tell(&self, pool: &PoolHandle, event: PoolEvent) {
        if event != PoolEvent::Refreshed {
            tracing::info!(pool = %pool.name, uuid = %pool.id, "pool {}", event.as_str());
        }
        // Nobody listens: fine.
        let _ = self.inner.events.send((pool.id, pool.name.clone(), event));
    }

    /// Tells the storage where pools are: what images there may name, and what counts as a volume.
    pub(crate) fn tell_storage(&self) {
        let tables = self.tables();
        // Not the directory of a pool of type disk: that is all of `/dev`.
        let is_own = |slot: &&Slot| slot.def.kind != PoolKind::Disk;
        let dirs: Vec<PathBuf> =
            tables.slots().filter(is_own).filter_map(|slot| slot.def.path().map(PathBuf::from)).collect();
        let default = tables.slots().find(|slot| slot.def.name == default::NAME);
        let default = default.and_then(|slot| slot.def.path().map(PathBuf::from));
        drop(tables);
        self.inner.storage.set_places(default.unwrap_or_else(|| self.inner.default_dir.clone()), dirs);
    }

    /// Waits for the pool's turn, not forever.
    pub(crate) async fn turn(&self, pool: &PoolHandle) -> Result<OwnedMutexGuard<()>, PoolError> {
        let turn = self.with(pool.id, Some(&pool.name), |slot| Arc::clone(&slot.turn))?;
        let waited = tokio::time::timeout(limits::TURN, turn.lock_owned()).await;
        waited.map_err(|_| silent(pool, limits::TURN))
    }

    /// Keeps a pool's turn, as a directory that hangs does. For tests.
    #[doc(hidden)]
    pub async fn stick(&self, pool: &PoolHandle) -> Option<OwnedMutexGuard<()>> {
        self.turn(pool).await.ok()
    }

    /// Touches a pool's directory on a blocking thread. After `limit` the caller goes on without an answer; `held`
    /// (a turn, a place among those who look) stays with the thread until the kernel lets it go.
    pub(crate) async fn blocking<T: Send + 'static, H: Send + 'static>(
        &self,
        pool: &PoolHandle,
        limit: Duration,
        held: H,
        act: impl FnOnce() -> Result<T, PoolError> + Send + 'static,
    ) -> Result<(T, H), PoolError> {
        let work = tokio::task::spawn_blocking(move || act().map(|done| (done, held)));
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(PoolError::Panicked { name: pool.name.clone() }),
            Err(_) => Err(silent(pool, limit)),
        }
    }
}

pub(crate) fn no_pool(by: &'static str, value: &str) -> PoolError {
    PoolError::NoPool { by, value: value.to_owned(), of: None }
}

pub(crate) fn silent(pool: &PoolHandle, limit: Duration) -> PoolError {
    PoolError::Silent { name: pool.name.clone(), seconds: limit.as_secs() }
}

/// The UUID of a document that has been completed.
pub(crate) fn id_of(pool: &Pool) -> PoolId {
    pool.uuid.expect("a pool's document is completed before it is used")
}
