//! What goes with a domain, and what stays.

use std::path::PathBuf;

use lodge_model::Kind;
use lodge_storage::Format;

use crate::world::{World, can_run, disk, domain, gib, guests, qemu_img, text};

#[tokio::test]
async fn each_file_that_stays_says_why() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let image = world.base().await;
    let storage = &world.storage;
    let make = async |name| storage.create_volume(name, Format::Qcow2, gib(1)).await.unwrap().path;
    let (mine, used, shared, base) =
        (make("mine").await, make("used").await, make("shared").await, make("base").await);
    let over = world.pool("over.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&base), "-F", "qcow2", text(&over)]);
    let outside = world.dir.path().join("outside.img");
    std::fs::write(&outside, "x").unwrap();
    let gone = world.pool("gone.qcow2");
    storage.claim(domain(2), "web2", &[disk(&used)]).await.unwrap();
    let paths: Vec<PathBuf> = vec![
        mine.clone(),
        used,
        shared.clone(),
        base.clone(),
        image.path.clone(),
        outside,
        gone,
        world.storage.pool_dir().clone(),
    ];
    storage.set_guests(guests(&[("web3", 3, &[&shared])]));
    let judged = storage.judge_removal(domain(1), &paths).await.unwrap();
    let why: Vec<_> = judged.into_iter().map(|removal| removal.keep).collect();
    assert_eq!(
        why,
        [
            None,
            Some("domain `web2` uses it now".to_owned()),
            Some("domain `web3` has it too".to_owned()),
            Some(format!("`{}` stands on it", over.display())),
            Some("it is the image `base`".to_owned()),
            Some("it is not in a pool".to_owned()),
            None,
            Some("it is not a plain file".to_owned()),
        ]
    );
    // With what stands on it, the base may go.
    let both = storage.judge_removal(domain(1), &[base.clone(), over.clone()]).await.unwrap();
    assert!(both.iter().all(|removal| removal.keep.is_none()), "{both:?}");
    // Deleting judges the same way.
    let error = storage.delete_volume(domain(1), &base).await.unwrap_err();
    let text = format!("`{}` is not deleted: `{}` stands on it", base.display(), over.display());
    assert_eq!((error.kind(), error.to_string()), (Kind::Conflict, text));
    storage.delete_volume(domain(1), &mine).await.unwrap();
    storage.delete_volume(domain(1), &mine).await.unwrap();
    assert!(!mine.exists() && base.exists());
}
