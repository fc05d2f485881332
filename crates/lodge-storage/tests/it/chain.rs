//! What a disk stands on, and what is refused.

use std::path::Path;

use lodge_model::Kind;
use lodge_storage::{Format, StorageError};

use crate::world::{World, can_run, disk, domain, gib, qemu_img, text};

async fn refusal(world: &World, path: &Path) -> (Kind, String) {
    let error = world.storage.chain(path, Format::Qcow2).await.unwrap_err();
    (error.kind(), error.to_string())
}

fn overlay(path: &Path, backing: &str, format: &str) {
    // `-u`: the backing file is not looked at.
    qemu_img(&["create", "-q", "-f", "qcow2", "-u", "-b", backing, "-F", format, text(path), "1G"]);
}

#[tokio::test]
async fn a_chain_is_told_from_the_top_down() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let base = world.base().await;
    let middle = world.storage.clone_linked("base", "middle", Some(gib(2))).await.unwrap();
    // A relative name is meant from the overlay on.
    let top = world.pool("top.qcow2");
    overlay(&top, "middle.qcow2", "qcow2");
    let chain = world.storage.chain(&top, Format::Qcow2).await.unwrap();
    let paths: Vec<_> = chain.iter().map(|link| link.path.as_path()).collect();
    assert_eq!(paths, [top.as_path(), &middle.path, &base.path]);
    let sizes: Vec<_> = chain.iter().map(|link| link.virtual_size).collect();
    assert_eq!(sizes, [gib(1), gib(2), gib(1)]);
}

#[tokio::test]
async fn bytes_that_are_not_what_the_document_says() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let path = world.storage.create_volume("a", Format::Raw, gib(1)).await.unwrap().path;
    let (kind, text) = refusal(&world, &path).await;
    let why = "is not a qcow2 image: it does not begin as qcow2 does (it looks like a raw disk)";
    assert_eq!((kind, text), (Kind::InvalidInput, format!("`{}` {why}", path.display())));
    // The other way round the document is believed: a guest may write a header into its raw disk,
    // and must not gain anything by it.
    let path = world.pool("b.qcow2");
    overlay(&path, "/etc/passwd", "raw");
    assert_eq!(world.storage.chain(&path, Format::Raw).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_an_image_names_is_not_opened_unless_somebody_vouches_for_it() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let top = world.pool("top.qcow2");
    overlay(&top, "/etc/passwd", "raw");
    let error = world.storage.chain(&top, Format::Qcow2).await.unwrap_err();
    assert!(matches!(error, StorageError::BackingOutside { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Denied);
    // A link in the pool is no way round.
    std::os::unix::fs::symlink("/etc/passwd", world.pool("link")).unwrap();
    overlay(&top, "link", "raw");
    assert_eq!(refusal(&world, &top).await.0, Kind::Denied);
    // The document's <backingStore> vouches.
    let mut named = disk(&top);
    named.backing.push("/etc/passwd".into());
    let claimed = world.storage.claim(domain(1), "web1", &[named]).await.unwrap();
    assert_eq!(claimed[0].chain[1].path, Path::new("/etc/passwd"));
    assert!(claimed[0].chain[1].read_only);
}

#[tokio::test]
async fn broken_chains_are_told_with_the_place() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (a, b) = (world.pool("a.qcow2"), world.pool("b.qcow2"));
    overlay(&a, "b.qcow2", "qcow2");
    let (kind, message) = refusal(&world, &a).await;
    let missing = format!("`{}` stands on `{}`, which does not exist", a.display(), b.display());
    assert_eq!((kind, message), (Kind::NotFound, missing));
    overlay(&b, "a.qcow2", "qcow2");
    let (kind, message) = refusal(&world, &a).await;
    assert_eq!(
        (kind, message),
        (Kind::Corrupt, format!("the backing files of `{}` are a circle", a.display()))
    );
    overlay(&b, "a.vmdk", "vmdk");
    assert_eq!(refusal(&world, &b).await.0, Kind::Unsupported);
    overlay(&b, "nbd://127.0.0.1/x", "raw");
    assert_eq!(refusal(&world, &b).await.0, Kind::Denied);
    assert_eq!(refusal(&world, &world.pool("none")).await.0, Kind::NotFound);
}

#[tokio::test]
async fn a_backing_file_without_a_format_is_not_guessed() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let path = world.pool("a.qcow2");
    overlay(&path, "b.qcow2", "qcow2");
    // The extension's number, made one that readers skip.
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|four| four == 0xe279_2aca_u32.to_be_bytes()).unwrap();
    bytes[at] = 0x11;
    std::fs::write(&path, bytes).unwrap();
    let error = world.storage.chain(&path, Format::Qcow2).await.unwrap_err();
    assert!(matches!(error, StorageError::BackingFormat { .. }), "{error}");
    assert!(error.hint().unwrap().contains("qemu-img rebase -u -b b.qcow2 -F FORMAT"));
}
