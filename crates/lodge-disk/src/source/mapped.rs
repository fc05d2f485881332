//! A device that lies in several pieces of others: a logical volume, an array.
//!
//! Segments follow each other without holes. A segment is one run (linear), or runs that take turns chunk by chunk
//! (striped, raid0), or take them as an [array](super::Shape) does. Writing through a mirror is not done: who maps one leg only maps it read-only.

use std::{io, sync::Arc};

use super::{array::Shape, is_inside};
use crate::blocks::Blocks;

/// A run of bytes of some device.
#[derive(Debug, Clone)]
pub struct Run {
    /// The device.
    pub of: Arc<dyn Blocks>,
    /// Where on it.
    pub start: u64,
}

/// A part of a mapped device.
#[derive(Debug, Clone)]
pub enum Segment {
    /// One run.
    Linear {
        /// How long it is.
        bytes: u64,
        /// Where it lies.
        run: Run,
    },
    /// Runs of the same length that take turns.
    Striped {
        /// How long all are together.
        bytes: u64,
        /// How much of one comes before the next; not 0.
        chunk_bytes: u64,
        /// At least one.
        runs: Vec<Run>,
    },
    /// Runs of the same length with more than data in them; only read.
    Array {
        /// How long all data are together.
        bytes: u64,
        /// How much of one lies in one place; not 0.
        chunk_bytes: u64,
        /// How it is laid out; it fits the runs.
        shape: Shape,
        /// How long each run is.
        each_bytes: u64,
        /// All of them.
        runs: Vec<Run>,
    },
}

/// Segments as one run of bytes.
#[derive(Debug)]
pub struct Mapped {
    /// With each one's beginning.
    segments: Vec<(u64, Segment)>,
    bytes: u64,
    writable: bool,
}

impl Segment {
    /// How long it is.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Linear { bytes, .. } | Self::Striped { bytes, .. } | Self::Array { bytes, .. } => *bytes,
        }
    }

    /// Whether its runs are there, whole.
    fn check(&self) -> io::Result<()> {
        let broken = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text);
        let reaches = |run: &Run, bytes: u64| {
            let end = run.start.checked_add(bytes);
            if end.is_some_and(|end| end <= run.of.bytes()) {
                return Ok(());
            }
            Err(broken("a part of it reaches beyond the end of the device it lies on"))
        };
        match self {
            Self::Linear { bytes, run } => reaches(run, *bytes),
            Self::Striped { bytes, chunk_bytes, runs } => {
                let turn = chunk_bytes.checked_mul(runs.len() as u64).filter(|turn| *turn > 0);
                let turn = turn.ok_or_else(|| broken("it has no stripes, or stripes of no length"))?;
                let each = bytes.div_ceil(turn).saturating_mul(*chunk_bytes);
                // Only a last turn that is cut short may leave the end of the later runs unused.
                let each = if bytes.is_multiple_of(turn) { each } else { each - chunk_bytes };
                runs.iter().try_for_each(|run| reaches(run, each))
            }
            Self::Array { bytes, chunk_bytes, shape, each_bytes, runs } => {
                let members = runs.len() as u64;
                if *chunk_bytes == 0 || !shape.fits(members) {
                    return Err(broken("its members cannot be laid out so"));
                }
                let data = shape.chunks(members, each_bytes / chunk_bytes);
                if data.and_then(|chunks| chunks.checked_mul(*chunk_bytes)).is_none_or(|data| *bytes > data) {
                    return Err(broken("it is longer than its members"));
                }
                runs.iter().try_for_each(|run| reaches(run, *each_bytes))
            }
        }
    }

    /// Where the byte at `offset` lies, and how many follow it there.
    fn place(&self, offset: u64) -> (&Run, u64, u64) {
        match self {
            Self::Linear { bytes, run } => (run, run.start + offset, bytes - offset),
            Self::Striped { bytes, chunk_bytes, runs } => {
                let (chunk, inside) = (offset / chunk_bytes, offset % chunk_bytes);
                let count = runs.len() as u64;
                let index = usize::try_from(chunk % count).unwrap_or(0);
                let run = &runs[index];
                let at = run.start + chunk / count * chunk_bytes + inside;
                (run, at, (chunk_bytes - inside).min(bytes - offset))
            }
            Self::Array { bytes, chunk_bytes, shape, runs, .. } => {
                let (chunk, inside) = (offset / chunk_bytes, offset % chunk_bytes);
                let (member, row) = shape.place(chunk, runs.len() as u64);
                let run = &runs[usize::try_from(member).unwrap_or(0)];
                (run, run.start + row * chunk_bytes + inside, (chunk_bytes - inside).min(bytes - offset))
            }
        }
    }
}

impl Mapped {
    /// These segments, one after the other.
    pub fn new(segments: Vec<Segment>, writable: bool) -> io::Result<Self> {
        let mut bytes = 0_u64;
        let mut placed = Vec::with_capacity(segments.len());
        for segment in segments {
            segment.check()?;
            let start = bytes;
            let too_long = || io::Error::new(io::ErrorKind::InvalidData, "its length is beyond measure");
            bytes = bytes.checked_add(segment.bytes()).ok_or_else(too_long)?;
            if segment.bytes() > 0 {
                placed.push((start, segment));
            }
        }
        Ok(Self { segments: placed, bytes, writable })
    }

    /// Calls `act` for each piece of the run: the device, the place on it, the piece's place in the run and length.
    fn pieces(
        &self,
        offset: u64,
        length: usize,
        mut act: impl FnMut(&dyn Blocks, u64, usize, usize) -> io::Result<()>,
    ) -> io::Result<()> {
        is_inside(offset, length, self.bytes)?;
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let after = self.segments.partition_point(|(start, _)| *start <= at);
            let (start, segment) = &self.segments[after - 1];
            let (run, place, follow) = segment.place(at - start);
            let piece = usize::try_from(follow).unwrap_or(usize::MAX).min(length - done);
            act(run.of.as_ref(), place, done, piece)?;
            done += piece;
        }
        Ok(())
    }
}

impl Blocks for Mapped {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.pieces(offset, into.len(), |device, place, from, length| {
            device.read_at(place, &mut into[from..from + length])
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.pieces(offset, bytes.len(), |device, place, from, length| {
            device.write_at(place, &bytes[from..from + length])
        })
    }

    fn flush(&self) -> io::Result<()> {
        for (_, segment) in &self.segments {
            match segment {
                Segment::Linear { run, .. } => run.of.flush()?,
                Segment::Striped { runs, .. } | Segment::Array { runs, .. } => {
                    runs.iter().try_for_each(|run| run.of.flush())?;
                }
            }
        }
        Ok(())
    }
}
