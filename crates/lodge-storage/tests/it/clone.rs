//! Linked clones and empty volumes.

use lodge_model::{Bytes, Kind};
use lodge_storage::Format;

use crate::world::{World, assert_clean, can_run, gib, info, names, qemu_img, text};

#[tokio::test]
async fn a_clone_is_what_qemu_would_have_made() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let base = world.base().await;
    let clone = world.storage.clone_linked("base", "web1", Some(gib(3))).await.unwrap();
    assert_eq!(clone.path, world.pool("web1.qcow2"));
    assert_eq!((clone.virtual_size, clone.format), (gib(3), Format::Qcow2));
    assert_eq!(clone.backing.as_deref(), Some(base.path.as_path()));
    assert_clean(&clone.path);
    let info = info(&clone.path);
    assert_eq!(info["format"], "qcow2");
    assert_eq!(info["virtual-size"], 3 * crate::world::GIB);
    assert_eq!(info["backing-filename"], text(&base.path));
    assert_eq!(info["backing-filename-format"], "qcow2");
    // Larger, but what there is is the same.
    qemu_img(&["compare", "-f", "qcow2", "-F", "qcow2", text(&clone.path), text(&base.path)]);
}

#[tokio::test]
async fn without_a_size_a_clone_has_its_image_s() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    world.base().await;
    let clone = world.storage.clone_linked("base", "web1.qcow2", None).await.unwrap();
    assert_eq!((clone.virtual_size, clone.name.as_str()), (gib(1), "web1.qcow2"));
}

#[tokio::test]
async fn a_clone_that_cannot_be_leaves_nothing() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    world.base().await;
    let storage = &world.storage;
    let error = storage.clone_linked("base", "small", Some(Bytes(4096))).await.unwrap_err();
    let why = "a clone of `base` has at least 1073741824 bytes, 4096 were asked for";
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::InvalidInput, why));
    let error = storage.clone_linked("none", "x", None).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::NotFound, "there is no image `none`"));
    for name in ["", "../x", ".hidden", "a/b", "-rf", "a\nb", &"x".repeat(201)] {
        let error = storage.clone_linked("base", name, None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidInput, "{name}");
    }
    assert!(world.pool_names().is_empty());
}

#[tokio::test]
async fn of_many_clones_with_one_name_one_is_made() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    world.base().await;
    let attempts: Vec<_> = (0..16)
        .map(|_| {
            let storage = world.storage.clone();
            tokio::spawn(async move { storage.clone_linked("base", "web1", None).await })
        })
        .collect();
    let mut made = 0;
    for attempt in attempts {
        match attempt.await.unwrap() {
            Ok(_) => made += 1,
            Err(error) => assert_eq!(error.kind(), Kind::Exists, "{error}"),
        }
    }
    assert_eq!(made, 1);
    assert_eq!(world.pool_names(), ["web1.qcow2"]);
    assert_clean(&world.pool("web1.qcow2"));
}

#[tokio::test]
async fn empty_volumes_of_both_formats() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let qcow2 = world.storage.create_volume("a", Format::Qcow2, gib(5)).await.unwrap();
    assert_clean(&qcow2.path);
    assert_eq!(info(&qcow2.path)["virtual-size"], 5 * crate::world::GIB);
    // A size that is no whole sector is rounded up, as qemu-img does.
    let raw = world.storage.create_volume("b", Format::Raw, Bytes(1000)).await.unwrap();
    assert_eq!((raw.virtual_size, raw.backing), (Bytes(1024), None));
    assert_eq!(names(&world.storage.pool_dir()), ["a.qcow2", "b.img"]);
    let error = world.storage.create_volume("c", Format::Raw, Bytes(0)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidInput);
    let volumes = world.storage.volumes().await.unwrap();
    assert_eq!(volumes.iter().map(|v| v.format).collect::<Vec<_>>(), [Format::Qcow2, Format::Raw]);
}

#[tokio::test]
async fn a_copy_stands_on_what_its_source_stands_on_and_leaves_the_source_alone() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let base = world.base().await;
    let source = world.storage.clone_linked("base", "web1", None).await.unwrap().path;
    let before = (std::fs::read(&source).unwrap(), world.pool_names());
    let copy = world.pool("web2.qcow2");
    let token = tokio_util::sync::CancellationToken::new();
    let from = (source.as_path(), Format::Qcow2);
    let made = world.storage.copy_layer(from, &copy, &token, |_| ()).await.unwrap();
    assert_eq!(made.backing.as_deref(), Some(base.path.as_path()));
    assert_eq!(std::fs::read(&source).unwrap(), before.0);
    assert_eq!(std::fs::read(&copy).unwrap(), before.0);
    let again = world.storage.copy_layer(from, &copy, &token, |_| ()).await.unwrap_err();
    assert_eq!(again.kind(), lodge_model::Kind::Exists);
    world.storage.discard_copy(&copy).await.unwrap();
    world.storage.discard_copy(&copy).await.unwrap();
    assert_eq!(world.pool_names(), before.1);
    // What others stand on is not taken back.
    let refused = world.storage.discard_copy(&base.path).await.unwrap_err();
    assert_eq!(refused.kind(), lodge_model::Kind::Conflict);
}
