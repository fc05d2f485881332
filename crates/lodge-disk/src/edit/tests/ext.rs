//! ext2, ext3 and ext4 in their variants; hostile ones.

use std::{fs, os::unix::fs::symlink, path::Path};

use rustix::fs::{XattrFlags, setxattr};

use super::rig::{Rig, append, can_run, directory, link, own, path, remove, write};
use crate::edit::{EditError, Outcome};

/// The formats that guests have.
const VARIANTS: [(&str, &[&str]); 9] = [
    ("ext2", &["-t", "ext2"]),
    ("ext3", &["-t", "ext3"]),
    ("ext4", &["-t", "ext4"]),
    ("checksums", &["-t", "ext4", "-O", "metadata_csum,64bit,metadata_csum_seed"]),
    ("no checksums", &["-t", "ext4", "-O", "^metadata_csum,^64bit,uninit_bg"]),
    ("no hashed directories", &["-t", "ext4", "-O", "^dir_index"]),
    ("small blocks", &["-t", "ext4", "-b", "1024"]),
    ("files in inodes", &["-t", "ext4", "-I", "256", "-O", "inline_data,metadata_csum"]),
    (
        "descriptors by group",
        &["-t", "ext4", "-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode,^flex_bg"],
    ),
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
            directory("/home/one/.ssh", Some((1000, 1001, 0o700))),
            directory("/etc", Some((1, 1, 0o700))),
            link("/top", "etc"),
            remove("/ssh"),
            own("/etc", (0, 5, 0o751)),
            own("/etc/ssh/ssh_host_ed25519_key", (0, 0, 0o640)),
        ];
        let outcomes = rig.edit(&edits).unwrap_or_else(|error| panic!("{name}: {error}"));
        let changed: Vec<_> = outcomes.iter().map(|outcome| *outcome == Outcome::Changed).collect();
        assert_eq!(changed.iter().filter(|changed| **changed).count(), 18, "{name}: {changed:?}");
        rig.assert_clean();
        let fs = rig.fs();
        assert_eq!(fs.link(&path("/top")).unwrap(), b"etc", "{name}");
        assert!(
            fs.node(&path("/ssh")).is_err() && fs.node(&path("/var/lib/cloud/seed/home")).is_err(),
            "{name}"
        );
        let read =
            |at: &str| fs.read(&path(at), 0, 1 << 20).unwrap_or_else(|error| panic!("{name} {at}: {error}"));
        assert_eq!(read("/etc/hostname"), b"web1\n");
        assert_eq!(read("/etc/hostname.other"), b"template\n");
        assert_eq!(read("/etc/machine-id"), b"");
        assert_eq!(read("/etc/cloud/cloud.cfg.d/90 \"l\".cfg"), big);
        assert_eq!(read("/var/lib/cloud/seed/meta-data"), b"again");
        assert_eq!(fs.link(&path("/var/lib/dbus/machine-id")).unwrap(), b"/etc/machine-id");
        let owner = fs.node(&path("/etc/ssh/ssh_host_ed25519_key")).unwrap().owner;
        assert_eq!((owner.uid, owner.gid, owner.mode), (0, 0, 0o640), "{name}");
        assert_eq!(read("/etc/ssh/ssh_host_ed25519_key"), b"new key");
        let owner = |at: &str| {
            fs.node(&path(at)).map(|node| (node.owner.uid, node.owner.gid, node.owner.mode)).unwrap()
        };
        assert_eq!(
            (owner("/home/one/.ssh"), owner("/home/one")),
            ((1000, 1001, 0o700), (0, 0, 0o755)),
            "{name}"
        );
        assert_eq!(owner("/etc"), (0, 5, 0o751), "{name}");
        assert_eq!(fs.list(&path("/big"), 10_000).unwrap().len(), 700);
        assert!(fs.node(&path("/var/q \"x\"")).is_err());
        // The wanted end is there: nothing to do.
        let again = rig.edit(&edits[3..8]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(again[..4], [Outcome::Already; 4], "{name}");
        rig.assert_clean();
    }
}

#[test]
fn what_is_added_to_a_file_stands_behind_it_once() {
    if !can_run() {
        return;
    }
    let rig = Rig::ext(&["-t", "ext4"], 64, guest);
    let large = vec![9; 5 << 20];
    rig.edit(&[write("/etc/ssh/initrd", &large, Some((0, 0, 0o600)))]).unwrap();
    let more = vec![1; 1000];
    let added = append("/ssh/initrd", 5 << 20, &more);
    assert_eq!(rig.edit(std::slice::from_ref(&added)).unwrap(), [Outcome::Changed]);
    assert_eq!(rig.edit(&[added]).unwrap(), [Outcome::Already]);
    rig.assert_clean();
    let fs = rig.fs();
    assert_eq!(fs.read(&path("/etc/ssh/initrd"), 0, 10 << 20).unwrap(), [large, more].concat());
    let owner = fs.node(&path("/etc/ssh/initrd")).unwrap().owner;
    assert_eq!((owner.uid, owner.gid, owner.mode), (0, 0, 0o600));
    for bad in [
        append("/etc/ssh/initrd", 7, b"x"),
        append("/etc/ssh/initrd", u64::MAX, b"x"),
        append("/etc/none", 0, b"x"),
        append("/etc", 0, b"x"),
        append("/var/lib/dbus/machine-id", 0, b"x"),
    ] {
        assert!(matches!(rig.edit(&[bad]), Err(EditError::InTheWay { .. })));
    }
    let both = [write("/etc/hostname", b"a", None), append("/etc/hostname", 1, b"b")];
    assert!(matches!(rig.edit(&both), Err(EditError::InTheWay { .. })));
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
        symlink("loop2", root.join("loop1")).unwrap();
        symlink("/loop1", root.join("loop2")).unwrap();
        symlink("../../../../../etc", root.join("up")).unwrap();
    });
    let before = fs::read(&rig.image).unwrap();
    let first = write("/etc/hostname", b"other", None);
    for (edit, wanted) in [
        (write("/a\nb", b"", None), "line break"),
        (write("/etc/hostname/x", b"", None), "is no directory"),
        (write("/loop1/x", b"", None), "too many links"),
        (write("/etc/ssh", b"", None), "a directory is there"),
        (link("/etc/ssh", "x"), "a directory is there"),
        (link("/l", ""), "cannot point there"),
        (write("/etc/big", &vec![1; 80 << 20], None), "has no room for /etc/big"),
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

/// Names that fill a directory's blocks by a few each: the tools look at every block again for each name.
fn long_name(number: usize) -> String {
    format!("another-{number}-{}", "x".repeat(230))
}

/// All that has a sum: directories with and without an index, files in many pieces, attributes in blocks.
fn with_sums(root: &Path) {
    guest(root);
    for (name, length) in [("etc/hostname", 700), ("etc/machine-id", 50), ("etc", 600)] {
        setxattr(root.join(name), "user.long", &vec![b'v'; length], XattrFlags::empty()).unwrap();
    }
    fs::create_dir(root.join("empty")).unwrap();
    for number in 0..400 {
        fs::write(root.join("big").join(long_name(number)), "x").unwrap();
    }
    let pieces = fs::File::create(root.join("pieces")).unwrap();
    for piece in 0..600 {
        std::os::unix::fs::FileExt::write_all_at(&pieces, b"piece", piece * 8192).unwrap();
    }
}

#[test]
fn a_new_uuid_is_in_all_sums_and_damage_stays_damage() {
    if !can_run() {
        return;
    }
    let new = uuid::Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);
    for (options, is_own) in [
        (&["-O", "metadata_csum,^metadata_csum_seed", "-b", "4096"][..], true),
        (&["-O", "metadata_csum,^metadata_csum_seed,^64bit,^flex_bg", "-b", "1024"], true),
        (&["-O", "metadata_csum,^metadata_csum_seed", "-I", "128"], true),
        (&["-O", "metadata_csum,^metadata_csum_seed,^extents,^64bit", "-b", "2048", "-I", "512"], true),
        (&["-O", "metadata_csum,metadata_csum_seed,orphan_file"], true),
        (&["-O", "metadata_csum,^metadata_csum_seed,inline_data", "-I", "256"], true),
        (&["-O", "^metadata_csum"], true),
        (&["-O", "^metadata_csum,meta_bg,^resize_inode", "-b", "1024"], true),
        (&["-t", "ext2"], true),
        (&["-O", "^metadata_csum,uninit_bg"], false),
    ] {
        let kind: &[&str] = if options.contains(&"-t") { &[] } else { &["-t", "ext4"] };
        let rig = Rig::ext(&[kind, options].concat(), 64, with_sums);
        // Inodes that nobody has any more, and an index over the directory.
        rig.change(&format!("rm /big/{}", long_name(7)));
        std::process::Command::new("e2fsck").args(["-fyD"]).arg(&rig.image).output().unwrap();
        // Of two levels, where blocks are small.
        let stats = rig.debugfs("stats");
        let block_size = stats.lines().find_map(|line| line.strip_prefix("Block size:")).unwrap().trim();
        let levels = format!("Indirect levels: {}", u32::from(block_size == "1024"));
        let index = rig.debugfs("htree_dump /big");
        assert!(index.contains(&levels), "{options:?}: not {levels}: {index}");
        // Mounted since it was checked.
        rig.change("ssv mtime 20260101000000");
        rig.change("ssv lastcheck 20250101000000");
        let ran = rig.set_uuid(new, false).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        assert_eq!(ran.is_empty(), is_own, "{options:?}: {ran:?}");
        rig.assert_clean();
        assert!(rig.debugfs("stats").contains(&new.to_string()), "{options:?}");
        let fs = rig.fs();
        assert_eq!(fs.list(&path("/big"), 10_000).unwrap().len(), 1099, "{options:?}");
        assert_eq!(fs.read(&path("/pieces"), 599 * 8192, 9).unwrap(), b"piece", "{options:?}");
        if options.contains(&"1024") {
            // The copies too, as whoever has lost the first one needs them.
            let args = ["-h", "-o", "superblock=8193", "-o", "blocksize=1024"];
            let said = std::process::Command::new("dumpe2fs").args(args).arg(&rig.image).output().unwrap();
            let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
            assert!(said.contains(&new.to_string()) && !said.contains("hecksum does not match"), "{said}");
        }
    }
}

#[test]
fn a_new_uuid_is_refused_where_sums_would_be_wrong() {
    if !can_run() {
        return;
    }
    for feature in ["orphan_file", "sparse_super2", "meta_bg,^resize_inode"] {
        let features = format!("metadata_csum,^metadata_csum_seed,{feature}");
        let rig = Rig::ext(&["-t", "ext4", "-O", &features], 64, with_sums);
        let refused = rig.set_uuid(uuid::Uuid::from_u128(9), false).unwrap_err();
        assert!(refused.to_string().contains("its sums begin with the UUID"), "{refused}");
        rig.assert_clean();
    }
}

/// What a file system is made of is as it was, but for its superblocks.
#[test]
fn sums_stay_where_their_seed_may_become_a_field() {
    if !can_run() {
        return;
    }
    let new = uuid::Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);
    for options in [
        &["-O", "metadata_csum,^metadata_csum_seed"][..],
        &["-O", "metadata_csum,^metadata_csum_seed,orphan_file,ea_inode,large_dir"],
        &["-O", "metadata_csum,^metadata_csum_seed,^64bit,^flex_bg", "-b", "1024"],
        &[
            "-O",
            "metadata_csum,^metadata_csum_seed,meta_bg,^resize_inode,inline_data",
            "-b",
            "1024",
            "-I",
            "256",
        ],
    ] {
        let rig = Rig::ext(&[&["-t", "ext4"], options].concat(), 64, with_sums);
        rig.change("ssv mtime 20260101000000");
        let before = fs::read(&rig.image).unwrap();
        let ran = rig.set_uuid(new, true).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        assert!(ran.is_empty(), "{options:?}: {ran:?}");
        rig.assert_clean();
        let after = fs::read(&rig.image).unwrap();
        let changed = (0..before.len()).filter(|at| before[*at] != after[*at]);
        let mut superblocks: Vec<usize> = changed.map(|at| at / 1024).collect();
        superblocks.dedup();
        // UUID, feature, seed and sum, in each copy.
        assert!(superblocks.contains(&1) && superblocks.len() <= 5, "{options:?}: {superblocks:?}");
        let stats = rig.debugfs("stats");
        assert!(
            stats.contains(&new.to_string()) && stats.contains("metadata_csum_seed"),
            "{options:?}: {stats}"
        );
        assert_eq!(rig.fs().list(&path("/big"), 10_000).unwrap().len(), 1100, "{options:?}");
        // The next one finds a field.
        let next = uuid::Uuid::from_u128(9);
        assert!(rig.set_uuid(next, false).unwrap().is_empty());
        rig.assert_clean();
        assert!(rig.debugfs("stats").contains(&next.to_string()));
    }
    // What has no sums gets no field.
    let rig = Rig::ext(&["-t", "ext4", "-O", "^metadata_csum"], 64, with_sums);
    rig.set_uuid(new, true).unwrap();
    rig.assert_clean();
    assert!(!rig.debugfs("stats").contains("metadata_csum_seed"));
}

#[test]
fn a_new_uuid_hides_no_damage() {
    if !can_run() {
        return;
    }
    let options = ["-t", "ext4", "-b", "4096", "-O", "metadata_csum,^metadata_csum_seed"];
    let rig = Rig::ext(&options, 64, with_sums);
    // `Inode 13 is part of block group 0 \n located at block 40, offset 0x0c00`
    let place = rig.debugfs("imap /etc/hostname");
    let number =
        |after: &str| place.split(after).nth(1).unwrap().split([',', '\n']).next().unwrap().trim().to_owned();
    let block: usize = number("located at block ").parse().unwrap();
    let offset = usize::from_str_radix(number("offset 0x").as_str(), 16).unwrap();
    let mut bytes = fs::read(&rig.image).unwrap();
    bytes[block * 4096 + offset + 8] ^= 1;
    fs::write(&rig.image, &bytes).unwrap();
    rig.set_uuid(uuid::Uuid::from_u128(9), false).unwrap();
    let said = std::process::Command::new("e2fsck").arg("-fn").arg(&rig.image).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("checksum does not match") && said.matches("checksum").count() < 4, "{said}");
}

const LABEL: &str = "security.selinux";

#[test]
fn a_replaced_file_keeps_what_it_has_beside_its_bytes() {
    if !can_run() {
        return;
    }
    // rw-, one more user may read, r--, mask r--, r--.
    let acl = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
    for options in [
        &["-t", "ext4"][..],
        &["-t", "ext4", "-I", "128", "-O", "^metadata_csum"],
        &["-t", "ext3"],
        &["-t", "ext4", "-I", "1024"],
    ] {
        let rig = Rig::ext(options, 64, |root| {
            guest(root);
            let set = |name: &str, attribute: &str, value: &[u8]| {
                setxattr(root.join(name), attribute, value, XattrFlags::empty()).unwrap();
            };
            set("etc/hostname", LABEL, b"system_u:object_r:hostname_etc_t:s0\0");
            set("etc/hostname", "user.a note", &[7; 300]);
            set("etc/hostname", "system.posix_acl_access", acl);
            set("etc/hostname", "security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
            set("etc/machine-id", "system.posix_acl_access", acl);
            for long in ["etc/one", "var/q \"x\"", "var/q \"x\"/<2>"] {
                fs::File::options().create(true).truncate(false).write(true).open(root.join(long)).ok();
                set(long, "user.long", &[9; 500]);
            }
            for name in ["etc/two", "etc/three"] {
                fs::hard_link(root.join("etc/one"), root.join(name)).unwrap();
            }
            set("etc", LABEL, b"system_u:object_r:etc_t:s0\0");
        });
        rig.change("sif /etc/hostname crtime @1000000000");
        let flags = if options.contains(&"ext3") { "0x10" } else { "0x80010" };
        rig.change(&format!("sif /etc/hostname flags {flags}"));
        let list = |at: &str| {
            let mut lines: Vec<String> = rig
                .debugfs(&format!("ea_list {at}"))
                .lines()
                .skip(1)
                .map(str::trim)
                .map(str::to_owned)
                .collect();
            lines.sort();
            lines.retain(|line| !line.contains("security.capability"));
            lines
        };
        let before = list("/etc/hostname");
        assert_eq!(before.len(), 3, "{options:?}: {before:?}");
        let edits = [
            write("/etc/hostname", b"web1\n", None),
            write("/etc/machine-id", b"other", Some((0, 0, 0o444))),
            write("/etc/new/file", b"new", None),
            write("/etc/new/file", b"newer", None),
            remove("/etc/two"),
            remove("/etc/one"),
            remove("/var/q \"x\""),
            link("/etc/link", "somewhere"),
        ];
        rig.edit(&edits).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        rig.assert_clean();
        assert_eq!(list("/etc/hostname"), before, "{options:?}");
        assert!(list("/etc/machine-id").is_empty(), "another mode, and no ACL that says otherwise");
        for new in ["/etc/new", "/etc/new/file", "/etc/link"] {
            let told = list(new);
            assert!(
                matches!(&told[..], [one] if one.contains("object_r:etc_t:s0")),
                "{options:?} {new}: {told:?}"
            );
        }
        assert_eq!(list("/etc/three").len(), 1, "the other names went, this one has it still");
        let stat = rig.debugfs("stat /etc/hostname");
        assert!(stat.contains(&format!("Flags: {flags}")), "{options:?}: {stat}");
        let is_dated = options.contains(&"128") || stat.contains("crtime: 0x3b9aca00");
        assert!(is_dated, "{options:?}: {stat}");
    }
}

#[test]
fn names_that_no_line_can_have_are_taken_away() {
    if !can_run() {
        return;
    }
    for options in
        [&["-t", "ext4"][..], &["-t", "ext4", "-O", "^metadata_csum"], &["-t", "ext2", "-b", "1024"]]
    {
        let rig = Rig::ext(options, 64, |root| {
            guest(root);
            for name in
                ["lines/a\nb", "lines/a0b", "lines/\r", "lines/c\nd/e\nf/g h", "lines/c\nd/e\nf/\n", "stay"]
            {
                let file = root.join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "x").unwrap();
            }
            for number in 0..500 {
                fs::write(root.join(format!("lines/many\nlines {number}")), "").unwrap();
            }
            for name in ["tab\there", "bell\x07", "\"quoted\"", "back\\slash", " spaces ", "'", "<2>", "-w"] {
                fs::write(root.join("lines").join(name), "odd").unwrap();
            }
        });
        std::process::Command::new("e2fsck").args(["-fyD"]).arg(&rig.image).output().unwrap();
        let odd = write("/lines/tab\there", b"changed", None);
        rig.edit(&[remove("/lines/a\nb"), odd]).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        rig.assert_clean();
        assert!(rig.fs().node(&path("/lines/a\nb")).is_err());
        assert_eq!(rig.fs().read(&path("/lines/tab\there"), 0, 99).unwrap(), b"changed");
        assert_eq!(rig.fs().list(&path("/lines"), 1000).unwrap().len(), 511, "{options:?}");
        rig.edit(&[remove("/lines")]).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        rig.assert_clean();
        assert!(rig.fs().node(&path("/lines")).is_err() && rig.fs().node(&path("/stay")).is_ok());
    }
}
