//! The few acts on the host: everything else of [`hostdev`](super) only reads. Tests put a kernel of their own here.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use lodge_sys::tool::Tool;

use super::User;

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) trait Kernel: Send + Sync {
    /// Writes one of sysfs's attributes.
    fn write(&self, path: &Path, text: &str) -> io::Result<()>;
    /// Loads a module; whether it is there then is for the caller to see.
    fn load(&self, module: &str);
    /// Waits until the host has named the nodes of what is new, and has given them their owners.
    fn settle(&self);
    /// Changes a node's owner.
    fn give(&self, path: &Path, owner: (u32, u32)) -> io::Result<()>;
    /// A descriptor by which `user` (none: whoever has it) can open the character device at `path`.
    fn node(&self, path: &Path, major: u32, user: Option<User>) -> io::Result<OwnedFd>;
}

/// The kernel that runs.
pub(super) struct Linux;

impl Kernel for Linux {
    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        // One write: each is an act of the kernel's.
        OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
    }

    fn load(&self, module: &str) {
        run(Tool::new("modprobe", PATIENCE).args(["-q", "--", module]));
    }

    fn settle(&self) {
        if Path::new("/run/udev/control").exists() {
            run(Tool::new("udevadm", PATIENCE).args(["settle", "--timeout=10"]));
        }
    }

    fn give(&self, path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
        std::os::unix::fs::lchown(path, Some(uid), Some(gid))
    }

    fn node(&self, path: &Path, major: u32, user: Option<User>) -> io::Result<OwnedFd> {
        match user {
            None => lodge_sys::device::reach(path, major),
            Some(User { uid, gid }) => lodge_sys::device::reach_as(path, major, uid, gid),
        }
    }
}

/// Runs a program to its end, on a thread that may block.
fn run(tool: Tool) {
    if let Err(error) = tokio::runtime::Handle::current().block_on(tool.run()) {
        tracing::warn!(%error, "not done for a device of the host's");
    }
}

/// Opens a node without waiting for anybody.
pub(super) fn open(path: &Path, read: bool, write: bool) -> io::Result<OwnedFd> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(read).write(write).custom_flags(nonblock).open(path)?;
    // Who gets it does wait.
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - rustix::fs::OFlags::NONBLOCK)?;
    Ok(file.into())
}
