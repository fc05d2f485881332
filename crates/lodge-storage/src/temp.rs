//! A file that gets its name when it is whole and on disk, or goes without a trace.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use lodge_sys::fs::{TEMP_PREFIX, sync_dir};
use rustix::fs::{CWD, RenameFlags, renameat_with};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// A new file beside its future place. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct TempFile {
    path: PathBuf,
    file: File,
    is_kept: bool,
}

impl TempFile {
    /// Makes an empty one in `dir`, for its owner alone.
    pub fn create(dir: &Path) -> io::Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{TEMP_PREFIX}disk.{}.{number}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, file, is_kept: false })
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name, unless something has that name. After `Ok` it survives a crash.
    pub fn keep_as(mut self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        match renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE) {
            // Some network file systems cannot: a link is refused too if the name is taken.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                fs::hard_link(&self.path, path)?;
                fs::remove_file(&self.path)?;
            }
            result => result?,
        }
        self.is_kept = true;
        sync_dir(path.parent().unwrap_or(Path::new("/")))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "temporary file not removed");
        }
    }
}

/// Removes what a crash left in `dir`. Only for directories that are this daemon's alone.
pub(crate) fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes())
            && entry.file_type()?.is_file()
        {
            tracing::info!(path = %entry.path().display(), "leftover of a crash removed");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_name_that_is_taken_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "old").unwrap();
        let error = TempFile::create(dir.path()).unwrap().keep_as(&dir.path().join("a")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn a_crash_leaves_only_what_the_next_start_removes() {
        let dir = tempfile::tempdir().unwrap();
        // As if the process had ended here.
        std::mem::forget(TempFile::create(dir.path()).unwrap());
        fs::write(dir.path().join("web1.qcow2"), "x").unwrap();
        sweep(dir.path()).unwrap();
        assert_eq!(names(dir.path()), ["web1.qcow2"]);
    }
}
