//! The formats Lodge reads and makes.

use std::{fmt, str::FromStr};

/// A disk image's format. Others are converted before use: `qemu-img convert`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The bytes as the guest sees them; also every CD image.
    Raw,
    /// QEMU's own, versions 2 and 3.
    Qcow2,
}

/// The word is not one of the formats.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("format `{0}` is not supported (there are raw and qcow2)")]
pub struct UnknownFormat(pub String);

impl Format {
    /// QEMU's word for it, which is libvirt's too.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        match word {
            "raw" => Ok(Self::Raw),
            "qcow2" => Ok(Self::Qcow2),
            other => Err(UnknownFormat(other.to_owned())),
        }
    }
}

/// What some bytes look like, for a message to a person; never for a decision.
pub(crate) fn looks_like(start: &[u8]) -> &'static str {
    const MAGICS: &[(&[u8], &str)] = &[
        (b"QFI\xfb", "qcow2"),
        (b"KDMV", "VMDK"),
        (b"# Disk DescriptorFile", "VMDK"),
        (b"conectix", "VHD"),
        (b"vhdxfile", "VHDX"),
        (b"<<< ", "VDI"),
        (b"QED\0", "QED"),
        (b"LUKS", "LUKS"),
        (b"\x1f\x8b", "something packed by gzip"),
        (b"\xfd7zXZ", "something packed by xz"),
        (b"\x28\xb5\x2f\xfd", "something packed by zstd"),
        (b"PK\x03\x04", "a zip archive"),
        (b"<", "a text of markup"),
    ];
    if start.is_empty() {
        return "an empty file";
    }
    if start.iter().all(|byte| *byte == 0) {
        return "a raw disk";
    }
    if start.len() >= 512 && start[510..512] == [0x55, 0xaa] {
        return "a raw disk";
    }
    MAGICS.iter().find(|(magic, _)| start.starts_with(magic)).map_or("no known format", |(_, name)| name)
}
