//! What lies in a device, by its magic bytes, in `blkid`'s words and forms.
//!
//! Offsets are libblkid's (superblocks/*.c) and the formats' own documents'. Deliberately absent: reading it, and
//! any judgement whether it is whole.

use std::io;

use lodge_model::{Bytes, guest_disk::Content};

use super::span::{Span, head};
use crate::blocks::Blocks;

/// All magic bytes but btrfs' lie here.
const HEAD_BYTES: usize = 72 << 10;
const EXT: usize = 1024;
const BTRFS: usize = 64 << 10;
const ISO: usize = 32 << 10;
const SWAP_PAGES: [usize; 4] = [4096, 8192, 16384, 65536];
/// What ext3 has and no more: `blkid` calls anything else ext4.
const EXT3_INCOMPAT: u32 = 0x2 | 0x4 | 0x10;
const EXT3_RO_COMPAT: u32 = 0x1 | 0x2 | 0x4;
const MD_MAGIC: u32 = 0xa92b_4efc;

/// What lies in `device`; none where nothing is known.
pub(crate) fn probe(device: &dyn Blocks) -> io::Result<Option<Content>> {
    let bytes = head(device, 0, HEAD_BYTES)?;
    let span = Span(&bytes);
    if let Some(content) = lvm(span).or_else(|| luks(span)) {
        return Ok(Some(content));
    }
    if let Some(content) = super::md::member(device)? {
        return Ok(Some(content));
    }
    if let Some(content) = old_md(device)? {
        return Ok(Some(content));
    }
    let found = ext(span).or_else(|| xfs(span)).or_else(|| btrfs(span)).or_else(|| swap(span));
    let found = found.or_else(|| fat(device, span)).or_else(|| foreign(span)).or_else(|| iso(span));
    Ok(found)
}

fn content(kind: &str, uuid: Option<String>, label: Option<String>) -> Content {
    Content { kind: kind.to_owned(), uuid, label, group: None, used: None }
}

fn lvm(span: Span<'_>) -> Option<Content> {
    let uuid = super::lvm::label(span)?.uuid;
    Some(content("LVM2_member", Some(uuid), None))
}

fn luks(span: Span<'_>) -> Option<Content> {
    if !span.has(0, b"LUKS\xba\xbe") {
        return None;
    }
    let label = if span.array::<2>(6)? == [0, 2] { span.label(24, 48) } else { None };
    Some(content("crypto_LUKS", span.label(168, 40), label))
}

/// The superblock of old, 64 KiB before the end.
fn old_md(device: &dyn Blocks) -> io::Result<Option<Content>> {
    let Some(at) = (device.bytes() & !0xffff).checked_sub(0x1_0000) else { return Ok(None) };
    let bytes = head(device, at, 64)?;
    let span = Span(&bytes);
    let is_md = [span.u32_le(0), span.u32_be(0)].contains(&Some(MD_MAGIC)) && span.u32_le(4) == Some(0);
    Ok(is_md.then(|| content("linux_raid_member", None, None)))
}

fn ext(span: Span<'_>) -> Option<Content> {
    if !span.has(EXT + 56, &[0x53, 0xef]) {
        return None;
    }
    let (compat, incompat) = (span.u32_le(EXT + 92)?, span.u32_le(EXT + 96)?);
    let ro_compat = span.u32_le(EXT + 100)?;
    let kind = if incompat & 0x8 != 0 {
        "jbd"
    } else if incompat & !EXT3_INCOMPAT != 0 || ro_compat & !EXT3_RO_COMPAT != 0 {
        "ext4"
    } else if compat & 0x4 != 0 {
        "ext3"
    } else {
        "ext2"
    };
    let (mut blocks, mut free) = (u64::from(span.u32_le(EXT + 4)?), u64::from(span.u32_le(EXT + 12)?));
    if incompat & 0x80 != 0 {
        blocks |= u64::from(span.u32_le(EXT + 0x150)?) << 32;
        free |= u64::from(span.u32_le(EXT + 0x158)?) << 32;
    }
    let block = 1024_u64.checked_shl(span.u32_le(EXT + 24)?.min(6))?;
    let mut content = content(kind, span.uuid(EXT + 104), span.label(EXT + 120, 16));
    content.used = blocks.checked_sub(free).and_then(|used| used.checked_mul(block)).map(Bytes);
    Some(content)
}

fn xfs(span: Span<'_>) -> Option<Content> {
    if !span.has(0, b"XFSB") {
        return None;
    }
    let mut content = content("xfs", span.uuid(32), span.label(108, 12));
    let taken = u64::from(span.u32_be(96)?).checked_add(span.u64_be(144)?)?;
    let used = span.u64_be(8)?.checked_sub(taken);
    content.used = used.and_then(|used| used.checked_mul(u64::from(span.u32_be(4)?))).map(Bytes);
    Some(content)
}

fn btrfs(span: Span<'_>) -> Option<Content> {
    if !span.has(BTRFS + 0x40, b"_BHRfS_M") {
        return None;
    }
    let mut content = content("btrfs", span.uuid(BTRFS + 0x20), span.label(BTRFS + 0x12b, 256));
    content.used = span.u64_le(BTRFS + 0x78).map(Bytes);
    Some(content)
}

fn swap(span: Span<'_>) -> Option<Content> {
    for page in SWAP_PAGES {
        let at = page - 10;
        if span.has(at, b"SWAPSPACE2") || span.has(at, b"SWAP-SPACE") {
            return Some(content("swap", span.uuid(1024 + 12), span.label(1024 + 28, 16)));
        }
        if span.has(at, b"S1SUSPEND") || span.has(at, b"S2SUSPEND") || span.has(at, b"ULSUSPEND") {
            return Some(content("swsuspend", span.uuid(1024 + 12), span.label(1024 + 28, 16)));
        }
    }
    None
}

/// A FAT's boot sector: sizes that fit, and the kind's name.
fn fat_kind(span: Span<'_>) -> Option<bool> {
    let is_32 = span.has(82, b"FAT32   ");
    let is_small = span.has(54, b"FAT12   ") || span.has(54, b"FAT16   ") || span.has(54, b"FAT     ");
    let sector = span.u16_le(11)?;
    let cluster = span.array::<1>(13)?[0];
    let fats = span.array::<1>(16)?[0];
    let is_sane = matches!(sector, 512 | 1024 | 2048 | 4096) && cluster.is_power_of_two();
    let is_fat = span.has(510, &[0x55, 0xaa])
        && is_sane
        && span.u16_le(14)? > 0
        && (1..=2).contains(&fats)
        && (is_32 || is_small);
    is_fat.then_some(is_32)
}

/// Whether this first sector is a file system's, whose `55 AA` is no partition table's.
pub(super) fn is_boot_sector_of_a_file_system(span: Span<'_>) -> bool {
    fat_kind(span).is_some() || foreign(span).is_some()
}

fn fat(device: &dyn Blocks, span: Span<'_>) -> Option<Content> {
    let is_32 = fat_kind(span)?;
    let (serial, label) = if is_32 { (span.u32_le(67)?, 71) } else { (span.u32_le(39)?, 43) };
    let uuid = (serial != 0).then(|| format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff));
    // What the root directory says counts before the boot sector.
    let label = fat_root_label(device, span, is_32)
        .or_else(|| span.label(label, 11).filter(|label| label != "NO NAME"));
    Some(content("vfat", uuid, label))
}

fn fat_root_label(device: &dyn Blocks, span: Span<'_>, is_32: bool) -> Option<String> {
    let sector = u64::from(span.u16_le(11)?);
    let reserved = u64::from(span.u16_le(14)?);
    let fats = u64::from(span.array::<1>(16)?[0]);
    let fat_sectors = if is_32 { u64::from(span.u32_le(36)?) } else { u64::from(span.u16_le(22)?) };
    let first = reserved + fats * fat_sectors;
    let cluster = u64::from(span.array::<1>(13)?[0]);
    let (at, length) = if is_32 {
        let root = u64::from(span.u32_le(44)?).checked_sub(2)?;
        ((first + root * cluster) * sector, usize::try_from(cluster * sector).ok()?)
    } else {
        (first * sector, usize::from(span.u16_le(17)?) * 32)
    };
    let root = head(device, at, length).ok()?;
    for entry in root.chunks_exact(32).take_while(|entry| entry[0] != 0) {
        // The label's mark, without the marks of long names' parts; 0xe5 is a removed one.
        if entry[11] & 0x18 == 0x08 && entry[11] & 0x0f != 0x0f && entry[0] != 0xe5 {
            return Span(entry).label(0, 11);
        }
    }
    None
}

/// What is named and no more.
fn foreign(span: Span<'_>) -> Option<Content> {
    if span.has(3, b"NTFS    ") {
        return Some(content("ntfs", span.u64_le(72).map(|serial| format!("{serial:016X}")), None));
    }
    if span.has(3, b"-FVE-FS-") {
        return Some(content("BitLocker", None, None));
    }
    if span.has(3, b"EXFAT   ") {
        let serial = span.u32_le(100)?;
        return Some(content("exfat", Some(format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)), None));
    }
    if span.has(0, b"hsqs") {
        return Some(content("squashfs", None, None));
    }
    if span.has(EXT, &[0x10, 0x20, 0xf5, 0xf2]) {
        return Some(content("f2fs", span.uuid(EXT + 108), None));
    }
    None
}

fn iso(span: Span<'_>) -> Option<Content> {
    if !span.has(ISO + 1, b"CD001") {
        return None;
    }
    let date = |at: usize| {
        let digits = span.sub(ISO + at, 16)?;
        let is_date = digits.iter().all(u8::is_ascii_digit) && digits.iter().any(|digit| *digit != b'0');
        let text = std::str::from_utf8(digits).ok().filter(|_| is_date)?;
        let (year, rest) = text.split_at(4);
        let pairs: Vec<&str> = (0..6).filter_map(|pair| rest.get(2 * pair..2 * pair + 2)).collect();
        Some(format!("{year}-{}", pairs.join("-")))
    };
    Some(content("iso9660", date(830).or_else(|| date(813)), span.label(ISO + 40, 32)))
}
