//! The host as a place for guests: processors and their places, memory by cell, pages, times spent.
//!
//! Read from /proc and /sys each time it is asked; a call costs some files. What libvirt calls `node`.
//! Deliberately absent: what a processor can do ([`crate::cpu`]).

mod caches;
mod firmware_words;
mod memory;
mod topology;

use std::fs;
use std::path::{Path, PathBuf};

pub use caches::CacheBank;
pub use memory::{MergeSetting, PageSize};
pub use topology::{Cell, Place};

/// Where the host is read: `/`, or a tree made for a test.
#[derive(Debug, Clone)]
pub struct Node {
    root: PathBuf,
}

impl Default for Node {
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

/// `nodeinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSummary {
    /// The machine's sort: `x86_64`.
    pub model: String,
    /// All memory.
    pub memory_kib: u64,
    /// Processors that are on.
    pub cpus: u32,
    /// The first one's speed now; 0 where it is not told.
    pub mhz: u32,
    /// Memory cells.
    pub cells: u32,
    /// Sockets of a cell.
    pub sockets: u32,
    /// Cores of a socket.
    pub cores: u32,
    /// Threads of a core.
    pub threads: u32,
}

/// Time spent by one or all processors since the start, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTimes {
    /// In the kernel.
    pub kernel_ns: u64,
    /// In programs.
    pub user_ns: u64,
    /// In nothing.
    pub idle_ns: u64,
    /// In waiting for disks.
    pub iowait_ns: u64,
}

/// Why something of the host cannot be told or done.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// There is no such processor or cell.
    #[error("{0}")]
    NoSuch(String),
    /// A value that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// There are no pages of this size.
    #[error("{0}")]
    NoPages(String),
    /// This host cannot do it.
    #[error("{0}")]
    Unsupported(String),
    /// A file of the kernel's could not be read or written.
    #[error("cannot {act} `{}`", path.display())]
    File {
        /// The act.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: std::io::Error,
    },
}

impl NodeError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> lodge_model::Kind {
        match self {
            Self::NoSuch(_) | Self::Invalid(_) => lodge_model::Kind::InvalidInput,
            Self::Unsupported(_) | Self::NoPages(_) => lodge_model::Kind::Unsupported,
            Self::File { .. } => lodge_model::Kind::Internal,
        }
    }

    /// There is no next step to tell.
    pub fn hint(&self) -> Option<&'static str> {
        None
    }
}

impl Node {
    /// A tree made for a test.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.trim().parse().ok()
    }

    /// The numbers of `DIRECTORY/PREFIXn`, in order.
    fn numbered(&self, directory: &str, prefix: &str) -> Vec<u32> {
        let entries = fs::read_dir(self.path(directory)).into_iter().flatten().flatten();
        let mut found: Vec<u32> = entries
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok())
            .collect();
        found.sort_unstable();
        found
    }

    /// `nodeinfo`.
    pub fn summary(&self) -> NodeSummary {
        let places: Vec<Place> = self.online().into_iter().filter_map(|cpu| self.place(cpu)).collect();
        let cells = self.cells();
        let cpus = u32::try_from(self.online().len().max(1)).unwrap_or(u32::MAX);
        let (sockets, cores, threads) = topology::shape(&places, &cells);
        let uname = rustix::system::uname();
        let mut summary = NodeSummary {
            model: uname.machine().to_string_lossy().into_owned(),
            memory_kib: self.meminfo("MemTotal"),
            cpus,
            mhz: self.mhz(),
            cells: u32::try_from(cells.len().max(1)).unwrap_or(1),
            sockets,
            cores,
            threads,
        };
        // libvirt's own way out where the shape does not explain the count (switched off processors, odd machines).
        if summary.cells * sockets * cores * threads != cpus {
            (summary.cells, summary.sockets, summary.cores, summary.threads) = (1, 1, cpus, 1);
        }
        summary
    }

    fn mhz(&self) -> u32 {
        let text = self.text("/proc/cpuinfo").unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("cpu MHz"));
        let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
        value.and_then(|value| value.split('.').next()?.parse().ok()).unwrap_or_default()
    }

    /// A figure of /proc/meminfo in KiB.
    pub fn meminfo(&self, name: &str) -> u64 {
        let text = self.text("/proc/meminfo").unwrap_or_default();
        memory::figure(&text, name).unwrap_or_default()
    }

    /// Whether devices can be given to guests safely: the kernel has groups of them.
    pub fn has_iommu(&self) -> bool {
        fs::read_dir(self.path("/sys/kernel/iommu_groups")).is_ok_and(|mut groups| groups.next().is_some())
    }

    /// Processors that are on.
    pub fn online(&self) -> Vec<u32> {
        let list = self.text("/sys/devices/system/cpu/online").unwrap_or_default();
        topology::parse_list(list.trim())
    }

    /// Processors that there are; by number, on or off.
    pub fn present(&self) -> Vec<u32> {
        let list = self.text("/sys/devices/system/cpu/present").unwrap_or_default();
        topology::parse_list(list.trim())
    }

    /// Time spent by one processor, or by all.
    pub fn cpu_times(&self, cpu: Option<u32>) -> Result<CpuTimes, NodeError> {
        let name = cpu.map_or_else(|| "cpu".to_owned(), |cpu| format!("cpu{cpu}"));
        let text = self.text("/proc/stat").unwrap_or_default();
        let line = text.lines().find(|line| line.split(' ').next() == Some(&name));
        let line =
            line.ok_or_else(|| NodeError::NoSuch("Invalid cpuNum in virHostCPUGetStatsLinux".to_owned()))?;
        let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
        let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
        let at = |at: usize| ticks.get(at).copied().unwrap_or_default().saturating_mul(tick_ns);
        Ok(CpuTimes {
            user_ns: at(0) + at(1),
            kernel_ns: at(2) + at(5) + at(6),
            idle_ns: at(3),
            iowait_ns: at(4),
        })
    }
}

#[cfg(test)]
mod tests;
