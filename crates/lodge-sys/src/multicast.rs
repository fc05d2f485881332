//! Multicast addresses that an interface of the host's listens to beside the kernel's own (`ip maddress`).

#![expect(unsafe_code, reason = "UNSAFETY: SIOCADDMULTI has no safe binding in rustix")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// include/uapi/linux/sockios.h
const ADD: libc::Ioctl = 0x8931;
const REMOVE: libc::Ioctl = 0x8932;
/// One line for each address of each interface of this thread's network namespace.
const TABLE: &str = "/proc/thread-self/net/dev_mcast";

/// Has the interface listen to these and no others, but for those that the kernel itself listens to.
pub fn listen_to(name: &str, wanted: &[[u8; 6]]) -> io::Result<()> {
    let known = added(&std::fs::read_to_string(TABLE)?, name);
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    for address in wanted.iter().filter(|address| !known.contains(address)) {
        change(&socket, name, ADD, *address)?;
    }
    for address in known.iter().filter(|address| !wanted.contains(address)) {
        change(&socket, name, REMOVE, *address)?;
    }
    Ok(())
}

/// Those of the table that were added by hand: the fourth column says so.
fn added(table: &str, name: &str) -> Vec<[u8; 6]> {
    let address = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, interface, _, by_hand, text] = columns[..] else { return None };
        if interface != name || by_hand == "0" || text.len() != 12 {
            return None;
        }
        let mut address = [0; 6];
        for (at, byte) in address.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(address)
    };
    table.lines().filter_map(address).collect()
}

fn change(socket: &OwnedFd, name: &str, act: libc::Ioctl, address: [u8; 6]) -> io::Result<()> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an interface name"));
    }
    // The kernel asks for no family here.
    let mut hardware = libc::sockaddr { sa_family: 0, sa_data: [0; 14] };
    for (to, from) in hardware.sa_data.iter_mut().zip(address) {
        *to = from.cast_signed();
    }
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_hwaddr: hardware },
    };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: both acts read one `ifreq` with a hardware address; `request` is live, initialised and of that type, and
    // its name ends with a zero byte; `socket` is open.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), act, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_listens_to_by_itself_is_not_ours_to_remove() {
        let table = "2    eth0            1     0     333300000001\n\
                     3    macvtap0        1     0     01005e000001\n\
                     3    macvtap0        1     1     01005e010203\n\
                     3    macvtap0        1     1     bad\n\
                     4    macvtap01       1     1     01005e010204\n";
        assert_eq!(added(table, "macvtap0"), [[1, 0, 0x5e, 1, 2, 3]]);
        assert!(added(table, "eth0").is_empty());
    }
}
