//! What a reader says beside what a kernel says.

use std::{
    fs::{self, Metadata},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{FileExt as _, MetadataExt as _},
    },
    path::Path,
};

use lodge_disk::fs::{FileSystem, NodeKind};
use lodge_model::guest_disk::FilePath;

const NAMES: usize = 1 << 20;
/// Odd on purpose: pieces begin and end within blocks.
const PIECE: usize = 300_007;

/// Panics at the first difference. The answer is how many files were compared.
pub fn compare(reader: &dyn FileSystem, mounted: &Path) -> usize {
    directory(reader, &FilePath::new("/").unwrap(), mounted)
}

fn kind(metadata: &Metadata) -> NodeKind {
    let kind = metadata.file_type();
    match (kind.is_file(), kind.is_dir(), kind.is_symlink()) {
        (true, _, _) => NodeKind::File,
        (_, true, _) => NodeKind::Directory,
        (_, _, true) => NodeKind::Link,
        _ => NodeKind::Other,
    }
}

fn directory(reader: &dyn FileSystem, path: &FilePath, mounted: &Path) -> usize {
    let mut theirs: Vec<(Vec<u8>, NodeKind)> = fs::read_dir(mounted)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_vec(), kind(&entry.metadata().unwrap()))
        })
        .collect();
    let mut ours: Vec<(Vec<u8>, NodeKind)> = reader
        .list(path, NAMES)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .into_iter()
        .map(|entry| (entry.name, entry.kind))
        .collect();
    theirs.sort_by(|one, other| one.0.cmp(&other.0));
    ours.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(ours == theirs, "{path}: {} names here, {} there", ours.len(), theirs.len());
    let mut count = 1;
    for (name, kind) in theirs {
        let parent = path.as_bytes().strip_suffix(b"/").unwrap_or(path.as_bytes());
        let below = FilePath::new([parent, b"/", &name].concat()).unwrap();
        let there = mounted.join(std::ffi::OsStr::from_bytes(&name));
        node(reader, &below, &there);
        count += match kind {
            NodeKind::Directory => directory(reader, &below, &there),
            NodeKind::File => file(reader, &below, &there),
            NodeKind::Link => {
                let target = fs::read_link(&there).unwrap();
                assert_eq!(reader.link(&below).unwrap(), target.as_os_str().as_bytes(), "{below}");
                1
            }
            NodeKind::Other => 1,
        };
    }
    count
}

fn node(reader: &dyn FileSystem, path: &FilePath, there: &Path) {
    let node = reader.node(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let metadata = fs::symlink_metadata(there).unwrap();
    assert_eq!(node.kind, kind(&metadata), "{path}");
    if node.modified == 0 && node.kind == NodeKind::Directory {
        // What stands where a snapshot has no subvolume: a kernel dates it as it likes.
        return;
    }
    assert_eq!(node.modified, metadata.mtime(), "{path}");
    assert_eq!(u32::from(node.owner.mode), metadata.mode() & 0o7777, "{path}");
    assert_eq!((node.owner.uid, node.owner.gid), (metadata.uid(), metadata.gid()), "{path}");
    assert_eq!(node.size, metadata.len(), "{path}");
}

fn file(reader: &dyn FileSystem, path: &FilePath, there: &Path) -> usize {
    let file = fs::File::open(there).unwrap();
    let size = file.metadata().unwrap().len();
    let mut at = 0;
    loop {
        let ours = reader.read(path, at, PIECE).unwrap_or_else(|error| panic!("{path} at {at}: {error}"));
        let mut theirs = vec![0; usize::try_from((size - at).min(PIECE as u64)).unwrap()];
        file.read_exact_at(&mut theirs, at).unwrap();
        assert!(ours == theirs, "{path}: other bytes within {} from {at} on", theirs.len());
        at += ours.len() as u64;
        if ours.len() < PIECE {
            break;
        }
    }
    assert_eq!(at, size, "{path}");
    assert!(reader.read(path, size, 10).unwrap().is_empty(), "{path}");
    1
}
