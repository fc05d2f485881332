//! Which devices lie on a guest's disks, and each one's bytes.
//!
//! ```text
//! disks → partition tables → (arrays → their tables) → volume groups → what lies in each
//! ```
//! Everything is told, readable or not: what cannot be read is a device all the same, and a [`Gap`] says why.
//! Deliberately absent: file systems (`fs`), mount points (`root`).

mod lvm;
mod md;
pub(crate) mod probe;
pub(crate) mod span;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lodge_model::{
    Bytes,
    guest_disk::{Device, DeviceKind, Gap, Layout},
};

use crate::{blocks::Blocks, source::Part};

/// The most devices of one guest.
const DEVICES_MAX: usize = 2048;

/// The devices on some disks, open.
#[derive(Debug, Clone)]
pub struct Devices {
    layout: Layout,
    open: BTreeMap<String, Arc<dyn Blocks>>,
    gaps: Vec<Gap>,
}

impl Devices {
    /// Looks at disks, each with its name.
    pub fn read(disks: Vec<(String, Arc<dyn Blocks>)>) -> Self {
        let mut finder = Finder::default();
        let roots: Vec<usize> =
            disks.into_iter().filter_map(|(name, blocks)| finder.disk(&name, &blocks)).collect();
        finder.arrays();
        finder.groups();
        let disks = roots.iter().map(|root| finder.tree(*root)).collect();
        let found = finder.found.into_iter();
        let open = found.filter_map(|found| Some((found.device.name, found.blocks?))).collect();
        Self { layout: Layout { disks }, open, gaps: finder.gaps }
    }

    /// What was found.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// To add what is known only later: mount points.
    pub fn layout_mut(&mut self) -> &mut Layout {
        &mut self.layout
    }

    /// The bytes of a device; none where it cannot be read.
    pub fn device(&self, name: &str) -> Option<Arc<dyn Blocks>> {
        self.open.get(name).cloned()
    }

    /// Adds what could not be read before anybody looked.
    pub fn add_gaps(&mut self, gaps: Vec<Gap>) {
        self.gaps.splice(0..0, gaps);
    }

    /// What could not be read, by device.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }
}

/// A device, without what lies on it.
#[derive(Debug)]
struct Found {
    device: Device,
    blocks: Option<Arc<dyn Blocks>>,
    children: Vec<usize>,
}

/// A member of an array: which device it is, and what it says.
type Member = (usize, md::Member, Arc<dyn Blocks>);

#[derive(Debug, Default)]
struct Finder {
    found: Vec<Found>,
    names: BTreeSet<String>,
    gaps: Vec<Gap>,
}

impl Finder {
    fn gap(&mut self, place: &str, why: impl Into<String>) {
        self.gaps.push(Gap { place: place.to_owned(), why: why.into() });
    }

    /// Notes a device; none where there are too many, or one of its name is there.
    fn add(&mut self, device: Device, blocks: Option<Arc<dyn Blocks>>) -> Option<usize> {
        if self.found.len() >= DEVICES_MAX {
            self.gap(&device.name, format!("there are more than {DEVICES_MAX} devices"));
            return None;
        }
        if !self.names.insert(device.name.clone()) {
            self.gap(&device.name, "there are two devices of this name");
            return None;
        }
        self.found.push(Found { device, blocks, children: Vec::new() });
        Some(self.found.len() - 1)
    }

    fn disk(&mut self, name: &str, blocks: &Arc<dyn Blocks>) -> Option<usize> {
        let disk = device(name, DeviceKind::Disk, blocks.bytes());
        let index = self.add(disk, Some(blocks.clone()))?;
        self.divide(index, blocks);
        Some(index)
    }

    /// Reads a device's partition table, or what lies in it where it has none.
    fn divide(&mut self, index: usize, blocks: &Arc<dyn Blocks>) {
        let name = self.found[index].device.name.clone();
        let table = match table::read(blocks) {
            Ok(Some(table)) => table,
            Ok(None) => return self.probe(index),
            Err(why) => return self.gap(&name, why),
        };
        for fault in table.faults {
            self.gap(&name, fault);
        }
        self.found[index].device.table = Some(table.kind);
        let joint = if name.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
        for entry in table.parts {
            let part_name = format!("{name}{joint}{}", entry.partition.number);
            let mut part = device(&part_name, DeviceKind::Partition, entry.bytes);
            part.start = Some(Bytes(entry.start));
            part.partition = Some(entry.partition);
            let window = Part::new(blocks.clone(), entry.start, entry.bytes);
            let window = match window {
                Ok(window) => Some(Arc::new(window) as Arc<dyn Blocks>),
                Err(error) => {
                    self.gap(&part_name, error.to_string());
                    None
                }
            };
            let Some(part) = self.add(part, window) else { continue };
            self.found[index].children.push(part);
            if !entry.is_extended {
                self.probe(part);
            }
        }
    }

    fn probe(&mut self, index: usize) {
        let Some(blocks) = self.found[index].blocks.clone() else { return };
        match probe::probe(blocks.as_ref()) {
            Ok(content) => self.found[index].device.content = content,
            Err(error) => {
                let name = self.found[index].device.name.clone();
                self.gap(&name, format!("cannot be read: {error}"));
            }
        }
    }

    /// The devices of some content, with their bytes.
    fn of_kind(&self, kind: &str) -> Vec<(usize, Arc<dyn Blocks>)> {
        let is_kind =
            |found: &Found| found.device.content.as_ref().is_some_and(|content| content.kind == kind);
        let found = self.found.iter().enumerate().filter(|(_, found)| is_kind(found));
        found.filter_map(|(index, found)| Some((index, found.blocks.clone()?))).collect()
    }

    fn arrays(&mut self) {
        let mut arrays: BTreeMap<String, Vec<Member>> = BTreeMap::new();
        for (index, blocks) in self.of_kind("linux_raid_member") {
            if let Ok(Some(member)) = md::read(blocks.as_ref()) {
                arrays.entry(member.array.clone()).or_default().push((index, member, blocks));
            } else {
                let name = self.found[index].device.name.clone();
                self.gap(&name, "its array has a superblock of version 0.90, which is not read here");
            }
        }
        for members in arrays.into_values() {
            let name = self.array_name(&members[0].1.name);
            let pairs: Vec<_> =
                members.iter().map(|(_, member, blocks)| (member.clone(), blocks.clone())).collect();
            let blocks = md::assemble(&pairs);
            let bytes = blocks.as_ref().map_or(0, |blocks| blocks.bytes());
            let index = self.add(device(&name, DeviceKind::Raid, bytes), blocks.as_ref().ok().cloned());
            let Some(index) = index else { continue };
            for (member, ..) in &members {
                self.found[*member].children.push(index);
            }
            match blocks {
                Ok(blocks) => self.divide(index, &blocks),
                Err(why) => self.gap(&name, why),
            }
        }
    }

    /// As Linux numbers arrays: by the name's number, else from 127 down.
    fn array_name(&self, name: &str) -> String {
        let own = name.rsplit(':').next().unwrap_or_default();
        let numbered = own.parse::<u16>().ok().map(|number| format!("md{number}"));
        let free = (0..=127).rev().map(|number| format!("md{number}"));
        let mut names = numbered.into_iter().chain(free);
        names.find(|name| !self.names.contains(name)).unwrap_or_else(|| "md".to_owned())
    }

    fn groups(&mut self) {
        let (mut pvs, mut groups): (Vec<(usize, lvm::Pv)>, BTreeMap<String, lvm::Group>) = Default::default();
        for (index, blocks) in self.of_kind("LVM2_member") {
            let uuid = self.found[index].device.content.as_ref().and_then(|content| content.uuid.clone());
            pvs.push((index, lvm::Pv { uuid: uuid.unwrap_or_default(), device: blocks.clone() }));
            match lvm::group(blocks.as_ref()) {
                Ok(Some(group)) => {
                    let is_newer = groups.get(&group.uuid).is_none_or(|other| other.seqno < group.seqno);
                    if is_newer {
                        groups.insert(group.uuid.clone(), group);
                    }
                }
                Ok(None) => {}
                Err(why) => {
                    let name = self.found[index].device.name.clone();
                    self.gap(&name, why);
                }
            }
        }
        for group in groups.values() {
            for (index, _) in pvs.iter().filter(|(_, pv)| group.has_pv(&pv.uuid)) {
                if let Some(content) = &mut self.found[*index].device.content {
                    content.group = Some((group.name.clone(), group.uuid.clone()));
                }
            }
            let (indexes, devices): (Vec<usize>, Vec<lvm::Pv>) =
                pvs.iter().map(|(index, pv)| (*index, pv.clone())).unzip();
            for volume in group.visible() {
                self.volume(group, volume, &indexes, &devices);
            }
        }
    }

    fn volume(&mut self, group: &lvm::Group, volume: &lvm::Volume, indexes: &[usize], pvs: &[lvm::Pv]) {
        let name = group.device_name(volume);
        let blocks = group.map(volume, pvs);
        let lv = device(&name, DeviceKind::Lvm, group.bytes(volume));
        let lv = Device { volume: Some(volume.uuid.clone()).filter(|uuid| !uuid.is_empty()), ..lv };
        let Some(index) = self.add(lv, blocks.as_ref().ok().cloned()) else { return };
        let on = group.pvs_of(volume);
        for (parent, _) in indexes.iter().zip(pvs).filter(|(_, pv)| on.contains(&pv.uuid)) {
            self.found[*parent].children.push(index);
        }
        match blocks {
            Ok(_) => self.probe(index),
            Err(why) => self.gap(&name, why),
        }
    }

    /// A device with all beneath it. Arrays stand on partitions and volumes on those, so this ends.
    fn tree(&self, index: usize) -> Device {
        let found = &self.found[index];
        let mut device = found.device.clone();
        device.children = found.children.iter().map(|child| self.tree(*child)).collect();
        device
    }
}

fn device(name: &str, kind: DeviceKind, bytes: u64) -> Device {
    Device {
        name: name.to_owned(),
        kind,
        bytes: Bytes(bytes),
        start: None,
        table: None,
        partition: None,
        volume: None,
        content: None,
        mount_point: None,
        children: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
