//! The lock of a directory tree: one holder on this machine, which says its pid.
//!
//! `flock(2)`: the kernel drops it with its holder, however that ends, so a stale lock cannot exist.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it: who, if it could be read.
    #[error("`{}` is locked by {}", path.display(), pid.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// The holder.
        pid: Option<u32>,
    },
    /// The file could not be opened or locked.
    #[error("cannot lock `{}`", path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Lock {
    /// The lock's file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// How long the lock of a holder that has ended may linger.
const LINGERS: Duration = Duration::from_secs(3);

/// Takes the lock `path`, or says who has it. The file is created (0600) and stays for good: to remove it
/// would let two processes lock two different files of one name.
///
/// A holder that was killed while it started a child leaves the lock with that child until its exec: such a holder is
/// waited for, a living one is not. One whose pid is not there yet is waited for too: it is about to write it.
pub fn lock_exclusive(path: &Path) -> Result<Lock, LockError> {
    let deadline = Instant::now() + LINGERS;
    loop {
        match try_lock(path) {
            Err(LockError::Held { pid, .. }) if pid.is_none_or(has_ended) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

fn has_ended(pid: u32) -> bool {
    matches!(crate::process::Identity::of(pid), Ok(None))
}

fn try_lock(path: &Path) -> Result<Lock, LockError> {
    let failed = |source: io::Error| LockError::Io { path: path.to_owned(), source };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
    let mut file = File::from(fd);
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = (&mut file).take(32).read_to_string(&mut text);
            return Err(LockError::Held { path: path.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(error) => return Err(failed(error.into())),
    }
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    // On a full file system the pid is missing; the lock holds all the same.
    let _ = writeln!(file, "{}", std::process::id());
    Ok(Lock { file, path: path.to_owned() })
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
        // To close the file is not enough: a child that another thread is starting has a copy of the descriptor until
        // its exec, and the lock lives as long as the last copy.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = lock_exclusive(&path).unwrap();
        let Err(LockError::Held { pid, .. }) = lock_exclusive(&path) else { panic!("two holders") };
        assert_eq!(pid, Some(std::process::id()));
        drop(held);
        lock_exclusive(&path).unwrap();
    }

    #[test]
    fn a_child_that_is_being_started_does_not_keep_what_was_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = lock_exclusive(&path).unwrap();
        // What fork(2) makes of the descriptor.
        let childs = held.file.try_clone().unwrap();
        drop(held);
        try_lock(&path).unwrap();
        drop(childs);
    }
}
