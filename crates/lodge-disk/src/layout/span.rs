//! Numbers and texts in a slice, each access checked.

use std::io;

use crate::blocks::Blocks;

/// Foreign bytes; what reaches out of them is `None`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span<'a>(pub &'a [u8]);

impl<'a> Span<'a> {
    pub fn sub(self, at: usize, length: usize) -> Option<&'a [u8]> {
        self.0.get(at..at.checked_add(length)?)
    }

    pub fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.sub(at, N)?.try_into().ok()
    }

    pub fn u16_le(self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub fn u32_le(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub fn u64_le(self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    pub fn u32_be(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }

    pub fn u64_be(self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_be_bytes)
    }

    pub fn has(self, at: usize, what: &[u8]) -> bool {
        self.sub(at, what.len()) == Some(what)
    }

    /// The text up to a NUL or the field's end, without spaces at its end; none where nothing is left.
    pub fn label(self, at: usize, length: usize) -> Option<String> {
        let field = self.sub(at, length)?;
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
        let text = String::from_utf8_lossy(&field[..end]);
        let text = text.trim_end();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The UUID there, in the order it is written; one of zeros is none.
    pub fn uuid(self, at: usize) -> Option<String> {
        let uuid = uuid::Uuid::from_bytes(self.array(at)?);
        (!uuid.is_nil()).then(|| uuid.to_string())
    }
}

/// `length` bytes of a device, or fewer at its end.
pub(crate) fn head(device: &dyn Blocks, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let left = usize::try_from(device.bytes().saturating_sub(at)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length.min(left)];
    if !bytes.is_empty() {
        device.read_at(at, &mut bytes)?;
    }
    Ok(bytes)
}
