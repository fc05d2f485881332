//! The formats of image files that can be looked at and converted.

use std::{fmt, str::FromStr};

use crate::format::Format;

/// An image file's format. Guests' disks are of two of them ([`Format`]); the others come in and go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageFormat {
    /// The bytes as a guest sees them.
    Raw,
    /// QEMU's own, versions 2 and 3.
    Qcow2,
    /// VMware's.
    Vmdk,
    /// VirtualBox's.
    Vdi,
    /// Microsoft's first, also known as VHD.
    Vpc,
    /// Microsoft's second.
    Vhdx,
    /// QEMU's former.
    Qed,
}

/// The word is not one of the formats.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("format `{0}` is not known (there are raw, qcow2, vmdk, vdi, vpc, vhdx and qed)")]
pub struct UnknownImageFormat(pub String);

impl ImageFormat {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Raw, Self::Qcow2, Self::Vmdk, Self::Vdi, Self::Vpc, Self::Vhdx, Self::Qed];

    /// QEMU's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vdi => "vdi",
            Self::Vpc => "vpc",
            Self::Vhdx => "vhdx",
            Self::Qed => "qed",
        }
    }

    /// As a guest's disk may have it; none: it is converted first.
    pub const fn of_disks(self) -> Option<Format> {
        match self {
            Self::Raw => Some(Format::Raw),
            Self::Qcow2 => Some(Format::Qcow2),
            Self::Vmdk | Self::Vdi | Self::Vpc | Self::Vhdx | Self::Qed => None,
        }
    }
}

impl From<Format> for ImageFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Raw => Self::Raw,
            Format::Qcow2 => Self::Qcow2,
        }
    }
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ImageFormat {
    type Err = UnknownImageFormat;

    fn from_str(word: &str) -> Result<Self, UnknownImageFormat> {
        if word == "vhd" {
            return Ok(Self::Vpc);
        }
        let found = Self::ALL.iter().copied().find(|format| format.as_str() == word);
        found.ok_or_else(|| UnknownImageFormat(word.to_owned()))
    }
}

/// What some bytes look like, as a format. Only for who asked for a guess, and for messages.
pub(crate) fn guess(start: &[u8], end: &[u8]) -> ImageFormat {
    let has = |at: usize, bytes: &[u8]| start.get(at..at + bytes.len()) == Some(bytes);
    if has(0, b"QFI\xfb") {
        ImageFormat::Qcow2
    } else if has(0, b"KDMV") || has(0, b"# Disk DescriptorFile") {
        ImageFormat::Vmdk
    } else if has(64, b"\x7f\x10\xda\xbe") {
        ImageFormat::Vdi
    } else if has(0, b"vhdxfile") {
        ImageFormat::Vhdx
    } else if has(0, b"QED\0") {
        ImageFormat::Qed
    } else if has(0, b"conectix") || end.starts_with(b"conectix") {
        // A fixed one has its mark in the last sector only.
        ImageFormat::Vpc
    } else {
        ImageFormat::Raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_there_and_back_and_vhd_is_vpc() {
        for format in ImageFormat::ALL {
            assert_eq!(format.as_str().parse(), Ok(*format));
        }
        assert_eq!("vhd".parse(), Ok(ImageFormat::Vpc));
        assert_eq!("QCOW2".parse::<ImageFormat>(), Err(UnknownImageFormat("QCOW2".to_owned())));
    }

    #[test]
    fn a_guess_goes_by_the_marks() {
        assert_eq!(guess(b"QFI\xfb\0\0\0\x03", b""), ImageFormat::Qcow2);
        assert_eq!(guess(b"KDMV", b""), ImageFormat::Vmdk);
        assert_eq!(guess(&[0; 512], b"conectix"), ImageFormat::Vpc);
        assert_eq!(guess(b"", b""), ImageFormat::Raw);
    }
}
