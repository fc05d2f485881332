//! `kill -9` amid changing partitions and logical volumes, and amid making and removing volume groups: what was
//! acknowledged is there with its bytes, and the next daemon goes on.
//!
//! The test runs itself again: `inner_changes` and `inner_groups` do nothing unless an outer one started them. Volume
//! groups need device-mapper: `lab.rs` has those outer tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lodge_model::Bytes;
use lodge_storage::{BuildOptions, MakeOptions, PoolHandle, Pools, ResizeOptions, Span, WipeAlgorithm};

use crate::{
    device::{Loop, can_mount},
    world::{open, run},
};

const DIR: &str = "LODGE_TEST_DEVICES_DIR";
const MIB: u64 = 1 << 20;
const OVERWRITE: BuildOptions = BuildOptions { overwrite: true, no_overwrite: false };
/// Of logical pools: the volume that stays, a snapshot of it, a copy of it.
pub const KEPT: &str = "kept";
const SNAPSHOT: &str = "snap";
const COPY: &str = "copy";

async fn make(pools: &Pools, pool: &PoolHandle, name: &str) -> Result<(), lodge_storage::PoolError> {
    let xml = format!("<volume><name>{name}</name><capacity unit='MiB'>8</capacity></volume>");
    pools.create_volume(pool, &xml, MakeOptions::default()).await.map(drop)
}

async fn fill(pools: &Pools, pool: &PoolHandle, name: &str, byte: u8) {
    let mut upload = pools.upload(pool, name, Span::default()).await.unwrap();
    upload.write(vec![byte; 1 << 20], 0).await.unwrap();
    upload.finish().await.unwrap();
}

#[tokio::test]
async fn inner_changes() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let (store, storage) = open(&dir).await;
    let pools = Pools::open(&store, &storage).await.unwrap();
    let pool = pools.find("d").unwrap().handle();
    let name = std::env::var("LODGE_TEST_VOLUME").unwrap();
    let mut rounds = 0_u32;
    loop {
        make(&pools, &pool, &name).await.unwrap();
        fill(&pools, &pool, &name, 5).await;
        if pool_is_logical(&pools) {
            let (size, options) = (Bytes(12 * MIB), ResizeOptions::default());
            pools.resize_volume(&pool, &name, size, options).await.unwrap();
            let below = pools.find("d").unwrap().path.unwrap().join(KEPT);
            let xml = format!(
                "<volume><name>{SNAPSHOT}</name><capacity unit='MiB'>4</capacity>\
                 <backingStore><path>{}</path></backingStore></volume>",
                below.display()
            );
            pools.create_volume(&pool, &xml, MakeOptions::default()).await.unwrap();
            pools.delete_volume(&pool, SNAPSHOT, false).await.unwrap();
            let xml = format!("<volume><name>{COPY}</name></volume>");
            pools.clone_volume(&pool, &xml, (&pool, KEPT), MakeOptions::default()).await.unwrap();
            pools.delete_volume(&pool, COPY, false).await.unwrap();
        }
        pools.wipe_volume(&pool, &name, WipeAlgorithm::Zero).await.unwrap();
        pools.delete_volume(&pool, &name, false).await.unwrap();
        rounds += 1;
        fs::write(dir.join("rounds"), rounds.to_string()).unwrap();
    }
}

fn pool_is_logical(pools: &Pools) -> bool {
    pools.find("d").unwrap().kind == lodge_model::storage::PoolKind::Logical
}

/// Runs an inner test until it has gone through all of it once, and kills it so long after.
fn kill_amid(inner: &str, dir: &Path, told: &[(&str, &str)], after: Duration) {
    let rounds = dir.join("rounds");
    let _ = fs::remove_file(&rounds);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("cut_devices::{inner}"), "--nocapture"]).env(DIR, dir);
    command.envs(told.iter().copied()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(2);
    while !rounds.exists() {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "nothing is changed");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had started may go on to its end.
    let tools = "lv[a-z]+|vg[a-z]+|pv[a-z]+|wipefs|parted";
    let is_at_work = || !Command::new("pgrep").args(["-x", tools]).output().unwrap().stdout.is_empty();
    while is_at_work() {
        assert!(Instant::now() < deadline, "a tool of a dead daemon's goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn inner_groups() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let (store, storage) = open(&dir).await;
    let pools = Pools::open(&store, &storage).await.unwrap();
    let pool = pools.find("d").unwrap().handle();
    let mut rounds = 0_u32;
    loop {
        pools.build(&pool, OVERWRITE).await.unwrap();
        pools.start(&pool, None).await.unwrap();
        pools.refresh(&pool).await.unwrap();
        pools.destroy(&pool).await.unwrap();
        pools.delete(&pool).await.unwrap();
        rounds += 1;
        fs::write(dir.join("rounds"), rounds.to_string()).unwrap();
    }
}

/// A pool `d` that is built, started, stopped and deleted; `is_made` says whether its group is there.
pub async fn cut_groups(dir: &Path, xml: &str, is_made: &dyn Fn() -> bool) {
    {
        let (store, storage) = open(dir).await;
        let pools = Pools::open(&store, &storage).await.unwrap();
        pools.define(xml, false).await.unwrap();
    }
    let mut made = 0;
    for wait_ms in [0_u64, 60, 150, 300, 500, 800, 1200, 1700] {
        kill_amid("inner_groups", dir, &[], Duration::from_millis(wait_ms));
        let (store, storage) = open(dir).await;
        let pools = Pools::open(&store, &storage).await.unwrap();
        let pool = pools.find("d").unwrap().handle();
        if pools.find("d").unwrap().is_active {
            pools.refresh(&pool).await.unwrap();
            pools.destroy(&pool).await.unwrap();
        }
        if is_made() {
            made += 1;
            pools.delete(&pool).await.unwrap();
        }
        assert!(!is_made(), "after {wait_ms} ms");
        // Whatever is left of one, the next can be made.
        pools.build(&pool, OVERWRITE).await.unwrap();
        pools.start(&pool, None).await.unwrap();
        make(&pools, &pool, KEPT).await.unwrap();
        fill(&pools, &pool, KEPT, 6).await;
        pools.delete_volume(&pool, KEPT, false).await.unwrap();
        pools.destroy(&pool).await.unwrap();
        pools.delete(&pool).await.unwrap();
        assert!(!is_made());
    }
    eprintln!("the group was there after {made} of 8 kills");
}

/// A pool `d` that runs in `dir`, with the volume `kept`; `other` is what is made and deleted, `place` where volumes are.
pub async fn cut(dir: &Path, xml: &str, kept: &str, other: &str, place: &dyn Fn(&str) -> PathBuf) {
    {
        let (store, storage) = open(dir).await;
        let pools = Pools::open(&store, &storage).await.unwrap();
        let pool = pools.define(xml, false).await.unwrap().handle();
        pools.build(&pool, OVERWRITE).await.unwrap();
        pools.start(&pool, None).await.unwrap();
        make(&pools, &pool, kept).await.unwrap();
        fill(&pools, &pool, kept, 7).await;
    }
    for wait_ms in [0_u64, 20, 50, 90, 140, 200, 270, 350] {
        kill_amid("inner_changes", dir, &[("LODGE_TEST_VOLUME", other)], Duration::from_millis(wait_ms));
        let (store, storage) = open(dir).await;
        let pools = Pools::open(&store, &storage).await.unwrap();
        let pool = pools.find("d").unwrap().handle();
        pools.refresh(&pool).await.unwrap();
        let names: Vec<_> = pools.volumes(&pool).unwrap().iter().map(|volume| volume.name.clone()).collect();
        assert!(names.contains(&kept.to_owned()), "after {wait_ms} ms: {names:?}");
        let known = [kept, other, SNAPSHOT, COPY];
        assert!(names.iter().all(|name| known.contains(&name.as_str())), "after {wait_ms} ms: {names:?}");
        assert!(fs::read(place(kept)).unwrap()[..1 << 20].iter().all(|byte| *byte == 7), "other bytes");
        // Whole or gone; either way the next can go on.
        for name in names.iter().filter(|name| *name != kept) {
            pools.delete_volume(&pool, name, false).await.unwrap();
        }
        make(&pools, &pool, other).await.unwrap();
        fill(&pools, &pool, other, 6).await;
        assert!(fs::read(place(other)).unwrap()[..1 << 20].iter().all(|byte| *byte == 6));
        pools.delete_volume(&pool, other, false).await.unwrap();
    }
    let (store, storage) = open(dir).await;
    let pools = Pools::open(&store, &storage).await.unwrap();
    let pool = pools.find("d").unwrap().handle();
    pools.delete_volume(&pool, kept, false).await.unwrap();
    pools.destroy(&pool).await.unwrap();
}

#[tokio::test]
async fn a_process_killed_amid_changing_partitions_leaves_those_it_had_made() {
    if !can_mount(&["parted"]) {
        return;
    }
    for format in ["gpt", "dos"] {
        let dir = tempfile::tempdir().unwrap();
        let Some(device) = Loop::of(dir.path(), "disk", 64 * MIB) else { return };
        let xml = format!(
            "<pool type='disk'><name>d</name><source><device path='{}'/><format type='{format}'/></source>\
             <target><path>/dev</path></target></pool>",
            device.shown()
        );
        let name = |number: u32| format!("{}p{number}", device.shown().rsplit('/').next().unwrap());
        cut(dir.path(), &xml, &name(1), &name(2), &|name| Path::new("/dev").join(name)).await;
        run("parted", &["-s", device.shown(), "print"]);
    }
}
