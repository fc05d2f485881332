//! ext2, ext3 and ext4 in their variants; hostile ones.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::rig::{Rig, can_run, link, path, remove, write};
use crate::edit::{EditError, Outcome};

/// The formats that guests have.
const VARIANTS: [(&str, &[&str]); 7] = [
    ("ext2", &["-t", "ext2"]),
    ("ext3", &["-t", "ext3"]),
    ("ext4", &["-t", "ext4"]),
    ("checksums", &["-t", "ext4", "-O", "metadata_csum,64bit,metadata_csum_seed"]),
    ("no checksums", &["-t", "ext4", "-O", "^metadata_csum,^64bit,uninit_bg"]),
    ("no hashed directories", &["-t", "ext4", "-O", "^dir_index"]),
    ("small blocks", &["-t", "ext4", "-b", "1024"]),
];

fn guest(root: &Path) {
    for directory in ["etc/ssh", "var/lib/dbus", "var/lib/cloud/instances/i-1/sem", "var/q \"x\"", "big"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::write(root.join("etc/hostname"), "template\n").unwrap();
    fs::write(root.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::write(root.join("etc/ssh/ssh_host_rsa_key"), vec![b'k'; 3000]).unwrap();
    fs::write(root.join("var/lib/cloud/instances/i-1/sem/config"), "").unwrap();
    fs::write(root.join("var/q \"x\"/<2>"), "in angles").unwrap();
    symlink("../../../etc/machine-id", root.join("var/lib/dbus/machine-id")).unwrap();
    symlink("/etc/ssh", root.join("ssh")).unwrap();
    fs::hard_link(root.join("etc/hostname"), root.join("etc/hostname.other")).unwrap();
    // Enough for a hashed directory.
    for number in 0..700 {
        fs::write(root.join(format!("big/a-name-that-takes-some-room-{number}")), "").unwrap();
    }
}

#[test]
fn files_links_and_trees_change_in_all_variants_and_nothing_is_left_in_disorder() {
    if !can_run() {
        return;
    }
    for (name, options) in VARIANTS {
        let rig = Rig::ext(options, 64, guest);
        let big = vec![7; 300_000];
        let edits = [
            write("/etc/hostname", b"web1\n", None),
            write("/etc/machine-id", b"", None),
            write("/ssh/ssh_host_ed25519_key", b"new key", Some((70_000, 65_537, 0o600))),
            write("/etc/cloud/cloud.cfg.d/90 \"l\".cfg", &big, Some((0, 5, 0o4750))),
            link("/var/lib/dbus/machine-id", "/etc/machine-id"),
            link("/etc/new", &"x".repeat(200)),
            remove("/etc/ssh/ssh_host_rsa_key"),
            remove("/var/lib/cloud"),
            remove("/var/q \"x\""),
            remove("/nothing/there"),
            write("/big/a-name-that-takes-some-room-5", b"five", None),
            write("/big/one-more", b"more", None),
            remove("/big/a-name-that-takes-some-room-600"),
            write("/var/lib/cloud/seed/meta-data", b"again", None),
        ];
        let outcomes = rig.edit(&edits).unwrap_or_else(|error| panic!("{name}: {error}"));
        let changed: Vec<_> = outcomes.iter().map(|outcome| *outcome == Outcome::Changed).collect();
        assert_eq!(changed.iter().filter(|changed| **changed).count(), 13, "{name}: {changed:?}");
        rig.assert_clean();
        let fs = rig.fs();
        let read =
            |at: &str| fs.read(&path(at), 0, 1 << 20).unwrap_or_else(|error| panic!("{name} {at}: {error}"));
        assert_eq!(read("/etc/hostname"), b"web1\n");
        assert_eq!(read("/etc/hostname.other"), b"template\n");
        assert_eq!(read("/etc/machine-id"), b"");
        assert_eq!(read("/etc/cloud/cloud.cfg.d/90 \"l\".cfg"), big);
        assert_eq!(read("/var/lib/cloud/seed/meta-data"), b"again");
        assert_eq!(fs.link(&path("/var/lib/dbus/machine-id")).unwrap(), b"/etc/machine-id");
        let owner = fs.node(&path("/etc/ssh/ssh_host_ed25519_key")).unwrap().owner;
        assert_eq!((owner.uid, owner.gid, owner.mode), (70_000, 65_537, 0o600), "{name}");
        assert_eq!(fs.list(&path("/big"), 10_000).unwrap().len(), 700);
        assert!(fs.node(&path("/var/q \"x\"")).is_err());
        // The wanted end is there: nothing to do.
        let again = rig.edit(&edits[..8]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(again[..7], [Outcome::Already; 7], "{name}");
        rig.assert_clean();
    }
}

#[test]
fn many_files_go_from_and_come_into_a_hashed_directory() {
    if !can_run() {
        return;
    }
    let rig = Rig::ext(&["-t", "ext4", "-b", "1024"], 64, guest);
    // Hashed, with levels.
    std::process::Command::new("e2fsck").args(["-fyD"]).arg(&rig.image).output().unwrap();
    let mut edits: Vec<_> =
        (0..350).map(|n| remove(&format!("/big/a-name-that-takes-some-room-{}", n * 2))).collect();
    edits.extend((0..400).map(|n| write(&format!("/big/another-name-that-takes-room-{n}"), b"x", None)));
    rig.edit(&edits).unwrap();
    rig.assert_clean();
    assert_eq!(rig.fs().list(&path("/big"), 10_000).unwrap().len(), 750);
    rig.edit(&[remove("/big")]).unwrap();
    rig.assert_clean();
    assert!(rig.fs().node(&path("/big")).is_err());
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    if !can_run() {
        return;
    }
    let rig = Rig::ext(&["-t", "ext4"], 64, |root| {
        guest(root);
        fs::create_dir(root.join("lines")).unwrap();
        fs::write(root.join("lines/a\nb"), "").unwrap();
        symlink("loop2", root.join("loop1")).unwrap();
        symlink("/loop1", root.join("loop2")).unwrap();
        symlink("../../../../../etc", root.join("up")).unwrap();
    });
    let before = fs::read(&rig.image).unwrap();
    let first = write("/etc/hostname", b"other", None);
    for (edit, wanted) in [
        (remove("/lines"), "line break"),
        (write("/a\nb", b"", None), "line break"),
        (write("/etc/hostname/x", b"", None), "is no directory"),
        (write("/loop1/x", b"", None), "too many links"),
        (write("/etc/ssh", b"", None), "a directory is there"),
        (link("/etc/ssh", "x"), "a directory is there"),
        (link("/l", ""), "cannot point there"),
        (write("/etc/big", &vec![1; 80 << 20], None), "debugfs did not edit"),
    ] {
        let error = rig.edit(&[first.clone(), edit]).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
        assert!(fs::read(&rig.image).unwrap() == before, "{error}");
    }
    rig.edit(&[write("/up/hostname", b"climbed", None)]).unwrap();
    assert_eq!(rig.fs().read(&path("/etc/hostname"), 0, 99).unwrap(), b"climbed");
    rig.assert_clean();
}

#[test]
fn damaged_file_systems_are_refused_with_their_place() {
    if !can_run() {
        return;
    }
    let rig = Rig::ext(&["-t", "ext4", "-O", "^metadata_csum"], 64, guest);
    // A directory that lies in itself.
    let inode = rig.debugfs("stat /var/lib").split_whitespace().nth(1).unwrap().to_owned();
    rig.change(&format!("link <{inode}> /var/lib/cloud/instances/again"));
    let error = rig.edit(&[remove("/var/lib/cloud")]).unwrap_err();
    assert!(matches!(&error, EditError::Damaged { .. } | EditError::Unsupported { .. }), "{error}");
    // The guest's kernel saw errors.
    rig.change("ssv state 2");
    let error = rig.edit(&[write("/etc/hostname", b"x", None)]).unwrap_err();
    assert!(error.to_string().contains("found errors in it"), "{error}");
    let mut bytes = fs::read(&rig.image).unwrap();
    bytes[1024 + 0x18..1024 + 0x1c].fill(0xff);
    fs::write(&rig.image, &bytes).unwrap();
    let error = rig.edit(&[write("/etc/hostname", b"x", None)]).unwrap_err();
    assert!(matches!(error, EditError::Damaged { .. }), "{error}");
    assert!(fs::read(&rig.image).unwrap() == bytes);
}

#[test]
fn what_the_journal_holds_is_not_lost() {
    if !can_run() {
        return;
    }
    let rig = Rig::ext(&["-t", "ext4"], 64, guest);
    let block = rig.debugfs("blocks /etc/hostname").trim().to_owned();
    let from = rig.path().join("block");
    fs::write(&from, [b"journalled".as_slice(), &[0; 4086]].concat()).unwrap();
    let script = rig.path().join("script");
    fs::write(&script, format!("jo\njw -b {block} {}\njc\n", from.display())).unwrap();
    let debugfs = &mut std::process::Command::new("debugfs");
    super::rig::run(debugfs.args(["-w", "-f"]).arg(&script).arg(&rig.image));
    assert!(rig.debugfs("features").contains("needs_recovery"));
    rig.edit(&[write("/etc/machine-id", b"new", None)]).unwrap();
    assert!(!rig.debugfs("features").contains("needs_recovery"));
    rig.assert_clean();
    assert_eq!(rig.fs().read(&path("/etc/hostname"), 0, 9).unwrap(), b"journalle");
    assert_eq!(rig.fs().read(&path("/etc/machine-id"), 0, 9).unwrap(), b"new");
}

#[test]
fn a_new_uuid_with_and_without_sums() {
    if !can_run() {
        return;
    }
    for options in ["metadata_csum,^metadata_csum_seed", "metadata_csum,metadata_csum_seed", "^metadata_csum"]
    {
        let rig = Rig::ext(&["-t", "ext4", "-O", options], 64, guest);
        // Mounted since it was checked.
        rig.change("ssv mtime 20260101000000");
        rig.change("ssv lastcheck 20250101000000");
        let uuid = uuid::Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);
        rig.set_uuid(uuid).unwrap_or_else(|error| panic!("{options}: {error}"));
        assert!(rig.debugfs("stats").contains(&uuid.to_string()), "{options}");
        rig.assert_clean();
        assert!(rig.fs().node(&path("/etc/hostname")).is_ok());
    }
}
