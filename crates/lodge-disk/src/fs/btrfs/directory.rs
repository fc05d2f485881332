//! Directories: their names by hash, and in the order they were made.

use lodge_model::guest_disk::Owner;

use crate::fs::{
    Entry, FsError, Node, NodeKind,
    piece::{self, Piece},
};

use super::{
    subvolume::{self, Tree},
    tree::{DIR_INDEX, DIR_ITEM, INODE_ITEM, Key, ROOT_ITEM, Volume},
};

/// What a path leads to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// An inode of a tree.
    File(Tree, u64),
    /// The empty directory that stands where a snapshot has a subvolume's name only.
    Nothing,
}

/// What Linux shows there.
pub(super) const NOTHING: Node =
    Node { kind: NodeKind::Directory, size: 0, owner: Owner { uid: 0, gid: 0, mode: 0o755 }, modified: 0 };

/// An entry as it is stored.
pub(super) struct Stored<'a> {
    pub(super) name: &'a [u8],
    pub(super) location: Key,
    kind: u8,
}

const HEADER: usize = 30;

/// A name's hash: CRC-32C that begins with the complement of 1 and is not complemented at the end.
pub(super) fn hash(name: &[u8]) -> u64 {
    u64::from(!crc32c::crc32c_append(1, name))
}

/// What a name in a directory is, if it is there.
pub(super) fn child(
    volume: &Volume,
    tree: &Tree,
    number: u64,
    name: &[u8],
) -> Result<Option<Place>, FsError> {
    let Some(item) = volume.item(tree.root, Key::new(number, DIR_ITEM, hash(name)))? else { return Ok(None) };
    let mut location = None;
    entries(&item, &mut |entry| {
        if entry.name == name {
            location = Some(entry.location);
        }
        Ok(location.is_none())
    })?;
    match location {
        None => Ok(None),
        Some(key) if key.kind == INODE_ITEM => Ok(Some(Place::File(*tree, key.object))),
        Some(key) if key.kind == ROOT_ITEM => {
            let below = subvolume::below(volume, tree, number, name, key.object)?;
            Ok(Some(below.map_or(Place::Nothing, |tree| Place::File(tree, tree.root_directory))))
        }
        Some(_) => Err(item.damaged(8, "an entry names neither an inode nor a subvolume")),
    }
}

/// The names in a directory.
pub(super) fn list(volume: &Volume, tree: &Tree, number: u64, most: usize) -> Result<Vec<Entry>, FsError> {
    let mut list = Vec::new();
    volume.items(tree.root, &Key::all(number, DIR_INDEX), &mut |_, item| {
        entries(item, &mut |entry| {
            if list.len() >= most {
                return Err(FsError::TooMany(most));
            }
            if !piece::is_name(entry.name) {
                return Err(item.damaged(HEADER, "a name that cannot be"));
            }
            let kind = match entry.kind {
                1 => NodeKind::File,
                2 => NodeKind::Directory,
                7 => NodeKind::Link,
                _ => NodeKind::Other,
            };
            list.push(Entry { name: entry.name.to_vec(), kind });
            Ok(true)
        })?;
        Ok(true)
    })?;
    Ok(list)
}

/// Each entry of an item: several where names have the same hash.
pub(super) fn entries(
    item: &Piece,
    take: &mut dyn FnMut(Stored<'_>) -> Result<bool, FsError>,
) -> Result<(), FsError> {
    let mut at = 0;
    while at < item.len() {
        let (data, length) = (usize::from(item.le16(at + 25)?), usize::from(item.le16(at + 27)?));
        let entry = Stored {
            name: item.slice(at + HEADER, length)?,
            location: Key::read(item, at)?,
            kind: item.byte(at + 29)?,
        };
        if !take(entry)? {
            return Ok(());
        }
        at += HEADER + length + data;
    }
    Ok(())
}
