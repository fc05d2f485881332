//! How fast a guest's processor is here, measured in a throwaway machine.
//!
//! The machine's whole firmware is a loop of ours, so nothing boots: it runs from the reset vector on, and writes a
//! byte to QEMU's debug console after every round. The host's own processor runs the same loop beside it, so that
//! load on the host weighs on both. Whoever waits on a guest multiplies the wait by the factor.
//! Deliberately absent: keeping the result (the caller does), and any guess from names of processors.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use lodge_model::Kind;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::capabilities::{ProbeError, Throwaway};
use crate::claims::Accelerator;

/// How much slower than the host's own processor a guest runs. What waits on a guest multiplies its time by it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// 1.0 is the bare host; 20.0 takes twenty times as long.
    pub factor: f64,
}

impl Speed {
    /// The bare host's.
    pub const NATIVE: Self = Self { factor: 1.0 };

    /// What TCG is taken to be where it was not measured.
    pub const ASSUMED_TCG: Self = Self { factor: 12.0 };

    /// A wait that is `time` on bare hardware, on this guest.
    pub fn scale(self, time: Duration) -> Duration {
        time.mul_f64(self.factor.clamp(1.0, 1000.0))
    }
}

/// Why the speed is not known.
#[derive(Debug, thiserror::Error)]
pub enum SpeedError {
    /// The throwaway machine did not start.
    #[error("cannot start a machine to measure {accelerator}")]
    Start {
        /// What was measured.
        accelerator: Accelerator,
        /// Why not.
        source: ProbeError,
    },
    /// A socket pair or the firmware's memory failed.
    #[error("cannot prepare a machine to measure {accelerator}")]
    Prepare {
        /// What was measured.
        accelerator: Accelerator,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It did not finish in time: the accelerator is unusable.
    #[error("a guest's loop under {accelerator} did not end in {waited:?}")]
    Timeout {
        /// What was measured.
        accelerator: Accelerator,
        /// How long was waited.
        waited: Duration,
    },
    /// It ended otherwise than the loop does.
    #[error("the machine to measure {accelerator} ended early")]
    Ended {
        /// What was measured.
        accelerator: Accelerator,
    },
}

impl SpeedError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Start { source, .. } => source.kind(),
            Self::Prepare { .. } => Kind::Internal,
            Self::Timeout { .. } | Self::Ended { .. } => Kind::Unavailable,
        }
    }
}

/// Turns of the inner loop in a round, and rounds. On bare hardware a round takes some milliseconds.
const TURNS: u32 = 1_000_000;
const ROUNDS: u8 = 7;

/// More than a hundred times slower than the host: of no use, and not worth a longer wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures `accelerator` with the QEMU at `binary`: a fraction of a second, never more than ten.
pub async fn measure(binary: &Path, accelerator: Accelerator) -> Result<Speed, SpeedError> {
    let guest = tokio::time::timeout(PATIENCE, guest_round(binary, accelerator))
        .await
        .map_err(|_| SpeedError::Timeout { accelerator, waited: PATIENCE })??;
    let host = tokio::task::spawn_blocking(host_round).await.unwrap_or(guest);
    let factor = guest.as_secs_f64() / host.as_secs_f64().max(1e-9);
    tracing::debug!(%accelerator, ?guest, ?host, factor, "speed measured");
    Ok(Speed { factor: factor.max(1.0) })
}

/// The usual time of a round in the guest: the middle one, which one late wake-up of ours does not move.
async fn guest_round(binary: &Path, accelerator: Accelerator) -> Result<Duration, SpeedError> {
    let prepare = |source: io::Error| SpeedError::Prepare { accelerator, source };
    let (mut ours, theirs) = UnixStream::pair().map_err(prepare)?;
    let theirs: OwnedFd =
        theirs.into_std().and_then(|s| s.set_nonblocking(false).map(|()| s)).map_err(prepare)?.into();
    let firmware = firmware_file().map_err(prepare)?;
    let console = format!("socket,id=console,fd={}", theirs.as_raw_fd());
    let bios = format!("/proc/self/fd/{}", firmware.as_raw_fd());
    let machine = format!("pc,accel={accelerator},usb=off");
    #[rustfmt::skip]
    let args = [
        "-no-user-config", "-nodefaults", "-display", "none", "-machine", &machine, "-m", "16", "-bios", &bios,
        "-chardev", &console, "-device", "isa-debugcon,iobase=0xe9,chardev=console", "-no-reboot",
    ];
    let started = Throwaway::start(binary, &args, vec![theirs, firmware]).await;
    let _machine = started.map_err(|source| SpeedError::Start { accelerator, source })?;
    let mut marks = Vec::new();
    while marks.len() <= usize::from(ROUNDS) {
        let mut byte = [0; 1];
        match ours.read_exact(&mut byte).await {
            Ok(_) => marks.push(Instant::now()),
            Err(_) => return Err(SpeedError::Ended { accelerator }),
        }
    }
    let mut rounds: Vec<Duration> = marks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    rounds.sort_unstable();
    Ok(rounds[rounds.len() / 2])
}

/// The same round on the host's processor: the best of a few.
fn host_round() -> Duration {
    let round = || {
        let begun = Instant::now();
        let mut cell = 0u32;
        let mut count = TURNS;
        while count != 0 {
            // Through memory, as the guest's loop does it.
            let value = std::hint::black_box(&mut cell);
            *value = value.wrapping_add(count).rotate_left(3);
            count -= 1;
        }
        std::hint::black_box(cell);
        begun.elapsed()
    };
    let best = (0..5).map(|_| round()).min().unwrap_or_default();
    // A build without optimisation runs this loop, but not the guest's, about five times slower than it could.
    if cfg!(debug_assertions) { best / 5 } else { best }
}

/// The loop, in 16-bit code at the beginning of the firmware's last 64 KiB.
fn code() -> Vec<u8> {
    let [a, b, c, d] = TURNS.to_le_bytes();
    #[rustfmt::skip]
    let code = [
        0xB2, ROUNDS + 1,                   // 00        mov dl, rounds + 1
        0xB0, b'.', 0xE6, 0xE9,             // 02 round: mov al, '.'; out 0xe9, al
        0xFE, 0xCA, 0x74, 0x1B,             // 06        dec dl; jz halt
        0x66, 0xB9, a, b, c, d,             // 0a        mov ecx, turns
        0x66, 0xA1, 0x00, 0x06,             // 10 turn:  mov eax, [0x600]
        0x66, 0x01, 0xC8,                   // 14        add eax, ecx
        0x66, 0xC1, 0xC0, 0x03,             // 17        rol eax, 3
        0x66, 0xA3, 0x00, 0x06,             // 1b        mov [0x600], eax
        0x66, 0x49, 0x75, 0xED,             // 1f        dec ecx; jnz turn
        0xEB, 0xDD,                         // 23        jmp round
        0xF4, 0xEB, 0xFD,                   // 25 halt:  hlt; jmp halt
    ];
    code.to_vec()
}

/// 64 KiB of firmware in memory. The processor begins 16 bytes before its end, in 16-bit mode.
fn firmware_file() -> io::Result<OwnedFd> {
    use std::io::Write;
    let mut image = vec![0xF4; 64 << 10];
    let code = code();
    image[..code.len()].copy_from_slice(&code);
    // fff0: jmp 0000
    image[0xFFF0..0xFFF3].copy_from_slice(&[0xE9, 0x0D, 0x00]);
    let file = rustix::fs::memfd_create("lodge-speed", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(&image)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_of_the_loop_land_on_their_labels() {
        let code = code();
        let target = |at: usize| {
            let distance = i16::from(code[at + 1].cast_signed());
            i16::try_from(at + 2).unwrap() + distance
        };
        assert_eq!((target(0x08), target(0x21), target(0x23), target(0x26)), (0x25, 0x10, 0x02, 0x25));
    }

    #[test]
    fn waits_grow_with_the_factor_within_reason() {
        let second = Duration::from_secs(1);
        assert_eq!(Speed { factor: 2.5 }.scale(second), Duration::from_millis(2500));
        assert_eq!(Speed { factor: 0.1 }.scale(second), second);
        assert_eq!(Speed { factor: 1e9 }.scale(second), Duration::from_secs(1000));
    }
}
