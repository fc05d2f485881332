//! What outlives the daemon, and what a stuck guest does to others.

use std::time::{Duration, Instant};

use lodge_domain::{CreateOptions, DefineOptions, DestroyOptions, StartOptions, Ticket, UndefineOptions};
use lodge_model::Kind;
use lodge_sys::process::{Identity, Process};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Listener, World, has_qemu, state, tiny, until};

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_outlive_the_daemon_and_are_taken_over() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let defined = domains.define(&tiny("kept"), DefineOptions::default()).await.unwrap();
    defined.start(StartOptions::default(), Ticket::default()).await.unwrap();
    let brief = domains.create(&tiny("brief"), CreateOptions::default(), Ticket::default()).await.unwrap();
    brief.suspend().await.unwrap();
    let gone = domains.define(&tiny("gone"), DefineOptions::default()).await.unwrap();
    gone.start(StartOptions::default(), Ticket::default()).await.unwrap();
    let before = world.processes();
    let killed = gone.snapshot().vmm.clone().unwrap().process;
    domains.close(Duration::from_secs(5)).await;
    drop((defined, brief, gone));
    Process::hold(killed).unwrap().unwrap().kill().unwrap();
    until_dead(killed).await;

    let domains = world.open().await;
    let names: Vec<_> = domains.list().iter().map(|view| (view.name.to_string(), view.domid())).collect();
    assert_eq!(names, [("brief".into(), Some(2)), ("gone".into(), None), ("kept".into(), Some(1))]);
    assert_eq!(state(&domains.find("kept").unwrap()), "running (booted)");
    assert_eq!(state(&domains.find("2").unwrap()), "paused (user)");
    assert_eq!(state(&domains.find("gone").unwrap()), "shut off (crashed)");
    assert_eq!(world.processes().len(), before.len() - 1);
    let again = domains.find("gone").unwrap();
    again.start(StartOptions::default(), Ticket::default()).await.unwrap();
    assert_eq!(again.snapshot().domid(), Some(4), "numbers go on while guests live");
    domains.find("brief").unwrap().resume().await.unwrap();
    for name in ["kept", "brief", "gone"] {
        domains.find(name).unwrap().destroy(DestroyOptions::default()).await.unwrap();
    }
    assert_eq!(domains.list().len(), 2);
    assert!(world.processes().is_empty() && world.cgroups().is_empty());
}

async fn until_dead(identity: Identity) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while identity.alive() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_qemu_is_told_and_delays_nobody() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let mut listener = Listener::new(&domains);
    let stuck = domains.create(&tiny("stuck"), CreateOptions::default(), Ticket::default()).await.unwrap();
    let other = domains.create(&tiny("other"), CreateOptions::default(), Ticket::default()).await.unwrap();
    let pid = stuck.snapshot().vmm.clone().unwrap().process.pid;
    signal(pid, Signal::STOP);
    let waiting = {
        let stuck = stuck.clone();
        tokio::spawn(async move { stuck.suspend().await })
    };
    let begun = Instant::now();
    other.suspend().await.unwrap();
    other.resume().await.unwrap();
    assert_eq!(domains.list().len(), 2);
    assert!(begun.elapsed() < Duration::from_secs(1), "others were delayed");
    listener.wait_for("responding not_responding").await;
    assert!(stuck.snapshot().silent_for().unwrap() >= Duration::from_secs(1));
    // A new daemon takes it over as it is, without waiting for it.
    drop(waiting);
    domains.close(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_qemu_is_taken_over_and_answers_later() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.create(&tiny("stuck"), CreateOptions::default(), Ticket::default()).await.unwrap();
    let other = domains.create(&tiny("other"), CreateOptions::default(), Ticket::default()).await.unwrap();
    let pid = guest.snapshot().vmm.clone().unwrap().process.pid;
    domains.close(Duration::from_secs(5)).await;
    drop((guest, other));
    signal(pid, Signal::STOP);
    let domains = world.open().await;
    let guest = domains.find("stuck").unwrap();
    assert!(guest.snapshot().silent_since.is_some());
    assert!(guest.suspend().await.is_err());
    domains.find("other").unwrap().suspend().await.unwrap();
    signal(pid, Signal::CONT);
    until(&guest, "responding", |view| view.silent_since.is_none()).await;
    guest.suspend().await.unwrap();
    signal(pid, Signal::STOP);
    until(&guest, "silent", |view| view.silent_since.is_some()).await;
    // The plug can be pulled all the same.
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(domains.find("stuck").is_err());
    domains.find("other").unwrap().destroy(DestroyOptions::default()).await.unwrap();
    assert!(world.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_that_dies_is_noticed_at_once() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(&tiny("web1"), DefineOptions::default()).await.unwrap();
    let before = world.leavings();
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    let mut listener = Listener::new(&domains);
    signal(guest.snapshot().vmm.clone().unwrap().process.pid, Signal::KILL);
    listener.wait_for("stopped crashed").await;
    assert_eq!(state(&guest), "shut off (crashed)");
    // Only the dead QEMU's log is kept.
    std::fs::remove_file(world.root().logs().join("web1.log")).unwrap();
    assert_eq!(world.leavings(), before);
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    guest.destroy(DestroyOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_panics_begins_anew_and_the_guest_runs_on() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(&tiny("web1"), DefineOptions::default()).await.unwrap();
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    guest.suspend().await.unwrap();
    let process = guest.snapshot().vmm.clone().unwrap().process;
    world.fakes.fail(Some("storage_of panics"));
    let options = UndefineOptions { remove_all_storage: true, dry_run: true, ..UndefineOptions::default() };
    let error = guest.undefine(options).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    world.fakes.fail(None);
    assert_eq!(guest.undefine(options).await.unwrap().files.len(), 1);
    assert_eq!(state(&guest), "paused (user)");
    guest.resume().await.unwrap();
    assert_eq!(guest.snapshot().vmm.clone().unwrap().process, process);
    guest.destroy(DestroyOptions::default()).await.unwrap();
}
