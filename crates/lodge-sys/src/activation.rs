//! Sockets that systemd opened for this process (`sd_listen_fds(3)`).
//!
//! The environment says how many there are and what they are called; they begin at descriptor 3. The variables are
//! left in the environment: they name this process (`LISTEN_PID`), so no child takes them for its own.

#![expect(unsafe_code, reason = "UNSAFETY: descriptors that the parent left open are taken by number")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};

/// The first one's number.
const FIRST: RawFd = 3;
/// More than any unit has.
const SOCKETS_MAX: RawFd = 256;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// One of them.
#[derive(Debug)]
pub struct Handed {
    /// `FileDescriptorName=` of its unit, by default the unit's name (`libvirtd-ro.socket`).
    pub name: String,
    /// The socket. It does not reach children.
    pub socket: OwnedFd,
}

/// Takes all of them; empty if this process was not started so, or when they were taken before.
///
/// Call it early: a descriptor that somebody else of this process opened is never among them only because they were
/// open before the program began.
pub fn take() -> io::Result<Vec<Handed>> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<RawFd>().ok());
    let ours = number("LISTEN_PID").is_some_and(|pid| pid == rustix::process::getpid().as_raw_pid());
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, SOCKETS_MAX);
    if !ours || count == 0 || TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    (FIRST..FIRST + count)
        .map(|raw| {
            // SAFETY: the parent that set LISTEN_PID to this process gave it these numbers (the protocol's promise),
            // and `TAKEN` lets nobody else of this process own them.
            let socket = unsafe { OwnedFd::from_raw_fd(raw) };
            fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
            Ok(Handed { name: names.next().unwrap_or_default().to_owned(), socket })
        })
        .collect()
}
