//! A window on a device: a partition, a linear logical volume.

use std::{io, sync::Arc};

use super::is_inside;
use crate::blocks::Blocks;

/// A run of another's bytes, with its own beginning.
#[derive(Debug, Clone)]
pub struct Part {
    of: Arc<dyn Blocks>,
    start: u64,
    bytes: u64,
}

impl Part {
    /// `bytes` of `of` from `start` on; all of it must be there.
    pub fn new(of: Arc<dyn Blocks>, start: u64, bytes: u64) -> io::Result<Self> {
        if start.checked_add(bytes).is_none_or(|end| end > of.bytes()) {
            let end = of.bytes();
            let text = format!("{bytes} bytes at {start} reach beyond the device's end at {end}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(Self { of, start, bytes })
    }
}

impl Blocks for Part {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        is_inside(offset, into.len(), self.bytes)?;
        self.of.read_at(self.start + offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        is_inside(offset, bytes.len(), self.bytes)?;
        self.of.write_at(self.start + offset, bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.of.flush()
    }
}
