//! Macvtaps: a guest's network card straight on an interface of the host's.
//!
//! Unlike a tap it is made and removed by netlink, and is there while nobody has it open; here its queues are opened.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{
    CWD, Dev, FileType, Mode, OFlags, fstat, major, makedev, minor, mknodat, openat, stat, unlink,
};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::tap::{OPENED, flags_of, set_interface};

/// The longest number of a device.
const NUMBER_BYTES: usize = 32;

/// Opens so many queues (none is one) of the macvtap `name`, whose number is `index`, as [`crate::tap::create`] does.
///
/// Whatever node is opened has to be the device that the kernel's tree of this network namespace has: in another there
/// may be a macvtap of the same number, whose node then has the usual name.
pub fn open(name: &str, index: u32, queues: u32) -> io::Result<Vec<OwnedFd>> {
    let number = device_of(name, index)?;
    let opened = match open_node(&format!("/dev/tap{index}"), number, queues) {
        // No udev and no devtmpfs, or the node is another's.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let own = format!("/dev/.lodge-tap-{}-{}", major(number), minor(number));
            let _ = unlink(&own);
            mknodat(CWD, &own, FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, number)?;
            let opened = open_node(&own, number, queues);
            let _ = unlink(&own);
            opened
        }
        opened => opened,
    }?;
    for fd in &opened {
        set_interface(fd, name, flags_of(queues))?;
    }
    Ok(opened)
}

/// The device behind the macvtap, of a tree that nobody else sees: `/sys` may be another network namespace's.
fn device_of(name: &str, index: u32) -> io::Result<Dev> {
    let tree = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&tree)?;
    let tree = fsmount(&tree, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let path = format!("class/net/{name}/macvtap/tap{index}/dev");
    let file = openat(&tree, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = [0; NUMBER_BYTES];
    let length = rustix::io::read(&file, &mut text)?;
    let text = std::str::from_utf8(&text[..length]).unwrap_or_default();
    let number = text.trim().split_once(':');
    let number = number.and_then(|(major, minor)| Some(makedev(major.parse().ok()?, minor.parse().ok()?)));
    number.ok_or_else(|| io::Error::other(format!("`{text}` is no device's number")))
}

/// Opens `path` so many times; `NotFound` where it is not the device of this number.
fn open_node(path: &str, number: Dev, queues: u32) -> io::Result<Vec<OwnedFd>> {
    let is_it = |found: Dev| if found == number { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) };
    // Before as well: an open queue of another's takes a part of its packets.
    is_it(stat(path)?.st_rdev)?;
    let one = |_| {
        let fd = rustix::fs::open(path, OPENED, Mode::empty())?;
        is_it(fstat(&fd)?.st_rdev).map(|()| fd)
    };
    (0..queues.max(1)).map(one).collect()
}
