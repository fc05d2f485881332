//! A directory whose entries are made durable, with one `fsync` for all who wait for it at once.
//!
//! Many threads may call at the same time: each syncs its own file in parallel; then the first of them
//! syncs the directory for everybody whose rename came before, the rest wait for it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags};

/// How the temporary files of [`Directory::write`] begin. One that is there at start-up is the leftover
/// of a crash.
pub const TEMP_PREFIX: &str = ".lodge-tmp.";

/// An open directory for durable changes.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    fd: OwnedFd,
    turn: Mutex<Turn>,
    turned: Condvar,
}

/// Who syncs now, and who is next.
#[derive(Debug, Default)]
struct Turn {
    /// Somebody is in `fsync` now; it may have begun before the latest renames.
    syncing: bool,
    /// The group that the next `fsync` serves.
    next: Arc<Group>,
}

/// The outcome of one `fsync`, shared by its group: the error's number, if it failed. A later `fsync` may
/// report success after a failed one, so the group's own outcome is what counts.
type Group = OnceLock<Result<(), i32>>;

static TEMP_COUNTER: AtomicU64 = AtomicU64::new(0);

impl Directory {
    /// Opens the directory, which must exist.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { path: path.to_owned(), fd, turn: Mutex::default(), turned: Condvar::new() })
    }

    /// Its path, as it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces or creates the file `name`, durably. On an error the old file stays as it was.
    pub fn write(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.write_then(name, bytes, mode, |_| ())
    }

    /// As [`Directory::write`]; `look` sees the new file before it gets its name (to take its stamp).
    pub fn write_then<T>(
        &self,
        name: &str,
        bytes: &[u8],
        mode: u32,
        look: impl FnOnce(&File) -> T,
    ) -> io::Result<T> {
        let temp = self.write_temp(bytes, mode)?;
        let seen = look(&temp.file);
        rustix::fs::renameat(&self.fd, &temp.name, &self.fd, name)?;
        temp.named();
        self.sync()?;
        Ok(seen)
    }

    /// Removes the entry `name`, durably. `Ok(false)`: there was none.
    pub fn remove(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => self.sync().map(|()| true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Renames an entry of this directory, durably; an entry of the new name is replaced.
    pub fn rename(&self, old: &str, new: &str) -> io::Result<()> {
        rustix::fs::renameat(&self.fd, old, &self.fd, new)?;
        self.sync()
    }

    /// Makes or replaces the symbolic link `name` to `target`, durably.
    pub fn symlink(&self, name: &str, target: &Path) -> io::Result<()> {
        let temp = temp_name();
        rustix::fs::symlinkat(target, &self.fd, &temp)?;
        if let Err(error) = rustix::fs::renameat(&self.fd, &temp, &self.fd, name) {
            let _ = rustix::fs::unlinkat(&self.fd, &temp, AtFlags::empty());
            return Err(error.into());
        }
        self.sync()
    }

    /// Returns once every change made to the directory before this call is durable.
    pub fn sync(&self) -> io::Result<()> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let group = Arc::clone(&turn.next);
        while group.get().is_none() {
            if turn.syncing {
                turn = self.turned.wait(turn).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            turn.syncing = true;
            turn.next = Arc::default();
            drop(turn);
            let outcome = rustix::fs::fsync(&self.fd).map_err(rustix::io::Errno::raw_os_error);
            turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = group.set(outcome);
            turn.syncing = false;
            self.turned.notify_all();
        }
        let outcome = group.get().copied().unwrap_or(Ok(()));
        outcome.map_err(io::Error::from_raw_os_error)
    }

    fn write_temp(&self, bytes: &[u8], mode: u32) -> io::Result<Temp<'_>> {
        let name = temp_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.fd, &name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut temp = Temp { dir: self, name, file: File::from(fd), named: false };
        temp.file.write_all(bytes)?;
        rustix::fs::fchmod(temp.file.as_fd(), Mode::from_raw_mode(mode))?;
        temp.file.sync_all()?;
        Ok(temp)
    }
}

/// A temporary file: gone when dropped before it got its name.
struct Temp<'dir> {
    dir: &'dir Directory,
    name: String,
    file: File,
    named: bool,
}

impl Temp<'_> {
    fn named(mut self) {
        self.named = true;
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.named {
            let _ = rustix::fs::unlinkat(&self.dir.fd, &self.name, AtFlags::empty());
        }
    }
}

fn temp_name() -> String {
    let count = TEMP_COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{TEMP_PREFIX}{}.{count}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_writers_at_once_all_find_their_files() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Directory::open(temp.path()).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let dir = &dir;
                scope.spawn(move || {
                    for file in 0..20 {
                        dir.write(&format!("{writer}-{file}"), b"text", 0o600).unwrap();
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 160);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("taken")).unwrap();
        let dir = Directory::open(temp.path()).unwrap();
        assert!(dir.write("taken", b"text", 0o600).is_err(), "a directory has the name");
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_replaced_in_one_act() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Directory::open(temp.path()).unwrap();
        dir.symlink("link", Path::new("/a")).unwrap();
        dir.symlink("link", Path::new("/b")).unwrap();
        assert_eq!(std::fs::read_link(temp.path().join("link")).unwrap(), Path::new("/b"));
    }
}
