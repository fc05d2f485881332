//! Leases and names on disk: what was promised to a guest is there after any crash.
//!
//! Two files, handed over by the daemon. One is in use: a snapshot, then what happened since. When it has
//! grown, a new snapshot goes into the other file, is made durable, and from then on that one is in use; its
//! greater generation says so. Each line carries its checksum, so a torn or damaged line ends the reading
//! instead of being believed.
//!
//! ```text
//! 3a07c1f2 {"generation":7,"entries":2}       the snapshot is whole only if its entries follow
//! 91be04d7 {"lease":{…}}
//! 5c2210aa {"names":{…}}
//! 0f00e3b1 {"end":{…}}                        since then
//! ```
//!
//! Writing and making durable are apart, so that many replies wait for one `fdatasync`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;

use lodge_model::MacAddr;
use serde::{Deserialize, Serialize};

/// Entries since the snapshot after which a new one may be written.
const COMPACT_AFTER: usize = 16_384;
/// Longest line that is one.
const LINE_MAX_BYTES: usize = 8192;
/// Largest journal read; beyond it something else is wrong.
const FILE_MAX_BYTES: u64 = 256 << 20;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A guest holds an address until a moment.
    Lease {
        /// The guest.
        mac: MacAddr,
        /// Its address.
        ip: Ipv4Addr,
        /// The end, seconds since 1970; `u64::MAX` never.
        until: u64,
        /// The name it gave itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hostname: Option<String>,
        /// Its client identifier.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<Vec<u8>>,
    },
    /// A guest's lease ended before its time.
    End {
        /// The guest.
        mac: MacAddr,
    },
    /// The host gave names to a guest; none takes them away.
    Names {
        /// The guest.
        mac: MacAddr,
        /// Its names.
        names: Vec<String>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    generation: u64,
    entries: usize,
}

/// The journal of one network.
#[derive(Debug)]
pub struct Journal {
    files: [Arc<File>; 2],
    active: usize,
    generation: u64,
    since_snapshot: usize,
    pending: Vec<u8>,
}

impl Journal {
    /// Reads what there is. Returns the entries in the order they happened.
    pub fn open(files: [File; 2]) -> io::Result<(Self, Vec<Entry>)> {
        let texts = [read_all(&files[0])?, read_all(&files[1])?];
        let read = [replay(&texts[0]), replay(&texts[1])];
        let newest =
            (0..2).filter(|&at| read[at].is_some()).max_by_key(|&at| read[at].as_ref().map(|r| r.generation));
        let [first, second] = read;
        let active = newest.unwrap_or(0);
        let found = if active == 0 { first } else { second };
        let files = files.map(Arc::new);
        let mut journal = Self { files, active, generation: 0, since_snapshot: 0, pending: Vec::new() };
        let Some(found) = found else {
            journal.snapshot(&[])?;
            return Ok((journal, Vec::new()));
        };
        // What follows the last good line is a torn write: the next line must not join it.
        let mut file = &*journal.files[active];
        file.set_len(found.good_bytes)?;
        file.seek(SeekFrom::Start(found.good_bytes))?;
        journal.generation = found.generation;
        journal.since_snapshot = found.entries.len();
        Ok((journal, found.entries))
    }

    /// Notes an entry in memory; [`Self::write`] takes it to the file.
    pub fn note(&mut self, entry: &Entry) {
        push_line(&mut self.pending, entry);
        self.since_snapshot += 1;
    }

    /// Writes what was noted. Returns the file to be made durable, if anything was written.
    pub fn write(&mut self) -> io::Result<Option<Arc<File>>> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let file = &self.files[self.active];
        (&**file).write_all(&self.pending)?;
        self.pending.clear();
        Ok(Some(Arc::clone(file)))
    }

    /// Is it time for a new snapshot of `live` entries?
    pub fn is_long(&self, live: usize) -> bool {
        self.since_snapshot > COMPACT_AFTER + 4 * live
    }

    /// Writes `entries` as a snapshot into the other file, durably, and goes on there.
    pub fn snapshot(&mut self, entries: &[Entry]) -> io::Result<()> {
        let other = 1 - self.active;
        let generation = self.generation + 1;
        let mut text = Vec::new();
        push_line(&mut text, &Head { generation, entries: entries.len() });
        for entry in entries {
            push_line(&mut text, entry);
        }
        let mut file = &*self.files[other];
        file.seek(SeekFrom::Start(0))?;
        file.set_len(0)?;
        file.write_all(&text)?;
        file.sync_data()?;
        self.pending.clear();
        (self.active, self.generation, self.since_snapshot) = (other, generation, 0);
        Ok(())
    }
}

struct Replayed {
    generation: u64,
    entries: Vec<Entry>,
    good_bytes: u64,
}

/// Reads one file's text; `None` if it holds no whole snapshot.
fn replay(text: &[u8]) -> Option<Replayed> {
    let mut lines = text.split_inclusive(|&byte| byte == b'\n');
    let head_line = lines.next()?;
    let head: Head = read_line(head_line)?;
    let mut good_bytes = head_line.len();
    let mut entries = Vec::new();
    for line in lines {
        let Some(entry) = read_line::<Entry>(line) else { break };
        good_bytes += line.len();
        entries.push(entry);
    }
    let good_bytes = u64::try_from(good_bytes).ok()?;
    (entries.len() >= head.entries).then_some(Replayed { generation: head.generation, entries, good_bytes })
}

/// For the fuzzer: any bytes are read or refused, and what was read is read again alike.
pub fn fuzz(text: &[u8]) {
    if let Some(read) = replay(text) {
        let good = usize::try_from(read.good_bytes).expect("it came from a slice");
        let again = replay(&text[..good]).expect("a good prefix is good");
        assert_eq!(again.entries, read.entries);
    }
}

fn read_all(mut file: &File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(FILE_MAX_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

fn push_line(to: &mut Vec<u8>, value: &impl Serialize) {
    let start = to.len();
    to.extend(b"00000000 ");
    serde_json::to_writer(&mut *to, value).expect("entries are plain data, and memory takes them");
    let sum = crc32(&to[start + 9..]);
    to[start..start + 8].copy_from_slice(format!("{sum:08x}").as_bytes());
    to.push(b'\n');
}

fn read_line<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Option<T> {
    let line = line.strip_suffix(b"\n").filter(|line| line.len() <= LINE_MAX_BYTES)?;
    let (sum, rest) = line.split_at_checked(8)?;
    let json = rest.strip_prefix(b" ")?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    if crc32(json) != sum {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// CRC-32 as in IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        let mut start = 0_u32;
        while at < table.len() {
            let mut value = start;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[at] = value;
            at += 1;
            start += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |sum, &byte| (sum >> 8) ^ TABLE[usize::from(sum.to_le_bytes()[0] ^ byte)])
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    fn open(dir: &std::path::Path) -> (Journal, Vec<Entry>) {
        let file = |name| {
            let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
            options.open(dir.join(name)).unwrap()
        };
        Journal::open([file("a"), file("b")]).unwrap()
    }

    fn lease(number: u8) -> Entry {
        Entry::Lease {
            mac: MacAddr([2, 0, 0, 0, 0, number]),
            ip: Ipv4Addr::new(10, 0, 0, number),
            until: 99,
            hostname: Some("web".into()),
            client_id: None,
        }
    }

    #[test]
    fn what_was_written_is_there_and_a_torn_end_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, found) = open(dir.path());
        assert_eq!(found, []);
        journal.note(&lease(1));
        journal.note(&lease(2));
        journal.write().unwrap().unwrap();
        drop(journal);
        // The first snapshot went to the second file.
        let path = dir.path().join("b");
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, found) = open(dir.path());
            assert!(found.is_empty() || found == [lease(1)], "cut at {cut}: {found:?}");
            journal.note(&lease(3));
            journal.write().unwrap();
            drop(journal);
            assert_eq!(open(dir.path()).1.last(), Some(&lease(3)), "cut at {cut}");
            std::fs::write(dir.path().join("a"), "").unwrap();
        }
    }

    #[test]
    fn a_crash_in_the_middle_of_a_snapshot_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path());
        journal.note(&lease(1));
        journal.write().unwrap();
        journal.snapshot(&[lease(1), lease(2), lease(3)]).unwrap();
        drop(journal);
        let path = dir.path().join("a");
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(open(dir.path()).1, [lease(1), lease(2), lease(3)]);
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let found = replay(&std::fs::read(&path).unwrap()).map(|read| read.entries.len());
            assert_eq!(found, None, "cut at {cut}");
            assert_eq!(open(dir.path()).1, [lease(1)], "the older file is whole");
        }
    }

    #[test]
    fn the_checksum_is_the_well_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
