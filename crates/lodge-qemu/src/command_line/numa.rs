//! The guest's memory cells: an object with the memory of each, who is in it, how far they are from each other.

use lodge_model::Bytes;
use lodge_model::domain::Domain;
use lodge_model::domain::cpu::{
    AccessKind, Associativity, CacheAmount, CachePolicy, Interconnect, Numa, NumaCell,
};
use lodge_model::domain::processors::Processors;

use super::builder::Builder;

fn numa(domain: &Domain) -> Option<&Numa> {
    domain.cpu.as_deref()?.numa.as_deref().filter(|numa| !numa.cells.is_empty())
}

/// Whether the memory is in cells.
pub(super) fn has_cells(domain: &Domain) -> bool {
    numa(domain).is_some()
}

/// Whether the guest is told how quick its memory is (ACPI's HMAT).
pub(super) fn has_attributes(domain: &Domain) -> bool {
    numa(domain).is_some_and(|numa| {
        numa.interconnects.is_some() || numa.cells.iter().any(|cell| !cell.caches.is_empty())
    })
}

/// `-object` and `-numa` of every cell.
pub(super) fn cells(b: &mut Builder<'_>) {
    let Some(numa) = numa(b.domain) else { return };
    for (at, cell) in (0_u32..).zip(&numa.cells) {
        self::cell(b, numa, cell, cell.id.unwrap_or(at));
    }
    for cell in &numa.cells {
        let from = cell.id.unwrap_or_default();
        b.at(format!("/domain/cpu/numa/cell[{}]/distances", from + 1));
        for sibling in cell.distances.iter().flat_map(|distances| &distances.siblings) {
            b.arg("-numa", format!("dist,src={from},dst={},val={}", sibling.id, sibling.value));
        }
    }
    if !has_attributes(b.domain) {
        return;
    }
    b.at("/domain/cpu/numa/interconnects");
    if let Some(interconnects) = numa.interconnects.as_deref() {
        for latency in &interconnects.latencies {
            speed(b, latency, "latency", &format!("latency={}", latency.value));
        }
        for bandwidth in &interconnects.bandwidths {
            match Bytes::scaled(bandwidth.value, bandwidth.unit.as_deref().unwrap_or("KiB")) {
                Ok(amount) => speed(b, bandwidth, "bandwidth", &format!("bandwidth={}K", amount.kib())),
                Err(error) => b.refuse(error.to_string()),
            }
        }
    }
    for cell in &numa.cells {
        caches(b, cell);
    }
}

fn cell(b: &mut Builder<'_>, numa: &Numa, cell: &NumaCell, number: u32) {
    let path = format!("/domain/cpu/numa/cell[{}]", number + 1);
    b.at(path.as_str());
    let size = Bytes::scaled(cell.memory, cell.unit.as_deref().unwrap_or("KiB"));
    let size = size.unwrap_or_else(|error| {
        b.refuse(error.to_string());
        Bytes::default()
    });
    let mut text = format!("node,nodeid={number}");
    if let Some(list) = &cell.cpus {
        match Processors::parse(list) {
            Some(set) => {
                for range in set.to_string().split(',').filter(|range| !range.is_empty()) {
                    text += &format!(",cpus={range}");
                }
            }
            None => b.refuse(format!("`{list}` is no list of processors (as 0-3)")),
        }
    }
    if has_attributes(b.domain) {
        match initiator(numa, cell, number) {
            Some(initiator) => text += &format!(",initiator={initiator}"),
            None => b.refuse("no cell has a processor that could ask for its memory"),
        }
    }
    if size.0 > 0 {
        let id = format!("ram-node{number}");
        let object = super::memory::object(b, &id, size.0, Some(cell));
        b.at(path.as_str());
        b.json("-object", &object);
        text += &format!(",memdev={id}");
    }
    b.at(path);
    b.arg("-numa", text);
}

/// The cell whose processors use this one's memory: itself, or the one with the quickest way to it.
fn initiator(numa: &Numa, cell: &NumaCell, number: u32) -> Option<u32> {
    if cell.cpus.is_some() {
        return Some(number);
    }
    let to_it = |item: &&Interconnect| item.target == number && item.cache.is_none();
    let all = numa.interconnects.as_deref();
    let quickest = all.and_then(|all| all.latencies.iter().filter(to_it).min_by_key(|item| item.value));
    let widest = || all.and_then(|all| all.bandwidths.iter().filter(to_it).max_by_key(|item| item.value));
    let named = quickest.or_else(widest).map(|item| item.initiator);
    named.or_else(|| numa.cells.iter().find(|cell| cell.cpus.is_some()).and_then(|cell| cell.id))
}

fn speed(b: &mut Builder<'_>, item: &Interconnect, what: &str, value: &str) {
    let hierarchy = match item.cache {
        None => "memory".to_owned(),
        Some(1) => "first-level".to_owned(),
        Some(2) => "second-level".to_owned(),
        Some(3) => "third-level".to_owned(),
        Some(level) => return b.refuse(format!("a cache of level {level} is beyond 3")),
    };
    let kind = match item.kind {
        AccessKind::Access => "access",
        AccessKind::Read => "read",
        AccessKind::Write => "write",
    };
    b.arg(
        "-numa",
        format!(
            "hmat-lb,initiator={},target={},hierarchy={hierarchy},data-type={kind}-{what},{value}",
            item.initiator, item.target
        ),
    );
}

fn caches(b: &mut Builder<'_>, cell: &NumaCell) {
    let number = cell.id.unwrap_or_default();
    for cache in &cell.caches {
        b.at(format!("/domain/cpu/numa/cell[{}]/cache", number + 1));
        let amount =
            |amount: &CacheAmount| Bytes::scaled(amount.value, amount.unit.as_deref().unwrap_or("B"));
        let (size, line) = match (amount(&cache.size), amount(&cache.line)) {
            (Ok(size), Ok(line)) => (size, line),
            (Err(error), _) | (_, Err(error)) => {
                b.refuse(error.to_string());
                continue;
            }
        };
        let associativity = match cache.associativity {
            Associativity::None => "none",
            Associativity::Direct => "direct",
            Associativity::Full => "complex",
        };
        let policy = match cache.policy {
            CachePolicy::None => "none",
            CachePolicy::WriteBack => "write-back",
            CachePolicy::WriteThrough => "write-through",
        };
        b.arg(
            "-numa",
            format!(
                "hmat-cache,node-id={number},size={}K,level={},associativity={associativity},policy={policy},line={}",
                size.kib(),
                cache.level,
                line.0
            ),
        );
    }
}
