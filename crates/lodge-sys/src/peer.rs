//! Who is at the other end of a UNIX socket, beyond what `SO_PEERCRED` tells.

#![expect(unsafe_code, reason = "UNSAFETY: SO_PEERGROUPS has no safe binding")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// More groups than Linux gives a process (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// The supplementary groups that the peer had when it connected.
pub fn groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        let mut length = libc::socklen_t::try_from(groups.len() * size_of::<u32>())
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: the kernel writes at most `length` bytes, which is what `groups` has; any bytes are valid `u32`s.
        let outcome = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = usize::try_from(length).unwrap_or(0) / size_of::<u32>();
        if outcome == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // It says how much room it needs.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() || count > GROUPS_MAX {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_peers_groups_are_those_of_its_process() {
        let (here, _there) = UnixStream::pair().unwrap();
        let mut of_peer = super::groups(&here).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        let mut own: Vec<u32> = line.split_whitespace().map(|group| group.parse().unwrap()).collect();
        of_peer.sort_unstable();
        own.sort_unstable();
        assert_eq!(of_peer, own);
    }
}
