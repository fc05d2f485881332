//! A device as a stream with a place in it, for crates that want `Read`, `Write` and `Seek`.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    sync::Arc,
};

use crate::blocks::Blocks;

/// Reads and writes from its place on; its end is the device's.
#[derive(Debug, Clone)]
pub struct Stream {
    of: Arc<dyn Blocks>,
    at: u64,
}

impl Stream {
    /// At the device's beginning.
    pub fn new(of: Arc<dyn Blocks>) -> Self {
        Self { of, at: 0 }
    }

    fn left(&self, wanted: usize) -> usize {
        usize::try_from(self.of.bytes().saturating_sub(self.at)).unwrap_or(usize::MAX).min(wanted)
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.left(into.len());
        self.of.read_at(self.at, &mut into[..count])?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.left(bytes.len());
        self.of.write_at(self.at, &bytes[..count])?;
        self.at += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.of.flush()
    }
}

impl Seek for Stream {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.of.bytes().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
