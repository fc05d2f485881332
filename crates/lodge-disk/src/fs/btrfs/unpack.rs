//! Compressed extents. What comes out is never longer than asked; if shorter, zeros follow.

use std::io::Read;

use super::lzo;
use crate::fs::FsError;

/// How an extent is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Zlib,
    Lzo,
    Zstd,
}

/// btrfs's own windows are at most 128 KiB.
const ZSTD_WINDOW_LOG: u32 = 20;

impl Packing {
    pub(super) fn new(number: u8) -> Result<Self, FsError> {
        match number {
            0 => Ok(Self::Plain),
            1 => Ok(Self::Zlib),
            2 => Ok(Self::Lzo),
            3 => Ok(Self::Zstd),
            other => Err(FsError::Unsupported(format!("btrfs compression of kind {other}"))),
        }
    }
}

/// Unpacks to `length` bytes, which the caller has bounded.
pub(super) fn unpack(
    packing: Packing,
    packed: &[u8],
    length: usize,
    sector_bytes: u32,
) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(length);
    match packing {
        Packing::Plain => bytes.extend_from_slice(packed.get(..length).unwrap_or(packed)),
        Packing::Zlib => {
            let zlib = flate2::read::ZlibDecoder::new(packed);
            zlib.take(length as u64).read_to_end(&mut bytes).map_err(|error| format!("zlib: {error}"))?;
        }
        Packing::Zstd => {
            let mut zstd = zstd::stream::read::Decoder::with_buffer(packed)
                .map_err(|error| format!("zstd: {error}"))?
                .single_frame();
            zstd.window_log_max(ZSTD_WINDOW_LOG).map_err(|error| format!("zstd: {error}"))?;
            zstd.take(length as u64).read_to_end(&mut bytes).map_err(|error| format!("zstd: {error}"))?;
        }
        Packing::Lzo => segments(packed, length, sector_bytes, &mut bytes)?,
    }
    bytes.resize(length, 0);
    Ok(bytes)
}

/// LZO comes in segments of one sector each: a total length, then for each its length and itself. A segment's length
/// never crosses the end of a sector.
fn segments(packed: &[u8], length: usize, sector_bytes: u32, bytes: &mut Vec<u8>) -> Result<(), String> {
    const WORD: usize = 4;
    let word = |at: usize| {
        let bytes = packed.get(at..at.saturating_add(WORD))?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let early = || "lzo: it ends too early".to_owned();
    let sector = sector_bytes as usize;
    let end = word(0).ok_or_else(early)?.min(packed.len());
    let mut at = WORD;
    while at < end && bytes.len() < length {
        let left = sector - at % sector;
        if left < WORD {
            at += left;
            continue;
        }
        let segment = word(at).ok_or_else(early)?;
        let from = at + WORD;
        let to = from.checked_add(segment).ok_or_else(early)?;
        let room = sector.min(length - bytes.len());
        lzo::unpack(packed.get(from..to).ok_or_else(early)?, room, bytes)?;
        at = to;
    }
    Ok(())
}
