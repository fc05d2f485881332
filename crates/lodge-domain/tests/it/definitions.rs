//! Definitions: names, UUIDs, hand edits, and what an undefine takes along.

use std::time::{Duration, Instant};

use lodge_domain::{
    CreateOptions, DefineOptions, DestroyOptions, StartOptions, Ticket, UndefineOptions, XmlOptions, chain,
};
use lodge_model::Kind;

use crate::support::{Listener, World, has_qemu, state, tiny, tiny_with};

#[tokio::test(flavor = "multi_thread")]
async fn names_and_uuids_go_together_for_ever() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let one = domains.define(&tiny("one"), DefineOptions::default()).await.unwrap();
    let id = one.id();
    let taken = domains.define(&tiny("one"), DefineOptions::default()).await.unwrap_err();
    assert_eq!(
        (taken.kind(), taken.to_string()),
        (Kind::Exists, format!("domain `one` already exists with uuid {id}"))
    );
    let uuid = format!("<uuid>{id}</uuid>");
    let renamed = domains.define(&tiny_with("two", &uuid, ""), DefineOptions::default()).await.unwrap_err();
    assert_eq!(renamed.kind(), Kind::Exists);
    domains
        .define(&tiny_with("one", &format!("{uuid}<title>new</title>"), ""), DefineOptions::default())
        .await
        .unwrap();
    assert_eq!(one.snapshot().summary.title.as_deref(), Some("new"));
    let faulty = domains
        .define("<domain type='qemu'><name>x</name><memory>", DefineOptions::default())
        .await
        .unwrap_err();
    assert_eq!(faulty.kind(), Kind::InvalidInput);
    assert!(faulty.to_string().contains("line 1"), "{faulty}");
    assert_eq!(domains.list().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_clients_define_the_same_new_name_and_one_wins() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let domains = domains.clone();
            tokio::spawn(async move { domains.define(&tiny("same"), DefineOptions::default()).await.is_ok() })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.unwrap());
    }
    assert_eq!((won, domains.list().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redefinition_of_a_running_guest_is_for_the_next_boot() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(&tiny("web1"), DefineOptions::default()).await.unwrap();
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    let xml = tiny_with("web1", &format!("<uuid>{}</uuid><title>next</title>", guest.id()), "");
    domains.define(&xml, DefineOptions::default()).await.unwrap();
    assert!(guest.snapshot().changed);
    assert!(!guest.xml(XmlOptions::default()).await.unwrap().contains("<title>"));
    let inactive = XmlOptions { inactive: true, ..XmlOptions::default() };
    assert!(guest.xml(inactive).await.unwrap().contains("<title>next</title>"));
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(!guest.snapshot().changed);
    assert!(guest.xml(XmlOptions::default()).await.unwrap().contains("<title>next</title>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hand_edits_are_taken_in_or_told_and_never_lost() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let mut listener = Listener::new(&domains);
    let guest = domains.define(&tiny("web1"), DefineOptions::default()).await.unwrap();
    let path = world.root().domains().join("web1.xml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("<memory", "<title>by hand</title>\n  <memory")).unwrap();
    assert!(guest.xml(XmlOptions::default()).await.unwrap().contains("<title>by hand</title>"));
    listener.wait_for("defined updated").await;
    std::fs::write(&path, text.replace("</name>", "</nme>")).unwrap();
    let error = guest.start(StartOptions::default(), Ticket::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidInput);
    assert!(error.to_string().contains("web1.xml") && error.to_string().contains("line"), "{error}");
    assert!(guest.snapshot().bad_edit.is_some());
    assert!(std::fs::read_to_string(&path).unwrap().contains("</nme>"), "it is not overwritten");
    assert_eq!(state(&guest), "shut off (failed)");
    std::fs::write(&path, &text).unwrap();
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    assert!(guest.snapshot().bad_edit.is_none());
    guest.destroy(DestroyOptions::default()).await.unwrap();
    std::fs::write(&path, text.replace("<memory", "<title>unseen</title>\n  <memory")).unwrap();
    domains
        .define(&tiny_with("web1", &format!("<uuid>{}</uuid>", guest.id()), ""), DefineOptions::default())
        .await
        .unwrap();
    assert!(std::fs::read_to_string(path.with_extension("xml.edited")).unwrap().contains("unseen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undefine_lists_and_takes_what_was_asked_for() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let before = world.leavings();
    let disk = world.dir.path().join("disk.raw");
    std::fs::write(&disk, b"x").unwrap();
    let disks = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>\
         <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/outside/b.raw'/><target dev='vdb' bus='virtio'/></disk>",
        disk.display()
    );
    let guest = domains.define(&tiny_with("web1", "", &disks), DefineOptions::default()).await.unwrap();
    guest.set_autostart(true).await.unwrap();
    assert!(guest.snapshot().autostart);
    let all = UndefineOptions { remove_all_storage: true, ..UndefineOptions::default() };
    let dry = guest.undefine(UndefineOptions { dry_run: true, ..all }).await.unwrap();
    let what: Vec<_> = dry.files.iter().map(|file| file.what.as_str()).collect();
    assert_eq!(what, ["definition", "autostart mark", "disk vda"]);
    assert_eq!(dry.kept[0].why, "it is in no pool");
    assert!(dry.files.iter().all(|file| file.path.symlink_metadata().is_ok()), "a dry run removes nothing");
    let done = guest.undefine(all).await.unwrap();
    assert_eq!(done, dry);
    assert!(dry.files.iter().all(|file| file.path.symlink_metadata().is_err()));
    assert_eq!(world.leavings(), before);
    assert_eq!(guest.undefine(all).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undefined_running_guest_becomes_transient_also_for_the_next_daemon() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(&tiny("web1"), DefineOptions::default()).await.unwrap();
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    guest.undefine(UndefineOptions::default()).await.unwrap();
    assert!(guest.snapshot().is_active() && !guest.snapshot().persistent);
    assert_eq!(guest.set_autostart(true).await.unwrap_err().kind(), Kind::InvalidState);
    domains.close(Duration::from_secs(5)).await;
    drop(guest);
    let domains = world.open().await;
    let guest = domains.find("web1").unwrap();
    assert!(guest.snapshot().is_active() && !guest.snapshot().persistent);
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(domains.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_that_dies_at_once_says_its_last_words() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let before = world.leavings();
    let xml = tiny("web1")
        .replace(
            "<domain type='qemu'>",
            "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>",
        )
        .replace("</domain>", "<qemu:commandline><qemu:arg value='-bogus'/></qemu:commandline></domain>");
    let begun = Instant::now();
    let error = domains.create(&xml, CreateOptions::default(), Ticket::default()).await.unwrap_err();
    assert!(chain(&error).contains("-bogus: invalid option"), "{}", chain(&error));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(domains.list().is_empty());
    assert_eq!(world.leavings(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_root_is_refused() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let _domains = world.open().await;
    let error = lodge_store::Store::open(&world.root()).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
}
