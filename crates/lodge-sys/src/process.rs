#![expect(unsafe_code, reason = "UNSAFETY: tokio asks for a promise about the descriptor")]
//! Processes as things that can be waited for and killed without mistaking one for another.
//!
//! A bare pid names nobody for long: the kernel gives it out again. So a process is known here by its pid **and**
//! the moment it started ([`Identity`]), is held by a pidfd ([`Process`]), and is only ever signalled through that.
//! Deliberately absent: killing by pid, and any policy of when to kill.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What tells a process from any other that ever had its number on this boot of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The process's number.
    pub pid: u32,
    /// When it started, in clock ticks since boot: field 22 of `/proc/PID/stat`, see proc_pid_stat(5).
    pub start_time: u64,
}

impl Identity {
    /// Reads who has number `pid` now. `None`: nobody, or a zombie (it has ended; its parent has not looked).
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => match start_time(&stat) {
                Some((b'Z' | b'X', _)) => Ok(None),
                Some((_, start_time)) => Ok(Some(Self { pid, start_time })),
                None => Err(io::Error::new(io::ErrorKind::InvalidData, "unreadable line in /proc/PID/stat")),
            },
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The calling process itself.
    pub fn own() -> io::Result<Self> {
        Self::of(std::process::id())?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Says whether this very process still runs.
    pub fn alive(&self) -> bool {
        matches!(Self::of(self.pid), Ok(Some(now)) if now == *self)
    }
}

/// The machine's boot, without which a start time means nothing: `/proc/sys/kernel/random/boot_id`.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was our child, so the kernel told how.
    Status(ExitStatus),
    /// It was not our child (adopted after a restart): it has ended, and nobody here can know how.
    Unknown,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Unknown => f.write_str("an unknown exit status"),
        }
    }
}

/// A hold on one process, ours or adopted. Clones share the hold; letting go of it does not end the process.
#[derive(Debug, Clone)]
pub struct Process {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    identity: Identity,
    pidfd: OwnedFd,
    ending: OnceLock<Ending>,
}

impl Process {
    /// Takes hold of the process that `identity` names. `None`: it is gone.
    pub fn hold(identity: Identity) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(identity.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Looked at after the pidfd was taken: if it is the right process now, the pidfd is that process's for good.
        Ok(identity.alive().then(|| Self::from_pidfd(identity, pidfd)))
    }

    pub(crate) fn from_pidfd(identity: Identity, pidfd: OwnedFd) -> Self {
        Self { inner: Arc::new(Inner { identity, pidfd, ending: OnceLock::new() }) }
    }

    /// Who this is.
    pub fn identity(&self) -> Identity {
        self.inner.identity
    }

    /// Ends the process at once (SIGKILL). Fine with one that has ended already.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Asks the process to end (SIGTERM). Fine with one that has ended already.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.inner.ending.get().is_some() {
            return Ok(());
        }
        match pidfd_send_signal(&self.inner.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the end, and reaps the process if it is our child. Any number may wait; cancel safe.
    pub async fn ended(&self) -> io::Result<Ending> {
        if let Some(ending) = self.inner.ending.get() {
            return Ok(*ending);
        }
        // A copy per waiter: epoll takes one registration per descriptor.
        let copy = self.inner.pidfd.try_clone()?;
        // SAFETY: an `OwnedFd` keeps one number, and is closed only when the `AsyncFd` that owns it drops it.
        let readable = unsafe { AsyncFd::register_with_interest(copy, Interest::READABLE) }?;
        readable.readable().await?.retain_ready();
        self.reap()
    }

    /// How the process ended, if it has. Never waits.
    pub fn poll_ended(&self) -> io::Result<Option<Ending>> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        if let Some(ending) = self.inner.ending.get() {
            return Ok(Some(*ending));
        }
        let mut fds = [PollFd::new(&self.inner.pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
            0 => Ok(None),
            _ => self.reap().map(Some),
        }
    }

    fn reap(&self) -> io::Result<Ending> {
        let wait = |options| waitid(WaitId::PidFd(self.inner.pidfd.as_fd()), WaitIdOptions::EXITED | options);
        // Looked at, noted, then reaped: a second waiter who finds no child finds the note.
        let ending = match wait(WaitIdOptions::NOWAIT) {
            Ok(Some(status)) => Ending::Status(ExitStatus::from_raw(match status.terminating_signal() {
                Some(signal) => signal,
                None => status.exit_status().unwrap_or(0) << 8,
            })),
            Ok(None) | Err(rustix::io::Errno::CHILD) => Ending::Unknown,
            Err(error) => return Err(error.into()),
        };
        let ending = *self.inner.ending.get_or_init(|| ending);
        match wait(WaitIdOptions::NOHANG) {
            Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(ending),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// State and start time in a line of `/proc/PID/stat`. The name (field 2) is the process's own choice and may hold
/// anything, parentheses too, so fields are counted from the last one.
fn start_time(stat: &str) -> Option<(u8, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 424242 9 9";
        assert_eq!(start_time(stat), Some((b'S', 424_242)));
        assert_eq!(start_time("7 (a"), None);
    }

    #[test]
    fn own_identity_is_alive_and_a_wrong_start_time_is_somebody_else() {
        let own = Identity::own().unwrap();
        assert!(own.alive());
        let other = Identity { start_time: own.start_time + 1, ..own };
        assert!(!other.alive());
        assert!(Process::hold(other).unwrap().is_none());
        assert!(Process::hold(Identity { pid: 0, start_time: 0 }).unwrap().is_none());
    }

    #[tokio::test]
    async fn the_end_of_another_ones_child_is_seen_without_its_status() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let held = Process::hold(Identity::of(child.id()).unwrap().unwrap()).unwrap().unwrap();
        assert_eq!(held.poll_ended().unwrap(), None);
        held.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(held.ended().await.unwrap(), Ending::Unknown);
        held.kill().unwrap();
    }
}
