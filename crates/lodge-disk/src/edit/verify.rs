//! Whether a file system holds what the acts on it were to leave: read back by our own reader.

use std::collections::BTreeMap;

use lodge_model::guest_disk::{FilePath, Owner};

use super::plan::Step;
use crate::fs::{FileSystem, FsError, NodeKind};

/// What is to be at a path in the end.
enum Wanted<'a> {
    Nothing,
    /// None: whoever's it is.
    Directory(Option<Owner>),
    File(&'a [u8], Owner),
    /// One that ends with these bytes, from there on.
    Ended(u64, &'a [u8]),
    /// A file that was there before.
    Owned(Owner),
    Link(&'a [u8]),
}

/// Says of the first path that is not as it should be what is wrong with it.
pub(crate) fn verify<'a>(
    fs: &dyn FileSystem,
    steps: impl IntoIterator<Item = &'a Step>,
) -> Result<(), (FilePath, String)> {
    let mut wanted: BTreeMap<&FilePath, Wanted<'_>> = BTreeMap::new();
    for step in steps {
        match step {
            Step::MakeDirectory(path) => wanted.insert(path, Wanted::Directory(None)),
            Step::Directory { path, owner } => wanted.insert(path, Wanted::Directory(Some(*owner))),
            Step::Own { path, owner, is_directory } => {
                let now = match wanted.get(path) {
                    Some(Wanted::File(bytes, _)) => Wanted::File(bytes, *owner),
                    _ if *is_directory => Wanted::Directory(Some(*owner)),
                    _ => Wanted::Owned(*owner),
                };
                wanted.insert(path, now)
            }
            Step::Write { path, bytes, owner } => wanted.insert(path, Wanted::File(bytes, *owner)),
            Step::Append { path, at, bytes } => wanted.insert(path, Wanted::Ended(*at, bytes)),
            Step::Link { path, to } => wanted.insert(path, Wanted::Link(to)),
            Step::Remove(path) => wanted.insert(path, Wanted::Nothing),
            Step::RemoveDirectory(path) => {
                // What was in it need not be looked for one by one.
                wanted.retain(|known, _| !known.is_within(path));
                wanted.insert(path, Wanted::Nothing)
            }
        };
    }
    for (path, wanted) in wanted {
        check(fs, path, &wanted).map_err(|why| (path.clone(), why))?;
    }
    Ok(())
}

fn check(fs: &dyn FileSystem, path: &FilePath, wanted: &Wanted<'_>) -> Result<(), String> {
    let node = match (fs.node(path), wanted) {
        (Err(FsError::NotFound | FsError::NotADirectory), Wanted::Nothing) => return Ok(()),
        (Ok(_), Wanted::Nothing) => return Err("it is still there".to_owned()),
        (Ok(node), _) => node,
        (Err(error), _) => return Err(error.to_string()),
    };
    match wanted {
        Wanted::Directory(_) if node.kind != NodeKind::Directory => Err("it is no directory".to_owned()),
        Wanted::Nothing | Wanted::Directory(None) => Ok(()),
        // A FAT has no owners.
        Wanted::Directory(Some(owner)) | Wanted::Owned(owner)
            if node.owner == *owner || fs.content().kind == "vfat" =>
        {
            Ok(())
        }
        Wanted::Directory(Some(owner)) | Wanted::Owned(owner) => {
            Err(format!("it belongs to {:?} instead of {owner:?}", node.owner))
        }
        Wanted::File(bytes, owner) => {
            let owner = Owner { mode: owner.mode & 0o7777, ..*owner };
            if node.kind != NodeKind::File {
                return Err("it is no plain file".to_owned());
            }
            // A FAT has no owners.
            if node.owner != owner && fs.content().kind != "vfat" {
                return Err(format!("it belongs to {:?} instead of {owner:?}", node.owner));
            }
            let found = fs.read(path, 0, bytes.len() + 1).map_err(|error| error.to_string())?;
            if node.size == bytes.len() as u64 && found == *bytes {
                Ok(())
            } else {
                Err("its content is another".to_owned())
            }
        }
        Wanted::Ended(at, bytes) => {
            let found = fs.read(path, *at, bytes.len() + 1).map_err(|error| error.to_string())?;
            if node.kind == NodeKind::File && node.size == at + bytes.len() as u64 && found == *bytes {
                Ok(())
            } else {
                Err("what was added to it is not at its end".to_owned())
            }
        }
        Wanted::Link(to) => {
            let found = fs.link(path).map_err(|error| error.to_string())?;
            if found == *to { Ok(()) } else { Err("it points elsewhere".to_owned()) }
        }
    }
}
