//! The files a VMDK names, read before anything opens them. Pure.
//!
//! A VMDK is a text that names its extents, alone in a file or inside of a sparse extent's first sectors, where its
//! one extent is that file itself. Layout: VMware's "Virtual Disk Format 5.0". Deliberately absent: the extents' tables,
//! which `qemu-img` reads, shut in.

use crate::limits;

const SECTOR_BYTES: u64 = 512;
const SPARSE_MAGIC: &[u8] = b"KDMV";
const TEXT_MAGIC: &[u8] = b"# Disk DescriptorFile";

/// What a VMDK says of other files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Names {
    /// Its extents' names. None: it is all in this file.
    pub extents: Vec<String>,
    /// The file it stands on.
    pub parent: Option<String>,
}

/// Why the bytes are no VMDK.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VmdkFault {
    #[error("it begins neither as a sparse extent nor as a descriptor does")]
    Magic,
    #[error("its descriptor lies outside of the first {} bytes", limits::VMDK_TEXT_BYTES)]
    Descriptor,
    #[error("line {0} of its descriptor is not text")]
    Text(usize),
    #[error("line {0} of its descriptor names an extent without quotes")]
    Extent(usize),
    #[error("its descriptor has more than {} extents", limits::VMDK_EXTENTS)]
    Extents,
}

/// Reads the names from the first [`limits::VMDK_TEXT_BYTES`] of a file (or all of it, if it is shorter).
pub(crate) fn names(start: &[u8]) -> Result<Names, VmdkFault> {
    if start.starts_with(TEXT_MAGIC) {
        return of_text(start);
    }
    if !start.starts_with(SPARSE_MAGIC) {
        return Err(VmdkFault::Magic);
    }
    let number = |at: usize| {
        let bytes = start.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u64::from_le_bytes).ok_or(VmdkFault::Descriptor)
    };
    let (at, length) = (number(28)?, number(36)?);
    if at == 0 {
        // An extent of another file's descriptor, or one that has none.
        return Ok(Names::default());
    }
    let bytes = |sectors: u64| {
        let bytes = sectors.checked_mul(SECTOR_BYTES).and_then(|bytes| usize::try_from(bytes).ok());
        bytes.ok_or(VmdkFault::Descriptor)
    };
    let (at, length) = (bytes(at)?, bytes(length)?);
    let end = at.saturating_add(length).min(start.len());
    let names = of_text(start.get(at..end).ok_or(VmdkFault::Descriptor)?)?;
    // With a size of its own the file is the extent, whatever the text calls it.
    Ok(if number(12)? == 0 { names } else { Names { extents: Vec::new(), ..names } })
}

fn of_text(text: &[u8]) -> Result<Names, VmdkFault> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut names = Names::default();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = std::str::from_utf8(line).map_err(|_| VmdkFault::Text(number + 1))?.trim();
        let quoted = || line.split('"').nth(1).map(str::to_owned);
        let is_extent = ["RW ", "RDONLY ", "NOACCESS "].iter().any(|word| line.starts_with(word));
        if is_extent {
            // Such an extent is zeros, and no file.
            if line.split_whitespace().nth(2) == Some("ZERO") {
                continue;
            }
            names.extents.push(quoted().ok_or(VmdkFault::Extent(number + 1))?);
            if names.extents.len() > limits::VMDK_EXTENTS {
                return Err(VmdkFault::Extents);
            }
        } else if line.starts_with("parentFileNameHint") {
            names.parent = Some(quoted().unwrap_or_else(|| line.to_owned()));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Disk DescriptorFile\nversion=1\n# Extent description\nRW 8 FLAT \"a-f001.vmdk\" 0\n\
                        RW 8 ZERO\nRW 8 SPARSE \"/etc/shadow\"\nparentFileNameHint=\"../b.vmdk\"\n";

    #[test]
    fn a_text_names_extents_and_parent() {
        let names = names(TEXT.as_bytes()).unwrap();
        assert_eq!(names.extents, ["a-f001.vmdk", "/etc/shadow"]);
        assert_eq!(names.parent.as_deref(), Some("../b.vmdk"));
    }

    #[test]
    fn a_sparse_extent_has_its_text_inside() {
        let mut bytes = vec![0; 2048];
        bytes[..4].copy_from_slice(SPARSE_MAGIC);
        assert_eq!(names(&bytes), Ok(Names::default()));
        bytes[28] = 1;
        bytes[36] = 2;
        bytes[512..512 + TEXT.len()].copy_from_slice(TEXT.as_bytes());
        assert_eq!(names(&bytes).unwrap().extents.len(), 2);
        bytes[12] = 1;
        assert_eq!(names(&bytes).unwrap().extents.len(), 0);
        assert!(names(&bytes).unwrap().parent.is_some());
        bytes[28..36].fill(0xff);
        assert_eq!(names(&bytes), Err(VmdkFault::Descriptor));
    }

    #[test]
    fn lies_are_refused_and_no_cut_panics() {
        assert_eq!(names(b"KDM"), Err(VmdkFault::Magic));
        assert_eq!(names(b"# Disk DescriptorFile\nRW 8 FLAT a 0"), Err(VmdkFault::Extent(2)));
        assert_eq!(names(b"# Disk DescriptorFile\n\xff"), Err(VmdkFault::Text(2)));
        let many = format!("# Disk DescriptorFile\n{}", "RW 1 FLAT \"a\" 0\n".repeat(2000));
        assert_eq!(names(many.as_bytes()), Err(VmdkFault::Extents));
        for length in 0..TEXT.len() {
            let _ = names(&TEXT.as_bytes()[..length]);
        }
    }
}
