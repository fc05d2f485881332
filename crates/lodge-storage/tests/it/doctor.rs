//! What the doctor finds, what it mends, and disks that were moved by hand.

use std::path::{Path, PathBuf};

use lodge_model::Bytes;
use lodge_storage::{DoctorOptions, Finding, FindingKind, Format, Pools};

use crate::world::{World, assert_clean, can_run, domain, guests, qemu_img, text};

async fn volume(world: &World, name: &str) -> PathBuf {
    world.storage.create_volume(name, Format::Qcow2, Bytes(1 << 20)).await.unwrap().path
}

async fn found(pools: &Pools, deep: bool) -> Vec<Finding> {
    pools.doctor(DoctorOptions { deep }).await.unwrap()
}

fn of<'a>(found: &'a [Finding], kind: FindingKind, path: &Path) -> &'a Finding {
    let one = found.iter().find(|finding| finding.kind == kind && finding.path == path);
    one.unwrap_or_else(|| panic!("no {kind} at {}: {found:#?}", path.display()))
}

#[tokio::test]
async fn a_sound_storage_has_no_findings() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    world.base().await;
    let clone = world.storage.clone_linked("base", "web1", None).await.unwrap().path;
    world.storage.set_guests(guests(&[("web1", 1, &[&clone])]));
    let pools = world.pools().await;
    assert_eq!(found(&pools, true).await, []);
}

#[tokio::test]
async fn each_fault_is_named_with_its_reason() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let pools = world.pools().await;
    let make = async |name: &str| volume(&world, name).await;
    let (orphan, top, one, two, shared, raw) = (
        make("orphan").await,
        make("top").await,
        make("one").await,
        make("two").await,
        make("shared").await,
        make("raw").await,
    );
    let on = |overlay: &Path, base: &str| {
        qemu_img(&["rebase", "-u", "-f", "qcow2", "-b", base, "-F", "qcow2", text(overlay)]);
    };
    on(&top, "gone.qcow2");
    on(&one, "two.qcow2");
    on(&two, "one.qcow2");
    std::fs::write(&raw, vec![0; 1 << 20]).unwrap();
    let missing = world.pool("missing.qcow2");
    world.storage.set_guests(guests(&[
        ("web1", 1, &[&top, &one, &shared, &raw, &missing]),
        ("web2", 2, &[&two, &shared]),
    ]));
    let left = world.pool(".lodge-tmp.disk.1.1");
    std::fs::write(&left, "x").unwrap();
    let snapshots = world.dir.path().join("var/lib/libvirt/qemu/snapshot/nobody");
    std::fs::create_dir_all(&snapshots).unwrap();
    std::fs::write(snapshots.join("s.xml"), "<domainsnapshot><name>s</name></domainsnapshot>").unwrap();
    let seen = found(&pools, false).await;
    for (kind, path) in [
        (FindingKind::Orphan, &orphan),
        (FindingKind::BackingMissing, &top),
        (FindingKind::Circle, &one),
        (FindingKind::Circle, &two),
        (FindingKind::TwoWriters, &shared),
        (FindingKind::WrongFormat, &raw),
        (FindingKind::FileMissing, &missing),
        (FindingKind::Leftover, &left),
        (FindingKind::SnapshotOfNobody, &snapshots.join("s.xml")),
    ] {
        of(&seen, kind, path);
    }
    assert!(of(&seen, FindingKind::TwoWriters, &shared).why.contains("'web1' and 'web2' both write"));
    assert!(of(&seen, FindingKind::BackingMissing, &top).why.contains("gone.qcow2"));
    // The same at the next look, ids included.
    assert_eq!(found(&pools, false).await, seen);
    // What is not safe is not done.
    let id = of(&seen, FindingKind::Orphan, &orphan).id.clone();
    assert!(!pools.repair(&id, false).await.unwrap().unwrap().is_safe && orphan.exists());
    let id = of(&seen, FindingKind::Leftover, &left).id.clone();
    pools.repair(&id, true).await.unwrap().unwrap();
    assert!(left.exists());
    pools.repair(&id, false).await.unwrap().unwrap();
    assert!(!left.exists());
    assert_eq!(pools.repair(&id, false).await.unwrap(), None);
}

#[tokio::test]
async fn lost_clusters_are_found_and_given_back() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let pools = world.pools().await;
    let path = volume(&world, "a").await;
    // A cluster that is counted as used and that no table names: the refcount of one past the end.
    let mut bytes = std::fs::read(&path).unwrap();
    let table = u64::from_be_bytes(bytes[48..56].try_into().unwrap()) as usize;
    let block = u64::from_be_bytes(bytes[table..table + 8].try_into().unwrap()) as usize;
    let clusters = bytes.len().div_ceil(65536);
    bytes[block + 2 * clusters + 1] = 1;
    bytes.resize((clusters + 1) * 65536, 0);
    std::fs::write(&path, bytes).unwrap();
    let seen = found(&pools, true).await;
    let id = of(&seen, FindingKind::LeakedClusters, &path).id.clone();
    assert!(found(&pools, false).await.iter().all(|finding| finding.kind != FindingKind::LeakedClusters));
    pools.repair(&id, false).await.unwrap().unwrap();
    assert_clean(&path);
}

#[tokio::test]
async fn a_disk_that_was_moved_is_found_and_never_followed() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let pools = world.pools().await;
    let (moved, copied) = (volume(&world, "moved").await, volume(&world, "copied").await);
    crate::world::run("qemu-io", &["-f", "qcow2", "-c", "write -P 3 0 64k", text(&moved)]);
    crate::world::run("qemu-io", &["-f", "qcow2", "-c", "write -P 4 0 64k", text(&copied)]);
    world.storage.set_guests(guests(&[("web1", 1, &[&moved]), ("web2", 2, &[&copied])]));
    world.storage.note_disks().await.unwrap();
    let (there, copy) = (world.pool("there.qcow2"), world.pool("copy.qcow2"));
    std::fs::rename(&moved, &there).unwrap();
    std::fs::copy(&copied, &copy).unwrap();
    std::fs::remove_file(&copied).unwrap();
    let seen = found(&pools, false).await;
    let of_moved = of(&seen, FindingKind::Moved, &moved);
    assert!(of_moved.why.ends_with(&format!("`{}` is it", there.display())), "{of_moved:?}");
    assert!(of_moved.repair.ends_with("lodge files web1 --relocate"));
    assert!(of(&seen, FindingKind::Moved, &copied).why.contains("seems to be it"));
    // The guest's disk is nobody's by name only; nobody is told to delete it.
    assert!(!seen.iter().any(|finding| finding.kind == FindingKind::Orphan && finding.path == there));
    let disks = world.storage.moved_disks(domain(1)).await.unwrap();
    assert_eq!((disks[0].to.as_path(), disks[0].is_same_file), (there.as_path(), true));
    let disks = world.storage.moved_disks(domain(2)).await.unwrap();
    assert_eq!((disks[0].to.as_path(), disks[0].is_same_file), (copy.as_path(), false));
    // What is put back is where it belongs.
    std::fs::rename(&there, &moved).unwrap();
    std::fs::rename(&copy, &copied).unwrap();
    assert!(world.storage.moved_disks(domain(1)).await.unwrap().is_empty());
}

/// Of a layer that was moved only its name tells, and whoever follows the doctor is not to lose it.
#[tokio::test]
async fn nobody_is_told_to_delete_what_has_the_name_of_a_missing_layer() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let pools = world.pools().await;
    let (base, top) = (volume(&world, "base").await, volume(&world, "top").await);
    let before = world.dir.path().join("before").join(base.file_name().unwrap());
    qemu_img(&["rebase", "-u", "-f", "qcow2", "-b", text(&before), "-F", "qcow2", text(&top)]);
    world.storage.set_guests(guests(&[("web1", 1, &[&top])]));
    let seen = found(&pools, false).await;
    of(&seen, FindingKind::BackingMissing, &top);
    let orphan = of(&seen, FindingKind::Orphan, &base);
    assert_eq!(orphan.repair, format!("if it was: mv -n {} {}", base.display(), before.display()));
}

#[tokio::test]
async fn a_disk_that_became_another_file_is_told_until_it_is_meant() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let pools = world.pools().await;
    let path = volume(&world, "a").await;
    world.storage.set_guests(guests(&[("web1", 1, &[&path])]));
    world.storage.note_disks().await.unwrap();
    let other = volume(&world, "b").await;
    crate::world::run("qemu-io", &["-f", "qcow2", "-c", "write -P 3 0 64k", text(&other)]);
    std::fs::rename(&other, &path).unwrap();
    of(&found(&pools, false).await, FindingKind::Replaced, &path);
    world.storage.note_disks_of(Some(domain(1))).await.unwrap();
    assert_eq!(found(&pools, false).await, []);
}

#[tokio::test]
async fn every_file_of_a_guest_is_listed_with_its_sizes() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let image = world.base().await;
    let one = world.storage.clone_linked("base", "web1", None).await.unwrap().path;
    let two = world.storage.clone_linked("base", "web2", None).await.unwrap().path;
    world.storage.set_guests(guests(&[("web1", 1, &[&one]), ("web2", 2, &[&two])]));
    let files = world.storage.files_of(domain(1)).await.unwrap();
    let shown: Vec<_> = files.iter().map(|file| (file.path.as_path(), file.what.as_str())).collect();
    assert_eq!(shown, [(one.as_path(), "disk vda"), (&image.path, "backing file of disk vda")]);
    assert_eq!(files[0].guest_bytes, Some(1 << 30));
    assert!(files[0].host_bytes < 1 << 20 && files[1].host_bytes > 1 << 20);
    let others: Vec<_> = files[1].shared_with.iter().map(ToString::to_string).collect();
    assert_eq!(others, ["it is the image 'base'", &format!("volume '{}' stands on it", two.display())]);
    assert!(files[0].shared_with.is_empty());
    // What a snapshot made and a revert removed is missed by nobody.
    crate::needs::snapshot(&world, "web1", "s", "external", &one);
    let known = world.dir.path().join("var/lib/libvirt/qemu/snapshot/web1/s.xml");
    let text = std::fs::read_to_string(&known).unwrap();
    let text = text.replace("snapshot='external'/>", "snapshot='external'><source file='/gone'/></disk>");
    std::fs::write(&known, text).unwrap();
    let files = world.storage.files_of(domain(1)).await.unwrap();
    let shown: Vec<_> = files.iter().map(|file| file.path.as_path()).collect();
    assert_eq!(shown, [one.as_path(), &image.path, &known]);
}
