//! Edits of a FAT, in this process, by the crate `fatfs`: an EFI system partition.
//!
//! It has no owners and no links; names are compared without regard to case, and must be text. New directories are
//! refused: the crate gives their `.` and `..` long names, which fsck.fat takes for damage.

use std::{io::Write as _, sync::Arc};

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
    let fat = FileSystem::new(Stream::new(blocks.clone()), FsOptions::new());
    let fat = fat.map_err(|error| failed("/", &error))?;
    for step in steps {
        let path = match step {
            Step::MakeDirectory(path) => {
                return Err(unsupported(path, device, "directories are not made on a FAT by this program"));
            }
            Step::Remove(path) | Step::RemoveDirectory(path) | Step::Write { path, .. } => path,
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
            Step::Link { .. } | Step::MakeDirectory(_) => Ok(()),
        };
        done.map_err(|error| failed(name, &error))?;
    }
    fat.unmount().map_err(|error| failed("/", &error))
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
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(64 << 20).unwrap();
        run(Command::new("mkfs.vfat").args(["-F", "32"]).arg(file.path()));
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
        ];
        edit(&blocks, "vda1", &steps).unwrap();
        let content = crate::layout::Devices::read(vec![("vda".to_owned(), blocks.clone())]);
        let content = content.layout().disks[0].content.clone().unwrap();
        let fs = crate::fs::open(&content, blocks.clone(), None).unwrap();
        crate::edit::verify::verify(&*fs, &steps).unwrap();
        run(Command::new("fsck.vfat").arg("-n").arg(file.path()));
        for refused in [Step::Link { path: path("/l"), to: b"x".to_vec() }, Step::MakeDirectory(path("/new"))]
        {
            assert!(matches!(edit(&blocks, "vda1", &[refused]), Err(EditError::Unsupported { .. })));
        }
    }
}
