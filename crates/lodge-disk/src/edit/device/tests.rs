//! Real devices, made and judged by the programs of those who keep the formats.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use uuid::Uuid;

use super::*;
use crate::{
    blocks::Blocks,
    edit::tests::rig::{Here, OnFile, can_run, run},
};

const NEW: Uuid = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);

struct Device {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Device {
    fn new(mebibytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        File::create(&path).unwrap().set_len(mebibytes << 20).unwrap();
        Self { _dir: dir, path }
    }

    /// None where the maker is not installed.
    fn made(mebibytes: u64, maker: &str, args: &[&str]) -> Option<Self> {
        let device = Self::new(mebibytes);
        if lodge_sys::tool::find(maker).is_none() {
            eprintln!("skipped: {maker} is not installed");
            return None;
        }
        run(Command::new(maker).args(args).arg(&device.path));
        Some(device)
    }

    fn blocks(&self) -> Arc<dyn Blocks> {
        Arc::new(OnFile(File::options().read(true).write(true).open(&self.path).unwrap()))
    }

    /// What blkid says, without its cache.
    fn told(&self, tag: &str) -> String {
        told("blkid", &["-p", "-o", "value", "-s", tag], &self.path)
    }
}

fn told(program: &str, args: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(args).arg(path).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn both_copies_of_a_gpt_change_and_stay_whole() {
    let args = ["-n", "1:0:+10M", "-n", "2:0:0", "-c", "2:the rest", "-t", "1:ef00"];
    let Some(device) = Device::made(64, "sgdisk", &args) else { return };
    let disk = device.blocks();
    let other = Uuid::from_u128(77 << 64);
    assert!(change_gpt(&*disk, GptChange::Disk(NEW)).unwrap());
    assert!(change_gpt(&*disk, GptChange::Partition(2, other)).unwrap());
    assert!(!change_gpt(&*disk, GptChange::Disk(NEW)).unwrap());
    assert!(matches!(change_gpt(&*disk, GptChange::Partition(3, NEW)), Err(Fault::Damaged(_))));
    let judge = || {
        let verdict = told("sgdisk", &["-v"], &device.path);
        assert!(verdict.contains("No problems found"), "{verdict}");
        let print = told("sgdisk", &["-p"], &device.path);
        assert!(print.contains(&NEW.to_string().to_uppercase()), "{print}");
        let second = told("sgdisk", &["-i", "2"], &device.path);
        assert!(
            second.contains(&other.to_string().to_uppercase()) && second.contains("the rest"),
            "{second}"
        );
    };
    judge();
    // Only the copy at the end is whole: it is what changes.
    let mut header = [0; 512];
    disk.read_at(512, &mut header).unwrap();
    disk.write_at(512 + 56, &[9]).unwrap();
    let third = Uuid::from_u128(5);
    assert!(change_gpt(&*disk, GptChange::Partition(1, third)).unwrap());
    run(Command::new("sgdisk").args(["-e"]).arg(&device.path));
    judge();
    assert!(told("sgdisk", &["-i", "1"], &device.path).contains(&third.to_string()));
    // No copy at all.
    disk.write_at(512, &[0; 512]).unwrap();
    disk.write_at((64 << 20) - 512, &[0; 512]).unwrap();
    assert!(matches!(change_gpt(&*disk, GptChange::Disk(NEW)), Err(Fault::Damaged(_))));
}

#[test]
fn a_dos_signature_is_four_bytes() {
    let device = Device::new(16);
    let disk = device.blocks();
    assert!(matches!(set_signature(&*disk, 1), Err(Fault::Damaged(_))));
    disk.write_at(446, &[0x80, 0, 2, 0, 0x83, 0, 2, 0, 0, 8, 0, 0, 0, 8, 0, 0]).unwrap();
    disk.write_at(510, &[0x55, 0xaa]).unwrap();
    assert!(set_signature(&*disk, 0xbeef_0001).unwrap());
    assert!(!set_signature(&*disk, 0xbeef_0001).unwrap());
    assert_eq!(device.told("PTUUID"), "beef0001");
}

#[test]
fn fat_has_its_serial_in_both_boot_sectors() {
    for (mebibytes, args) in
        [(64, vec!["-F", "32", "-n", "EFI"]), (16, vec!["-F", "16"]), (2, vec!["-F", "12"])]
    {
        let Some(device) = Device::made(mebibytes, "mkfs.vfat", &args) else { return };
        let disk = device.blocks();
        assert!(set_serial(&*disk, 0x1234_abcd).unwrap());
        assert!(!set_serial(&*disk, 0x1234_abcd).unwrap());
        assert_eq!(device.told("UUID"), "1234-ABCD", "{args:?}");
        // Also finds differences between the boot sectors.
        told("fsck.vfat", &["-n"], &device.path);
    }
    assert!(matches!(set_serial(&*Device::new(1).blocks(), 1), Err(Fault::Damaged(_))));
}

#[test]
fn swap_keeps_its_label() {
    let Some(device) = Device::made(16, "mkswap", &["-L", "sleepy"]) else { return };
    let disk = device.blocks();
    assert!(set_uuid_of(&disk, "swap").unwrap());
    assert!(!set_uuid_of(&disk, "swap").unwrap());
    assert_eq!((device.told("UUID"), device.told("LABEL")), (NEW.to_string(), "sleepy".to_owned()));
    disk.write_at(4086, b"S1SUSPEND\0").unwrap();
    assert!(matches!(set_uuid_of(&disk, "swap"), Err(Fault::Unsupported(_))));
}

fn set_uuid_of(disk: &Arc<dyn Blocks>, kind: &str) -> Result<bool, Fault> {
    match kind {
        "swap" => set_swap_uuid(&**disk, NEW),
        "luks" => set_luks_uuid(&**disk, NEW),
        "xfs" => set_xfs_uuid(disk, "vda", NEW, &mut Here::new()).unwrap(),
        _ => set_btrfs_uuid(&**disk, NEW),
    }
}

#[test]
fn luks_of_both_versions() {
    for version in ["luks1", "luks2"] {
        let args = [
            "luksFormat",
            "--batch-mode",
            "--type",
            version,
            "--pbkdf",
            "pbkdf2",
            "--pbkdf-force-iterations",
            "1000",
            "--key-file",
            "/etc/hostname",
        ];
        let Some(device) = Device::made(32, "cryptsetup", &args) else { return };
        let disk = device.blocks();
        assert!(set_uuid_of(&disk, "luks").unwrap());
        assert!(!set_uuid_of(&disk, "luks").unwrap());
        assert_eq!(told("cryptsetup", &["luksUUID"], &device.path), NEW.to_string());
        let opens = ["open", "--test-passphrase", "--key-file", "/etc/hostname"];
        told("cryptsetup", &opens, &device.path);
        if version == "luks2" {
            // From the second header alone.
            disk.write_at(0, &[0; 4096]).unwrap();
            assert_eq!(told("cryptsetup", &["luksUUID"], &device.path), NEW.to_string());
        }
    }
}

#[test]
fn xfs_and_btrfs_pass_their_own_checks() {
    if !can_run() {
        return;
    }
    for (kind, maker, options, check, checks) in [
        ("xfs", "mkfs.xfs", &[][..], "xfs_repair", &["-n"][..]),
        ("btrfs", "mkfs.btrfs", &[], "btrfs", &["check", "--readonly"]),
        ("btrfs", "mkfs.btrfs", &["--csum", "xxhash"], "btrfs", &["check", "--readonly"]),
        ("btrfs", "mkfs.btrfs", &["--csum", "sha256"], "btrfs", &["check", "--readonly"]),
    ] {
        let Some(device) = Device::made(320, maker, options) else { return };
        let disk = device.blocks();
        assert!(set_uuid_of(&disk, kind).unwrap(), "{kind}");
        assert!(!set_uuid_of(&disk, kind).unwrap(), "{kind}");
        assert_eq!(device.told("UUID"), NEW.to_string(), "{kind}");
        told(check, checks, &device.path);
        if kind == "btrfs" {
            // Back to the UUID that is in its blocks.
            let old = told("btrfs", &["inspect-internal", "dump-super"], &device.path);
            let old = old.lines().find_map(|line| line.strip_prefix("metadata_uuid")).unwrap().trim();
            assert!(set_btrfs_uuid(&*disk, old.parse().unwrap()).unwrap());
            assert_eq!(device.told("UUID"), old);
            told(check, checks, &device.path);
        }
    }
}
