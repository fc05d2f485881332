//! What is known of a file.

use lodge_model::guest_disk::Owner;

use crate::fs::{FsError, Node, NodeKind};

use super::{
    subvolume::Tree,
    tree::{INODE_ITEM, Key, Volume},
};

pub(super) fn read(volume: &Volume, tree: &Tree, number: u64) -> Result<Node, FsError> {
    let item = volume.item(tree.root, Key::new(number, INODE_ITEM, 0))?.ok_or_else(|| FsError::Damaged {
        what: format!("btrfs tree {}: inode {number} is named and is not there", tree.id),
        at: 0,
    })?;
    let mode = item.le32(52)?;
    let size = item.le64(16)?;
    if i64::try_from(size).is_err() {
        return Err(item.damaged(16, "no such size"));
    }
    let kind = match mode & 0o170_000 {
        0o100_000 => NodeKind::File,
        0o040_000 => NodeKind::Directory,
        0o120_000 => NodeKind::Link,
        _ => NodeKind::Other,
    };
    let permissions = u16::try_from(mode & 0o7777).unwrap_or_default();
    Ok(Node {
        kind,
        size,
        owner: Owner { uid: item.le32(44)?, gid: item.le32(48)?, mode: permissions },
        modified: item.le64(136)?.cast_signed(),
    })
}
