//! The processors' shared caches, as sysfs tells.

use std::collections::BTreeSet;

use lodge_sys::resctrl::{Facts, Host};

use super::Node;
use super::topology::{parse_list, write_list};

/// Caches below this level belong to one core and are not told.
const LEVEL_MIN: u32 = 2;

/// A cache.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheBank {
    /// Its level.
    pub level: u32,
    /// `both`, `code` or `data`.
    pub kind: &'static str,
    /// Its number among those of the level.
    pub id: u32,
    /// Its size.
    pub size_kib: u64,
    /// Who shares it, as `0-1`.
    pub cpus: String,
}

impl Node {
    /// Caches from level 2 on.
    pub fn caches(&self) -> Vec<CacheBank> {
        let mut banks = BTreeSet::new();
        for cpu in self.online() {
            let directory = format!("/sys/devices/system/cpu/cpu{cpu}/cache");
            for index in self.numbered(&directory, "index") {
                banks.extend(self.bank(&format!("{directory}/index{index}")));
            }
        }
        banks.into_iter().collect()
    }

    /// What the kernel's resctrl can divide and count; `None`: there is none.
    pub fn resources(&self) -> Option<Facts> {
        Host::at(&self.root).facts()
    }

    fn bank(&self, base: &str) -> Option<CacheBank> {
        let level = self.number(&format!("{base}/level")).filter(|level| *level >= LEVEL_MIN)?;
        let kind = match self.text(&format!("{base}/type"))?.trim() {
            "Unified" => "both",
            "Instruction" => "code",
            "Data" => "data",
            _ => return None,
        };
        let size = self.text(&format!("{base}/size"))?;
        let cpus = parse_list(self.text(&format!("{base}/shared_cpu_list"))?.trim());
        Some(CacheBank {
            level,
            kind,
            id: self.number(&format!("{base}/id"))?,
            size_kib: size.trim().trim_end_matches('K').parse().ok()?,
            cpus: write_list(&cpus),
        })
    }
}
