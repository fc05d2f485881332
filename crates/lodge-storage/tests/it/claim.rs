//! Who may have a disk.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lodge_model::Kind;
use lodge_storage::{Format, StorageError};
use rustix::fs::OFlags;

use crate::world::{World, can_run, disk, domain, gib, text};

#[tokio::test]
async fn a_claimed_chain_is_open_as_qemu_needs_it() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let base = world.base().await;
    let clone = world.storage.clone_linked("base", "web1", None).await.unwrap();
    let empty = lodge_storage::DiskUse { target: "sda".into(), path: None, ..disk(&clone.path) };
    let disks = world.storage.claim(domain(1), "web1", &[disk(&clone.path), empty]).await.unwrap();
    assert_eq!((disks[1].target.as_str(), disks[1].chain.len()), ("sda", 0));
    let chain = &disks[0].chain;
    assert_eq!([&chain[0].path, &chain[1].path], [&clone.path, &base.path]);
    assert_eq!([chain[0].read_only, chain[1].read_only], [false, true]);
    let flags = |at: usize| rustix::fs::fcntl_getfl(&chain[at].fd).unwrap();
    assert!(flags(0).contains(OFlags::RDWR) && !flags(0).contains(OFlags::NONBLOCK));
    assert!(!flags(1).contains(OFlags::RDWR));
    assert!(rustix::io::fcntl_getfd(&chain[0].fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
}

#[tokio::test]
async fn of_two_writers_the_second_is_told_of_the_first() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    world.base().await;
    let storage = &world.storage;
    let path = storage.clone_linked("base", "web1", None).await.unwrap().path;
    let other = storage.clone_linked("base", "web2", None).await.unwrap().path;
    storage.claim(domain(1), "web1", &[disk(&path)]).await.unwrap();
    // Clones of one image do not stand in each other's way.
    storage.claim(domain(2), "web2", &[disk(&other)]).await.unwrap();
    // Another name of the same file is the same file.
    let alias = world.pool("alias.qcow2");
    std::fs::hard_link(&path, &alias).unwrap();
    let error = storage.claim(domain(3), "web3", &[disk(&alias)]).await.unwrap_err();
    let why = format!("disk `{}` is in use by domain `web1`: it writes to it", alias.display());
    assert_eq!((error.kind(), error.to_string()), (Kind::Conflict, why));
    assert_eq!(storage.holder(&path).await.unwrap().as_deref(), Some("web1"));
    storage.release(domain(1));
    storage.claim(domain(3), "web3", &[disk(&alias)]).await.unwrap();
}

#[tokio::test]
async fn an_adopted_guest_keeps_its_disks() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    world.base().await;
    let path = world.storage.clone_linked("base", "web1", None).await.unwrap().path;
    let gone = disk(&world.pool("gone.qcow2"));
    world.storage.adopt(domain(1), "web1", &[gone, disk(&path)]).await.unwrap();
    let error = world.storage.claim(domain(2), "web2", &[disk(&path)]).await.unwrap_err();
    assert!(matches!(error, StorageError::InUse { .. }), "{error}");
}

#[tokio::test]
async fn an_image_is_never_written_to() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let base = world.base().await;
    let error = world.storage.claim(domain(1), "web1", &[disk(&base.path)]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` is the image `base`, which is never written to", base.path.display())
    );
    let read = lodge_storage::DiskUse { read_only: true, ..disk(&base.path) };
    world.storage.claim(domain(1), "web1", &[read]).await.unwrap();
}

#[tokio::test]
async fn a_base_that_a_running_guest_stands_on_cannot_be_written() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let base = world.storage.create_volume("base", Format::Qcow2, gib(1)).await.unwrap().path;
    let top = world.pool("top.qcow2");
    crate::world::qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&base), "-F", "qcow2", text(&top)]);
    world.storage.claim(domain(1), "web1", &[disk(&top)]).await.unwrap();
    let error = world.storage.claim(domain(2), "web2", &[disk(&base)]).await.unwrap_err();
    assert!(error.to_string().ends_with("by domain `web1`: a disk of it stands on this file"), "{error}");
}

#[tokio::test]
async fn another_program_s_lock_is_seen() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let path = world.storage.create_volume("a", Format::Qcow2, gib(1)).await.unwrap().path;
    let mut command = Command::new("qemu-io");
    command.args(["-f", "qcow2", text(&path)]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut qemu = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    // Until it has come up; each refused or granted claim is a whole one.
    let error = loop {
        match world.storage.claim(domain(1), "web1", &[disk(&path)]).await {
            Err(error) => break error,
            Ok(_) => world.storage.release(domain(1)),
        }
        assert!(Instant::now() < deadline, "no lock is seen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    qemu.stdin.take().unwrap().write_all(b"quit\n").unwrap();
    let pid = qemu.id();
    qemu.wait().unwrap();
    assert!(matches!(error, StorageError::Locked { .. }), "{error}");
    assert!(error.to_string().ends_with(&format!("is locked by another program (process {pid})")), "{error}");
    world.storage.claim(domain(1), "web1", &[disk(&path)]).await.unwrap();
}

#[tokio::test]
async fn a_refused_claim_holds_nothing() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let path = world.storage.create_volume("a", Format::Qcow2, gib(1)).await.unwrap().path;
    let disks = [disk(&path), disk(&world.pool("none.qcow2"))];
    let error = world.storage.claim(domain(1), "web1", &disks).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(world.storage.holder(&path).await.unwrap(), None);
    let optional = lodge_storage::DiskUse { optional: true, ..disks[1].clone() };
    let claimed = world.storage.claim(domain(1), "web1", &[disks[0].clone(), optional]).await.unwrap();
    assert_eq!(claimed[1].chain.len(), 0);
}
