//! `nodeinfo freecell nodememstats nodecpustats nodecpumap maxvcpus sysinfo`: processors and memory, in virsh's lines.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use lodge_client::api::{CpuTimes, MaxVcpusQuery, NodeMemory, NodeView};

use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

/// How long virsh looks for a percentage.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct Freecell {
    /// NUMA cell number
    cellno: Option<u32>,
    /// show free memory for all NUMA cells
    #[arg(long, conflicts_with = "cellno")]
    all: bool,
}

#[derive(Debug, Args)]
pub struct Nodememstats {
    /// prints specified cell statistics only
    cell: Option<u32>,
}

#[derive(Debug, Args)]
pub struct Nodecpustats {
    /// prints specified cpu statistics only
    cpu: Option<u32>,
    /// prints by percentage during 1 second
    #[arg(long)]
    percent: bool,
}

#[derive(Debug, Args)]
pub struct Nodecpumap {
    /// return human readable output
    #[arg(long)]
    pretty: bool,
}

#[derive(Debug, Args)]
pub struct Maxvcpus {
    /// domain type
    r#type: Option<String>,
}

async fn node(session: &mut Session) -> Result<NodeView, Failure> {
    session.client().await?.node().await.what(|| "failed to get the node's information".to_owned())
}

pub async fn nodeinfo(session: &mut Session) -> Result<(), Failure> {
    let view = node(session).await?;
    session.show(&view, |view| {
        let mut text = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{:20} {value}", format!("{name}:"));
        };
        line("CPU model", &view.model);
        line("CPU(s)", &view.cpus);
        if view.mhz > 0 {
            line("CPU frequency", &format!("{} MHz", view.mhz));
        }
        line("CPU socket(s)", &view.sockets);
        line("Core(s) per socket", &view.cores);
        line("Thread(s) per core", &view.threads);
        line("NUMA cell(s)", &view.cells);
        line("Memory size", &format!("{} KiB", view.memory.total_kib));
        text
    });
    Ok(())
}

fn cell_of(view: &NodeView, cell: u32) -> Result<NodeMemory, Failure> {
    let found = view.cell_memory.iter().find(|memory| memory.cell == Some(cell));
    found.copied().ok_or_else(|| invalid(format!("this host has no memory cell {cell}")))
}

impl Freecell {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let view = node(session).await?;
        if let Some(cell) = self.cellno {
            let memory = cell_of(&view, cell)?;
            session.show(&memory, |memory| format!("{cell}: {} KiB\n", memory.free_kib));
        } else if self.all {
            session.show(&view.cell_memory, |cells| {
                let mut text = String::new();
                for memory in cells {
                    let _ =
                        writeln!(text, "{:>5}: {:>10} KiB", memory.cell.unwrap_or_default(), memory.free_kib);
                }
                let sum: u64 = cells.iter().map(|memory| memory.free_kib).sum();
                let _ = writeln!(text, "--------------------\n{:>5}: {sum:>10} KiB", "Total");
                text
            });
        } else {
            session.show(&view.memory, |memory| format!("Total: {} KiB\n", memory.free_kib));
        }
        Ok(())
    }
}

impl Nodememstats {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let view = node(session).await?;
        let memory = self.cell.map_or(Ok(view.memory), |cell| cell_of(&view, cell))?;
        session.show(&memory, |memory| {
            let mut text = String::new();
            let figures = [
                ("total", Some(memory.total_kib)),
                ("free", Some(memory.free_kib)),
                ("buffers", memory.buffers_kib),
                ("cached", memory.cached_kib),
            ];
            for (name, kib) in figures.into_iter().filter_map(|(name, kib)| Some((name, kib?))) {
                let _ = writeln!(text, "{name:7}: {kib:>20} KiB");
            }
            text
        });
        Ok(())
    }
}

impl Nodecpustats {
    async fn times(&self, session: &mut Session) -> Result<CpuTimes, Failure> {
        let view = node(session).await?;
        let Some(cpu) = self.cpu else { return Ok(view.times) };
        let found = view.cpu_times.into_iter().find(|times| times.cpu == Some(cpu));
        found.ok_or_else(|| invalid(format!("this host has no processor {cpu} that is on")))
    }

    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let before = self.times(session).await?;
        if !self.percent {
            session.show(&before, |times| {
                let mut text = String::new();
                let figures = [
                    ("user", times.user_ns),
                    ("system", times.kernel_ns),
                    ("idle", times.idle_ns),
                    ("iowait", times.iowait_ns),
                ];
                for (name, time_ns) in figures {
                    let _ = writeln!(text, "{:15} {time_ns:>20}", format!("{name}:"));
                }
                text
            });
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
        let after = self.times(session).await?;
        session.show(&shares(&before, &after), |shares| {
            let mut text = String::new();
            for (name, share) in ["usage", "user", "system", "idle", "iowait"].into_iter().zip(shares) {
                let _ = writeln!(text, "{:15} {share:5.1}%", format!("{name}:"));
            }
            text
        });
        Ok(())
    }
}

/// Of the time between two looks: usage, and in it user and system; idle, waiting.
fn shares(before: &CpuTimes, after: &CpuTimes) -> [f64; 5] {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
    let between = |of: fn(&CpuTimes) -> u64| of(after).saturating_sub(of(before)) as f64;
    let user = between(|times| times.user_ns);
    let system = between(|times| times.kernel_ns);
    let idle = between(|times| times.idle_ns);
    let waiting = between(|times| times.iowait_ns);
    let all = (user + system + idle + waiting).max(1.0);
    [user + system, user, system, idle, waiting].map(|share| share * 100.0 / all)
}

impl Nodecpumap {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let view = node(session).await?;
        session.show(&view, |view| {
            let is_on = |cpu: u32| view.cpu_times.iter().any(|times| times.cpu == Some(cpu));
            let count = view.present.last().map_or(0, |last| last + 1);
            let map = if self.pretty {
                ranges(&(0..count).filter(|cpu| is_on(*cpu)).collect::<Vec<_>>())
            } else {
                (0..count).map(|cpu| if is_on(cpu) { 'y' } else { '-' }).collect()
            };
            let mut text = String::new();
            let online = view.cpu_times.len().to_string();
            for (name, value) in
                [("CPUs present", count.to_string()), ("CPUs online", online), ("CPU map", map)]
            {
                let _ = writeln!(text, "{:15} {value}", format!("{name}:"));
            }
            text
        });
        Ok(())
    }
}

/// `0-3,6` of numbers in order.
fn ranges(numbers: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => parts.push((*number, *number)),
        }
    }
    let part = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

impl Maxvcpus {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let query = MaxVcpusQuery { kind: self.r#type };
        let most = session.client().await?.max_vcpus(&query).await;
        let most = most.what(|| "failed to get the most vCPUs of a guest".to_owned())?;
        session.show(&most, |most| format!("{most}\n"));
        Ok(())
    }
}

pub async fn sysinfo(session: &mut Session) -> Result<(), Failure> {
    let xml = session.client().await?.sysinfo().await;
    output::print(&xml.what(|| "failed to get sysinfo".to_owned())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_between_two_looks() {
        let before = CpuTimes { user_ns: 10, kernel_ns: 10, idle_ns: 100, iowait_ns: 0, cpu: None };
        let after = CpuTimes { user_ns: 40, kernel_ns: 20, idle_ns: 150, iowait_ns: 10, cpu: None };
        let of = shares(&before, &after).map(|share| format!("{share:.0}"));
        assert_eq!(of, ["40", "30", "10", "50", "10"]);
        assert!(shares(&after, &after).iter().all(|share| share.abs() < f64::EPSILON));
    }

    #[test]
    fn numbers_are_written_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(ranges(&[]), "");
    }
}
