//! Building, starting, refreshing, stopping and deleting pools.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::OwnedMutexGuard;

use super::{
    PoolEvent, Pools,
    backend::{Backend, Truth, file_dir_of},
    document,
    error::PoolError,
    id_of, reflink, silent,
    table::{PoolHandle, PoolView, Slot},
};
use crate::{limits, temp, vol::facts::PoolVolume};

/// What is made before a pool starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BuildOptions {
    /// A file system is to be made, even over another.
    pub overwrite: bool,
    /// A file system is to be made if there is none.
    pub no_overwrite: bool,
}

impl Pools {
    /// Makes what a pool that does not run is made of: its directory, file system, volume group, partition table.
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
        let turn = self.turn(pool).await?;
        let def = self.with(pool.id, Some(&pool.name), |slot| {
            slot.active()?;
            slot.idle()?;
            Ok::<_, PoolError>(slot.def.clone())
        })??;
        let backend = Backend::of(def.kind)?;
        let ((), _turn) = self.lasting(pool, backend.patience(), turn, backend.stop(def)).await?;
        self.stop(pool).await
    }

    /// Removes what a pool that does not run is made of: its directory, which must be empty, or its volume group.
    pub async fn delete(&self, pool: &PoolHandle) -> Result<(), PoolError> {
        let turn = self.turn(pool).await?;
        let def = self.with(pool.id, Some(&pool.name), |slot| {
            slot.inactive("is still active")?;
            slot.idle()?;
            Ok::<_, PoolError>(slot.def.clone())
        })??;
        let backend = Backend::of(def.kind)?;
        self.lasting(pool, limits::LASTING, turn, backend.delete(def)).await?;
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
            Err(error) if error.is_silence() => Err(error),
            Err(error) => {
                if self.with(pool.id, None, Slot::idle).is_ok_and(|idle| idle.is_ok()) {
                    self.give_up(pool).await?;
                }
                Err(error)
            }
        }
    }

    /// Stops a pool that cannot be used. What of it cannot be stopped is told in the log: its next start finds it.
    async fn give_up(&self, pool: &PoolHandle) -> Result<(), PoolError> {
        let def = self.with(pool.id, Some(&pool.name), |slot| slot.def.clone())?;
        if let (Ok(backend), Ok(turn)) = (Backend::of(def.kind), self.turn(pool).await)
            && let Err(error) = self.lasting(pool, backend.patience(), turn, backend.stop(def)).await
        {
            tracing::warn!(pool = %pool.name, %error, "pool that is not usable not stopped");
        }
        self.stop(pool).await
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

    /// A pool that may run already: under an earlier daemon (`was_noted`), or by other hands. The host decides.
    pub(super) async fn take_up(&self, pool: &PoolHandle, was_noted: bool) -> Result<(), PoolError> {
        let def = self.with(pool.id, Some(&pool.name), |slot| slot.def.clone())?;
        let Ok(backend) = Backend::of(def.kind) else {
            return if was_noted { self.stop(pool).await } else { Ok(()) };
        };
        let turn = self.turn(pool).await?;
        let (truth, turn) = self.lasting(pool, backend.patience(), turn, backend.truth(def)).await?;
        match (truth, was_noted) {
            (Truth::Rests | Truth::AsNoted, false) => return Ok(()),
            (Truth::Rests, true) => return self.stop(pool).await,
            (Truth::Runs | Truth::AsNoted, true) | (Truth::Runs, false) => {}
        }
        self.change(pool, |slot| slot.is_active = true)?;
        let looked = self.look(pool, turn).await;
        if looked.is_ok() && !was_noted {
            self.note(pool).await?;
        }
        match looked {
            // It still runs; what is in it is seen when it answers and somebody refreshes.
            Err(error) if !error.is_silence() => {
                self.give_up(pool).await?;
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Does what a backend does, as a task of its own: should the caller go, or be told that it lasts too long, it
    /// still comes to its end, and `turn` stays with it until then.
    pub(crate) async fn lasting<T: Send + 'static>(
        &self,
        pool: &PoolHandle,
        limit: Duration,
        turn: OwnedMutexGuard<()>,
        act: impl Future<Output = Result<T, PoolError>> + Send + 'static,
    ) -> Result<(T, OwnedMutexGuard<()>), PoolError> {
        let work = tokio::spawn(async move { act.await.map(|done| (done, turn)) });
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(PoolError::Panicked { name: pool.name.clone() }),
            Err(_) => Err(silent(pool, limit)),
        }
    }

    async fn build_in(
        &self,
        pool: &PoolHandle,
        options: BuildOptions,
        turn: OwnedMutexGuard<()>,
    ) -> Result<OwnedMutexGuard<()>, PoolError> {
        let def = self.with(pool.id, Some(&pool.name), |slot| slot.def.clone())?;
        let backend = Backend::of(def.kind)?;
        let ((), turn) = self.lasting(pool, limits::LASTING, turn, backend.build(def, options)).await?;
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
        let def = self.with(pool.id, Some(&pool.name), |slot| slot.def.clone())?;
        let backend = Backend::of(def.kind)?;
        let ((), turn) = self.lasting(pool, backend.patience(), turn, backend.start(def.clone())).await?;
        let started = async {
            let turn = self.prepare(pool, turn).await?;
            self.look(pool, turn).await?;
            self.note(pool).await
        };
        if let Err(error) = started.await {
            // What was mounted for it goes again.
            let turn = self.turn(pool).await?;
            if let Err(error) = self.lasting(pool, backend.patience(), turn, backend.stop(def)).await {
                tracing::warn!(pool = %pool.name, %error, "pool that did not start not undone");
            }
            return Err(error);
        }
        self.change(pool, |slot| slot.is_active = true)?;
        self.tell(pool, PoolEvent::Started);
        Ok(())
    }

    /// Removes what a crash left in a directory, and tries what its file system can.
    async fn prepare(
        &self,
        pool: &PoolHandle,
        turn: OwnedMutexGuard<()>,
    ) -> Result<OwnedMutexGuard<()>, PoolError> {
        let path = self.with(pool.id, Some(&pool.name), |slot| file_dir_of(&slot.def))?;
        let Some(path) = path else { return Ok(turn) };
        let sweep = move || {
            // A directory that is not there is told by the look that follows.
            if let Err(error) = temp::sweep(&path) {
                tracing::debug!(path = %path.display(), %error, "leftovers not looked for");
            }
            Ok(reflink::works(&path))
        };
        let (reflink, turn) = self.blocking(pool, limits::LOOK, turn, sweep).await?;
        self.change(pool, |slot| slot.reflink = reflink)?;
        Ok(turn)
    }

    /// Notes on disk that a pool runs.
    async fn note(&self, pool: &PoolHandle) -> Result<(), PoolError> {
        let def = self.with(pool.id, Some(&pool.name), |slot| slot.def.clone())?;
        let pools = self.clone();
        let note = tokio::task::spawn_blocking(move || pools.note_running(&def));
        note.await.map_err(|_| PoolError::Panicked { name: pool.name.clone() })?
    }

    /// Reads what is in a pool into the table.
    pub(crate) async fn look(&self, pool: &PoolHandle, turn: OwnedMutexGuard<()>) -> Result<(), PoolError> {
        let (def, known) = self.change(pool, |slot| {
            slot.touched.clear();
            let known = slot.volumes.iter().filter(|(_, volume)| volume.is_probed);
            let known = known.map(|(name, volume)| (name.clone(), std::sync::Arc::clone(volume))).collect();
            (slot.def.clone(), known)
        })?;
        let backend = Backend::of(def.kind)?;
        let (seen, _turn) = self.lasting(pool, backend.patience(), turn, backend.look(def, known)).await?;
        self.change(pool, |slot| {
            seen.room.note_in(&mut slot.def);
            if let Some(owner) = seen.owner {
                document::note_owner(&mut slot.def, owner);
            }
            document::note_free(&mut slot.def, seen.free);
            let mut volumes = seen.volumes;
            for (name, volume) in &mut volumes {
                if let Some(before) = slot.volumes.get(name) {
                    keep_encryption(before, volume);
                }
            }
            slot.take_in(volumes);
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

/// Devices of a pool are not read: that one is encrypted is known for as long as it is the same one.
fn keep_encryption(before: &PoolVolume, now: &mut Arc<PoolVolume>) {
    let (Some(was), Some(is)) = (&before.block, &now.block) else { return };
    let is_same = was.key == is.key && (was.key.is_some() || was.extents == is.extents);
    if before.encryption.is_none() || !is_same {
        return;
    }
    let header = before.physical.saturating_sub(before.capacity);
    let now = Arc::make_mut(now);
    now.encryption.clone_from(&before.encryption);
    now.capacity = now.physical.saturating_sub(header);
}
