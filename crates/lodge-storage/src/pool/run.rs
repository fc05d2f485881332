//! Building, starting, refreshing, stopping and deleting pools.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use lodge_model::storage::{Pool, PoolKind};
use lodge_sys::fs::{create_dirs_durable, sync_dir};
use tokio::sync::OwnedMutexGuard;

use super::{
    PoolEvent, Pools,
    document::{self, Room},
    error::PoolError,
    id_of,
    table::{PoolHandle, PoolView, Slot},
};
use crate::{
    limits, temp,
    vol::{facts::Owner, scan::scan},
};

/// Mode of a pool's directory where the document says none; libvirt's.
const DIR_MODE: u32 = 0o711;

/// What is made before a pool starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BuildOptions {
    /// A file system is to be made, even over another.
    pub overwrite: bool,
    /// A file system is to be made if there is none.
    pub no_overwrite: bool,
}

/// What a scan brought.
struct Seen {
    room: Room,
    owner: Owner,
    volumes: std::collections::BTreeMap<String, std::sync::Arc<crate::PoolVolume>>,
}

impl Pools {
    /// Makes the directory of a pool that does not run.
    pub async fn build(&self, pool: &PoolHandle, options: BuildOptions) -> Result<(), PoolError> {
        let turn = self.turn(pool).await?;
        self.with(pool.id, Some(&pool.name), |slot| slot.inactive("is already active"))??;
        self.build_in(pool, options, turn).await?;
        self.tell(pool, PoolEvent::Created);
        Ok(())
    }

    /// Starts a pool. `build`: its directory is made first.
    pub async fn start(&self, pool: &PoolHandle, build: Option<BuildOptions>) -> Result<(), PoolError> {
        let turn = self.turn(pool).await?;
        self.with(pool.id, Some(&pool.name), |slot| slot.inactive("is already active"))??;
        self.start_in(pool, build, turn).await
    }

    /// Starts a pool without a definition; one that is defined alike and does not run is started as said here.
    pub async fn create(
        &self,
        xml: &str,
        build: Option<BuildOptions>,
        strict: bool,
    ) -> Result<PoolView, PoolError> {
        let pool = document::read(xml, strict)?;
        let _defining = self.inner().defining.lock().await;
        self.make_way_for(&pool).await?;
        let handle = PoolHandle { id: id_of(&pool), name: pool.name.clone() };
        let before = {
            let mut tables = self.tables();
            tables.admit(&pool, true)?;
            if let Some(slot) = tables.get_mut(handle.id) {
                let defined = std::mem::replace(&mut slot.def, pool);
                slot.new_def = Some(defined.clone());
                Some(defined)
            } else {
                tables.insert(Slot::new(pool));
                None
            }
        };
        let started = match self.turn(&handle).await {
            Ok(turn) => self.start_in(&handle, build, turn).await,
            Err(error) => Err(error),
        };
        if let Err(error) = started {
            match before {
                Some(defined) => self.change(&handle, |slot| {
                    slot.def = defined;
                    slot.new_def = None;
                })?,
                None => drop(self.tables().remove(handle.id)),
            }
            return Err(error);
        }
        self.tell_storage();
        self.by_id(handle.id, None)
    }

    /// Stops a pool; its files stay. A transient one is gone then.
    pub async fn destroy(&self, pool: &PoolHandle) -> Result<(), PoolError> {
        let _turn = self.turn(pool).await?;
        self.with(pool.id, Some(&pool.name), |slot| {
            slot.active()?;
            slot.idle()
        })??;
        self.stop(pool).await
    }

    /// Removes the directory of a pool that does not run. It must be empty.
    pub async fn delete(&self, pool: &PoolHandle) -> Result<(), PoolError> {
        let turn = self.turn(pool).await?;
        let path = self.with(pool.id, Some(&pool.name), |slot| {
            slot.inactive("is still active")?;
            slot.idle()?;
            dir_of(&slot.def)
        })??;
        let remove = move || {
            let failed =
                |source| PoolError::system(format!("failed to remove pool '{}'", path.display()), source);
            fs::remove_dir(&path).map_err(failed)?;
            path.parent().map_or(Ok(()), sync_dir).map_err(failed)
        };
        self.blocking(pool, limits::CHANGE, turn, remove).await?;
        self.tell(pool, PoolEvent::Deleted);
        Ok(())
    }

    /// Looks at an active pool's files anew. A pool whose directory cannot be read runs no more.
    pub async fn refresh(&self, pool: &PoolHandle) -> Result<(), PoolError> {
        let turn = self.turn(pool).await?;
        self.with(pool.id, Some(&pool.name), Slot::active)??;
        match self.look(pool, turn).await {
            Ok(()) => {
                self.tell(pool, PoolEvent::Refreshed);
                Ok(())
            }
            // It may answer again; to stop it would take its guests' volumes away.
            Err(error @ PoolError::Silent { .. }) => Err(error),
            Err(error) => {
                if self.with(pool.id, None, Slot::idle).is_ok_and(|idle| idle.is_ok()) {
                    self.stop(pool).await?;
                }
                Err(error)
            }
        }
    }

    /// Starts the pools marked so. One that fails does not stop the others.
    pub async fn autostart(&self) -> Vec<(String, PoolError)> {
        let marked = self.list().into_iter().filter(|pool| pool.autostart && !pool.is_active);
        let mut starts = tokio::task::JoinSet::new();
        for view in marked {
            let pools = self.clone();
            starts.spawn(async move {
                let started = pools.start(&view.handle(), None).await;
                started.err().map(|error| (view.name, error))
            });
        }
        starts.join_all().await.into_iter().flatten().collect()
    }

    /// A pool that ran under an earlier daemon.
    pub(super) async fn take_up(&self, pool: &PoolHandle) -> Result<(), PoolError> {
        self.change(pool, |slot| slot.is_active = true)?;
        let turn = self.turn(pool).await?;
        match self.look(pool, turn).await {
            // It still runs; what is in it is seen when it answers and somebody refreshes.
            Ok(()) | Err(PoolError::Silent { .. }) => Ok(()),
            Err(error) => {
                self.stop(pool).await?;
                Err(error)
            }
        }
    }

    async fn build_in(
        &self,
        pool: &PoolHandle,
        options: BuildOptions,
        turn: OwnedMutexGuard<()>,
    ) -> Result<OwnedMutexGuard<()>, PoolError> {
        let def = self.with(pool.id, Some(&pool.name), |slot| slot.def.clone())?;
        let path = dir_of(&def)?;
        let make = move || make_dir(&path, &def);
        let ((), turn) = self.blocking(pool, limits::CHANGE, turn, make).await?;
        if options.overwrite || options.no_overwrite {
            return Err(PoolError::State(format!(
                "No source device specified when formatting pool '{}'",
                pool.name
            )));
        }
        Ok(turn)
    }

    async fn start_in(
        &self,
        pool: &PoolHandle,
        build: Option<BuildOptions>,
        mut turn: OwnedMutexGuard<()>,
    ) -> Result<(), PoolError> {
        if let Some(options) = build {
            turn = self.build_in(pool, options, turn).await?;
        }
        let path = self.with(pool.id, Some(&pool.name), |slot| dir_of(&slot.def))??;
        let sweep = move || {
            // A directory that is not there is told by the look that follows.
            if let Err(error) = temp::sweep(&path) {
                tracing::debug!(path = %path.display(), %error, "leftovers not looked for");
            }
            Ok(())
        };
        let ((), turn) = self.blocking(pool, limits::LOOK, turn, sweep).await?;
        self.look(pool, turn).await?;
        let def = self.with(pool.id, Some(&pool.name), |slot| slot.def.clone())?;
        let pools = self.clone();
        let note = tokio::task::spawn_blocking(move || pools.note_running(&def));
        note.await.map_err(|_| PoolError::Panicked { name: pool.name.clone() })??;
        self.change(pool, |slot| slot.is_active = true)?;
        self.tell(pool, PoolEvent::Started);
        Ok(())
    }

    /// Reads the directory into the table.
    async fn look(&self, pool: &PoolHandle, turn: OwnedMutexGuard<()>) -> Result<(), PoolError> {
        let (path, known) = self.tables().get_mut(pool.id).map_or_else(
            || Err(PoolError::NoPool { by: "uuid", value: pool.id.to_string(), of: Some(pool.name.clone()) }),
            |slot| {
                slot.touched.clear();
                let known = slot.volumes.iter().filter(|(_, volume)| volume.is_probed);
                let known =
                    known.map(|(name, volume)| (name.clone(), std::sync::Arc::clone(volume))).collect();
                Ok((dir_of(&slot.def)?, known))
            },
        )?;
        let see = move || see(&path, &known);
        let (seen, _turn) = self.blocking(pool, limits::SCAN, turn, see).await?;
        self.change(pool, |slot| {
            seen.room.note_in(&mut slot.def);
            document::note_owner(&mut slot.def, seen.owner);
            slot.take_in(seen.volumes);
        })
    }

    pub(super) async fn stop(&self, pool: &PoolHandle) -> Result<(), PoolError> {
        let (pools, name) = (self.clone(), pool.name.clone());
        tokio::task::spawn_blocking(move || pools.note_stopped(&name))
            .await
            .map_err(|_| PoolError::Panicked { name: pool.name.clone() })?;
        let is_persistent = self.change(pool, |slot| {
            slot.stopped();
            slot.is_persistent
        })?;
        if !is_persistent {
            self.tables().remove(pool.id);
        }
        self.tell_storage();
        self.tell(pool, PoolEvent::Stopped);
        Ok(())
    }
}

/// The directory of a pool that has one; other types are not run.
pub(crate) fn dir_of(pool: &Pool) -> Result<PathBuf, PoolError> {
    match pool.path() {
        Some(path) if pool.kind == PoolKind::Dir => Ok(path.into()),
        _ => Err(PoolError::NoBackend { kind: pool.kind }),
    }
}

/// Makes a pool's directory with the wanted owner and mode. One that is there stays as it is, unless the document
/// wants it otherwise.
fn make_dir(path: &Path, def: &Pool) -> Result<(), PoolError> {
    let failed = |source| PoolError::system(format!("cannot create path '{}'", path.display()), source);
    let (mode, uid, gid) = document::wanted(def.target.as_deref());
    if let Some(parent) = path.parent() {
        create_dirs_durable(parent, 0o755).map_err(failed)?;
    }
    let is_new = match fs::DirBuilder::new().mode(mode.unwrap_or(DIR_MODE)).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => false,
        Err(error) => return Err(failed(error)),
    };
    if uid.is_some() || gid.is_some() {
        std::os::unix::fs::chown(path, uid, gid).map_err(failed)?;
    }
    if let Some(mode) = mode.or(is_new.then_some(DIR_MODE)) {
        // Not what the umask left of it.
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).map_err(failed)?;
    }
    path.parent().map_or(Ok(()), sync_dir).map_err(failed)
}

fn see(
    path: &Path,
    known: &std::collections::BTreeMap<String, std::sync::Arc<crate::PoolVolume>>,
) -> Result<Seen, PoolError> {
    let failed = |source| PoolError::system(format!("cannot open directory '{}'", path.display()), source);
    let volumes = scan(path, known).map_err(failed)?;
    let owner = Owner::of(&fs::metadata(path).map_err(failed)?);
    Ok(Seen { room: room(path)?, owner, volumes })
}

/// The room on a directory's file system.
pub(crate) fn room(path: &Path) -> Result<Room, PoolError> {
    let failed = |source| PoolError::system(format!("cannot statvfs path '{}'", path.display()), source);
    let stat = rustix::fs::statvfs(path).map_err(failed)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    // What only root may fill counts as free, as libvirt has it.
    let (capacity, available) = (bytes(stat.f_blocks), bytes(stat.f_bfree));
    Ok(Room { capacity, available, allocation: capacity.saturating_sub(available) })
}
