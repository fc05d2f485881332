//! The trees of files: subvolumes, and which one is meant.

use lodge_model::guest_disk::FilePath;

use crate::fs::FsError;

use super::{
    directory,
    tree::{DIR_ITEM, Key, ROOT_ITEM, ROOT_REF, Root, Volume},
};

/// Which subvolume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subvolume {
    /// The one that is mounted when nobody says.
    Default,
    /// `subvolid=`. 5, or 0, is the top.
    Id(u64),
    /// `subvol=`: its path from the top.
    Path(FilePath),
}

impl Subvolume {
    /// The one that a mount option names: `subvol=PATH`, with or without a slash before it, or `subvolid=NUMBER`.
    pub fn from_option(option: &str) -> Result<Self, FsError> {
        let chosen = match option.split_once('=') {
            Some(("subvol", path)) => {
                FilePath::new(format!("/{}", path.trim_matches('/'))).ok().map(Self::Path)
            }
            Some(("subvolid", number)) => match number.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok().map(Self::Id),
                None => number.parse().ok().map(Self::Id),
            },
            _ => None,
        };
        chosen
            .ok_or_else(|| FsError::Unsupported(format!("there is no subvolume `{}`", option.escape_debug())))
    }
}

/// A subvolume's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) id: u64,
    pub(super) root: Root,
    /// The inode of its first directory.
    pub(super) root_directory: u64,
}

/// The tree of all subvolumes that nobody made.
pub(super) const TOP: u64 = 5;
/// The directory, in the tree of trees, that names the default.
const NAMES: u64 = 6;

pub(super) fn default(volume: &Volume) -> Result<Tree, FsError> {
    let key = Key::new(NAMES, DIR_ITEM, directory::hash(b"default"));
    let Some(item) = volume.item(volume.superblock.root, key)? else { return by_id(volume, TOP) };
    let mut id = TOP;
    directory::entries(&item, &mut |entry| {
        if entry.name == b"default" {
            id = entry.location.object;
        }
        Ok(true)
    })?;
    by_id(volume, id)
}

/// The subvolume of an id: the newest item of its number.
pub(super) fn by_id(volume: &Volume, id: u64) -> Result<Tree, FsError> {
    // Below 256 are trees of other things, but for the top.
    if id != TOP && !(256..=u64::MAX - 255).contains(&id) {
        return Err(FsError::NotFound);
    }
    let mut found = None;
    volume.items(volume.superblock.root, &Key::all(id, ROOT_ITEM), &mut |_, item| {
        found = Some(Tree { id, root: (item.le64(176)?, item.byte(238)?), root_directory: item.le64(168)? });
        Ok(true)
    })?;
    found.ok_or(FsError::NotFound)
}

/// The subvolume that the entry `name` of a directory stands for. A snapshot copies the names of the subvolumes below
/// it but not those themselves: there is nothing behind them.
pub(super) fn below(
    volume: &Volume,
    parent: &Tree,
    directory: u64,
    name: &[u8],
    id: u64,
) -> Result<Option<Tree>, FsError> {
    let Some(item) = volume.item(volume.superblock.root, Key::new(parent.id, ROOT_REF, id))? else {
        return Ok(None);
    };
    let length = usize::from(item.le16(16)?);
    if item.le64(0)? != directory || item.slice(18, length)? != name {
        return Ok(None);
    }
    match by_id(volume, id) {
        Ok(tree) => Ok(Some(tree)),
        Err(FsError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
