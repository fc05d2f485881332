//! Device nodes of the host's for a process that may not open them.
//!
//! Some programs open a device by its name only, as a user who has no right to it. They get a node of their own: it
//! lies in a file system that is mounted nowhere, belongs to that user, and is reached by the descriptor alone
//! (`/proc/self/fd/N`). The host's node keeps its owner and mode, two users can have one device, and nothing is left:
//! the file system goes with the last descriptor of it, so there is no undo.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, mknodat, open, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// The node's name in its own file system.
const NAME: &str = "device";

/// The character device at `path`, for whoever has the descriptor and may open what it is of. Opens no driver.
/// `major`: what it must be of; anything else is [`io::ErrorKind::InvalidInput`].
pub fn reach(path: &Path, major: u32) -> io::Result<OwnedFd> {
    let fd = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&fd)?;
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if is_device && rustix::fs::major(stat.st_rdev) == major {
        return Ok(fd);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a device of another sort"))
}

/// As [`reach`], as a node that `uid` and nobody else may open. Needs the right to mount and to make nodes.
pub fn reach_as(path: &Path, major: u32, uid: u32, gid: u32) -> io::Result<OwnedFd> {
    let device = fstat(reach(path, major)?)?.st_rdev;
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let room = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    mknodat(&room, NAME, FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, device)?;
    let (owner, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    chownat(&room, NAME, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(openat(&room, NAME, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::os::unix::process::CommandExt;

    /// The major number of `/dev/null` and its kin.
    const MEMORY: u32 = 1;

    #[test]
    fn a_users_own_node_is_opened_by_that_user_alone() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: needs root to make a node");
        }
        let node = match reach_as(Path::new("/dev/zero"), MEMORY, 4242, 4242) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return eprintln!("skipped: {error}: this root may not mount");
            }
            made => made.unwrap(),
        };
        let found = std::fs::metadata(format!("/proc/self/fd/{}", node.as_raw_fd())).unwrap();
        assert!(found.file_type().is_char_device());
        assert_eq!((found.uid(), found.mode() & 0o777), (4242, 0o600));
        // Kept across exec under a fixed number; the reader has nothing but that.
        let read = |uid| {
            let node = node.try_clone().unwrap();
            let number = node.as_raw_fd();
            rustix::io::fcntl_setfd(&node, rustix::io::FdFlags::empty()).unwrap();
            let mut head = std::process::Command::new("head");
            head.args(["-c", "3", &format!("/proc/self/fd/{number}")]).uid(uid).gid(uid);
            head.output().unwrap()
        };
        assert_eq!(read(4242).stdout, [0; 3]);
        let refused = read(4243);
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    }

    #[test]
    fn what_is_no_such_device_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("event0");
        std::fs::write(&file, "").unwrap();
        for path in [file.as_path(), Path::new("/dev/null"), dir.path()] {
            assert_eq!(reach(path, 13).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{path:?}");
        }
        assert_eq!(reach(&dir.path().join("none"), 13).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(reach(Path::new("/dev/null"), MEMORY).is_ok());
    }
}
