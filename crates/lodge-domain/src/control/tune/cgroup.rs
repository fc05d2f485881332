//! A guest's own cgroup as files to be read and written, and the groups of its threads below it.
//!
//! libvirt's layout: `vcpu0`, `emulator`, `iothread1` below the guest's. Here such a group is made when a limit asks
//! for it, in the controller of processor time only; without one a thread has no limit of its own.

use std::path::{Path, PathBuf};

use lodge_sys::cgroup::Layout;

use crate::control::{Refusal, Sort};

/// A sort of limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Processor time.
    Cpu,
    /// Processor time used.
    CpuAccounting,
    /// Memory.
    Memory,
    /// Disks.
    Blkio,
    /// Which processors and cells.
    Cpuset,
}

impl Controller {
    fn v1(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CpuAccounting => "cpuacct",
            Self::Memory => "memory",
            Self::Blkio => "blkio",
            Self::Cpuset => "cpuset",
        }
    }

    fn v2(self) -> &'static str {
        match self {
            Self::Cpu | Self::CpuAccounting => "cpu",
            Self::Memory => "memory",
            Self::Blkio => "io",
            Self::Cpuset => "cpuset",
        }
    }

    /// What is said of a running guest where the host does not give it.
    pub fn missing(self) -> Refusal {
        Refusal::invalid(match self {
            Self::Cpu => "cgroup CPU controller is not mounted",
            Self::CpuAccounting => "cgroup CPUACCT controller is not mounted",
            Self::Memory => "cgroup memory controller is not mounted",
            Self::Blkio => "blkio cgroup isn't mounted",
            Self::Cpuset => "cgroup cpuset controller is not mounted",
        })
    }

    /// What is said at a start where a definition needs it and the host does not give it.
    pub(super) fn missing_at_start(self) -> Refusal {
        let text = match self {
            Self::Cpu | Self::CpuAccounting => "CPU tuning is not available on this host",
            Self::Memory => "Memory cgroup is not available on this host",
            Self::Blkio => "Block I/O tuning is not available on this host",
            Self::Cpuset => {
                "numatune mode 'restrictive' is not available on this host: it has no cpuset cgroup"
            }
        };
        Refusal::new(Sort::ConfigUnsupported, text)
    }
}

/// How long a thread may run in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bandwidth {
    /// The period, in µs.
    pub period_us: Option<u64>,
    /// How much of it, in µs; negative: all.
    pub quota_us: Option<i64>,
}

impl Bandwidth {
    /// The kernel's: no limit.
    pub const NONE: Self = Self { period_us: Some(100_000), quota_us: Some(-1) };

    /// Whether nothing is said.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// The directory of one controller in a guest's cgroup.
#[derive(Debug, Clone)]
pub struct Limits {
    directory: PathBuf,
    /// It is of the unified hierarchy: other files, other words.
    pub unified: bool,
}

impl Limits {
    /// Of the cgroup at `relative`, if the host has it.
    pub fn of(relative: &Path, controller: Controller) -> Result<Self, Refusal> {
        let layout = Layout::read().map_err(|_| controller.missing())?;
        let v1 =
            layout.v1.iter().find(|(name, _)| name == controller.v1()).map(|(_, mount)| mount.join(relative));
        if let Some(directory) = v1.filter(|directory| directory.is_dir()) {
            return Ok(Self { directory, unified: false });
        }
        let unified = layout.v2.map(|mount| mount.join(relative)).filter(|directory| {
            let controllers = std::fs::read_to_string(directory.join("cgroup.controllers"));
            controllers.is_ok_and(|list| list.split_whitespace().any(|name| name == controller.v2()))
        });
        unified.map(|directory| Self { directory, unified: true }).ok_or_else(|| controller.missing())
    }

    /// A file's content without its line end.
    pub fn read(&self, file: &str) -> Option<String> {
        Some(std::fs::read_to_string(self.directory.join(file)).ok()?.trim_end().to_owned())
    }

    /// A file's content as a number.
    pub fn number(&self, file: &str) -> Option<i64> {
        self.read(file)?.parse().ok()
    }

    /// Whether there is such a file.
    pub fn has(&self, file: &str) -> bool {
        self.directory.join(file).exists()
    }

    /// Writes a file.
    pub fn write(&self, file: &str, value: &str) -> Result<(), Refusal> {
        let path = self.directory.join(file);
        std::fs::write(&path, value)
            .map_err(|error| failed(&format!("Unable to write to '{}'", path.display()), &error))
    }

    /// The group of some of the guest's threads, if there is one.
    pub fn threads(&self, name: &str) -> Option<Self> {
        let directory = self.directory.join(name);
        directory.is_dir().then_some(Self { directory, unified: self.unified })
    }

    /// The same, made if there is none.
    pub fn make_threads(&self, name: &str) -> Result<Self, Refusal> {
        if let Some(group) = self.threads(name) {
            return Ok(group);
        }
        let directory = self.directory.join(name);
        std::fs::create_dir(&directory).map_err(|error| {
            failed(&format!("Failed to create controller cpu for group '{}'", directory.display()), &error)
        })?;
        let group = Self { directory, unified: self.unified };
        if self.unified {
            // cgroups(7): threads of one process may be in several groups only where these say so.
            group.write("cgroup.type", "threaded")?;
            self.write("cgroup.subtree_control", "+cpu")?;
        }
        Ok(group)
    }

    /// Counts a thread here. One that has ended meanwhile needs nothing.
    pub fn join(&self, thread: u32) -> Result<(), Refusal> {
        let file = if self.unified { "cgroup.threads" } else { "tasks" };
        match self.write(file, &thread.to_string()) {
            Err(_) if !Path::new(&format!("/proc/{thread}")).exists() => Ok(()),
            other => other,
        }
    }

    /// Sets what is said of period and quota.
    pub fn set_bandwidth(&self, bandwidth: Bandwidth) -> Result<(), Refusal> {
        let Bandwidth { period_us, quota_us } = bandwidth;
        if self.unified {
            let now = self.bandwidth();
            let quota = quota_us.or(now.quota_us).filter(|quota| *quota > 0);
            let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
            let period = period_us.or(now.period_us).unwrap_or(100_000);
            return self.write("cpu.max", &format!("{quota} {period}"));
        }
        if let Some(period) = period_us {
            self.write("cpu.cfs_period_us", &period.to_string())?;
        }
        quota_us.map_or(Ok(()), |quota| self.write("cpu.cfs_quota_us", &quota.max(-1).to_string()))
    }

    /// Period and quota as they are.
    pub fn bandwidth(&self) -> Bandwidth {
        if !self.unified {
            let period_us = self.number("cpu.cfs_period_us").and_then(|period| u64::try_from(period).ok());
            return Bandwidth { period_us, quota_us: self.number("cpu.cfs_quota_us") };
        }
        let text = self.read("cpu.max").unwrap_or_default();
        let mut words = text.split(' ');
        let quota_us = words.next().map(|word| word.parse().unwrap_or(-1));
        Bandwidth { quota_us, period_us: words.next().and_then(|word| word.parse().ok()) }
    }
}

/// What the kernel said, as libvirt words it.
pub(crate) fn failed(what: &str, error: &std::io::Error) -> Refusal {
    let said = error.to_string();
    let said = said.split(" (os error").next().unwrap_or_default();
    Refusal::new(Sort::System(error.raw_os_error().unwrap_or(0)), format!("{what}: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(unified: bool) -> (tempfile::TempDir, Limits) {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { directory: dir.path().to_owned(), unified };
        (dir, limits)
    }

    #[test]
    fn bandwidth_is_written_in_the_words_of_either_hierarchy() {
        let half = Bandwidth { period_us: Some(50_000), quota_us: Some(25_000) };
        let (_old, v1) = limits(false);
        v1.set_bandwidth(half).unwrap();
        assert_eq!(v1.bandwidth(), half);
        v1.set_bandwidth(Bandwidth { period_us: None, quota_us: Some(-7) }).unwrap();
        assert_eq!(v1.read("cpu.cfs_quota_us").as_deref(), Some("-1"));
        let (_new, v2) = limits(true);
        v2.write("cpu.max", "max 100000").unwrap();
        assert_eq!(v2.bandwidth(), Bandwidth::NONE);
        v2.set_bandwidth(Bandwidth { period_us: None, quota_us: Some(25_000) }).unwrap();
        assert_eq!(v2.read("cpu.max").as_deref(), Some("25000 100000"));
        v2.set_bandwidth(Bandwidth { period_us: Some(50_000), quota_us: None }).unwrap();
        assert_eq!(v2.bandwidth(), half);
        v2.set_bandwidth(Bandwidth { period_us: None, quota_us: Some(-1) }).unwrap();
        assert_eq!(v2.read("cpu.max").as_deref(), Some("max 50000"));
    }

    #[test]
    fn a_group_of_threads_says_so_where_it_must() {
        let (dir, v2) = limits(true);
        let group = v2.make_threads("vcpu0").unwrap();
        assert_eq!(group.read("cgroup.type").as_deref(), Some("threaded"));
        assert_eq!(v2.read("cgroup.subtree_control").as_deref(), Some("+cpu"));
        group.join(1).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("vcpu0/cgroup.threads")).unwrap(), "1");
        assert!(v2.threads("vcpu1").is_none());
    }
}
