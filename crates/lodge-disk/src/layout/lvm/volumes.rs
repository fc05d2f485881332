//! What the text says of a group, and volumes mapped onto the PVs that are there.
//!
//! A volume may stand on other volumes (a mirror's legs do); the way down is bounded, so a text whose volumes stand
//! on each other in a circle is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Pv,
    text::{Section, Value},
};
use crate::{
    blocks::Blocks,
    layout::md::ReadOnly,
    source::{Mapped, Run, Segment},
};

const SECTOR: u64 = 512;
const DEPTH_MAX: usize = 4;
const VOLUMES_MAX: usize = 4096;
const SEGMENTS_MAX: usize = 20_000;
/// The most pieces of one volume, with all that it stands on.
const RUNS_MAX: usize = 40_000;

/// A volume group.
#[derive(Debug, Clone)]
pub(in crate::layout) struct Group {
    pub name: String,
    pub uuid: String,
    pub seqno: u64,
    extent_bytes: u64,
    /// By the name that the text uses: UUID and where its extents begin.
    pvs: BTreeMap<String, (String, u64)>,
    volumes: BTreeMap<String, Volume>,
}

/// A logical volume.
#[derive(Debug, Clone)]
pub(in crate::layout) struct Volume {
    pub name: String,
    /// Empty where the text has none.
    pub uuid: String,
    pub is_visible: bool,
    extents: u64,
    segments: Vec<Piece>,
    /// Why it cannot be read, where that is known from the text alone.
    unread: Option<String>,
}

#[derive(Debug, Clone)]
struct Piece {
    extents: u64,
    stripe_bytes: u64,
    is_mirror: bool,
    /// PVs or volumes, each with the first extent.
    legs: Vec<(String, u64)>,
}

/// Reads a group from its text.
pub(super) fn read(text: &Section) -> Result<Group, String> {
    let is_group = |section: &Section| section.item("extent_size").is_some();
    let (name, group) =
        text.sections().find(|(_, section)| is_group(section)).ok_or("it names no volume group")?;
    let missing = |what: &str| format!("volume group {name} has no {what}");
    let extent =
        group.number("extent_size").filter(|size| *size > 0).ok_or_else(|| missing("extent size"))?;
    let mut read = Group {
        name: name.to_owned(),
        uuid: group.text("id").ok_or_else(|| missing("id"))?.to_owned(),
        seqno: group.number("seqno").ok_or_else(|| missing("number"))?,
        extent_bytes: extent.checked_mul(SECTOR).ok_or_else(|| missing("extent size in reason"))?,
        pvs: BTreeMap::new(),
        volumes: BTreeMap::new(),
    };
    for (name, pv) in group.section("physical_volumes").into_iter().flat_map(Section::sections) {
        let (Some(id), Some(start)) = (pv.text("id"), pv.number("pe_start")) else { continue };
        read.pvs.insert(name.to_owned(), (id.to_owned(), start.saturating_mul(SECTOR)));
    }
    let mut segments = 0;
    for (name, volume) in group.section("logical_volumes").into_iter().flat_map(Section::sections) {
        let volume = read_volume(name, volume);
        segments += volume.segments.len();
        if read.volumes.len() == VOLUMES_MAX || segments > SEGMENTS_MAX {
            return Err(format!("volume group {} has more volumes than are read", read.name));
        }
        read.volumes.insert(name.to_owned(), volume);
    }
    hide_stores(group, &mut read);
    Ok(read)
}

/// A snapshot's store of old blocks is a volume like another, but what lies in it is no disk.
fn hide_stores(group: &Section, read: &mut Group) {
    for (_, volume) in group.section("logical_volumes").into_iter().flat_map(Section::sections) {
        for (_, segment) in volume.sections() {
            if let Some(store) = segment.text("cow_store").and_then(|store| read.volumes.get_mut(store)) {
                store.unread = Some("it is a snapshot, which is not read here".to_owned());
            }
        }
    }
}

fn read_volume(name: &str, text: &Section) -> Volume {
    let is = |value: &Value, word: &str| matches!(value, Value::Text(text) if text == word);
    let mut volume = Volume {
        name: name.to_owned(),
        uuid: text.text("id").unwrap_or_default().to_owned(),
        is_visible: text.list("status").iter().any(|value| is(value, "VISIBLE")),
        extents: 0,
        segments: Vec::new(),
        unread: None,
    };
    let mut pieces: Vec<(u64, Result<Piece, String>)> = text
        .sections()
        .filter(|(name, _)| name.starts_with("segment"))
        .map(|(_, segment)| (segment.number("start_extent").unwrap_or(u64::MAX), read_piece(segment)))
        .collect();
    pieces.sort_by_key(|(start, _)| *start);
    for (start, piece) in pieces {
        match piece {
            Ok(piece) if start == volume.extents => {
                volume.extents = volume.extents.saturating_add(piece.extents);
                volume.segments.push(piece);
            }
            Ok(_) => volume.unread = Some("its segments do not follow each other".to_owned()),
            Err(why) => volume.unread = Some(why),
        }
    }
    if volume.segments.is_empty() && volume.unread.is_none() {
        volume.unread = Some("it has no segments".to_owned());
    }
    volume
}

fn read_piece(segment: &Section) -> Result<Piece, String> {
    let kind = segment.text("type").unwrap_or("of no type");
    let extents = segment.number("extent_count").ok_or("a segment of it has no length")?;
    // A mirror's legs are named with the first extent, a raid1's alternate with their metadata.
    let (key, is_mirror, is_raid) = match kind {
        "striped" | "linear" => ("stripes", false, false),
        "mirror" => ("mirrors", true, false),
        "raid1" => ("raids", true, true),
        other => return Err(format!("it is of the type '{other}', which is not read here")),
    };
    let list = segment.list(key);
    let mut legs = Vec::new();
    for pair in list.chunks(2) {
        let leg = match pair {
            [Value::Text(name), Value::Number(extent)] if !is_raid => (name, u64::try_from(*extent).ok()),
            [Value::Text(_), Value::Text(image)] if is_raid => (image, Some(0)),
            _ => return Err("a segment of it names no device".to_owned()),
        };
        legs.push((leg.0.clone(), leg.1.ok_or("a segment of it begins before its device")?));
    }
    if legs.is_empty() {
        return Err("a segment of it names no device".to_owned());
    }
    let stripe = segment.number("stripe_size").unwrap_or(0).saturating_mul(SECTOR);
    if legs.len() > 1 && !is_mirror && stripe == 0 {
        return Err("a striped segment of it has no stripe size".to_owned());
    }
    Ok(Piece { extents, stripe_bytes: stripe, is_mirror, legs })
}

impl Group {
    /// Those that a guest sees as devices.
    pub fn visible(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.values().filter(|volume| volume.is_visible)
    }

    /// Whether a PV is one of its own.
    pub fn has_pv(&self, uuid: &str) -> bool {
        self.pvs.values().any(|(own, _)| own == uuid)
    }

    /// The size of a volume.
    pub fn bytes(&self, volume: &Volume) -> u64 {
        volume.extents.saturating_mul(self.extent_bytes)
    }

    /// As Linux names its device: dashes are doubled.
    pub fn device_name(&self, volume: &Volume) -> String {
        format!("{}-{}", self.name.replace('-', "--"), volume.name.replace('-', "--"))
    }

    /// The UUIDs of the PVs that a volume lies on, those of the volumes beneath it included.
    pub fn pvs_of(&self, volume: &Volume) -> BTreeSet<String> {
        let (mut found, mut seen, mut rest) = (BTreeSet::new(), BTreeSet::new(), vec![volume]);
        while let Some(volume) = rest.pop() {
            if !seen.insert(&volume.name) {
                continue;
            }
            for (leg, _) in volume.segments.iter().flat_map(|piece| &piece.legs) {
                match (self.pvs.get(leg), self.volumes.get(leg)) {
                    (Some((uuid, _)), _) => {
                        found.insert(uuid.clone());
                    }
                    (None, Some(inner)) => rest.push(inner),
                    (None, None) => {}
                }
            }
        }
        found
    }

    /// A volume's bytes, from the PVs that are there.
    pub fn map(&self, volume: &Volume, pvs: &[Pv]) -> Result<Arc<dyn Blocks>, String> {
        let (map, is_mirror) = self.map_at(volume, pvs, 0, &mut { RUNS_MAX })?;
        Ok(if is_mirror { Arc::new(ReadOnly(map)) } else { Arc::new(map) })
    }

    fn map_at(
        &self,
        volume: &Volume,
        pvs: &[Pv],
        depth: usize,
        budget: &mut usize,
    ) -> Result<(Mapped, bool), String> {
        if let Some(why) = &volume.unread {
            return Err(why.clone());
        }
        if depth > DEPTH_MAX {
            return Err("its volumes stand on each other in a circle".to_owned());
        }
        let (mut segments, mut any_mirror) = (Vec::new(), false);
        for piece in &volume.segments {
            let bytes = piece.extents.checked_mul(self.extent_bytes).ok_or("its size is beyond measure")?;
            any_mirror |= piece.is_mirror;
            let legs = if piece.is_mirror { &piece.legs[..1] } else { &piece.legs[..] };
            let mut runs = Vec::new();
            for (leg, extent) in legs {
                let (run, is_mirror) = self.run(leg, *extent, pvs, depth, budget)?;
                any_mirror |= is_mirror;
                runs.push(run);
            }
            segments.push(match <[Run; 1]>::try_from(runs) {
                Ok([run]) => Segment::Linear { bytes, run },
                Err(runs) => Segment::Striped { bytes, chunk_bytes: piece.stripe_bytes, runs },
            });
        }
        let map = Mapped::new(segments, !any_mirror).map_err(|error| error.to_string())?;
        Ok((map, any_mirror))
    }

    fn run(
        &self,
        leg: &str,
        extent: u64,
        pvs: &[Pv],
        depth: usize,
        budget: &mut usize,
    ) -> Result<(Run, bool), String> {
        *budget = budget.checked_sub(1).ok_or("it lies in more pieces than are read")?;
        let offset = extent.checked_mul(self.extent_bytes).ok_or("a segment lies beyond measure")?;
        if let Some((uuid, data_start)) = self.pvs.get(leg) {
            let pv = pvs.iter().find(|pv| pv.uuid == *uuid);
            let pv =
                pv.ok_or_else(|| format!("its physical volume {uuid} is not among the guest's disks"))?;
            let start = offset.checked_add(*data_start).ok_or("a segment lies beyond measure")?;
            return Ok((Run { of: pv.device.clone(), start }, false));
        }
        let inner =
            self.volumes.get(leg).ok_or_else(|| format!("it stands on '{leg}', which is not there"))?;
        let (map, is_mirror) = self.map_at(inner, pvs, depth + 1, budget)?;
        Ok((Run { of: Arc::new(map), start: offset }, is_mirror))
    }
}
