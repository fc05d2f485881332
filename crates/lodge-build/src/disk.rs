//! The disk: a GPT with a place for each firmware's loader, and the root file system last.
//!
//! ```text
//!  LBA 0      boot.img, protective MBR       BIOS starts here
//!  1          GPT
//!  1 MiB  p1  BIOS boot      1 MiB           GRUB's core.img, for BIOS
//!  2 MiB  p2  EFI system    62 MiB  FAT      EFI/BOOT/BOOTX64.EFI, for UEFI
//! 64 MiB  p3  root           rest   ext4     last, so that growpart(1) can grow it
//! ```
//!
//! All ids are made of the recipe and its packages: the same packages give the same disk.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use gptman::{GPT, GPTPartitionEntry};
use lodge_model::Bytes;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    boot::{self, Loader},
    error::BuildError,
    esp,
    progress::Phase,
    tool::{Network, Run, Toolbox},
};

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
const BIOS_START: u64 = MIB;
const ESP_START: u64 = 2 * MIB;
const ROOT_START: u64 = 64 * MIB;
/// The backup GPT at the end, rounded to a boundary that suits every device.
const TAIL: u64 = MIB;
/// The least a system with room for its first updates needs.
const SMALLEST: u64 = 2048 * MIB;

/// UEFI specification, table 5.7; and GRUB's manual, "BIOS installation".
const TYPE_BIOS_BOOT: Uuid = Uuid::from_u128(0x2168_6148_6449_6e6f_744e_6565_6445_4649);
const TYPE_ESP: Uuid = Uuid::from_u128(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b);
/// Discoverable Partitions Specification: root, x86-64.
const TYPE_ROOT_X86_64: Uuid = Uuid::from_u128(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709);

/// The root partition's number, which GRUB's prefix names.
pub(crate) const ROOT_PARTITION: u32 = 3;

/// Sizes and ids of a disk.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    size: u64,
    pub root_uuid: Uuid,
    esp_id: u32,
    hash_seed: Uuid,
    disk: Uuid,
    partitions: [Uuid; 3],
}

impl Layout {
    /// The layout of a disk of `size` bytes; `seed` decides the ids.
    pub fn new(size: Bytes, seed: &[u8]) -> Result<Self, BuildError> {
        let size = size.0 / MIB * MIB;
        if size < SMALLEST {
            return Err(BuildError::TooSmall { size, needed: SMALLEST });
        }
        let id = |what: &str| {
            let digest = Sha256::new().chain_update(seed).chain_update(what).finalize();
            let bytes: [u8; 16] = digest[..16].try_into().expect("a digest has 32 bytes");
            uuid::Builder::from_custom_bytes(bytes).into_uuid()
        };
        Ok(Self {
            size,
            root_uuid: id("root"),
            esp_id: id("esp").as_fields().0,
            hash_seed: id("directories"),
            disk: id("disk"),
            partitions: [id("p1"), id("p2"), id("p3")],
        })
    }

    /// The ESP's id as `blkid` and fstab(5) write it.
    pub fn esp_uuid(&self) -> String {
        format!("{:04X}-{:04X}", self.esp_id >> 16, self.esp_id & 0xffff)
    }

    fn root_size(&self) -> u64 {
        self.size - ROOT_START - TAIL
    }
}

/// Writes everything but the root file system: the table, both loaders.
pub(crate) fn lay_out(
    path: &Path,
    layout: &Layout,
    loader: &Loader,
    scratch: &Path,
) -> Result<(), BuildError> {
    let failed = |act: &'static str| {
        let path = PathBuf::from(path);
        move |source: io::Error| BuildError::Disk { act, path, source }
    };
    let mut disk = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed("make the file"))?;
    disk.set_len(layout.size).map_err(failed("set the size"))?;
    write_table(&mut disk, layout)
        .map_err(|error| failed("write the partition table")(io::Error::other(error)))?;

    let core_sector = BIOS_START / SECTOR;
    let core = boot::place_core(&loader.bios_core, core_sector, ESP_START - BIOS_START)?;
    let mbr = boot::boot_sector(&loader.boot_img, core_sector)?;
    disk.write_all_at(&mbr, 0).map_err(failed("write the boot sector"))?;
    disk.write_all_at(&core, BIOS_START).map_err(failed("write the BIOS loader"))?;

    let esp = esp::make(scratch, ROOT_START - ESP_START, layout.esp_id, &loader.efi)
        .map_err(failed("make the EFI partition"))?;
    copy_sparse(esp, &disk, ESP_START).map_err(failed("write the EFI partition"))?;
    disk.sync_all().map_err(failed("write the data"))
}

fn write_table(disk: &mut File, layout: &Layout) -> gptman::Result<()> {
    let mut gpt = GPT::new_from(disk, SECTOR, layout.disk.to_bytes_le())?;
    let root_end = ROOT_START + layout.root_size();
    let parts = [
        ("bios", TYPE_BIOS_BOOT, BIOS_START, ESP_START),
        ("efi", TYPE_ESP, ESP_START, ROOT_START),
        ("root", TYPE_ROOT_X86_64, ROOT_START, root_end),
    ];
    for (number, (name, kind, start, end)) in (1..).zip(parts) {
        gpt[number] = GPTPartitionEntry {
            partition_type_guid: kind.to_bytes_le(),
            unique_partition_guid: layout.partitions[number as usize - 1].to_bytes_le(),
            starting_lba: start / SECTOR,
            ending_lba: end / SECTOR - 1,
            attribute_bits: 0,
            partition_name: name.into(),
        };
    }
    GPT::write_protective_mbr_into(disk, SECTOR)?;
    gpt.write_into(disk)?;
    Ok(())
}

/// Fills the root partition from the guest's tree, owners, modes and attributes included.
///
/// The features are named because GRUB of Debian 12 does not read all newer ones, whatever the host's
/// `mke2fs` makes by itself. `assume_storage_prezeroed`: the file is sparse, nothing is written
/// twice and the guest's kernel has no inode tables to clear in its first minutes.
pub(crate) async fn fill_root(
    toolbox: &Toolbox<'_>,
    path: &Path,
    layout: &Layout,
    root: &Path,
) -> Result<(), BuildError> {
    let mut args: Vec<OsString> = ["-q", "-F", "-t", "ext4", "-L", "root"].map(Into::into).into();
    args.extend(["-U".into(), layout.root_uuid.to_string().into()]);
    args.extend(["-O".into(), "^metadata_csum_seed,^orphan_file".into()]);
    let options = format!(
        "offset={ROOT_START},hash_seed={},assume_storage_prezeroed=1,root_owner=0:0",
        layout.hash_seed
    );
    args.extend(["-E".into(), options.into()]);
    args.extend(["-d".into(), root.into(), path.into()]);
    args.push(format!("{}k", layout.root_size() / 1024).into());
    let run = Run {
        program: "mke2fs",
        args,
        network: Network::None,
        phase: Phase::Disk,
        limit: Duration::from_mins(10),
    };
    toolbox.run(run, |_| ()).await.map(drop)
}

/// Copies what is not zero.
fn copy_sparse(mut from: File, to: &File, at: u64) -> io::Result<()> {
    let mut block = vec![0; 64 << 10];
    let mut offset = at;
    loop {
        let length = from.read(&mut block)?;
        if length == 0 {
            return Ok(());
        }
        if block[..length].iter().any(|byte| *byte != 0) {
            to.write_all_at(&block[..length], offset)?;
        }
        offset += length as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_packages_give_the_same_ids() {
        let layout = |seed: &[u8]| Layout::new(Bytes(8 << 30), seed).unwrap();
        assert_eq!(layout(b"a").root_uuid, layout(b"a").root_uuid);
        assert_ne!(layout(b"a").root_uuid, layout(b"b").root_uuid);
        assert_eq!(layout(b"a").esp_uuid().len(), 9);
    }

    #[test]
    fn a_disk_too_small_for_the_system_is_refused() {
        let error = Layout::new(Bytes(1 << 30), b"").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a disk of 1073741824 bytes is too small, at least 2147483648 are needed"
        );
    }

    #[test]
    fn the_table_is_valid_and_its_root_is_last() {
        let file = tempfile::tempfile().unwrap();
        let mut disk = file;
        disk.set_len(8 << 30).unwrap();
        let layout = Layout::new(Bytes(8 << 30), b"x").unwrap();
        write_table(&mut disk, &layout).unwrap();
        let gpt = GPT::find_from(&mut disk).unwrap();
        let last = gpt.iter().filter(|(_, part)| part.is_used()).max_by_key(|(_, p)| p.ending_lba);
        let (number, part) = last.unwrap();
        assert_eq!(number, ROOT_PARTITION);
        assert_eq!(part.size().unwrap() * SECTOR, layout.root_size());
        assert!(part.ending_lba <= gpt.header.last_usable_lba);
    }

    #[tokio::test]
    async fn a_filled_disk_has_sound_file_systems_with_what_was_in_the_tree() {
        if !rustix::process::geteuid().is_root() || !Path::new("/sbin/e2fsck").exists() {
            eprintln!("skipped: writing file systems needs root and e2fsprogs");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let work = crate::work::WorkDir::create(dir.path(), "t").unwrap();
        let root = work.root();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/motd"), "hello").unwrap();
        std::os::unix::fs::chown(root.join("etc/motd"), Some(7), Some(8)).unwrap();
        let layout = Layout::new(Bytes(SMALLEST), b"x").unwrap();
        let loader = boot::tests::loader();
        let disk = work.path().join("disk.raw");
        lay_out(&disk, &layout, &loader, &work.path().join("esp")).unwrap();
        let cancel = tokio_util::sync::CancellationToken::new();
        let toolbox = Toolbox { work: &work, cancel: &cancel, epoch_s: None };
        fill_root(&toolbox, &disk, &layout, &root).await.unwrap();

        let image = format!("{}?offset={ROOT_START}", disk.display());
        let run = |program: &str, args: &[&str]| {
            let output = std::process::Command::new(program).args(args).arg(&image).output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let (is_sound, text) = run("e2fsck", &["-f", "-n"]);
        assert!(is_sound, "{text}");
        assert_eq!(run("debugfs", &["-R", "cat /etc/motd"]).1, "hello");
        let stat = run("debugfs", &["-R", "stat /etc/motd"]).1;
        assert!(stat.contains("User:     7   Group:     8"), "{stat}");
        // Both loaders are where they are looked for, and the file is still mostly holes.
        let mut start = vec![0; 512];
        let file = File::open(&disk).unwrap();
        file.read_exact_at(&mut start, 0).unwrap();
        assert_eq!(start[510..], [0x55, 0xaa]);
        assert_eq!(start[0x5c..0x64], (BIOS_START / SECTOR).to_le_bytes());
        let blocks = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
        assert!(blocks * 512 < 128 * MIB, "{blocks} blocks");
    }
}
