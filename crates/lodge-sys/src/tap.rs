//! Tap devices: the host's end of a guest's network card.
//!
//! A tap made here is not persistent: it is gone when its last descriptor is closed, so a guest that dies
//! leaves none behind. Enslaving, addresses and names in the kernel's tables are netlink's, not here; so is the making
//! of macvtaps, whose queues `macvtap.rs` opens.

#![expect(unsafe_code, reason = "UNSAFETY: TUNSETIFF has no safe binding in rustix")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};

const PLAIN: libc::c_int = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
pub(crate) const OPENED: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// A tap and the name the kernel gave it.
#[derive(Debug)]
pub struct Tap {
    /// One per queue. Close-on-exec, non-blocking, with virtio-net headers (`IFF_VNET_HDR`).
    pub fds: Vec<OwnedFd>,
    /// The interface's name.
    pub name: String,
}

/// Makes a tap named `name` with so many queues (none is one); a `%d` in the name becomes the first free number
/// (`vnet%d`).
///
/// An existing interface of that name gives `EBUSY` or `EINVAL`; it is not taken over unless it is a
/// persistent tap nobody holds.
pub fn create(name: &str, queues: u32) -> io::Result<Tap> {
    let flags = flags_of(queues);
    let first = open("/dev/net/tun", OPENED, Mode::empty())?;
    let name = set_interface(&first, name, flags)?;
    let mut fds = vec![first];
    for _ in 1..queues {
        let next = open("/dev/net/tun", OPENED, Mode::empty())?;
        set_interface(&next, &name, flags)?;
        fds.push(next);
    }
    Ok(Tap { fds, name })
}

/// What an interface of so many queues is.
pub(crate) fn flags_of(queues: u32) -> libc::c_int {
    if queues > 1 { PLAIN | libc::IFF_MULTI_QUEUE } else { PLAIN }
}

/// Says what `fd` is to be; the interface's name.
pub(crate) fn set_interface(fd: &OwnedFd, name: &str, flags: libc::c_int) -> io::Result<String> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(['/', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an interface name"));
    }
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: libc::c_short::try_from(flags).expect("the four flags fit sixteen bits"),
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
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_refused_before_the_kernel_is_asked() {
        for name in ["", "a/b", "sixteen-letters-", "nul\0"] {
            assert_eq!(create(name, 1).map(|tap| tap.name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
