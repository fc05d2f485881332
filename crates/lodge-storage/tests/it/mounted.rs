//! Pools of file systems on real devices: formatted, mounted, found again, refused.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, process::Command};

use lodge_storage::{BuildOptions, MakeOptions, PoolError, PoolHandle, Pools};

use crate::{
    device::{Loop, can_mount},
    world::{World, names, run, text},
};

const MIB: u64 = 1 << 20;
const OVERWRITE: BuildOptions = BuildOptions { overwrite: true, no_overwrite: false };
const NO_OVERWRITE: BuildOptions = BuildOptions { overwrite: false, no_overwrite: true };

fn document(name: &str, device: &str, format: &str, target: &Path, more: &str) -> String {
    format!(
        "<pool type='fs'><name>{name}</name>{more}<source><device path='{device}'/><format type='{format}'/></source>\
         <target><path>{}</path></target></pool>",
        target.display()
    )
}

async fn define(pools: &Pools, document: &str) -> PoolHandle {
    pools.define(document, false).await.unwrap().handle()
}

fn error<T>(result: Result<T, PoolError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

fn is_mounted(target: &Path) -> bool {
    fs::metadata(target).unwrap().dev() != fs::metadata(target.parent().unwrap()).unwrap().dev()
}

async fn make(pools: &Pools, pool: &PoolHandle, name: &str, bytes: u64) -> Result<(), PoolError> {
    let xml = format!("<volume><name>{name}</name><capacity>{bytes}</capacity></volume>");
    pools.create_volume(pool, &xml, MakeOptions::default()).await.map(drop)
}

#[tokio::test]
async fn a_device_is_formatted_once_mounted_and_unmounted() {
    if !can_mount(&["mkfs.ext4"]) {
        return;
    }
    let world = World::new().await;
    let Some(device) = Loop::of(world.dir.path(), "disk", 64 * MIB) else { return };
    let pools = world.pools().await;
    let target = world.dir.path().join("mnt");
    let pool = define(&pools, &document("p", device.shown(), "ext4", &target, "")).await;
    let unformatted = error(pools.start(&pool, Some(BuildOptions::default())).await);
    assert!(unformatted.contains("mount -o nodev,nosuid,noexec -t ext4"), "{unformatted}");
    pools.build(&pool, NO_OVERWRITE).await.unwrap();
    let again = error(pools.build(&pool, NO_OVERWRITE).await);
    assert_eq!(again, format!("Device '{}' already formatted using 'ext4'", device.shown()));
    pools.start(&pool, None).await.unwrap();
    assert!(is_mounted(&target));
    make(&pools, &pool, "v", MIB).await.unwrap();
    let view = pools.find("p").unwrap();
    assert!(view.capacity < 64 * MIB && view.reflink == Some(false), "{view:?}");
    assert_eq!(names(&target), ["lost+found", "v"]);
    // Too large for it: told, and nothing of it is left.
    let full = error(make(&pools, &pool, "w", 512 * MIB).await);
    assert!(full.contains("No space left on device"), "{full}");
    assert_eq!(names(&target), ["lost+found", "v"]);
    pools.destroy(&pool).await.unwrap();
    assert!(!is_mounted(&target) && names(&target).is_empty());
    pools.start(&pool, None).await.unwrap();
    assert_eq!(pools.volume_count(&pool).unwrap(), 1);
    pools.destroy(&pool).await.unwrap();
    pools.delete(&pool).await.unwrap();
    assert!(!target.exists());
}

#[tokio::test]
async fn what_is_mounted_runs_whatever_was_noted() {
    if !can_mount(&["mkfs.ext4"]) {
        return;
    }
    let world = World::new().await;
    let Some(device) = Loop::of(world.dir.path(), "disk", 32 * MIB) else { return };
    let target = world.dir.path().join("mnt");
    let pools = world.pools().await;
    let pool = define(&pools, &document("p", device.shown(), "ext4", &target, "")).await;
    pools.build(&pool, OVERWRITE).await.unwrap();
    drop(pools);
    // As if the daemon had been killed between the mount and its note.
    run("mount", &["-t", "ext4", device.shown(), text(&target)]);
    fs::write(target.join("v"), "x").unwrap();
    let world = world.restarted().await;
    let pools = world.pools().await;
    assert!(pools.find("p").unwrap().is_active);
    assert_eq!(pools.volume_count(&pool).unwrap(), 1);
    assert_eq!(names(&world.dir.path().join("run/libvirt/storage")), ["p.xml"]);
    drop(pools);
    // And here between the unmount and the note's end.
    run("umount", &[text(&target)]);
    let world = world.restarted().await;
    let pools = world.pools().await;
    assert!(!pools.find("p").unwrap().is_active);
    assert!(names(&world.dir.path().join("run/libvirt/storage")).is_empty());
}

#[tokio::test]
async fn a_source_or_place_that_is_taken_is_refused_by_name() {
    if !can_mount(&["mkfs.ext4"]) {
        return;
    }
    let world = World::new().await;
    let Some(device) = Loop::of(world.dir.path(), "disk", 32 * MIB) else { return };
    let target = world.dir.path().join("mnt");
    let pools = world.pools().await;
    let pool = define(&pools, &document("p", device.shown(), "ext4", &target, "")).await;
    let other = document("q", device.shown(), "ext4", &world.dir.path().join("other"), "");
    assert_eq!(error(pools.define(&other, false).await), "Storage source conflict with pool: 'p'");
    pools.build(&pool, OVERWRITE).await.unwrap();
    run("mount", &["-t", "tmpfs", "elsewhere", text(&target)]);
    let taken = error(pools.start(&pool, None).await);
    assert_eq!(taken, format!("'elsewhere' is mounted on '{}' already", target.display()));
    run("umount", &[text(&target)]);
    // A pool in use is not unmounted under its users, and stays what it is.
    pools.start(&pool, None).await.unwrap();
    let held = fs::File::create(target.join("held")).unwrap();
    let busy = error(pools.destroy(&pool).await);
    assert!(busy.contains("target is busy"), "{busy}");
    assert!(pools.find("p").unwrap().is_active && is_mounted(&target));
    drop(held);
    pools.destroy(&pool).await.unwrap();
    pools.undefine(&pool).await.unwrap();
    let gone = define(&pools, &document("g", "/dev/nonexistent", "ext4", &target, "")).await;
    let error = error(pools.build(&gone, OVERWRITE).await);
    assert_eq!(error, "Source device does not exist when formatting pool 'g'");
}

#[tokio::test]
async fn a_file_with_a_file_system_in_it_is_mounted_as_a_device_is() {
    if !can_mount(&["mkfs.ext4"]) {
        return;
    }
    let world = World::new().await;
    let file = world.dir.path().join("image");
    fs::File::create(&file).unwrap().set_len(16 * MIB).unwrap();
    run("mkfs.ext4", &["-q", text(&file)]);
    let target = world.dir.path().join("mnt");
    let pools = world.pools().await;
    let pool = define(&pools, &document("p", text(&file), "ext4", &target, "")).await;
    pools.start(&pool, Some(BuildOptions::default())).await.unwrap();
    drop(pools);
    let world = world.restarted().await;
    let pools = world.pools().await;
    assert!(pools.find("p").unwrap().is_active && is_mounted(&target));
    pools.destroy(&pool).await.unwrap();
    assert!(!is_mounted(&target));
}

/// Blocks that two files have in common are counted once by the file system.
async fn shares_blocks(mkfs: &[&str], format: &str) {
    if !can_mount(&[mkfs[0]]) {
        return;
    }
    let world = World::new().await;
    // XFS is made of 300 MiB at least.
    let Some(device) = Loop::of(world.dir.path(), "disk", 400 * MIB) else { return };
    run(mkfs[0], &[&mkfs[1..], &[device.shown()]].concat());
    let pools = world.pools().await;
    let target = world.dir.path().join("mnt");
    let pool = define(&pools, &document("p", device.shown(), format, &target, "")).await;
    pools.start(&pool, Some(BuildOptions::default())).await.unwrap();
    assert_eq!(pools.find("p").unwrap().reflink, Some(true));
    fs::write(target.join("base"), vec![7; 16 << 20]).unwrap();
    run("sync", &["-f", text(&target)]);
    pools.refresh(&pool).await.unwrap();
    let before = pools.find("p").unwrap().available;
    let xml = "<volume><name>copy</name><allocation>0</allocation></volume>";
    let reflink = MakeOptions { reflink: true, ..MakeOptions::default() };
    pools.clone_volume(&pool, xml, (&pool, "base"), reflink).await.unwrap();
    let xml = "<volume><name>unasked</name><allocation>0</allocation></volume>";
    pools.clone_volume(&pool, xml, (&pool, "base"), MakeOptions::default()).await.unwrap();
    run("sync", &["-f", text(&target)]);
    pools.refresh(&pool).await.unwrap();
    let taken = before.saturating_sub(pools.find("p").unwrap().available);
    assert!(taken < 8 << 20, "two copies took {taken} bytes");
    assert!(fs::read(target.join("copy")).unwrap() == fs::read(target.join("base")).unwrap());
    pools.destroy(&pool).await.unwrap();
}

#[tokio::test]
async fn copies_on_xfs_share_their_blocks() {
    shares_blocks(&["mkfs.xfs", "-q", "-m", "reflink=1"], "xfs").await;
}

#[tokio::test]
async fn copies_on_btrfs_share_their_blocks() {
    shares_blocks(&["mkfs.btrfs", "-q"], "auto").await;
}

#[tokio::test]
async fn a_pool_without_copy_on_write_makes_its_files_so() {
    if !can_mount(&["mkfs.btrfs", "lsattr"]) {
        return;
    }
    let world = World::new().await;
    let Some(device) = Loop::of(world.dir.path(), "disk", 128 * MIB) else { return };
    run("mkfs.btrfs", &["-q", device.shown()]);
    let pools = world.pools().await;
    let target = world.dir.path().join("mnt");
    let cow = "<features><cow state='no'/></features>";
    let pool = define(&pools, &document("p", device.shown(), "auto", &target, cow)).await;
    pools.start(&pool, Some(BuildOptions::default())).await.unwrap();
    make(&pools, &pool, "v", MIB).await.unwrap();
    let said = Command::new("lsattr").arg(target.join("v")).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.split(' ').next().unwrap().contains('C'), "{said}");
    let xml = pools.xml(&pool, true).unwrap();
    assert!(xml.contains("<features>\n    <cow state='no'/>"), "{xml}");
    pools.destroy(&pool).await.unwrap();
}
