//! The table of snapshots inside a qcow2 image: untrusted bytes, read within bounds.
//!
//! Layout: QEMU's docs/interop/qcow2.txt, "Snapshots".

use std::{fs::File, io, os::unix::fs::FileExt as _};

/// The specification's limit.
const MOST: u32 = 65_536;
/// QEMU's limit of the whole table is a gigabyte; names and extra data of real ones take some kilobytes.
const TABLE_BYTES: usize = 16 << 20;
/// What of an entry is always there.
const FIXED_BYTES: usize = 40;

/// A snapshot inside an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerSnapshot {
    /// QEMU's number for it, as text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was taken, in seconds since 1970.
    pub taken_unix_s: u32,
    /// Bytes of the guest's memory in it.
    pub memory_bytes: u64,
}

/// Why the bytes are no table.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableFault {
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    #[error("it is said to have {0} snapshots, more than there can be")]
    Count(u32),
    #[error("entry {0} of its table of snapshots does not fit into it")]
    Entry(u32),
}

/// Reads the table of an image whose header was checked.
pub(super) fn read(file: &File) -> Result<Vec<InnerSnapshot>, TableFault> {
    let mut header = [0; 72];
    file.read_exact_at(&mut header, 0).map_err(TableFault::Read)?;
    let count = u32_at(&header, 60).unwrap_or(0);
    let offset = u64_at(&header, 64).unwrap_or(0);
    if count == 0 {
        return Ok(Vec::new());
    }
    if count > MOST {
        return Err(TableFault::Count(count));
    }
    let mut table = vec![0; TABLE_BYTES.min(bytes_after(file, offset))];
    file.read_exact_at(&mut table, offset).map_err(TableFault::Read)?;
    parse(&table, count)
}

fn bytes_after(file: &File, offset: u64) -> usize {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX)
}

fn parse(table: &[u8], count: u32) -> Result<Vec<InnerSnapshot>, TableFault> {
    let mut found = Vec::new();
    let mut at = 0;
    for number in 0..count {
        let (snapshot, length) =
            entry(table.get(at..).unwrap_or_default()).ok_or(TableFault::Entry(number))?;
        found.push(snapshot);
        at += length.next_multiple_of(8);
    }
    Ok(found)
}

/// One entry, and how long it is.
fn entry(bytes: &[u8]) -> Option<(InnerSnapshot, usize)> {
    let (id_length, name_length) = (usize::from(u16_at(bytes, 12)?), usize::from(u16_at(bytes, 14)?));
    let taken_unix_s = u32_at(bytes, 16)?;
    let small_memory_bytes = u64::from(u32_at(bytes, 32)?);
    let extra_length = usize::try_from(u32_at(bytes, 36)?).ok()?;
    let extra = bytes.get(FIXED_BYTES..FIXED_BYTES.checked_add(extra_length)?)?;
    let id_at = FIXED_BYTES.checked_add(extra_length)?;
    let name_at = id_at.checked_add(id_length)?;
    let end = name_at.checked_add(name_length)?;
    let text = |range| bytes.get(range).map(|bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned());
    let snapshot = InnerSnapshot {
        id: text(id_at..name_at)?,
        name: text(name_at..end)?,
        taken_unix_s,
        // Larger sizes stand in the extra data.
        memory_bytes: u64_at(extra, 0).filter(|bytes| *bytes > 0).unwrap_or(small_memory_bytes),
    };
    Some((snapshot, end))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_be_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(id: &str, name: &str, memory: u64) -> Vec<u8> {
        let mut bytes = vec![0; 12];
        bytes.extend(u16::try_from(id.len()).unwrap().to_be_bytes());
        bytes.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
        bytes.extend(1_700_000_000_u32.to_be_bytes());
        bytes.extend([0; 12]);
        bytes.extend(0_u32.to_be_bytes());
        bytes.extend(16_u32.to_be_bytes());
        bytes.extend(memory.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend(id.bytes().chain(name.bytes()));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn entries_are_read_one_after_the_other() {
        let table = [bytes("1", "first", 0), bytes("2", "with memory", 5 << 32)].concat();
        let found = parse(&table, 2).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].memory_bytes), ("first", 0));
        assert_eq!((found[1].id.as_str(), found[1].memory_bytes), ("2", 5 << 32));
        assert!(matches!(parse(&table, 3), Err(TableFault::Entry(2))));
    }

    #[test]
    fn no_cut_and_no_flipped_byte_panics() {
        let whole = bytes("1", "first", 7);
        for length in 0..whole.len() {
            let _ = parse(&whole[..length], 1);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut table = whole.clone();
                table[at] = value;
                let _ = parse(&table, 2);
            }
        }
    }
}
