//! A disk of its own for another guest: the same bytes, made without touching the ones there are.
//!
//! Three ways, by what the new disk stands on: on the old one ([`Storage::link_clone`], for a base that nobody writes),
//! on what the old one stands on (here; with blocks shared where the file system can), on nothing
//! ([`Storage::convert_image`]).

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lodge_sys::fs::remove_durable;
use tokio_util::sync::CancellationToken;

use super::{Gate, Keys, error::ChainError, open_chain};
use crate::{
    Storage, Volume,
    copy::copy_sparse,
    error::StorageError,
    file::{Access, DiskFile},
    format::Format,
    graph::need::Need,
    limits,
    ports::SecretValue,
    temp::TempFile,
    unlock::Seal,
    volume::look_at_any,
};

impl Storage {
    /// Copies the file of a disk that nobody writes now (no guest has it, or a guest's disk stands on it); what that stands
    /// on, the copy stands on too. `tell` gets 0 to 1.
    pub async fn copy_layer(
        &self,
        from: (&Path, Format),
        to: &Path,
        cancel: &CancellationToken,
        tell: impl Fn(f32) + Send + Sync + 'static,
    ) -> Result<Volume, ChainError> {
        let (path, format) = (from.0.to_owned(), from.1);
        let working = self.work_on("a copy", &[(path.clone(), false)]).await?;
        if let Some(need) = self.writer(&path).await? {
            return Err(ChainError::Needed { path, need });
        }
        // What is encrypted is copied as it is.
        let layers = self.any_layers(&path, format).await?;
        let is_relative = layers[0]
            .header
            .as_ref()
            .and_then(|header| header.backing.as_ref())
            .is_some_and(|backing| !Path::new(&backing.name).is_absolute());
        if is_relative && path.parent() != to.parent() {
            return Err(ChainError::RelativeBacking { path });
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, target) = (Arc::clone(&stop), to.to_owned());
        // Not `blocking`: a copy takes as long as it takes, and is stopped by the token.
        let copying = tokio::task::spawn_blocking(move || copy(&path, &target, format, &flag, &tell));
        let mut copying = std::pin::pin!(copying);
        let copied = tokio::select! {
            copied = &mut copying => copied,
            () = cancel.cancelled() => {
                stop.store(true, Ordering::Relaxed);
                // What hangs in a server that is gone does not see it.
                let seconds = limits::CHANGE.as_secs();
                let silent = |_| StorageError::Silent { path: from.0.to_owned(), seconds };
                tokio::time::timeout(limits::CHANGE, copying).await.map_err(silent)?
            }
        };
        drop(working);
        Ok(copied.map_err(|_| StorageError::Panicked { path: from.0.to_owned() })??)
    }

    /// Copies all of a disk that is encrypted, or stands on what is, into a qcow2 that stands alone and is encrypted as
    /// `seal` says. `secrets`: what opens each of its files, the top one first.
    pub async fn copy_sealed(
        &self,
        from: (&Path, Format),
        secrets: Vec<Option<SecretValue>>,
        to: (&Path, &Seal),
        cancel: &CancellationToken,
    ) -> Result<Volume, ChainError> {
        let (path, format) = (from.0.to_owned(), from.1);
        let working = self.work_on("a copy", &[(path.clone(), false)]).await?;
        if let Some(need) = self.writer(&path).await? {
            return Err(ChainError::Needed { path, need });
        }
        let keys = Keys::Told(secrets.iter().map(Option::is_some).collect());
        let gate = Gate { keys, ..self.gate() };
        let look = move || open_chain(&path, format, Access::Read, &gate);
        let chain = self.blocking(from.0, limits::LOOK, look).await?;
        self.seal_all_of(&chain, secrets, to, cancel).await?;
        drop(working);
        let made = to.0.to_owned();
        Ok(self.blocking(to.0, limits::LOOK, move || look_at_any(&made, Format::Qcow2)).await?)
    }

    /// Takes a disk back that was just made and that nobody has yet. Fine if it is gone.
    pub async fn discard_copy(&self, path: &Path) -> Result<(), ChainError> {
        let needs = self.who_needs(path).await?;
        if let Some(need) = needs.into_iter().find(|need| !matches!(need, Need::Template)) {
            return Err(ChainError::Needed { path: path.to_owned(), need });
        }
        self.forget_template(path).await?;
        let owned = path.to_owned();
        let gone = move || {
            remove_durable(&owned).map(drop).map_err(|source| StorageError::Delete { path: owned, source })
        };
        Ok(self.blocking(path, limits::CHANGE, gone).await?)
    }

    /// Notes that a file is no template: of one that goes.
    pub(super) async fn forget_template(&self, path: &Path) -> Result<(), ChainError> {
        let failed = |source| StorageError::Registry { act: "forget the template", source };
        self.db().remove_template(&crate::image::real(path)).await.map(drop).map_err(failed)?;
        Ok(())
    }
}

fn copy(
    from: &Path,
    to: &Path,
    format: Format,
    stop: &AtomicBool,
    tell: &(dyn Fn(f32) + Send + Sync),
) -> Result<Volume, StorageError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => StorageError::Exists { path: to.to_owned() },
        _ => StorageError::Create { path: to.to_owned(), source },
    };
    if to.symlink_metadata().is_ok() {
        return Err(StorageError::Exists { path: to.to_owned() });
    }
    let source = DiskFile::open(from, Access::Read)?;
    let length = source.length()?;
    let directory: PathBuf = to.parent().unwrap_or(Path::new("/")).to_owned();
    let temp = TempFile::create(&directory).map_err(failed)?;
    #[expect(clippy::cast_precision_loss, reason = "a fraction for the eye")]
    let on_bytes = |done: u64| tell(done as f32 / length.max(1) as f32);
    if !copy_sparse(&source.file, temp.file(), stop, &on_bytes).map_err(failed)? {
        return Err(StorageError::Cancelled { path: from.to_owned() });
    }
    temp.keep_as(to).map_err(failed)?;
    look_at_any(to, format)
}
