//! What a guest has of the host's devices, and what must be done to give it back, on disk before it is done.
//!
//! A note is of one boot: after another nothing that it tells of is so any more.

use std::io;
use std::path::{Path, PathBuf};

use lodge_model::{DomainId, MacAddr};
use serde::{Deserialize, Serialize};

use super::taken::Wish;

/// One guest's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Note {
    pub domain: DomainId,
    pub name: String,
    pub boot: String,
    pub wishes: Vec<Wish>,
    #[serde(default)]
    pub rebound: Vec<Rebound>,
    #[serde(default)]
    pub given: Vec<Given>,
    #[serde(default)]
    pub functions: Vec<Function>,
}

/// A PCI device that gets another driver for the time of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rebound {
    pub address: String,
    /// VFIO's driver that has it meanwhile.
    pub driver: String,
    pub before: Before,
    /// What `driver_override` said before.
    pub preferred: Option<String>,
}

/// Who had a device before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Before {
    /// This driver.
    Driver(String),
    /// Nobody.
    Nobody,
    /// A libvirt daemon took it, and did not say from whom: the kernel chooses.
    Unknown,
}

/// A node that gets another owner for the time of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Given {
    pub path: PathBuf,
    /// User and group before.
    pub owner: (u32, u32),
}

/// A card's virtual function that gets another address and VLAN of it for the time of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Function {
    /// Where it is itself on PCI: its card's name may change.
    pub address: String,
    pub before: Setting,
}

/// What a card has set for one of its virtual functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Setting {
    /// All zeroes: the function's driver chooses.
    pub mac: MacAddr,
    /// Zero: none.
    pub vlan: u32,
    /// The priority in the VLAN's tag.
    pub priority: u32,
}

impl Note {
    /// Writes it; whole or not at all.
    pub fn write(&self, directory: &Path) -> Result<(), (PathBuf, io::Error)> {
        let path = path_of(directory, self.domain);
        let written = lodge_sys::fs::create_dirs_durable(directory, 0o700).and_then(|()| {
            let text = serde_json::to_vec_pretty(self)?;
            lodge_sys::fs::write_durable(&path, &text, 0o600)
        });
        written.map_err(|error| (path, error))
    }

    /// That of one guest.
    pub fn read(directory: &Path, domain: DomainId) -> io::Result<Option<Self>> {
        match std::fs::read(path_of(directory, domain)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All of them; what cannot be read is left where it is.
    pub fn all(directory: &Path) -> Vec<Self> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let note = |entry: std::fs::DirEntry| {
            let (path, name) = (entry.path(), entry.file_name());
            let domain: DomainId = name.to_str()?.strip_suffix(".json")?.parse().ok()?;
            match Self::read(directory, domain) {
                Ok(note) => note,
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "what a guest has of the host's devices cannot be read");
                    None
                }
            }
        };
        entries.filter_map(note).collect()
    }

    /// It is done with.
    pub fn remove(directory: &Path, domain: DomainId) -> io::Result<()> {
        if !directory.is_dir() {
            return Ok(());
        }
        lodge_sys::fs::remove_durable(&path_of(directory, domain)).map(drop)
    }
}

fn path_of(directory: &Path, domain: DomainId) -> PathBuf {
    directory.join(format!("{domain}.json"))
}
