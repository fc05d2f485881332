//! `<cputune><cachetune>` and `<memorytune>`: which parts of the host's caches, and how much of the way to its memory,
//! processors of a guest have for themselves; and whose use of them is watched.
//!
//! Elements of the same processors are one group, as the kernel's resctrl knows groups. [`groups`] reads both kinds of
//! elements into groups, [`write`] makes libvirt's text of them: parts by level, type and number, lists as ranges.
//! Deliberately absent: what the host has of it, and where a group lies (`lodge_sys::resctrl`).

use std::collections::BTreeMap;

use super::Domain;
use super::cpu::CpuTune;
use super::processors::Processors;
use crate::Bytes;
use crate::xml::Kept;
use crate::xml::words::words;

/// The elements, in the order that libvirt reads and writes them.
const ELEMENTS: [&str; 2] = [CACHES, MEMORY];
const CACHES: &str = "cachetune";
const MEMORY: &str = "memorytune";
/// The only level of caches that are watched.
const WATCHED_LEVEL: u32 = 3;

words! {
    /// What a cache holds.
    pub enum CacheSort { Both = "both", Code = "code", Data = "data" }
}

/// A cache of the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cache {
    /// Its level.
    pub level: u32,
    /// What of it.
    pub sort: CacheSort,
    /// Its number among those of the level.
    pub id: u32,
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// How much of the caches is filled: `<monitor>` of `<cachetune>`.
    Cache,
    /// How much goes to and from memory: `<monitor>` of `<memorytune>`.
    Memory,
}

/// Processors that are watched together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    /// What of them.
    pub watched: Watched,
    /// Which.
    pub vcpus: Processors,
}

/// Processors that share what is theirs alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name: `vcpus_0-1`.
    pub id: String,
    /// Which.
    pub vcpus: Processors,
    /// How much of which cache.
    pub caches: BTreeMap<Cache, Bytes>,
    /// Percents of the way to memory, by the last cache's number.
    pub bandwidths: BTreeMap<u32, u32>,
    /// Who is watched.
    pub monitors: Vec<Monitor>,
}

impl Group {
    fn new(element: &Kept, vcpus: Processors) -> Self {
        // It becomes a part of a path.
        let id = element.attribute("id").filter(|id| !id.contains('/'));
        let id = id.map_or_else(|| name_of(&vcpus), str::to_owned);
        let (caches, bandwidths) = (BTreeMap::new(), BTreeMap::new());
        Self { id, vcpus, caches, bandwidths, monitors: Vec::new() }
    }

    /// Whether its processors have something for themselves, and are not only watched.
    pub fn has_share(&self) -> bool {
        !self.caches.is_empty() || !self.bandwidths.is_empty()
    }

    fn is_empty(&self) -> bool {
        !self.has_share() && self.monitors.is_empty()
    }
}

/// How a group or a monitor of these processors is called.
pub fn name_of(vcpus: &Processors) -> String {
    format!("vcpus_{vcpus}")
}

/// What contradicts, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The element.
    pub path: String,
    /// In words.
    pub message: String,
}

/// Whether a document has any of these elements, be they empty.
pub fn is_mentioned(tune: &CpuTune) -> bool {
    tune.foreign.items().iter().any(
        |item| matches!(item, crate::xml::ForeignItem::Element { name, .. } if ELEMENTS.contains(&&**name)),
    )
}

/// The groups of a document, if nothing in it contradicts.
pub fn of(domain: &Domain) -> Vec<Group> {
    let count = domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count);
    let tune = domain.cputune.as_deref().filter(|tune| is_mentioned(tune));
    tune.and_then(|tune| groups(tune, count).ok()).unwrap_or_default()
}

/// The groups that a document asks for, of a guest with so many processors. Elements that say nothing are none.
///
/// # Errors
/// The first contradiction.
pub fn groups(tune: &CpuTune, count: u32) -> Result<Vec<Group>, Clash> {
    let mut groups: Vec<Group> = Vec::new();
    for name in ELEMENTS {
        let trees = tune.foreign.trees(name);
        for (at, tree) in trees.iter().enumerate() {
            let path = super::check::nth(&format!("/domain/cputune/{name}"), at, trees.len());
            let clash = |message: String| Clash { path: path.clone(), message };
            read(tree, count, &mut groups).map_err(clash)?;
        }
    }
    Ok(groups)
}

/// One element.
fn read(tree: &Kept, count: u32, groups: &mut Vec<Group>) -> Result<(), String> {
    let vcpus = list(tree, count)?;
    if vcpus.numbers().is_empty() {
        return Ok(());
    }
    let known = groups.iter().position(|group| group.vcpus == vcpus);
    if known.is_none() && groups.iter().any(|group| overlap(&group.vcpus, &vcpus)) {
        return Err("Overlapping vcpus in resctrls".to_owned());
    }
    let is_caches = tree.name == CACHES;
    if is_caches && known.is_some() {
        return Err("Identical vcpus in cachetunes found".to_owned());
    }
    let mut fresh = Group::new(tree, vcpus);
    let group = match known {
        Some(at) => &mut groups[at],
        None => &mut fresh,
    };
    if is_caches {
        tree.all("cache").try_for_each(|cache| add_cache(cache, group))?;
    } else {
        tree.all("node").try_for_each(|node| add_node(node, group))?;
    }
    let watched = if is_caches { Watched::Cache } else { Watched::Memory };
    tree.all("monitor").try_for_each(|monitor| add_monitor(monitor, watched, count, group))?;
    if known.is_none() && !fresh.is_empty() {
        groups.push(fresh);
    }
    Ok(())
}

/// The processors that an element names; those that the guest does not have do not count.
fn list(tree: &Kept, count: u32) -> Result<Processors, String> {
    let name = &tree.name;
    let text = tree.attribute("vcpus").ok_or_else(|| format!("Missing {name} attribute 'vcpus'"))?;
    let set = Processors::parse(text).filter(|_| !text.trim().is_empty());
    let set = set.ok_or_else(|| format!("Invalid {name} attribute 'vcpus' value '{text}'"))?;
    let there: Vec<u32> = set.numbers().iter().copied().filter(|number| *number < count).collect();
    Ok(Processors::of(&there))
}

fn overlap(one: &Processors, other: &Processors) -> bool {
    one.numbers().iter().any(|number| other.numbers().contains(number))
}

fn attribute<'a>(tree: &'a Kept, name: &str) -> Result<&'a str, String> {
    tree.attribute(name)
        .ok_or_else(|| format!("Missing required attribute '{name}' in element '{}'", tree.name))
}

fn number(tree: &Kept, name: &str) -> Result<u32, String> {
    let text = attribute(tree, name)?;
    text.parse().map_err(|_| {
        let element = &tree.name;
        format!(
            "Invalid value for attribute '{name}' in element '{element}': '{text}'. Expected non-negative integer value"
        )
    })
}

fn add_cache(tree: &Kept, group: &mut Group) -> Result<(), String> {
    let (id, level, sort) = (number(tree, "id")?, number(tree, "level")?, attribute(tree, "type")?);
    let sort: CacheSort = sort
        .parse()
        .map_err(|_| format!("Invalid value for attribute 'type' in element 'cache': '{sort}'."))?;
    let size = tree.attribute("size").ok_or("missing element or attribute './@size'")?;
    let size: u64 =
        size.parse().map_err(|_| format!("Invalid value '{size}' for element or attribute './@size'"))?;
    let size = Bytes::scaled(size, tree.attribute("unit").unwrap_or("KiB")).map_err(|e| e.to_string())?;
    let collides = |known: &Cache| {
        let is_same = known.sort == sort || known.sort == CacheSort::Both || sort == CacheSort::Both;
        (known.level, known.id) == (level, id) && is_same
    };
    if group.caches.keys().any(collides) {
        return Err(format!(
            "Colliding cache allocations for cache level '{level}' id '{id}', type '{sort}'"
        ));
    }
    group.caches.insert(Cache { level, sort, id }, size);
    Ok(())
}

fn add_node(tree: &Kept, group: &mut Group) -> Result<(), String> {
    let (id, bandwidth) = (number(tree, "id")?, number(tree, "bandwidth")?);
    match group.bandwidths.insert(id, bandwidth) {
        None => Ok(()),
        Some(_) => Err(format!("Memory Bandwidth already defined for node {id}")),
    }
}

/// Who is watched must be of the group. All of a group that has something for itself are watched with it; others are a
/// group of the kernel's own, and share no processor.
fn add_monitor(tree: &Kept, watched: Watched, count: u32, group: &mut Group) -> Result<(), String> {
    if watched == Watched::Cache {
        let level = number(tree, "level")?;
        if level != WATCHED_LEVEL {
            return Err(format!("Invalid monitor cache level '{level}'"));
        }
    }
    let vcpus = list(tree, count)?;
    if vcpus.numbers().is_empty() {
        return Err("vcpus is empty".to_owned());
    }
    if !vcpus.numbers().iter().all(|number| group.vcpus.numbers().contains(number)) {
        return Err("Monitor vcpus conflicts with allocation".to_owned());
    }
    let is_same = |known: &&Monitor| known.vcpus == vcpus;
    if group.monitors.iter().filter(is_same).any(|known| known.watched == watched) {
        return Err("Identical vcpus found in same type monitors".to_owned());
    }
    let is_whole = |vcpus: &Processors| group.has_share() && *vcpus == group.vcpus;
    let is_apart = |known: &&Monitor| !is_whole(&known.vcpus) && known.vcpus != vcpus;
    let mut apart = group.monitors.iter().filter(is_apart);
    if !is_whole(&vcpus) && apart.any(|known| overlap(&known.vcpus, &vcpus)) {
        return Err("vcpus overlaps in resctrl groups".to_owned());
    }
    group.monitors.push(Monitor { watched, vcpus });
    Ok(())
}

/// Puts groups in place of the elements; `named`: with the names of the groups, as a running guest's document has them.
pub fn write(tune: &mut CpuTune, groups: &[Group], named: bool) {
    let of = |name: &str| groups.iter().filter_map(|group| element(name, group, named)).collect::<Vec<_>>();
    let trees = ELEMENTS.map(of).concat();
    tune.foreign.set_trees(&ELEMENTS, &trees);
    tune.foreign.sort(&["emulatorsched", "vcpusched", "iothreadsched", CACHES, MEMORY]);
}

/// Shows the groups' names in a running guest's document.
pub fn show_names(domain: &mut Domain) {
    let groups = of(domain);
    if !groups.is_empty()
        && let Some(tune) = domain.cputune.as_deref_mut()
    {
        write(tune, &groups, true);
    }
}

fn element(name: &str, group: &Group, named: bool) -> Option<Kept> {
    let mut tree = Kept::new(name).with("vcpus", &group.vcpus);
    if named {
        tree.set_attribute("id", Some(group.id.clone()));
    }
    let watched = if name == CACHES {
        let part = |(cache, bytes): (&Cache, &Bytes)| {
            let (size, unit) = short(bytes.0);
            let tree = Kept::new("cache").with("id", cache.id).with("level", cache.level);
            tree.with("type", cache.sort).with("size", size).with("unit", unit)
        };
        tree.children.extend(group.caches.iter().map(part));
        Watched::Cache
    } else {
        let part =
            |(id, bandwidth): (&u32, &u32)| Kept::new("node").with("id", id).with("bandwidth", bandwidth);
        tree.children.extend(group.bandwidths.iter().map(part));
        Watched::Memory
    };
    for monitor in group.monitors.iter().filter(|monitor| monitor.watched == watched) {
        let mut child = Kept::new("monitor");
        if watched == Watched::Cache {
            child.set_attribute("level", Some(WATCHED_LEVEL.to_string()));
        }
        tree.children.push(child.with("vcpus", &monitor.vcpus));
    }
    (!tree.children.is_empty()).then_some(tree)
}

/// A number of bytes in the largest unit that it is a whole number of (virFormatIntPretty).
pub fn short(mut bytes: u64) -> (u64, &'static str) {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut at = 0;
    while bytes > 0 && bytes.is_multiple_of(1024) && at + 1 < UNITS.len() {
        bytes /= 1024;
        at += 1;
    }
    (bytes, UNITS[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tune(inner: &str) -> CpuTune {
        let text = format!(
            "<domain type='kvm'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
             <cputune>{inner}</cputune></domain>"
        );
        *Domain::parse(&text).unwrap().cputune.unwrap()
    }

    #[test]
    fn elements_of_the_same_processors_are_one_group() {
        let tune = tune(
            "<memorytune vcpus='0,1'><node id='1' bandwidth='20'/><monitor vcpus='1'/></memorytune>\
             <cachetune vcpus='1,0,7'><cache id='0' level='3' type='data' size='2'/></cachetune>\
             <cachetune vcpus='2' id='mine'><monitor level='3' vcpus='2'/></cachetune><cachetune vcpus='3'/>",
        );
        let groups = groups(&tune, 4).unwrap();
        let names: Vec<_> = groups.iter().map(|group| (group.id.as_str(), group.has_share())).collect();
        assert_eq!(names, [("vcpus_0-1", true), ("mine", false)]);
        assert_eq!(groups[0].caches.values().copied().collect::<Vec<_>>(), [Bytes(2048)]);
        assert_eq!(groups[0].bandwidths, BTreeMap::from([(1, 20)]));
        assert_eq!(groups[0].monitors, [Monitor { watched: Watched::Memory, vcpus: Processors::of(&[1]) }]);
    }

    #[test]
    fn a_running_guests_groups_have_their_names() {
        let mut tune = tune("<memorytune vcpus='0-1'><node id='1' bandwidth='20'/></memorytune>");
        let groups = groups(&tune, 2).unwrap();
        write(&mut tune, &groups, true);
        let written: Vec<_> = tune.foreign.elements().collect();
        assert_eq!(written.len(), 1);
        assert!(written[0].starts_with("<memorytune vcpus=\"0-1\" id=\"vcpus_0-1\">"), "{}", written[0]);
        let told = crate::xml::unsupported(&tune);
        assert_eq!(told[0].path, "/domain/cputune/memorytune", "it is known by where it stood");
    }

    #[test]
    fn amounts_are_written_in_the_largest_whole_unit() {
        for (bytes, text) in [(0, "0 B"), (3000, "3000 B"), (1536 << 10, "1536 KiB"), (1 << 30, "1 GiB")] {
            let (number, unit) = short(bytes);
            assert_eq!(format!("{number} {unit}"), text);
        }
    }
}
