//! A full file system and a killed process: whole or nothing.
//!
//! What is killed needs a process of its own, so the test runs itself again: the `inner_…` tests do nothing
//! unless an `outer` one started them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lodge_faults::SmallDisk;
use lodge_model::Kind;
use lodge_storage::Format;

use crate::world::{World, assert_clean, can_run, gib, names, open, run};

const DIR: &str = "LODGE_TEST_DIR";

fn inner_dir() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// Leaves the root, its image in it, without a daemon.
async fn root_with_an_image() -> tempfile::TempDir {
    let world = World::new().await;
    world.base().await;
    world.dir
}

#[tokio::test]
async fn a_full_file_system_is_told_and_leaves_nothing() {
    if !can_run() {
        return;
    }
    let dir = root_with_an_image().await;
    let Some(_small) = SmallDisk::at(&dir.path().join("var/lib/libvirt/images"), "8k") else { return };
    let (_store, storage) = open(dir.path()).await;
    let error = storage.clone_linked("base", "web1", None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted, "{error:?}");
    assert_eq!(error.hint().unwrap(), "free some space and try again");
    let error = storage.create_volume("a", Format::Qcow2, gib(1)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted, "{error:?}");
    assert!(names(&storage.pool_dir()).is_empty());
}

#[tokio::test]
async fn a_process_killed_amid_its_work_leaves_whole_clones_only() {
    if !can_run() {
        return;
    }
    let dir = root_with_an_image().await;
    let pool = dir.path().join("var/lib/libvirt/images");
    // A few moments of a clone's few milliseconds.
    for wait_ms in [0, 1, 2, 3, 5] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "crash::inner_clones", "--nocapture"]).env(DIR, dir.path());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let before = names(&pool).len();
        let deadline = Instant::now() + Duration::from_secs(30);
        while names(&pool).len() < before + 3 {
            assert!(Instant::now() < deadline, "no clone is made");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let (store, storage) = open(dir.path()).await;
        drop((store, storage));
        assert!(names(&pool).iter().all(|name| name.starts_with("web")), "{:?}", names(&pool));
    }
    for name in names(&pool) {
        assert_clean(&pool.join(name));
    }
}

#[tokio::test]
async fn inner_clones() {
    let Some(dir) = inner_dir() else { return };
    let (_store, storage) = open(&dir).await;
    for number in 0..u32::MAX {
        let name = format!("web{}-{number}", std::process::id());
        storage.clone_linked("base", &name, None).await.unwrap();
    }
}

#[tokio::test]
async fn a_fifo_or_a_device_as_a_disk_is_refused_at_once() {
    let world = World::new().await;
    let path = world.pool("a.qcow2");
    run("mkfifo", &[crate::world::text(&path)]);
    let look = world.storage.chain(&path, Format::Qcow2);
    let error = tokio::time::timeout(Duration::from_secs(5), look).await.unwrap().unwrap_err();
    assert!(error.to_string().ends_with("is a FIFO, not a disk"), "{error}");
    let error = world.storage.chain(Path::new("/dev/zero"), Format::Raw).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidInput);
}

/// A pool of its own, in the directory the test is told of.
async fn pool_in(dir: &Path) -> (lodge_store::Store, lodge_storage::Pools, lodge_storage::PoolHandle) {
    let (store, storage) = open(dir).await;
    let pools = lodge_storage::Pools::open(&store, &storage).await.unwrap();
    let pool = match pools.find("p") {
        Ok(pool) => pool.handle(),
        Err(_) => crate::pool::running(&pools, "p", &dir.join("p")).await,
    };
    (store, pools, pool)
}

fn volume(name: &str, bytes: u64, format: &str) -> String {
    format!(
        "<volume><name>{name}</name><capacity>{bytes}</capacity><target><format type='{format}'/></target></volume>"
    )
}

#[tokio::test]
async fn a_process_killed_amid_creating_volumes_leaves_whole_ones_only() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let files = dir.path().join("p");
    for wait_ms in [0, 1, 3, 7] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "crash::inner_volumes", "--nocapture"]).env(DIR, dir.path());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let count = || if files.exists() { names(&files).len() } else { 0 };
        let (before, deadline) = (count(), Instant::now() + Duration::from_mins(1));
        while count() < before + 3 {
            assert!(Instant::now() < deadline, "no volume is made");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (_store, pools, pool) = pool_in(dir.path()).await;
    // A start clears away what the last one left.
    pools.destroy(&pool).await.unwrap();
    pools.start(&pool, None).await.unwrap();
    for name in names(&files) {
        let path = files.join(&name);
        match name.rsplit_once('.') {
            Some((_, "qcow2")) => assert_clean(&path),
            Some((_, "raw")) => assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 20, "{name}"),
            _ => panic!("{name} is left"),
        }
    }
}

#[tokio::test]
async fn inner_volumes() {
    let Some(dir) = inner_dir() else { return };
    let (_store, pools, pool) = pool_in(&dir).await;
    for number in 0..u32::MAX {
        for format in ["qcow2", "raw"] {
            let name = format!("v{}-{number}.{format}", std::process::id());
            let xml = volume(&name, 1 << 20, format);
            pools.create_volume(&pool, &xml, lodge_storage::MakeOptions::default()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_full_pool_is_told_and_keeps_no_half_volume() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    std::fs::create_dir(dir.join("p")).unwrap();
    let Some(_small) = SmallDisk::at(&dir.join("p"), "2m") else { return };
    let (_store, pools, pool) = pool_in(dir).await;
    let options = lodge_storage::MakeOptions::default();
    let error = pools.create_volume(&pool, &volume("big", 8 << 20, "raw"), options).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted, "{error:?}");
    let path = dir.join("p/big");
    let text = format!("cannot allocate 8388608 bytes in file '{}': No space left on device", path.display());
    assert_eq!(error.to_string(), text);
    assert!(names(&dir.join("p")).is_empty());
    pools.create_volume(&pool, &volume("small", 1 << 20, "raw"), options).await.unwrap();
    assert_eq!(names(&dir.join("p")), ["small"]);
}
