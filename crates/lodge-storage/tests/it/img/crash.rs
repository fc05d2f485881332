//! `kill -9` amid a conversion, a compaction, a resize and the copying of encrypted volumes: every image opens, and has
//! the bytes it had.
//!
//! The test runs itself again: the `inner_…` test does nothing unless the outer one started it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use lodge_faults::SmallDisk;
use lodge_model::Bytes;
use lodge_storage::{Compression, Conversion, ImageFormat, MakeOptions, Pools};
use tokio_util::sync::CancellationToken;

use super::{assert_same, conversion, raw_disk};
use crate::{
    encrypted::{Kept, by_uuid},
    world::{assert_sound, can_run, names, open, qemu_img, run, text},
};

const DIR: &str = "LODGE_TEST_IMAGES_DIR";

fn io(path: &Path, command: &str) {
    let said = run("qemu-io", &["-f", "qcow2", "-c", command, text(path)]);
    assert!(!said.contains("failed"), "{}: {command}: {said}", path.display());
}

/// Where it works, without a daemon.
fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let pool = dir.path().join("var/lib/libvirt/images");
    std::fs::create_dir_all(&pool).unwrap();
    raw_disk(&pool.join("a.img"));
    for name in ["compacted.qcow2", "resized.qcow2"] {
        let path = pool.join(name);
        qemu_img(&["create", "-q", "-f", "qcow2", text(&path), "16M"]);
        io(&path, "write -q -P 7 8M 1M");
    }
    dir
}

#[tokio::test]
async fn a_process_killed_amid_changing_images_leaves_every_byte() {
    if !can_run() {
        return;
    }
    let dir = place();
    let pool = dir.path().join("var/lib/libvirt/images");
    for wait_ms in [0, 30, 80, 170, 310, 450] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "img::crash::inner_images", "--nocapture"]).env(DIR, dir.path());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (before, deadline) = (converted(&pool).len(), Instant::now() + Duration::from_mins(1));
        while converted(&pool).len() < before + 1 {
            assert!(Instant::now() < deadline, "nothing is converted");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        // A start clears away what the last one left.
        let (store, storage) = open(dir.path()).await;
        let pools = Pools::open_with(&store, &storage, Arc::new(Kept::default())).await.unwrap();
        drop((pools, storage, store));
        for path in converted(&pool) {
            assert_sound(&path);
            assert_same(&pool.join("a.img"), "raw", &path, "qcow2");
        }
        for name in ["compacted.qcow2", "resized.qcow2"] {
            assert_sound(&pool.join(name));
            io(&pool.join(name), "read -P 7 8M 1M");
        }
        for name in names(&dir.path().join("p")).iter().filter(|name| name.starts_with("copy")) {
            let path = dir.path().join("p").join(name);
            let key = dir.path().join("key");
            std::fs::write(&key, crate::encrypted::PASSPHRASE).unwrap();
            let image = format!("driver=luks,key-secret=k,file.filename={}", text(&path));
            let object = format!("secret,id=k,file={}", text(&key));
            let args = ["--object", &object, "--image-opts", &image, "-c", "read -P 5 1M 64k"];
            let said = run("qemu-io", &args);
            assert!(!said.contains("failed"), "{name}: {said}");
        }
    }
}

fn converted(pool: &Path) -> Vec<PathBuf> {
    names(pool).iter().filter(|name| name.starts_with('x')).map(|name| pool.join(name)).collect()
}

#[tokio::test]
async fn inner_images() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let (store, storage) = open(&dir).await;
    let pools = Pools::open_with(&store, &storage, Arc::new(Kept::default())).await.unwrap();
    let pool = match pools.find("p") {
        Ok(pool) => pool.handle(),
        Err(_) => crate::pool::running(&pools, "p", &dir.join("p")).await,
    };
    let at = storage.pool_dir();
    let id = std::process::id();
    let plain = format!("plain{id}");
    let document = |name: &str, encryption: &str| {
        format!(
            "<volume><name>{name}</name><capacity unit='MiB'>4</capacity><allocation>0</allocation>\
             <target><format type='raw'/>{encryption}</target></volume>"
        )
    };
    pools.create_volume(&pool, &document(&plain, ""), MakeOptions::default()).await.unwrap();
    run("qemu-io", &["-f", "raw", "-c", "write -q -P 5 1M 64k", text(&dir.join("p").join(&plain))]);
    let none = CancellationToken::new();
    let encryption = format!("<encryption format='luks'>{}</encryption>", by_uuid());
    for number in 0_u32.. {
        let to = at.join(format!("x{id}-{number}.qcow2"));
        let wanted = Conversion {
            compression: Some(Compression::Zlib),
            ..conversion(&at.join("a.img"), ImageFormat::Raw, &to, ImageFormat::Qcow2)
        };
        storage.convert_image(wanted, &none, |_| ()).await.unwrap();
        let compacted = at.join("compacted.qcow2");
        io(&compacted, "write -q -P 1 0 4M");
        io(&compacted, "write -q -P 0 0 4M");
        storage.compact_image(&compacted, ImageFormat::Qcow2, &none, |_| ()).await.unwrap();
        let resized = at.join("resized.qcow2");
        let larger = Bytes(u64::from(16 + number % 64) << 20);
        storage.resize_image(&resized, ImageFormat::Qcow2, larger, true).await.unwrap();
        let copy = document(&format!("copy{id}-{number}"), &encryption);
        pools.clone_volume(&pool, &copy, (&pool, &plain), MakeOptions::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_file_system_leaves_images_as_they_were() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("var/lib/libvirt/images");
    std::fs::create_dir_all(&at).unwrap();
    let Some(_small) = SmallDisk::at(&at, "4m") else { return };
    let (_store, storage) = open(dir.path()).await;
    let none = CancellationToken::new();
    let large = dir.path().join("large.img");
    qemu_img(&["create", "-q", "-f", "raw", text(&large), "8M"]);
    run("qemu-io", &["-f", "raw", "-c", "write -q -P 3 0 8M", text(&large)]);
    // Beside it there is room for less than it holds.
    let image = at.join("image.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", text(&image), "8M"]);
    io(&image, "write -q -P 7 0 2M");
    io(&image, "write -q -P 0 2M 1M");
    let before = names(&at);
    let convert = conversion(&large, ImageFormat::Raw, &at.join("converted.qcow2"), ImageFormat::Qcow2);
    let error = storage.convert_image(convert, &none, |_| ()).await.unwrap_err();
    assert_eq!(error.kind(), lodge_model::Kind::Exhausted, "convert: {error:?}");
    assert_eq!(names(&at), before);
    let error = storage.compact_image(&image, ImageFormat::Qcow2, &none, |_| ()).await.unwrap_err();
    assert_eq!(error.kind(), lodge_model::Kind::Exhausted, "compact: {error:?}");
    assert_eq!(names(&at), before);
    crate::world::assert_clean(&image);
    io(&image, "read -P 7 0 2M");
    io(&image, "read -P 0 2M 6M");
}
