//! Moves a disk's bytes from an image into a new file, on as many cores as there are.
//!
//! ```text
//!  reader ──▶ worker 0 ──┐
//!         ──▶ worker 1 ──┴▶ writer (the calling thread), in order
//! ```
//! The workers sort zeros from data and compress. Only ranges the source has data in are read.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use lodge_sys::fs::{Begun, begin_writeback};

use super::{
    map,
    pack::{Compression, Packer},
    qcow2_writer::Qcow2Writer,
    source::Source,
};

const CHUNK_BYTES: u64 = 1 << 20;
/// Chunks that wait for each worker, and for the writer of each.
const WAITING: usize = 2;
const WORKERS_MAX: usize = 8;

/// Where the bytes go.
pub(crate) enum Sink<'a> {
    /// An empty file, already as long as the disk.
    Raw(&'a File),
    Qcow2(Box<Qcow2Writer<'a>>),
}

/// How they go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pour {
    /// What is judged as a whole to be zero or not: a power of two, at least a sector.
    pub grain_bytes: u64,
    pub compression: Option<Compression>,
    /// What the top file does not say anything of is left to what it stands on, and only what is compressed in it is
    /// compressed.
    pub top_only: bool,
}

/// One grain, as it is written.
pub(crate) enum Grain {
    Zero,
    Plain,
    Packed(Vec<u8>),
}

struct Chunk {
    at: u64,
    bytes: Vec<u8>,
    is_packed: bool,
    grains: Vec<Grain>,
}

/// Pours all of `source`. `tell` gets the bytes done. `Ok(false)`: `stop` was set.
pub(crate) fn pour(
    source: &Source,
    sink: &mut Sink<'_>,
    how: Pour,
    stop: &AtomicBool,
    tell: &dyn Fn(u64),
) -> io::Result<bool> {
    let workers = match how.compression {
        Some(_) => thread::available_parallelism().map_or(1, usize::from).clamp(1, WORKERS_MAX),
        None => 1,
    };
    let mut packers = Vec::new();
    for _ in 0..workers {
        packers.push(how.compression.map(Packer::new).transpose()?);
    }
    thread::scope(|scope| {
        let (mut to_workers, mut from_workers) = (Vec::new(), Vec::new());
        for packer in packers {
            let (to_worker, chunks) = sync_channel(WAITING);
            let (done, from_worker) = sync_channel(WAITING);
            to_workers.push(to_worker);
            from_workers.push(from_worker);
            scope.spawn(move || work(&chunks, &done, packer, how.grain_bytes));
        }
        // Buffers go round: fresh ones cost a page fault per page.
        let (empty, empties) = sync_channel(workers * (2 * WAITING + 1) + 2);
        let reader = scope.spawn(move || read(source, how, stop, &to_workers, &empties));
        let written = write(sink, how.grain_bytes, &from_workers, &empty, tell);
        // Without a taker the others come to their end.
        drop((from_workers, empty));
        let read = reader.join().map_err(|_| io::Error::other("the reader panicked"))?;
        written.and(read)
    })
}

fn read(
    source: &Source,
    how: Pour,
    stop: &AtomicBool,
    workers: &[SyncSender<Chunk>],
    empties: &Receiver<Vec<u8>>,
) -> io::Result<bool> {
    let chunk_bytes = CHUNK_BYTES.max(how.grain_bytes);
    let (mut at, mut number) = (0, 0);
    while at < source.virtual_bytes {
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let extent = map::next(source, at)?;
        let end = extent.start + extent.length;
        let is_left_out = if how.top_only { !extent.present && !extent.data } else { !extent.data };
        if is_left_out && end >= source.virtual_bytes {
            break;
        }
        // A grain that is only in part left out is read whole.
        let next_grain = end / how.grain_bytes * how.grain_bytes;
        if is_left_out && next_grain > at {
            at = next_grain;
            continue;
        }
        // Beside what the top file says stands what it does not say: never in one chunk.
        let length = chunk_bytes.min(if how.top_only { end } else { source.virtual_bytes } - at);
        let mut bytes = empties.try_recv().unwrap_or_default();
        bytes.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        source.read(&mut bytes, at)?;
        let is_packed = !how.top_only || extent.compressed;
        let chunk = Chunk { at, bytes, is_packed, grains: Vec::new() };
        if workers[number % workers.len()].send(chunk).is_err() {
            // The writer gave up, and says why.
            return Ok(true);
        }
        at += length;
        number += 1;
    }
    Ok(true)
}

fn work(
    chunks: &Receiver<Chunk>,
    done: &SyncSender<io::Result<Chunk>>,
    mut packer: Option<Packer>,
    grain_bytes: u64,
) {
    let grain_bytes = usize::try_from(grain_bytes).unwrap_or(usize::MAX);
    for chunk in chunks {
        let sorted = sort(chunk, packer.as_mut(), grain_bytes);
        if done.send(sorted).is_err() {
            return;
        }
    }
}

fn sort(mut chunk: Chunk, packer: Option<&mut Packer>, grain_bytes: usize) -> io::Result<Chunk> {
    let mut packer = packer.filter(|_| chunk.is_packed);
    for grain in chunk.bytes.chunks(grain_bytes) {
        chunk.grains.push(match &mut packer {
            _ if is_zero(grain) => Grain::Zero,
            // The last grain of an odd disk is shorter than a cluster: it stays as it is.
            Some(packer) if grain.len() == grain_bytes => {
                packer.pack(grain)?.map_or(Grain::Plain, Grain::Packed)
            }
            _ => Grain::Plain,
        });
    }
    Ok(chunk)
}

fn write(
    sink: &mut Sink<'_>,
    grain_bytes: u64,
    workers: &[Receiver<io::Result<Chunk>>],
    empty: &SyncSender<Vec<u8>>,
    tell: &dyn Fn(u64),
) -> io::Result<bool> {
    let mut number = 0;
    let mut begun = Begun::default();
    while let Ok(chunk) = workers[number % workers.len()].recv() {
        let chunk = chunk?;
        put(sink, &chunk, grain_bytes)?;
        // Else the disk is idle until the sync at the end, which then waits for all of it.
        let (file, end) = match sink {
            Sink::Raw(file) => (*file, chunk.at + chunk.bytes.len() as u64),
            Sink::Qcow2(image) => image.end(),
        };
        if let Some((start, length)) = begun.next(end) {
            begin_writeback(file, start, length)?;
        }
        tell(chunk.at + chunk.bytes.len() as u64);
        // There is always room; a reader at its end takes none.
        let _ = empty.try_send(chunk.bytes);
        number += 1;
    }
    Ok(true)
}

/// Writes a chunk's grains; neighbours of one kind at once.
fn put(sink: &mut Sink<'_>, chunk: &Chunk, grain_bytes: u64) -> io::Result<()> {
    let grain_bytes = usize::try_from(grain_bytes).map_err(io::Error::other)?;
    let mut first = 0;
    while first < chunk.grains.len() {
        let is_plain = |grain: &Grain| matches!(grain, Grain::Plain);
        let run = chunk.grains[first..].iter().take_while(|grain| is_plain(grain)).count().max(1);
        let from = first * grain_bytes;
        let bytes = &chunk.bytes[from..(from + run * grain_bytes).min(chunk.bytes.len())];
        let at = chunk.at + from as u64;
        match (&mut *sink, &chunk.grains[first]) {
            (Sink::Raw(_), Grain::Zero) => {}
            (Sink::Raw(file), Grain::Plain | Grain::Packed(_)) => file.write_all_at(bytes, at)?,
            (Sink::Qcow2(image), Grain::Zero) => image.put_zero(at)?,
            (Sink::Qcow2(image), Grain::Plain) => image.put(at, bytes)?,
            (Sink::Qcow2(image), Grain::Packed(packed)) => image.put_packed(at, packed)?,
        }
        first += run;
    }
    Ok(())
}

/// Whether all is zero. By words of 64 bytes, which the compiler makes vectors of.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| word.iter().fold(0, |all, byte| all | byte) == 0) && rest.iter().all(|b| *b == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_set_bit_anywhere_is_seen() {
        for length in [0, 1, 63, 64, 65, 4096, 4097] {
            assert!(is_zero(&vec![0; length]));
            for at in [0, length / 2, length.saturating_sub(1)] {
                let mut bytes = vec![0; length];
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = 0x80;
                    assert!(!is_zero(&bytes), "{at} of {length}");
                }
            }
        }
    }
}
