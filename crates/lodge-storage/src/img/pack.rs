//! Compresses clusters as qcow2 has them: each alone, raw deflate with a window of 4 KiB, or a zstd frame.

use std::{fmt, io, str::FromStr};

use flate2::{Compress, FlushCompress, Status};

/// How clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Every reader of qcow2 knows it.
    Zlib,
    /// Faster and smaller; QEMU 5.1 and later.
    Zstd,
}

/// The window QEMU unpacks with (block/qcow2-threads.c).
const WINDOW_BITS: u8 = 12;

impl Compression {
    /// QEMU's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is none of a compression's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("compression `{0}` is not known (there are zlib and zstd)")]
pub struct UnknownCompression(pub String);

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(word: &str) -> Result<Self, UnknownCompression> {
        match word {
            "zlib" => Ok(Self::Zlib),
            "zstd" => Ok(Self::Zstd),
            other => Err(UnknownCompression(other.to_owned())),
        }
    }
}

/// One worker's compressor.
pub(crate) enum Packer {
    Zlib(Box<Compress>),
    Zstd(Box<zstd::bulk::Compressor<'static>>),
}

impl Packer {
    pub fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Zlib => Self::Zlib(Box::new(Compress::new_with_window_bits(
                flate2::Compression::default(),
                false,
                WINDOW_BITS,
            ))),
            Compression::Zstd => {
                Self::Zstd(Box::new(zstd::bulk::Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL)?))
            }
        })
    }

    /// A cluster, compressed; `None`: it does not become smaller.
    pub fn pack(&mut self, cluster: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let room = cluster.len() - 1;
        match self {
            Self::Zlib(zlib) => {
                zlib.reset();
                let mut packed = Vec::with_capacity(room);
                let status = zlib.compress_vec(cluster, &mut packed, FlushCompress::Finish);
                let is_whole = status.map_err(io::Error::other)? == Status::StreamEnd;
                Ok(is_whole.then_some(packed))
            }
            Self::Zstd(zstd) => {
                let mut packed = vec![0; zstd::zstd_safe::compress_bound(cluster.len())];
                let length = zstd.compress_to_buffer(cluster, &mut packed[..])?;
                packed.truncate(length);
                Ok((length <= room).then_some(packed))
            }
        }
    }
}
