//! Where a new partition goes, what it is called, what `parted` is told. Pure.
//!
//! It begins at a MiB, as every partitioner does today (libvirt aligns to cylinders, which no disk has any more), in
//! the smallest gap that holds it.

use std::path::{Path, PathBuf};

use super::table::{PartKind, Table};
use crate::pool::error::PoolError;

const MIB: u64 = 1 << 20;
/// Partitions that a table of type dos has room for; a fifth must be a logical one.
const DOS_PRIMARY: usize = 4;
/// The most partitions that the kernel numbers on one disk.
const NUMBER_MAX: u32 = 256;
/// The first number of a logical partition.
const FIRST_LOGICAL: u32 = 5;

/// A partition to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewPart {
    pub kind: PartKind,
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub last: u64,
    /// `parted`'s word for what will be in it, if the table says that.
    pub content: Option<&'static str>,
}

/// Plans a partition of `bytes`. `format`: libvirt's word for its content.
pub(crate) fn plan(table: &Table, bytes: u64, format: &str) -> Result<NewPart, PoolError> {
    let kind = kind_of(table, format)?;
    let (start, last) = place(table, bytes, kind)?;
    let content = if table.label == "msdos" { content_of(format)? } else { None };
    Ok(NewPart { kind, number: number_of(table, kind), start, last, content })
}

/// libvirt's words, as `parted` has them.
fn content_of(format: &str) -> Result<Option<&'static str>, PoolError> {
    match format {
        "none" | "linux" => Ok(Some("ext2")),
        "fat16" => Ok(Some("fat16")),
        "fat32" => Ok(Some("fat32")),
        "linux-swap" => Ok(Some("linux-swap")),
        // What these are is a flag, not a file system.
        "linux-lvm" | "linux-raid" | "extended" => Ok(None),
        _ => Err(PoolError::Internal("Invalid partition type".to_owned())),
    }
}

fn kind_of(table: &Table, format: &str) -> Result<PartKind, PoolError> {
    let internal = |text: &str| Err(PoolError::Internal(text.to_owned()));
    if table.label != "msdos" {
        return if format == "extended" {
            internal("extended partitions are of tables of type dos only")
        } else {
            Ok(PartKind::Primary)
        };
    }
    let has_extended = table.parts_of(PartKind::Extended).next().is_some();
    let primary = table.parts.iter().filter(|part| part.kind != PartKind::Logical).count();
    match (format == "extended", has_extended) {
        (true, true) => internal("extended partition already exists"),
        (true, false) if primary < DOS_PRIMARY => Ok(PartKind::Extended),
        (false, _) if primary < DOS_PRIMARY => Ok(PartKind::Primary),
        (false, true) => Ok(PartKind::Logical),
        (_, false) => internal("no extended partition found and no primary partition available"),
    }
}

/// The smallest gap that holds it from a MiB on.
fn place(table: &Table, bytes: u64, kind: PartKind) -> Result<(u64, u64), PoolError> {
    // Before a logical partition stands its record.
    let before = if kind == PartKind::Logical { MIB } else { 0 };
    let gaps = table.free.iter().filter(|free| free.is_logical == (kind == PartKind::Logical));
    let fitting = gaps.filter_map(|free| {
        let start = free.extent.start.max(MIB).checked_next_multiple_of(MIB)?;
        let start = if start - free.extent.start < before { start + MIB } else { start };
        let end = start.checked_add(bytes)?.checked_next_multiple_of(512)?;
        (end <= free.extent.end).then_some((free.extent.end - free.extent.start, start, end))
    });
    let best = fitting.min().filter(|_| bytes > 0);
    best.map(|(_, start, end)| (start, end - 1))
        .ok_or_else(|| PoolError::Internal("no large enough free extent".to_owned()))
}

/// The number the kernel will give it.
fn number_of(table: &Table, kind: PartKind) -> u32 {
    let first = if kind == PartKind::Logical { FIRST_LOGICAL } else { 1 };
    let is_taken = |number: &u32| table.parts.iter().any(|part| part.number == *number);
    (first..=NUMBER_MAX).find(|number| !is_taken(number)).unwrap_or(first)
}

/// A partition's node. `separator`: the document's word on the `p` of a device that needs none.
pub(crate) fn node_of(device: &Path, separator: Option<&str>, number: u32) -> PathBuf {
    let mut name = device.as_os_str().to_owned();
    let ends_with_digit = device.as_os_str().as_encoded_bytes().last().is_some_and(u8::is_ascii_digit);
    if ends_with_digit || separator == Some("yes") {
        name.push("p");
    }
    name.push(number.to_string());
    name.into()
}

impl NewPart {
    /// `parted`'s words after the device.
    pub fn arguments(&self, label: &str) -> Vec<String> {
        let kind = match self.kind {
            PartKind::Primary => "primary",
            PartKind::Extended => "extended",
            PartKind::Logical => "logical",
        };
        let mut words = vec!["mkpart".to_owned()];
        // Of a GPT this word is a name.
        words.push(if label == "msdos" { kind } else { "primary" }.to_owned());
        words.extend(self.content.filter(|_| self.kind != PartKind::Extended).map(str::to_owned));
        words.extend([format!("{}B", self.start), format!("{}B", self.last)]);
        words
    }
}

#[cfg(test)]
mod tests {
    use lodge_model::storage::Extent;

    use super::*;
    use crate::pool::backend::disk::table::{Free, Part};

    fn table(label: &str, parts: &[(u32, PartKind)], free: &[(u64, u64, bool)]) -> Table {
        let part = |(number, kind): &(u32, PartKind)| Part { number: *number, kind: *kind, start: 0, end: 1 };
        let free = free.iter().map(|(from, to, is_logical)| Free {
            extent: Extent { start: from << 20, end: to << 20 },
            is_logical: *is_logical,
        });
        Table {
            label: label.to_owned(),
            size: 100 << 20,
            parts: parts.iter().map(part).collect(),
            free: free.collect(),
        }
    }

    use PartKind::{Extended, Logical, Primary};

    #[test]
    fn the_smallest_gap_that_holds_it_is_taken() {
        let gpt =
            table("gpt", &[(1, Primary), (3, Primary)], &[(0, 1, false), (10, 90, false), (91, 97, false)]);
        let part = plan(&gpt, 4 << 20, "none").unwrap();
        assert_eq!((part.number, part.start >> 20, part.last + 1), (2, 91, 95 << 20));
        assert_eq!(
            part.arguments("gpt").join(" "),
            format!("mkpart primary {}B {}B", 91 << 20, (95 << 20) - 1)
        );
        assert_eq!(plan(&gpt, 20 << 20, "none").unwrap().start >> 20, 10);
        assert_eq!(plan(&gpt, 81 << 20, "none").unwrap_err().to_string(), "no large enough free extent");
        assert!(plan(&gpt, u64::MAX, "none").is_err() && plan(&gpt, 0, "none").is_err());
    }

    #[test]
    fn a_fifth_partition_of_a_dos_table_is_logical_and_needs_an_extended_one() {
        let full = [(1, Primary), (2, Primary), (3, Primary), (4, Primary)];
        let error = plan(&table("msdos", &full, &[(50, 90, false)]), 1 << 20, "linux").unwrap_err();
        assert_eq!(error.to_string(), "no extended partition found and no primary partition available");
        let extended = [(1, Primary), (2, Primary), (3, Primary), (4, Extended)];
        let dos = table("msdos", &extended, &[(10, 20, false), (50, 90, true)]);
        let part = plan(&dos, 1 << 20, "linux-swap").unwrap();
        assert_eq!((part.kind, part.number, part.start >> 20), (Logical, 5, 51));
        assert!(part.arguments("msdos").join(" ").starts_with("mkpart logical linux-swap 53477376B"));
        let error = plan(&dos, 1 << 20, "extended").unwrap_err();
        assert_eq!(error.to_string(), "extended partition already exists");
    }

    #[test]
    fn nodes_are_named_as_the_kernel_names_them() {
        let node = |device: &str, separator| node_of(Path::new(device), separator, 3).display().to_string();
        assert_eq!(node("/dev/sda", None), "/dev/sda3");
        assert_eq!(node("/dev/loop0", Some("no")), "/dev/loop0p3");
        assert_eq!(node("/dev/mapper/mpatha", Some("yes")), "/dev/mapper/mpathap3");
    }
}
