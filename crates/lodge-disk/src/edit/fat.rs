//! Edits of a FAT, in this process, by the crate `fatfs`: an EFI system partition.
//!
//! It has no owners and no links; names are compared without regard to case, and must be text. The crate gives `.` and
//! `..` of a new directory long names, and `..` a cluster where the root is meant: both are damage to fsck.fat, so a
//! directory that was made is put right at once.

use std::{
    io::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use fatfs::{FileSystem, FsOptions};
use lodge_model::guest_disk::FilePath;

use super::{error::EditError, plan::Step};
use crate::{blocks::Blocks, source::Stream};

/// Carries steps out. What came of them is read back by the caller.
pub(crate) fn edit(blocks: &Arc<dyn Blocks>, device: &str, steps: &[Step]) -> Result<(), EditError> {
    let failed = |path: &str, error: &std::io::Error| EditError::Damaged {
        place: format!("{path} on {device}"),
        why: error.to_string(),
    };
    let watched = Arc::new(Watched { below: blocks.clone(), dot: Mutex::default() });
    let fat = FileSystem::new(Stream::new(watched.clone()), FsOptions::new());
    let fat = fat.map_err(|error| failed("/", &error))?;
    for step in steps {
        let path = match step {
            Step::Own { path, .. } => {
                return Err(unsupported(path, device, "a FAT has no owners and no permissions"));
            }
            Step::Append { path, .. } => {
                return Err(unsupported(path, device, "a file is written as a whole here"));
            }
            Step::MakeDirectory(path)
            | Step::Directory { path, .. }
            | Step::Remove(path)
            | Step::RemoveDirectory(path)
            | Step::Write { path, .. } => path,
            Step::Link { path, .. } => return Err(unsupported(path, device, "a FAT has no symbolic links")),
        };
        let name = text(path, device)?;
        let root = fat.root_dir();
        let done = match step {
            Step::Remove(_) | Step::RemoveDirectory(_) => root.remove(name),
            Step::Write { bytes, .. } => root.create_file(name).and_then(|mut file| {
                file.truncate()?;
                file.write_all(bytes)?;
                file.flush()
            }),
            Step::MakeDirectory(_) | Step::Directory { .. } => {
                root.create_dir(name).map(drop).and_then(|()| watched.put_right(!name.contains('/')))
            }
            Step::Link { .. } | Step::Append { .. } | Step::Own { .. } => Ok(()),
        };
        done.map_err(|error| failed(name, &error))?;
    }
    fat.unmount().map_err(|error| failed("/", &error))
}

const DOT: &[u8; 11] = b".          ";
const DOT_DOT: &[u8; 11] = b"..         ";
const ENTRY: usize = 32;
const LONG_NAME: u8 = 0x0F;

/// Notes where the entry `.` of a new directory is written.
#[derive(Debug)]
struct Watched {
    below: Arc<dyn Blocks>,
    dot: Mutex<Option<u64>>,
}

impl Watched {
    /// Gives the directory that was made last the two entries that it should begin with.
    fn put_right(&self, is_at_top: bool) -> io::Result<()> {
        let dot = self.dot.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It was there already, or its `.` is the first entry.
        let Some(start) = dot.and_then(|at| at.checked_sub(ENTRY as u64)) else { return Ok(()) };
        let mut entries = [0; 4 * ENTRY];
        self.below.read_at(start, &mut entries)?;
        let has_long_names = entries[11] == LONG_NAME
            && entries[ENTRY..].starts_with(DOT)
            && entries[2 * ENTRY + 11] == LONG_NAME
            && entries[3 * ENTRY..].starts_with(DOT_DOT);
        if !has_long_names {
            return Ok(());
        }
        entries.copy_within(ENTRY..2 * ENTRY, 0);
        entries.copy_within(3 * ENTRY.., ENTRY);
        entries[2 * ENTRY..].fill(0);
        if is_at_top {
            for half in [20, 26] {
                entries[ENTRY + half..ENTRY + half + 2].fill(0);
            }
        }
        self.below.write_at(start, &entries)
    }
}

impl Blocks for Watched {
    fn bytes(&self) -> u64 {
        self.below.bytes()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.below.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.starts_with(DOT) {
            *self.dot.lock().unwrap_or_else(PoisonError::into_inner) = Some(offset);
        }
        self.below.write_at(offset, bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.below.flush()
    }
}

fn unsupported(path: &FilePath, device: &str, why: &str) -> EditError {
    EditError::Unsupported { place: format!("{path} on {device}"), why: why.to_owned() }
}

fn text<'a>(path: &'a FilePath, device: &str) -> Result<&'a str, EditError> {
    let text = path.as_str().map(|text| text.trim_start_matches('/'));
    text.ok_or_else(|| EditError::InTheWay {
        path: format!("{path} on {device}"),
        why: "names on a FAT are text".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use lodge_model::guest_disk::Owner;

    use super::*;
    use crate::edit::tests::rig::{OnFile, path, run};

    #[test]
    fn files_of_an_efi_partition_change() {
        if ["mkfs.vfat", "mmd"].iter().any(|tool| lodge_sys::tool::find(tool).is_none()) {
            eprintln!("skipped: dosfstools or mtools are not installed");
            return;
        }
        for (kind, mebibytes) in [("32", 64), ("16", 16), ("12", 2)] {
            change_one(kind, mebibytes);
        }
    }

    fn change_one(kind: &str, mebibytes: u64) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(mebibytes << 20).unwrap();
        run(Command::new("mkfs.vfat").args(["-F", kind]).arg(file.path()));
        run(Command::new("mmd").arg("-i").arg(file.path()).args(["::EFI", "::EFI/debian"]));
        let blocks: Arc<dyn Blocks> = Arc::new(OnFile(file.reopen().unwrap()));
        let owner = Owner { uid: 0, gid: 0, mode: 0o755 };
        let write = |at: &str, bytes: &[u8]| Step::Write { path: path(at), bytes: bytes.to_vec(), owner };
        let steps = [
            write("/EFI/debian/grub.cfg", &vec![b'x'; 100_000]),
            Step::Remove(path("/EFI/debian/grub.cfg")),
            write("/EFI/debian/grub.cfg", b"search.fs_uuid new root"),
            write("/gone", b""),
            Step::Remove(path("/gone")),
            Step::MakeDirectory(path("/loader")),
            Step::MakeDirectory(path("/loader/Entries of long names")),
            write("/loader/Entries of long names/debian.conf", b"title"),
            Step::MakeDirectory(path("/EFI/new")),
            Step::RemoveDirectory(path("/EFI/new")),
        ];
        edit(&blocks, "vda1", &steps).unwrap();
        let content = crate::layout::Devices::read(vec![("vda".to_owned(), blocks.clone())]);
        let content = content.layout().disks[0].content.clone().unwrap();
        let fs = crate::fs::open(&content, blocks.clone(), None).unwrap();
        crate::edit::verify::verify(&*fs, &steps).unwrap();
        run(Command::new("fsck.vfat").arg("-n").arg(file.path()));
        let link = Step::Link { path: path("/l"), to: b"x".to_vec() };
        assert!(matches!(edit(&blocks, "vda1", &[link]), Err(EditError::Unsupported { .. })));
    }
}
