//! What documents say after an edit: the law that whoever edits a real disk is held to.
//!
//! Pure, on what is in memory. Links on the way to a path are not followed here: the documents hold what was asked
//! for, under the path it was asked by.

use uuid::Uuid;

use super::{
    Device, DeviceEdit, DeviceKind, FileEdit, FileNode, FilePath, Files, Layout, Owner, PartitionTable,
};

/// What a new file belongs to where nothing is said.
const ROOT: Owner = Owner { uid: 0, gid: 0, mode: 0o644 };
/// The same of a new directory.
const ROOTS_DIRECTORY: Owner = Owner { uid: 0, gid: 0, mode: 0o755 };

impl FilePath {
    /// Whether it is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        other.as_bytes() == b"/"
            || self
                .as_bytes()
                .strip_prefix(other.as_bytes())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}

impl Files {
    /// Does one edit.
    pub fn apply(&mut self, edit: &FileEdit) {
        match edit {
            FileEdit::Write { path, bytes, owner } => {
                let was = match self.nodes.get(path) {
                    Some(FileNode::File { owner, .. }) => *owner,
                    _ => ROOT,
                };
                let node = FileNode::File {
                    bytes: bytes.clone(),
                    size: bytes.len() as u64,
                    owner: owner.unwrap_or(was),
                };
                self.nodes.insert(path.clone(), node);
            }
            FileEdit::Append { path, at, bytes: more } => {
                if let Some(FileNode::File { bytes, size, .. }) = self.nodes.get_mut(path)
                    && *size == *at
                {
                    // Of what was seen only in part the end is not seen either.
                    if bytes.len() as u64 == *size {
                        bytes.extend_from_slice(more);
                    }
                    *size += more.len() as u64;
                }
            }
            FileEdit::Remove(path) => self.nodes.retain(|node, _| !node.is_within(path)),
            FileEdit::Link { path, to } => {
                if !matches!(self.nodes.get(path), Some(FileNode::Directory(_))) {
                    self.nodes.insert(path.clone(), FileNode::Link(to.clone()));
                }
            }
            FileEdit::Directory { path, owner } => {
                let new = FileNode::Directory(owner.unwrap_or(ROOTS_DIRECTORY));
                self.nodes.entry(path.clone()).or_insert(new);
            }
            FileEdit::Own { path, owner: new } => match self.nodes.get_mut(path) {
                Some(FileNode::File { owner, .. } | FileNode::Directory(owner)) => *owner = *new,
                Some(FileNode::Link(_) | FileNode::Other) | None => {}
            },
        }
    }
}

impl Layout {
    /// Does one edit. A UUID that is none for its place changes nothing.
    pub fn apply(&mut self, edit: &DeviceEdit) {
        let mut rest: Vec<&mut Device> = self.disks.iter_mut().collect();
        while let Some(device) = rest.pop() {
            apply_to(device, edit);
            rest.extend(device.children.iter_mut());
        }
    }
}

fn apply_to(here: &mut Device, edit: &DeviceEdit) {
    match edit {
        DeviceEdit::Table { device, uuid } if *device == here.name => match &mut here.table {
            Some(PartitionTable::Gpt(guid)) => *guid = Uuid::parse_str(uuid).unwrap_or(*guid),
            Some(PartitionTable::Dos(signature)) => {
                *signature = u32::from_str_radix(uuid, 16).unwrap_or(*signature);
                name_partitions(here, uuid);
            }
            None => {}
        },
        DeviceEdit::Partition { device, uuid } if *device == here.name => {
            if let Some(partition) = &mut here.partition {
                partition.uuid.clone_from(uuid);
            }
        }
        DeviceEdit::Content { device, uuid, .. } if *device == here.name => {
            if let Some(content) = &mut here.content {
                content.uuid = Some(uuid.clone());
            }
        }
        DeviceEdit::Group { group, uuid } => {
            if let Some((name, old)) = here.content.as_mut().and_then(|content| content.group.as_mut())
                && name == group
            {
                old.clone_from(uuid);
            }
        }
        DeviceEdit::Volume { device, uuid } if *device == here.name => {
            here.volume = here.volume.is_some().then(|| uuid.clone());
        }
        DeviceEdit::Table { .. }
        | DeviceEdit::Partition { .. }
        | DeviceEdit::Content { .. }
        | DeviceEdit::Volume { .. } => {}
    }
}

/// A DOS partition is named after its disk's signature.
fn name_partitions(disk: &mut Device, signature: &str) {
    for child in disk.children.iter_mut().filter(|child| child.kind == DeviceKind::Partition) {
        if let Some(partition) = &mut child.partition {
            partition.uuid = format!("{signature}-{:02x}", partition.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Bytes,
        guest_disk::{Content, Partition},
    };

    fn path(text: &str) -> FilePath {
        FilePath::new(text).unwrap()
    }

    #[test]
    fn files_are_written_linked_and_removed() {
        let mut files = Files::default();
        let owner = Owner { uid: 1, gid: 2, mode: 0o600 };
        files.apply(&FileEdit::Write { path: path("/a/b"), bytes: b"1".to_vec(), owner: Some(owner) });
        files.apply(&FileEdit::Write { path: path("/a/b"), bytes: b"22".to_vec(), owner: None });
        assert_eq!(files.node("/a/b"), Some(&FileNode::File { bytes: b"22".to_vec(), size: 2, owner }));
        for _ in 0..2 {
            files.apply(&FileEdit::Append { path: path("/a/b"), at: 2, bytes: b"3".to_vec() });
        }
        assert_eq!(files.bytes("/a/b"), Some(&b"223"[..]));
        files.apply(&FileEdit::Link { path: path("/a/c"), to: b"b".to_vec() });
        files.apply(&FileEdit::Write { path: path("/ab"), bytes: Vec::new(), owner: None });
        files.apply(&FileEdit::Remove(path("/a")));
        assert_eq!(files.nodes.keys().collect::<Vec<_>>(), [&path("/ab")]);
        files.apply(&FileEdit::Directory { path: path("/d"), owner: Some(owner) });
        files.apply(&FileEdit::Directory { path: path("/d"), owner: None });
        assert_eq!(files.node("/d"), Some(&FileNode::Directory(owner)));
        let other = Owner { mode: 0o711, ..owner };
        files.apply(&FileEdit::Own { path: path("/d"), owner: other });
        files.apply(&FileEdit::Own { path: path("/never"), owner: other });
        assert_eq!((files.node("/d"), files.node("/never")), (Some(&FileNode::Directory(other)), None));
    }

    #[test]
    fn a_new_dos_signature_renames_the_partitions() {
        let device = |name: &str, kind, partition: Option<Partition>, children| Device {
            name: name.into(),
            kind,
            bytes: Bytes::default(),
            start: None,
            table: (kind == DeviceKind::Disk).then_some(PartitionTable::Dos(1)),
            partition,
            volume: None,
            content: Some(Content {
                kind: "LVM2_member".into(),
                uuid: None,
                label: None,
                group: Some(("vg".into(), "old".into())),
                used: None,
            }),
            mount_point: None,
            children,
        };
        let partition =
            Partition { number: 10, kind: "83".into(), uuid: "00000001-0a".into(), label: String::new() };
        let child = device("vda10", DeviceKind::Partition, Some(partition), Vec::new());
        let mut layout = Layout { disks: vec![device("vda", DeviceKind::Disk, None, vec![child])] };
        layout.apply(&DeviceEdit::Table { device: "vda".into(), uuid: "beef0001".into() });
        layout.apply(&DeviceEdit::Group { group: "vg".into(), uuid: "new".into() });
        layout.apply(&DeviceEdit::Content { device: "vda10".into(), uuid: "x".into(), may_seed: false });
        assert_eq!(layout.disks[0].table, Some(PartitionTable::Dos(0xbeef_0001)));
        let child = layout.device("vda10").unwrap();
        assert_eq!(child.partition.as_ref().unwrap().uuid, "beef0001-0a");
        let content = child.content.as_ref().unwrap();
        assert_eq!((content.uuid.as_deref(), content.group.as_ref().unwrap().1.as_str()), (Some("x"), "new"));
    }
}
