//! Asks QEMU's own image locks whether another program has a disk.
//!
//! QEMU marks what it does with a file by shared locks on single bytes (block/file-posix.c): byte
//! 100+N: "I use permission N"; byte 200+N: "nobody else may use permission N". Asking is
//! `F_OFD_GETLK`, which takes nothing; the locks themselves are QEMU's, set on the descriptor it is
//! given. So guests of libvirtd, of another Lodge and of bare QEMU are seen alike.

use std::{fs, io, os::unix::fs::MetadataExt as _};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};

use crate::file::DiskFile;

const USES: i64 = 100;
const DENIES: i64 = 200;
/// Permissions by QEMU's numbers.
const READ: i64 = 0;
const WRITE: i64 = 1;
const RESIZE: i64 = 3;

/// What is wanted of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Intent {
    pub writes: bool,
    /// Others may write too.
    pub shares_writing: bool,
}

/// A lock of another program that stands against `intent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Foreign {
    pub pid: Option<i32>,
}

/// Looks for locks that QEMU would fail on.
pub(crate) fn foreign(disk: &DiskFile, intent: Intent) -> io::Result<Option<Foreign>> {
    let mut bytes = vec![DENIES + READ];
    if intent.writes {
        bytes.extend([DENIES + WRITE, DENIES + RESIZE]);
    }
    if !intent.shares_writing {
        bytes.extend([USES + WRITE, USES + RESIZE]);
    }
    for byte in bytes {
        if is_locked(disk, byte)? {
            return Ok(Some(Foreign { pid: opener(disk) }));
        }
    }
    Ok(None)
}

/// Says to other programs, as QEMU would, that the file is being read, or rewritten. It holds until
/// [`take_back`], or until the last copy of this descriptor is closed.
pub(crate) fn tell(disk: &DiskFile, intent: Intent) -> io::Result<()> {
    let mut bytes = vec![USES + READ, DENIES + WRITE, DENIES + RESIZE];
    if intent.writes {
        bytes.extend([USES + WRITE, USES + RESIZE]);
    }
    for byte in bytes {
        let lock = libc::flock {
            l_type: kind(libc::F_RDLCK),
            l_whence: kind(libc::SEEK_SET),
            l_start: byte,
            l_len: 1,
            l_pid: 0,
        };
        match fcntl(&disk.file, FcntlArg::F_OFD_SETLK(&lock)) {
            Ok(_)
            | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOLCK | nix::errno::Errno::EOPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Takes back what was told. To close the file is not enough: a process that is being started elsewhere has a copy of
/// each of our descriptors until it becomes its program, and the locks live as long as the last copy.
pub(crate) fn take_back(disk: &DiskFile) {
    let lock = libc::flock {
        l_type: kind(libc::F_UNLCK),
        l_whence: kind(libc::SEEK_SET),
        l_start: USES,
        l_len: 2 * (DENIES - USES),
        l_pid: 0,
    };
    if let Err(error) = fcntl(&disk.file, FcntlArg::F_OFD_SETLK(&lock)) {
        tracing::debug!(path = %disk.path.display(), %error, "the locks of a file go when it is closed");
    }
}

fn is_locked(disk: &DiskFile, byte: i64) -> io::Result<bool> {
    let mut lock = libc::flock {
        l_type: kind(libc::F_WRLCK),
        l_whence: kind(libc::SEEK_SET),
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    };
    match fcntl(&disk.file, FcntlArg::F_OFD_GETLK(&mut lock)) {
        Ok(_) => Ok(lock.l_type != kind(libc::F_UNLCK)),
        // A file system without locks: then QEMU has none there either.
        Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOLCK | nix::errno::Errno::EOPNOTSUPP) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn kind(constant: i32) -> libc::c_short {
    libc::c_short::try_from(constant).expect("lock constants are small")
}

/// A process other than this one that has the file open. The kernel does not tell whose an
/// open-file-description lock is, so this is for the message only.
fn opener(disk: &DiskFile) -> Option<i32> {
    let wanted = disk.file.metadata().ok()?;
    let own = i32::try_from(std::process::id()).ok();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(open) = fs::read_dir(entry.path().join("fd")) else { continue };
        let has_it = |fd: fs::DirEntry| {
            fs::metadata(fd.path()).is_ok_and(|m| m.dev() == wanted.dev() && m.ino() == wanted.ino())
        };
        if Some(pid) != own && open.flatten().any(has_it) {
            return Some(pid);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{fs::File, path::Path};

    use super::*;
    use crate::file::Access;

    /// Locks a byte as QEMU does.
    fn lock(path: &Path, byte: i64) -> File {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let lock = libc::flock {
            l_type: kind(libc::F_RDLCK),
            l_whence: kind(libc::SEEK_SET),
            l_start: byte,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        file
    }

    #[test]
    fn a_writer_is_seen_and_readers_share() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "x").unwrap();
        let disk = DiskFile::open(&path, Access::Write).unwrap();
        let is_free =
            |writes, shares_writing| foreign(&disk, Intent { writes, shares_writing }).unwrap().is_none();
        assert!(is_free(true, false));
        let writer = lock(&path, USES + WRITE);
        assert!(!is_free(true, false));
        assert!(!is_free(false, false));
        assert!(is_free(true, true));
        drop(writer);
        // A reader lets nobody write.
        let reader = lock(&path, DENIES + WRITE);
        assert!(!is_free(true, false));
        assert!(is_free(false, false));
        drop(reader);
        assert!(is_free(true, false));
    }

    #[test]
    fn what_is_taken_back_is_gone_although_a_child_still_has_the_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "x").unwrap();
        let (held, other) =
            (DiskFile::open(&path, Access::Write).unwrap(), DiskFile::open(&path, Access::Write).unwrap());
        let intent = Intent { writes: true, shares_writing: false };
        tell(&held, intent).unwrap();
        assert!(foreign(&other, intent).unwrap().is_some());
        // As a process has it between fork and exec.
        let copy = held.file.try_clone().unwrap();
        take_back(&held);
        drop(held);
        assert!(foreign(&other, intent).unwrap().is_none());
        drop(copy);
    }
}
