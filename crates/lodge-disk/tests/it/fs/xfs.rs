//! XFS, as `mkfs.xfs` makes it and a kernel fills it.

use std::{fs, path::Path};

use lodge_disk::fs::{FileSystem, FsError, NodeKind, xfs::Xfs};
use lodge_model::guest_disk::FilePath;
use tempfile::TempDir;

use super::{
    compare::compare,
    image::{Image, Mount, empty, run, text, write},
    tree,
};

/// Makes one, fills it by the kernel. False: that cannot be done here.
pub fn make(image: &Path, options: &[&str], fill: fn(&Path)) -> bool {
    run("mkfs.xfs", &[options, &["-q", "-f", text(image)]].concat());
    let Some(mount) = Mount::new(image, "rw") else { return false };
    fill(mount.path());
    mount.end();
    true
}

/// A link that does not fit into its inode.
fn far() -> String {
    "x".repeat(700)
}

/// Makes one and fills it without a kernel.
pub fn make_old(folder: &TempDir, image: &Path, options: &[&str]) {
    write(folder.path(), "hosts", &tree::noise(10_000, 3));
    let name = |number| format!("file{number:03} ---644 0 0 {}/hosts\n", folder.path().display());
    let names = (0..200).map(name).collect::<Vec<_>>().concat();
    let long = far();
    let proto = format!(
        "/dev/null\n0 0\nd--755 0 0\nshort d--700 1 2\nhosts ---640 3 4 {0}/hosts\nlink l--777 0 0 ../etc/hosts\n\
         far l--777 0 0 {long}\n$\nmany d--755 0 0\n{names}$\n$\n",
        folder.path().display()
    );
    write(folder.path(), "proto", proto.as_bytes());
    let proto = folder.path().join("proto");
    run("mkfs.xfs", &[options, &["-q", "-f", "-L", "old", "-p", text(&proto), text(image)]].concat());
}

fn check(options: &[&str], fill: fn(&Path), least: usize) {
    let folder = TempDir::new().unwrap();
    let image = empty(&folder, "xfs", 600);
    if !make(&image, options, fill) {
        return;
    }
    let Some(mount) = Mount::new(&image, "ro") else { return };
    let reader = Xfs::open(Image::open(&image)).unwrap();
    assert!(reader.warnings().is_empty(), "{:?}", reader.warnings());
    assert!(compare(&reader, mount.path()) >= least);
    mount.end();
}

#[test]
fn a_kernels_xfs_is_read_to_the_byte() {
    check(&["-L", "root"], tree::large, 4600);
}

#[test]
fn an_xfs_of_small_blocks_and_large_directory_blocks_is_read() {
    check(&["-b", "size=1024", "-n", "size=8192", "-i", "size=512"], tree::small, 300);
    check(&["-b", "size=1024", "-n", "size=4096"], tree::large, 4600);
    check(&["-n", "size=16384", "-i", "size=2048", "-m", "bigtime=0,reflink=0"], tree::small, 300);
}

#[test]
fn an_old_xfs_with_and_without_kinds_in_its_directories_is_read() {
    let folder = TempDir::new().unwrap();
    for options in
        [&["-m", "crc=0", "-n", "ftype=0"][..], &["-m", "crc=0", "-n", "ftype=1"], &["-m", "crc=1"]]
    {
        let image = empty(&folder, "xfs", 300);
        make_old(&folder, &image, options);
        let reader = Xfs::open(Image::open(&image)).unwrap();
        assert!(reader.warnings().is_empty(), "{:?}", reader.warnings());
        let path = |text: &str| FilePath::new(text).unwrap();
        assert_eq!(reader.read(&path("/short/hosts"), 0, 1 << 20).unwrap(), tree::noise(10_000, 3));
        let owner = reader.node(&path("/short/hosts")).unwrap().owner;
        assert_eq!((owner.uid, owner.gid, owner.mode), (3, 4, 0o640));
        assert_eq!(reader.link(&path("/short/link")).unwrap(), b"../etc/hosts");
        if options != ["-m", "crc=1"] {
            // mkfs.xfs 6.1 forgets the header that version 5 wants there; a kernel's links are compared above.
            assert_eq!(reader.link(&path("/short/far")).unwrap(), far().as_bytes());
        }
        let many = reader.list(&path("/many"), 1000).unwrap();
        assert_eq!(many.len(), 200);
        assert!(many.iter().all(|entry| entry.kind == NodeKind::File));
        assert!(matches!(reader.list(&path("/many"), 199), Err(FsError::TooMany(199))));
        assert!(matches!(reader.node(&path("/short/none")), Err(FsError::NotFound)));
        assert!(matches!(reader.node(&path("/short/hosts/x")), Err(FsError::NotADirectory)));
        assert!(matches!(reader.read(&path("/short"), 0, 1), Err(FsError::NotAFile)));
        assert!(matches!(reader.link(&path("/short")), Err(FsError::NotALink)));
        let content = reader.content();
        let known = run("blkid", &["-p", "-o", "value", "-s", "UUID", text(&image)]);
        assert_eq!(content.uuid.as_deref(), Some(known.trim()));
        assert_eq!((content.kind.as_str(), content.label.as_deref()), ("xfs", Some("old")));
    }
}

#[test]
fn an_xfs_that_was_not_unmounted_is_warned_of() {
    let folder = TempDir::new().unwrap();
    let (image, copy) = (empty(&folder, "xfs", 300), folder.path().join("copy"));
    run("mkfs.xfs", &["-q", "-f", text(&image)]);
    let Some(mount) = Mount::new(&image, "rw") else { return };
    fs::write(mount.path().join("file"), "new").unwrap();
    run("sync", &["-f", text(mount.path())]);
    run("cp", &["--sparse=always", text(&image), text(&copy)]);
    // All of its tree is in the log.
    let error = Xfs::open(Image::open(&copy)).unwrap_err();
    assert!(error.to_string().contains("has nothing but its log yet"), "{error}");
    // A freeze brings to its place what is there; what comes after it is in the log.
    for act in ["-f", "-u"] {
        run("fsfreeze", &[act, text(mount.path())]);
    }
    fs::write(mount.path().join("late"), "new").unwrap();
    run("sync", &["-f", text(mount.path())]);
    run("cp", &["--sparse=always", text(&image), text(&copy)]);
    mount.end();
    let warnings = Xfs::open(Image::open(&copy)).unwrap().warnings().to_owned();
    assert!(matches!(&warnings[..], [one] if one.starts_with("not unmounted cleanly")), "{warnings:?}");
    assert!(Xfs::open(Image::open(&image)).unwrap().warnings().is_empty());
}

#[test]
fn a_changed_byte_of_a_superblock_is_damage() {
    let folder = TempDir::new().unwrap();
    let image = empty(&folder, "xfs", 300);
    run("mkfs.xfs", &["-q", "-f", text(&image)]);
    let file = fs::File::options().write(true).open(&image).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"X", 110).unwrap();
    let error = Xfs::open(Image::open(&image)).unwrap_err();
    assert_eq!(error.to_string(), "damaged: XFS superblock: its checksum does not hold at byte 224");
}
