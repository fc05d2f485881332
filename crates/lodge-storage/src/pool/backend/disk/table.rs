//! What `parted --json … unit B print free` prints, read. Pure.

use lodge_model::storage::Extent;
use serde::Deserialize;

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartKind {
    Primary,
    /// It holds logical ones.
    Extended,
    Logical,
}

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub number: u32,
    pub kind: PartKind,
    /// First byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

/// What no partition has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Free {
    pub extent: Extent,
    /// It lies in the extended partition.
    pub is_logical: bool,
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// `parted`'s word: `gpt`, `msdos`.
    pub label: String,
    /// Bytes of the device.
    pub size: u64,
    pub parts: Vec<Part>,
    pub free: Vec<Free>,
}

#[derive(Deserialize)]
struct Printed {
    disk: Disk,
}

#[derive(Deserialize)]
struct Disk {
    size: String,
    label: String,
    #[serde(default)]
    partitions: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    number: i64,
    start: String,
    end: String,
    r#type: String,
}

impl Table {
    pub fn parts_of(&self, kind: PartKind) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.kind == kind)
    }
}

/// Reads it; none: there is no label.
pub(crate) fn read(printed: &[u8]) -> Result<Option<Table>, String> {
    let read: Result<Printed, _> = serde_json::from_slice(printed);
    let disk = read.map_err(|error| format!("what parted printed is not understood: {error}"))?.disk;
    if disk.label == "unknown" {
        return Ok(None);
    }
    let mut table =
        Table { label: disk.label, size: bytes(&disk.size)?, parts: Vec::new(), free: Vec::new() };
    for row in disk.partitions {
        let (start, last) = (bytes(&row.start)?, bytes(&row.end)?);
        let end = last.checked_add(1).filter(|end| *end >= start);
        let end =
            end.ok_or_else(|| format!("parted printed a partition that ends before it begins: {last}"))?;
        let kind = match row.r#type.as_str() {
            "free" => {
                table.free.push(Free { extent: Extent { start, end }, is_logical: false });
                continue;
            }
            "extended" => PartKind::Extended,
            "logical" => PartKind::Logical,
            _ => PartKind::Primary,
        };
        let number =
            u32::try_from(row.number).map_err(|_| format!("no number of a partition: {}", row.number))?;
        table.parts.push(Part { number, kind, start, end });
    }
    let extended: Vec<_> = table.parts_of(PartKind::Extended).map(|part| (part.start, part.end)).collect();
    for free in &mut table.free {
        let Extent { start, end } = free.extent;
        free.is_logical = extended.iter().any(|(from, to)| start >= *from && end <= *to);
    }
    Ok(Some(table))
}

/// `1048576B`.
fn bytes(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('B').and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| format!("parted printed '{text}' for a number of bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_and_what_is_free_are_read() {
        let printed = br#"{"disk":{"path":"/dev/loop0","size":"104857600B","label":"msdos","max-partitions":4,
            "partitions":[{"number":0,"start":"1024B","end":"1048575B","size":"1B","type":"free"},
            {"number":1,"start":"1048576B","end":"20971519B","size":"1B","type":"primary","filesystem":"ext4"},
            {"number":2,"start":"20971520B","end":"62914559B","size":"1B","type":"extended","flags":["lba"]},
            {"number":5,"start":"31457280B","end":"41943039B","size":"1B","type":"logical"},
            {"number":0,"start":"41943040B","end":"62914559B","size":"1B","type":"free"}]}}"#;
        let table = read(printed).unwrap().unwrap();
        let kinds: Vec<_> = table.parts.iter().map(|part| (part.number, part.kind)).collect();
        assert_eq!(kinds, [(1, PartKind::Primary), (2, PartKind::Extended), (5, PartKind::Logical)]);
        assert_eq!(table.parts[0].end, 20_971_520);
        assert_eq!(table.free.iter().map(|free| free.is_logical).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn no_label_is_no_table_and_nonsense_is_told() {
        assert_eq!(read(br#"{"disk":{"size":"5B","label":"unknown"}}"#), Ok(None));
        assert!(read(b"BYT;").unwrap_err().contains("not understood"));
        let text = br#"{"disk":{"size":"5MB","label":"gpt"}}"#;
        assert_eq!(read(text).unwrap_err(), "parted printed '5MB' for a number of bytes");
    }
}
