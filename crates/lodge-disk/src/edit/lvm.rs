//! UUIDs of LVM's physical volumes, groups and logical volumes: in the label, and in the text that every member of the group
//! keeps.
//!
//! An identity in the text is replaced by one of the same length, so the text stays where it is in its ring; its sum and
//! its header's are made anew. Layout: LVM2's lib/format_text/layout.h.
//! A guest that lists its devices (`/etc/lvm/devices/system.devices`) names PVs by these UUIDs there as well.

use std::sync::Arc;

use super::device::Fault;
use crate::blocks::Blocks;

const SECTOR: usize = 512;
const LABEL_SECTORS: usize = 4;
const ID_CHARS: usize = 32;
const LISTS_MAX: usize = 64;
const AREA_MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";
const AREA_HEADER: usize = 512;
const TEXT_OFFSET: usize = 40;
const TEXT_SIZE: usize = 48;
const TEXT_SUM: usize = 56;
const TEXT_FLAGS: usize = 60;
const TEXT_IGNORED: u32 = 1;
/// The place of a text that is being changed.
const NEXT_TEXT_OFFSET: usize = 64;
const TEXT_MAX_BYTES: u64 = 16 << 20;
const SUM_SEED: u32 = 0xf597_a6cf;

/// A label, as far as it is changed.
struct Label {
    sector_at: u64,
    sector: Vec<u8>,
    /// Where in the sector the UUID is.
    id: usize,
    /// Metadata areas: where, and how long.
    areas: Vec<(u64, u64)>,
}

/// Gives the PV `name` of a group's `members` another UUID; says whether it was otherwise.
pub(crate) fn set_pv(
    members: &[(String, Arc<dyn Blocks>)],
    name: &str,
    old: &str,
    new: &str,
) -> Result<bool, Fault> {
    let bare = bare(new)?;
    if old == new {
        return Ok(false);
    }
    let pv = members.iter().find(|(member, _)| member == name).map(|(_, device)| device);
    let pv = pv.ok_or_else(|| Fault::Damaged("it cannot be read".to_owned()))?;
    replace_in_texts(members, old, new)?;
    let mut label = label(&**pv)?;
    label.sector[label.id..label.id + ID_CHARS].copy_from_slice(&bare);
    let sum = sum(&label.sector[20..]);
    label.sector[16..20].copy_from_slice(&sum.to_le_bytes());
    pv.write_at(label.sector_at, &label.sector)?;
    Ok(true)
}

/// Gives a group, or one of its volumes, another UUID; says whether it was otherwise.
pub(crate) fn set_in_group(
    members: &[(String, Arc<dyn Blocks>)],
    old: &str,
    new: &str,
) -> Result<bool, Fault> {
    bare(new)?;
    if old == new {
        return Ok(false);
    }
    replace_in_texts(members, old, new)?;
    Ok(true)
}

/// A UUID of LVM's form, without its dashes.
fn bare(uuid: &str) -> Result<[u8; ID_CHARS], Fault> {
    let parts: Vec<usize> = uuid.split('-').map(str::len).collect();
    let bare: Vec<u8> = uuid.bytes().filter(|byte| *byte != b'-').collect();
    let is_of_form = parts == [6, 4, 4, 4, 4, 4, 6] && bare.iter().all(u8::is_ascii_alphanumeric);
    match <[u8; ID_CHARS]>::try_from(bare) {
        Ok(bare) if is_of_form => Ok(bare),
        _ => {
            let why = "LVM's UUIDs are letters and digits in groups of 6-4-4-4-4-4-6".to_owned();
            Err(Fault::BadIdentity(uuid.to_owned(), why))
        }
    }
}

fn replace_in_texts(members: &[(String, Arc<dyn Blocks>)], old: &str, new: &str) -> Result<(), Fault> {
    let mut count = 0;
    for (_, device) in members {
        for (at, bytes) in label(&**device)?.areas {
            count += usize::from(replace_in_text(&**device, at, bytes, old, new)?);
        }
    }
    if count == 0 && members.len() > 1 {
        return Err(Fault::Damaged("its group's metadata does not know it".to_owned()));
    }
    Ok(())
}

fn label(device: &dyn Blocks) -> Result<Label, Fault> {
    for number in 0..LABEL_SECTORS {
        let sector_at = (number * SECTOR) as u64;
        let mut sector = vec![0; SECTOR];
        device.read_at(sector_at, &mut sector)?;
        if !sector.starts_with(b"LABELONE") || sector[24..32] != *b"LVM2 001" {
            continue;
        }
        let id = u32_at(&sector, 20) as usize;
        let is_whole = u64_at(&sector, 8) == number as u64
            && u32_at(&sector, 16) == sum(&sector[20..])
            && id >= 32
            && id + ID_CHARS + 8 <= SECTOR;
        if is_whole && let Some(areas) = areas(&sector, id + ID_CHARS + 8) {
            return Ok(Label { sector_at, sector, id, areas });
        }
    }
    Err(Fault::Damaged("its LVM label is none, or its sum is wrong".to_owned()))
}

/// Two lists, each ended by a zero: where data lies, then where metadata lies.
fn areas(sector: &[u8], from: usize) -> Option<Vec<(u64, u64)>> {
    let mut pairs =
        sector[from..].chunks_exact(16).take(LISTS_MAX).map(|pair| (u64_at(pair, 0), u64_at(pair, 8)));
    pairs.by_ref().find(|(at, _)| *at == 0)?;
    let mut areas = Vec::new();
    for (at, bytes) in pairs {
        if at == 0 {
            return Some(areas);
        }
        areas.push((at, bytes));
    }
    None
}

/// Whether the text of an area had the old UUID, which is the new one now.
fn replace_in_text(device: &dyn Blocks, at: u64, bytes: u64, old: &str, new: &str) -> Result<bool, Fault> {
    let damaged = |what: &str| Fault::Damaged(format!("its LVM metadata area at byte {at}: {what}"));
    let mut header = vec![0; AREA_HEADER];
    device.read_at(at, &mut header)?;
    if header[4..20] != *AREA_MAGIC || u32_at(&header, 0) != sum(&header[4..]) {
        return Err(damaged("its header's sum is wrong"));
    }
    let (offset, size) = (u64_at(&header, TEXT_OFFSET), u64_at(&header, TEXT_SIZE));
    if offset == 0 || u32_at(&header, TEXT_FLAGS) & TEXT_IGNORED != 0 {
        return Ok(false);
    }
    if u64_at(&header, NEXT_TEXT_OFFSET) != 0 {
        return Err(damaged("a change of it was not finished (start the guest, and shut it down)"));
    }
    let start = AREA_HEADER as u64;
    let is_inside = offset >= start && offset < bytes && size <= bytes - start && size <= TEXT_MAX_BYTES;
    if !is_inside || at.checked_add(bytes).is_none_or(|end| end > device.bytes()) {
        return Err(damaged("its text lies outside of it"));
    }
    let first = size.min(bytes - offset);
    let pieces = [(at + offset, first), (at + start, size - first)];
    let mut text = Vec::new();
    for (at, length) in pieces {
        let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
        device.read_at(at, &mut piece)?;
        text.extend_from_slice(&piece);
    }
    if sum(&text) != u32_at(&header, TEXT_SUM) {
        return Err(damaged("its text's sum is wrong"));
    }
    let (old, new) = (format!("\"{old}\""), format!("\"{new}\""));
    let places: Vec<usize> = (0..text.len()).filter(|at| text[*at..].starts_with(old.as_bytes())).collect();
    for place in &places {
        text[*place..*place + new.len()].copy_from_slice(new.as_bytes());
    }
    if places.is_empty() {
        return Ok(false);
    }
    let mut rest = text.as_slice();
    for (at, length) in pieces {
        let (piece, after) = rest.split_at(usize::try_from(length).unwrap_or(0));
        device.write_at(at, piece)?;
        rest = after;
    }
    header[TEXT_SUM..TEXT_SUM + 4].copy_from_slice(&sum(&text).to_le_bytes());
    let header_sum = sum(&header[4..]);
    header[..4].copy_from_slice(&header_sum.to_le_bytes());
    device.write_at(at, &header)?;
    Ok(true)
}

/// LVM's sum: CRC-32 with a seed of its own, not inverted.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(SUM_SEED, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests;
