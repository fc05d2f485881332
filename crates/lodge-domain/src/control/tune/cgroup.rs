//! A guest's own cgroup as files to be read and written.

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
}

impl Controller {
    fn v1(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CpuAccounting => "cpuacct",
            Self::Memory => "memory",
            Self::Blkio => "blkio",
        }
    }

    fn v2(self) -> &'static str {
        match self {
            Self::Cpu | Self::CpuAccounting => "cpu",
            Self::Memory => "memory",
            Self::Blkio => "io",
        }
    }

    /// What is said where the host does not give it.
    pub fn missing(self) -> Refusal {
        Refusal::invalid(match self {
            Self::Cpu => "cgroup CPU controller is not mounted",
            Self::CpuAccounting => "cgroup CPUACCT controller is not mounted",
            Self::Memory => "cgroup memory controller is not mounted",
            Self::Blkio => "blkio cgroup isn't mounted",
        })
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

    /// Writes a file.
    pub fn write(&self, file: &str, value: &str) -> Result<(), Refusal> {
        let path = self.directory.join(file);
        std::fs::write(&path, value).map_err(|error| {
            let text = format!("Unable to write to '{}': {error}", path.display());
            Refusal::new(Sort::System(error.raw_os_error().unwrap_or(0)), text)
        })
    }
}
