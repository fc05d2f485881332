//! Memory, disk space, and what hardware could be handed to guests.

use std::path::Path;

use crate::facts::{Disk, Memory, Passthrough};

use super::{names, text};

pub(super) fn memory() -> Memory {
    let meminfo = text("/proc/meminfo");
    Memory {
        total_bytes: kilobytes(&meminfo, "MemTotal:") * 1024,
        available_bytes: kilobytes(&meminfo, "MemAvailable:") * 1024,
        ksm: match text("/sys/kernel/mm/ksm/run").trim() {
            "1" => Some(true),
            "0" | "2" => Some(false),
            _ => None,
        },
        huge_pages: kilobytes(&meminfo, "HugePages_Total:"),
    }
}

/// `MemTotal:       24689064 kB`: the number, whatever its unit.
fn kilobytes(meminfo: &str, key: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// The file system of `state`, or of the nearest directory above it that exists.
pub(super) fn disk(state: &Path) -> Disk {
    let Some(path) = state.ancestors().find(|path| path.is_dir()) else { return Disk::default() };
    match rustix::fs::statvfs(path) {
        Ok(found) => Disk {
            path: path.to_owned(),
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        },
        Err(_) => Disk { path: path.to_owned(), ..Disk::default() },
    }
}

pub(super) fn passthrough() -> Passthrough {
    let cmdline = text("/proc/cmdline");
    let mut words = cmdline.split_whitespace();
    let parts = |card: &str| {
        text(format!("/sys/class/net/{card}/device/sriov_totalvfs"))
            .trim()
            .parse()
            .ok()
            .filter(|parts| *parts > 0)
    };
    Passthrough {
        iommu_groups: names("/sys/kernel/iommu_groups").len(),
        asked_for: words.any(|word| matches!(word, "intel_iommu=on" | "amd_iommu=on" | "iommu=pt")),
        sriov: names("/sys/class/net")
            .into_iter()
            .filter_map(|card| Some((card.clone(), parts(&card)?)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_by_key() {
        let meminfo = "MemTotal:       24689064 kB\nHugePages_Total:       4\n";
        assert_eq!(kilobytes(meminfo, "MemTotal:"), 24_689_064);
        assert_eq!(kilobytes(meminfo, "HugePages_Total:"), 4);
        assert_eq!(kilobytes(meminfo, "Missing:"), 0);
    }

    #[test]
    fn space_is_asked_of_the_nearest_directory() {
        assert_eq!(disk(Path::new("/tmp/not/there/yet")).path, Path::new("/tmp"));
    }
}
