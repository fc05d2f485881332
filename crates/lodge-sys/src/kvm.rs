//! KVM proven by running timed guest code, never by looking at the device node.
//!
//! A `/dev/kvm` that opens, creates machines and runs firmware may still emulate a guest's kernel one instruction
//! at a time (`kvm_pvm`, some nested set-ups): an ordinary Linux then never boots. So [`measure`] runs a counting
//! loop as 64-bit kernel code in a guest, runs the same loop on the bare processor, and tells both times.
//!
//! A broken KVM can hang the thread that asks it. So [`prove`] measures in a child process (`PROGRAM
//! __kvm-probe`, which calls [`measure`] and prints [`Timing::to_line`]) and kills it at the deadline.
//!
//! Deliberately absent: what the numbers mean. That is `lodge_host::kvm`.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

mod facts;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use facts::{Facts, facts};

/// The hidden argument that makes the program a probe.
pub const PROBE_ARGUMENT: &str = "__kvm-probe";

/// How long the guest is timed on a good host, and the least that a measure takes.
const ENOUGH: Duration = Duration::from_millis(15);

/// Iterations of the first slice: a millisecond where each instruction is emulated.
const FIRST_SLICE: u64 = 500;

/// No slice grows beyond this, so that none takes long on a host that changes its mind.
const LARGEST_SLICE: u64 = 32_000_000;

/// What the same loop took as guest code and on the bare processor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Nanoseconds for one guest instruction.
    pub guest_ns: f64,
    /// Nanoseconds for one instruction outside of a guest.
    pub native_ns: f64,
    /// Nanoseconds from the guest to this process and back (an `out` instruction).
    pub exit_ns: f64,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// There is no device node.
    #[error("there is no /dev/kvm")]
    Absent,
    /// The device node may not be opened by this user.
    #[error("/dev/kvm may not be opened")]
    Denied {
        /// What `open` said.
        source: io::Error,
    },
    /// KVM refused one of the acts that every machine monitor needs.
    #[error("KVM failed to {act}")]
    Refused {
        /// The act, as a verb phrase.
        act: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The guest did something else than count.
    #[error("the guest loop ended with {exit}")]
    Strayed {
        /// KVM's exit reason.
        exit: String,
    },
    /// The probe's process could not be run.
    #[error("the probe could not be run")]
    Spawn {
        /// What the kernel said.
        source: io::Error,
    },
    /// The probe gave no answer and was killed.
    #[error("the guest loop gave no answer in {waited:?}")]
    Hung {
        /// How long it was given.
        waited: Duration,
    },
    /// The probe ended without an answer.
    #[error("the probe ended with {status}: {last_words}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        last_words: String,
    },
    /// There is no guest loop for this processor yet.
    #[error("the guest loop is not written for this processor")]
    Unwritten,
}

impl Timing {
    /// How many times slower guest code is than the bare processor.
    pub fn slowdown(&self) -> f64 {
        (self.guest_ns / self.native_ns.max(0.01)).max(1.0)
    }

    /// One line for the parent process.
    pub fn to_line(&self) -> String {
        format!("kvm-timing {:.3} {:.3} {:.1}", self.guest_ns, self.native_ns, self.exit_ns)
    }

    /// Reads [`Timing::to_line`].
    pub fn from_line(line: &str) -> Option<Self> {
        let mut words = line.trim().strip_prefix("kvm-timing ")?.split(' ').map(str::parse::<f64>);
        let mut next = || words.next()?.ok().filter(|number| number.is_finite());
        Some(Self { guest_ns: next()?, native_ns: next()?, exit_ns: next()? })
    }
}

/// A machine with one processor that counts: what a measure runs.
trait Counter {
    /// Lets the guest count `iterations` down to nothing and say so.
    fn count(&mut self, iterations: u64) -> Result<(), ProbeError>;
}

/// Instructions of one iteration: a decrement and a jump.
const INSTRUCTIONS: u64 = 2;

/// Runs the loop in a guest and outside, in this thread. May hang where KVM does: see [`prove`].
pub fn measure() -> Result<Timing, ProbeError> {
    #[cfg(target_arch = "x86_64")]
    {
        let mut guest = x86_64::Guest::new()?;
        guest.count(1)?; // The first entry pays for the guest's page tables.
        let exit_ns = time_exits(&mut guest)?;
        let guest_ns = time_slices(&mut guest)?;
        let native_ns = time_slices(&mut x86_64::Bare)?;
        Ok(Timing { guest_ns, native_ns, exit_ns })
    }
    #[cfg(not(target_arch = "x86_64"))]
    Err(ProbeError::Unwritten)
}

/// The best of a few empty slices: what one way out and back costs.
fn time_exits(counter: &mut impl Counter) -> Result<f64, ProbeError> {
    let mut best = Duration::MAX;
    for _ in 0..16 {
        let began = Instant::now();
        counter.count(1)?;
        best = best.min(began.elapsed());
    }
    Ok(nanoseconds(best))
}

/// Runs growing slices until [`ENOUGH`] time has passed; the last one, the longest, is the measure.
fn time_slices(counter: &mut impl Counter) -> Result<f64, ProbeError> {
    let (began, mut iterations) = (Instant::now(), FIRST_SLICE);
    loop {
        let slice = Instant::now();
        counter.count(iterations)?;
        let took = slice.elapsed();
        if began.elapsed() >= ENOUGH {
            #[expect(clippy::cast_precision_loss, reason = "at most 64 million")]
            return Ok(nanoseconds(took) / (iterations * INSTRUCTIONS) as f64);
        }
        iterations = (iterations * 4).min(LARGEST_SLICE);
    }
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// Has `program` measure in a process of its own and kills that at the deadline.
pub fn prove(program: &Path, deadline: Duration) -> Result<Timing, ProbeError> {
    open_device()?;
    let mut child = Command::new(program)
        .arg(PROBE_ARGUMENT)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| ProbeError::Spawn { source })?;
    let answer = read_until(&mut child, deadline);
    if answer.is_none() {
        // Only fails when the child is gone already, and then there is nothing to kill.
        drop(child.kill());
    }
    let status = child.wait().map_err(|source| ProbeError::Spawn { source })?;
    let text = answer.ok_or(ProbeError::Hung { waited: deadline })?;
    match text.lines().find_map(Timing::from_line) {
        Some(timing) => Ok(timing),
        None => Err(ProbeError::Ended { status, last_words: text.chars().take(300).collect() }),
    }
}

/// All that the child prints, or nothing when it still had its output open at the deadline.
fn read_until(child: &mut Child, deadline: Duration) -> Option<String> {
    const LIMIT_BYTES: usize = 4096;
    let mut output = child.stdout.take()?;
    let (began, mut text) = (Instant::now(), Vec::new());
    loop {
        let left = deadline.checked_sub(began.elapsed())?;
        let timeout =
            Timespec { tv_sec: i64::try_from(left.as_secs()).ok()?, tv_nsec: left.subsec_nanos().into() };
        let mut wanted = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
        match poll(&mut wanted, Some(&timeout)) {
            Ok(0) => return None,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => break,
            Ok(_) => {}
        }
        let mut part = [0; 512];
        match output.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(length) => text.extend_from_slice(part.get(..length)?),
        }
        if text.len() > LIMIT_BYTES {
            break;
        }
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Opens the device node as the probe will, so that the commonest answers need no process.
fn open_device() -> Result<(), ProbeError> {
    let opened = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
    match opened.map_err(|error| (error.kind(), error)) {
        Ok(_) => Ok(()),
        Err((io::ErrorKind::NotFound, _)) => Err(ProbeError::Absent),
        Err((io::ErrorKind::PermissionDenied, source)) => Err(ProbeError::Denied { source }),
        Err((_, source)) => Err(ProbeError::Refused { act: "open /dev/kvm", source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timing_survives_its_line() {
        let timing = Timing { guest_ns: 700.25, native_ns: 0.25, exit_ns: 1500.0 };
        assert_eq!(Timing::from_line(&timing.to_line()), Some(timing));
        assert_eq!(Timing::from_line("kvm-timing 1 NaN 2"), None);
        assert_eq!(Timing::from_line("kvm-timing 1 2"), None);
        assert_eq!(Timing::from_line("running 0 tests"), None);
    }

    #[test]
    fn a_program_that_is_no_probe_is_told() {
        match prove(Path::new("/bin/true"), Duration::from_secs(5)) {
            Err(ProbeError::Ended { status, .. }) => assert!(status.success()),
            Err(ProbeError::Absent | ProbeError::Denied { .. }) => eprintln!("no usable /dev/kvm: skipped"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_probe_that_hangs_is_killed() {
        let began = Instant::now();
        let directory = tempfile::tempdir().expect("a directory");
        let script = directory.path().join("hang");
        std::fs::write(&script, "#!/bin/sh\nexec sleep 60\n").expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).expect("made executable");
        match prove(&script, Duration::from_millis(200)) {
            Err(ProbeError::Hung { .. }) => assert!(began.elapsed() < Duration::from_secs(20)),
            Err(ProbeError::Absent | ProbeError::Denied { .. }) => eprintln!("no usable /dev/kvm: skipped"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_loop_is_timed_where_kvm_is_there() {
        match measure() {
            Ok(timing) => {
                eprintln!("{timing:?}: {:.1} times slower", timing.slowdown());
                assert!(timing.native_ns > 0.0 && timing.native_ns < 100.0, "{timing:?}");
                assert!(timing.slowdown() >= 1.0);
            }
            Err(error) => eprintln!("skipped: {error}"),
        }
    }
}
