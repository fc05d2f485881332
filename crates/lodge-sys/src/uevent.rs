#![expect(unsafe_code, reason = "UNSAFETY: tokio asks for a promise about the descriptor")]
//! What the kernel tells of devices that come and go: its uevents, see netlink(7).
//!
//! Deliberately absent: what udev makes of them; here the kernel's own word is enough.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel's own group of listeners.
const KERNEL: u32 = 1;
/// The longest message of the kernel's (UEVENT_BUFFER_SIZE) and its first line.
const LONGEST: usize = 8 * 1024;

/// A device came, went or is otherwise now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uevent {
    /// `add`, `remove`, `change`, `move` …
    pub action: String,
    /// Its place below `/sys`: `/devices/virtual/net/tap0`.
    pub path: String,
}

impl Uevent {
    /// `add@/devices/virtual/net/tap0`, then fields that say the same.
    fn parse(message: &[u8]) -> Option<Self> {
        let line = message.split(|byte| *byte == 0).next()?;
        let (action, path) = std::str::from_utf8(line).ok()?.split_once('@')?;
        Some(Self { action: action.to_owned(), path: path.to_owned() })
    }
}

/// The kernel's uevents from now on, of this network namespace.
#[derive(Debug)]
pub struct Uevents(AsyncFd<OwnedFd>);

impl Uevents {
    /// Begins to hear them.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        bind(&socket, &SocketAddrNetlink::new(0, KERNEL))?;
        // SAFETY: an `OwnedFd` keeps one number, and is closed only when the `AsyncFd` that owns it drops it.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self(socket))
    }

    /// The next one. `Ok(None)`: some were missed, or one could not be read.
    pub async fn next(&self) -> io::Result<Option<Uevent>> {
        let mut message = vec![0; LONGEST];
        let read = self.0.async_io(Interest::READABLE, |socket| {
            Ok(recv(socket, message.as_mut_slice(), RecvFlags::empty())?)
        });
        match read.await {
            Ok((length, _)) => Ok(message.get(..length).and_then(Uevent::parse)),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read() {
        let message = b"add@/devices/virtual/net/tap0\0ACTION=add\0SUBSYSTEM=net\0";
        let path = "/devices/virtual/net/tap0".to_owned();
        assert_eq!(Uevent::parse(message), Some(Uevent { action: "add".to_owned(), path }));
        assert_eq!(Uevent::parse(b"libudev\0"), None);
        assert_eq!(Uevent::parse(b""), None);
    }
}
