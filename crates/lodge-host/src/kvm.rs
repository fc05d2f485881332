//! Whether guests may run under KVM: the verdict over a timed guest loop.

use std::path::Path;
use std::time::Duration;

use lodge_sys::kvm::{ProbeError, Timing, measure, prove};
use serde::{Deserialize, Serialize};

/// A guest loop this many times slower than the bare processor is emulated, not run. A nested KVM on a busy host
/// stays below 5; a KVM that steps through instructions lies above 500.
const EMULATED_FROM: f64 = 25.0;

/// The probe takes about 50 ms; longer than this and it hangs.
const DEADLINE: Duration = Duration::from_secs(5);

/// What KVM on this host is good for, proven by running guest code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum KvmVerdict {
    /// Guest code runs at the processor's speed.
    Usable {
        /// Nanoseconds for one guest instruction.
        guest_ns: f64,
        /// How many times slower than the bare processor (1.0 = as fast).
        slowdown: f64,
        /// Nanoseconds from the guest to its monitor and back.
        exit_ns: f64,
    },
    /// KVM is there and answers, but steps through guest code: slower than TCG, so use TCG.
    Emulated {
        /// Nanoseconds for one guest instruction.
        guest_ns: f64,
        /// How many times slower than the bare processor.
        slowdown: f64,
        /// Nanoseconds from the guest to its monitor and back.
        exit_ns: f64,
    },
    /// There is no `/dev/kvm`.
    Absent,
    /// This user may not open `/dev/kvm`.
    Denied {
        /// What the kernel said.
        error: String,
    },
    /// `/dev/kvm` opens but no guest code can be run.
    Broken {
        /// What failed, and why.
        error: String,
    },
}

impl KvmVerdict {
    /// Whether guests should be given KVM.
    pub fn is_usable(&self) -> bool {
        matches!(self, Self::Usable { .. })
    }

    /// One clause that says why, to stand in a warning: "KVM is not usable: …".
    pub fn why(&self) -> String {
        match self {
            Self::Usable { slowdown, .. } => {
                format!("guest code runs at the processor's speed ({slowdown:.1} times the bare time)")
            }
            Self::Emulated { slowdown, guest_ns, .. } => format!(
                "/dev/kvm is there but emulates guest code ({guest_ns:.0} ns per instruction, {slowdown:.0} times \
                 slower than the processor)"
            ),
            Self::Absent => "there is no /dev/kvm".to_owned(),
            Self::Denied { error } => format!("/dev/kvm may not be opened ({error})"),
            Self::Broken { error } => format!("/dev/kvm runs no guest code ({error})"),
        }
    }

    fn of(outcome: Result<Timing, ProbeError>) -> Self {
        match outcome {
            Ok(timing) => Self::of_timing(timing),
            Err(ProbeError::Absent) => Self::Absent,
            Err(ProbeError::Denied { source }) => Self::Denied { error: source.to_string() },
            Err(
                error @ (ProbeError::Refused { .. }
                | ProbeError::Strayed { .. }
                | ProbeError::Spawn { .. }
                | ProbeError::Hung { .. }
                | ProbeError::Ended { .. }
                | ProbeError::Unwritten),
            ) => Self::Broken { error: chain(&error) },
        }
    }

    fn of_timing(timing: Timing) -> Self {
        let (guest_ns, slowdown, exit_ns) = (timing.guest_ns, timing.slowdown(), timing.exit_ns);
        if slowdown < EMULATED_FROM {
            Self::Usable { guest_ns, slowdown, exit_ns }
        } else {
            Self::Emulated { guest_ns, slowdown, exit_ns }
        }
    }
}

/// Proves KVM by a timed guest loop in a child process of this program (about 50 ms).
pub async fn kvm_verdict() -> KvmVerdict {
    tokio::task::spawn_blocking(verdict_now).await.expect("the probe does not panic")
}

/// [`kvm_verdict`] for threads that may wait.
pub(crate) fn verdict_now() -> KvmVerdict {
    // This path names the program even after its file was replaced by an upgrade.
    KvmVerdict::of(prove(Path::new("/proc/self/exe"), DEADLINE))
}

/// The child's side: measures, prints one line. `main` calls it for the hidden subcommand `__kvm-probe`.
pub fn probe_main() -> std::process::ExitCode {
    match measure() {
        Ok(timing) => {
            println!("{}", timing.to_line());
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}", chain(&error));
            std::process::ExitCode::FAILURE
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowdown_decides() {
        let verdict = |guest_ns| KvmVerdict::of_timing(Timing { guest_ns, native_ns: 0.25, exit_ns: 1200.0 });
        assert!(verdict(0.25).is_usable());
        assert!(verdict(1.0).is_usable(), "a nested host under load");
        assert!(!verdict(700.0).is_usable(), "kvm_pvm");
        assert_eq!(
            verdict(700.0).why(),
            "/dev/kvm is there but emulates guest code (700 ns per instruction, 2800 times slower than the processor)"
        );
    }

    #[test]
    fn each_failure_has_its_verdict() {
        assert_eq!(KvmVerdict::of(Err(ProbeError::Absent)), KvmVerdict::Absent);
        let busy = std::io::Error::from_raw_os_error(16);
        let refused = ProbeError::Refused { act: "create a machine", source: busy };
        assert_eq!(
            KvmVerdict::of(Err(refused)).why(),
            "/dev/kvm runs no guest code (KVM failed to create a machine: Device or resource busy (os error 16))"
        );
        let hung = ProbeError::Hung { waited: DEADLINE };
        assert_eq!(
            KvmVerdict::of(Err(hung)).why(),
            "/dev/kvm runs no guest code (the guest loop gave no answer in 5s)"
        );
    }
}
