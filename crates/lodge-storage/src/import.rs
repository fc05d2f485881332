//! Taking a file in as an image: copied beside the others, so that nobody else can change it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lodge_store::db::now_ms;
use tokio_util::sync::CancellationToken;

use crate::{
    Image, ImageSource, NewImage, Storage,
    copy::copy_sparse,
    error::StorageError,
    file::{Access, DiskFile},
    format::Format,
    image::refuse_backing,
    limits,
    temp::TempFile,
    volume::{check_name, look},
};

impl Storage {
    /// Copies a file into the images' directory and registers it. `tell` gets 0 to 1.
    pub async fn import_image(
        &self,
        name: &str,
        from: &Path,
        format: Format,
        cancel: &CancellationToken,
        tell: impl Fn(f32) + Send + Sync + 'static,
    ) -> Result<Image, StorageError> {
        check_name(name, "an image")?;
        let stop = Arc::new(AtomicBool::new(false));
        // Held to the end: dropping it (this future is cancelled) stops the thread too.
        let _stop = StopOnDrop(Arc::clone(&stop));
        let (dir, source) = (self.images_dir().to_owned(), from.to_owned());
        // Not `blocking`: a copy takes as long as it takes, and is cancelled by the token.
        let (wanted, flag) = (name.to_owned(), Arc::clone(&stop));
        let copying =
            tokio::task::spawn_blocking(move || take_in(&wanted, &dir, &source, format, &flag, &tell));
        let mut copying = std::pin::pin!(copying);
        let copied = tokio::select! {
            copied = &mut copying => copied,
            () = cancel.cancelled() => {
                stop.store(true, Ordering::Relaxed);
                // What hangs in a server that is gone does not see it.
                let seconds = limits::CHANGE.as_secs();
                let silent = |_| StorageError::Silent { path: from.to_owned(), seconds };
                tokio::time::timeout(limits::CHANGE, copying).await.map_err(silent)?
            }
        };
        let path = copied.map_err(|_| StorageError::Panicked { path: from.to_owned() })??;
        self.register_image(NewImage {
            name: name.to_owned(),
            path,
            format,
            sha256: String::new(),
            source: ImageSource::File(from.to_owned()),
            details: serde_json::Value::Null,
        })
        .await
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Copies `from` into the images' directory under a name of its own.
fn take_in(
    name: &str,
    dir: &Path,
    from: &Path,
    format: Format,
    stop: &AtomicBool,
    tell: &(dyn Fn(f32) + Send + Sync),
) -> Result<PathBuf, StorageError> {
    let source = DiskFile::open(from, Access::Read)?;
    refuse_backing(&look(from, format)?)?;
    let length = source.length()?;
    let path = dir.join(format!("{name}-{:012x}.{format}", now_ms()));
    let failed = |source| StorageError::Create { path: path.clone(), source };
    let temp = TempFile::create(dir).map_err(failed)?;
    #[expect(clippy::cast_precision_loss, reason = "a fraction for the eye")]
    let on_bytes = |done: u64| tell(done as f32 / length.max(1) as f32);
    if !copy_sparse(&source.file, temp.file(), stop, &on_bytes).map_err(failed)? {
        return Err(StorageError::Cancelled { path: from.to_owned() });
    }
    temp.keep_as(&path).map_err(failed)?;
    Ok(path)
}
