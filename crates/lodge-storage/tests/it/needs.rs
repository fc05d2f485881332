//! The one question, and the acts that ask it.

use std::path::{Path, PathBuf};

use lodge_model::{Bytes, Kind};
use lodge_storage::{
    AfterCommit, Behalf, ChainError, Commit, Definitions, Format, Harm, PoolError, ResizeOptions,
    StorageError, WipeAlgorithm,
};

use crate::world::{World, can_run, disk, domain, gib, guests, qemu_img, run, text};

async fn needs(world: &World, path: &Path) -> Vec<String> {
    world.storage.who_needs(path).await.unwrap().iter().map(ToString::to_string).collect()
}

async fn volume(world: &World, name: &str) -> PathBuf {
    world.storage.create_volume(name, Format::Qcow2, Bytes(1 << 20)).await.unwrap().path
}

pub fn snapshot(world: &World, guest: &str, name: &str, how: &str, disk: &Path) {
    let dir = world.dir.path().join("var/lib/libvirt/qemu/snapshot").join(guest);
    std::fs::create_dir_all(&dir).unwrap();
    let text = format!(
        "<domainsnapshot><name>{name}</name><disks><disk name='vda' snapshot='{how}'/></disks>\
         <domain><devices><disk type='file' device='disk'><source file='{}'/><target dev='vda'/></disk></devices>\
         </domain></domainsnapshot>",
        disk.display()
    );
    std::fs::write(dir.join(format!("{name}.xml")), text).unwrap();
}

#[tokio::test]
async fn everybody_who_needs_a_file_is_named() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let image = world.base().await;
    let clone = world.storage.clone_linked("base", "web1", None).await.unwrap().path;
    let free = volume(&world, "free").await;
    let template = volume(&world, "template").await;
    world.storage.set_guests(guests(&[("web1", 1, &[&clone]), ("web2", 2, &[&clone])]));
    snapshot(&world, "web1", "s1", "internal", &clone);
    world.storage.make_template(&template, Format::Qcow2).await.unwrap();
    assert_eq!(needs(&world, &free).await, Vec::<String>::new());
    assert_eq!(needs(&world, &world.pool("none")).await, Vec::<String>::new());
    let stands = format!("volume '{}' stands on it", clone.display());
    assert_eq!(needs(&world, &image.path).await, ["it is the image 'base'", &stands]);
    assert_eq!(needs(&world, &template).await, ["it is a template"]);
    let of_clone = [
        "domain 'web1' has it as its disk vda",
        "domain 'web2' has it as its disk vda",
        "snapshot 's1' of domain 'web1' is kept in it",
    ];
    assert_eq!(needs(&world, &clone).await, of_clone);
    // By another name as well.
    let alias = world.pool("alias");
    std::os::unix::fs::symlink(&clone, &alias).unwrap();
    assert_eq!(needs(&world, &alias).await, of_clone);
    world.storage.claim(domain(1), "web1", &[disk(&clone)]).await.unwrap();
    assert_eq!(needs(&world, &clone).await[0], "domain 'web1' uses it");
    assert!(needs(&world, &image.path).await.contains(&"domain 'web1' uses it".to_owned()));
    let own = world.storage.who_else_needs(&clone, domain(1), &[]).await.unwrap();
    assert_eq!(own.len(), 1, "{own:?}");
}

#[tokio::test]
async fn snapshots_and_block_jobs_ask_the_same_question_as_all_else() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    // In a directory that is no pool.
    let dir = world.dir.path().join("elsewhere");
    std::fs::create_dir(&dir).unwrap();
    let (base, top, other) = (dir.join("base"), dir.join("top"), dir.join("other"));
    qemu_img(&["create", "-q", "-f", "qcow2", text(&base), "1M"]);
    for path in [&top, &other] {
        qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&base), "-F", "qcow2", text(path)]);
    }
    world.storage.set_guests(guests(&[("web1", 1, &[&top]), ("web2", 2, &[])]));
    snapshot(&world, "web1", "s1", "external", &base);
    let asked = async |number, going: &[PathBuf]| {
        let need = world.storage.needed_by(domain(number), &base, going).await.unwrap();
        need.map_or_else(|| "nobody".to_owned(), |need| need.to_string())
    };
    assert_eq!(asked(1, &[]).await, format!("volume '{}' stands on it", other.display()));
    assert_eq!(asked(1, &[top.clone(), other.clone()]).await, "nobody");
    assert_eq!(asked(2, &[top, other]).await, "snapshot 's1' of domain 'web1' is kept in it");
}

#[tokio::test]
async fn what_changed_on_the_host_is_seen_at_the_next_question() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, other) = (volume(&world, "base").await, volume(&world, "other").await);
    let top = world.pool("top.qcow2");
    assert_eq!(needs(&world, &base).await, Vec::<String>::new());
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&base), "-F", "qcow2", text(&top)]);
    assert_eq!(needs(&world, &base).await.len(), 1);
    qemu_img(&["rebase", "-u", "-f", "qcow2", "-b", text(&other), "-F", "qcow2", text(&top)]);
    assert_eq!((needs(&world, &base).await.len(), needs(&world, &other).await.len()), (0, 1));
    std::fs::remove_file(&top).unwrap();
    assert_eq!(needs(&world, &other).await.len(), 0);
}

#[tokio::test]
async fn no_act_on_a_volume_takes_bytes_from_who_needs_them() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let pools = world.pools().await;
    let pool = crate::pool::running(&pools, "p", &world.dir.path().join("p")).await;
    let path = |name: &str| world.dir.path().join("p").join(name);
    for name in ["own", "shared", "base", "kept"] {
        qemu_img(&["create", "-q", "-f", "qcow2", text(&path(name)), "1M"]);
    }
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&path("base")), "-F", "qcow2", text(&path("top"))]);
    world.storage.set_guests(guests(&[
        ("web1", 1, &[&path("own"), &path("shared"), &path("kept")]),
        ("web2", 2, &[&path("shared")]),
    ]));
    snapshot(&world, "web1", "s1", "external", &path("kept"));
    pools.refresh(&pool).await.unwrap();
    let shrink = ResizeOptions { shrink: true, ..ResizeOptions::default() };
    for (name, why) in [
        ("shared", "domain 'web1' has it as its disk vda".to_owned()),
        ("base", format!("volume '{}' stands on it", path("top").display())),
        ("kept", "snapshot 's1' of domain 'web1' is kept in it".to_owned()),
    ] {
        let refusals = [
            pools.delete_volume(&pool, name, false).await.unwrap_err(),
            pools.wipe_volume(&pool, name, WipeAlgorithm::Zero).await.unwrap_err(),
            pools.resize_volume(&pool, name, Bytes(1 << 19), shrink).await.unwrap_err(),
            pools.upload(&pool, name, lodge_storage::Span::default()).await.unwrap_err(),
        ];
        for error in refusals {
            assert_eq!(error.to_string(), format!("volume '{name}' is still in use: {why}"));
            assert!(matches!(error, PoolError::InUse { .. }) && error.hint().is_some());
        }
    }
    // A guest's own disk may be filled while it is off; who wants it gone is told of the guest.
    drop(pools.upload(&pool, "own", lodge_storage::Span::default()).await.unwrap());
    let refused =
        world.storage.refuse_harm(&path("own"), Harm::Destroy, Definitions::Count).await.unwrap_err();
    assert!(refused.hint().unwrap().contains("lodge undefine web1 --storage vda"), "{refused}");
    // libvirt's clients remove disks before the definition.
    pools.delete_volume(&pool, "own", false).await.unwrap();
    assert!(
        !path("own").exists() && path("shared").exists() && path("base").exists() && path("kept").exists()
    );
}

#[tokio::test]
async fn an_upload_loses_to_a_guest_that_starts() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let pools = world.pools().await;
    let pool = crate::pool::running(&pools, "p", &world.dir.path().join("p")).await;
    let path = world.dir.path().join("p/a.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", text(&path), "1M"]);
    pools.refresh(&pool).await.unwrap();
    let mut upload = pools.upload(&pool, "a.qcow2", lodge_storage::Span::default()).await.unwrap();
    world.storage.claim(domain(1), "web1", &[disk(&path)]).await.unwrap();
    let error = upload.write(vec![0; 512], 0).await.unwrap_err();
    assert!(error.to_string().ends_with("domain 'web1' uses it"), "{error}");
    world.storage.release(domain(1));
    crate::world::assert_clean(&path);
}

#[tokio::test]
async fn a_commit_that_somebody_would_notice_is_refused_and_names_who() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let storage = &world.storage;
    let base = volume(&world, "base").await;
    let (one, two) = (world.pool("one.qcow2"), world.pool("two.qcow2"));
    storage.overlay((&base, Format::Qcow2), &one, None).await.unwrap();
    storage.overlay((&base, Format::Qcow2), &two, None).await.unwrap();
    let mut wish = Commit { top: one.clone(), base: None, after: AfterCommit::Keep, behalf: None };
    let error = storage.commit(&wish).await.unwrap_err();
    let stands = format!("`{}` cannot be changed: volume '{}' stands on it", base.display(), two.display());
    assert_eq!((error.kind(), error.to_string()), (Kind::Conflict, stands));
    assert!(error.hint().unwrap().contains("lodge chain flatten"), "{error}");
    std::fs::remove_file(&two).unwrap();
    storage.set_guests(guests(&[("web1", 1, &[&one])]));
    snapshot(&world, "web1", "s1", "external", &base);
    assert!(matches!(storage.commit(&wish).await, Err(ChainError::Needed { .. })));
    // The snapshot's own deletion.
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 5 0 64k", text(&one)]);
    wish.behalf = Some(Behalf { guest: domain(1), snapshots: vec!["s1".to_owned()] });
    storage.commit(&wish).await.unwrap();
    assert!(crate::reader::content(&base, None)[..65536].iter().all(|byte| *byte == 5));
    assert!(storage.cut_commits().await.unwrap().is_empty());
    // A disk that a guest runs on is nobody's to merge.
    storage.claim(domain(1), "web1", &[disk(&one)]).await.unwrap();
    let error = storage.commit(&wish).await.unwrap_err();
    assert!(matches!(error, ChainError::Storage(StorageError::InUse { .. })), "{error}");
}

#[tokio::test]
async fn snapshots_inside_are_not_changed_from_below() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, top) = (volume(&world, "base").await, world.pool("top.qcow2"));
    world.storage.overlay((&base, Format::Qcow2), &top, None).await.unwrap();
    qemu_img(&["snapshot", "-c", "s1", text(&top)]);
    let wish = Commit { top: top.clone(), base: None, after: AfterCommit::Keep, behalf: None };
    assert!(matches!(world.storage.commit(&wish).await, Err(ChainError::SnapshotsInside { .. })));
    assert!(matches!(world.storage.flatten(&top, None).await, Err(ChainError::SnapshotsInside { .. })));
}

#[tokio::test]
async fn a_rebase_without_copying_needs_equal_bytes() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let storage = &world.storage;
    let (old, new, top) = (volume(&world, "old").await, volume(&world, "new").await, world.pool("top.qcow2"));
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 5 0 64k", text(&old)]);
    storage.overlay((&old, Format::Qcow2), &top, None).await.unwrap();
    let proven = lodge_storage::RebaseMode::Proven;
    let error = storage.rebase(&top, (&new, Format::Qcow2), proven).await.unwrap_err();
    assert!(matches!(error, ChainError::Differs { .. }), "{error}");
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 5 0 64k", text(&new)]);
    storage.rebase(&top, (&new, Format::Qcow2), proven).await.unwrap();
    assert_eq!(storage.chain(&top, Format::Qcow2).await.unwrap()[1].path, new);
    let error = storage.rebase(&new, (&top, Format::Qcow2), proven).await.unwrap_err();
    assert!(matches!(error, ChainError::Circle { .. }), "{error}");
}

#[tokio::test]
async fn a_template_is_written_by_nobody_and_goes_by_no_mistake() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let storage = &world.storage;
    let (path, clone) = (volume(&world, "a").await, world.pool("clone.qcow2"));
    storage.make_template(&path, Format::Qcow2).await.unwrap();
    storage.link_clone((&path, Format::Qcow2), &clone, Some(gib(1))).await.unwrap();
    let error = storage.claim(domain(1), "web1", &[disk(&path)]).await.unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` is a template, which is never written to", path.display()));
    let error = storage.delete_volume(domain(1), &path).await.unwrap_err();
    assert!(error.to_string().contains("stands on it"), "{error}");
    assert!(matches!(storage.unmake_template(&path).await, Err(ChainError::Needed { .. })));
    storage.delete_volume(domain(1), &clone).await.unwrap();
    assert!(
        storage.delete_volume(domain(1), &path).await.unwrap_err().to_string().contains("it is a template")
    );
    storage.unmake_template(&path).await.unwrap();
    storage.claim(domain(1), "web1", &[disk(&path)]).await.unwrap();
}

/// Ten thousand guests: the question stays cheap. What it took is printed, not judged.
#[tokio::test]
async fn ten_thousand_guests_are_no_burden() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let base = world.base().await;
    let first = world.storage.clone_linked("base", "g0", None).await.unwrap().path;
    let bytes = std::fs::read(&first).unwrap();
    let paths: Vec<PathBuf> = (0..10_000).map(|number| world.pool(&format!("g{number}.qcow2"))).collect();
    for path in &paths[1..] {
        // Its header, the rest a hole.
        let file = std::fs::File::create(path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes[..4096], 0).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
    }
    let names: Vec<String> = (0..10_000).map(|number| format!("g{number}")).collect();
    let disks: Vec<[&PathBuf; 1]> = paths.iter().map(|path| [path]).collect();
    let all: Vec<(&str, u128, &[&PathBuf])> = names
        .iter()
        .zip(&disks)
        .enumerate()
        .map(|(at, (name, disk))| (name.as_str(), at as u128, &disk[..]))
        .collect();
    world.storage.set_guests(guests(&all));
    for round in ["first", "second"] {
        let since = std::time::Instant::now();
        assert_eq!(world.storage.who_needs(&base.path).await.unwrap().len(), 10_001);
        eprintln!("{round} question among 10,000 guests: {} ms", since.elapsed().as_millis());
    }
    assert_eq!(needs(&world, &paths[9_999]).await, ["domain 'g9999' has it as its disk vda"]);
}
