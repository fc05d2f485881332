//! Whether a qcow2 layer is one that can be read here, judged by its header before any table is touched.
//!
//! Layout: QEMU's docs/interop/qcow2.txt. The sizes of its first tables are bounded as QEMU bounds them, so a few
//! bytes cannot stand for exabytes of work. Deliberately absent: the name of the backing file, which nobody opens.

use std::{fs::File, io, os::unix::fs::FileExt as _};

const MAGIC: u32 = 0x5146_49fb;
const V3_HEADER_BYTES: u32 = 104;
const INCOMPATIBLE_CORRUPT: u64 = 1 << 1;
const INCOMPATIBLE_DATA_FILE: u64 = 1 << 2;
const INCOMPATIBLE_COMPRESSION: u64 = 1 << 3;
const INCOMPATIBLE_EXTENDED_L2: u64 = 1 << 4;
const INCOMPATIBLE_KNOWN: u64 = (1 << 5) - 1;
const CRYPT_AES: u32 = 1;
const CRYPT_LUKS: u32 = 2;
/// 32 MiB of them.
const L1_ENTRIES_MAX: u64 = 4 << 20;
const REFCOUNT_TABLE_BYTES_MAX: u64 = 8 << 20;

/// What of a qcow2 is not read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// It is something else.
    #[error("it does not begin as qcow2 does; is its format told rightly?")]
    Magic,
    /// Too short to be one.
    #[error("the file ends inside the header")]
    Short,
    /// Of a version nobody knows.
    #[error("its version is {0}, known are 2 and 3")]
    Version(u32),
    /// Of clusters nobody makes.
    #[error("its cluster size is 2^{0} bytes")]
    Clusters(u32),
    /// Its size and its tables do not fit together.
    #[error("its first tables do not fit its size of {virtual_bytes} bytes")]
    Tables {
        /// What it says its size is.
        virtual_bytes: u64,
    },
    /// QEMU found it damaged.
    #[error("it is marked as damaged; repair it with `qemu-img check -r all` first")]
    Corrupt,
    /// The guest's bytes are elsewhere.
    #[error(
        "its data lies in an external data file, which is not read here; convert it with `qemu-img convert`"
    )]
    DataFile,
    /// Encrypted with LUKS.
    #[error(
        "it is encrypted with LUKS, so only a running guest can read it; or decrypt a copy with `qemu-img convert`"
    )]
    Luks,
    /// Encrypted with the scheme of old.
    #[error("it is encrypted with qcow2's AES of old; decrypt a copy with `qemu-img convert`")]
    Aes,
    /// Compressed with zstd.
    #[error(
        "its compressed clusters are zstd's, which are not read here; convert it with `qemu-img convert -O qcow2`"
    )]
    Zstd,
    /// With subclusters.
    #[error(
        "its tables have extended entries (subclusters), which are not read here; convert it with `qemu-img convert -O qcow2`"
    )]
    ExtendedL2,
    /// With something that came later.
    #[error("it has incompatible features that are not known here: {0:#x}")]
    Features(u64),
}

/// Reads the header; the outer error is the file's.
pub(super) fn judge(file: &File) -> io::Result<Result<(), HeaderFault>> {
    let mut bytes = [0; 112];
    let mut have = 0;
    while have < bytes.len() {
        match file.read_at(&mut bytes[have..], have as u64) {
            Ok(0) => break,
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(check(&bytes[..have]))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, HeaderFault> {
    let part = bytes.get(at..at + 4).and_then(|part| part.try_into().ok());
    part.map(u32::from_be_bytes).ok_or(HeaderFault::Short)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, HeaderFault> {
    let part = bytes.get(at..at + 8).and_then(|part| part.try_into().ok());
    part.map(u64::from_be_bytes).ok_or(HeaderFault::Short)
}

fn check(bytes: &[u8]) -> Result<(), HeaderFault> {
    if u32_at(bytes, 0).ok() != Some(MAGIC) {
        return Err(HeaderFault::Magic);
    }
    let version = u32_at(bytes, 4)?;
    if !(2..=3).contains(&version) {
        return Err(HeaderFault::Version(version));
    }
    let cluster_bits = u32_at(bytes, 20)?;
    if !(9..=21).contains(&cluster_bits) {
        return Err(HeaderFault::Clusters(cluster_bits));
    }
    match u32_at(bytes, 32)? {
        0 => {}
        CRYPT_AES => return Err(HeaderFault::Aes),
        CRYPT_LUKS => return Err(HeaderFault::Luks),
        _ => return Err(HeaderFault::Features(0)),
    }
    let features = if version == 3 { u64_at(bytes, 72)? } else { 0 };
    if version == 3 && u32_at(bytes, 100)? < V3_HEADER_BYTES {
        return Err(HeaderFault::Short);
    }
    let has = |feature| features & feature != 0;
    if features & !INCOMPATIBLE_KNOWN != 0 {
        return Err(HeaderFault::Features(features & !INCOMPATIBLE_KNOWN));
    }
    if has(INCOMPATIBLE_CORRUPT) {
        return Err(HeaderFault::Corrupt);
    }
    if has(INCOMPATIBLE_DATA_FILE) {
        return Err(HeaderFault::DataFile);
    }
    if has(INCOMPATIBLE_EXTENDED_L2) {
        return Err(HeaderFault::ExtendedL2);
    }
    if has(INCOMPATIBLE_COMPRESSION) && bytes.get(104).is_none_or(|kind| *kind != 0) {
        return Err(HeaderFault::Zstd);
    }
    let virtual_bytes = u64_at(bytes, 24)?;
    let l1_entries = u64::from(u32_at(bytes, 36)?);
    let covered = l1_entries.saturating_mul(1 << (2 * cluster_bits - 3));
    let refcount_bytes = u64::from(u32_at(bytes, 56)?) << cluster_bits;
    if virtual_bytes > i64::MAX.cast_unsigned()
        || l1_entries > L1_ENTRIES_MAX
        || covered < virtual_bytes
        || refcount_bytes > REFCOUNT_TABLE_BYTES_MAX
    {
        return Err(HeaderFault::Tables { virtual_bytes });
    }
    Ok(())
}
