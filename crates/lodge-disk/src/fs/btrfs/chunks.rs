//! Chunks: from the addresses that trees use to places on the device.

use std::collections::BTreeMap;

use crate::fs::{FsError, piece::Piece};

use super::limits;

/// All chunks, by their first address.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    by_start: BTreeMap<u64, Chunk>,
}

#[derive(Debug)]
struct Chunk {
    length: u64,
    /// Where each copy begins on the device.
    copies: Vec<u64>,
}

const STRIPE_BYTES: usize = 32;
const COPIES_MOST: usize = 16;
/// Profiles that divide a chunk among its stripes.
const STRIPED: [(u64, &str); 4] =
    [(1 << 3, "RAID0"), (1 << 6, "RAID10"), (1 << 7, "RAID5"), (1 << 8, "RAID6")];

impl Chunks {
    /// Adds the chunk at `start` that is described at `offset`. The answer is the description's length.
    pub(super) fn add(
        &mut self,
        start: u64,
        piece: &Piece,
        offset: usize,
        device: u64,
    ) -> Result<usize, FsError> {
        let (length, kind) = (piece.le64(offset)?, piece.le64(offset + 24)?);
        let stripes = usize::from(piece.le16(offset + 44)?);
        if length == 0 || start.checked_add(length).is_none() || stripes == 0 {
            return Err(piece.damaged(offset, "no such chunk"));
        }
        if let Some((_, name)) = STRIPED.iter().find(|(bit, _)| kind & bit != 0 && stripes > 1) {
            return Err(FsError::Unsupported(format!("a btrfs with {name}")));
        }
        let mut copies = Vec::new();
        for stripe in 0..stripes {
            let at = offset + 48 + stripe * STRIPE_BYTES;
            let place = piece.le64(at + 8)?;
            if place.checked_add(length).is_none() {
                return Err(piece.damaged(at, "a chunk lies beyond all devices"));
            }
            if piece.le64(at)? == device && copies.len() < COPIES_MOST {
                copies.push(place);
            }
        }
        if self.by_start.len() >= limits::CHUNKS {
            return Err(FsError::TooMany(limits::CHUNKS));
        }
        self.by_start.insert(start, Chunk { length, copies });
        Ok(48 + stripes * STRIPE_BYTES)
    }

    /// Where the copies of these bytes lie. Never none.
    pub(super) fn places(&self, address: u64, length: u64) -> Result<Vec<u64>, FsError> {
        let damaged =
            |what: &str| FsError::Damaged { what: format!("btrfs address {address:#x}: {what}"), at: 0 };
        let (start, chunk) =
            self.by_start.range(..=address).next_back().ok_or_else(|| damaged("in no chunk"))?;
        let within = address - start;
        if within.checked_add(length).is_none_or(|end| end > chunk.length) {
            return Err(damaged("in no chunk"));
        }
        if chunk.copies.is_empty() {
            return Err(FsError::Unsupported("a btrfs whose chunks are on another device".to_owned()));
        }
        Ok(chunk.copies.iter().map(|place| place + within).collect())
    }
}
