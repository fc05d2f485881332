//! Files whose names debugfs cannot be told, so that they can be taken away all the same.
//!
//! A line of its script ends at a line break, and nothing quotes one. What is to be removed is given another name of
//! the same length first, where it stands in its directory: nobody sees that name, since what bears it goes next, and a
//! place in a hashed directory does not matter to whoever looks through all of it, as debugfs does.
//! Deliberately absent: new files with such names.

use std::collections::{BTreeMap, BTreeSet};

use lodge_model::guest_disk::FilePath;

use crate::{
    edit::plan::Step,
    fs::{
        FsError,
        ext::{
            names::{self, Entry},
            plain::Plain,
            volume::{Volume, sum},
        },
    },
};

/// Whether a line of a script cannot have these bytes in it.
pub(super) fn is_untellable(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0))
}

/// The steps, with other paths where something is removed whose path cannot be told: it has that name from now on.
pub(super) fn make(volume: Volume, steps: &[Step]) -> Result<Vec<Step>, FsError> {
    let mut wanted: BTreeMap<Vec<Vec<u8>>, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for path in steps.iter().filter_map(removed).filter(|path| is_untellable(path.as_bytes())) {
        let parts: Vec<Vec<u8>> = path.parts().map(<[u8]>::to_vec).collect();
        for (depth, part) in parts.iter().enumerate().filter(|(_, part)| is_untellable(part)) {
            wanted.entry(parts[..depth].to_vec()).or_default().insert(part.clone());
        }
    }
    // A directory comes before what is in it, so its own new name is known then.
    let mut new_names = NewNames::new();
    let mut plain = Plain::new(volume);
    for (parents, bad) in wanted {
        let directory = plain.find(&joined(&new_names, &parents)?)?;
        let volume = &plain.volume;
        let mut taken = BTreeSet::new();
        let mut entries = Vec::new();
        names::each(volume, &directory, &mut |entry| {
            taken.insert(entry.name.clone());
            if bad.contains(&entry.name) {
                entries.push(entry);
            }
            true
        })?;
        let seed = volume.seed_of(&directory)?;
        for entry in entries {
            let Some(name) = another(&entry.name, &taken) else { continue };
            rename(volume, seed, &entry, &name)?;
            taken.insert(name.clone());
            new_names.insert([&parents[..], &[entry.name]].concat(), name);
        }
        // Whose names it keeps.
        plain = Plain::new(plain.volume);
    }
    steps.iter().map(|step| told(step, &new_names)).collect()
}

/// New names of files, by their old paths.
type NewNames = BTreeMap<Vec<Vec<u8>>, Vec<u8>>;

fn removed(step: &Step) -> Option<&FilePath> {
    match step {
        Step::Remove(path) | Step::RemoveDirectory(path) => Some(path),
        Step::MakeDirectory(_)
        | Step::Directory { .. }
        | Step::Own { .. }
        | Step::Write { .. }
        | Step::Append { .. }
        | Step::Link { .. } => None,
    }
}

fn told(step: &Step, new_names: &NewNames) -> Result<Step, FsError> {
    let Some(path) = removed(step).filter(|path| is_untellable(path.as_bytes())) else {
        return Ok(step.clone());
    };
    let parts: Vec<Vec<u8>> = path.parts().map(<[u8]>::to_vec).collect();
    let path = joined(new_names, &parts)?;
    Ok(if matches!(step, Step::Remove(_)) { Step::Remove(path) } else { Step::RemoveDirectory(path) })
}

fn joined(new_names: &NewNames, parts: &[Vec<u8>]) -> Result<FilePath, FsError> {
    let mut path = Vec::new();
    for (depth, part) in parts.iter().enumerate() {
        path.push(b'/');
        path.extend_from_slice(new_names.get(&parts[..=depth]).unwrap_or(part));
    }
    if path.is_empty() {
        path.push(b'/');
    }
    FilePath::new(path).map_err(|_| FsError::NotFound)
}

/// A name of the same length that can be told and that nothing has.
fn another(name: &[u8], taken: &BTreeSet<Vec<u8>>) -> Option<Vec<u8>> {
    let bytes = (b'0'..=b'z').chain(b'{'..=u8::MAX).chain(b' '..b'.');
    let mut names = bytes.map(|instead| {
        let byte = |byte: &u8| if is_untellable(&[*byte]) { instead } else { *byte };
        name.iter().map(byte).collect::<Vec<u8>>()
    });
    names.find(|name| !taken.contains(name))
}

fn rename(volume: &Volume, seed: u32, entry: &Entry, name: &[u8]) -> Result<(), FsError> {
    if entry.block == 0 {
        let what = "a name with a line break in a directory inside its inode (inline_data)";
        return Err(FsError::Unsupported(what.to_owned()));
    }
    let piece = volume.block("ext directory", entry.block)?;
    let mut bytes = piece.slice(0, piece.len())?.to_vec();
    let field = bytes.get_mut(entry.at..entry.at + name.len());
    field.ok_or_else(|| piece.damaged(entry.at, "a name that reaches out of it"))?.copy_from_slice(name);
    if volume.has_sums() {
        let (at, length) = names::sum_place(&piece)?;
        let sum = sum(seed, &bytes[..length]);
        bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    }
    Ok(volume.blocks.write_at(volume.place(entry.block, 1)?, &bytes)?)
}
