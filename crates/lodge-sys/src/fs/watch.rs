//! Directories whose entries' changes the kernel tells of, see inotify(7).
//!
//! Told are files that come, go, are renamed, or are closed by who could write them: not each write to one that stays open.
//! Nothing is told of what another host does to a network file system, or of a write by another name of the file.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// Room for some hundred events.
const BUFFER_BYTES: usize = 16 << 10;

/// A directory that is watched. A number is not given out again for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchId(i32);

/// What the kernel tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirChange {
    /// Something of this name is there, gone, or otherwise now.
    Entry(WatchId, OsString),
    /// The directory itself is gone or elsewhere: it is not watched any more.
    Gone(WatchId),
    /// Too much happened: any entry of any directory may have changed.
    Lost,
}

/// Watches directories.
#[derive(Debug)]
pub struct DirWatch(OwnedFd);

impl DirWatch {
    /// Watches none yet.
    pub fn open() -> io::Result<Self> {
        Ok(Self(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?))
    }

    /// Watches this directory from now on. The same one by another path has the same number.
    pub fn add(&self, dir: &Path) -> io::Result<WatchId> {
        let entries = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO;
        let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        let watch = inotify::add_watch(&self.0, dir, entries | itself | WatchFlags::ONLYDIR)?;
        Ok(WatchId(watch))
    }

    /// Does not watch it any more. Fine where it is gone.
    pub fn remove(&self, watch: WatchId) {
        let _ = inotify::remove_watch(&self.0, watch.0);
    }

    /// All that was told since, without waiting.
    pub fn changes(&self) -> io::Result<Vec<DirChange>> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(&self.0, &mut buffer);
        let mut changes = Vec::new();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(changes),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let gone =
                ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
            let (watch, events) = (WatchId(event.wd()), event.events());
            if events.contains(ReadFlags::QUEUE_OVERFLOW) {
                changes.push(DirChange::Lost);
            } else if events.intersects(gone) {
                changes.push(DirChange::Gone(watch));
            } else if let Some(name) = event.file_name() {
                changes.push(DirChange::Entry(watch, OsString::from_vec(name.to_bytes().to_vec())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_happens_in_a_directory_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        fs::create_dir(&one).unwrap();
        fs::write(one.join("a"), "a").unwrap();
        let watch = DirWatch::open().unwrap();
        let id = watch.add(&one).unwrap();
        let entry = |name: &str| DirChange::Entry(id, name.into());
        assert_eq!(watch.changes().unwrap(), []);
        // By another name of the directory, and by its file alone.
        std::os::unix::fs::symlink(&one, dir.path().join("link")).unwrap();
        assert_eq!(watch.add(&dir.path().join("link")).unwrap(), id);
        let mut file = fs::File::options().append(true).open(dir.path().join("link/a")).unwrap();
        file.write_all(b"b").unwrap();
        assert_eq!(watch.changes().unwrap(), []);
        drop(file);
        assert_eq!(watch.changes().unwrap(), [entry("a")]);
        fs::read(one.join("a")).unwrap();
        assert_eq!(watch.changes().unwrap(), []);
        fs::rename(one.join("a"), one.join("b")).unwrap();
        assert_eq!(watch.changes().unwrap(), [entry("a"), entry("b")]);
        fs::remove_file(one.join("b")).unwrap();
        assert_eq!(watch.changes().unwrap(), [entry("b")]);
        fs::rename(&one, &other).unwrap();
        assert_eq!(watch.changes().unwrap(), [DirChange::Gone(id)]);
        watch.remove(id);
        watch.remove(id);
        assert!(watch.add(&other.join("none")).is_err());
    }
}
