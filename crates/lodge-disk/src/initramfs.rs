//! An initramfs on a guest's disk: what the kernel unpacks it to in the end, as far as it has certain words.
//!
//! ```text
//!  file: { zeros | cpio | packed (gzip, xz, zstd) { zeros | cpio }* }* [ lz4 { zeros | cpio }* ]
//!  the last member of a path is what is there
//! ```
//! The form is that of the kernel's own unpacker (`init/initramfs.c`, `buffer-format.rst`): archives stand one behind the
//! other, each begins at a multiple of four bytes, and what one of them packs is whole archives. So one that is added at
//! the end replaces files of those before, which is why this is read at all.
//! What `lz4 -l` packed has no end but the file's; behind it stands what is packed so too ([`Tail::Lz4`]).
//! Packed by lzo, bzip2 and lzma it is not read: those forms have no end of their own, so nothing can be added behind them,
//! and lz4's newer frames no kernel unpacks.
//!
//! - [`member`]: the members of one archive.
//! - [`lz4`]: what `lz4 -l` packed.
//! - this file: archives one behind the other, and how they are packed.
//!
//! Hostile as all that a guest writes: everything is counted, nothing is unpacked anywhere, and what is kept is bounded.
//! Deliberately absent: what the words mean, and what becomes of what has them (`lodge-identity`).

mod lz4;
mod member;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use liblzma::{bufread::XzDecoder, stream::Stream};
use lodge_model::guest_disk::{Archive, Tail};

use self::{
    lz4::Chunks,
    member::{Members, Unpacked},
};

/// Archives, and packed ones, in one file: each clone of a clone adds one.
const PARTS_MAX: usize = 256;
/// The larger one of what xz and zstd make (`xz -9`, `zstd --ultra`); the kernel takes no more of zstd.
const WINDOW_BYTES_MAX: u64 = 192 << 20;
const CHUNK_BYTES: usize = 1 << 20;

/// Reads bytes of a file: from where, and at most how many.
pub(crate) type ReadAt<'a> = &'a dyn Fn(u64, usize) -> io::Result<Vec<u8>>;

/// Why an initramfs is not known to its end.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("it cannot be read at byte {at}: {source}")]
    Read { at: u64, source: io::Error },
    #[error("it is packed by {0}, behind which nothing can be added")]
    Packed(&'static str),
    #[error("at byte {0} there is no archive")]
    Junk(u64),
    #[error("the archive is damaged at byte {at}: {why}")]
    Damaged { at: u64, why: &'static str },
    #[error("it has more {0} than are looked at")]
    TooMuch(&'static str),
}

/// What is in an initramfs of so many bytes and has one of the words, whatever their letters' case.
pub(crate) fn read(read: ReadAt<'_>, bytes: u64, words: &[String]) -> Archive {
    let Some(mut members) = Members::new(words) else {
        let fault = Some("more words are looked for than can be".to_owned());
        return Archive { bytes, fault, ..Archive::default() };
    };
    let mut file = Raw { read, size: bytes, start: 0, buffer: Vec::new(), at: 0 };
    let (tail, fault) = match unpack(&mut file, &mut members) {
        Ok(tail) => (tail, None),
        Err(fault) => (Tail::Open, Some(fault.to_string())),
    };
    Archive { members: members.done(), bytes, tail, fault }
}

fn unpack(file: &mut Raw<'_>, members: &mut Members) -> Result<Tail, Fault> {
    for _ in 0..PARTS_MAX {
        file.skip_zeros()?;
        let at = file.position();
        let failed = |source| Fault::Read { at, source };
        match *file.head().map_err(failed)?.as_slice() {
            [] => return Ok(Tail::Open),
            [b'0', b'7', b'0', b'7', ..] if at.is_multiple_of(4) => {
                Unpacked::new(&mut *file, at).archive(members)?;
            }
            [0x1f, 0x8b, ..] => {
                packed(GzDecoder::new(&mut *file), members)?;
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
                let stream = Stream::new_stream_decoder(WINDOW_BYTES_MAX, 0);
                let stream = stream.map_err(|error| failed(error.into()))?;
                packed(XzDecoder::new_stream(&mut *file, stream), members)?;
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let decoder = zstd::stream::read::Decoder::with_buffer(&mut *file).map_err(failed)?;
                packed(decoder.single_frame(), members)?;
            }
            [0x02, 0x21, 0x4c, 0x18, ..] => {
                // Its end is the file's.
                return Ok(Tail::Lz4 { unpacked: packed(Chunks::new(&mut *file), members)? });
            }
            [0x04, 0x22, 0x4d, 0x18, ..] => return Err(Fault::Packed("lz4 in frames")),
            [0x89, b'L', b'Z', b'O', ..] => return Err(Fault::Packed("lzo")),
            [b'B', b'Z', b'h', ..] => return Err(Fault::Packed("bzip2")),
            [0x5d, 0, 0, ..] => return Err(Fault::Packed("lzma")),
            _ => return Err(Fault::Junk(at)),
        }
    }
    Err(Fault::TooMuch("parts"))
}

/// All that is packed in one part, to its end: what follows in the file stands behind it then. How many bytes it was.
fn packed(decoder: impl Read, members: &mut Members) -> Result<u64, Fault> {
    let mut unpacked = Unpacked::new(BufReader::with_capacity(64 << 10, decoder), 0);
    while unpacked.skip_zeros()? {
        unpacked.archive(members)?;
    }
    Ok(unpacked.position())
}

/// The file, in pieces.
struct Raw<'a> {
    read: ReadAt<'a>,
    size: u64,
    /// Where the buffer's first byte stands.
    start: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl Raw<'_> {
    fn position(&self) -> u64 {
        self.start + self.at as u64
    }

    /// The next bytes, as many as tell what comes; fewer at the end.
    fn head(&self) -> io::Result<Vec<u8>> {
        if self.position() >= self.size { Ok(Vec::new()) } else { (self.read)(self.position(), 8) }
    }

    fn skip_zeros(&mut self) -> Result<(), Fault> {
        loop {
            let at = self.position();
            let buffer = self.fill_buf().map_err(|source| Fault::Read { at, source })?;
            let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
            let is_over = buffer.is_empty() || zeros < buffer.len();
            self.consume(zeros);
            if is_over {
                return Ok(());
            }
        }
    }
}

impl Read for Raw<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let buffer = self.fill_buf()?;
        let length = buffer.len().min(into.len());
        into[..length].copy_from_slice(&buffer[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Raw<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.buffer.len() {
            self.start += self.buffer.len() as u64;
            let left = self.size.saturating_sub(self.start);
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            (self.buffer, self.at) = (Vec::new(), 0);
            if most > 0 {
                self.buffer = (self.read)(self.start, most)?;
                if self.buffer.is_empty() || self.buffer.len() > most {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(&self.buffer[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.buffer.len());
    }
}

/// Any bytes as an initramfs.
pub(crate) fn fuzz(bytes: &[u8]) {
    let read_at = |offset: u64, most: usize| {
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        Ok(rest[..rest.len().min(most)].to_vec())
    };
    let archive = read(&read_at, bytes.len() as u64, &["root".to_owned(), "ab-12".to_owned()]);
    assert!(archive.members.len() <= member::KEPT_MAX);
}
