//! Saved guests: whole or not at all, and back again.

use std::time::Duration;

use lodge_domain::{
    CreateOptions, DefineOptions, DestroyOptions, Handle, Progress, RestoreOptions, Resumption, SaveOptions,
    StartOptions, Ticket, UndefineOptions, chain,
};
use lodge_model::Kind;
use lodge_model::domain::lifecycle::State;
use tokio::sync::watch;

use crate::support::{Listener, World, has_qemu, state, tiny, tiny_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_saved_and_restored() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let before = world.leavings();
    let mut listener = Listener::new(&domains);
    let file = world.dir.path().join("web1.save");
    let others = world.dir.path().join("web1.save.part");
    std::fs::write(&others, "somebody's").unwrap();
    let document = tiny_with("web1", "<genid/>", "");
    let guest = domains.create(&document, CreateOptions::default(), Ticket::default()).await.unwrap();
    let id = guest.id();
    let generation = |guest: &Handle| guest.document().unwrap().genid.unwrap().uuid.unwrap();
    let first = generation(&guest);
    let (progress, told) = watch::channel(Progress::default());
    let ticket = Ticket { progress: Some(progress), ..Ticket::default() };
    guest.save(file.clone(), SaveOptions::default(), ticket).await.unwrap();
    assert_eq!(told.borrow().fraction, Some(1.0));
    assert_eq!(std::fs::read(&others).unwrap(), b"somebody's");
    listener.wait_for("stopped saved").await;
    assert!(domains.list().is_empty(), "a transient guest is in its file only");
    assert!(world.processes().is_empty());

    let paused = RestoreOptions { resumption: Resumption::Paused, ..RestoreOptions::default() };
    let guest = domains.restore(&file, paused, Ticket::default()).await.unwrap();
    assert_eq!((guest.id(), state(&guest).as_str()), (id, "paused (migrating)"));
    let again = domains.restore(&file, RestoreOptions::default(), Ticket::default()).await.unwrap_err();
    assert_eq!(again.kind(), Kind::InvalidState, "{}", chain(&again));
    let second = generation(&guest);
    guest.destroy(DestroyOptions::default()).await.unwrap();
    let guest = domains.restore(&file, RestoreOptions::default(), Ticket::default()).await.unwrap();
    assert_eq!(state(&guest), "running (restored)");
    let third = generation(&guest);
    assert!(first != second && second != third && first != third, "one past went on twice as one: {third}");
    let monitor = guest.monitor().unwrap();
    let told: serde_json::Value = monitor.execute("query-vm-generation-id", ()).await.unwrap();
    assert_eq!(told["guid"], third.as_str(), "{told}");
    listener.wait_for("started restored").await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_file(&others).unwrap();
    assert_eq!(world.leavings(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_managed_save_is_where_the_next_start_goes_on() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(&tiny("web1"), DefineOptions::default()).await.unwrap();
    let before = world.leavings();
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    guest.managed_save(SaveOptions::default(), Ticket::default()).await.unwrap();
    assert_eq!(state(&guest), "shut off (saved)");
    assert!(guest.snapshot().managed_save);
    let refused = guest.undefine(UndefineOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::InvalidState);
    // It is still known after the daemon's end.
    domains.close(Duration::from_secs(5)).await;
    drop(guest);
    let domains = world.open().await;
    let guest = domains.find("web1").unwrap();
    assert!(guest.snapshot().managed_save);
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    assert_eq!(state(&guest), "running (restored)");
    assert!(!guest.snapshot().managed_save);
    guest.managed_save(SaveOptions::default(), Ticket::default()).await.unwrap();
    guest
        .start(StartOptions { force_boot: true, ..StartOptions::default() }, Ticket::default())
        .await
        .unwrap();
    assert_eq!(state(&guest), "running (booted)");
    assert!(!guest.snapshot().managed_save);
    guest.managed_save(SaveOptions::default(), Ticket::default()).await.unwrap();
    guest.remove_managed_save().await.unwrap();
    assert_eq!(world.leavings(), before);
    let report = guest.undefine(UndefineOptions { managed_save: true, ..Default::default() }).await.unwrap();
    assert_eq!(report.files.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_that_fails_or_is_aborted_leaves_the_guest_running() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.create(&tiny("web1"), CreateOptions::default(), Ticket::default()).await.unwrap();
    let before = world.leavings();
    let nowhere = world.dir.path().join("no/such/dir/web1.save");
    let error = guest.save(nowhere, SaveOptions::default(), Ticket::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{}", chain(&error));
    let full = guest.save("/dev/full".into(), SaveOptions::default(), Ticket::default()).await.unwrap_err();
    assert_eq!(full.kind(), Kind::InvalidInput, "{}", chain(&full));
    let ticket = Ticket::default();
    ticket.cancel.cancel();
    let aborted =
        guest.save(world.dir.path().join("a.save"), SaveOptions::default(), ticket).await.unwrap_err();
    assert!(chain(&aborted).contains("aborted"), "{}", chain(&aborted));
    assert!(matches!(guest.snapshot().state, State::Running { .. }));
    assert_eq!(world.leavings(), before);
    let other = tiny("web1").replace("<memory unit='MiB'>16", "<memory unit='MiB'>32");
    let id = guest.id();
    let other = other.replace("<name>", &format!("<uuid>{id}</uuid><name>"));
    let options = SaveOptions { xml: Some(other), ..SaveOptions::default() };
    let error = guest.save(world.dir.path().join("a.save"), options, Ticket::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidInput, "{}", chain(&error));
    guest.suspend().await.unwrap();
    guest.resume().await.unwrap();
    guest.destroy(DestroyOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_saved_guest_is_refused() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let file = world.dir.path().join("x");
    let missing = domains.restore(&file, RestoreOptions::default(), Ticket::default()).await.unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound);
    std::fs::write(&file, b"not a saved guest").unwrap();
    let other = domains.restore(&file, RestoreOptions::default(), Ticket::default()).await.unwrap_err();
    assert!(chain(&other).contains("is not a saved guest"), "{}", chain(&other));
    assert!(domains.list().is_empty());
}
