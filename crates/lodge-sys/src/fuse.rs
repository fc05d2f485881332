//! A file system that a process serves, mounted nowhere.
//!
//! [`mount`] makes one and attaches it to no place: it is seen by nobody until a [`Jail`](crate::spawn::Jail) takes it
//! in, and it is gone when the jail's program has ended and the descriptors here are closed, however that came about.
//! So a daemon that was killed leaves no mount behind, and nobody of the host's ever steps into one that hangs.
//! Deliberately absent: what is said over the connection (see fuse(4)); that is its server's matter.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

/// Where the kernel's side of every such file system is opened.
pub const DEVICE: &str = "/dev/fuse";

/// A file system without a server and without a place.
#[derive(Debug)]
pub struct Unplaced {
    /// The connection: who reads it is the server. When its last descriptor is closed, whoever uses the file system
    /// gets an error and nobody waits any longer.
    pub connection: OwnedFd,
    /// The mount: a directory.
    pub mount: OwnedFd,
}

/// Makes one. Its root is a directory; nothing in it is a device or can be run.
pub fn mount() -> io::Result<Unplaced> {
    let connection = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let options = [
        ("source", "lodge".to_owned()),
        ("fd", connection.as_raw_fd().to_string()),
        ("rootmode", "040000".to_owned()),
        ("user_id", "0".to_owned()),
        ("group_id", "0".to_owned()),
    ];
    for (name, value) in &options {
        fsconfig_set_string(&context, *name, value.as_str())?;
    }
    // The jail's program is another user than the one who mounts.
    fsconfig_set_flag(&context, "allow_other")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    Ok(Unplaced { connection, mount })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_placed_is_gone_with_its_descriptor() {
        if !rustix::process::geteuid().is_root() || !std::path::Path::new(DEVICE).exists() {
            eprintln!("skipped: needs root and {DEVICE}");
            return;
        }
        let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let before = mounts();
        let Unplaced { connection, mount } = mount().unwrap();
        assert_eq!(mounts(), before);
        // The kernel's first word, INIT: header of 40 bytes, the operation in its second number.
        let mut request = vec![0; 1 << 20];
        let size = rustix::io::read(&connection, &mut request).unwrap();
        assert!(size >= 40 && request[4..8] == 26_u32.to_ne_bytes(), "{size}");
        drop(mount);
        assert_eq!(rustix::io::read(&connection, &mut request), Err(rustix::io::Errno::NODEV));
    }
}
