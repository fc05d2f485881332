//! The redo log: all that an edit is about to write, in one file, before it is written.
//!
//! ```text
//!  magic · disks u32 · size of each u64 · { 1u8 · disk u32 · offset u64 · length u32 · bytes }* · 0u8 · SHA-256 of all
//! ```
//! Little endian. A log that is whole is applied, again if need be, for writing the same bytes twice is writing them
//! once; one that is not whole was never acted upon, and is dropped.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek as _, Write},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use super::redo::{CHANGED_MAX_BYTES, Run};
use crate::blocks::Blocks;

const MAGIC: &[u8; 16] = b"lodge redo log 1";
const DISKS_MAX: u32 = 1024;
/// A run is cut into pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// Writes a log, and waits until it is there to stay. The file's name is the caller's to keep, before and after.
pub(crate) fn write(file: &File, disks: &[(u64, Vec<Run>)]) -> io::Result<()> {
    let mut out = Summed { to: BufWriter::with_capacity(1 << 20, file), sum: Sha256::new() };
    out.write_all(MAGIC)?;
    out.write_all(&u32::try_from(disks.len()).map_err(io::Error::other)?.to_le_bytes())?;
    for (size, _) in disks {
        out.write_all(&size.to_le_bytes())?;
    }
    for (number, (_, runs)) in (0_u32..).zip(disks) {
        for run in runs {
            for (piece, bytes) in run.bytes.chunks(PIECE_BYTES).enumerate() {
                let offset = run.offset + (piece * PIECE_BYTES) as u64;
                let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
                out.write_all(&[1])?;
                out.write_all(&number.to_le_bytes())?;
                out.write_all(&offset.to_le_bytes())?;
                out.write_all(&length.to_le_bytes())?;
                out.write_all(bytes)?;
            }
        }
    }
    out.write_all(&[0])?;
    let sum = out.sum.finalize();
    out.to.write_all(&sum)?;
    out.to.flush()?;
    drop(out.to);
    file.sync_all()
}

/// What a log is of, if it is whole; none: it is not, so nothing was written to any disk.
pub(crate) fn read(file: &File, disks: &[Arc<dyn Blocks>]) -> io::Result<Option<Vec<Vec<Run>>>> {
    let mut file = file;
    file.rewind()?;
    let mut from = SummedReader { from: BufReader::with_capacity(1 << 20, file), sum: Sha256::new() };
    match parse(&mut from, disks) {
        Ok(runs) => Ok(runs),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse<R: Read>(
    from: &mut SummedReader<R>,
    disks: &[Arc<dyn Blocks>],
) -> io::Result<Option<Vec<Vec<Run>>>> {
    if from.array::<16>()? != *MAGIC {
        return Ok(None);
    }
    let count = u32::from_le_bytes(from.array()?);
    let mut sizes = Vec::new();
    for _ in 0..count.min(DISKS_MAX) {
        sizes.push(u64::from_le_bytes(from.array()?));
    }
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); sizes.len()];
    let mut budget = CHANGED_MAX_BYTES.saturating_mul(sizes.len());
    while from.array::<1>()? == [1] {
        let number = u32::from_le_bytes(from.array()?) as usize;
        let offset = u64::from_le_bytes(from.array()?);
        let length = u32::from_le_bytes(from.array()?) as usize;
        let (Some(runs), Some(left)) = (runs.get_mut(number), budget.checked_sub(length)) else {
            return Ok(None);
        };
        if length > PIECE_BYTES {
            return Ok(None);
        }
        budget = left;
        let mut bytes = vec![0; length];
        from.fill(&mut bytes)?;
        runs.push(Run { offset, bytes });
    }
    let sum = from.sum.clone().finalize();
    if from.array::<32>()? != *sum {
        return Ok(None);
    }
    // Whole from here on: what does not fit is a mistake of the caller's.
    let is_of_these =
        sizes.len() == disks.len() && sizes.iter().zip(disks).all(|(size, disk)| *size == disk.bytes());
    if !is_of_these {
        let why = "the log is of other disks: it has another number of them, or other sizes";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(Some(runs))
}

struct Summed<W> {
    to: W,
    sum: Sha256,
}

impl<W: Write> Summed<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.to.write_all(bytes)
    }
}

struct SummedReader<R> {
    from: R,
    sum: Sha256,
}

impl<R: Read> SummedReader<R> {
    fn fill(&mut self, into: &mut [u8]) -> io::Result<()> {
        self.from.read_exact(into)?;
        self.sum.update(into);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    #[test]
    fn a_log_is_whole_or_none() {
        let file = tempfile::tempfile().unwrap();
        let runs =
            vec![Run { offset: 4096, bytes: vec![7; (1 << 20) + 5] }, Run { offset: 0, bytes: vec![1] }];
        let disks = [(4 << 20, Vec::new()), (8 << 20, runs)];
        write(&file, &disks).unwrap();
        let sizes = |sizes: &[usize]| -> Vec<Arc<dyn Blocks>> {
            sizes.iter().map(|size| Arc::new(Memory::new(vec![0; *size])) as Arc<dyn Blocks>).collect()
        };
        let there = sizes(&[4 << 20, 8 << 20]);
        let back = read(&file, &there).unwrap().unwrap();
        assert!(back[0].is_empty());
        let places: Vec<_> = back[1].iter().map(|run| (run.offset, run.bytes.len())).collect();
        assert_eq!(places, [(4096, 1 << 20), (4096 + (1 << 20), 5), (0, 1)]);
        assert!(read(&file, &sizes(&[4 << 20, 9 << 20])).is_err());
        let length = file.metadata().unwrap().len();
        for cut in [0, 10, 16, 30, 5000, length - 33, length - 1] {
            file.set_len(length).unwrap();
            write_again(&file, &disks);
            file.set_len(cut).unwrap();
            assert_eq!(read(&file, &there).unwrap(), None, "{cut}");
        }
        file.set_len(length).unwrap();
        write_again(&file, &disks);
        std::os::unix::fs::FileExt::write_all_at(&file, &[8], 100_000).unwrap();
        assert_eq!(read(&file, &there).unwrap(), None);
    }

    fn write_again(mut file: &File, disks: &[(u64, Vec<Run>)]) {
        file.rewind().unwrap();
        write(file, disks).unwrap();
    }
}
