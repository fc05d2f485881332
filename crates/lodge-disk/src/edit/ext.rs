//! Edits of ext2, ext3 and ext4, by e2fsprogs' debugfs in a jail.
//!
//! ```text
//!  superblock: in order? ── journal to replay? e2fsck ── script ── debugfs ── read back ── as wanted, or nothing is
//!                                                     └── UUID: in the superblocks, or an own pass over all sums, else tune2fs
//! ```
//! debugfs says errors and ends with status 0, so what it did is judged by what is read back afterwards. Why debugfs: it
//! is kept by those who keep the file system, knows all its features (checksums, hashed directories, inline data), and
//! works on a file. libext2fs itself is LGPL, and no crate writes ext4 that others use.

mod identity;
mod kept;
mod script;
mod superblock;
mod tellable;

use std::{collections::BTreeMap, sync::Arc};

use lodge_model::guest_disk::{FilePath, Owner};
use uuid::Uuid;

use self::{
    kept::Kept,
    script::{Script, Untellable},
    superblock::Superblock,
};
use super::{
    error::EditError,
    plan::Step,
    tool::{Act, SCRIPT, Tools},
    tree::root,
    verify::verify,
};
use crate::{
    blocks::Blocks,
    fs::{
        self, FileSystem, FsError,
        ext::{plain::Plain, volume::Volume},
    },
    view::{File, View},
};

/// Whose directories on the way are.
const ROOTS: Owner = Owner { uid: 0, gid: 0, mode: 0o755 };

/// Opens the file system again, as it is after the edits.
pub(crate) type Reopen<'a> = &'a dyn Fn() -> Result<Box<dyn FileSystem>, EditError>;

/// libext2fs' words for a file system that is full.
const NO_ROOM: [&str; 2] = ["Could not allocate block", "Could not allocate inode"];

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
        if steps.is_empty() {
            return Ok(());
        }
        self.make_ready(tools)?;
        let told = tellable::make(self.volume()?, steps).map_err(|error| self.unread(&error))?;
        let (script, kept) = self.script(&told)?;
        let loses_blocks = script.loses_blocks();
        let (lines, inputs) = script.done();
        let mut view = self.view();
        view.files.push(File { name: SCRIPT, content: Arc::new(Lines(lines)), writable: false });
        view.inputs = inputs;
        let said = tools.run(Act::ExtScript, view)?;
        if loses_blocks {
            self.put_in_order(tools)?;
        }
        let failed = |path: &FilePath, why: &str| {
            if NO_ROOM.iter().any(|words| said.words.contains(words)) {
                return EditError::NoRoom { path: path.to_string(), device: self.device.to_owned() };
            }
            Act::ExtScript.failed(&format!("{path} on {}", self.device), why, &said)
        };
        let read_back = reopen()?;
        for steps in [steps, &told] {
            verify(&*read_back, steps).map_err(|(path, why)| failed(&path, &why))?;
        }
        let plain = Plain::new(self.volume()?);
        for (path, kept) in kept {
            match kept.check(&plain, path) {
                // What was written may have been taken away again.
                Ok(Ok(())) | Err(FsError::NotFound | FsError::NotADirectory) => {}
                Ok(Err(why)) => return Err(failed(path, &why)),
                Err(error) => return Err(failed(path, &error.to_string())),
            }
        }
        Ok(())
    }

    /// The steps as a script, and what is to be as it was at each path in the end.
    fn script<'s>(&self, steps: &'s [Step]) -> Result<(Script, BTreeMap<&'s FilePath, Kept>), EditError> {
        let plain = Plain::new(self.volume()?);
        let of = |path, owner| Kept::of(&plain, path, owner).map_err(|error| self.unread(&error));
        let (mut script, mut all_kept) = (Script::default(), BTreeMap::<&FilePath, Kept>::new());
        let mut taken = BTreeMap::new();
        for step in steps {
            let (added, path, kept) = match step {
                Step::MakeDirectory(path) => (script.make_directory(path, ROOTS), path, of(path, None)?),
                Step::Directory { path, owner } => {
                    (script.make_directory(path, *owner), path, of(path, None)?)
                }
                Step::Own { path, owner, is_directory } => {
                    (script.own(path, *is_directory, *owner), path, Kept::default())
                }
                Step::Write { path, bytes, owner } => {
                    (script.write(path, bytes, *owner), path, of(path, Some(*owner))?)
                }
                Step::Append { path, .. } => {
                    let (place, why) =
                        (format!("{path} on {}", self.device), "debugfs adds nothing to a file");
                    return Err(EditError::Unsupported { place, why: why.to_owned() });
                }
                Step::Link { path, to } => (script.link(path, to), path, of(path, None)?),
                Step::Remove(path) | Step::RemoveDirectory(path) => {
                    let gone = match all_kept.remove(path) {
                        Some(made_before) => made_before.attributes,
                        None => {
                            kept::released(&plain, path, &mut taken).map_err(|error| self.unread(&error))?
                        }
                    };
                    let is_directory = matches!(step, Step::RemoveDirectory(_));
                    let released = script.release(path, &gone);
                    let removed = released.and_then(|()| {
                        if is_directory { script.remove_directory(path) } else { script.remove(path) }
                    });
                    (removed, path, Kept::default())
                }
            };
            added.and_then(|()| script.keep(path, &kept)).map_err(|Untellable(path)| untellable(&path))?;
            if kept != Kept::default() {
                all_kept.insert(path, kept);
            }
        }
        Ok((script, all_kept))
    }

    /// Gives it another UUID; says whether it was otherwise. `may_seed`: its sums may stay, with their seed in a field.
    pub fn set_uuid(&self, uuid: Uuid, may_seed: bool, tools: &mut dyn Tools) -> Result<bool, EditError> {
        if self.superblock()?.uuid == uuid {
            return Ok(false);
        }
        self.make_ready(tools)?;
        if identity::change(&self.blocks, uuid, may_seed).map_err(|error| self.unread(&error))? {
            // With all sums that are looked at on the way.
            let read = fs::ext::Ext::open(&self.blocks).and_then(|ext| ext.node(&root()).map(|_| ext));
            read.map_err(|error| self.unread(&error))?;
            return Ok(true);
        }
        if self.superblock()?.has_sums_of_uuid {
            // tune2fs 1.47 makes some of them anew wrongly: indices of directories, orphan files.
            let why = "its sums begin with the UUID, and it has features with which they cannot all be made anew (have it \
                       keep their seed: tune2fs -O metadata_csum_seed)";
            return Err(EditError::Unsupported { place: self.device.to_owned(), why: why.to_owned() });
        }
        let mut said = tools.run(Act::ExtUuid(uuid), self.view())?;
        if self.superblock()?.uuid != uuid && said.words.contains("freshly checked") {
            self.put_in_order(tools)?;
            said = tools.run(Act::ExtUuid(uuid), self.view())?;
        }
        if self.superblock()?.uuid == uuid {
            return Ok(true);
        }
        Err(Act::ExtUuid(uuid).failed(self.device, "the UUID is still the old one", &said))
    }

    fn put_in_order(&self, tools: &mut dyn Tools) -> Result<(), EditError> {
        let checked = tools.run(Act::ExtCheck, self.view())?;
        match checked.code {
            Some(0..=1) => Ok(()),
            _ => Err(Act::ExtCheck.failed(self.device, "it is not in order", &checked)),
        }
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

    fn volume(&self) -> Result<Volume, EditError> {
        Volume::open(self.blocks.clone()).map_err(|error| self.unread(&error))
    }

    fn unread(&self, error: &FsError) -> EditError {
        let (place, why) = (self.device.to_owned(), error.to_string());
        match error {
            FsError::Unsupported(_) | FsError::TooMany(_) => EditError::Unsupported { place, why },
            FsError::Io(source) => {
                EditError::Disk { act: format!("read or write {place}"), why: source.to_string() }
            }
            _ => EditError::Damaged { place, why },
        }
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
