//! What the kernel tells of a guest's process, its threads and its taps.

use lodge_domain::TapFacts;
use lodge_domain::control::Refusal;

use super::{Guest, Look};

/// Processor time, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuTimes {
    /// All of it.
    pub total_ns: u64,
    /// In user mode; the guest's own code.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// The host's processor it ran on last.
    pub last_cpu: i32,
}

/// Counters of a tap, as the guest sees them: what the host receives the guest has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NicFigures {
    /// Received by the guest: bytes, packets, errors, dropped.
    pub rx: [u64; 4],
    /// Sent by the guest.
    pub tx: [u64; 4],
}

/// Fields 14, 15 and 39 of `proc_pid_stat(5)`, of a process (`None`) or one of its threads.
pub(crate) fn times(pid: u32, thread: Option<u32>) -> Option<CpuTimes> {
    let path = match thread {
        Some(thread) => format!("/proc/{pid}/task/{thread}/stat"),
        None => format!("/proc/{pid}/stat"),
    };
    let stat = std::fs::read_to_string(path).ok()?;
    // The name in brackets may hold blanks; the fields after it do not. The first one after it is the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let second = rustix::param::clock_ticks_per_second().max(1);
    let ns = |ticks: u64| ticks.saturating_mul(1_000_000_000) / second;
    let (user, system) = (ns(ticks(14)?), ns(ticks(15)?));
    let last_cpu = fields.get(39 - 3).and_then(|cpu| cpu.parse().ok()).unwrap_or(0);
    Some(CpuTimes { total_ns: user + system, user_ns: user, system_ns: system, last_cpu })
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * (rustix::param::page_size() as u64) / 1024)
}

/// How long a thread has waited for a processor (`wait`: the scheduler's own count, `delay`: its run queue's), in ns.
pub(crate) fn waits(pid: u32, thread: u32) -> (Option<u64>, Option<u64>) {
    let sched = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/sched")).ok();
    let wait = sched.and_then(|text| {
        let line = text
            .lines()
            .find(|line| line.starts_with("se.statistics.wait_sum") || line.starts_with("wait_sum"))?;
        let ms: f64 = line.rsplit(':').next()?.trim().parse().ok()?;
        // Milliseconds with a fraction, never negative.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time of the kernel's")]
        Some((ms.max(0.0) * 1_000_000.0) as u64)
    });
    let schedstat = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok();
    let delay = schedstat.and_then(|text| text.split_whitespace().nth(1)?.parse().ok());
    (wait, delay)
}

/// The counters of a card's interface, as the guest sees them; of all network interfaces in one file, see
/// `proc_net(5)`.
pub(crate) fn nic(tap: &TapFacts) -> Option<NicFigures> {
    let TapFacts { name, counts_as_guest } = tap;
    let read = |file: &str| {
        let path = format!("/sys/class/net/{name}/statistics/{file}");
        std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()
    };
    let all = |way: &str| {
        let part = |what: &str| read(&format!("{way}_{what}"));
        Some([part("bytes")?, part("packets")?, part("errors")?, part("dropped")?])
    };
    let (received, sent) = all("rx").zip(all("tx")).or_else(|| from_table(name))?;
    let (rx, tx) = if *counts_as_guest { (received, sent) } else { (sent, received) };
    Some(NicFigures { rx, tx })
}

/// Received and sent. `/sys` may show another network namespace than ours; this file does not.
fn from_table(name: &str) -> Option<([u64; 4], [u64; 4])> {
    let table = std::fs::read_to_string("/proc/self/net/dev").ok()?;
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let four = |from: usize| -> Option<[u64; 4]> { numbers.get(from..from + 4)?.try_into().ok() };
    Some((four(0)?, four(8)?))
}

impl Guest {
    /// Processor time that the guest's process has used.
    pub fn cpu_times(&self) -> Look<CpuTimes> {
        let pid = self.pid()?;
        times(pid, None).ok_or_else(|| {
            Refusal::new(lodge_domain::control::Sort::Failed, "cannot read cputime for domain")
        })
    }

    /// The counters of one of its cards: `device` is the tap's name, or the card's MAC address.
    pub fn nic_figures(&self, device: &str) -> Look<NicFigures> {
        self.must_run()?;
        let document = self.document()?;
        let card = lodge_domain::control::tune::nic::find(&document, device)?;
        let tap = TapFacts::of(card);
        let target = tap.as_ref().map(|tap| tap.name.as_str()).unwrap_or_default();
        let found = tap.as_ref().and_then(nic);
        found.ok_or_else(|| Refusal::internal(format!("/proc/net/dev: Interface not found '{target}'")))
    }

    /// Processor time by the host's processors, of its cgroup, in nanoseconds (cgroup v1 only has them).
    pub fn cpu_times_by_processor(&self) -> Look<Vec<u64>> {
        use lodge_domain::control::tune::Controller;
        self.must_run()?;
        let limits = self.limits(Controller::CpuAccounting)?;
        let text = limits.read("cpuacct.usage_percpu").ok_or_else(|| Controller::CpuAccounting.missing())?;
        Ok(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    }
}
