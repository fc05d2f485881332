//! What the tests of this room share.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use crate::blocks::Blocks;

/// A disk in memory.
#[derive(Debug)]
pub(crate) struct Memory(Mutex<Vec<u8>>);

impl Memory {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Mutex::new(bytes))
    }

    pub fn all(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Blocks for Memory {
    fn bytes(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let end = at.checked_add(into.len()).filter(|end| *end <= all.len());
        into.copy_from_slice(&all[at..end.ok_or(io::ErrorKind::UnexpectedEof)?]);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let end = at.checked_add(bytes.len()).filter(|end| *end <= all.len());
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        all[at..end].copy_from_slice(bytes);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
