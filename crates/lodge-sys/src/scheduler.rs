#![expect(unsafe_code, reason = "UNSAFETY: sched_setscheduler(2) has no safe binding")]
//! In which order the kernel runs a thread, see sched(7). On which processors is rustix's matter.

use std::io;

/// How a thread takes its turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Like others, but never as one that waits for a person.
    Batch,
    /// When nobody else wants to.
    Idle,
    /// Before all others, until it stops by itself.
    Fifo,
    /// Before all others, in turns with its equals.
    RoundRobin,
}

impl Policy {
    /// libvirt's word for it.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "batch" => Some(Self::Batch),
            "idle" => Some(Self::Idle),
            "fifo" => Some(Self::Fifo),
            "rr" => Some(Self::RoundRobin),
            _ => None,
        }
    }

    /// Whether it has priorities (1 to 99).
    pub fn is_real_time(self) -> bool {
        matches!(self, Self::Fifo | Self::RoundRobin)
    }
}

/// Makes a thread take its turns by `policy`; `priority` is 0 where the policy has none.
pub fn set_policy(thread: u32, policy: Policy, priority: i32) -> io::Result<()> {
    let number = match policy {
        Policy::Batch => libc::SCHED_BATCH,
        Policy::Idle => libc::SCHED_IDLE,
        Policy::Fifo => libc::SCHED_FIFO,
        Policy::RoundRobin => libc::SCHED_RR,
    };
    let thread = libc::pid_t::try_from(thread).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameter is live for the call; a number that is no thread is an error, not a fault.
    let set = unsafe { libc::sched_setscheduler(thread, number, &raw const parameter) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_becomes_idle_and_nonsense_is_refused() {
        let stat = std::thread::spawn(|| {
            let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
            set_policy(thread, Policy::Idle, 0).unwrap();
            std::fs::read_to_string("/proc/thread-self/stat").unwrap()
        });
        let stat = stat.join().unwrap();
        // proc_pid_stat(5): the policy is field 41, the 39th after the name.
        let policy = stat.rsplit_once(") ").unwrap().1.split(' ').nth(38).unwrap();
        assert_eq!(policy, libc::SCHED_IDLE.to_string());
        assert!(set_policy(u32::MAX, Policy::Batch, 0).is_err());
        assert_eq!(Policy::parse("nice"), None);
    }
}
