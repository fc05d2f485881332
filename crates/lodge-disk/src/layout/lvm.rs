//! LVM2: labels, metadata areas and what their text says of groups and volumes.
//!
//! Layout on disk: LVM2's format_text/layout.h (label in one of the first four sectors, a metadata area's header
//! with its own sum, the text in a ring behind it). The newest text of a group's PVs counts. Linear, striped and
//! mirrored volumes are mapped; what else there is (thin, cache, snapshot, parity) is told by name.
//! Deliberately absent: changing anything (`edit`).

mod text;
mod volumes;

use std::{io, sync::Arc};

pub(super) use self::volumes::{Group, Volume};
use super::span::{Span, head};
use crate::blocks::Blocks;

const SECTOR: usize = 512;
const LABEL_SECTORS: usize = 4;
const UUID_CHARS: usize = 32;
const AREAS_MAX: usize = 8;
const AREA_HEADER_BYTES: u64 = 512;
const AREA_MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";
const TEXT_BYTES_MAX: u64 = 16 << 20;
const LOCATION_IGNORED: u32 = 1;
const SUM_SEED: u32 = 0xf597_a6cf;

/// A PV's label.
#[derive(Debug)]
pub(super) struct Label {
    /// In LVM's form, with dashes.
    pub uuid: String,
    /// Where metadata areas lie, and how long they are.
    areas: Vec<(u64, u64)>,
}

/// A PV and its device.
#[derive(Debug, Clone)]
pub(super) struct Pv {
    pub uuid: String,
    pub device: Arc<dyn Blocks>,
}

/// The label in a device's first sectors.
pub(super) fn label(span: Span<'_>) -> Option<Label> {
    for sector in 0..LABEL_SECTORS {
        let at = sector * SECTOR;
        if !span.has(at, b"LABELONE") || !span.has(at + 24, b"LVM2 001") {
            continue;
        }
        if span.u64_le(at + 8)? != sector as u64 {
            continue;
        }
        // The label's own sum covers the rest of its sector.
        if span.u32_le(at + 16)? != sum(span.sub(at + 20, SECTOR - 20)?) {
            continue;
        }
        let header = at + span.u32_le(at + 20)? as usize;
        let uuid = dashed(span.sub(header, UUID_CHARS)?)?;
        return Some(Label { uuid, areas: areas(span, header + UUID_CHARS + 8)? });
    }
    None
}

/// Two lists, each ended by a zero: where data lies, then where metadata lies.
fn areas(span: Span<'_>, mut at: usize) -> Option<Vec<(u64, u64)>> {
    let mut list = || {
        let mut places = Vec::new();
        for _ in 0..=AREAS_MAX {
            let (start, bytes) = (span.u64_le(at)?, span.u64_le(at + 8)?);
            at += 16;
            if start == 0 {
                return Some(places);
            }
            places.push((start, bytes));
        }
        None
    };
    list()?;
    list()
}

/// LVM's form of an id: 6-4-4-4-4-4-6 characters.
pub(super) fn dashed(id: &[u8]) -> Option<String> {
    if id.len() != UUID_CHARS || !id.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let mut text = String::new();
    for (at, byte) in id.iter().enumerate() {
        if at >= 6 && (at - 6) % 4 == 0 && at < 30 {
            text.push('-');
        }
        text.push(char::from(*byte));
    }
    Some(text)
}

/// LVM's sum: CRC-32 with a seed of its own, not inverted.
pub(super) fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(SUM_SEED, |mut sum, byte| {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
        }
        sum
    })
}

/// The group that a PV belongs to, as its metadata says; none: to no group.
pub(super) fn group(device: &dyn Blocks) -> Result<Option<Group>, String> {
    let said = |error: io::Error| format!("cannot read its LVM metadata: {error}");
    let start = head(device, 0, LABEL_SECTORS * SECTOR + SECTOR).map_err(said)?;
    let Some(label) = label(Span(&start)) else { return Err("its LVM label is damaged".to_owned()) };
    if label.areas.is_empty() {
        return Ok(None);
    }
    let (mut newest, mut why): (Option<Group>, _) = (None, None);
    for (start, bytes) in label.areas {
        match area(device, start, bytes) {
            Ok(Some(group)) if newest.as_ref().is_none_or(|other| other.seqno < group.seqno) => {
                newest = Some(group);
            }
            Ok(_) => {}
            Err(error) => why = Some(error),
        }
    }
    match (newest, why) {
        (Some(group), _) => Ok(Some(group)),
        (None, Some(why)) => Err(why),
        (None, None) => Ok(None),
    }
}

/// One metadata area: its header, then the text it points at, which may wrap round.
fn area(device: &dyn Blocks, start: u64, bytes: u64) -> Result<Option<Group>, String> {
    let damaged = |what: &str| format!("its LVM metadata area at byte {start} is damaged: {what}");
    let header = head(device, start, SECTOR).map_err(|error| damaged(&error.to_string()))?;
    let span = Span(&header);
    if !span.has(4, AREA_MAGIC) {
        return Err(damaged("it does not begin as one does"));
    }
    if span.u32_le(0) != header.get(4..SECTOR).map(sum) {
        return Err(damaged("its header's sum is wrong"));
    }
    let field = |at| span.u64_le(at).unwrap_or(0);
    let (offset, size) = (field(40), field(48));
    let (text_sum, flags) = (span.u32_le(56).unwrap_or(0), span.u32_le(60).unwrap_or(0));
    if offset == 0 || flags & LOCATION_IGNORED != 0 {
        return Ok(None);
    }
    if size > TEXT_BYTES_MAX
        || offset < AREA_HEADER_BYTES
        || offset >= bytes
        || size > bytes - AREA_HEADER_BYTES
    {
        return Err(damaged("its text lies outside of it"));
    }
    let first = size.min(bytes - offset);
    let mut text = Vec::new();
    for (at, length) in [(offset, first), (AREA_HEADER_BYTES, size - first)] {
        let at = start.checked_add(at).ok_or_else(|| damaged("it lies beyond measure"))?;
        let length = usize::try_from(length).map_err(|_| damaged("it is too long"))?;
        let mut part = vec![0; length];
        device.read_at(at, &mut part).map_err(|error| damaged(&error.to_string()))?;
        text.extend_from_slice(&part);
    }
    if sum(&text) != text_sum {
        return Err(damaged("its text's sum is wrong"));
    }
    let tree = text::parse(&text).map_err(|fault| damaged(&fault.to_string()))?;
    volumes::read(&tree).map(Some).map_err(|what| damaged(&what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_lvm_writes_them() {
        let id = b"i3ASi9Zw3hYXEL5LySu8JFQnKtoFfN76";
        assert_eq!(dashed(id).unwrap(), "i3ASi9-Zw3h-YXEL-5LyS-u8JF-QnKt-oFfN76");
        assert_eq!(dashed(b"short"), None);
    }
}
