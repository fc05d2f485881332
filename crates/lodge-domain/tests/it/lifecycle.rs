//! What each verb does, and what it leaves.

use lodge_domain::{
    CreateOptions, DefineOptions, DestroyOptions, StartOptions, Ticket, UndefineOptions, chain,
};
use lodge_model::Kind;

use crate::support::{Listener, World, has_qemu, state, tiny};

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_defined_started_held_and_destroyed() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let before = world.leavings();
    let mut listener = Listener::new(&domains);
    let guest = domains.define(&tiny("web1"), DefineOptions::default()).await.unwrap();
    assert_eq!(state(&guest), "shut off (unknown)");
    let defined = world.leavings();
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    assert_eq!(state(&guest), "running (booted)");
    let view = guest.snapshot();
    assert_eq!(view.domid(), Some(1));
    assert_eq!(world.processes().len(), 1);
    let again = guest.start(StartOptions::default(), Ticket::default()).await.unwrap_err();
    assert_eq!(again.kind(), Kind::InvalidState);
    guest.suspend().await.unwrap();
    guest.suspend().await.unwrap();
    assert_eq!(state(&guest), "paused (user)");
    guest.resume().await.unwrap();
    assert_eq!(state(&guest), "running (unpaused)");
    guest.reset().await.unwrap();
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert_eq!(state(&guest), "shut off (destroyed)");
    assert_eq!(world.leavings(), defined);
    guest.start(StartOptions { paused: true, ..StartOptions::default() }, Ticket::default()).await.unwrap();
    assert_eq!(state(&guest), "paused (user)");
    assert_eq!(guest.snapshot().domid(), Some(2));
    guest.destroy(DestroyOptions { graceful: true }).await.unwrap();
    let report = guest.undefine(UndefineOptions::default()).await.unwrap();
    assert_eq!(report.files.len(), 1);
    assert_eq!(world.leavings(), before);
    assert!(domains.list().is_empty());
    let seen = listener.seen();
    let wanted = [
        "defined added",
        "started booted",
        "suspended paused",
        "resumed unpaused",
        "stopped destroyed",
        "started booted",
        "suspended paused",
        "stopped destroyed",
        "undefined removed",
    ];
    assert_eq!(seen.iter().filter(|event| *event != "reboot ").collect::<Vec<_>>(), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_guest_vanishes_when_it_stops() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let before = world.leavings();
    let guest = domains.create(&tiny("brief"), CreateOptions::default(), Ticket::default()).await.unwrap();
    assert!(!guest.snapshot().persistent);
    assert_eq!(domains.list().len(), 1);
    let taken =
        domains.create(&tiny("brief"), CreateOptions::default(), Ticket::default()).await.unwrap_err();
    assert_eq!(taken.kind(), Kind::Exists, "{}", chain(&taken));
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(domains.list().is_empty());
    assert_eq!(guest.suspend().await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(world.leavings(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_leaves_nothing_and_says_why() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(&tiny("web1"), DefineOptions::default()).await.unwrap();
    let before = world.leavings();
    for part in ["claim", "attach", "write seed"] {
        world.fakes.fail(Some(part));
        let error = guest.start(StartOptions::default(), Ticket::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(chain(&error), format!("domain `web1` did not start: {part} was made to fail"));
        assert_eq!(error.hint().unwrap(), "mend it");
        assert_eq!(state(&guest), "shut off (failed)");
        assert_eq!(world.leavings(), before, "after {part}");
    }
    world.fakes.fail(None);
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert_eq!(world.leavings(), before);
}
