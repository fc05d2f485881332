//! The formats of volumes, by libvirt's words.

use std::{fmt, str::FromStr};

/// What a volume's bytes are said to be. For lists and for making volumes: no guest is started by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is its word")]
pub enum VolumeFormat {
    Raw,
    Dir,
    Bochs,
    Cloop,
    Dmg,
    Iso,
    Vpc,
    Vdi,
    Fat,
    Vhd,
    Ploop,
    Cow,
    Qcow,
    Qcow2,
    Qed,
    Vmdk,
}

impl VolumeFormat {
    /// All of them, in libvirt's order.
    pub const ALL: &'static [Self] = &[
        Self::Raw,
        Self::Dir,
        Self::Bochs,
        Self::Cloop,
        Self::Dmg,
        Self::Iso,
        Self::Vpc,
        Self::Vdi,
        Self::Fat,
        Self::Vhd,
        Self::Ploop,
        Self::Cow,
        Self::Qcow,
        Self::Qcow2,
        Self::Qed,
        Self::Vmdk,
    ];

    /// libvirt's word, mostly QEMU's too.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Dir => "dir",
            Self::Bochs => "bochs",
            Self::Cloop => "cloop",
            Self::Dmg => "dmg",
            Self::Iso => "iso",
            Self::Vpc => "vpc",
            Self::Vdi => "vdi",
            Self::Fat => "fat",
            Self::Vhd => "vhd",
            Self::Ploop => "ploop",
            Self::Cow => "cow",
            Self::Qcow => "qcow",
            Self::Qcow2 => "qcow2",
            Self::Qed => "qed",
            Self::Vmdk => "vmdk",
        }
    }

    /// Whether the file's bytes are the disk's.
    pub const fn is_plain(self) -> bool {
        matches!(self, Self::Raw | Self::Iso)
    }
}

impl fmt::Display for VolumeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for VolumeFormat {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|format| format.as_str() == word);
        found.ok_or_else(|| format!("unknown volume format type {word}"))
    }
}
