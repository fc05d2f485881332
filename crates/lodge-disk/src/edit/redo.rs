//! What was written, kept beside the disk until all of it is known to be good.
//!
//! Tools work on a [`Redo`], which reads through to the disk and keeps what they write in memory: the image has not one
//! byte of a work that failed half-way. What came of it is a list of [`Run`]s to be written at the end. A few megabytes
//! of changes are an identity; more than [`CHANGED_MAX_BYTES`] are refused.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, PoisonError},
};

use crate::blocks::Blocks;

/// The most that may change on one disk.
pub(crate) const CHANGED_MAX_BYTES: usize = 512 << 20;
/// The unit of what is kept.
const BLOCK: usize = 4096;

/// A disk with changes beside it.
#[derive(Debug)]
pub struct Redo {
    below: Arc<dyn Blocks>,
    changed: Mutex<HashMap<u64, Box<[u8; BLOCK]>>>,
    blocks_max: usize,
}

/// Bytes that belong at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Where.
    pub offset: u64,
    /// What.
    pub bytes: Vec<u8>,
}

impl Redo {
    /// Without any change so far.
    pub fn new(below: Arc<dyn Blocks>) -> Self {
        Self::bounded(below, CHANGED_MAX_BYTES)
    }

    fn bounded(below: Arc<dyn Blocks>, changed_max_bytes: usize) -> Self {
        Self { below, changed: Mutex::default(), blocks_max: changed_max_bytes / BLOCK }
    }

    /// What was changed, in the order of the disk, neighbours together.
    pub fn runs(&self) -> Vec<Run> {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let sorted: BTreeMap<u64, _> =
            changed.iter().collect::<BTreeMap<_, _>>().into_iter().map(|(n, b)| (*n, b)).collect();
        let mut runs: Vec<Run> = Vec::new();
        for (number, block) in sorted {
            let offset = number * BLOCK as u64;
            let count = self.within(offset);
            match runs.last_mut() {
                Some(run) if run.offset + run.bytes.len() as u64 == offset => {
                    run.bytes.extend_from_slice(&block[..count]);
                }
                _ => runs.push(Run { offset, bytes: block[..count].to_vec() }),
            }
        }
        runs
    }

    /// How much of the block at `offset` lies on the disk: the last one may stick out.
    fn within(&self, offset: u64) -> usize {
        usize::try_from(self.below.bytes().saturating_sub(offset)).unwrap_or(BLOCK).min(BLOCK)
    }

    fn check(&self, offset: u64, count: usize) -> io::Result<()> {
        match offset.checked_add(count as u64) {
            Some(end) if end <= self.below.bytes() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The pieces of `count` bytes from `offset` on: block, where in it, how many.
fn pieces(offset: u64, count: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        // Less than a block.
        let inside = usize::try_from(at % BLOCK as u64).unwrap_or(0);
        let size = (BLOCK - inside).min(count - done);
        done += size;
        (size > 0).then_some((at / BLOCK as u64, inside, size))
    })
}

impl Blocks for Redo {
    fn bytes(&self) -> u64 {
        self.below.bytes()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.check(offset, into.len())?;
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_all_new = pieces(offset, into.len()).all(|(number, ..)| changed.contains_key(&number));
        if !is_all_new {
            self.below.read_at(offset, into)?;
        }
        let mut rest = into;
        for (number, inside, size) in pieces(offset, rest.len()) {
            let (piece, after) = rest.split_at_mut(size);
            if let Some(block) = changed.get(&number) {
                piece.copy_from_slice(&block[inside..inside + size]);
            }
            rest = after;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check(offset, bytes.len())?;
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = bytes;
        for (number, inside, size) in pieces(offset, bytes.len()) {
            let (piece, after) = rest.split_at(size);
            rest = after;
            if let Some(block) = changed.get_mut(&number) {
                block[inside..inside + size].copy_from_slice(piece);
                continue;
            }
            if changed.len() >= self.blocks_max {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "more changes than an edit may make"));
            }
            let mut block = Box::new([0; BLOCK]);
            let start = number * BLOCK as u64;
            let there = self.within(start);
            if size < there {
                self.below.read_at(start, &mut block[..there])?;
            }
            block[inside..inside + size].copy_from_slice(piece);
            changed.insert(number, block);
        }
        Ok(())
    }

    /// Nothing is durable before the end.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes runs to the disk itself, and waits until they are there to stay.
pub(crate) fn write_back(disk: &dyn Blocks, runs: &[Run]) -> io::Result<()> {
    for run in runs {
        disk.write_at(run.offset, &run.bytes)?;
    }
    disk.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    #[test]
    fn the_disk_is_as_it_was_until_the_runs_are_written() {
        let disk = Arc::new(Memory::new(vec![1; 3 * BLOCK + 100]));
        let redo = Redo::new(disk.clone());
        redo.write_at(BLOCK as u64 - 2, &[2; 4]).unwrap();
        redo.write_at(3 * BLOCK as u64 + 90, &[3; 10]).unwrap();
        redo.write_at(BLOCK as u64, &[4]).unwrap();
        let mut seen = vec![0; 3 * BLOCK + 100];
        redo.read_at(0, &mut seen).unwrap();
        assert!(disk.all() == vec![1; 3 * BLOCK + 100]);
        let runs = redo.runs();
        let places: Vec<_> = runs.iter().map(|run| (run.offset, run.bytes.len())).collect();
        assert_eq!(places, [(0, 2 * BLOCK), (3 * BLOCK as u64, 100)]);
        write_back(&*disk, &runs).unwrap();
        assert!(disk.all() == seen);
        assert_eq!(seen[BLOCK - 3..BLOCK + 3], [1, 2, 2, 4, 2, 1]);
        assert_eq!(seen[3 * BLOCK + 89..3 * BLOCK + 92], [1, 3, 3]);
    }

    #[test]
    fn nothing_beyond_the_end_or_the_bound() {
        let disk = Arc::new(Memory::new(vec![0; 10 * BLOCK]));
        let redo = Redo::bounded(disk, 2 * BLOCK);
        assert!(redo.write_at(10 * BLOCK as u64 - 1, &[1, 1]).is_err());
        assert!(redo.read_at(u64::MAX, &mut [0; 2]).is_err());
        redo.write_at(5, &[1; BLOCK]).unwrap();
        let error = redo.write_at(5 * BLOCK as u64, &[1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(redo.write_at(9, &[1]).is_ok());
    }
}
