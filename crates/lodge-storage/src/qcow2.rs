//! A qcow2 header as untrusted bytes: what the image claims to be, and what it stands on.
//!
//! Layout: QEMU's docs/interop/qcow2.txt. Pure. Deliberately absent: tables, clusters, data.

use crate::{format::Format, limits};

/// The header and the extensions fit in the first cluster; this much of it is read.
pub(crate) const READ_BYTES: usize = 64 << 10;

const MAGIC: u32 = 0x5146_49fb;
const EXTENSION_END: u32 = 0;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const V2_HEADER_BYTES: usize = 72;
const V3_HEADER_BYTES: usize = 104;
const EXTENSION_BITMAPS: u32 = 0x2385_2875;
const INCOMPATIBLE_DIRTY: u64 = 1;
const INCOMPATIBLE_CORRUPT: u64 = 1 << 1;
const INCOMPATIBLE_DATA_FILE: u64 = 1 << 2;
const INCOMPATIBLE_COMPRESSION: u64 = 1 << 3;
const INCOMPATIBLE_EXTENDED_L2: u64 = 1 << 4;
const INCOMPATIBLE_KNOWN: u64 = (1 << 5) - 1;
const COMPRESSION_ZSTD: u8 = 1;
const ENCRYPTION_LUKS: u32 = 2;
/// 32 MiB of them.
const L1_ENTRIES_MAX: u64 = 4 << 20;
const REFCOUNT_ORDER_MAX: u32 = 6;
const COMPATIBLE_LAZY_REFCOUNTS: u64 = 1;

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub version: u32,
    /// The disk's size as the guest sees it.
    pub virtual_bytes: u64,
    pub cluster_bytes: u64,
    pub backing: Option<Backing>,
    /// QEMU found it damaged and marked it so.
    pub is_corrupt: bool,
    /// The data is in another file, which the header names.
    pub has_data_file: bool,
    pub is_encrypted: bool,
    /// Encrypted with LUKS, not with the scheme of old.
    pub has_luks: bool,
    pub has_snapshots: bool,
    pub snapshots: u32,
    /// It was not closed well, so its counts may be behind.
    pub is_dirty: bool,
    /// Its compressed clusters are zstd's, not zlib's.
    pub has_zstd: bool,
    /// It has bitmaps of changed blocks.
    pub has_bitmaps: bool,
    /// It has incompatible features that nobody here knows.
    pub has_unknown_features: bool,
    pub refcount_bits: u32,
    pub has_lazy_refcounts: bool,
    pub has_extended_l2: bool,
}

/// The file the image stands on, in the image's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backing {
    pub name: String,
    /// `None`: the header does not say, which leaves QEMU to guess. We do not.
    pub format: Option<String>,
}

/// Why the bytes are no qcow2 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderFault {
    #[error("it does not begin as qcow2 does")]
    Magic,
    #[error("the file ends inside the header")]
    Short,
    #[error("its version is {0}, known are 2 and 3")]
    Version(u32),
    #[error("its cluster size is 2^{0} bytes")]
    Clusters(u32),
    #[error("its first table has {entries} entries for a virtual size of {virtual_bytes} bytes")]
    Table { entries: u64, virtual_bytes: u64 },
    #[error("its reference counts are 2^{0} bits wide")]
    RefcountOrder(u32),
    #[error("its virtual size is {0} bytes")]
    Size(u64),
    #[error("the name of its backing file lies outside the header")]
    BackingName,
    #[error("the name of its backing file is not text")]
    BackingText,
    #[error("its header extensions run out of the header")]
    Extensions,
}

/// Big-endian numbers from a slice, bounds checked.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn sub(&self, at: usize, length: usize) -> Option<&'a [u8]> {
        self.0.get(at..at.checked_add(length)?)
    }

    fn u32(&self, at: usize) -> Result<u32, HeaderFault> {
        let bytes = self.sub(at, 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_be_bytes).ok_or(HeaderFault::Short)
    }

    fn u64(&self, at: usize) -> Result<u64, HeaderFault> {
        let bytes = self.sub(at, 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u64::from_be_bytes).ok_or(HeaderFault::Short)
    }
}

/// Whether the bytes begin as a qcow2 does.
pub(crate) fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_be_bytes())
}

/// Reads the header from the first [`READ_BYTES`] of an image (or all of it, if it is shorter).
pub(crate) fn parse(bytes: &[u8]) -> Result<Header, HeaderFault> {
    if !has_magic(bytes) {
        return Err(HeaderFault::Magic);
    }
    let reader = Reader(bytes);
    let version = reader.u32(4)?;
    if !(2..=3).contains(&version) {
        return Err(HeaderFault::Version(version));
    }
    let (name_at, name_bytes) = (reader.u64(8)?, reader.u32(16)?);
    let cluster_bits = reader.u32(20)?;
    if !(9..=21).contains(&cluster_bits) {
        return Err(HeaderFault::Clusters(cluster_bits));
    }
    let virtual_bytes = reader.u64(24)?;
    if virtual_bytes > i64::MAX.cast_unsigned() {
        return Err(HeaderFault::Size(virtual_bytes));
    }
    let encryption = reader.u32(32)?;
    let l1_entries = u64::from(reader.u32(36)?);
    let snapshots = reader.u32(60)?;
    let (features, compatible, header_bytes) = match version {
        2 => (0, 0, V2_HEADER_BYTES),
        _ => (reader.u64(72)?, reader.u64(80)?, reader.u32(100)? as usize),
    };
    if version == 3 && header_bytes < V3_HEADER_BYTES {
        return Err(HeaderFault::Short);
    }
    // As QEMU has it: the table is within a limit and covers the disk. Else a few bytes could stand for exabytes of work.
    let l2_entry_bits = if features & INCOMPATIBLE_EXTENDED_L2 == 0 { 3 } else { 4 };
    let covered = l1_entries.saturating_mul(1 << (2 * cluster_bits - l2_entry_bits));
    if l1_entries > L1_ENTRIES_MAX || covered < virtual_bytes {
        return Err(HeaderFault::Table { entries: l1_entries, virtual_bytes });
    }
    let refcount_order = if version == 3 { reader.u32(96)? } else { 4 };
    if refcount_order > REFCOUNT_ORDER_MAX {
        return Err(HeaderFault::RefcountOrder(refcount_order));
    }
    let is_compression_told = features & INCOMPATIBLE_COMPRESSION != 0 && header_bytes > 104;
    let compression = if is_compression_told { reader.sub(104, 1).map_or(0, |byte| byte[0]) } else { 0 };
    let backing = match name_at {
        0 => None,
        _ => Some(Backing {
            name: backing_name(&reader, name_at, name_bytes)?,
            format: extension(&reader, header_bytes, EXTENSION_BACKING_FORMAT)?
                .map(|data| String::from_utf8_lossy(data).into_owned()),
        }),
    };
    Ok(Header {
        version,
        virtual_bytes,
        cluster_bytes: 1 << cluster_bits,
        backing,
        is_corrupt: features & INCOMPATIBLE_CORRUPT != 0,
        has_data_file: features & INCOMPATIBLE_DATA_FILE != 0,
        is_encrypted: encryption != 0,
        has_luks: encryption == ENCRYPTION_LUKS,
        has_snapshots: snapshots != 0,
        snapshots,
        is_dirty: features & INCOMPATIBLE_DIRTY != 0,
        has_zstd: compression == COMPRESSION_ZSTD,
        // A header of old may end where the first cluster is full, so a fault here is none of its.
        has_bitmaps: extension(&reader, header_bytes, EXTENSION_BITMAPS).is_ok_and(|found| found.is_some()),
        has_unknown_features: features & !INCOMPATIBLE_KNOWN != 0 || compression > COMPRESSION_ZSTD,
        refcount_bits: 1 << refcount_order,
        has_lazy_refcounts: compatible & COMPATIBLE_LAZY_REFCOUNTS != 0,
        has_extended_l2: features & INCOMPATIBLE_EXTENDED_L2 != 0,
    })
}

fn backing_name(reader: &Reader<'_>, at: u64, length: u32) -> Result<String, HeaderFault> {
    if length == 0 || length > limits::BACKING_NAME_BYTES {
        return Err(HeaderFault::BackingName);
    }
    let at = usize::try_from(at).map_err(|_| HeaderFault::BackingName)?;
    let bytes = reader.sub(at, length as usize).ok_or(HeaderFault::BackingName)?;
    if bytes.contains(&0) {
        return Err(HeaderFault::BackingText);
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| HeaderFault::BackingText)
}

/// The data of the extension of this kind.
fn extension<'a>(reader: &Reader<'a>, mut at: usize, wanted: u32) -> Result<Option<&'a [u8]>, HeaderFault> {
    // Each round moves on by eight bytes at least, so the slice's length bounds the loop.
    loop {
        let (kind, length) = match (reader.u32(at), reader.u32(at.saturating_add(4))) {
            (Ok(kind), Ok(length)) => (kind, length as usize),
            _ => return Err(HeaderFault::Extensions),
        };
        if kind == EXTENSION_END {
            return Ok(None);
        }
        let data = reader.sub(at + 8, length).ok_or(HeaderFault::Extensions)?;
        if kind == wanted {
            return Ok(Some(data));
        }
        at += 8 + length.next_multiple_of(8);
    }
}

impl Backing {
    /// The backing format, if it is a known one. A LUKS container is a raw file to us.
    pub fn known_format(&self) -> Option<Result<Format, String>> {
        if self.is_luks() {
            return Some(Ok(Format::Raw));
        }
        self.format.as_deref().map(|word| word.parse().map_err(|_| word.to_owned()))
    }

    /// The header says that the file below is a LUKS container, as QEMU writes it when it has merged what lay between.
    pub fn is_luks(&self) -> bool {
        self.format.as_deref() == Some("luks")
    }

    /// The bytes of the file below say nothing of it.
    pub fn is_raw(&self) -> bool {
        matches!(self.known_format(), Some(Ok(Format::Raw)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version 3 header, with a backing file and its format if given.
    fn image(backing: Option<(&str, Option<&str>)>) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(0, &MAGIC.to_be_bytes());
        put(4, &3_u32.to_be_bytes());
        put(20, &16_u32.to_be_bytes());
        put(24, &(8_u64 << 30).to_be_bytes());
        put(36, &16_u32.to_be_bytes());
        put(100, &104_u32.to_be_bytes());
        if let Some((name, format)) = backing {
            put(8, &512_u64.to_be_bytes());
            put(16, &u32::try_from(name.len()).unwrap().to_be_bytes());
            put(512, name.as_bytes());
            if let Some(format) = format {
                put(104, &EXTENSION_BACKING_FORMAT.to_be_bytes());
                put(108, &u32::try_from(format.len()).unwrap().to_be_bytes());
                put(112, format.as_bytes());
            }
        }
        bytes
    }

    #[test]
    fn a_plain_header_is_read() {
        let header = parse(&image(None)).unwrap();
        assert_eq!(header.virtual_bytes, 8 << 30);
        assert_eq!(header.cluster_bytes, 65536);
        assert_eq!(header.backing, None);
    }

    #[test]
    fn a_backing_file_is_read_with_its_format() {
        let header = parse(&image(Some(("/a/base", Some("raw"))))).unwrap();
        let backing = header.backing.unwrap();
        assert_eq!((backing.name.as_str(), backing.format.as_deref()), ("/a/base", Some("raw")));
        let header = parse(&image(Some(("base", None)))).unwrap();
        assert_eq!(header.backing.unwrap().format, None);
    }

    #[test]
    fn lies_are_refused() {
        let changed = |at: usize, part: &[u8]| {
            let mut bytes = image(Some(("base", Some("raw"))));
            bytes[at..at + part.len()].copy_from_slice(part);
            parse(&bytes).unwrap_err()
        };
        assert_eq!(changed(0, b"X"), HeaderFault::Magic);
        assert_eq!(changed(4, &9_u32.to_be_bytes()), HeaderFault::Version(9));
        assert_eq!(changed(20, &40_u32.to_be_bytes()), HeaderFault::Clusters(40));
        assert_eq!(changed(24, &u64::MAX.to_be_bytes()), HeaderFault::Size(u64::MAX));
        let table = |entries, virtual_bytes| HeaderFault::Table { entries, virtual_bytes };
        assert_eq!(changed(24, &(1_u64 << 60).to_be_bytes()), table(16, 1 << 60));
        assert_eq!(changed(36, &15_u32.to_be_bytes()), table(15, 8 << 30));
        assert_eq!(changed(36, &u32::MAX.to_be_bytes()), table(u32::MAX.into(), 8 << 30));
        assert_eq!(changed(96, &7_u32.to_be_bytes()), HeaderFault::RefcountOrder(7));
        assert_eq!(changed(8, &u64::MAX.to_be_bytes()), HeaderFault::BackingName);
        assert_eq!(changed(16, &u32::MAX.to_be_bytes()), HeaderFault::BackingName);
        assert_eq!(changed(512, b"\0"), HeaderFault::BackingText);
        assert_eq!(changed(108, &u32::MAX.to_be_bytes()), HeaderFault::Extensions);
        assert_eq!(changed(100, &u32::MAX.to_be_bytes()), HeaderFault::Extensions);
    }

    #[test]
    fn no_cut_and_no_flipped_byte_panics() {
        let whole = image(Some(("base", Some("qcow2"))));
        for length in 0..whole.len() {
            let _ = parse(&whole[..length]);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = parse(&bytes);
            }
        }
    }
}
