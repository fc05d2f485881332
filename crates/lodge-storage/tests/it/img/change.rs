//! `compact`, `resize`.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use lodge_model::Bytes;
use lodge_storage::{ImageFormat, StorageError};
use tokio_util::sync::CancellationToken;

use super::{assert_same, leftovers, raw_disk};
use crate::world::{World, assert_clean, can_run, disk, domain, qemu_img, run, text};

async fn compact(
    world: &World,
    path: &std::path::Path,
    format: ImageFormat,
) -> Result<lodge_storage::Compacted, StorageError> {
    world.storage.compact_image(path, format, &CancellationToken::new(), |_| ()).await
}

#[tokio::test]
async fn zeros_give_their_room_back_and_no_byte_changes() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (raw, keep) = (world.pool("a.img"), world.dir.path().join("keep.img"));
    raw_disk(&raw);
    fs::copy(&raw, &keep).unwrap();
    let inode = fs::metadata(&raw).unwrap().ino();
    let done = compact(&world, &raw, ImageFormat::Raw).await.unwrap();
    assert!(done.before.0 >= done.after.0 + (1 << 20), "{done:?}");
    assert_same(&raw, "raw", &keep, "raw");
    assert_eq!(fs::metadata(&raw).unwrap().ino(), inode);

    for (name, options) in [("b.qcow2", "compat=1.1"), ("c.qcow2", "compat=0.10,cluster_size=4k")] {
        let path = world.pool(name);
        qemu_img(&["create", "-q", "-f", "qcow2", "-o", options, text(&path), "64M"]);
        for write in ["write -P 1 0 20M", "write -P 0 0 16M", "write -P 7 50M 1M"] {
            run("qemu-io", &["-f", "qcow2", "-c", write, text(&path)]);
        }
        let keep = world.dir.path().join(name);
        fs::copy(&path, &keep).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let done = compact(&world, &path, ImageFormat::Qcow2).await.unwrap();
        assert!(done.before.0 > 20 << 20 && done.after.0 < 6 << 20, "{done:?}");
        assert_same(&path, "qcow2", &keep, "qcow2");
        assert_clean(&path);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        // What has nothing to give stays as it is.
        let inode = fs::metadata(&path).unwrap().ino();
        compact(&world, &path, ImageFormat::Qcow2).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    }
    assert_eq!(leftovers(&world.storage.pool_dir()), [""; 0]);
}

#[tokio::test]
async fn an_overlay_goes_on_standing_on_its_base_and_hides_what_it_hid() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    for compat in ["compat=1.1", "compat=0.10"] {
        let (base, top) = (world.pool("base.qcow2"), world.pool("top.qcow2"));
        qemu_img(&["create", "-q", "-f", "qcow2", text(&base), "32M"]);
        run("qemu-io", &["-f", "qcow2", "-c", "write -P 9 0 8M", text(&base)]);
        let backing = ["-o", compat, "-b", text(&base), "-F", "qcow2"];
        qemu_img(&[&["create", "-q", "-f", "qcow2"][..], &backing, &[text(&top)]].concat());
        // Zeros over the base's data, data of its own, and compressed data.
        for write in ["write -P 1 1M 16M", "write -P 0 1M 8M", "write -P 0 10M 7M", "write -c -P 3 20M 64k"] {
            run("qemu-io", &["-f", "qcow2", "-c", write, text(&top)]);
        }
        let keep = world.dir.path().join("keep.img");
        qemu_img(&["convert", "-f", "qcow2", "-O", "raw", text(&top), text(&keep)]);
        let done = compact(&world, &top, ImageFormat::Qcow2).await.unwrap();
        assert!(done.after < done.before || compat == "compat=0.10", "{done:?}");
        assert_same(&top, "qcow2", &keep, "raw");
        assert_clean(&top);
        let told = world.storage.describe_image(&top, ImageFormat::Qcow2, false).await.unwrap().remove(0);
        assert_eq!(told.backing.unwrap().0, text(&base));
        let check = world.storage.check_image(&top, ImageFormat::Qcow2, lodge_storage::Repair::No).await;
        assert_eq!(check.unwrap().compressed_clusters, 1);
        fs::remove_file(top).unwrap();
        fs::remove_file(base).unwrap();
    }
}

#[tokio::test]
async fn what_is_in_use_or_would_lose_something_is_not_compacted() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let path = world.pool("a.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", text(&path), "4M"]);
    world.storage.claim(domain(1), "web1", &[disk(&path)]).await.unwrap();
    let error = compact(&world, &path, ImageFormat::Qcow2).await.unwrap_err();
    assert!(matches!(error, StorageError::InUse { .. }), "{error}");
    world.storage.release(domain(1));

    fs::hard_link(&path, world.pool("b.qcow2")).unwrap();
    let error = compact(&world, &path, ImageFormat::Qcow2).await.unwrap_err();
    assert!(error.to_string().contains("has another name"), "{error}");
    fs::remove_file(world.pool("b.qcow2")).unwrap();

    qemu_img(&["snapshot", "-c", "one", text(&path)]);
    let error = compact(&world, &path, ImageFormat::Qcow2).await.unwrap_err();
    assert!(error.to_string().contains("has snapshots inside"), "{error}");
    let error = compact(&world, &path, ImageFormat::Vdi).await.unwrap_err();
    assert!(error.to_string().contains("is vdi"), "{error}");
    let held = world.storage.claim(domain(1), "web1", &[disk(&path)]).await;
    assert_eq!(held.unwrap().len(), 1, "nothing of it is held any more");
}

#[tokio::test]
async fn sizes_grow_as_asked_and_shrink_only_when_said_twice() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let path = world.pool(&format!("a.{format}"));
        qemu_img(&["create", "-q", "-f", format.as_str(), text(&path), "8M"]);
        run("qemu-io", &["-f", format.as_str(), "-c", "write -P 1 0 1M", text(&path)]);
        let resize = async |mib: u64, shrink| {
            world.storage.resize_image(&path, format, Bytes(mib << 20), shrink).await
        };
        assert_eq!(resize(16, false).await.unwrap().before, Bytes(8 << 20));
        let error = resize(4, false).await.unwrap_err();
        assert!(error.hint().unwrap().contains("--shrink"), "{error}");
        resize(4, true).await.unwrap();
        let told = world.storage.describe_image(&path, format, false).await.unwrap().remove(0);
        assert_eq!(told.virtual_size, Bytes(4 << 20));
        run("qemu-io", &["-f", format.as_str(), "-c", "read -P 1 0 1M", text(&path)]);
        assert!(resize(0, true).await.is_err());
        assert!(resize(1 << 40, false).await.is_err());
    }
    let image = world.base().await;
    let error =
        world.storage.resize_image(&image.path, ImageFormat::Qcow2, Bytes(2 << 30), false).await.unwrap_err();
    assert!(matches!(error, StorageError::WritesImage { .. }), "{error}");
    let top = world.pool("top.qcow2");
    let base = world.pool("a.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&base), "-F", "qcow2", text(&top)]);
    let error =
        world.storage.resize_image(&base, ImageFormat::Qcow2, Bytes(1 << 30), false).await.unwrap_err();
    assert!(error.to_string().contains("stands on"), "{error}");
    // The overlay itself may.
    world.storage.resize_image(&top, ImageFormat::Qcow2, Bytes(1 << 30), false).await.unwrap();
}
