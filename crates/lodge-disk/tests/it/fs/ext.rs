//! ext2, ext3 and ext4, as `mke2fs` makes them and a kernel fills them.

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use lodge_disk::{
    blocks::Blocks,
    fs::{FileSystem, FsError, ext::Ext},
};
use lodge_model::guest_disk::FilePath;
use tempfile::TempDir;

use super::{
    compare::compare,
    image::{Image, Mount, empty, run, text, write},
    tree,
};

fn make(image: &Path, options: &[&str]) {
    run("mke2fs", &[&["-q", "-F"], options, &[text(image)]].concat());
}

fn open(image: &Path) -> Result<Ext, FsError> {
    let blocks: Arc<dyn Blocks> = Image::open(image);
    Ext::open(&blocks)
}

/// Made, filled by the kernel, and compared with what the kernel says of it.
fn check(options: &[&str], fill: fn(&Path), least: usize) {
    let folder = TempDir::new().unwrap();
    let image = empty(&folder, "ext", 300);
    make(&image, options);
    let Some(mount) = Mount::new(&image, "rw") else { return };
    fill(mount.path());
    mount.end();
    let Some(mount) = Mount::new(&image, "ro") else { return };
    let reader = open(&image).unwrap_or_else(|error| panic!("{options:?}: {error}"));
    assert!(reader.warnings().is_empty(), "{options:?}: {:?}", reader.warnings());
    assert!(compare(&reader, mount.path()) >= least, "{options:?}");
    mount.end();
}

#[test]
fn a_kernels_ext4_is_read_to_the_byte() {
    check(&["-t", "ext4", "-L", "root"], tree::large, 4600);
    check(&["-t", "ext4", "-O", "metadata_csum,metadata_csum_seed,64bit,orphan_file"], tree::large, 4600);
}

#[test]
fn small_blocks_and_inodes_and_what_old_kernels_made_are_read() {
    for options in [
        &["-t", "ext4", "-b", "1024"][..],
        &["-t", "ext4", "-I", "128", "-O", "^metadata_csum"],
        &["-t", "ext4", "-I", "128", "-O", "metadata_csum"],
        &["-t", "ext4", "-O", "large_dir,ea_inode"],
        &["-t", "ext4", "-O", "^has_journal"],
        &["-t", "ext4", "-O", "^64bit,^metadata_csum,uninit_bg"],
        &["-t", "ext4", "-O", "bigalloc", "-C", "16384"],
        &["-t", "ext4", "-O", "quota,project,verity,stable_inodes"],
        &["-t", "ext4", "-O", "^dir_index,^flex_bg,sparse_super2"],
        &["-t", "ext4", "-O", "encrypt"],
    ] {
        check(options, tree::small, 300);
    }
}

/// Without what has no room in blocks' maps: files that were set aside.
fn without_extents(at: &Path) {
    for (name, bytes) in
        [("empty", 0), ("one", 1000), ("direct", 11 * 1024), ("single", 200_000), ("double", 9 << 20)]
    {
        fs::write(at.join(name), tree::noise(bytes, 5)).unwrap();
    }
    let sparse = File::create(at.join("sparse")).unwrap();
    for place in [5000, 1 << 20, 80 << 20] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &tree::prose(20_000), place).unwrap();
    }
    for number in 0..3000 {
        write(at, &format!("many/a-name-that-takes-some-room-{number}"), b"x");
    }
    std::os::unix::fs::symlink("x".repeat(59), at.join("short")).unwrap();
    std::os::unix::fs::symlink("x".repeat(60), at.join("long")).unwrap();
}

#[test]
fn maps_of_blocks_are_read() {
    for options in [
        &["-t", "ext2"][..],
        &["-t", "ext3"],
        &["-t", "ext4", "-O", "^extents,^64bit"],
        &["-t", "ext2", "-b", "1024", "-I", "128", "-O", "^filetype"],
    ] {
        check(options, without_extents, 3000);
    }
}

#[test]
fn what_was_set_aside_is_zeros_whatever_lies_there() {
    let folder = TempDir::new().unwrap();
    let image = empty(&folder, "ext", 64);
    // Nothing on it is zero before.
    fs::write(&image, vec![0xAA; 64 << 20]).unwrap();
    make(&image, &["-t", "ext4", "-E", "nodiscard"]);
    let from = folder.path().join("from");
    fs::write(&from, vec![7; 40_000]).unwrap();
    run("debugfs", &["-w", "-R", &format!("write {} file", text(&from)), text(&image)]);
    // Ten blocks have bytes, then twenty that are set aside.
    run("debugfs", &["-w", "-R", "fallocate file 10 30", text(&image)]);
    run("debugfs", &["-w", "-R", "sif file size 126976", text(&image)]);
    let read = open(&image).unwrap().read(&FilePath::new("/file").unwrap(), 0, 1 << 20).unwrap();
    assert_eq!(read.len(), 126_976);
    assert!(read[..40_000].iter().all(|byte| *byte == 7));
    assert!(read[40_960..].iter().all(|byte| *byte == 0), "what lay there before is shown");
}

#[test]
fn features_that_are_not_read_are_named() {
    let folder = TempDir::new().unwrap();
    for (feature, options) in [
        ("casefold", &["-O", "casefold", "-E", "encoding=utf8"][..]),
        ("journal_dev", &["-O", "journal_dev"]),
    ] {
        let image = empty(&folder, feature, 64);
        let kind = if feature == "journal_dev" { &[][..] } else { &["-t", "ext4"] };
        make(&image, &[kind, options].concat());
        let error = open(&image).unwrap_err();
        assert!(matches!(error, FsError::Unsupported(_)), "{feature}: {error:?}");
        let wanted = format!("with the feature {feature}");
        assert!(feature == "journal_dev" || error.to_string().contains(&wanted), "{feature}: {error}");
    }
}

#[test]
fn a_directory_of_many_names_is_listed_up_to_the_askers_limit() {
    let folder = TempDir::new().unwrap();
    let image = empty(&folder, "ext", 64);
    make(&image, &["-t", "ext4", "-N", "70000"]);
    let Some(mount) = Mount::new(&image, "rw") else { return };
    for number in 0..60_000 {
        File::create(mount.path().join(format!("{number}"))).unwrap();
    }
    mount.end();
    let reader = open(&image).unwrap();
    let top = FilePath::new("/").unwrap();
    assert_eq!(reader.list(&top, 100_000).unwrap().len(), 60_001);
    assert!(matches!(reader.list(&top, 1000), Err(FsError::TooMany(1000))));
}
