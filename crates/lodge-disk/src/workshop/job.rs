//! What the first process is told, and what it says. The form is described in `lodge-sys/workshop/init.rs`.

use std::io;

use lodge_model::guest_disk::{FileEdit, FilePath};

use super::{Target, WorkshopError, kernel::Module};

/// The machine's memory holds all files that are written, twice.
const JOB_BYTES: usize = 32 << 20;
const PATH_BYTES: usize = 4000;
const NAME_BYTES: usize = 255;
/// What is there where no owner is said and nothing was there.
const ROOTS_FILE: [u32; 3] = [0, 0, 0o644];
const ROOTS_DIRECTORY: [u32; 3] = [0, 0, 0o755];
const WORD: &str = "lodge-workshop: ";
/// What is shown of a console.
const SHOWN_BYTES: usize = 300;

/// A module's name in the archive.
pub(super) fn module_name(number: usize) -> String {
    format!("{number}.ko")
}

/// The job, and how many of its records come before the first edit.
pub(super) fn write(
    modules: &[Module],
    target: &Target<'_>,
    edits: &[FileEdit],
) -> Result<(Vec<u8>, usize), WorkshopError> {
    let mut job = Vec::new();
    for (number, module) in modules.iter().enumerate() {
        job.push(if module.optional { b'm' } else { b'M' });
        text(&mut job, format!("/{}", module_name(number)).as_bytes());
    }
    let partition = target.partition.map(|number| number.to_string()).unwrap_or_default();
    job.push(b'T');
    text(&mut job, format!("/dev/vda{partition}").as_bytes());
    text(&mut job, target.kind.as_bytes());
    text(&mut job, target.options.as_bytes());
    for edit in edits {
        match edit {
            FileEdit::Write { path, bytes, owner } => {
                job.push(b'W');
                place(&mut job, path)?;
                job.push(u8::from(owner.is_none()));
                let owner = owner.map_or(ROOTS_FILE, |owner| [owner.uid, owner.gid, owner.mode.into()]);
                job.extend(owner.into_iter().flat_map(u32::to_le_bytes));
                text(&mut job, bytes);
            }
            FileEdit::Append { path, at, bytes } => {
                job.push(b'A');
                place(&mut job, path)?;
                let too_large = |_| WorkshopError::TooLarge { path: path.to_string() };
                job.extend(u32::try_from(*at).map_err(too_large)?.to_le_bytes());
                text(&mut job, bytes);
            }
            FileEdit::Remove(path) => {
                job.push(b'R');
                place(&mut job, path)?;
            }
            FileEdit::Link { path, to } => {
                job.push(b'L');
                place(&mut job, path)?;
                if to.len() > PATH_BYTES {
                    return Err(WorkshopError::TooLarge { path: path.to_string() });
                }
                text(&mut job, to);
            }
            FileEdit::Directory { path, owner } => {
                job.push(b'D');
                place(&mut job, path)?;
                let owner = owner.map_or(ROOTS_DIRECTORY, |owner| [owner.uid, owner.gid, owner.mode.into()]);
                job.extend(owner.into_iter().flat_map(u32::to_le_bytes));
            }
            FileEdit::Own { path, owner } => {
                job.push(b'O');
                place(&mut job, path)?;
                let owner = [owner.uid, owner.gid, owner.mode.into()];
                job.extend(owner.into_iter().flat_map(u32::to_le_bytes));
            }
        }
        if job.len() > JOB_BYTES {
            return Err(WorkshopError::TooLarge { path: edit.path().to_string() });
        }
    }
    Ok((job, modules.len() + 1))
}

fn place(job: &mut Vec<u8>, path: &FilePath) -> Result<(), WorkshopError> {
    let bytes = path.as_bytes();
    if bytes.len() > PATH_BYTES || path.parts().any(|part| part.len() > NAME_BYTES) {
        return Err(WorkshopError::TooLarge { path: path.to_string() });
    }
    text(job, bytes);
    Ok(())
}

fn text(job: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    job.extend_from_slice(&length.to_le_bytes());
    job.extend_from_slice(bytes);
    job.push(0);
}

/// What a console comes to. The last word counts: the kernel may have said anything before.
pub(super) fn outcome(console: &[u8], before: usize, edits: &[FileEdit]) -> Result<(), WorkshopError> {
    let console = String::from_utf8_lossy(console);
    let said = console.lines().rev().find_map(|line| line.trim().strip_prefix(WORD));
    let mut words = said.unwrap_or_default().split(' ');
    let failure = match words.next() {
        Some("done") => return Ok(()),
        Some("failed") => (|| {
            let record = words.next()?.parse::<usize>().ok()?;
            let step = words.next()?.escape_debug().to_string();
            Some((record, step, words.next()?.parse().ok()?))
        })(),
        _ => None,
    };
    let Some((record, step, number)) = failure else {
        let start = console.floor_char_boundary(console.len().saturating_sub(SHOWN_BYTES));
        return Err(WorkshopError::Silent { words: console[start..].trim().escape_debug().to_string() });
    };
    let why = io::Error::from_raw_os_error(number).to_string();
    match record.checked_sub(before + 1).and_then(|number| edits.get(number)) {
        // The last record stands for the unmount too.
        Some(edit) if step != "unmount" => {
            Err(WorkshopError::Edit { path: edit.path().to_string(), step, why })
        }
        _ => Err(WorkshopError::Kernel { step, why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits() -> Vec<FileEdit> {
        ["/one", "/two"].map(|path| FileEdit::Remove(FilePath::new(path).unwrap())).to_vec()
    }

    #[test]
    fn a_failure_names_the_edit() {
        let check =
            |console: &str| outcome(console.as_bytes(), 3, &edits()).map_err(|error| error.to_string());
        assert_eq!(check("[ 1.0] noise\r\nlodge-workshop: done\r\n[ 2.0] reboot"), Ok(()));
        let failed = check("\nlodge-workshop: failed 5 remove 28\n").unwrap_err();
        assert_eq!(failed, "cannot edit /two in the guest: remove: No space left on device (os error 28)");
        let failed = check("\nlodge-workshop: failed 3 mount 22\n").unwrap_err();
        assert!(
            failed.starts_with("the guest's kernel does not edit the file system: mount: Invalid"),
            "{failed}"
        );
        let silent = check("Kernel panic\n").unwrap_err();
        assert_eq!(silent, "the workshop ended without a word; its kernel said last: Kernel panic");
        assert!(check("lodge-workshop: failed x\n").unwrap_err().starts_with("the workshop ended"));
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let target = Target { kind: "xfs", options: "", partition: None };
        let path = FilePath::new(format!("/{}", "x".repeat(256))).unwrap();
        assert!(write(&[], &target, &[FileEdit::Remove(path)]).is_err());
        let path = FilePath::new("/x").unwrap();
        let large = FileEdit::Write { path, bytes: vec![0; JOB_BYTES], owner: None };
        assert!(write(&[], &target, &[large]).is_err());
        let path = FilePath::new("/x").unwrap();
        assert!(write(&[], &target, &[FileEdit::Append { path, at: 1 << 32, bytes: vec![0] }]).is_err());
    }
}
