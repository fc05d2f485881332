//! GUIDs of a GPT: the disk's and a partition's, in both copies, with all sums. UEFI specification, chapter 5.
//!
//! Every byte that is not a GUID or a sum stays as it is; a copy that is damaged already stays damaged. The copy at the
//! end is written first, so that one of the two is whole at any moment.

use uuid::Uuid;

use super::{Fault, crc32};
use crate::blocks::Blocks;

const SIGNATURE: &[u8] = b"EFI PART";
const HEADER_MIN: usize = 92;
const HEADER_SUM: usize = 16;
const ALTERNATE: usize = 32;
const DISK_GUID: usize = 56;
const ENTRIES_AT: usize = 72;
const ENTRIES_SUM: usize = 88;
const ENTRY_MAX: usize = 4096;
const ENTRIES_MAX: usize = 1024;
const ENTRY_GUID: usize = 16;

/// Which identity is to be another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Disk(Uuid),
    /// By its number, from 1.
    Partition(u32, Uuid),
}

/// One copy.
struct Copy {
    at: u64,
    header: Vec<u8>,
    entries_at: u64,
    entries: Vec<u8>,
    entry_size: usize,
}

/// Makes a change; says whether it was otherwise.
pub(crate) fn change(disk: &dyn Blocks, change: Change) -> Result<bool, Fault> {
    for sector in [512, 4096] {
        let first = read(disk, sector, sector)?;
        let alternate = match &first {
            Some(copy) => u64_at(&copy.header, ALTERNATE).checked_mul(sector),
            None => (disk.bytes() / sector).checked_sub(1).map(|last| last * sector),
        };
        let last = match alternate {
            Some(at) if at != sector => read(disk, at, sector)?,
            _ => None,
        };
        let mut is_other = false;
        let mut copies: Vec<Copy> = last.into_iter().chain(first).collect();
        for copy in &mut copies {
            if copy.make(change)? {
                is_other = true;
                disk.write_at(copy.entries_at, &copy.entries)?;
                disk.write_at(copy.at, &copy.header)?;
                disk.flush()?;
            }
        }
        if !copies.is_empty() {
            return Ok(is_other);
        }
    }
    Err(Fault::Damaged("no copy of its GPT is whole".to_owned()))
}

/// The copy at a place, if it is a whole one.
fn read(disk: &dyn Blocks, at: u64, sector: u64) -> Result<Option<Copy>, Fault> {
    let size = usize::try_from(sector).unwrap_or(HEADER_MIN);
    if at.checked_add(sector).is_none_or(|end| end > disk.bytes()) {
        return Ok(None);
    }
    let mut header = vec![0; size];
    disk.read_at(at, &mut header)?;
    let header_size = u32_at(&header, 12) as usize;
    if !header.starts_with(SIGNATURE) || !(HEADER_MIN..=size).contains(&header_size) {
        return Ok(None);
    }
    if header_sum(&header, header_size) != u32_at(&header, HEADER_SUM) || u64_at(&header, 24) != at / sector {
        return Ok(None);
    }
    let (count, entry_size) = (u32_at(&header, 80) as usize, u32_at(&header, 84) as usize);
    if !(1..=ENTRIES_MAX).contains(&count) || !(128..=ENTRY_MAX).contains(&entry_size) {
        return Ok(None);
    }
    let mut entries = vec![0; count * entry_size];
    let entries_at = u64_at(&header, ENTRIES_AT).checked_mul(sector);
    let entries_at =
        entries_at.filter(|at| at.checked_add(entries.len() as u64).is_some_and(|end| end <= disk.bytes()));
    let Some(entries_at) = entries_at else { return Ok(None) };
    disk.read_at(entries_at, &mut entries)?;
    if crc32(&entries) != u32_at(&header, ENTRIES_SUM) {
        return Ok(None);
    }
    Ok(Some(Copy { at, header, entries_at, entries, entry_size }))
}

impl Copy {
    fn make(&mut self, change: Change) -> Result<bool, Fault> {
        let (place, guid) = match change {
            Change::Disk(guid) => (&mut self.header[DISK_GUID..DISK_GUID + 16], guid),
            Change::Partition(number, guid) => {
                let index = (number as usize).wrapping_sub(1);
                let entry = self.entries.chunks_exact_mut(self.entry_size).nth(index);
                let entry = entry.filter(|entry| entry[..16] != [0; 16]);
                let entry =
                    entry.ok_or_else(|| Fault::Damaged(format!("its GPT has no partition {number}")))?;
                (&mut entry[ENTRY_GUID..ENTRY_GUID + 16], guid)
            }
        };
        let bytes = guid.to_bytes_le();
        if *place == bytes {
            return Ok(false);
        }
        place.copy_from_slice(&bytes);
        let sum = crc32(&self.entries);
        self.header[ENTRIES_SUM..ENTRIES_SUM + 4].copy_from_slice(&sum.to_le_bytes());
        let sum = header_sum(&self.header, u32_at(&self.header, 12) as usize);
        self.header[HEADER_SUM..HEADER_SUM + 4].copy_from_slice(&sum.to_le_bytes());
        Ok(true)
    }
}

/// Over the header with zeros where the sum itself is.
fn header_sum(header: &[u8], size: usize) -> u32 {
    let mut header = header[..size].to_vec();
    header[HEADER_SUM..HEADER_SUM + 4].fill(0);
    crc32(&header)
}

/// Of a header, which has at least [`HEADER_MIN`] bytes.
fn u32_at(header: &[u8], at: usize) -> u32 {
    header[at..].first_chunk().copied().map_or(0, u32::from_le_bytes)
}

fn u64_at(header: &[u8], at: usize) -> u64 {
    header[at..].first_chunk().copied().map_or(0, u64::from_le_bytes)
}
