//! What a file looks like, for lists: formats by their first bytes, bounded, in memory-safe code.
//!
//! Never for a start: there the document says the format (see [`crate::format`]). What claims to be a format and is
//! broken is shown with that format's name and the file's own length. Layouts: QEMU's docs/interop and block/*.c
//! comments (qed, vdi, vpc, vmdk, parallels), ECMA-119 for ISO 9660.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use super::kind::VolumeFormat;
use crate::qcow2::{self, Header};

/// Enough for every magic and number but qcow2's backing name and ISO's mark.
const START_BYTES: usize = 512;
/// docs/interop/qcow2.txt: `crypt_method`.
const QCOW2_CRYPT_AT: usize = 32;
const QCOW2_CRYPT_LUKS: u32 = 2;
const LUKS_MAGIC: &[u8] = b"LUKS\xba\xbe";
const ISO_MARK: (u64, &[u8]) = (32769, b"CD001");

/// What a file looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Looks {
    pub format: VolumeFormat,
    /// The disk's size, where the format tells.
    pub capacity: Option<u64>,
    /// A qcow2's header, if it is sound.
    pub qcow2: Option<Header>,
    /// Its bytes are encrypted with LUKS, by its own header or a qcow2's.
    pub is_luks: bool,
}

impl Looks {
    const fn plain(format: VolumeFormat, capacity: Option<u64>) -> Self {
        Self { format, capacity, qcow2: None, is_luks: false }
    }
}

/// Looks at a file of `length` bytes.
pub(crate) fn probe(file: &File, length: u64) -> io::Result<Looks> {
    let mut start = [0; START_BYTES];
    let filled = read_at(file, &mut start, 0)?;
    let start = &start[..filled];
    let (format, capacity) = magic(start);
    if format == VolumeFormat::Qcow2 {
        let mut bytes = vec![0; qcow2::READ_BYTES.min(usize::try_from(length).unwrap_or(usize::MAX))];
        let filled = read_at(file, &mut bytes, 0)?;
        let header = qcow2::parse(&bytes[..filled]).ok();
        let capacity = header.as_ref().map(|header| header.virtual_bytes);
        let is_luks = number(start, QCOW2_CRYPT_AT).map(u32::from_be_bytes) == Some(QCOW2_CRYPT_LUKS);
        return Ok(Looks { format, capacity, qcow2: header, is_luks });
    }
    if start.starts_with(LUKS_MAGIC) {
        let capacity = luks_payload(start).and_then(|at| length.checked_sub(at));
        return Ok(Looks { is_luks: true, ..Looks::plain(VolumeFormat::Raw, capacity) });
    }
    if format == VolumeFormat::Raw && length > ISO_MARK.0 {
        let mut mark = [0; 5];
        if read_at(file, &mut mark, ISO_MARK.0)? == mark.len() && mark == *ISO_MARK.1 {
            return Ok(Looks::plain(VolumeFormat::Iso, None));
        }
    }
    Ok(Looks::plain(format, capacity))
}

/// Where the data of a LUKS container begins, if its header says. LUKS On-Disk Format 1.2.3: version at 6, payload
/// offset in sectors at 104.
pub(crate) fn luks_payload(start: &[u8]) -> Option<u64> {
    if !start.starts_with(LUKS_MAGIC) {
        return None;
    }
    let version = number(start, 6).map(u16::from_be_bytes);
    let sectors = number(start, 104).map(u32::from_be_bytes);
    sectors.filter(|_| version == Some(1)).map(|sectors| u64::from(sectors) * 512)
}

fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(&mut into[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The format by the first bytes, and the disk's size as they say it.
fn magic(start: &[u8]) -> (VolumeFormat, Option<u64>) {
    use VolumeFormat as Is;
    let le64 = |at: usize| number(start, at).map(u64::from_le_bytes);
    let be64 = |at: usize| number(start, at).map(u64::from_be_bytes);
    let le32 = |at: usize| number(start, at).map(u32::from_le_bytes);
    let be32 = |at: usize| number(start, at).map(u32::from_be_bytes);
    let begins = |bytes: &[u8]| start.starts_with(bytes);
    let has = |at: usize, bytes: &[u8]| start.get(at..at + bytes.len()) == Some(bytes);
    let sane = |bytes: Option<u64>| bytes.filter(|bytes| *bytes <= i64::MAX.cast_unsigned());
    if begins(b"QFI\xfb") {
        return match be32(4) {
            Some(1) => (Is::Qcow, sane(be64(24))),
            Some(2 | 3) => (Is::Qcow2, None),
            _ => (Is::Raw, None),
        };
    }
    if begins(b"QED\0") {
        return (Is::Qed, sane(le64(48)));
    }
    if begins(b"KDMV") && matches!(le32(4), Some(1..=3)) {
        return (Is::Vmdk, sane(le64(12).and_then(|sectors| sectors.checked_mul(512))));
    }
    if begins(b"conectix") {
        return (Is::Vpc, sane(be64(40)));
    }
    if has(64, b"\x7f\x10\xda\xbe") && le32(68) == Some(0x0001_0001) {
        return (Is::Vdi, sane(le64(368)));
    }
    if begins(b"WithoutFreeSpace") || begins(b"WithouFreSpacExt") {
        return (Is::Ploop, sane(le64(36).and_then(|sectors| sectors.checked_mul(512))));
    }
    if begins(b"Bochs Virtual HD Image") {
        return (Is::Bochs, sane(le64(80)));
    }
    if begins(b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop") {
        return (Is::Cloop, None);
    }
    if begins(b"OOOM") {
        return (Is::Cow, sane(be64(1040)));
    }
    (Is::Raw, None)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; START_BYTES];
        for (at, part) in parts {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        bytes
    }

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        let size = 16_777_216_u64;
        let qcow = with(&[(0, b"QFI\xfb\0\0\0\x01"), (24, &size.to_be_bytes())]);
        assert_eq!(magic(&qcow), (VolumeFormat::Qcow, Some(size)));
        let qed = with(&[(0, b"QED\0"), (48, &size.to_le_bytes())]);
        assert_eq!(magic(&qed), (VolumeFormat::Qed, Some(size)));
        let vmdk = with(&[(0, b"KDMV\x01\0\0\0"), (12, &(size / 512).to_le_bytes())]);
        assert_eq!(magic(&vmdk), (VolumeFormat::Vmdk, Some(size)));
        let vpc = with(&[(0, b"conectix"), (40, &size.to_be_bytes())]);
        assert_eq!(magic(&vpc), (VolumeFormat::Vpc, Some(size)));
        let vdi = with(&[(64, b"\x7f\x10\xda\xbe\x01\0\x01\0"), (368, &size.to_le_bytes())]);
        assert_eq!(magic(&vdi), (VolumeFormat::Vdi, Some(size)));
        assert_eq!(magic(b"hello"), (VolumeFormat::Raw, None));
        assert_eq!(magic(b"QFI\xfb\0\0\0\x09"), (VolumeFormat::Raw, None));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0..12_usize) {
            const MAGICS: [&[u8]; 12] = [
                b"", b"QFI\xfb\0\0\0\x01", b"QFI\xfb\0\0\0\x02", b"QFI\xfb\0\0\0\x03", b"QED\0", b"KDMV\x01\0\0\0",
                b"conectix", b"WithoutFreeSpace", b"Bochs Virtual HD Image", b"OOOM", b"\x7f\x10", b"LUKS",
            ];
            let bytes = [MAGICS[at], &bytes].concat();
            let (format, capacity) = magic(&bytes[..bytes.len().min(START_BYTES)]);
            prop_assert!(capacity.is_none_or(|bytes| i64::try_from(bytes).is_ok()), "{format}");
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, &bytes).unwrap();
            prop_assert_eq!(probe(&file, bytes.len() as u64).unwrap().format, format);
        }
    }
}
