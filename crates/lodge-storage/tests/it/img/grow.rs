//! `resize --grow-fs`, judged by e2fsprogs.

use std::{fs, os::unix::fs::FileExt as _, path::Path};

use gptman::{GPT, GPTPartitionEntry};
use lodge_model::Bytes;
use lodge_storage::ImageFormat;
use tokio_util::sync::CancellationToken;

use super::leftovers;
use crate::world::{World, assert_clean, can_run, qemu_img, run, text};

const MIB: u64 = 1 << 20;
const START: u64 = 2 * MIB;

/// A disk of 64 MiB with an ext4 that has one file, in the last partition of a GPT.
fn disk(path: &Path, dir: &Path) {
    let tree = dir.join("tree");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("hello"), "from before").unwrap();
    let part = dir.join("part");
    run("mke2fs", &["-q", "-t", "ext4", "-d", text(&tree), text(&part), "60M"]);
    let mut file = fs::File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    file.set_len(64 * MIB).unwrap();
    let mut gpt = GPT::new_from(&mut file, 512, [7; 16]).unwrap();
    let part_of = |start: u64, end: u64, id: u8| GPTPartitionEntry {
        partition_type_guid: [id; 16],
        unique_partition_guid: [id + 1; 16],
        starting_lba: start / 512,
        ending_lba: end / 512 - 1,
        attribute_bits: 0,
        partition_name: "p".into(),
    };
    gpt[1] = part_of(MIB, START, 1);
    gpt[2] = part_of(START, START + 60 * MIB, 3);
    GPT::write_protective_mbr_into(&mut file, 512).unwrap();
    gpt.write_into(&mut file).unwrap();
    file.write_all_at(&fs::read(part).unwrap(), START).unwrap();
}

async fn grow(
    world: &World,
    path: &Path,
    format: ImageFormat,
    mib: u64,
) -> Result<(), lodge_storage::StorageError> {
    let cancel = CancellationToken::new();
    world.storage.grow_image(path, format, Bytes(mib * MIB), &cancel, |_| ()).await.map(drop)
}

#[tokio::test]
async fn partition_and_file_system_reach_the_new_end_and_keep_their_files() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let raw = world.pool("a.img");
    disk(&raw, world.dir.path());
    let qcow2 = world.pool("a.qcow2");
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", text(&raw), text(&qcow2)]);
    for (path, format) in [(&raw, ImageFormat::Raw), (&qcow2, ImageFormat::Qcow2)] {
        grow(&world, path, format, 256).await.unwrap();
        let seen = world.dir.path().join("seen.img");
        qemu_img(&["convert", "-f", format.as_str(), "-O", "raw", text(path), text(&seen)]);
        let mut file = fs::File::open(&seen).unwrap();
        let gpt = GPT::find_from(&mut file).unwrap();
        assert_eq!(gpt.header.backup_lba, 256 * MIB / 512 - 1);
        assert_eq!((gpt[2].starting_lba * 512, gpt[2].unique_partition_guid), (START, [4; 16]));
        let length = (gpt[2].ending_lba + 1) * 512 - START;
        assert_eq!(length, 253 * MIB);
        let part = world.dir.path().join("grown");
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, START).unwrap();
        fs::write(&part, bytes).unwrap();
        run("e2fsck", &["-f", "-n", text(&part)]);
        let facts = run("dumpe2fs", &["-h", text(&part)]);
        let blocks = facts.lines().find_map(|line| line.strip_prefix("Block count:")).unwrap().trim();
        let size = facts.lines().find_map(|line| line.strip_prefix("Block size:")).unwrap().trim();
        assert_eq!(blocks.parse::<u64>().unwrap() * size.parse::<u64>().unwrap(), length);
        assert_eq!(run("debugfs", &["-R", "cat /hello", text(&part)]), "from before");
    }
    assert_clean(&qcow2);
    assert_eq!(leftovers(&world.storage.pool_dir()), [""; 0]);
}

#[tokio::test]
async fn what_cannot_grow_is_told_why_and_stays() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let raw = world.pool("a.img");
    let refused = async |format, mib, why: &str| {
        let before = fs::read(&raw).unwrap();
        let error = grow(&world, &raw, format, mib).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(fs::read(&raw).unwrap(), before);
    };
    qemu_img(&["create", "-q", "-f", "raw", text(&raw), "8M"]);
    refused(ImageFormat::Raw, 16, "has no GPT, and no ext file system").await;
    disk(&raw, world.dir.path());
    refused(ImageFormat::Raw, 64, "bytes already").await;
    refused(ImageFormat::Vdi, 128, "is vdi").await;
    let file = fs::File::options().read(true).write(true).open(&raw).unwrap();
    // The file system is damaged beyond what a check mends by itself.
    file.write_all_at(&[0xff; 4096], START + 4096).unwrap();
    refused(ImageFormat::Raw, 128, "cannot grow the file system in").await;
    file.write_all_at(&[0; 2], START + 1080).unwrap();
    refused(ImageFormat::Raw, 128, "has no ext file system in its last partition, number 2").await;
    file.write_all_at(&u32::MAX.to_le_bytes(), 512 + 80).unwrap();
    refused(ImageFormat::Raw, 128, "a GPT of absurd size").await;
    assert_eq!(leftovers(&world.storage.pool_dir()), [""; 0]);
    let overlay = world.pool("o.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&raw), "-F", "raw", text(&overlay)]);
    let error = grow(&world, &overlay, ImageFormat::Qcow2, 128).await.unwrap_err();
    assert!(error.to_string().contains("stands on another file"), "{error}");
}
