//! Volumes that something is done with: names being taken, volumes that are copied or rewritten.

use std::{path::PathBuf, sync::Arc};

use super::facts::{PoolVolume, VolumeKind};
use crate::{
    file::{Access, DiskFile},
    limits,
    lock::{self, Intent},
    pool::{
        Pools,
        backend::{dir_of, file_dir_of},
        error::PoolError,
        table::PoolHandle,
    },
};

/// A name that a new volume will have. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Making {
    pools: Pools,
    pool: PoolHandle,
    pub name: String,
    /// Where it will lie.
    pub path: PathBuf,
}

/// A volume that is worked with. Free again when dropped.
#[derive(Debug)]
pub(crate) struct Busy {
    pools: Pools,
    pool: PoolHandle,
    name: String,
}

impl Drop for Making {
    fn drop(&mut self) {
        // A pool that is gone has no names.
        let _ = self.pools.change(&self.pool, |slot| slot.making.remove(&self.name));
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.pools.change(&self.pool, |slot| {
            if let Some(count) = slot.busy.get_mut(&self.name) {
                *count -= 1;
                if *count == 0 {
                    slot.busy.remove(&self.name);
                }
            }
        });
    }
}

impl Pools {
    /// Takes a name for a new volume, so that two cannot be made under it. `taken` is said if there is one.
    pub(crate) fn reserve(
        &self,
        pool: &PoolHandle,
        name: &str,
        taken: impl FnOnce() -> PoolError,
    ) -> Result<Making, PoolError> {
        let path = self.change(pool, |slot| {
            slot.active()?;
            if slot.volumes.contains_key(name) || slot.making.contains(name) {
                return Err(taken());
            }
            if name.contains('/') {
                return Err(PoolError::State(format!("volume name '{name}' cannot contain '/'")));
            }
            let path = dir_of(&slot.def)?.join(name);
            slot.making.insert(name.to_owned());
            Ok(path)
        })??;
        Ok(Making { pools: self.clone(), pool: pool.clone(), name: name.to_owned(), path })
    }

    /// Takes a volume to read all of it: it cannot be deleted or rewritten meanwhile.
    pub(crate) fn hold(&self, pool: &PoolHandle, name: &str) -> Result<(Arc<PoolVolume>, Busy), PoolError> {
        let volume = self.change(pool, |slot| {
            slot.active()?;
            let volume = Arc::clone(slot.volume(name)?);
            *slot.busy.entry(name.to_owned()).or_default() += 1;
            Ok::<_, PoolError>(volume)
        })??;
        Ok((volume, Busy { pools: self.clone(), pool: pool.clone(), name: name.to_owned() }))
    }

    /// Takes a volume to change or remove it: nobody else may be at it.
    pub(crate) fn hold_alone(
        &self,
        pool: &PoolHandle,
        name: &str,
    ) -> Result<(Arc<PoolVolume>, Busy), PoolError> {
        self.with(pool.id, Some(&pool.name), |slot| {
            slot.active()?;
            slot.volume(name)?;
            slot.unused(name)
        })??;
        self.hold(pool, name)
    }

    /// Refuses to change or remove what a guest uses, what another program has locked, and what others stand on.
    pub(crate) async fn refuse_used(&self, pool: &PoolHandle, volume: &PoolVolume) -> Result<(), PoolError> {
        if volume.kind == VolumeKind::Dir {
            return Ok(());
        }
        let used = |why: String| PoolError::InUse { name: volume.name.clone(), why };
        let path = volume.path.clone();
        let look = move || {
            // Gone or not to be opened: nobody here has it either.
            let Ok(disk) = DiskFile::open(&path, Access::Read) else { return Ok(None) };
            let foreign = lock::foreign(&disk, Intent { writes: true, shares_writing: false });
            let real = std::fs::canonicalize(&path).unwrap_or(path);
            Ok(Some((disk.id, foreign.ok().flatten(), real)))
        };
        let (found, ()) = self.blocking(pool, limits::LOOK, (), look).await?;
        let Some((id, foreign, real)) = found else { return Ok(()) };
        if let Some(holder) = self.storage().claims().holder(id) {
            return Err(used(format!("domain '{holder}' uses it")));
        }
        if foreign.is_some() {
            return Err(used("another program has locked it".to_owned()));
        }
        if let Some(image) = self
            .storage()
            .images()
            .await
            .map_err(PoolError::Disk)?
            .into_iter()
            .find(|image| image.path == real)
        {
            return Err(used(format!("it is the image '{}'", image.name)));
        }
        match self.overlay_of(&real).await {
            Some(overlay) => Err(used(format!("volume '{}' stands on it", overlay.display()))),
            None => Ok(()),
        }
    }

    /// A volume that stands on the file at `base`. Each pool is looked at anew; one that does not answer is judged
    /// by what was last seen of it.
    async fn overlay_of(&self, base: &std::path::Path) -> Option<PathBuf> {
        let mut looks = tokio::task::JoinSet::new();
        for view in self.list().into_iter().filter(|pool| pool.is_active) {
            let (pools, base) = (self.clone(), base.to_owned());
            looks.spawn(async move { pools.overlay_in(&view.handle(), base).await });
        }
        looks.join_all().await.into_iter().flatten().next()
    }

    async fn overlay_in(&self, pool: &PoolHandle, base: PathBuf) -> Option<PathBuf> {
        let known = self.with(pool.id, None, |slot| (file_dir_of(&slot.def), slot.volumes.clone())).ok()?;
        let (dir, known) = known;
        let seen = known.clone();
        let permit = self.permit(pool).await.ok()?;
        let look = move || {
            // What stands on a device is LVM's to say; it is asked again before anything goes.
            let Some(dir) = dir else { return Ok(seen) };
            Ok(super::scan::scan(&dir, &seen).unwrap_or(seen))
        };
        let volumes = match self.blocking(pool, limits::LOOK, permit, look).await {
            Ok((volumes, _)) => volumes,
            Err(error) => {
                tracing::warn!(pool = %pool.name, %error, "pool judged by what was last seen of it");
                known
            }
        };
        let on_base = |volume: &Arc<PoolVolume>| {
            // A snapshot of LVM's keeps what was there, whatever is written now; its origin's end LVM's part refuses.
            if volume.block.is_some() {
                return None;
            }
            let backing = volume.backing.as_ref()?;
            let path = crate::chain::backing_path(&volume.path, &backing.path.to_string_lossy()).ok()?;
            (path == base || std::fs::canonicalize(&path).is_ok_and(|path| path == base))
                .then(|| volume.path.clone())
        };
        volumes.values().find_map(on_base)
    }
}
