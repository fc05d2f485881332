//! Partition tables: GPT (by the crate gptman, after its counts were judged) and DOS with logical partitions.
//!
//! A table is a claim. Partitions that reach beyond the disk or lie over one another are told as they stand, with a
//! fault beside them; a chain of extended partitions ends where it comes back to itself.

use std::sync::Arc;

use lodge_model::guest_disk::{Partition, PartitionTable};
use uuid::Uuid;

use super::span::{Span, head};
use crate::{blocks::Blocks, source::Stream};

/// The most partitions that are read of one disk.
const PARTITIONS_MAX: usize = 256;
const DOS_SECTOR: u64 = 512;
const DOS_EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
const DOS_PROTECTIVE: u8 = 0xee;

/// What a table says.
#[derive(Debug)]
pub(super) struct Table {
    pub kind: PartitionTable,
    pub parts: Vec<Entry>,
    /// What is wrong with it.
    pub faults: Vec<String>,
}

/// One partition, in bytes.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub start: u64,
    pub bytes: u64,
    /// It only holds logical partitions.
    pub is_extended: bool,
    pub partition: Partition,
}

/// The table of a disk, if it has one; the error says why one that is there cannot be read.
pub(super) fn read(disk: &Arc<dyn Blocks>) -> Result<Option<Table>, String> {
    let start =
        head(disk.as_ref(), 0, 8192).map_err(|error| format!("cannot read its beginning: {error}"))?;
    let mut table = match gpt(disk, &start)? {
        Some(table) => table,
        None => match dos(disk, &start)? {
            Some(table) => table,
            None => return Ok(None),
        },
    };
    overlaps(&mut table);
    Ok(Some(table))
}

/// GPT: the first header or its copy at the end.
fn gpt(disk: &Arc<dyn Blocks>, start: &[u8]) -> Result<Option<Table>, String> {
    let mut why = None;
    for sector in [512_u64, 4096] {
        let at = usize::try_from(sector).unwrap_or(0);
        let copy_at = (disk.bytes() / sector).saturating_sub(1) * sector;
        let copy = head(disk.as_ref(), copy_at, 512).unwrap_or_default();
        let headers = [Span(start.get(at..).unwrap_or_default()), Span(&copy)];
        let present = headers.iter().filter(|header| header.has(0, b"EFI PART"));
        let (mut count, mut is_bounded) = (0, true);
        for header in present {
            count += 1;
            let (entries, entry) = (header.u32_le(80).unwrap_or(0), header.u32_le(84).unwrap_or(0));
            is_bounded &= (1..=1024).contains(&entries) && (128..=4096).contains(&entry);
        }
        if count == 0 {
            continue;
        }
        if !is_bounded {
            why = Some("its GPT counts more entries than anybody makes".to_owned());
            continue;
        }
        match gptman::GPT::read_from(&mut Stream::new(disk.clone()), sector) {
            Ok(gpt) => return Ok(Some(gpt_table(&gpt, sector))),
            Err(error) => why = Some(format!("its GPT is damaged: {error}")),
        }
    }
    // A copy at the end alone may be a leftover: with a DOS table before it, that counts.
    match why {
        Some(why) if Span(start).has(512, b"EFI PART") || Span(start).has(4096, b"EFI PART") => Err(why),
        Some(_) | None => Ok(None),
    }
}

fn gpt_table(gpt: &gptman::GPT, sector: u64) -> Table {
    let mut faults = Vec::new();
    if gpt.is_backup() {
        faults.push("its first GPT is damaged, the copy at its end was read".to_owned());
    }
    let used = gpt.iter().filter(|(_, entry)| entry.is_used());
    let mut parts = Vec::new();
    for (number, entry) in used {
        if parts.len() == PARTITIONS_MAX {
            faults.push(format!("it has more than {PARTITIONS_MAX} partitions"));
            break;
        }
        let sectors = entry.ending_lba.checked_sub(entry.starting_lba).and_then(|count| count.checked_add(1));
        let bytes = sectors.and_then(|sectors| sectors.checked_mul(sector));
        let (Some(bytes), Some(start)) = (bytes, entry.starting_lba.checked_mul(sector)) else {
            faults.push(format!("partition {number} ends before it begins"));
            continue;
        };
        parts.push(Entry {
            start,
            bytes,
            is_extended: false,
            partition: Partition {
                number,
                kind: Uuid::from_bytes_le(entry.partition_type_guid).to_string(),
                uuid: Uuid::from_bytes_le(entry.unique_partition_guid).to_string(),
                label: entry.partition_name.as_str().to_owned(),
            },
        });
    }
    Table { kind: PartitionTable::Gpt(Uuid::from_bytes_le(gpt.header.disk_guid)), parts, faults }
}

/// One of the four lines of a boot record: its kind, first sector and count; `None` where it is no such line.
fn dos_line(record: Span<'_>, index: usize) -> Option<(u8, u64, u64)> {
    let at = 446 + 16 * index;
    let line = Span(record.sub(at, 16)?);
    let active = line.array::<1>(0)?[0];
    if active & 0x7f != 0 {
        return None;
    }
    Some((line.array::<1>(4)?[0], u64::from(line.u32_le(8)?), u64::from(line.u32_le(12)?)))
}

fn dos(disk: &Arc<dyn Blocks>, start: &[u8]) -> Result<Option<Table>, String> {
    let record = Span(start);
    if !record.has(510, &[0x55, 0xaa]) || super::probe::is_boot_sector_of_a_file_system(record) {
        return Ok(None);
    }
    let lines: Option<Vec<_>> = (0..4).map(|index| dos_line(record, index)).collect();
    let Some(lines) = lines else { return Ok(None) };
    let is_used = |line: &(u8, u64, u64)| line.0 != 0 && line.2 != 0;
    if !lines.iter().any(is_used) {
        return Ok(None);
    }
    if lines.iter().any(|line| line.0 == DOS_PROTECTIVE) {
        return Err("it is marked as GPT, and its GPT is missing or damaged at both ends".to_owned());
    }
    let signature = record.u32_le(440).unwrap_or(0);
    let mut table = Table { kind: PartitionTable::Dos(signature), parts: Vec::new(), faults: Vec::new() };
    for (index, (kind, first, count)) in lines.iter().enumerate().filter(|(_, line)| is_used(line)) {
        let number = u32::try_from(index).unwrap_or(0) + 1;
        let entry = dos_entry(signature, number, *kind, *first, *count);
        let (is_extended, start) = (entry.is_extended, entry.start);
        table.parts.push(entry);
        if is_extended {
            logical(disk, signature, start, &mut table);
        }
    }
    Ok(Some(table))
}

fn dos_entry(signature: u32, number: u32, kind: u8, first: u64, count: u64) -> Entry {
    Entry {
        // Of 32 bits each: no overflow.
        start: first * DOS_SECTOR,
        bytes: count * DOS_SECTOR,
        is_extended: DOS_EXTENDED.contains(&kind),
        partition: Partition {
            number,
            kind: format!("0x{kind:x}"),
            uuid: format!("{signature:08x}-{number:02x}"),
            label: String::new(),
        },
    }
}

/// The chain of boot records in an extended partition: each holds one partition and the way to the next.
fn logical(disk: &Arc<dyn Blocks>, signature: u32, extended: u64, table: &mut Table) {
    let (mut at, mut seen) = (extended, Vec::new());
    let mut number =
        table.parts.iter().map(|entry| entry.partition.number).filter(|n| *n > 4).max().unwrap_or(4);
    loop {
        if seen.contains(&at) {
            table.faults.push(format!("its logical partitions lead in a circle at byte {at}"));
            return;
        }
        if seen.len() >= PARTITIONS_MAX {
            table.faults.push(format!("it has more than {PARTITIONS_MAX} logical partitions"));
            return;
        }
        seen.push(at);
        let Ok(record) = head(disk.as_ref(), at, 512) else {
            table.faults.push(format!("the boot record at byte {at} cannot be read"));
            return;
        };
        let record = Span(&record);
        if !record.has(510, &[0x55, 0xaa]) {
            table
                .faults
                .push(format!("there is no boot record at byte {at}, where logical partitions go on"));
            return;
        }
        if let Some((kind, first, count)) = dos_line(record, 0)
            && kind != 0
            && count != 0
        {
            number += 1;
            let mut entry = dos_entry(signature, number, kind, first, count);
            entry.start = entry.start.saturating_add(at);
            entry.is_extended = false;
            table.parts.push(entry);
        }
        match dos_line(record, 1) {
            Some((kind, first, _)) if DOS_EXTENDED.contains(&kind) && first != 0 => {
                at = extended.saturating_add(first * DOS_SECTOR);
            }
            Some(_) | None => return,
        }
    }
}

/// Says which partitions lie over one another.
fn overlaps(table: &mut Table) {
    let mut parts: Vec<&Entry> = table.parts.iter().filter(|entry| !entry.is_extended).collect();
    parts.sort_by_key(|entry| entry.start);
    for pair in parts.windows(2) {
        if pair[0].start.saturating_add(pair[0].bytes) > pair[1].start {
            let (a, b) = (pair[0].partition.number, pair[1].partition.number);
            table.faults.push(format!("partitions {a} and {b} lie over one another"));
        }
    }
}
