//! What the driver of a network interface is told by ethtool's call: how many frames it gathers before it tells of them.

#![expect(unsafe_code, reason = "UNSAFETY: SIOCETHTOOL has no safe binding in rustix")]

use std::io;
use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// include/uapi/linux/sockios.h
const SIOCETHTOOL: libc::Ioctl = 0x8946;
/// include/uapi/linux/ethtool.h
const GET_COALESCE: u32 = 0x0e;
const SET_COALESCE: u32 = 0x0f;
/// Numbers of `struct ethtool_coalesce`, the command first.
const NUMBERS: usize = 23;
/// Where `rx_max_coalesced_frames` stands among them.
const RX_FRAMES: usize = 2;

/// How many received frames the interface gathers.
pub fn gathered_frames(name: &str) -> io::Result<u32> {
    let mut numbers = [0; NUMBERS];
    exchange(name, GET_COALESCE, &mut numbers)?;
    Ok(numbers[RX_FRAMES])
}

/// Has the interface gather up to `frames` received frames; says how many its driver gathers now, which may be less.
pub fn gather_frames(name: &str, frames: u32) -> io::Result<u32> {
    let mut numbers = [0; NUMBERS];
    exchange(name, GET_COALESCE, &mut numbers)?;
    if numbers[RX_FRAMES] != frames {
        numbers[RX_FRAMES] = frames;
        exchange(name, SET_COALESCE, &mut numbers)?;
        exchange(name, GET_COALESCE, &mut numbers)?;
    }
    Ok(numbers[RX_FRAMES])
}

fn exchange(name: &str, command: u32, numbers: &mut [u32; NUMBERS]) -> io::Result<()> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an interface name"));
    }
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    numbers[0] = command;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: numbers.as_mut_ptr().cast() },
    };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: SIOCETHTOOL reads one `ifreq`, whose name ends with a zero byte, and reads and writes behind its pointer
    // the structure of the command: for these two commands `struct ethtool_coalesce`, 23 numbers of 32 bits, which is
    // `numbers`; it is live, exclusively borrowed, and not moved during the call. `socket` is open.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_refused_before_the_kernel_is_asked() {
        for name in ["", "sixteen-letters-", "nul\0"] {
            assert_eq!(gather_frames(name, 1).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert!(gather_frames("no-such-one", 1).is_err());
    }
}
