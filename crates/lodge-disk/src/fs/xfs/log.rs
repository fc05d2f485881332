//! Whether the log has anything that was not yet carried out.
//!
//! The log is a ring of 512-byte blocks. Each begins with the number of the round in which it was written, but for a
//! record's header, which has it in its second word. So the head is where the numbers change, and a log is clean if
//! the last record before the head is the note of an unmount.

use crate::fs::{FsError, piece::Piece};

use super::superblock::Volume;

/// What a log says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    Clean,
    Dirty,
    Elsewhere,
}

const BLOCK: u64 = 512;
const HEADER_MAGIC: u32 = 0xfeed_babe;
/// A record is at most 256 KiB and its headers.
const RECORD_BLOCKS: u64 = 512 + 16;
/// How much of a record one header block describes.
const DESCRIBED: u64 = 32 << 10;
const UNMOUNT: u8 = 0x20;

pub(super) fn state(volume: &Volume) -> Result<State, FsError> {
    if volume.log_start == 0 {
        return Ok(State::Elsewhere);
    }
    let log = Log::find(volume)?;
    let first = log.round(0)?;
    if first == 0 {
        // Never written, as some tools make it.
        return Ok(State::Clean);
    }
    let head = log.head(first)?;
    let Some(record) = log.last_record(head)? else { return Ok(State::Dirty) };
    let header = log.block(record)?;
    let bytes = u64::from(header.be32(12)?);
    let version = header.be32(8)?;
    let headers = if version & 2 == 0 { 1 } else { u64::from(header.be32(320)?).div_ceil(DESCRIBED).max(1) };
    let end = record + headers + bytes.div_ceil(BLOCK);
    if header.be32(40)? != 1 || end % log.blocks != head {
        return Ok(State::Dirty);
    }
    let operation = log.block((record + headers) % log.blocks)?;
    Ok(if operation.byte(9)? & UNMOUNT == 0 { State::Dirty } else { State::Clean })
}

struct Log<'a> {
    volume: &'a Volume,
    at: u64,
    blocks: u64,
}

impl<'a> Log<'a> {
    fn find(volume: &'a Volume) -> Result<Self, FsError> {
        let count = u64::from(volume.log_blocks);
        let at = volume.place(volume.log_start, count).filter(|_| count > 0).ok_or_else(|| {
            FsError::Damaged { what: "XFS log: it lies outside its allocation group".to_owned(), at: 48 }
        })?;
        Ok(Self { volume, at, blocks: count * volume.block_bytes as u64 / BLOCK })
    }

    fn block(&self, number: u64) -> Result<Piece, FsError> {
        Piece::read(&*self.volume.blocks, "XFS log", self.at + number * BLOCK, 512)
    }

    fn round(&self, number: u64) -> Result<u32, FsError> {
        let block = self.block(number)?;
        let word = block.be32(0)?;
        if word == HEADER_MAGIC { block.be32(4) } else { Ok(word) }
    }

    /// The block after the one that was written last: the first of another round than the first block's.
    fn head(&self, first: u32) -> Result<u64, FsError> {
        if self.round(self.blocks - 1)? == first {
            return Ok(0);
        }
        let (mut same, mut other) = (0, self.blocks - 1);
        while other - same > 1 {
            let middle = same + (other - same) / 2;
            if self.round(middle)? == first { same = middle } else { other = middle }
        }
        Ok(other)
    }

    /// The header of the record that ends at `head`.
    fn last_record(&self, head: u64) -> Result<Option<u64>, FsError> {
        for back in 1..=RECORD_BLOCKS.min(self.blocks) {
            let number = (head + self.blocks - back) % self.blocks;
            if self.block(number)?.be32(0)? == HEADER_MAGIC {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }
}
