//! The directory a build works in: `DIR/.build-NAME`, and how what a dead builder left is removed.
//!
//! ```text
//!  .build-debian-12/            mode 0700: the tree has setuid programs
//!    lock                       held by the builder; says its pid; every tool inherits it as stdin
//!    root/  disk.raw  out.qcow2
//! ```
//!
//! The name is fixed, so what a crash leaves is recognisable, and the lock tells a living builder
//! from a dead one. Tools that outlive a killed daemon hold the lock too (it is their standard
//! input): [`sweep`] finds them by it and ends them first.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, PidfdFlags, Signal},
};

use crate::error::BuildError;

const PREFIX: &str = ".build-";
const LOCK: &str = "lock";
/// How long tools of a dead builder may take to be gone once killed.
const REAP_WAIT: Duration = Duration::from_secs(10);

/// A build's own directory. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct WorkDir {
    path: PathBuf,
    lock: File,
}

impl WorkDir {
    /// Makes the directory for a build of `name` in `dir`; leftovers of a dead build are removed.
    pub fn create(dir: &Path, name: &str) -> Result<Self, BuildError> {
        let path = dir.join(format!("{PREFIX}{name}"));
        let failed = |source| BuildError::WorkDir { path: path.clone(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        match clear(&path).map_err(failed)? {
            Cleared::Free => {}
            Cleared::Held { pid } => {
                return Err(BuildError::UnderWay { name: name.to_owned(), pid });
            }
        }
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let lock = open_lock(&path, true).and_then(|mut lock| {
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            write!(lock, "{}", std::process::id())?;
            Ok(lock)
        });
        match lock {
            Ok(lock) => Ok(Self { path, lock }),
            Err(source) => {
                let _ = fs::remove_dir_all(&path);
                Err(failed(source))
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The guest's tree.
    pub fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    /// The lock, for a tool's standard input.
    pub fn lock_for_tool(&self) -> io::Result<File> {
        self.lock.try_clone()
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // The tools were killed and waited for (see `tool`); nothing of theirs is mounted here,
        // their mounts lived in a namespace that went with them.
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "work directory not removed");
        }
    }
}

/// Removes what dead builds left in `dir`; a build that runs is left alone. Returns what went.
pub fn sweep(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut gone = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if is_ours && entry.file_type()?.is_dir() && matches!(clear(&entry.path())?, Cleared::Free) {
            tracing::info!(path = %entry.path().display(), "leftover of a build removed");
            gone.push(entry.path());
        }
    }
    Ok(gone)
}

enum Cleared {
    Free,
    Held { pid: u32 },
}

fn clear(path: &Path) -> io::Result<Cleared> {
    let mut lock = match open_lock(path, false) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return remove(path).map(|()| Cleared::Free);
        }
        Err(error) => return Err(error),
    };
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut text = String::new();
        lock.rewind()?;
        (&lock).take(16).read_to_string(&mut text)?;
        let pid = text.trim().parse().unwrap_or(0);
        if holders(&lock)?.contains(&pid) {
            return Ok(Cleared::Held { pid });
        }
        end_orphans(&lock)?;
    }
    remove(path).map(|()| Cleared::Free)
}

/// Kills the tools which a dead builder left; each of them has the lock as its standard input.
fn end_orphans(lock: &File) -> io::Result<()> {
    let deadline = Instant::now() + REAP_WAIT;
    loop {
        for pid in holders(lock)? {
            let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
            let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
                continue;
            };
            // Looked at again through the descriptor's eyes: the number may be another's by now.
            if holders(lock)?.contains(&pid.as_raw_nonzero().get().cast_unsigned()) {
                tracing::warn!(pid = pid.as_raw_nonzero().get(), "tool of a dead build killed");
                let _ = rustix::process::pidfd_send_signal(process, Signal::KILL);
            }
        }
        if flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "a process of an earlier build does not end",
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes, this one excepted, which have the lock's file open.
fn holders(lock: &File) -> io::Result<Vec<u32>> {
    let wanted = lock.metadata()?;
    let is_lock =
        |path: PathBuf| fs::metadata(path).is_ok_and(|m| m.dev() == wanted.dev() && m.ino() == wanted.ino());
    let own = std::process::id();
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(open) = fs::read_dir(entry.path().join("fd")) else { continue };
        // This process has the file open through `lock` itself; it holds the lock as a builder
        // only if it is open a second time.
        let count = open.flatten().filter(|fd| is_lock(fd.path())).count();
        if count > usize::from(pid == own) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

fn open_lock(dir: &Path, create: bool) -> io::Result<File> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .mode(0o600)
        .custom_flags(libc_nofollow())
        .open(dir.join(LOCK))
}

fn libc_nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_second_build_of_the_same_name_is_told_who_builds() {
        let dir = tempfile::tempdir().unwrap();
        let _first = WorkDir::create(dir.path(), "x").unwrap();
        let error = WorkDir::create(dir.path(), "x").unwrap_err();
        assert!(matches!(error, BuildError::UnderWay { pid, .. } if pid == std::process::id()));
        assert!(sweep(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn the_directory_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let work = WorkDir::create(dir.path(), "x").unwrap();
        fs::write(work.path().join("disk.raw"), "x").unwrap();
        drop(work);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn sweep_ends_the_tools_of_a_dead_build_and_removes_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".build-x");
        fs::create_dir(&path).unwrap();
        let mut lock = open_lock(&path, true).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        // A number no process has: pids end below 2^22.
        write!(lock, "4194305").unwrap();
        let mut tool = Command::new("sleep").arg("600").stdin(Stdio::from(lock)).spawn().unwrap();
        // Reaped on the side, as init would.
        let reaper = std::thread::spawn(move || tool.wait().unwrap());
        assert_eq!(sweep(dir.path()).unwrap(), std::slice::from_ref(&path));
        assert!(!reaper.join().unwrap().success());
        assert!(!path.exists());
    }

    #[test]
    fn sweep_leaves_other_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("debian-12.qcow2"), "x").unwrap();
        assert!(sweep(dir.path()).unwrap().is_empty());
        assert!(sweep(&dir.path().join("absent")).unwrap().is_empty());
    }
}
