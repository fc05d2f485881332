//! What the host's caches and its way to memory can be divided into.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::str::FromStr;

use super::Sort;

/// How caches of a level can be divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheFacts {
    /// Into how many parts.
    pub parts: u32,
    /// How many a group must have at least.
    pub parts_min: u32,
    /// How many groups there can be.
    pub groups_max: u32,
    /// The size of one cache, in bytes; 0: there is none.
    pub bytes: u64,
    /// The caches' numbers.
    pub ids: BTreeSet<u32>,
}

impl CacheFacts {
    /// The size of a part, in bytes.
    pub fn part_bytes(&self) -> u64 {
        self.bytes / u64::from(self.parts.max(1))
    }
}

/// How the way to memory can be divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryFacts {
    /// In steps of so many percent.
    pub step: u32,
    /// How much a group must have at least.
    pub min: u32,
    /// How many groups there can be.
    pub groups_max: u32,
    /// The level of the last caches, which memory is behind.
    pub level: u32,
    /// Their numbers.
    pub ids: BTreeSet<u32>,
}

/// What can be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorFacts {
    /// How many groups can be counted.
    pub groups_max: u32,
    /// What a number may still have in the caches when another group gets it, in bytes.
    pub reuse_bytes: u32,
    /// `llc_occupancy`, `mbm_total_bytes` …
    pub features: Vec<String>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// By level and by what the caches hold.
    pub caches: BTreeMap<(u32, Sort), CacheFacts>,
    /// The way to memory.
    pub memory: Option<MemoryFacts>,
    /// Counting.
    pub monitor: Option<MonitorFacts>,
}

impl Facts {
    pub(super) fn read(info: &Path, processors: &Path) -> Option<Self> {
        let banks = banks(processors);
        let mut caches = BTreeMap::new();
        for entry in fs::read_dir(info).ok()?.flatten() {
            let key = entry.file_name().to_str().and_then(Sort::of_name);
            let Some(key) = key else { continue };
            caches.extend(cache(&entry.path(), &banks, key.0).map(|facts| (key, facts)));
        }
        let facts =
            Self { caches, memory: memory(&info.join("MB"), &banks), monitor: monitor(&info.join("L3_MON")) };
        let is_empty = facts.caches.is_empty() && facts.memory.is_none() && facts.monitor.is_none();
        (!is_empty).then_some(facts)
    }
}

/// The host's caches: by level and number, their size in bytes.
type Banks = BTreeMap<(u32, u32), u64>;

fn banks(processors: &Path) -> Banks {
    let mut banks = Banks::new();
    for processor in numbered(processors, "cpu") {
        for index in numbered(&processor.join("cache"), "index") {
            let (level, id) = (number(&index.join("level")), number(&index.join("id")));
            let size = text(&index.join("size")).and_then(|size| size.strip_suffix('K')?.parse::<u64>().ok());
            // Those of instructions alone are of the first level, which is not divided.
            if let (Some(level), Some(id), Some(kib)) = (level, id, size) {
                banks.insert((level, id), kib.saturating_mul(1024));
            }
        }
    }
    banks
}

/// Directories called `NAME` and a number.
fn numbered(directory: &Path, name: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_one = |entry: &fs::DirEntry| {
        let name = entry.file_name().to_str().and_then(|text| text.strip_prefix(name)).map(str::to_owned);
        name.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    entries.filter(is_one).map(|entry| entry.path()).collect()
}

fn text(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn number<N: FromStr>(path: &Path) -> Option<N> {
    text(path)?.parse().ok()
}

fn cache(info: &Path, banks: &Banks, level: u32) -> Option<CacheFacts> {
    let mask = u64::from_str_radix(&text(&info.join("cbm_mask"))?, 16).ok()?;
    let of_level = || banks.iter().filter(move |((of, _), _)| *of == level);
    Some(CacheFacts {
        parts: mask.count_ones(),
        parts_min: number(&info.join("min_cbm_bits"))?,
        groups_max: number(&info.join("num_closids"))?,
        bytes: of_level().next().map_or(0, |(_, bytes)| *bytes),
        ids: of_level().map(|((_, id), _)| *id).collect(),
    })
}

fn memory(info: &Path, banks: &Banks) -> Option<MemoryFacts> {
    let level = banks.keys().map(|(level, _)| *level).max().unwrap_or(0);
    Some(MemoryFacts {
        step: number(&info.join("bandwidth_gran"))?,
        min: number(&info.join("min_bandwidth"))?,
        groups_max: number(&info.join("num_closids"))?,
        level,
        ids: banks.keys().filter(|(of, _)| *of == level).map(|(_, id)| *id).collect(),
    })
}

fn monitor(info: &Path) -> Option<MonitorFacts> {
    Some(MonitorFacts {
        groups_max: number(&info.join("num_rmids"))?,
        // Without counting of caches the file is not there.
        reuse_bytes: number(&info.join("max_threshold_occupancy")).unwrap_or(0),
        features: text(&info.join("mon_features"))?.lines().map(str::to_owned).collect(),
    })
}
