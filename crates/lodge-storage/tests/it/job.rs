//! What a block job may write, and whose the files are afterwards.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use lodge_model::Kind;
use lodge_storage::{CopyTarget, Format};

use crate::needs::snapshot;
use crate::world::{Fixed, World, can_run, disk, domain, gib, guest, guests, info, qemu_img, run, text};

fn overlay(path: &Path, base: &Path) {
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(base), "-F", "qcow2", text(path)]);
}

/// A base and a disk on it, the disk claimed for `web1`.
async fn chain(world: &World) -> (PathBuf, PathBuf) {
    let (base, top) = (world.pool("base.qcow2"), world.pool("top.qcow2"));
    qemu_img(&["create", "-q", "-f", "qcow2", text(&base), "8M"]);
    overlay(&top, &base);
    world.storage.claim(domain(1), "web1", &[disk(&top)]).await.unwrap();
    (base, top)
}

#[tokio::test]
async fn a_base_is_written_by_the_one_disk_that_needs_it() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, top) = chain(&world).await;
    let storage = &world.storage;
    storage.open_backing(domain(1), &base, std::slice::from_ref(&top)).await.unwrap();
    // While it is written nobody else gets it.
    let other = world.pool("other.qcow2");
    overlay(&other, &base);
    assert_eq!(storage.claim(domain(2), "web2", &[disk(&other)]).await.unwrap_err().kind(), Kind::Conflict);
    std::fs::remove_file(&other).unwrap();
    // The disk is on its base now: its old file is nobody's, the base is written by it.
    storage.restack(domain(1), "web1", &[top.clone(), base.clone()], &disk(&base)).await.unwrap();
    assert_eq!(storage.holder(&top).await.unwrap(), None);
    assert_eq!(storage.holder(&base).await.unwrap().as_deref(), Some("web1"));
    // What it left behind stands on a file that was written since, and stops nobody any more.
    run("qemu-io", &["-f", "qcow2", "-c", "write -q 0 64k", text(&base)]);
    let newer = world.pool("newer.qcow2");
    overlay(&newer, &base);
    storage.restack(domain(1), "web1", std::slice::from_ref(&base), &disk(&newer)).await.unwrap();
    storage.open_backing(domain(1), &base, &[newer]).await.unwrap();
}

#[tokio::test]
async fn a_base_that_something_else_needs_is_not_written() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, top) = chain(&world).await;
    let own = [top.clone()];
    let known = Arc::new(Fixed(Mutex::default()));
    world.storage.set_guests(Arc::clone(&known) as _);
    let refused = |others: Vec<lodge_storage::GuestFiles>| {
        let (storage, base, own) = (world.storage.clone(), base.clone(), own.clone());
        *known.0.lock().unwrap() = others;
        async move {
            let error = storage.open_backing(domain(1), &base, &own).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Conflict);
            error.to_string()
        }
    };
    let clone = world.pool("clone.qcow2");
    overlay(&clone, &base);
    let stands = |path: &Path| format!("volume '{}' stands on it", path.display());
    assert!(refused(Vec::new()).await.ends_with(&stands(&clone)));
    // The same where only a definition knows the file.
    let far = world.dir.path().join("far.qcow2");
    std::fs::rename(&clone, &far).unwrap();
    assert!(refused(vec![guest("web2", 2, &[&far])]).await.ends_with(&stands(&far)));
    let of_other = vec![guest("web3", 3, &[&base])];
    assert!(refused(of_other).await.ends_with("domain 'web3' has it as its disk vda"));
    std::fs::remove_file(&far).unwrap();
    let image = world.base().await;
    let made = world.storage.clone_linked("base", "web4", None).await.unwrap();
    world.storage.claim(domain(4), "web4", &[disk(&made.path)]).await.unwrap();
    let error = world.storage.open_backing(domain(4), &image.path, &[made.path]).await.unwrap_err();
    assert!(error.to_string().contains("it is the image 'base'"), "{error}");
    known.0.lock().unwrap().clear();
    // Two disks of one domain on one base: the job of the one would change the other.
    let second = world.pool("second.qcow2");
    overlay(&second, &base);
    world.storage.claim_more(domain(1), "web1", &[disk(&second)]).await.unwrap();
    let error = world.storage.open_backing(domain(1), &base, &[top, second]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
}

#[tokio::test]
async fn a_copy_is_made_taken_and_given_back() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, _) = chain(&world).await;
    let path = world.pool("copy.qcow2");
    let target = |format, backing: Option<&Path>| CopyTarget {
        path: path.clone(),
        format,
        size: gib(1),
        backing: backing.map(|base| (base.to_owned(), Format::Qcow2)),
        layers: Vec::new(),
        reuse: false,
        locked: Vec::new(),
        seal: None,
    };
    let shallow = target(Format::Qcow2, Some(&base));
    let files = world.storage.take_copy(domain(1), "web1", &shallow).await.unwrap();
    let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(paths, [path.clone(), base.clone()]);
    assert_eq!(info(&path)["backing-filename"], text(&base));
    assert_eq!(world.storage.holder(&path).await.unwrap().as_deref(), Some("web1"));
    world.storage.give_back_paths(domain(1), &paths);
    assert_eq!(world.storage.holder(&path).await.unwrap(), None);
    // It stands on the base itself still.
    assert_eq!(world.storage.holder(&base).await.unwrap().as_deref(), Some("web1"));
    std::fs::remove_file(&path).unwrap();
    let known = Arc::new(Fixed(Mutex::new(vec![guest("web2", 2, &[&path])])));
    world.storage.set_guests(Arc::clone(&known) as _);
    let raw = target(Format::Raw, None);
    let error = world.storage.take_copy(domain(1), "web1", &raw).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(!path.exists());
    known.0.lock().unwrap().clear();
    world.storage.take_copy(domain(1), "web1", &raw).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 30);
}

/// A repair, a new name in its header, or a copy that was put back: the file has changed, and not what it shows.
#[tokio::test]
async fn a_base_that_changed_since_is_not_written_below_a_disk_that_somebody_has() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, top) = chain(&world).await;
    let clone = world.pool("clone.qcow2");
    overlay(&clone, &base);
    let second = world.pool("second.qcow2");
    overlay(&second, &clone);
    run("touch", &["-d", "+1 hour", text(&base)]);
    let own = std::slice::from_ref(&top);
    let known = Arc::new(Fixed(Mutex::new(vec![guest("web2", 2, &[&second])])));
    world.storage.set_guests(Arc::clone(&known) as _);
    let error = world.storage.open_backing(domain(1), &base, own).await.unwrap_err();
    let stands = format!("volume '{}' stands on it", clone.display());
    assert!(error.to_string().ends_with(&stands), "{error}");
    known.0.lock().unwrap().clear();
    world.storage.open_backing(domain(1), &base, own).await.unwrap();
}

/// Whoever named a device by mistake has it still.
#[tokio::test]
async fn what_is_no_place_for_a_copy_is_left_where_it_is() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let fifo = world.pool("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let copy = CopyTarget {
        path: fifo.clone(),
        format: Format::Raw,
        size: gib(1),
        backing: None,
        layers: Vec::new(),
        reuse: false,
        locked: Vec::new(),
        seal: None,
    };
    let refused = world.storage.take_copy(domain(1), "web1", &copy).await.unwrap_err();
    assert!(refused.to_string().contains("is a FIFO, not a disk"), "{refused}");
    assert!(fifo.exists());
}

#[tokio::test]
async fn a_copy_may_stand_on_layers_that_the_guest_has_wherever_they_lie() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let outside = tempfile::tempdir().unwrap();
    let (base, middle) = (outside.path().join("base.qcow2"), outside.path().join("middle.qcow2"));
    qemu_img(&["create", "-q", "-f", "qcow2", text(&base), "8M"]);
    overlay(&middle, &base);
    let mut copy = CopyTarget {
        path: outside.path().join("copy.qcow2"),
        format: Format::Qcow2,
        size: lodge_model::Bytes(8 << 20),
        backing: Some((middle.clone(), Format::Qcow2)),
        layers: Vec::new(),
        reuse: false,
        locked: Vec::new(),
        seal: None,
    };
    let refused = world.storage.take_copy(domain(1), "web1", &copy).await.unwrap_err();
    assert!(refused.to_string().contains("outside of every pool"), "{refused}");
    assert!(!copy.path.exists());
    copy.layers = vec![middle.clone(), base.clone()];
    let files = world.storage.take_copy(domain(1), "web1", &copy).await.unwrap();
    let paths: Vec<_> = files.into_iter().map(|file| file.path).collect();
    assert_eq!(paths, [copy.path, middle, base]);
}

#[tokio::test]
async fn what_was_committed_goes_unless_something_needs_it() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, top) = chain(&world).await;
    let storage = &world.storage;
    let refused = async || storage.delete_layer(domain(1), &top).await.unwrap_err().to_string();
    assert!(refused().await.ends_with("domain 'web1' uses it"));
    storage.restack(domain(1), "web1", &[top.clone(), base.clone()], &disk(&base)).await.unwrap();
    let user = world.pool("user.qcow2");
    overlay(&user, &top);
    assert!(refused().await.ends_with("stands on it"));
    std::fs::remove_file(&user).unwrap();
    // Its own definition is on its way to the file below; what another's says counts, and its own snapshots do.
    storage.set_guests(guests(&[("web1", 1, &[&top])]));
    snapshot(&world, "web1", "s1", "external", &top);
    assert!(refused().await.ends_with("snapshot 's1' of domain 'web1' is kept in it"));
    std::fs::remove_dir_all(world.dir.path().join("var/lib/libvirt/qemu/snapshot")).unwrap();
    storage.delete_layer(domain(1), &top).await.unwrap();
    storage.delete_layer(domain(1), &top).await.unwrap();
    assert!(!top.exists() && base.exists());
}
