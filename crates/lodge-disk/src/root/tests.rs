//! Trees made by real tools, and hostile ones.

use std::{
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use lodge_model::guest_disk::{FileNode, Pattern, Wanted};

use super::*;
use crate::testing::{put, raw, run, sparse};

const MIB: u64 = 1 << 20;

fn path(text: &str) -> FilePath {
    FilePath::new(text).unwrap()
}

fn wish(pattern: &str, most_bytes: u64) -> Wanted {
    Wanted { pattern: Pattern::new(pattern).unwrap(), most_bytes }
}

/// An ext4 of a directory, as an image.
fn ext4(dir: &Path, name: &str, tree: &Path, args: &[&str]) -> std::path::PathBuf {
    let size = if args.contains(&"1024") { 6 } else { 40 };
    let image = sparse(dir, name, size * MIB);
    let rest = ["-d", tree.to_str().unwrap(), image.to_str().unwrap()];
    run(dir, "mkfs.ext4", &[&["-q", "-F"], args, &rest].concat());
    image
}

fn write(tree: &Path, file: &str, text: &str) {
    let file = tree.join(file);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

/// A guest with an ESP, a /boot and a root on one GPT disk, and /var on another.
fn guest(dir: &Path) -> Root {
    let [root, boot, var] = ["root", "boot", "var"].map(|name| dir.join(format!("{name}.tree")));
    write(&root, "etc/os-release", "ID=debian\n");
    write(&root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    write(&root, "usr/lib/x/deep/er/file", "deep");
    let fstab = "LABEL=root / ext4 defaults 0 1\nPARTLABEL=boot /boot ext4 rw\nUUID=1234-ABCD /boot/efi vfat umask=0077\n/dev/sdb /var ext4 rw\n/dev/sdc1 /srv ext4 rw\n";
    write(&root, "etc/fstab", fstab);
    write(&root, "var/hidden-under-the-mount", "x");
    std::fs::create_dir_all(root.join("boot")).unwrap();
    symlink("../usr/lib/x", root.join("etc/x")).unwrap();
    symlink("/var/lib/dbus/machine-id", root.join("etc/dbus-id")).unwrap();
    symlink("../../../../../../etc/machine-id", root.join("etc/up")).unwrap();
    symlink("b", root.join("etc/a")).unwrap();
    symlink("a", root.join("etc/b")).unwrap();
    symlink(".", root.join("usr/self")).unwrap();
    std::fs::set_permissions(root.join("etc/machine-id"), std::fs::Permissions::from_mode(0o444)).unwrap();
    write(&boot, "grub/grub.cfg", "set root\n");
    symlink("/etc/machine-id", boot.join("id")).unwrap();
    write(&var, "lib/dbus/machine-id", "dbus\n");
    let disk = sparse(dir, "vda", 128 * MIB);
    let name = disk.to_str().unwrap();
    let args = ["-n1:2048:+8M", "-t1:ef00", "-n2:0:+40M", "-c2:boot", "-n3:0:+40M", "-c3:root", name];
    run(dir, "sgdisk", &args);
    let esp = sparse(dir, "esp", 8 * MIB);
    run(dir, "mkfs.vfat", &["-n", "ESP", "-i", "1234abcd", esp.to_str().unwrap()]);
    let loader = dir.join("BOOTX64.EFI");
    std::fs::write(&loader, "loader".repeat(5000)).unwrap();
    let esp_name = esp.to_str().unwrap();
    run(dir, "mmd", &["-i", esp_name, "::EFI", "::EFI/BOOT"]);
    run(dir, "mcopy", &["-i", esp_name, loader.to_str().unwrap(), "::EFI/BOOT/A long name of a loader.efi"]);
    put(&disk, MIB, &esp);
    put(&disk, 9 * MIB, &ext4(dir, "boot", &boot, &["-O", "^metadata_csum"]));
    put(&disk, 49 * MIB, &ext4(dir, "root", &root, &["-L", "root"]));
    let var = ext4(dir, "varimg", &var, &["-O", "^extents,^64bit,^has_journal"]);
    Root::open(Devices::read(vec![raw(&disk, "vda"), raw(&var, "vdb")]))
}

#[test]
fn a_guests_tree_is_read_over_its_mounts() {
    let dir = tempfile::tempdir().unwrap();
    let root = guest(dir.path());
    let gaps: Vec<_> = root.gaps().iter().map(|gap| (gap.place.as_str(), gap.why.as_str())).collect();
    assert_eq!(gaps, [("/srv", "the guest mounts /dev/sdc1 here, which is on none of its disks")]);
    let points: Vec<_> = root
        .layout()
        .devices()
        .iter()
        .map(|device| (device.name.clone(), device.mount_point.clone()))
        .collect();
    let point = |name: &str, at: Option<&str>| (name.to_owned(), at.map(str::to_owned));
    let wanted = [
        point("vda", None),
        point("vda1", Some("/boot/efi")),
        point("vda2", Some("/boot")),
        point("vda3", Some("/")),
        point("vdb", Some("/var")),
    ];
    assert_eq!(points, wanted);
    let read = |file: &str| root.read(&path(file), 0, 1 << 20).unwrap();
    assert_eq!(read("/etc/dbus-id"), b"dbus\n");
    assert_eq!(read("/etc/up"), read("/etc/machine-id"));
    assert_eq!(read("/boot/id"), read("/etc/machine-id"));
    assert_eq!(read("/etc/x/deep/../deep/er/file".replace("/deep/..", "").as_str()), b"deep");
    let loader = "/boot/efi/efi/boot/a LONG name of a loader.efi";
    assert_eq!(read(loader), "loader".repeat(5000).as_bytes());
    assert_eq!(root.read(&path(loader), 29_997, 100).unwrap(), b"der");
    assert!(matches!(root.read(&path("/var/hidden-under-the-mount"), 0, 1), Err(RootError::NotFound { .. })));
    let circle = root.read(&path("/etc/a"), 0, 1).unwrap_err();
    assert_eq!(circle.to_string(), "/etc/a: too many links on the way");
    let found = root.find(&path("/etc/machine-id"), false).unwrap();
    assert_eq!((found.node.size, found.node.owner.mode, found.node.kind), (33, 0o444, NodeKind::File));
    let names: Vec<_> = root.list(&path("/boot/efi/EFI"), 10).unwrap();
    assert_eq!((names.len(), names[0].name.as_slice()), (1, &b"BOOT"[..]));
    let not = root.list(&path("/etc/fstab"), 10).unwrap_err();
    assert_eq!(not.to_string(), "/etc/fstab: not a directory");
    let only = Root::of_device(Devices::read(vec![raw(&dir.path().join("vda"), "vda")]), "vda2");
    assert_eq!(only.read(&path("/grub/grub.cfg"), 4, 4).unwrap(), b"root");
}

#[test]
fn wanted_files_are_told_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let root = guest(dir.path());
    let wishes = [
        wish("/etc/*-id", 8),
        wish("/etc/machine-id", 1 << 20),
        wish("/etc/x/**/file", 100),
        wish("/etc/no/such", 100),
        wish("/usr/**", 0),
        wish("/var/*/dbus/*", 100),
        wish("/srv", 1),
        wish("/etc/a/x", 1),
    ];
    let files = root.files(&wishes);
    let names: Vec<_> = files.nodes.keys().map(ToString::to_string).collect();
    let wanted = [
        "/etc/dbus-id",
        "/etc/machine-id",
        "/etc/x/deep/er/file",
        "/usr",
        "/usr/lib",
        "/usr/lib/x",
        "/usr/lib/x/deep",
        "/usr/lib/x/deep/er",
        "/usr/lib/x/deep/er/file",
        "/usr/self",
        "/var/lib/dbus/machine-id",
    ];
    assert_eq!(names, wanted);
    assert_eq!(files.text("/etc/machine-id").unwrap().len(), 33);
    assert_eq!(files.node("/etc/dbus-id"), Some(&FileNode::Link(b"/var/lib/dbus/machine-id".to_vec())));
    assert!(
        matches!(files.node("/usr/lib/x/deep/er/file"), Some(FileNode::File { bytes, size: 4, .. }) if bytes.is_empty())
    );
    let circle = files.gaps.iter().find(|gap| gap.place == "/etc/a/x").unwrap();
    assert_eq!(circle.why, "/etc/a/x: too many links on the way");
}

#[test]
fn a_disk_without_a_root_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(Devices::read(vec![raw(&sparse(dir.path(), "x", MIB), "vda")]));
    assert_eq!(root.gaps()[0].why, "no root file system was found on the guest's disks");
    assert!(matches!(root.read(&path("/etc/fstab"), 0, 1), Err(RootError::NoRoot { .. })));
}

#[test]
fn a_directory_of_many_names_is_read_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    write(&tree, "etc/os-release", "");
    for number in 0..5000 {
        write(&tree, &format!("many/file with\nnewline {number}"), "");
    }
    for args in [&["-N", "8000"][..], &["-N", "8000", "-O", "^extents,^metadata_csum,^64bit"]] {
        let image = ext4(dir.path(), "image", &tree, args);
        let root = Root::open(Devices::read(vec![raw(&image, "vda")]));
        assert_eq!(root.list(&path("/many"), 5000).unwrap().len(), 5000);
        let many = root.list(&path("/many"), 4999).unwrap_err();
        assert_eq!(many.to_string(), "/many: more than 4999 of them");
        assert!(root.find(&path("/many/file with\nnewline 4321"), true).is_ok());
    }
}

#[test]
fn wrong_bytes_in_a_file_system_are_gaps_and_never_more() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    write(&tree, "etc/os-release", "x");
    write(&tree, "etc/fstab", "/dev/vdb /boot vfat rw");
    write(&tree, "etc/big", &"big".repeat(100_000));
    let ext = ext4(dir.path(), "ext", &tree, &["-O", "^metadata_csum,^extents,^64bit", "-b", "1024"]);
    let fat = sparse(dir.path(), "fat", 4 * MIB);
    run(dir.path(), "mkfs.vfat", &[fat.to_str().unwrap()]);
    run(dir.path(), "mmd", &["-i", fat.to_str().unwrap(), "::a", "::a/b"]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 11).unwrap()
    };
    let good = [std::fs::read(&ext).unwrap(), std::fs::read(&fat).unwrap()];
    let used: Vec<Vec<usize>> = good
        .iter()
        .map(|bytes| (0..bytes.len()).filter(|at| bytes[*at] != 0 && bytes[*at] != b'b').collect())
        .collect();
    let mut read = 0;
    for _ in 0..60 {
        let disks = [0, 1].map(|disk| {
            let mut bytes = good[disk].clone();
            for _ in 0..=random() % 6 {
                let at = used[disk][random() % used[disk].len()];
                bytes[at] = u8::try_from(random() % 256).unwrap();
            }
            (["vda", "vdb"][disk].to_owned(), crate::testing::Memory::of(bytes))
        });
        let root = Root::open(Devices::read(disks.into()));
        read += root.files(&[wish("/**", 400_000)]).nodes.len();
    }
    assert!(read > 300, "{read}");
}

#[test]
fn a_root_of_xfs_or_btrfs_is_found_among_others() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    write(&tree, "etc/os-release", "ID=x\n");
    write(&tree, "etc/fstab", "/dev/vdb /data xfs rw\n");
    let root = sparse(dir.path(), "root", 128 * MIB);
    run(dir.path(), "mkfs.btrfs", &["-q", "-r", tree.to_str().unwrap(), root.to_str().unwrap()]);
    let data = sparse(dir.path(), "data", 320 * MIB);
    run(dir.path(), "mkfs.xfs", &["-q", data.to_str().unwrap()]);
    let root = Root::open(Devices::read(vec![raw(&root, "vda"), raw(&data, "vdb")]));
    assert_eq!(root.gaps(), []);
    assert_eq!(root.read(&path("/etc/os-release"), 0, 9).unwrap(), b"ID=x\n");
    assert_eq!(root.list(&path("/data"), 9).unwrap(), []);
}
