#![expect(unsafe_code, reason = "UNSAFETY: perf_event_open(2) has no binding")]
//! What the kernel counts of a process: perf_event_open(2).
//!
//! A counter is a descriptor per thread that there is, each with the threads that one begins later. Deliberately absent:
//! samples, groups, and counters of whole processors.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd};

/// Of linux/perf_event.h: the first layout of `struct perf_event_attr`, which every kernel takes.
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    breakpoint: u64,
}

/// `inherit`: threads that are begun later are counted, too.
const INHERIT: u64 = 1 << 1;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;

/// Something that can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    kind: u32,
    config: u64,
}

impl Event {
    /// One of the processor's (`PERF_COUNT_HW_…`).
    pub const fn hardware(number: u64) -> Self {
        Self { kind: 0, config: number }
    }

    /// One of the kernel's own (`PERF_COUNT_SW_…`).
    pub const fn software(number: u64) -> Self {
        Self { kind: 1, config: number }
    }

    fn open(self, thread: u32) -> io::Result<OwnedFd> {
        let attributes = Attributes {
            kind: self.kind,
            size: u32::try_from(size_of::<Attributes>()).expect("it is 64 bytes"),
            config: self.config,
            sample_period: 0,
            sample_type: 0,
            read_format: 0,
            flags: INHERIT,
            wakeup_events: 0,
            breakpoint_type: 0,
            breakpoint: 0,
        };
        let thread =
            libc::pid_t::try_from(thread).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: the attributes are live for the call and as large as they say; no processor (-1) and no group (-1).
        let fd = unsafe {
            libc::syscall(libc::SYS_perf_event_open, &raw const attributes, thread, -1, -1, CLOSE_ON_EXEC)
        };
        let fd = libc::c_int::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given it to us, and to nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// A number that grows while it is held.
#[derive(Debug)]
pub struct Counter(Vec<File>);

impl Counter {
    /// Begins to count an event in all threads of a process. A thread that another one begins in this very moment may
    /// be missed.
    pub fn of_process(event: Event, pid: u32) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let Some(thread) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            match event.open(thread) {
                Ok(fd) => files.push(File::from(fd)),
                // It has ended meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) && !files.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        if files.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(Self(files))
    }

    /// How often it has happened.
    pub fn read(&self) -> io::Result<u64> {
        let mut total = 0_u64;
        for mut file in &self.0 {
            let mut bytes = [0; 8];
            file.read_exact(&mut bytes)?;
            total = total.saturating_add(u64::from_ne_bytes(bytes));
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_does_is_counted() {
        let counter = match Counter::of_process(Event::software(0), std::process::id()) {
            Ok(counter) => counter,
            Err(error) => return eprintln!("skipped: this kernel counts nothing here: {error}"),
        };
        let before = counter.read().unwrap();
        let mut sum = 0_u64;
        for number in 0..3_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(number));
        }
        assert!(counter.read().unwrap() > before, "{sum}");
    }

    #[test]
    fn a_process_that_is_not_there_is_refused() {
        assert!(Counter::of_process(Event::software(0), u32::MAX).is_err());
    }
}
