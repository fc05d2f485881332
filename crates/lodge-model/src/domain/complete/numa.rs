//! The guest's memory cells: numbers, units, and the distances that follow from those given.

use std::collections::{BTreeMap, BTreeSet};

use super::basics::to_kib;
use super::tuning::ranges;
use crate::domain::cpu::{Distances, Numa, Sibling};
use crate::domain::processors::Processors;
use crate::xml::Foreign;

/// How far a cell's own memory is (ACPI's SLIT).
const LOCAL: u8 = 10;

pub(super) fn complete(numa: &mut Numa, processors: u32) {
    for (at, cell) in (0_u32..).zip(&mut numa.cells) {
        cell.id.get_or_insert(at);
        to_kib(&mut cell.memory, &mut cell.unit);
        if let Some(list) = &mut cell.cpus {
            ranges(list);
        }
        for cache in &mut cell.caches {
            for amount in [&mut cache.size, &mut cache.line] {
                amount.unit.get_or_insert_with(|| "B".to_owned());
            }
        }
    }
    numa.cells.sort_by_key(|cell| cell.id);
    rest(numa, processors);
    distances(numa);
    for bandwidth in numa.interconnects.iter_mut().flat_map(|all| &mut all.bandwidths) {
        to_kib(&mut bandwidth.value, &mut bandwidth.unit);
    }
}

/// Processors of no cell are the first one's (qemuDomainDefNumaCPUsRectify).
fn rest(numa: &mut Numa, processors: u32) {
    /// More than any machine has: `check` tells it.
    const PROCESSORS_MAX: u32 = 16_384;
    let lists = numa.cells.iter().map(|cell| Processors::parse(cell.cpus.as_deref().unwrap_or_default()));
    let Some(sets) = lists.collect::<Option<Vec<_>>>() else { return };
    let count: usize = sets.iter().map(|set| set.numbers().len()).sum();
    if count >= processors as usize || processors > PROCESSORS_MAX {
        return;
    }
    let others: BTreeSet<u32> = sets.iter().skip(1).flat_map(Processors::numbers).copied().collect();
    if let Some(cell) = numa.cells.first_mut() {
        let own: Vec<u32> = (0..processors).filter(|number| !others.contains(number)).collect();
        cell.cpus = Some(Processors::of(&own).to_string());
    }
}

/// The way back is as long as the way there, and who has any distance has one to itself
/// (virDomainNumaDefNodeDistanceParseXML).
fn distances(numa: &mut Numa) {
    let mut known: BTreeMap<(u32, u32), u8> = BTreeMap::new();
    for cell in &numa.cells {
        let from = cell.id.unwrap_or_default();
        for sibling in cell.distances.iter().flat_map(|distances| &distances.siblings) {
            known.insert((from, sibling.id), sibling.value);
        }
    }
    for ((from, to), value) in known.clone() {
        known.entry((to, from)).or_insert(value);
        known.entry((from, from)).or_insert(LOCAL);
        known.entry((to, to)).or_insert(LOCAL);
    }
    for cell in &mut numa.cells {
        let from = cell.id.unwrap_or_default();
        let own = known.range((from, 0)..=(from, u32::MAX));
        let siblings: Vec<_> = own
            .map(|((_, id), value)| Sibling { id: *id, value: *value, foreign: Foreign::default() })
            .collect();
        if !siblings.is_empty() {
            let foreign = cell.distances.take().map(|distances| distances.foreign).unwrap_or_default();
            cell.distances = Some(Box::new(Distances { siblings, foreign }));
        }
    }
}
