//! Writes a qcow2 from front to back: data as it comes, tables as they fill up, counts and header at the end.
//!
//! ```text
//!  (header) │ data, L2 tables … │ L1 table │ refcount blocks │ refcount table
//! ```
//! Why not imago: it writes no compressed clusters, and a file that is written once, in order, needs none of the
//! caches and none of the read-modify-write that a disk in use does. What is written here is read back by `qemu-img`
//! and by imago in the tests. Layout: QEMU's docs/interop/qcow2.txt.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use super::pack::Compression;
use crate::vol::new_qcow2::Blank;

const COPIED: u64 = 1 << 63;
const PACKED: u64 = 1 << 62;
const READS_AS_ZERO: u64 = 1;
const SECTOR_BITS: u32 = 9;
/// Bytes of an entry of L1, L2 and the refcount table.
const ENTRY_BYTES: u64 = 8;
/// Of a count of 16 bits.
const COUNT_BYTES: u64 = 2;
const INCOMPATIBLE_COMPRESSION: u64 = 1 << 3;
/// Header fields that are known at the end.
const REFCOUNT_TABLE_AT: usize = 48;
const INCOMPATIBLE_AT: usize = 72;
const COMPRESSION_AT: usize = 104;

/// A qcow2 being written. Guest offsets must rise.
pub(crate) struct Qcow2Writer<'a> {
    file: &'a File,
    blank: Blank,
    compression: Option<Compression>,
    cluster_bits: u32,
    l1: Vec<u64>,
    /// The table that is being filled, and which of L1 it is.
    l2: Vec<u64>,
    l2_number: usize,
    /// References to each cluster of the file; its length is the file's, in clusters.
    counts: Vec<u16>,
    /// Where the last compressed cluster ended.
    packed_end: u64,
}

impl<'a> Qcow2Writer<'a> {
    /// Begins an image in an empty file. `blank` says its size, clusters and what it stands on.
    pub fn begin(file: &'a File, blank: Blank, compression: Option<Compression>) -> io::Result<Self> {
        let bad = |fault| io::Error::new(io::ErrorKind::InvalidInput, fault);
        blank.layout().map_err(bad)?;
        let cluster_bits = blank.cluster_bytes.trailing_zeros();
        let l2_entries = blank.cluster_bytes / ENTRY_BYTES;
        let l1_entries = blank.virtual_bytes.div_ceil(blank.cluster_bytes * l2_entries);
        Ok(Self {
            file,
            compression,
            cluster_bits,
            l1: vec![0; index(l1_entries)?],
            l2: vec![0; index(l2_entries)?],
            l2_number: 0,
            // The header's.
            counts: vec![1],
            packed_end: 0,
            blank,
        })
    }

    /// Whole clusters of data; only the disk's last may be cut short.
    pub fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let cluster_bytes = self.blank.cluster_bytes;
        let mut rest = bytes;
        let mut guest = at;
        while !rest.is_empty() {
            // Up to the end of the L2 table, so that the data of one run lies in one piece.
            let slot = self.slot(guest)?;
            let room = (self.l2.len() - slot) as u64 * cluster_bytes;
            let (now, later) = rest.split_at(rest.len().min(index(room)?));
            let clusters = (now.len() as u64).div_ceil(cluster_bytes);
            let host = self.take(clusters, 1)?;
            self.file.write_all_at(now, host)?;
            for (number, entry) in self.l2[slot..].iter_mut().take(index(clusters)?).enumerate() {
                *entry = (host + number as u64 * cluster_bytes) | COPIED;
            }
            (rest, guest) = (later, guest + now.len() as u64);
        }
        Ok(())
    }

    /// One compressed cluster.
    pub fn put_packed(&mut self, at: u64, packed: &[u8]) -> io::Result<()> {
        let slot = self.slot(at)?;
        let length = packed.len() as u64;
        let host = self.place_packed(length)?;
        self.file.write_all_at(packed, host)?;
        self.packed_end = host + length;
        let last = self.packed_end - 1;
        for cluster in host >> self.cluster_bits..=last >> self.cluster_bits {
            self.counts[index(cluster)?] += 1;
        }
        let more_sectors = (last >> SECTOR_BITS) - (host >> SECTOR_BITS);
        self.l2[slot] = PACKED | more_sectors << (62 - (self.cluster_bits - 8)) | host;
        Ok(())
    }

    /// A cluster that reads as zeros, whatever the image stands on. Without a backing file nothing says so.
    pub fn put_zero(&mut self, at: u64) -> io::Result<()> {
        if self.blank.backing.is_none() {
            return Ok(());
        }
        if self.blank.version < 3 {
            // Version 2 has no word for it.
            return self.put(at, &vec![0; index(self.blank.cluster_bytes)?]);
        }
        let slot = self.slot(at)?;
        self.l2[slot] = READS_AS_ZERO;
        Ok(())
    }

    /// The file, and where it ends by now.
    pub fn end(&self) -> (&'a File, u64) {
        (self.file, (self.counts.len() as u64) << self.cluster_bits)
    }

    /// Writes the tables and, last, the header.
    pub fn finish(mut self) -> io::Result<()> {
        self.end_l2()?;
        let cluster_bytes = self.blank.cluster_bytes;
        let l1_bytes = self.l1.len() as u64 * ENTRY_BYTES;
        let l1_at = self.take(l1_bytes.div_ceil(cluster_bytes), 1)?;
        self.file.write_all_at(&big_endian(&self.l1), l1_at)?;

        let (blocks, table_clusters) = refcounts(self.counts.len() as u64, cluster_bytes);
        let blocks_at = self.take(blocks, 1)?;
        let table_at = self.take(table_clusters, 1)?;
        let counts: Vec<u8> = self.counts.iter().flat_map(|count| count.to_be_bytes()).collect();
        self.file.write_all_at(&counts, blocks_at)?;
        let table: Vec<u64> = (0..blocks).map(|block| blocks_at + block * cluster_bytes).collect();
        self.file.write_all_at(&big_endian(&table), table_at)?;
        self.file.set_len(self.counts.len() as u64 * cluster_bytes)?;

        let bad = |fault| io::Error::new(io::ErrorKind::InvalidInput, fault);
        let mut header = self.blank.header(self.l1.len() as u64, l1_at, table_clusters).map_err(bad)?;
        header[REFCOUNT_TABLE_AT..][..8].copy_from_slice(&table_at.to_be_bytes());
        if self.compression == Some(Compression::Zstd) {
            header[INCOMPATIBLE_AT..][..8].copy_from_slice(&INCOMPATIBLE_COMPRESSION.to_be_bytes());
            header[COMPRESSION_AT] = 1;
        }
        self.file.write_all_at(&header, 0)
    }

    /// The entry of a guest cluster in the table being filled, which is written out when its part of the disk is over.
    fn slot(&mut self, at: u64) -> io::Result<usize> {
        let cluster = index(at >> self.cluster_bits)?;
        let (number, slot) = (cluster / self.l2.len(), cluster % self.l2.len());
        if number >= self.l1.len() || number < self.l2_number {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "clusters out of order"));
        }
        if number != self.l2_number {
            self.end_l2()?;
            self.l2_number = number;
        }
        Ok(slot)
    }

    fn end_l2(&mut self) -> io::Result<()> {
        if self.l2.iter().all(|entry| *entry == 0) {
            return Ok(());
        }
        let at = self.take(1, 1)?;
        self.file.write_all_at(&big_endian(&self.l2), at)?;
        if let Some(entry) = self.l1.get_mut(self.l2_number) {
            *entry = at | COPIED;
        }
        self.l2.fill(0);
        Ok(())
    }

    /// Room at the file's end.
    fn take(&mut self, clusters: u64, count: u16) -> io::Result<u64> {
        let at = (self.counts.len() as u64) << self.cluster_bits;
        self.counts.resize(self.counts.len() + index(clusters)?, count);
        Ok(at)
    }

    /// Room for compressed bytes: behind the last ones if they end in the midst of a cluster and what is too much for
    /// that cluster can follow it.
    fn place_packed(&mut self, length: u64) -> io::Result<u64> {
        let cluster_bytes = self.blank.cluster_bytes;
        let room = self.packed_end.next_multiple_of(cluster_bytes) - self.packed_end;
        let is_last = self.packed_end.div_ceil(cluster_bytes) == self.counts.len() as u64;
        let is_full = room == 0 || self.counts[index(self.packed_end >> self.cluster_bits)?] == u16::MAX;
        if is_full || length > room && !is_last {
            return self.take(length.div_ceil(cluster_bytes), 0);
        }
        self.take(length.saturating_sub(room).div_ceil(cluster_bytes), 0)?;
        Ok(self.packed_end)
    }
}

/// Refcount blocks and clusters of their table, for a file of so many clusters and themselves.
fn refcounts(clusters: u64, cluster_bytes: u64) -> (u64, u64) {
    let (mut blocks, mut table) = (1, 1);
    // Each round needs at least as much as the one before; what it counts grows a hundredfold faster.
    loop {
        let all = clusters + blocks + table;
        let needed = all.div_ceil(cluster_bytes / COUNT_BYTES);
        let needed_table = (needed * ENTRY_BYTES).div_ceil(cluster_bytes);
        if (needed, needed_table) == (blocks, table) {
            return (blocks, table);
        }
        (blocks, table) = (needed.max(blocks), needed_table.max(table));
    }
}

fn big_endian(entries: &[u64]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_be_bytes()).collect()
}

fn index(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(io::Error::other)
}
