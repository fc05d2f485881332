//! Durable files: write, rename and sync so that a crash leaves old or new, never half.
//!
//! The order is always the same: write a temporary file beside the target, `fsync` it, `rename` it over
//! the target, `fsync` the directory. Only then is the caller told. [`Directory`] shares the last of
//! these among writers that wait at the same moment, so eight of them pay for one.
//!
//! Deliberately absent: reading, formats, names' rules. That is `lodge_store`.

mod apart;
mod directory;
mod lock;
mod record_lock;
mod watch;
mod writeback;

use std::fs::File;
use std::io;
use std::path::Path;

pub use apart::{apart, apart_from};
pub use directory::{Directory, TEMP_PREFIX};
pub use lock::{Lock, LockError, lock_exclusive};
pub use record_lock::{RecordLock, Taken, record_lock, record_lock_holder};
pub use watch::{DirChange, DirWatch, WatchId};
pub use writeback::{Begun, begin_writeback};

/// Writes `bytes` to `path` with `mode`: after a crash the file is the old one or the new one, and after
/// `Ok` it is the new one. The directory must exist.
pub fn write_durable(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (dir, name) = split(path)?;
    Directory::open(dir)?.write(name, bytes, mode)
}

/// Removes the file durably. `Ok(false)`: there was none.
pub fn remove_durable(path: &Path) -> io::Result<bool> {
    let (dir, name) = split(path)?;
    Directory::open(dir)?.remove(name)
}

/// Makes the entries of `dir` durable: those created, renamed and removed in it so far.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Creates `dir` and what is missing above it, the new ones with `mode`, and makes them durable.
pub fn create_dirs_durable(dir: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_dirs_durable(parent, mode)?;
    }
    match std::fs::DirBuilder::new().mode(mode).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_dir(parent.unwrap_or(Path::new("."))),
    }
}

/// A new file without a name, of mode 0400: gone with the last descriptor of it. It is in the file system of `dir`, or
/// in memory where that has no such files.
pub fn nameless(dir: &Path) -> io::Result<File> {
    use rustix::fs::{MemfdFlags, Mode, OFlags};
    match rustix::fs::open(dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR) {
        Ok(file) => Ok(file.into()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
            let file = rustix::fs::memfd_create("lodge", MemfdFlags::CLOEXEC)?;
            rustix::fs::fchmod(&file, Mode::RUSR)?;
            Ok(file.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn split(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file"))?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((dir, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_written_with_its_mode_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.xml");
        write_durable(&path, b"one", 0o600).unwrap();
        write_durable(&path, b"two and more", 0o640).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two and more");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn removal_says_whether_there_was_something() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert!(!remove_durable(&path).unwrap());
        write_durable(&path, b"", 0o600).unwrap();
        assert!(remove_durable(&path).unwrap());
    }

    #[test]
    fn missing_directories_are_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_dirs_durable(&deep, 0o711).unwrap();
        create_dirs_durable(&deep, 0o700).unwrap();
        assert_eq!(deep.metadata().unwrap().permissions().mode() & 0o777, 0o711);
    }
}
