//! Putting a whole new file in another's place: filled beside it, synced, renamed. The old one is there until then.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::error::ChainError;
use crate::{Storage, copy::copy_sparse, limits, temp::TempFile};

impl Storage {
    /// A new file beside `path`, its owner and mode the same. `copy`: its bytes as well, shared where the file system can.
    pub(crate) async fn file_beside(&self, path: &Path, copy: bool) -> Result<TempFile, ChainError> {
        let owned = path.to_owned();
        // One that cannot be looked at is told by what follows.
        let look = move || Ok(fs::metadata(owned).map_or(0, |metadata| metadata.blocks() * 512));
        let bytes = self.blocking(path, limits::LOOK, look).await?;
        let owned = path.to_owned();
        let limit = limits::work(if copy { bytes } else { 0 });
        self.blocking(path, limit, move || Ok(beside(&owned, copy))).await?
    }

    /// Gives a finished file the place of another.
    pub(crate) async fn put_in_place(&self, temp: TempFile, path: &Path) -> Result<(), ChainError> {
        let owned = path.to_owned();
        let put = move || {
            Ok(temp.replace(&owned).map_err(|source| ChainError::File {
                act: "replace",
                path: owned,
                source,
            }))
        };
        self.blocking(path, limits::CHANGE, put).await??;
        // It is another file now, and meant to be.
        self.forget_identity(path).await;
        Ok(())
    }

    /// Syncs a file that a tool wrote.
    pub(crate) async fn sync(&self, path: &Path) -> Result<(), ChainError> {
        let owned = path.to_owned();
        let sync = move || {
            let synced = fs::File::open(&owned).and_then(|file| file.sync_all());
            Ok(synced.map_err(|source| ChainError::File { act: "sync", path: owned, source }))
        };
        self.blocking(path, limits::CHANGE, sync).await?
    }
}

fn beside(path: &Path, copy: bool) -> Result<TempFile, ChainError> {
    let failed = |act, source| ChainError::File { act, path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(|source| failed("look at", source))?;
    if !metadata.is_file() {
        return Err(ChainError::Device { path: path.to_owned() });
    }
    let dir: PathBuf = path.parent().unwrap_or(Path::new("/")).to_owned();
    let temp = TempFile::create(&dir).map_err(|source| failed("make a file beside", source))?;
    let same = || {
        std::os::unix::fs::fchown(temp.file(), Some(metadata.uid()), Some(metadata.gid()))?;
        temp.file().set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o7777))
    };
    same().map_err(|source| failed("make a file like", source))?;
    if copy {
        let from = fs::File::open(path).map_err(|source| failed("open", source))?;
        let never = std::sync::atomic::AtomicBool::new(false);
        copy_sparse(&from, temp.file(), &never, &|_| ()).map_err(|source| failed("copy", source))?;
    }
    Ok(temp)
}
