//! The programs that may work on a view, and how each is called.
//!
//! A closed list: whoever reads the hostile image asks for one of these acts, and never for a command line.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::EditError;
use crate::{
    blocks::Blocks,
    view::{File, View},
    workshop,
};

/// The file of the view that is the device.
pub(crate) const DISK: &str = "disk";
/// The file of the view that is debugfs' script.
pub(crate) const SCRIPT: &str = "script";
/// Where the view is.
pub(crate) const PLACE: &str = "/view";

/// What a program is to do with the view's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    /// Carry out a script on an ext file system.
    ExtScript,
    /// Write an ext file system's journal to where it belongs.
    ExtReplay,
    /// Put an ext file system in order where no judgement is needed.
    ExtCheck,
    /// Give an ext file system another UUID.
    ExtUuid(Uuid),
    /// Give an XFS another UUID.
    XfsUuid(Uuid),
    /// Carry out the workshop's job, with the kernel and the initramfs that are the view's inputs.
    Workshop,
}

/// How a program ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Said {
    /// Its exit status; none: a signal ended it.
    pub code: Option<i32>,
    /// The last that it said.
    pub words: String,
}

/// Runs programs on views.
pub(crate) trait Tools {
    /// Runs one to its end on a view.
    fn run(&mut self, act: Act, view: View) -> Result<Said, EditError>;
}

impl Act {
    /// The program's name.
    pub fn program(&self) -> &'static str {
        match self {
            Self::ExtScript => "debugfs",
            Self::ExtReplay | Self::ExtCheck => "e2fsck",
            Self::ExtUuid(_) => "tune2fs",
            Self::XfsUuid(_) => "xfs_db",
            Self::Workshop => workshop::program(),
        }
    }

    /// The package in which distributions have it.
    pub fn package(&self) -> &'static str {
        match self {
            Self::ExtScript | Self::ExtReplay | Self::ExtCheck | Self::ExtUuid(_) => "e2fsprogs",
            Self::XfsUuid(_) => "xfsprogs",
            Self::Workshop => "qemu-system",
        }
    }

    /// Its arguments.
    pub fn args(&self) -> Vec<String> {
        let (disk, script) = (format!("{PLACE}/{DISK}"), format!("{PLACE}/{SCRIPT}"));
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Self::ExtScript => words(&["-w", "-f", &script, &disk]),
            Self::ExtReplay => words(&["-y", "-E", "journal_only", &disk]),
            Self::ExtCheck => words(&["-fp", &disk]),
            Self::ExtUuid(uuid) => words(&["-U", &uuid.to_string(), &disk]),
            Self::XfsUuid(uuid) => words(&["-x", "-c", &format!("uuid {uuid}"), &disk]),
            Self::Workshop => workshop::arguments(&format!("{PLACE}/0"), &format!("{PLACE}/1"), &disk),
        }
    }

    /// What is said where it did not do what it should.
    pub fn failed(&self, place: &str, why: &str, said: &Said) -> EditError {
        let ending = match said.code {
            Some(code) => format!("exit status {code}"),
            None => "killed by a signal".to_owned(),
        };
        // debugfs repeats each command that it was given.
        let is_its_own = |line: &&str| {
            let is_echo = line.starts_with("debugfs: ") || line.starts_with("Allocated inode");
            *self != Self::ExtScript || !(line.is_empty() || is_echo)
        };
        let words: Vec<&str> = said.words.lines().filter(is_its_own).collect();
        let why = format!("{why} ({ending}; {})", words.join("\n").escape_debug());
        EditError::Tool { program: self.program().to_owned(), place: place.to_owned(), why }
    }
}

impl View {
    /// With nothing but a device.
    pub(crate) fn of_disk(device: Arc<dyn Blocks>) -> Self {
        Self { files: vec![File { name: DISK, content: device, writable: true }], inputs: Vec::new() }
    }
}
