//! Tap devices: the host's end of a guest's network card.
//!
//! A tap made here is not persistent: it is gone when its last descriptor is closed, so a guest that dies
//! leaves none behind. Enslaving, addresses and names in the kernel's tables are netlink's, not here.

#![expect(unsafe_code, reason = "UNSAFETY: TUNSETIFF has no safe binding in rustix")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};

/// A tap and the name the kernel gave it.
#[derive(Debug)]
pub struct Tap {
    /// Close-on-exec, non-blocking, with virtio-net headers (`IFF_VNET_HDR`).
    pub fd: OwnedFd,
    /// The interface's name.
    pub name: String,
}

/// Makes a tap named `name`; a `%d` in it becomes the first free number (`vnet%d`).
///
/// An existing interface of that name gives `EBUSY` or `EINVAL`; it is not taken over unless it is a
/// persistent tap nobody holds.
pub fn create(name: &str) -> io::Result<Tap> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(['/', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an interface name"));
    }
    let fd = open("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: libc::c_short::try_from(flags).expect("the three flags fit sixteen bits"),
        },
    };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: TUNSETIFF reads and writes one `ifreq`; `request` is live, initialised and of that type, its
    // name is shorter than the array and so ends with a zero byte; `fd` is open.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes = request.ifr_name.map(libc::c_char::cast_unsigned);
    let name = CStr::from_bytes_until_nul(&bytes)
        .map_err(|_| io::Error::other("the kernel's interface name has no end"))?
        .to_string_lossy()
        .into_owned();
    Ok(Tap { fd, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_refused_before_the_kernel_is_asked() {
        for name in ["", "a/b", "sixteen-letters-", "nul\0"] {
            assert_eq!(create(name).map(|tap| tap.name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
