//! Bytes of a disk that know where they lay: what is wrong with them names the place.
//!
//! Every number of a structure is fetched here, so nothing indexes by what a guest wrote.

use crate::{blocks::Blocks, fs::FsError};

/// A structure that was read.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    what: &'static str,
    at: u64,
    bytes: Vec<u8>,
}

impl Piece {
    /// Reads `length` bytes at `at`. The caller has bounded `length`.
    pub(crate) fn read(
        blocks: &dyn Blocks,
        what: &'static str,
        at: u64,
        length: usize,
    ) -> Result<Self, FsError> {
        let mut bytes = vec![0; length];
        fill(blocks, what, at, &mut bytes)?;
        Ok(Self { what, at, bytes })
    }

    /// Bytes that were read already.
    pub(crate) fn new(what: &'static str, at: u64, bytes: Vec<u8>) -> Self {
        Self { what, at, bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What is wrong at `offset`.
    pub(crate) fn damaged(&self, offset: usize, wrong: &str) -> FsError {
        FsError::Damaged {
            what: format!("{}: {wrong}", self.what),
            at: self.at.saturating_add(offset as u64),
        }
    }

    /// The bytes from `offset` on.
    pub(crate) fn slice(&self, offset: usize, length: usize) -> Result<&[u8], FsError> {
        offset
            .checked_add(length)
            .and_then(|end| self.bytes.get(offset..end))
            .ok_or_else(|| self.damaged(offset.min(self.bytes.len()), "it ends too early"))
    }

    /// A structure inside this one.
    pub(crate) fn part(&self, what: &'static str, offset: usize, length: usize) -> Result<Self, FsError> {
        let bytes = self.slice(offset, length)?.to_vec();
        Ok(Self { what, at: self.at.saturating_add(offset as u64), bytes })
    }

    fn array<const N: usize>(&self, offset: usize) -> Result<[u8; N], FsError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(offset, N)?);
        Ok(array)
    }

    pub(crate) fn byte(&self, offset: usize) -> Result<u8, FsError> {
        Ok(self.array::<1>(offset)?[0])
    }

    pub(crate) fn be16(&self, offset: usize) -> Result<u16, FsError> {
        self.array(offset).map(u16::from_be_bytes)
    }

    pub(crate) fn be32(&self, offset: usize) -> Result<u32, FsError> {
        self.array(offset).map(u32::from_be_bytes)
    }

    pub(crate) fn be64(&self, offset: usize) -> Result<u64, FsError> {
        self.array(offset).map(u64::from_be_bytes)
    }

    pub(crate) fn le16(&self, offset: usize) -> Result<u16, FsError> {
        self.array(offset).map(u16::from_le_bytes)
    }

    pub(crate) fn le32(&self, offset: usize) -> Result<u32, FsError> {
        self.array(offset).map(u32::from_le_bytes)
    }

    pub(crate) fn le64(&self, offset: usize) -> Result<u64, FsError> {
        self.array(offset).map(u64::from_le_bytes)
    }

    /// A UUID as it is printed.
    pub(crate) fn uuid(&self, offset: usize) -> Result<String, FsError> {
        Ok(uuid::Uuid::from_bytes(self.array(offset)?).to_string())
    }

    /// A label: up to the first NUL; none where it is empty.
    pub(crate) fn label(&self, offset: usize, length: usize) -> Result<Option<String>, FsError> {
        let bytes = self.slice(offset, length)?.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok((!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned()))
    }
}

/// Fills `into` from `at` on; what lies beyond the disk's end is the file system's lie, not the disk's failure.
pub(crate) fn fill(blocks: &dyn Blocks, what: &'static str, at: u64, into: &mut [u8]) -> Result<(), FsError> {
    if at.checked_add(into.len() as u64).is_none_or(|end| end > blocks.bytes()) {
        return Err(FsError::Damaged { what: format!("{what}: it lies beyond the end of the device"), at });
    }
    Ok(blocks.read_at(at, into)?)
}

/// Zeros for what a read will fill. `length` is the asker's limit, or a file's size below it.
pub(crate) fn zeros(length: usize) -> Result<Vec<u8>, FsError> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| FsError::TooMany(length))?;
    bytes.resize(length, 0);
    Ok(bytes)
}

/// How much of a file of `size` bytes a read of `most` at `offset` gives.
pub(crate) fn within(size: u64, offset: u64, most: usize) -> usize {
    usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(most)
}

/// A directory may hold no such name, and no path could ask for it.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.contains(&b'/') && !name.contains(&0)
}
