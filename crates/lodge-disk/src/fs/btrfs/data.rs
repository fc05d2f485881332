//! A file's bytes: extents in order, in the tree itself or elsewhere, plain or compressed; between them holes.

use crate::fs::{
    FsError,
    piece::{self, Piece},
};

use super::{
    limits,
    subvolume::Tree,
    tree::{EXTENT_DATA, Key, Volume},
    unpack::{self, Packing},
};

const INLINE: u8 = 0;
const REGULAR: u8 = 1;
const PREALLOCATED: u8 = 2;
const INLINE_HEADER: usize = 21;

/// Fills `into`, which holds zeros, with the file's bytes from `offset` on.
pub(super) fn read(
    volume: &Volume,
    tree: &Tree,
    number: u64,
    offset: u64,
    into: &mut [u8],
) -> Result<(), FsError> {
    if into.is_empty() {
        return Ok(());
    }
    let end = offset.saturating_add(into.len() as u64);
    let at = Key::new(number, EXTENT_DATA, offset);
    let before = volume.key_before(tree.root, at)?;
    // The extent that begins before the offset may reach over it.
    let first = before.filter(|key| key.object == number && key.kind == EXTENT_DATA).unwrap_or(at);
    let range = first..=Key::new(number, EXTENT_DATA, end - 1);
    let mut wanted = Wanted { volume, offset, into, unpacked: (0, Vec::new()) };
    let mut last_end = 0;
    volume.items(tree.root, &range, &mut |key, item| {
        if key.offset < last_end {
            return Err(item.damaged(0, "extents overlap"));
        }
        let length = wanted.extent(key.offset, item)?;
        last_end = key
            .offset
            .checked_add(length)
            .ok_or_else(|| item.damaged(0, "an extent ends beyond all files"))?;
        Ok(true)
    })
}

struct Wanted<'a> {
    volume: &'a Volume,
    offset: u64,
    into: &'a mut [u8],
    /// The compressed extent that was unpacked last and its address: of many a file uses several pieces.
    unpacked: (u64, Vec<u8>),
}

impl Wanted<'_> {
    /// Copies what is wanted of the extent that begins at the file's byte `start`. The answer is its length.
    fn extent(&mut self, start: u64, item: &Piece) -> Result<u64, FsError> {
        if item.byte(17)? != 0 || item.le16(18)? != 0 {
            return Err(FsError::Unsupported("encrypted files of a btrfs".to_owned()));
        }
        let (unpacked, packing) = (item.le64(8)?, Packing::new(item.byte(16)?)?);
        if packing != Packing::Plain && unpacked > limits::PACKED_BYTES {
            return Err(item.damaged(8, "a compressed extent that is too large"));
        }
        let sector = self.volume.superblock.sector_bytes;
        match item.byte(20)? {
            INLINE => {
                let bytes = item.slice(INLINE_HEADER, item.len().saturating_sub(INLINE_HEADER))?;
                let bytes = if packing == Packing::Plain {
                    bytes.to_vec()
                } else {
                    let length = piece::within(unpacked, 0, usize::MAX);
                    unpack::unpack(packing, bytes, length, sector).map_err(|what| item.damaged(21, &what))?
                };
                self.copy(start, &bytes, 0);
                Ok(bytes.len() as u64)
            }
            kind @ (REGULAR | PREALLOCATED) => {
                let length = item.le64(45)?;
                if length == 0 || !length.is_multiple_of(u64::from(sector)) {
                    return Err(item.damaged(45, "no such length of an extent"));
                }
                let address = item.le64(21)?;
                if kind == REGULAR && address != 0 {
                    self.elsewhere(start, length, address, packing, item)?;
                }
                Ok(length)
            }
            _ => Err(item.damaged(20, "no such kind of extent")),
        }
    }

    fn elsewhere(
        &mut self,
        start: u64,
        length: u64,
        address: u64,
        packing: Packing,
        item: &Piece,
    ) -> Result<(), FsError> {
        let (stored, skipped) = (item.le64(29)?, item.le64(37)?);
        let end = self.offset.saturating_add(self.into.len() as u64);
        let (from, to) = (start.max(self.offset), start.saturating_add(length).min(end));
        if from >= to {
            return Ok(());
        }
        let skip = skipped
            .checked_add(from - start)
            .ok_or_else(|| item.damaged(37, "it begins beyond all extents"))?;
        if packing == Packing::Plain {
            if skip.checked_add(to - from).is_none_or(|end| end > stored) {
                return Err(item.damaged(29, "a file wants more of an extent than there is"));
            }
            let place = address
                .checked_add(skip)
                .ok_or_else(|| item.damaged(21, "an extent lies beyond all addresses"))?;
            let within = |at: u64| usize::try_from(at - self.offset).unwrap_or(usize::MAX);
            let (first, last) = (within(from), within(to));
            if let Some(part) = self.into.get_mut(first..last) {
                self.volume.fill("btrfs extent", place, part)?;
            }
            return Ok(());
        }
        let unpacked = item.le64(8)?;
        if stored > limits::PACKED_BYTES || skip.checked_add(to - from).is_none_or(|end| end > unpacked) {
            return Err(item.damaged(29, "no such compressed extent"));
        }
        let length = piece::within(unpacked, 0, usize::MAX);
        if self.unpacked.0 != address || self.unpacked.1.len() != length {
            let mut packed = vec![0; piece::within(stored, 0, usize::MAX)];
            self.volume.fill("btrfs extent", address, &mut packed)?;
            let bytes = unpack::unpack(packing, &packed, length, self.volume.superblock.sector_bytes)
                .map_err(|what| FsError::Damaged { what: format!("btrfs extent: {what}"), at: address })?;
            self.unpacked = (address, bytes);
        }
        let bytes = std::mem::take(&mut self.unpacked.1);
        self.copy(from, &bytes, skip);
        self.unpacked.1 = bytes;
        Ok(())
    }

    /// Copies `bytes`, without the first `skip` of them, to the file's byte `start` as far as that is wanted.
    fn copy(&mut self, start: u64, bytes: &[u8], skip: u64) {
        let skip = skip.saturating_add(self.offset.saturating_sub(start));
        let bytes = usize::try_from(skip).ok().and_then(|skip| bytes.get(skip..)).unwrap_or_default();
        let to = usize::try_from(start.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        if let Some(room) = self.into.get_mut(to..) {
            let length = room.len().min(bytes.len());
            room[..length].copy_from_slice(&bytes[..length]);
        }
    }
}
