//! Templates: disks that are written no more and that clones stand on; and clones of any disk that nobody writes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use lodge_model::Bytes;

use super::error::ChainError;
use crate::{
    Storage, Volume,
    error::StorageError,
    format::Format,
    graph::need::Need,
    limits,
    snapshot::NewOverlay,
    volume::{create, look, look_at_any, whole_sectors, write_qcow2},
};

const READ_ONLY: u32 = 0o444;
const WRITABLE: u32 = 0o600;

impl Storage {
    /// Makes a disk a template: nobody writes to it from now on, and it is not deleted by mistake.
    pub async fn make_template(&self, path: &Path, format: Format) -> Result<(), ChainError> {
        let working = self.work_on("a template's making", &[(path.to_owned(), true)]).await?;
        self.refuse_locked(path).await?;
        let owned = path.to_owned();
        // Of an encrypted one its header is enough.
        self.blocking(path, limits::LOOK, move || look_at_any(&owned, format)).await?;
        let writes = |need: &Need| matches!(need, Need::Defined { writes: true, .. });
        if let Some(need) = self.who_needs(path).await?.into_iter().find(writes) {
            return Err(ChainError::Needed { path: path.to_owned(), need });
        }
        // The note first: a crash in between leaves one that is protected, if writable.
        let failed = |source| StorageError::Registry { act: "note the template", source };
        self.db().put_template(&crate::image::real(path)).await.map_err(failed)?;
        self.set_mode(path, READ_ONLY).await?;
        drop(working);
        tracing::info!(path = %path.display(), "disk is a template");
        Ok(())
    }

    /// Makes it an ordinary disk again; refused while others stand on it.
    pub async fn unmake_template(&self, path: &Path) -> Result<(), ChainError> {
        let needs = self.who_needs(path).await?;
        if let Some(need) =
            needs.into_iter().find(|need| matches!(need, Need::Backing { .. } | Need::Running { .. }))
        {
            return Err(ChainError::Needed { path: path.to_owned(), need });
        }
        self.set_mode(path, WRITABLE).await?;
        let failed = |source| StorageError::Registry { act: "forget the template", source };
        self.db().remove_template(&crate::image::real(path)).await.map_err(failed)?;
        Ok(())
    }

    /// Makes a new disk at `path` that begins as `base` and keeps only what differs. Refused where a guest may write
    /// to `base`: the clone would change with it.
    pub async fn link_clone(
        &self,
        base: (&Path, Format),
        path: &Path,
        size: Option<Bytes>,
    ) -> Result<Volume, ChainError> {
        self.refuse_written(base.0).await?;
        self.overlay(base, path, size).await
    }

    /// The same of a base that is encrypted, or stands on what is: how the new disk is, `new` says.
    pub async fn link_clone_of_encrypted(&self, new: &NewOverlay) -> Result<Volume, ChainError> {
        self.refuse_written(&new.backing).await?;
        // All below must open, or the new disk would not.
        self.any_layers(&new.backing, new.format).await?;
        self.create_overlay(new).await?;
        let path = new.path.clone();
        Ok(self.blocking(&new.path, limits::LOOK, move || look_at_any(&path, Format::Qcow2)).await?)
    }

    /// A file that a guest may write is no ground for another's disk.
    pub(crate) async fn refuse_written(&self, path: &Path) -> Result<(), ChainError> {
        let writes = |need: &Need| match need {
            Need::Defined { writes, .. } => *writes,
            Need::Running { how, .. } => *how == crate::claims::Use::Write.as_str(),
            Need::Locked { .. } | Need::Act { .. } => true,
            Need::Snapshot { .. } | Need::Backing { .. } | Need::Image { .. } | Need::Template => false,
        };
        match self.who_needs(path).await?.into_iter().find(writes) {
            Some(need) => Err(ChainError::Needed { path: path.to_owned(), need }),
            None => Ok(()),
        }
    }

    /// As [`Storage::link_clone`], whoever writes to `base`: for the snapshot of a disk that itself goes on above.
    pub async fn overlay(
        &self,
        base: (&Path, Format),
        path: &Path,
        size: Option<Bytes>,
    ) -> Result<Volume, ChainError> {
        // All below must open, or the new disk would not.
        let layers = self.layers_as_named(base.0, base.1).await?;
        let size = whole_sectors(size.unwrap_or(Bytes(layers[0].virtual_bytes)))?;
        let (base, format, path): (PathBuf, _, _) = (base.0.to_owned(), base.1, path.to_owned());
        let place = path.clone();
        let made = self.blocking(&place, limits::CHANGE, move || {
            create(&path, |temp| write_qcow2(temp, size, Some((&base, format))))?;
            look(&path, Format::Qcow2)
        });
        Ok(made.await?)
    }

    async fn set_mode(&self, path: &Path, mode: u32) -> Result<(), ChainError> {
        let owned = path.to_owned();
        let set = move || {
            let set = fs::set_permissions(&owned, fs::Permissions::from_mode(mode));
            Ok(set.map_err(|source| ChainError::File { act: "set the mode of", path: owned, source }))
        };
        self.blocking(path, limits::CHANGE, set).await?
    }
}
