//! Bytes by position: a disk, a partition, a logical volume.

use std::{fmt, io};

/// A run of bytes that is read, and perhaps written, anywhere.
pub trait Blocks: fmt::Debug + Send + Sync {
    /// How many there are.
    fn bytes(&self) -> u64;

    /// Fills `into` from `offset` on. What lies beyond the end is an error of kind `UnexpectedEof`, not zeros.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`. Never grows anything; read-only ones answer `ReadOnlyFilesystem`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// All that was written is durable when this returns.
    fn flush(&self) -> io::Result<()>;
}
