//! From edits of the tree to acts on each file system, in order, and what must be there afterwards.
//!
//! An edit that is already so is no act. Nothing is written here.

use lodge_model::guest_disk::{FileEdit, FilePath, Owner};

use super::{
    error::EditError,
    kernel,
    tree::{Place, There, Tree},
};

/// Files below one directory that is to go.
const REMOVED_MAX: usize = 500_000;
/// A file that is written anew to have more behind it: it stands in memory.
const WHOLE_BYTES_MAX: u64 = 256 << 20;
const ROOTS_FILE: Owner = Owner { uid: 0, gid: 0, mode: 0o644 };
const ROOTS_DIRECTORY: Owner = Owner { uid: 0, gid: 0, mode: 0o755 };

/// One act on one file system; paths are inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// One on the way to something: root's.
    MakeDirectory(FilePath),
    /// One that was asked for.
    Directory {
        path: FilePath,
        owner: Owner,
    },
    /// Of what is there.
    Own {
        path: FilePath,
        owner: Owner,
        is_directory: bool,
    },
    Write {
        path: FilePath,
        bytes: Vec<u8>,
        owner: Owner,
    },
    /// A file that is so long gets more; only where a kernel writes. Elsewhere it is written as a whole.
    Append {
        path: FilePath,
        at: u64,
        bytes: Vec<u8>,
    },
    Link {
        path: FilePath,
        to: Vec<u8>,
    },
    /// What is no directory.
    Remove(FilePath),
    RemoveDirectory(FilePath),
}

/// What an edit comes to.
#[derive(Debug)]
pub(crate) struct Planned {
    /// On which mount.
    pub mount: usize,
    /// What is to be done; nothing where it is so already.
    pub steps: Vec<Step>,
}

/// Plans one edit, after those that the tree knows of already.
pub(crate) fn plan(tree: &mut Tree<'_>, edit: &FileEdit) -> Result<Planned, EditError> {
    match edit {
        FileEdit::Write { path, bytes, owner } => write(tree, path, bytes, *owner),
        FileEdit::Append { path, at, bytes } => append(tree, path, *at, bytes),
        FileEdit::Link { path, to } => link(tree, path, to),
        FileEdit::Remove(path) => remove(tree, path),
        FileEdit::Directory { path, owner } => directory(tree, path, owner.unwrap_or(ROOTS_DIRECTORY)),
        FileEdit::Own { path, owner } => own(tree, path, *owner),
    }
}

fn directory(tree: &mut Tree<'_>, path: &FilePath, owner: Owner) -> Result<Planned, EditError> {
    let place = tree.find(path)?;
    match &place.there {
        There::Directory(_) => return Ok(Planned { mount: place.mount, steps: Vec::new() }),
        There::Nothing => {}
        There::File(_) | There::Link(_) | There::Other => {
            return Err(in_the_way(path, "something else than a directory is there"));
        }
    }
    let mut steps = clear(tree, &place);
    let owner = Owner { mode: owner.mode & 0o7777, ..owner };
    steps.push(Step::Directory { path: tree.inside(&place.path).1, owner });
    tree.put(&place.path, There::Directory(owner));
    Ok(Planned { mount: place.mount, steps })
}

fn own(tree: &mut Tree<'_>, path: &FilePath, owner: Owner) -> Result<Planned, EditError> {
    let place = tree.find(path)?;
    let owner = Owner { mode: owner.mode & 0o7777, ..owner };
    let (now, is_directory) = match &place.there {
        There::File(now) => (*now, false),
        There::Directory(now) => (*now, true),
        There::Nothing => return Err(in_the_way(path, "nothing is there")),
        There::Link(_) | There::Other => {
            return Err(in_the_way(path, "it is neither a file nor a directory"));
        }
    };
    let mut steps = Vec::new();
    if now != owner {
        steps.push(Step::Own { path: tree.inside(&place.path).1, owner, is_directory });
    }
    Ok(Planned { mount: place.mount, steps })
}

fn write(
    tree: &mut Tree<'_>,
    path: &FilePath,
    bytes: &[u8],
    owner: Option<Owner>,
) -> Result<Planned, EditError> {
    let place = tree.find(path)?;
    let owner = match (&place.there, owner) {
        (There::Directory(_), _) => return Err(in_the_way(path, "a directory is there")),
        (_, Some(owner)) => owner,
        (There::File(owner), None) => *owner,
        (_, None) => ROOTS_FILE,
    };
    if place.there == There::File(owner) && tree.holds(&place.path, bytes)? {
        return Ok(Planned { mount: place.mount, steps: Vec::new() });
    }
    let mut steps = clear(tree, &place);
    let (_, inside) = tree.inside(&place.path);
    steps.push(Step::Write { path: inside, bytes: bytes.to_vec(), owner });
    tree.put(&place.path, There::File(owner));
    Ok(Planned { mount: place.mount, steps })
}

fn append(tree: &mut Tree<'_>, path: &FilePath, at: u64, bytes: &[u8]) -> Result<Planned, EditError> {
    let place = tree.find(path)?;
    let There::File(owner) = place.there else {
        return Err(in_the_way(path, "no plain file is there to be added to"));
    };
    let Some(size) = tree.size(&place.path)? else {
        return Err(in_the_way(path, "it was changed before it was to be added to"));
    };
    let end = at.checked_add(bytes.len() as u64);
    if Some(size) == end && tree.part(&place.path, at, bytes.len())? == bytes {
        return Ok(Planned { mount: place.mount, steps: Vec::new() });
    }
    if size != at {
        return Err(in_the_way(path, "it is not as long as it was"));
    }
    let (_, inside) = tree.inside(&place.path);
    let steps = if kernel::is_ours(tree.kind(place.mount)?) {
        vec![Step::Append { path: inside, at, bytes: bytes.to_vec() }]
    } else {
        let Some(length) = usize::try_from(size).ok().filter(|_| size <= WHOLE_BYTES_MAX) else {
            let why = format!("it has more than {WHOLE_BYTES_MAX} bytes, and would have to be written anew");
            return Err(EditError::Unsupported { place: path.to_string(), why });
        };
        let mut whole = tree.part(&place.path, 0, length)?;
        if whole.len() != length {
            let why = "it is shorter than it says".to_owned();
            return Err(EditError::Damaged { place: path.to_string(), why });
        }
        whole.extend_from_slice(bytes);
        let mut steps = clear(tree, &place);
        steps.push(Step::Write { path: inside, bytes: whole, owner });
        steps
    };
    tree.put(&place.path, There::File(owner));
    Ok(Planned { mount: place.mount, steps })
}

fn link(tree: &mut Tree<'_>, path: &FilePath, to: &[u8]) -> Result<Planned, EditError> {
    if to.is_empty() || to.contains(&0) || to.len() > 4095 {
        return Err(in_the_way(path, "a link cannot point there"));
    }
    let place = tree.find(path)?;
    match &place.there {
        There::Directory(_) => return Err(in_the_way(path, "a directory is there")),
        There::Link(now) if now == to => return Ok(Planned { mount: place.mount, steps: Vec::new() }),
        _ => {}
    }
    let mut steps = clear(tree, &place);
    let (_, inside) = tree.inside(&place.path);
    steps.push(Step::Link { path: inside, to: to.to_vec() });
    tree.put(&place.path, There::Link(to.to_vec()));
    Ok(Planned { mount: place.mount, steps })
}

/// Makes the way to a place, and takes away the file that is there.
fn clear(tree: &mut Tree<'_>, place: &Place) -> Vec<Step> {
    let mut steps = Vec::new();
    for missing in &place.missing {
        steps.push(Step::MakeDirectory(tree.inside(missing).1));
        tree.put(missing, There::Directory(ROOTS_DIRECTORY));
    }
    if place.there != There::Nothing {
        steps.push(Step::Remove(tree.inside(&place.path).1));
    }
    steps
}

fn remove(tree: &mut Tree<'_>, path: &FilePath) -> Result<Planned, EditError> {
    let place = tree.find(path)?;
    let mut steps = Vec::new();
    match &place.there {
        There::Nothing => return Ok(Planned { mount: place.mount, steps }),
        There::File(_) | There::Link(_) | There::Other => {
            steps.push(Step::Remove(tree.inside(&place.path).1));
        }
        There::Directory(_) => {
            if let Some(at) = tree.mounted_within(&place.path) {
                return Err(in_the_way(path, &format!("a file system is mounted at {at}")));
            }
            for (below, there) in tree.below(&place.path, REMOVED_MAX)? {
                let inside = tree.inside(&below).1;
                steps.push(match there {
                    There::Directory(_) => Step::RemoveDirectory(inside),
                    _ => Step::Remove(inside),
                });
            }
            steps.push(Step::RemoveDirectory(tree.inside(&place.path).1));
        }
    }
    tree.put(&place.path, There::Nothing);
    Ok(Planned { mount: place.mount, steps })
}

fn in_the_way(path: &FilePath, why: &str) -> EditError {
    EditError::InTheWay { path: path.to_string(), why: why.to_owned() }
}
