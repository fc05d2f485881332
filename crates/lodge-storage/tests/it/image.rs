//! The registry of images.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use lodge_model::Kind;
use lodge_storage::{Format, ImageSource, StorageError};
use tokio_util::sync::CancellationToken;

use crate::world::{World, can_run, gib, names, qemu_img, run, text};

#[tokio::test]
async fn an_image_with_clones_stays_until_they_are_gone() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let base = world.base().await;
    let clone = world.storage.clone_linked("base", "web1", None).await.unwrap();
    let error = world.storage.remove_image("base").await.unwrap_err();
    let why = format!("image `base` is in use: `{}` stand on it", clone.path.display());
    assert_eq!((error.kind(), error.to_string()), (Kind::Conflict, why));
    std::fs::remove_file(&clone.path).unwrap();
    world.storage.remove_image("base").await.unwrap();
    assert!(!base.path.exists());
    assert!(matches!(world.storage.image("base").await, Err(StorageError::NoImage { .. })));
}

#[tokio::test]
async fn a_new_file_for_a_name_leaves_the_old_one_to_its_clones() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let old = world.base().await;
    let clone = world.storage.clone_linked("base", "web1", None).await.unwrap();
    let new = world.image("base", "base-000000000002.qcow2").await;
    assert_eq!(world.storage.image("base").await.unwrap().path, new.path);
    assert!(old.path.exists());
    let world = world.restarted().await;
    world.storage.collect_images().await.unwrap();
    assert!(old.path.exists());
    std::fs::remove_file(&clone.path).unwrap();
    let kept = world.storage.images_dir().join("mine.qcow2");
    std::fs::write(&kept, "a person's").unwrap();
    let world = world.restarted().await;
    world.storage.collect_images().await.unwrap();
    assert!(!old.path.exists() && new.path.exists() && kept.exists());
    assert_eq!(world.storage.images().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_imported_file_is_copied_with_its_holes() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let from = world.dir.path().join("from.raw");
    qemu_img(&["create", "-q", "-f", "raw", text(&from), "1G"]);
    run("qemu-io", &["-f", "raw", "-c", "write -P 9 512M 64k", text(&from)]);
    let cancel = CancellationToken::new();
    let image = world.storage.import_image("mine", &from, Format::Raw, &cancel, |_| ()).await.unwrap();
    assert_eq!((image.virtual_size, image.source.clone()), (gib(1), ImageSource::File(from.clone())));
    assert!(image.allocation.0 < 4 << 20, "{image:?}");
    qemu_img(&["compare", "-f", "raw", "-F", "raw", text(&from), text(&image.path)]);
    world.storage.clone_linked("mine", "web1", None).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_an_image_is_refused_and_leaves_nothing() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    world.base().await;
    let before = names(world.storage.images_dir());
    let clone = world.storage.clone_linked("base", "web1", None).await.unwrap();
    let cancel = CancellationToken::new();
    let import = async |path: &std::path::Path, format| {
        world.storage.import_image("x", path, format, &cancel, |_| ()).await
    };
    let error = import(&clone.path, Format::Qcow2).await.unwrap_err();
    assert!(error.to_string().contains("stands on another file"), "{error}");
    let error = import(&world.pool("none"), Format::Raw).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let text = world.dir.path().join("text");
    std::fs::write(&text, "<html>").unwrap();
    let error = import(&text, Format::Qcow2).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidInput);
    assert_eq!(names(world.storage.images_dir()), before);
}

#[tokio::test]
async fn a_cancelled_import_leaves_nothing() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let from = world.dir.path().join("from.raw");
    std::fs::write(&from, vec![1; 64 << 20]).unwrap();
    let cancel = CancellationToken::new();
    let (stop, was_told) = (cancel.clone(), Arc::new(AtomicBool::new(false)));
    let flag = Arc::clone(&was_told);
    let tell = move |_| {
        flag.store(true, Ordering::Relaxed);
        stop.cancel();
        // So that the copy does not end before the token is seen.
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let error = world.storage.import_image("x", &from, Format::Raw, &cancel, tell).await.unwrap_err();
    assert!(matches!(error, StorageError::Cancelled { .. }), "{error}");
    assert!(was_told.load(Ordering::Relaxed));
    assert!(names(world.storage.images_dir()).is_empty());
}
