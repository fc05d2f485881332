//! PVs that LVM made, edited by us and judged by LVM.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use lodge_model::guest_disk::DeviceEdit;

use crate::{
    blocks::Blocks,
    edit::{
        EditError, Outcome,
        carry_out::Ground as _,
        guest::Guest,
        tests::rig::{Here, OnFile, path, run},
    },
    layout::Devices,
    root::Root,
    testing::{put, sparse},
};

const OLD: [&str; 2] = ["i3ASi9-Zw3h-YXEL-5LyS-u8JF-QnKt-oFfN76", "RYEjhK-UD23-FsWg-OHOx-DfS6-mr0g-NspbEH"];
const OLD_GROUP: &str = "TyJ0Yd-tCOb-v7bo-11OW-ZqVb-Dmsr-fPdGgU";
const NEW: [&str; 2] = ["aaaaaa-bbbb-cccc-dddd-eeee-ffff-000001", "aaaaaa-bbbb-cccc-dddd-eeee-ffff-000002"];
const NEW_GROUP: &str = "gggggg-bbbb-cccc-dddd-eeee-ffff-000003";
const NEW_VOLUME: &str = "vvvvvv-bbbb-cccc-dddd-eeee-ffff-000004";

/// Both PVs of a group; in its `root` volume is an ext4.
struct Group {
    dir: tempfile::TempDir,
}

impl Group {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pv1", "pv2"] {
            let fixture = format!("{}/tests/fixtures/lvm-{name}.bin", env!("CARGO_MANIFEST_DIR"));
            put(&sparse(dir.path(), name, 96 << 20), 0, Path::new(&fixture));
        }
        let group = Self { dir };
        let (root, from) = (sparse(group.dir.path(), "root", 28 << 20), group.dir.path().join("from"));
        fs::create_dir_all(from.join("etc")).unwrap();
        fs::write(from.join("etc/os-release"), "ID=rhel\n").unwrap();
        fs::write(from.join("etc/fstab"), "/dev/mapper/rhel--x-root / ext4 defaults 0 0\n").unwrap();
        run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).args([&from, &root]));
        // Extents of 4 MiB from 1 MiB on: 0 to 4, and 9 to 10.
        let (bytes, pv) = (fs::read(&root).unwrap(), group.file(0));
        pv.write_all_at(&bytes[..20 << 20], 1 << 20).unwrap();
        pv.write_all_at(&bytes[20 << 20..], (1 + 9 * 4) << 20).unwrap();
        group
    }

    fn path(&self, number: usize) -> PathBuf {
        self.dir.path().join(["pv1", "pv2"][number])
    }

    fn file(&self, number: usize) -> File {
        File::options().read(true).write(true).open(self.path(number)).unwrap()
    }

    fn disks(&self) -> Vec<(String, Arc<dyn Blocks>)> {
        let disk = |(number, name): (usize, &str)| {
            (name.to_owned(), Arc::new(OnFile(self.file(number))) as Arc<dyn Blocks>)
        };
        [(0, "vda"), (1, "vdb")].map(disk).into()
    }

    fn edit(&self, edit: &DeviceEdit) -> Result<Outcome, EditError> {
        Guest::new(self.disks()).edit_device(edit, &mut Here::new())
    }

    /// What LVM itself reads from a PV, with all sums that it has.
    fn judged(&self, number: usize) -> String {
        let mut said = String::new();
        for what in ["headers", "metadata"] {
            let output = Command::new("pvck").args(["--dump", what]).arg(self.path(number)).output().unwrap();
            let told = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
            said.push_str(&String::from_utf8_lossy(&told));
        }
        let lower = said.to_lowercase();
        assert!(!lower.contains("checksum error") && !lower.contains("invalid"), "{said}");
        said
    }
}

fn pv(device: &str, uuid: &str) -> DeviceEdit {
    DeviceEdit::Content { device: device.to_owned(), uuid: uuid.to_owned(), may_seed: false }
}

fn of_group(uuid: &str) -> DeviceEdit {
    DeviceEdit::Group { group: "rhel-x".to_owned(), uuid: uuid.to_owned() }
}

fn volume(device: &str, uuid: &str) -> DeviceEdit {
    DeviceEdit::Volume { device: device.to_owned(), uuid: uuid.to_owned() }
}

#[test]
fn a_groups_identities_change_and_lvm_finds_all_in_order() {
    let group = Group::new();
    let bare = |uuid: &str| uuid.replace('-', "");
    assert!(group.judged(0).contains(&bare(OLD[0])) && group.judged(1).contains(OLD_GROUP));
    let before = Devices::read(group.disks());
    let old_volume = before.layout().device("rhel--x-root").unwrap().volume.clone().unwrap();
    assert!(group.judged(1).contains(&old_volume), "{old_volume}");
    let all = [pv("vda", NEW[0]), pv("vdb", NEW[1]), of_group(NEW_GROUP), volume("rhel--x-root", NEW_VOLUME)];
    for wanted in [Outcome::Changed, Outcome::Already] {
        for edit in &all {
            assert_eq!(group.edit(edit).unwrap(), wanted, "{edit:?}");
        }
    }
    for number in [0, 1] {
        let said = group.judged(number);
        assert!(said.contains(&bare(NEW[number])), "{said}");
        for new in [NEW[0], NEW[1], NEW_GROUP, NEW_VOLUME] {
            assert!(said.contains(&format!("\"{new}\"")), "{new}: {said}");
        }
        for old in [OLD[0], OLD[1], OLD_GROUP, &old_volume] {
            assert!(!said.contains(old) && !said.contains(&bare(old)), "{old}: {said}");
        }
    }
    // The volumes are where they were, and what is in them.
    let devices = Devices::read(group.disks());
    assert!(devices.gaps().is_empty(), "{:?}", devices.gaps());
    assert_eq!(devices.layout().device("rhel--x-root").unwrap().volume.as_deref(), Some(NEW_VOLUME));
    let content = devices.layout().disks[1].content.clone().unwrap();
    assert_eq!(
        (content.uuid.as_deref(), content.group.map(|(_, uuid)| uuid).as_deref()),
        (Some(NEW[1]), Some(NEW_GROUP))
    );
    let root = Root::open(devices);
    assert!(root.read(&path("/etc/fstab"), 0, 100).unwrap().starts_with(b"/dev/mapper/rhel--x-root / "));
}

#[test]
fn what_does_not_fit_lvm_changes_nothing() {
    let group = Group::new();
    let before = [0, 1].map(|number| fs::read(group.path(number)).unwrap());
    for bad in
        ["", "x", "aaaaaa-bbbb-cccc-dddd-eeee-ffff-00000\"", "aaaaaabbbbccccddddeeeeffff00000000000001"]
    {
        assert!(matches!(group.edit(&pv("vda", bad)), Err(EditError::BadIdentity { .. })), "{bad}");
        assert!(matches!(group.edit(&of_group(bad)), Err(EditError::BadIdentity { .. })), "{bad}");
        let edited = group.edit(&volume("rhel--x-root", bad));
        assert!(matches!(edited, Err(EditError::BadIdentity { .. })), "{bad}");
    }
    assert!(matches!(group.edit(&volume("vda", NEW_VOLUME)), Err(EditError::BadIdentity { .. })));
    let other = DeviceEdit::Group { group: "other".to_owned(), uuid: NEW_GROUP.to_owned() };
    assert!(matches!(group.edit(&other), Err(EditError::NoDevice { .. })));
    assert!([0, 1].map(|number| fs::read(group.path(number)).unwrap()) == before);
    // A text whose sum is wrong is nobody's to sum anew.
    let mut byte = [0];
    group.file(0).read_exact_at(&mut byte, 4096 + 512 + 20).unwrap();
    for at in (4096..1 << 20).step_by(512) {
        group.file(0).read_exact_at(&mut byte, at + 20).unwrap();
        group.file(0).write_all_at(&[byte[0] ^ 1], at + 20).unwrap();
    }
    let error = group.edit(&pv("vda", NEW[0])).unwrap_err();
    assert!(
        matches!(error, EditError::Damaged { .. } | EditError::Unfit { .. } | EditError::NoDevice { .. }),
        "{error:?}"
    );
}
