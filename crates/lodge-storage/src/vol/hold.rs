//! Volumes that something is done with: names being taken, volumes that are copied or rewritten.

use std::{path::PathBuf, sync::Arc};

use super::facts::{PoolVolume, VolumeKind};
use crate::{
    error::StorageError,
    graph::{
        ask::{Working, is_of},
        need::{Definitions, Harm, Need, against},
    },
    pool::{Pools, backend::dir_of, error::PoolError, table::PoolHandle},
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

    /// Refuses what would take a volume's bytes from somebody who needs them. No guest gets it while the answer is kept.
    pub(crate) async fn refuse_used(
        &self,
        pool: &PoolHandle,
        volume: &PoolVolume,
        harm: Harm,
    ) -> Result<Option<Working>, PoolError> {
        if volume.kind == VolumeKind::Dir {
            return Ok(None);
        }
        let used = |need: &Need| PoolError::InUse {
            name: volume.name.clone(),
            why: need.to_string(),
            next: need.next_step(),
        };
        let path = &volume.path;
        // Taken first and asked after, so that a guest that starts meanwhile does not slip through.
        let what = format!("an act on volume '{}' of pool '{}'", volume.name, pool.name);
        let working = match self.storage().work_on(&what, &[(path.clone(), true)]).await {
            // Who has it is told by the graph, in its words.
            Err(StorageError::InUse { .. } | StorageError::AtWork { .. }) => None,
            working => Some(working.map_err(PoolError::Disk)?),
        };
        let mut needs = self.storage().who_needs(path).await.map_err(PoolError::Disk)?;
        if let Some(working) = &working {
            needs.retain(|need| !is_of(need, working.id, None));
        }
        match (against(harm, Definitions::OfOneDoNot, &needs), working) {
            (Some(need), _) => Err(used(need)),
            (None, Some(working)) => Ok(Some(working)),
            // It was let go between the two looks.
            (None, None) => self
                .storage()
                .work_on(&what, &[(path.clone(), true)])
                .await
                .map(Some)
                .map_err(PoolError::Disk),
        }
    }
}
