//! Where each processor sits, and which memory is near it.

use std::collections::BTreeSet;

use super::Node;

/// One processor's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub cpu: u32,
    /// Its socket.
    pub socket: u32,
    /// Its die.
    pub die: u32,
    /// Its cluster; 65535 where there are none.
    pub cluster: u32,
    /// Its core.
    pub core: u32,
    /// Threads of the same core, as `0-1`.
    pub siblings: String,
    sibling_count: u32,
}

/// A cell of memory with its processors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Its number.
    pub id: u32,
    /// Its processors.
    pub cpus: Vec<u32>,
    /// How far each cell is, by number.
    pub distances: Vec<(u32, u32)>,
}

impl Node {
    /// A processor's place; `None`: it is off.
    pub fn place(&self, cpu: u32) -> Option<Place> {
        let base = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
        let number = |name: &str, missing: u32| {
            let told: Option<i64> = self.number(&format!("{base}/{name}"));
            told.map_or(missing, |told| u32::try_from(told).unwrap_or(missing))
        };
        let siblings = self.text(&format!("{base}/thread_siblings_list"))?;
        let siblings = parse_list(siblings.trim());
        // The kernel's -1 is shown as the 16 bits it is kept in.
        let cluster: Option<i64> = self.number(&format!("{base}/cluster_id"));
        let cluster = cluster.map_or(0, |id| u32::try_from(id & 0xffff).unwrap_or_default());
        Some(Place {
            cpu,
            socket: number("physical_package_id", 0),
            die: number("die_id", 0),
            cluster,
            core: number("core_id", 0),
            siblings: write_list(&siblings),
            sibling_count: u32::try_from(siblings.len()).unwrap_or(1),
        })
    }

    /// The cells of memory, one where the kernel knows of none.
    pub fn cells(&self) -> Vec<Cell> {
        let ids = self.numbered("/sys/devices/system/node", "node");
        if ids.is_empty() {
            return vec![Cell { id: 0, cpus: self.online(), distances: Vec::new() }];
        }
        let cell = |id: &u32| {
            let base = format!("/sys/devices/system/node/node{id}");
            let cpus = self.text(&format!("{base}/cpulist")).unwrap_or_default();
            let far = self.text(&format!("{base}/distance")).unwrap_or_default();
            let far = far.split_whitespace().filter_map(|word| word.parse().ok());
            Cell { id: *id, cpus: parse_list(cpus.trim()), distances: ids.iter().copied().zip(far).collect() }
        };
        ids.iter().map(cell).collect()
    }
}

/// Sockets of a cell, cores of a socket, threads of a core: the most of each, as libvirt counts.
pub(super) fn shape(places: &[Place], cells: &[Cell]) -> (u32, u32, u32) {
    let count = |count: usize| u32::try_from(count).unwrap_or(1).max(1);
    let (mut sockets, mut cores, mut threads) = (1, 1, 1);
    for cell in cells {
        let here: Vec<&Place> = places.iter().filter(|place| cell.cpus.contains(&place.cpu)).collect();
        let ids: BTreeSet<u32> = here.iter().map(|place| place.socket).collect();
        sockets = sockets.max(count(ids.len()));
        for socket in ids {
            let of: BTreeSet<(u32, u32)> = here
                .iter()
                .filter(|place| place.socket == socket)
                .map(|place| (place.die, place.core))
                .collect();
            cores = cores.max(count(of.len()));
        }
        threads = here.iter().map(|place| place.sibling_count).max().unwrap_or(1).max(threads);
    }
    (sockets, cores, threads)
}

/// `0-2,5` as numbers.
pub(super) fn parse_list(text: &str) -> Vec<u32> {
    /// More processors than any kernel has.
    const MOST: usize = 65_536;
    let mut found = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            found.extend((first..=last).take(MOST.saturating_sub(found.len())));
        }
    }
    found
}

/// Numbers as `0-2,5`.
pub(super) fn write_list(numbers: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *number == *last + 1 => *last = *number,
            _ => parts.push((*number, *number)),
        }
    }
    let part = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}
