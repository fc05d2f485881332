//! `schemata`: which parts of the caches and how much of the way to memory a group has, and where a new one finds room.

use std::collections::BTreeMap;
use std::fmt;

use super::{CacheFacts, Facts, ResctrlError, Sort};

/// What groups have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shares {
    /// A bit for each part of a cache.
    caches: BTreeMap<(u32, Sort), BTreeMap<u32, u64>>,
    /// Percents of the way to memory.
    bandwidths: BTreeMap<u32, u32>,
}

impl Shares {
    /// Everything that can be divided.
    pub(super) fn all(facts: &Facts) -> Self {
        let all = |facts: &CacheFacts| facts.ids.iter().map(|id| (*id, ones(facts.parts))).collect();
        let caches = facts.caches.iter().map(|(key, facts)| (*key, all(facts))).collect();
        Self { caches, bandwidths: BTreeMap::new() }
    }

    /// Reads a file's text; what is divided in another way than these two is passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut shares = Self::default();
        for (name, list) in text.lines().filter_map(|line| line.trim().split_once(':')) {
            let pairs = list.split(';').filter_map(|pair| pair.split_once('='));
            let pairs = pairs.filter_map(|(id, value)| Some((id.trim().parse().ok()?, value.trim())));
            if let Some(key) = Sort::of_name(name) {
                let masks = pairs.filter_map(|(id, mask)| Some((id, u64::from_str_radix(mask, 16).ok()?)));
                shares.caches.entry(key).or_default().extend(masks);
            } else if name == "MB" {
                shares.bandwidths.extend(pairs.filter_map(|(id, value)| Some((id, value.parse().ok()?))));
            }
        }
        shares
    }

    /// Takes the parts of caches that `other` has out of these.
    pub(super) fn subtract(&mut self, other: &Self) {
        for (key, masks) in &mut self.caches {
            for (id, mask) in masks {
                *mask &= !other.caches.get(key).and_then(|masks| masks.get(id)).copied().unwrap_or(0);
            }
        }
    }
}

impl fmt::Display for Shares {
    /// The file's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((level, sort), masks) in &self.caches {
            let masks: Vec<_> = masks.iter().map(|(id, mask)| format!("{id}={mask:x}")).collect();
            writeln!(f, "L{level}{}:{}", sort.suffix(), masks.join(";"))?;
        }
        if self.bandwidths.is_empty() {
            return Ok(());
        }
        let pairs: Vec<_> = self.bandwidths.iter().map(|(id, percent)| format!("{id}={percent}")).collect();
        writeln!(f, "MB:{}", pairs.join(";"))
    }
}

/// What a new group is to have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Bytes of caches, by level, by what they hold, and by number.
    pub caches: BTreeMap<(u32, Sort, u32), u64>,
    /// Percents of the way to memory, by the last cache's number.
    pub bandwidths: BTreeMap<u32, u32>,
}

impl Wanted {
    /// Finds room for it in what is free; of what is not named the group has what all have.
    pub(super) fn place(
        &self,
        facts: &Facts,
        default: &Shares,
        free: &Shares,
    ) -> Result<Shares, ResctrlError> {
        self.check_bandwidths(facts)?;
        let mut shares = Shares { caches: default.caches.clone(), bandwidths: self.bandwidths.clone() };
        for (&(level, sort, id), &bytes) in &self.caches {
            let word = sort.word();
            let levels = |known: &(u32, Sort)| known.0 == level;
            if !facts.caches.keys().any(levels) {
                return refused(format!("Cache level {level} does not support tuning"));
            }
            let (Some(cache), Some(masks)) =
                (facts.caches.get(&(level, sort)), free.caches.get(&(level, sort)))
            else {
                let text = format!("Cache level {level} does not support tuning for scope type '{word}'");
                return refused(text);
            };
            let Some(mask) = masks.get(&id) else {
                return refused(format!("Cache with id {id} does not exists for level {level}"));
            };
            let Some(found) = room(*mask, parts_of(cache, bytes)?) else {
                return refused(format!(
                    "Not enough room for allocation of {bytes} bytes for level {level} cache {id} scope type '{word}'"
                ));
            };
            shares.caches.entry((level, sort)).or_default().insert(id, found);
        }
        Ok(shares)
    }

    fn check_bandwidths(&self, facts: &Facts) -> Result<(), ResctrlError> {
        if self.bandwidths.is_empty() {
            return Ok(());
        }
        let Some(memory) = &facts.memory else {
            return refused("RDT Memory Bandwidth allocation unsupported".to_owned());
        };
        for (&id, &percent) in &self.bandwidths {
            let (step, min) = (memory.step, memory.min);
            let what = format!("Memory Bandwidth allocation of size {percent}");
            if !percent.is_multiple_of(step.max(1)) {
                return refused(format!("{what} is not divisible by granularity {step}"));
            }
            if percent < min {
                return refused(format!("{what} is smaller than the minimum allowed allocation {min}"));
            }
            if !memory.ids.contains(&id) {
                let last = memory.ids.last().copied().unwrap_or(0);
                return refused(format!(
                    "bandwidth controller id {id} does not exist, max controller id {last}"
                ));
            }
        }
        Ok(())
    }
}

fn refused<T>(text: String) -> Result<T, ResctrlError> {
    Err(ResctrlError::Unsupported(text))
}

/// How many parts of a cache so many bytes are.
fn parts_of(cache: &CacheFacts, bytes: u64) -> Result<u32, ResctrlError> {
    let part = cache.part_bytes();
    if bytes == cache.bytes {
        return refused(format!(
            "Cache allocation for the whole cache is not possible, specify size smaller than {bytes}"
        ));
    }
    if part == 0 || !bytes.is_multiple_of(part) {
        return refused(format!("Cache allocation of size {bytes} is not divisible by granularity {part}"));
    }
    let parts = u32::try_from(bytes / part).unwrap_or(u32::MAX);
    if parts < cache.parts_min.max(1) {
        let min = part * u64::from(cache.parts_min);
        return refused(format!(
            "Cache allocation of size {bytes} is smaller than the minimum allowed allocation {min}"
        ));
    }
    Ok(parts)
}

/// The smallest run of free parts that holds so many, and of that the lowest: the kernel takes runs only.
fn room(free: u64, parts: u32) -> Option<u64> {
    let mut best: Option<(u32, u32)> = None;
    let mut at = 0;
    while at < u64::BITS {
        let run = (free >> at).trailing_ones();
        if run >= parts && best.is_none_or(|(length, _)| run < length) {
            best = Some((run, at));
        }
        at += run.max(1);
    }
    best.map(|(_, at)| ones(parts) << at)
}

/// So many bits.
fn ones(count: u32) -> u64 {
    if count >= u64::BITS { u64::MAX } else { (1 << count) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resctrl::MemoryFacts;

    #[test]
    fn the_smallest_run_that_is_large_enough_is_taken() {
        for (free, parts, found) in [
            (0b1111_0000, 2, Some(0b11_0000)),
            (0b1111_0011, 2, Some(0b11)),
            (0b1110_0000_1111, 3, Some(0b1110_0000_0000)),
            (0b0101, 2, None),
            (u64::MAX, 64, Some(u64::MAX)),
            (0, 1, None),
        ] {
            assert_eq!(room(free, parts), found, "{free:b} {parts}");
        }
    }

    #[test]
    fn the_kernels_text_is_read_and_written() {
        let shares = Shares::parse("    MB:0=100;1= 50\n  SMBA:0=8\n    L3CODE:0=00fff;1=f\nL2:0=3\n");
        assert_eq!(shares.to_string(), "L2:0=3\nL3CODE:0=fff;1=f\nMB:0=100;1=50\n");
    }

    #[test]
    fn what_the_host_cannot_give_is_refused_in_libvirts_words() {
        let cache =
            CacheFacts { parts: 16, parts_min: 2, groups_max: 4, bytes: 16 << 20, ids: [0, 1].into() };
        let memory = MemoryFacts { step: 10, min: 20, groups_max: 4, level: 3, ids: [0, 1].into() };
        let facts = Facts { caches: [((3, Sort::Code), cache)].into(), memory: Some(memory), monitor: None };
        let free = Shares::all(&facts);
        let ask = |caches: &[((u32, Sort, u32), u64)], bandwidths: &[(u32, u32)]| {
            let wanted = Wanted {
                caches: caches.iter().copied().collect(),
                bandwidths: bandwidths.iter().copied().collect(),
            };
            wanted.place(&facts, &Shares::default(), &free).map_err(|error| error.to_string())
        };
        let code = |id, mib: u64| ((3, Sort::Code, id), mib << 20);
        assert_eq!(ask(&[code(1, 3)], &[(1, 30)]).unwrap().to_string(), "L3CODE:1=7\nMB:1=30\n");
        for (caches, bandwidths, words) in [
            (vec![((2, Sort::Both, 0), 1)], vec![], "Cache level 2 does not support tuning"),
            (
                vec![((3, Sort::Both, 0), 1)],
                vec![],
                "Cache level 3 does not support tuning for scope type 'both'",
            ),
            (vec![code(2, 3)], vec![], "Cache with id 2 does not exists for level 3"),
            (
                vec![code(0, 16)],
                vec![],
                "Cache allocation for the whole cache is not possible, specify size smaller than 16777216",
            ),
            (
                vec![((3, Sort::Code, 0), 1000)],
                vec![],
                "Cache allocation of size 1000 is not divisible by granularity 1048576",
            ),
            (
                vec![code(0, 1)],
                vec![],
                "Cache allocation of size 1048576 is smaller than the minimum allowed allocation 2097152",
            ),
            (
                vec![],
                vec![(0, 25)],
                "Memory Bandwidth allocation of size 25 is not divisible by granularity 10",
            ),
            (
                vec![],
                vec![(0, 10)],
                "Memory Bandwidth allocation of size 10 is smaller than the minimum allowed allocation 20",
            ),
            (vec![], vec![(2, 30)], "bandwidth controller id 2 does not exist, max controller id 1"),
        ] {
            assert_eq!(ask(&caches, &bandwidths).unwrap_err(), words);
        }
    }
}
