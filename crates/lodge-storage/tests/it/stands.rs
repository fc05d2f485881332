//! Nobody starts on a file that somebody else stands on.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lodge_faults::SilentDisk;
use lodge_model::Kind;
use lodge_storage::{DiskUse, FileUse, Format, GuestFiles, Part, StorageError};

use crate::world::{Fixed, World, can_run, disk, domain, gib, guest, guests, qemu_img, text};

async fn volume(world: &World, name: &str) -> PathBuf {
    world.storage.create_volume(name, Format::Qcow2, gib(1)).await.unwrap().path
}

fn overlay(below: &Path, path: &Path) {
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(below), "-F", "qcow2", text(path)]);
}

/// Why `web1` may not write to the file.
async fn refusal(world: &World, path: &Path) -> Option<String> {
    match world.storage.claim(domain(1), "web1", &[disk(path)]).await {
        Ok(_) => {
            world.storage.release(domain(1));
            None
        }
        Err(error @ StorageError::StoodOn { .. }) => {
            assert_eq!(error.kind(), Kind::Conflict);
            Some(error.to_string())
        }
        Err(error) => panic!("{error}"),
    }
}

fn told(path: &Path, why: &str) -> String {
    format!("`{}` is not written: {why}", path.display())
}

#[tokio::test]
async fn a_guest_does_not_write_what_another_guest_s_disk_stands_on() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let base = volume(&world, "base").await;
    let (mid, top) = (world.pool("mid.qcow2"), world.pool("top.qcow2"));
    overlay(&base, &mid);
    // Nobody names it.
    assert_eq!(refusal(&world, &base).await, None);
    overlay(&mid, &top);
    world.storage.set_guests(guests(&[("web1", 1, &[&base]), ("web2", 2, &[&top])]));
    let why = format!("`{}`, disk vda of domain 'web2', stands on it", top.display());
    for below in [&base, &mid] {
        assert_eq!(refusal(&world, below).await.unwrap(), told(below, &why));
    }
    let error = world.storage.claim(domain(1), "web1", &[disk(&base)]).await.unwrap_err();
    assert!(error.hint().unwrap().contains(&format!("lodge chain flatten {}", top.display())), "{error}");
    assert_eq!(world.storage.holder(&base).await.unwrap(), None);
    // Another name of the file is the same file.
    let alias = world.pool("alias.qcow2");
    fs::hard_link(&base, &alias).unwrap();
    assert_eq!(refusal(&world, &alias).await.unwrap(), told(&alias, &why));
    // Nor does it get it later.
    let own = volume(&world, "own").await;
    world.storage.claim(domain(1), "web1", &[disk(&own)]).await.unwrap();
    let error = world.storage.claim_more(domain(1), "web1", &[disk(&base)]).await.unwrap_err();
    assert!(matches!(error, StorageError::StoodOn { .. }), "{error}");
    // Together with others neither, but to read it.
    let shared = DiskUse { shareable: true, ..disk(&base) };
    let error = world.storage.claim_more(domain(1), "web1", &[shared]).await.unwrap_err();
    assert!(matches!(error, StorageError::StoodOn { .. }), "{error}");
    let read = DiskUse { read_only: true, ..disk(&base) };
    world.storage.claim_more(domain(1), "web1", &[read]).await.unwrap();
    world.storage.release(domain(1));
    // Whose it is writes to its own.
    world.storage.claim(domain(2), "web2", &[disk(&top)]).await.unwrap();
    world.storage.release(domain(2));
    world.storage.flatten(&top, None).await.unwrap();
    assert_eq!(refusal(&world, &base).await, None);
}

#[tokio::test]
async fn a_new_daemon_knows_it_too_and_hears_of_changes_by_hand() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, top) = (volume(&world, "base").await, world.pool("top.qcow2"));
    overlay(&base, &top);
    let known = || guests(&[("web2", 2, &[&top])]);
    world.storage.set_guests(known());
    assert!(refusal(&world, &base).await.is_some());
    let world = world.restarted().await;
    world.storage.set_guests(known());
    assert!(refusal(&world, &base).await.is_some());
    let other = volume(&world, "other").await;
    assert_eq!(refusal(&world, &other).await, None);
    qemu_img(&["rebase", "-u", "-b", text(&other), "-F", "qcow2", text(&top)]);
    assert_eq!(refusal(&world, &base).await, None);
    assert!(refusal(&world, &other).await.is_some());
    fs::remove_file(&top).unwrap();
    assert_eq!(refusal(&world, &other).await, None);
}

#[tokio::test]
async fn a_guest_s_own_chain_is_its_own() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, top) = (volume(&world, "base").await, world.pool("top.qcow2"));
    overlay(&base, &top);
    world.storage.set_guests(guests(&[("web1", 1, &[&top])]));
    snapshot(&world, "web1", &base, "external");
    assert_eq!(refusal(&world, &top).await, None);
    // As after a revert.
    assert_eq!(refusal(&world, &base).await, None);
}

fn snapshot(world: &World, guest: &str, path: &Path, how: &str) {
    let dir = world.dir.path().join("var/lib/libvirt/qemu/snapshot").join(guest);
    fs::create_dir_all(&dir).unwrap();
    let document = format!(
        "<domainsnapshot><name>s1</name><disks><disk name='vda' snapshot='{how}'/></disks>\
         <domain><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
         <source file='{}'/><target dev='vda'/></disk></devices></domain></domainsnapshot>",
        path.display()
    );
    fs::write(dir.join("s1.xml"), document).unwrap();
}

#[tokio::test]
async fn a_snapshot_of_another_guest_keeps_its_files() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, top) = (volume(&world, "base").await, world.pool("top.qcow2"));
    overlay(&base, &top);
    world.storage.set_guests(guests(&[("web2", 2, &[])]));
    // A guest that is gone needs nothing.
    snapshot(&world, "web3", &top, "external");
    assert_eq!(refusal(&world, &top).await, None);
    // What is inside stays inside, whoever writes to the file; what lies below does not.
    snapshot(&world, "web2", &top, "internal");
    assert_eq!(refusal(&world, &top).await, None);
    let why = format!("`{}`, of snapshot 's1' of domain 'web2', stands on it", top.display());
    assert_eq!(refusal(&world, &base).await.unwrap(), told(&base, &why));
    snapshot(&world, "web2", &top, "external");
    assert_eq!(
        refusal(&world, &top).await.unwrap(),
        told(&top, "snapshot 's1' of domain 'web2' is kept in it")
    );
    fs::remove_file(world.dir.path().join("var/lib/libvirt/qemu/snapshot/web2/s1.xml")).unwrap();
    assert_eq!(refusal(&world, &top).await, None);
    assert_eq!(refusal(&world, &base).await, None);
}

#[tokio::test]
async fn a_template_keeps_what_it_stands_on() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, top) = (volume(&world, "base").await, world.pool("top.qcow2"));
    overlay(&base, &top);
    world.storage.make_template(&top, Format::Qcow2).await.unwrap();
    let why = format!("the template `{}` stands on it", top.display());
    assert_eq!(refusal(&world, &base).await.unwrap(), told(&base, &why));
    world.storage.unmake_template(&top).await.unwrap();
    assert_eq!(refusal(&world, &base).await, None);
}

#[tokio::test]
async fn a_header_that_a_guest_wrote_into_its_raw_disk_holds_nothing() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, top) = (volume(&world, "base").await, world.pool("top.raw"));
    overlay(&base, &top);
    let raw = FileUse {
        path: top,
        part: Part::Disk("vda".to_owned()),
        format: Some("raw".to_owned()),
        writes: true,
        shareable: false,
    };
    let files = GuestFiles { files: [raw].into(), ..guest("web2", 2, &[]) };
    world.storage.set_guests(Arc::new(Fixed(Mutex::new(vec![files]))));
    assert_eq!(refusal(&world, &base).await, None);
}

#[tokio::test]
async fn a_directory_that_does_not_answer_delays_no_start() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, gone) = (volume(&world, "base").await, world.dir.path().join("gone"));
    fs::create_dir(&gone).unwrap();
    let top = gone.join("top.qcow2");
    overlay(&base, &top);
    let all = vec![guest("web2", 2, &[&top])];
    let known = Arc::new(Fixed(Mutex::new(all)));
    world.storage.set_guests(Arc::clone(&known) as Arc<dyn lodge_storage::Guests>);
    assert!(refusal(&world, &base).await.is_some());
    let Some(silent) = SilentDisk::over(&gone) else { return };
    // What was seen last counts, and only the first waits for it, a second.
    let began = Instant::now();
    for _ in 0..20 {
        assert!(refusal(&world, &base).await.is_some());
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(silent);
    assert!(refusal(&world, &base).await.is_some());
    // What was never seen is waited for once, and does not count.
    let world = world.restarted().await;
    world.storage.set_guests(known);
    let Some(silent) = SilentDisk::over(&gone) else { return };
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(refusal(&world, &base).await, None);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    drop(silent);
    let deadline = Instant::now() + Duration::from_secs(10);
    while refusal(&world, &base).await.is_none() {
        assert!(Instant::now() < deadline, "it is not looked at again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// All that is seen before is not looked at again, and yet each of these changes is known to who asks for another file.
#[tokio::test]
async fn what_is_changed_by_hand_is_known_whichever_file_is_asked_for() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (free, base, other) =
        (volume(&world, "free").await, volume(&world, "base").await, volume(&world, "other").await);
    let dir = world.dir.path().join("named");
    let (top, kept) = (dir.join("top.qcow2"), dir.join("kept"));
    type Change<'a> = (&'a str, &'a dyn Fn());
    let rebase = |file: &Path| {
        qemu_img(&["rebase", "-u", "-b", text(&other), "-F", "qcow2", text(file)]);
    };
    let alias = world.dir.path().join("alias");
    let changes: [Change<'_>; 7] = [
        ("written in its place", &|| rebase(&top)),
        ("written by another name of its directory", &|| {
            std::os::unix::fs::symlink(&dir, &alias).unwrap();
            rebase(&alias.join("top.qcow2"));
        }),
        ("another file over it", &|| {
            overlay(&other, &kept);
            fs::rename(&kept, &top).unwrap();
        }),
        ("gone and made anew", &|| {
            fs::remove_file(&top).unwrap();
            overlay(&other, &top);
        }),
        ("a link in its place", &|| {
            overlay(&other, &kept);
            fs::remove_file(&top).unwrap();
            std::os::unix::fs::symlink(&kept, &top).unwrap();
        }),
        ("another directory in the place of its own", &|| {
            let moved = dir.with_extension("moved");
            fs::rename(&dir, &moved).unwrap();
            fs::create_dir(&dir).unwrap();
            overlay(&other, &top);
        }),
        ("its directory gone for a while", &|| {
            let moved = dir.with_extension("moved");
            fs::rename(&dir, &moved).unwrap();
            rebase(&moved.join("top.qcow2"));
            fs::rename(&moved, &dir).unwrap();
        }),
    ];
    world.storage.set_guests(guests(&[("web2", 2, &[&top])]));
    for (what, change) in changes {
        fs::create_dir(&dir).unwrap();
        overlay(&base, &top);
        // Twice: seen, and known to be as it was seen.
        for _ in 0..2 {
            assert_eq!(refusal(&world, &other).await, None, "before: {what}");
            assert_eq!(refusal(&world, &free).await, None);
        }
        change();
        assert!(refusal(&world, &other).await.is_some(), "{what}");
        assert_eq!(refusal(&world, &base).await, None, "{what}");
        for left in [&dir, &dir.with_extension("moved")] {
            let _ = fs::remove_dir_all(left);
        }
        let _ = fs::remove_file(&alias);
    }
    // A file of two names, and one that a link leads to, are looked at each time.
    fs::create_dir(&dir).unwrap();
    overlay(&base, &kept);
    for by_link in [false, true] {
        if by_link {
            std::os::unix::fs::symlink(&kept, &top).unwrap();
        } else {
            fs::hard_link(&kept, &top).unwrap();
        }
        for (below, lone) in [(&base, &other), (&other, &base), (&base, &other)] {
            qemu_img(&["rebase", "-u", "-b", text(below), "-F", "qcow2", text(&kept)]);
            assert_eq!(refusal(&world, lone).await, None);
            assert!(refusal(&world, below).await.is_some());
        }
        fs::remove_file(&top).unwrap();
    }
}

/// A header that is gone without a word of the kernel's refuses nobody: who would be refused is looked at once more.
#[tokio::test]
async fn nobody_is_refused_by_what_is_not_there_any_more() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, top) = (volume(&world, "base").await, world.pool("top.qcow2"));
    overlay(&base, &top);
    world.storage.set_guests(guests(&[("web2", 2, &[&top])]));
    for _ in 0..2 {
        assert!(refusal(&world, &base).await.is_some());
    }
    nix::unistd::truncate(&top, 0).unwrap();
    assert_eq!(refusal(&world, &base).await, None);
}

/// What a start's question costs among so many guests. It is printed, not judged.
#[tokio::test]
async fn thousands_of_guests_are_no_burden() {
    if !can_run() {
        return;
    }
    for count in [1_000_u32, 10_000] {
        let world = World::new().await;
        world.base().await;
        let first = world.storage.clone_linked("base", "g0", None).await.unwrap().path;
        let bytes = fs::read(&first).unwrap();
        let path = |number: u32| world.pool(&format!("g{number}.qcow2"));
        for number in 1..count {
            // Its header, the rest a hole.
            let file = fs::File::create(path(number)).unwrap();
            file.write_all_at(&bytes[..4096], 0).unwrap();
            file.set_len(bytes.len() as u64).unwrap();
        }
        let all = (0..count).map(|number| guest(&format!("g{number}"), u128::from(number), &[&path(number)]));
        let lone = volume(&world, "lone").await;
        let mut cost = Vec::new();
        for round in 0..7 {
            if round == 1 {
                let all = all.clone().collect();
                world.storage.set_guests(Arc::new(Fixed(Mutex::new(all))));
            }
            let began = Instant::now();
            assert_eq!(refusal(&world, &lone).await, None);
            cost.push(began.elapsed());
        }
        eprintln!(
            "a claim beside {count} guests: {:?} beside none, {:?} at first, then {:?}",
            cost[0],
            cost[1],
            &cost[2..]
        );
    }
}
