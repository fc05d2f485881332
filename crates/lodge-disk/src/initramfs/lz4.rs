//! What `lz4 -l` packed, unpacked chunk by chunk to the file's end.
//!
//! Chunk after chunk has a size before it and no more than the kernel has room for; one that says otherwise is an error.
//! Zeros behind it, which newer kernels pass over, older ones do not: so they are one too.

use std::io::{self, BufRead, Read};

use lodge_model::guest_disk::{LZ4_CHUNK_BYTES, LZ4_MARK};

/// The most that bytes of one chunk can become, as the kernel reckons.
const PACKED_BYTES_MAX: usize = LZ4_CHUNK_BYTES + LZ4_CHUNK_BYTES / 255 + 16;

/// Such a file from its mark on.
pub(super) struct Chunks<R> {
    from: R,
    chunk: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Chunks<R> {
    pub fn new(from: R) -> Self {
        Self { from, chunk: Vec::new(), at: 0 }
    }

    /// Unpacks the next one that has something in it. False: there is none.
    fn next(&mut self) -> io::Result<bool> {
        while self.at >= self.chunk.len() {
            if self.from.fill_buf()?.is_empty() {
                return Ok(false);
            }
            let mut size = [0; 4];
            self.from.read_exact(&mut size)?;
            if size == LZ4_MARK {
                continue;
            }
            let size = u32::from_le_bytes(size);
            let length = usize::try_from(size).ok().filter(|size| (1..=PACKED_BYTES_MAX).contains(size));
            let length = length.ok_or_else(|| bad(format!("a chunk of {size} bytes")))?;
            let mut packed = vec![0; length];
            self.from.read_exact(&mut packed)?;
            self.chunk.resize(LZ4_CHUNK_BYTES, 0);
            let unpacked = lz4_flex::block::decompress_into(&packed, &mut self.chunk);
            self.chunk.truncate(unpacked.map_err(|error| bad(error.to_string()))?);
            self.at = 0;
        }
        Ok(true)
    }
}

fn bad(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || !self.next()? {
            return Ok(0);
        }
        let rest = &self.chunk[self.at..];
        let length = rest.len().min(into.len());
        into[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        Ok(length)
    }
}
