//! Trees that make a file system use each of its ways to keep a file and a directory.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use rustix::fs::FallocateFlags;

use super::image::{run, text};

/// Bytes that nothing can compress, the same each time.
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// Bytes that anything can compress, not two blocks alike.
pub fn prose(bytes: usize) -> Vec<u8> {
    (0_u64..)
        .flat_map(|line| format!("line {line} of {bytes}: {:?}\n", line * 7919 % 1009).into_bytes())
        .take(bytes)
        .collect()
}

/// A tree of which each file is looked at within a moment.
pub fn tiny(at: &Path) {
    directory(at, "short", 3, 0);
    directory(at, "block", 16, 3);
    fs::write(at.join("inline"), prose(700)).unwrap();
    fs::write(at.join("text"), prose(9000)).unwrap();
    fs::write(at.join("noise"), noise(5000, 3)).unwrap();
    symlink("somewhere", at.join("link")).unwrap();
    symlink("../elsewhere/".repeat(60), at.join("far")).unwrap();
    let pieces = File::create(at.join("pieces")).unwrap();
    pieces.write_all_at(&prose(12 * 8192), 0).unwrap();
    pieces.sync_all().unwrap();
    punch(&pieces, 12);
}

/// A tree of some ten files and directories of each kind.
pub fn small(at: &Path) {
    directory(at, "short", 3, 0);
    directory(at, "block", 20, 0);
    directory(at, "leaf", 300, 40);
    files(at);
    links(at);
    holes(at, 24);
}

/// All of [`small`], and much of it.
pub fn large(at: &Path) {
    small(at);
    directory(at, "node", 6000, 1500);
    holes(at, 4000);
    let mut deep = at.to_owned();
    for level in 0..64 {
        deep.push(format!("level {level}"));
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "found").unwrap();
    fs::write(at.join("big"), noise(9 << 20, 7)).unwrap();
    fs::write(at.join("big text"), prose(5 << 20)).unwrap();
}

/// A directory of so many names, of which some are gone again.
fn directory(at: &Path, name: &str, names: usize, gone: usize) {
    let folder = at.join(name);
    fs::create_dir(&folder).unwrap();
    let path = |number: usize| folder.join(format!("{number}{}", "-a long name".repeat(number % 11)));
    for number in 0..names {
        fs::write(path(number), number.to_string()).unwrap();
    }
    for number in (0..gone).map(|number| number * 3 % names) {
        let _ = fs::remove_file(path(number));
    }
}

fn files(at: &Path) {
    for (name, bytes) in [("empty", 0), ("inline", 100), ("one block", 4096), ("two and a bit", 9000)] {
        fs::write(at.join(name), noise(bytes, 3)).unwrap();
    }
    fs::write(at.join("odd \n \u{e9} name"), "newline").unwrap();
    let owned = at.join("owned");
    fs::write(&owned, "by somebody").unwrap();
    chown(&owned, Some(70_000), Some(1001)).unwrap();
    fs::set_permissions(&owned, fs::Permissions::from_mode(0o6751)).unwrap();
    for (name, time) in [
        ("of 2030", UNIX_EPOCH + Duration::from_hours(525_960)),
        ("of 1960", UNIX_EPOCH - Duration::from_hours(87_672)),
    ] {
        fs::write(at.join(name), name).unwrap();
        File::options().write(true).open(at.join(name)).unwrap().set_modified(time).unwrap();
    }
    run("mkfifo", &[text(&at.join("pipe"))]);
    run("mknod", &[text(&at.join("device")), "c", "1", "3"]);
}

fn links(at: &Path) {
    for length in [1, 40, 300, 1000] {
        let target = "../somewhere/".chars().cycle().take(length).collect::<String>();
        symlink(target, at.join(format!("link of {length}"))).unwrap();
    }
}

/// Files in pieces: with holes, with room that was set aside, and of so many extents.
fn holes(at: &Path, extents: u64) {
    let sparse = File::create(at.join(format!("sparse {extents}"))).unwrap();
    for place in [5000, 1 << 20, (11 << 20) + 77] {
        sparse.write_all_at(&prose(20_000), place).unwrap();
    }
    sparse.set_len((13 << 20) + 5).unwrap();
    let room = File::create(at.join(format!("set aside {extents}"))).unwrap();
    rustix::fs::fallocate(&room, FallocateFlags::empty(), 0, 1 << 20).unwrap();
    room.write_all_at(&noise(50_000, 5), 300_000).unwrap();
    let pieces = File::create(at.join(format!("pieces {extents}"))).unwrap();
    pieces.write_all_at(&noise(usize::try_from(extents * 8192).unwrap(), 9), 0).unwrap();
    pieces.sync_all().unwrap();
    punch(&pieces, extents);
}

fn punch(pieces: &File, extents: u64) {
    for piece in 0..extents {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(pieces, hole, piece * 8192, 4096).unwrap();
    }
}
