//! The pool `default`, which `lodge run` puts its disks into.
//!
//! It is made when it is first needed, and noted as ours: a user who defines a pool of that name, or of that
//! directory, gets it as if there had been none. Its files are not touched by that.

use std::path::{Path, PathBuf};

use lodge_model::{PoolId, storage::Pool};

use super::{
    Pools, document,
    error::PoolError,
    id_of,
    table::{PoolHandle, PoolView},
};

/// libvirt's tools know it by this name.
pub(crate) const NAME: &str = "default";
/// Where its UUID is noted while it is ours.
const NOTE: &str = "pool.default";

impl Pools {
    /// The pool that new disks go into, running. Made and marked for autostart if there is none.
    pub async fn ensure_default(&self) -> Result<PoolView, PoolError> {
        let dir = self.inner().default_dir.to_string_lossy().into_owned();
        let found = self.by_name(NAME).ok().or_else(|| {
            // The directory may be another pool's: then that is the one.
            self.list()
                .into_iter()
                .find(|pool| pool.path.as_deref() == Some(self.inner().default_dir.as_path()))
        });
        let view = match found {
            Some(view) => view,
            None => self.make_default(&dir).await?,
        };
        if !view.is_active {
            match self.start(&view.handle(), Some(super::run::BuildOptions::default())).await {
                // Somebody else was first.
                Err(PoolError::State(_)) if self.by_id(view.id, None)?.is_active => {}
                started => started?,
            }
        }
        self.by_id(view.id, None)
    }

    /// Where a volume that a guest's disk names lies.
    pub fn path_of(&self, pool: &str, volume: &str) -> Result<PathBuf, PoolError> {
        let dir_of_default = || (pool == NAME).then(|| self.inner().default_dir.clone());
        let dir = match self.by_name(pool) {
            Ok(view) if view.is_active => view.path,
            Ok(_) => {
                let text = format!("storage pool '{pool}' containing volume '{volume}' is not active");
                return Err(PoolError::Config(text));
            }
            // Before it is a pool, its directory is there already.
            Err(error) => Some(dir_of_default().ok_or(error)?),
        };
        let missing = || PoolError::NoVolume { by: "name", value: volume.to_owned() };
        let dir = dir.filter(|_| !volume.is_empty() && !volume.contains('/') && volume != "..");
        dir.map(|dir| dir.join(volume)).ok_or_else(missing)
    }

    /// A file came or went by other ways than the pool's own.
    pub async fn noticed(&self, path: &Path) {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return;
        };
        let is_here = |pool: &PoolView| pool.is_active && pool.path.as_deref() == Some(dir);
        let Some(view) = self.list().into_iter().find(is_here) else { return };
        let (path, of) = (path.to_owned(), name.to_owned());
        let see = move || Ok(crate::vol::scan::look(&path, &of, None).ok().flatten());
        let Ok((seen, ())) = self.blocking(&view.handle(), crate::limits::LOOK, (), see).await else {
            return;
        };
        // A pool that is gone meanwhile has no volumes.
        let _ = self.change(&view.handle(), |slot| match seen {
            Some(volume) => drop(slot.put(volume)),
            None => slot.forget(name),
        });
    }

    async fn make_default(&self, dir: &str) -> Result<PoolView, PoolError> {
        let path = dir.replace('&', "&amp;").replace('<', "&lt;");
        let id = PoolId::random();
        let xml = format!(
            "<pool type='dir'><name>{NAME}</name><uuid>{id}</uuid><target><path>{path}</path></target></pool>"
        );
        let note = self.inner().db.set_value(NOTE, id.to_string().into_bytes());
        note.await.map_err(|error| PoolError::Internal(error.to_string()))?;
        let view = match self.define(&xml, false).await {
            Ok(view) => view,
            // Somebody else was first.
            Err(PoolError::Clash(_)) => return self.by_name(NAME),
            Err(error) => return Err(error),
        };
        self.set_autostart(&view.handle(), true).await?;
        Ok(view)
    }

    /// A pool that we made unasked gives way to one a user wants in its place. Called with definitions locked.
    pub(super) async fn make_way_for(&self, pool: &Pool) -> Result<(), PoolError> {
        let Some(ours) = self.unasked().await else { return Ok(()) };
        let is_other = ours.id != id_of(pool);
        let is_in_the_way = pool.name == ours.name || pool.path().map(document::tidy) == path_of(&ours);
        if !is_other || !is_in_the_way {
            return Ok(());
        }
        let handle = ours.handle();
        if ours.is_active {
            self.with(handle.id, None, super::table::Slot::idle)??;
            self.stop(&handle).await?;
        }
        self.forget_ours(&handle).await
    }

    async fn unasked(&self) -> Option<PoolView> {
        let note = self.inner().db.value(NOTE).await.ok()??;
        let id = String::from_utf8(note).ok()?.parse().ok()?;
        self.by_id(id, None).ok()
    }

    async fn forget_ours(&self, pool: &PoolHandle) -> Result<(), PoolError> {
        let (definitions, name) = (self.inner().definitions.clone(), pool.name.clone());
        let removed = tokio::task::spawn_blocking(move || {
            definitions.set_autostart(&name, false)?;
            definitions.remove(&name)
        });
        removed
            .await
            .map_err(|_| PoolError::Panicked { name: pool.name.clone() })?
            .map_err(PoolError::Definition)?;
        self.tables().remove(pool.id);
        tracing::info!(pool = %pool.name, "pool made unasked gave way to a user's");
        if let Err(error) = self.inner().db.remove_value(NOTE).await {
            tracing::warn!(%error, "note of the pool `default` not removed");
        }
        Ok(())
    }
}

fn path_of(view: &PoolView) -> Option<String> {
    view.path.as_ref().map(|path| path.to_string_lossy().into_owned())
}
