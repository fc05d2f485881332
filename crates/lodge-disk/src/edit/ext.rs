//! Edits of ext2, ext3 and ext4, by e2fsprogs' debugfs in a jail.
//!
//! ```text
//!  superblock: in order? ── journal to replay? e2fsck ── script ── debugfs ── read back ── as wanted, or nothing is
//! ```
//! debugfs says errors and ends with status 0, so what it did is judged by what is read back afterwards. Why debugfs: it
//! is kept by those who keep the file system, knows all its features (checksums, hashed directories, inline data), and
//! works on a file. libext2fs itself is LGPL, and no crate writes ext4 that others use.

mod script;
mod superblock;

use std::sync::Arc;

use lodge_model::guest_disk::FilePath;
use uuid::Uuid;

use self::{
    script::{Script, Untellable},
    superblock::Superblock,
};
use super::{
    error::EditError,
    plan::Step,
    tool::{Act, SCRIPT, Tools},
    verify::verify,
};
use crate::{
    blocks::Blocks,
    fs::FileSystem,
    view::{File, View},
};

/// Opens the file system again, as it is after the edits.
pub(crate) type Reopen<'a> = &'a dyn Fn() -> Result<Box<dyn FileSystem>, EditError>;

/// An ext file system that is to be edited.
pub(crate) struct Ext<'a> {
    /// What messages call its device.
    pub device: &'a str,
    /// What it lies on.
    pub blocks: Arc<dyn Blocks>,
}

impl Ext<'_> {
    /// Carries steps out, and reads back what came of them.
    pub fn carry_out(
        &self,
        steps: &[Step],
        reopen: Reopen<'_>,
        tools: &mut dyn Tools,
    ) -> Result<(), EditError> {
        let mut script = Script::default();
        for step in steps {
            let added = match step {
                Step::MakeDirectory(path) => script.make_directory(path),
                Step::Write { path, bytes, owner } => script.write(path, bytes, *owner),
                Step::Link { path, to } => script.link(path, to),
                Step::Remove(path) => script.remove(path),
                Step::RemoveDirectory(path) => script.remove_directory(path),
            };
            added.map_err(|Untellable(path)| untellable(&path))?;
        }
        if script.is_empty() {
            return Ok(());
        }
        self.make_ready(tools)?;
        let (lines, inputs) = script.done();
        let mut view = self.view();
        view.files.push(File { name: SCRIPT, content: Arc::new(Lines(lines)), writable: false });
        view.inputs = inputs;
        let said = tools.run(Act::ExtScript, view)?;
        let read_back = reopen()?;
        verify(&*read_back, steps)
            .map_err(|(path, why)| Act::ExtScript.failed(&format!("{path} on {}", self.device), &why, &said))
    }

    /// Gives it another UUID; says whether it was otherwise.
    pub fn set_uuid(&self, uuid: Uuid, tools: &mut dyn Tools) -> Result<bool, EditError> {
        if self.superblock()?.uuid == uuid {
            return Ok(false);
        }
        self.make_ready(tools)?;
        let mut said = tools.run(Act::ExtUuid(uuid), self.view())?;
        if self.superblock()?.uuid != uuid && said.words.contains("freshly checked") {
            let checked = tools.run(Act::ExtCheck, self.view())?;
            if !matches!(checked.code, Some(0..=1)) {
                return Err(Act::ExtCheck.failed(self.device, "it is not in order", &checked));
            }
            said = tools.run(Act::ExtUuid(uuid), self.view())?;
        }
        if self.superblock()?.uuid == uuid {
            return Ok(true);
        }
        Err(Act::ExtUuid(uuid).failed(self.device, "the UUID is still the old one", &said))
    }

    /// Writes what its journal holds to where it belongs, as the guest's kernel would at its next mount.
    pub fn replay(&self, tools: &mut dyn Tools) -> Result<(), EditError> {
        if !self.superblock()?.needs_recovery {
            return Ok(());
        }
        let said = tools.run(Act::ExtReplay, self.view())?;
        if self.superblock()?.needs_recovery {
            return Err(Act::ExtReplay.failed(self.device, "its journal is not replayed", &said));
        }
        Ok(())
    }

    /// Whether it may be edited.
    fn make_ready(&self, tools: &mut dyn Tools) -> Result<(), EditError> {
        self.replay(tools)?;
        match self.superblock()?.fault() {
            Some(why) => Err(EditError::Unfit { place: self.device.to_owned(), why: why.to_owned() }),
            None => Ok(()),
        }
    }

    fn superblock(&self) -> Result<Superblock, EditError> {
        Superblock::read(&*self.blocks)
            .map_err(|error| EditError::Damaged { place: self.device.to_owned(), why: error.to_string() })
    }

    fn view(&self) -> View {
        View::of_disk(self.blocks.clone())
    }
}

fn untellable(path: &FilePath) -> EditError {
    EditError::Untellable { path: path.to_string(), program: Act::ExtScript.program().to_owned() }
}

/// A script as a file.
#[derive(Debug)]
struct Lines(Vec<u8>);

impl Blocks for Lines {
    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
        let piece = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)?.get(..into.len()));
        into.copy_from_slice(piece.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, _: u64, _: &[u8]) -> std::io::Result<()> {
        Err(std::io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&self) -> std::io::Result<()> {
        Ok(())
    }
}
