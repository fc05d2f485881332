//! btrfs, as `mkfs.btrfs` makes it and a kernel fills it.

use std::{fs, io::Write as _, path::Path};

use lodge_disk::fs::{
    FileSystem, FsError, NodeKind,
    btrfs::{Btrfs, Subvolume},
};
use lodge_model::guest_disk::FilePath;
use tempfile::TempDir;

use super::{
    compare::compare,
    image::{Image, Mount, empty, run, text, write},
    tree,
};

/// Makes one, fills it by the kernel. False: that cannot be done here.
pub fn make(image: &Path, options: &[&str], mount_options: &str, fill: fn(&Path)) -> bool {
    run("mkfs.btrfs", &[options, &["-q", "-f", text(image)]].concat());
    let Some(mount) = Mount::new(image, mount_options) else { return false };
    fill(mount.path());
    mount.end();
    true
}

fn check(options: &[&str], mount_options: &str, fill: fn(&Path), least: usize) {
    let folder = TempDir::new().unwrap();
    let image = empty(&folder, "btrfs", 600);
    if !make(&image, options, mount_options, fill) {
        return;
    }
    let Some(mount) = Mount::new(&image, "ro") else { return };
    let reader = Btrfs::open(Image::open(&image)).unwrap();
    assert!(reader.warnings().is_empty(), "{:?}", reader.warnings());
    assert!(compare(&reader, mount.path()) >= least);
    mount.end();
}

/// One subvolume, and a snapshot of the top.
pub fn few_subvolumes(at: &Path) {
    run("btrfs", &["subvolume", "create", text(&at.join("one"))]);
    write(at, "one/file", b"one");
    run("btrfs", &["subvolume", "snapshot", text(at), text(&at.join("snapshot"))]);
}

/// Subvolumes in subvolumes, and snapshots, which have names of subvolumes only.
pub fn subvolumes(at: &Path) {
    let btrfs = |words: &[&str]| run("btrfs", &[&["subvolume"], words].concat());
    let path = |name: &str| text(&at.join(name)).to_owned();
    btrfs(&["create", &path("one")]);
    btrfs(&["create", &path("one/two")]);
    btrfs(&["create", &path("one/two/three")]);
    write(at, "one/two/three/file", b"three");
    tree::small(&at.join("one/two"));
    btrfs(&["snapshot", &path("one"), &path("snapshot")]);
    write(at, "one/after", b"not in the snapshot");
}

fn packed(at: &Path) {
    for packing in ["zlib", "lzo", "zstd"] {
        for (name, bytes) in [("inline", 900), ("small", 4600), ("large", 3 << 20)] {
            let path = at.join(format!("{packing} {name}"));
            fs::File::create(&path).unwrap();
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(&path, "btrfs.compression", packing.as_bytes(), flags).unwrap();
            let mut file = fs::File::options().append(true).open(&path).unwrap();
            file.write_all(&tree::prose(bytes)).unwrap();
            file.write_all(&tree::noise(bytes, 3)).unwrap();
            file.write_all(&vec![7; bytes]).unwrap();
            file.sync_all().unwrap();
            let extents = run("filefrag", &["-v", text(&path)]);
            assert!(bytes < 5000 || extents.contains("encoded"), "{packing} {name}: {extents}");
        }
    }
}

#[test]
fn a_kernels_btrfs_is_read_to_the_byte() {
    check(&["-L", "root"], "rw", tree::large, 4600);
}

#[test]
fn compressed_files_are_read() {
    check(&[], "rw", packed, 9);
    check(&[], "rw,compress-force=lzo", tree::small, 300);
    check(&["-n", "4096", "--csum", "xxhash"], "rw,compress-force=zstd:15", tree::small, 300);
    check(&["-M", "--csum", "sha256"], "rw,compress-force=zlib:9", tree::small, 300);
}

#[test]
fn subvolumes_are_entered_and_chosen() {
    let folder = TempDir::new().unwrap();
    let image = empty(&folder, "btrfs", 300);
    let made = make(&image, &["-m", "single"], "rw", |at| {
        subvolumes(at);
        run("btrfs", &["subvolume", "set-default", text(&at.join("one/two"))]);
    });
    if !made {
        return;
    }
    let reader = Btrfs::open(Image::open(&image)).unwrap();
    let path = |text: &str| FilePath::new(text).unwrap();
    for (options, which) in [
        ("ro", Subvolume::Default),
        ("ro,subvol=one", Subvolume::from_option("subvol=one").unwrap()),
        ("ro,subvol=/snapshot", Subvolume::from_option("subvol=/snapshot").unwrap()),
        ("ro,subvolid=0x101", Subvolume::from_option("subvolid=0x101").unwrap()),
        ("ro,subvolid=5", Subvolume::Id(0)),
        ("ro,subvol=/", Subvolume::Path(path("/"))),
        ("ro,subvol=one/two/three", Subvolume::Path(path("/one/two/three"))),
        ("ro,subvol=snapshot", Subvolume::Path(path("/snapshot"))),
        ("ro,subvolid=256", Subvolume::Id(256)),
    ] {
        let Some(mount) = Mount::new(&image, options) else { return };
        let chosen = reader.subvolume(&which).unwrap();
        assert!(compare(&chosen, mount.path()) > 1, "{options}");
        mount.end();
    }
    for which in [Subvolume::Id(4), Subvolume::Id(999), Subvolume::Path(path("/one/two/short"))] {
        assert!(matches!(reader.subvolume(&which), Err(FsError::NotFound)), "{which:?}");
    }
    assert!(Subvolume::from_option("subvol=../one").is_err());
    let top = reader.subvolume(&Subvolume::Id(5)).unwrap();
    assert!(top.list(&path("/snapshot/two"), 10).unwrap().is_empty());
}

#[test]
fn what_mkfs_fills_is_read_with_every_checksum_but_one() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("root");
    write(&root, "etc/machine-id", b"0123456789abcdef0123456789abcdef\n");
    write(&root, "data", &tree::noise(300_000, 3));
    std::os::unix::fs::symlink("../run/x", root.join("etc/link")).unwrap();
    for (sum, metadata) in [("crc32c", "dup"), ("xxhash", "single"), ("sha256", "dup"), ("blake2", "dup")] {
        let image = empty(&folder, "btrfs", 200);
        let options =
            ["-q", "-f", "-L", "data", "-m", metadata, "--csum", sum, "--rootdir", text(&root), text(&image)];
        run("mkfs.btrfs", &options);
        let reader = match Btrfs::open(Image::open(&image)) {
            Err(FsError::Unsupported(what)) if sum == "blake2" => {
                assert_eq!(what, "a btrfs with BLAKE2b checksums");
                continue;
            }
            other => other.unwrap(),
        };
        let path = |text: &str| FilePath::new(text).unwrap();
        assert_eq!(reader.read(&path("/data"), 1, 1 << 20).unwrap(), &tree::noise(300_000, 3)[1..]);
        assert_eq!(reader.read(&path("/etc/machine-id"), 4, 8).unwrap(), b"456789ab");
        assert_eq!(reader.link(&path("/etc/link")).unwrap(), b"../run/x");
        assert_eq!(reader.node(&path("/etc")).unwrap().kind, NodeKind::Directory);
        assert!(matches!(reader.node(&path("/etc/none")), Err(FsError::NotFound)));
        assert!(matches!(reader.node(&path("/data/x")), Err(FsError::NotADirectory)));
        let known = run("blkid", &["-p", "-o", "value", "-s", "UUID", text(&image)]);
        assert_eq!(reader.content().uuid.as_deref(), Some(known.trim()));
        assert_eq!(reader.content().label.as_deref(), Some("data"));
    }
}

#[test]
fn several_devices_are_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let (one, two) = (empty(&folder, "one", 300), empty(&folder, "two", 300));
    run("mkfs.btrfs", &["-q", "-f", text(&one), text(&two)]);
    let error = Btrfs::open(Image::open(&one)).unwrap_err();
    assert_eq!(error.to_string(), "cannot read this file system: a btrfs over 2 devices");
}

#[test]
fn a_btrfs_that_was_not_unmounted_is_warned_of() {
    let folder = TempDir::new().unwrap();
    let (image, copy) = (empty(&folder, "btrfs", 300), folder.path().join("copy"));
    run("mkfs.btrfs", &["-q", "-f", text(&image)]);
    let Some(mount) = Mount::new(&image, "rw") else { return };
    let mut file = fs::File::create(mount.path().join("file")).unwrap();
    run("sync", &["-f", text(mount.path())]);
    file.write_all(b"new").unwrap();
    file.sync_all().unwrap();
    run("cp", &["--sparse=always", text(&image), text(&copy)]);
    drop(file);
    mount.end();
    let warnings = Btrfs::open(Image::open(&copy)).unwrap().warnings().to_owned();
    assert!(matches!(&warnings[..], [one] if one.starts_with("not unmounted cleanly")), "{warnings:?}");
}
