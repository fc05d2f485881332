//! The 92 bytes at the beginning.

use std::path::Path;

use super::SaveImageError;

/// Bytes of the header.
pub(super) const SIZE: u64 = LENGTH as u64;
/// The same, as a length.
pub(super) const LENGTH: usize = 92;
/// Longest document with its cookie and room: far beyond any, and no reason to take memory for more.
pub(super) const LONGEST_DATA: u32 = 16 << 20;

const WHOLE: &[u8; 16] = b"LibvirtQemudSave";
const PARTIAL: &[u8; 16] = b"LibvirtQemudPart";
const VERSION: u32 = 2;
/// The stream begins at a page, so that it can be written without the host's cache.
const PAGE: u64 = 4096;
/// Room to grow that a document gets, for `save-image-edit` and for a clone's own document.
const ROOM: u64 = 16 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) data_len: u32,
    pub(super) was_running: bool,
    pub(super) cookie_offset: u32,
}

impl Header {
    /// A header for this document; `None` if it is too long.
    pub(super) fn new(xml: &str, was_running: bool) -> Option<Self> {
        let end = SIZE + u64::try_from(xml.len()).ok()? + 1 + ROOM;
        let data_len =
            u32::try_from(end.next_multiple_of(PAGE) - SIZE).ok().filter(|len| *len <= LONGEST_DATA)?;
        Some(Self { data_len, was_running, cookie_offset: 0 })
    }

    pub(super) fn bytes(&self, is_whole: bool) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..16].copy_from_slice(if is_whole { WHOLE } else { PARTIAL });
        let numbers = [VERSION, self.data_len, u32::from(self.was_running), 0, self.cookie_offset];
        for (place, number) in bytes[16..].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }

    pub(super) fn parse(bytes: &[u8; LENGTH], path: &Path) -> Result<Self, SaveImageError> {
        let path = || path.to_owned();
        match bytes.first_chunk() {
            Some(WHOLE) => {}
            Some(PARTIAL) => return Err(SaveImageError::Partial { path: path() }),
            _ => return Err(SaveImageError::NotASave { path: path() }),
        }
        let mut numbers = bytes[16..].chunks_exact(4).map(|four| {
            let mut number = [0; 4];
            number.copy_from_slice(four);
            u32::from_ne_bytes(number)
        });
        let mut next = || numbers.next().unwrap_or(0);
        let (version, data_len, was_running, compressed, cookie_offset) =
            (next(), next(), next(), next(), next());
        if version != VERSION {
            // From a machine of the other byte order it is no version either.
            return Err(SaveImageError::Version { path: path(), found: version });
        }
        if data_len == 0 || data_len > LONGEST_DATA {
            return Err(SaveImageError::Corrupt {
                path: path(),
                reason: "its document has an impossible length",
            });
        }
        let method = match compressed {
            0 => None,
            1 => Some("gzip"),
            2 => Some("bzip2"),
            3 => Some("xz"),
            4 => Some("lzop"),
            5 => Some("zstd"),
            6 => Some("sparse"),
            _ => Some("unknown"),
        };
        match method {
            None => Ok(Self { data_len, was_running: was_running != 0, cookie_offset }),
            Some(method) => Err(SaveImageError::Compressed { path: path(), method }),
        }
    }
}
