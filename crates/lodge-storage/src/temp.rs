//! A file that gets its name when it is whole and on disk, or goes without a trace.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use lodge_sys::fs::{TEMP_PREFIX, apart, sync_dir};
use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};

static COUNT: AtomicU64 = AtomicU64::new(0);
/// How long whoever drops a file waits until it is gone: it may be a server's that does not answer.
const GOING: Duration = Duration::from_secs(1);

/// A new file beside its future place. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct TempFile {
    path: PathBuf,
    /// None only while it is dropped.
    file: Option<File>,
    is_kept: bool,
}

impl TempFile {
    /// Makes an empty one in `dir`, for its owner alone.
    pub fn create(dir: &Path) -> io::Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{TEMP_PREFIX}disk.{}.{number}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let file = apart(file);
        hold(&file);
        Ok(Self { path, file: Some(file), is_kept: false })
    }

    /// Where it lies until it has its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self) -> &File {
        self.file.as_ref().expect("it is open until it is dropped")
    }

    /// Gives the file its name, unless something has that name. After `Ok` it survives a crash.
    pub fn keep_as(mut self, path: &Path) -> io::Result<()> {
        self.file().sync_all()?;
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

impl TempFile {
    /// Takes the place of the file at `path`, if that is still the one that `old` tells of. After `Ok` it survives a
    /// crash; before, the old file is there.
    pub fn take_place_of(mut self, path: &Path, old: &fs::Metadata) -> io::Result<()> {
        self.file().sync_all()?;
        let now = fs::symlink_metadata(path)?;
        if (now.dev(), now.ino()) != (old.dev(), old.ino()) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "another file has its name by now"));
        }
        fs::rename(&self.path, path)?;
        self.is_kept = true;
        sync_dir(path.parent().unwrap_or(Path::new("/")))
    }

    /// Gives the file the place of another. After `Ok` it survives a crash; before, the other is there.
    pub fn replace(mut self, path: &Path) -> io::Result<()> {
        self.file().sync_all()?;
        fs::rename(&self.path, path)?;
        self.is_kept = true;
        sync_dir(path.parent().unwrap_or(Path::new("/")))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        // Both its removal and its end may last, and this may be a thread that others need.
        let (path, file) = (self.path.clone(), self.file.take());
        let (tell, told) = mpsc::channel();
        let going = std::thread::Builder::new().name("temp-file".to_owned()).spawn(move || {
            let removed = fs::remove_file(&path);
            drop(file);
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "temporary file not removed");
                }
                _ => {}
            }
            // Nobody may wait any more.
            let _ = tell.send(());
        });
        if going.is_ok() {
            let _ = told.recv_timeout(GOING);
        }
    }
}

/// Removes what a crash left in `dir`. What another daemon is at (a pool on a network file system) stays.
pub(crate) fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes())
            && entry.file_type()?.is_file()
            && !is_held(&entry.path())
        {
            tracing::info!(path = %entry.path().display(), "leftover of a crash removed");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Far beyond any image, and none of the bytes that QEMU locks.
const LOCK_BYTE: i64 = 1 << 62;

/// Marks the file as somebody's work, for as long as it is open. Where there are no locks there is no mark.
fn hold(file: &File) {
    if let Err(error) = fcntl(file, FcntlArg::F_OFD_SETLK(&lock_of(libc::F_WRLCK))) {
        tracing::debug!(%error, "temporary file not locked");
    }
}

/// Whether somebody is at the file.
pub(crate) fn is_held(path: &Path) -> bool {
    let Ok(file) = File::options().read(true).write(true).open(path) else { return false };
    let mut lock = lock_of(libc::F_WRLCK);
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).is_ok() && i32::from(lock.l_type) != libc::F_UNLCK
}

fn lock_of(kind: i32) -> libc::flock {
    let constant = |value: i32| libc::c_short::try_from(value).expect("lock constants are small");
    libc::flock {
        l_type: constant(kind),
        l_whence: constant(libc::SEEK_SET),
        l_start: LOCK_BYTE,
        l_len: 1,
        l_pid: 0,
    }
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
        // As if the process had ended here: the file is there, its lock is not.
        fs::write(dir.path().join(".lodge-tmp.disk.1.1"), "x").unwrap();
        let at_work = TempFile::create(dir.path()).unwrap();
        fs::write(dir.path().join("web1.qcow2"), "x").unwrap();
        sweep(dir.path()).unwrap();
        assert!(at_work.path().exists());
        drop(at_work);
        assert_eq!(names(dir.path()), ["web1.qcow2"]);
    }
}
