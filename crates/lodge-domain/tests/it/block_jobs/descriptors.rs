//! What QEMU has open for writing: one descriptor of the guest's own file, and none of those below, whoever ended a job.

use std::path::Path;
use std::time::Duration;

use lodge_domain::block_job::commit::{CommitOptions, commit};
use lodge_domain::block_job::pull::{PullOptions, pull};
use lodge_domain::block_job::{abort, pivot};
use lodge_domain::{DestroyOptions, Domains, Handle, SnapshotCreateOptions, Ticket};
use lodge_qemu::qmp::{Commit, Monitor};
use serde_json::json;

use super::house::{self, House, refused};
use super::{active, slow};
use crate::support::{Listener, has_qemu, until};

const PATIENCE: Duration = Duration::from_secs(5);

/// What the descriptors of a layer's file are called, and the number of their set.
async fn descriptors(monitor: &Monitor, layer: u32) -> (u32, Vec<String>) {
    let storage = format!("libvirt-{layer}-storage");
    let nodes = monitor.block_nodes().await.unwrap();
    let node = nodes.into_iter().find(|node| node.node_name == storage).unwrap();
    let sets = monitor.fdsets().await.unwrap();
    let set = sets.into_iter().find(|set| node.file == format!("/dev/fdset/{}", set.fdset_id)).unwrap();
    (set.fdset_id, set.fds.into_iter().filter_map(|fd| fd.opaque).collect())
}

async fn modes(guest: &Handle, layer: u32) -> Vec<String> {
    descriptors(&guest.monitor().unwrap(), layer).await.1
}

/// How many descriptors the guest's QEMU has of a file.
fn open_of(guest: &Handle, path: &Path) -> usize {
    let pid = guest.snapshot().vmm.as_ref().unwrap().process.pid;
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    fds.filter(|fd| std::fs::read_link(fd.as_ref().unwrap().path()).is_ok_and(|file| file == path)).count()
}

async fn pivoted(guest: &Handle, events: &mut Listener) {
    events.wait_for("block_job vda active-commit ready").await;
    until(guest, "free", |snapshot| snapshot.job.is_none()).await;
    guest.change(pivot::pivot("vda".to_owned(), true)).await.unwrap();
    events.wait_for("block_job vda active-commit completed").await;
    until(guest, "free", |snapshot| snapshot.job.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_time_and_again_leave_one_descriptor_for_writing() {
    if !has_qemu() {
        return;
    }
    for raw in [true, false] {
        let house = if raw { House::on_raw(1) } else { House::new(1) };
        let domains = house.world.open().await;
        let guest = house.start(&domains).await;
        let mut events = Listener::new(&domains);
        let mut counts = Vec::new();
        for round in 0..5 {
            if round > 0 {
                let xml = format!("<domainsnapshot><name>s{round}</name></domainsnapshot>");
                let options =
                    SnapshotCreateOptions { disk_only: true, no_metadata: true, ..Default::default() };
                guest.create_snapshot(xml, options, Ticket::default()).await.unwrap();
            }
            guest.change(commit("vda".to_owned(), active())).await.unwrap();
            pivoted(&guest, &mut events).await;
            let modes = modes(&guest, 2).await;
            assert_eq!(modes.iter().filter(|mode| *mode == "rdwr").count(), 1, "round {round}: {modes:?}");
            counts.push(open_of(&guest, &house.layer(0)));
        }
        assert!(counts[1..].iter().all(|count| *count == counts[1]), "{counts:?}");
        house.wait_for_writes(20).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        assert_eq!(house::top_of(&guest), house.layer(0));
        house.has_all(0);
    }
}

/// As a daemon did that did not hold raw files: QEMU has both descriptors, and would find itself in its own way in the end.
async fn begun_by_an_earlier_daemon(house: &House, domains: Domains, top: u32) -> Monitor {
    let guest = house.start(&domains).await;
    let (id, monitor) = (guest.id(), guest.monitor().unwrap().as_ref().clone());
    let (set, before) = descriptors(&monitor, 3).await;
    assert_eq!(before, ["rdonly"]);
    let base = std::fs::OpenOptions::new().read(true).write(true).open(house.layer(0)).unwrap();
    let base = monitor.add_fd(set, "rdwr", base.into()).await.unwrap();
    let mut opened = vec![json!([3, { "set": set, "fd": base.fd }])];
    if top > 1 {
        let (set, _) = descriptors(&monitor, top - 1).await;
        opened.push(json!([top - 1, { "set": set, "fd": -1 }]));
    }
    let (node, lowest) = (format!("libvirt-{top}-format"), house.layer(0).display().to_string());
    let name = format!("commit-vda-{node}");
    let noted = json!([{
        "id": name, "target": "vda", "kind": if top == 1 { "ActiveCommit" } else { "Commit" }, "stage": "Running",
        "delete": false, "opened": opened, "copy": [], "held": false,
    }]);
    // QEMU talks to one daemon at a time.
    drop((guest, monitor));
    domains.close(PATIENCE).await;
    std::fs::write(house.run_of(id).join("block-jobs.json"), noted.to_string()).unwrap();
    let socket = house.run_of(id).join("monitor.sock");
    let monitor = Monitor::connect(&socket, PATIENCE).await.unwrap();
    let begun = Commit {
        job: &name,
        device: "libvirt-1-format",
        base: "libvirt-3-format",
        top: &node,
        backing_file: (top > 1).then_some(lowest.as_str()),
        speed: 64 << 10,
    };
    monitor.block_commit(&begun).await.unwrap();
    monitor
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_into_a_raw_file_that_an_earlier_daemon_began_ends_well_under_the_next() {
    if !has_qemu() {
        return;
    }
    for (top, aborts) in [(1, false), (1, true), (2, false), (2, true)] {
        let house = House::on_raw(2);
        let domains = house.world.open().await;
        let monitor = begun_by_an_earlier_daemon(&house, domains, top).await;
        drop(monitor);
        let domains = house.world.open().await;
        let guest = domains.find("web1").unwrap();
        until(&guest, "free", |snapshot| snapshot.job.is_none()).await;
        let mut events = Listener::new(&domains);
        assert_eq!(modes(&guest, 3).await, ["rdwr"], "top {top}");
        let kind = if top == 1 { "active-commit" } else { "commit" };
        if aborts {
            guest.change(abort::abort("vda".to_owned(), true)).await.unwrap();
            events.wait_for(&format!("block_job vda {kind} canceled")).await;
        } else {
            let name = format!("commit-vda-libvirt-{top}-format");
            guest.monitor().unwrap().set_block_job_speed(&name, 0).await.unwrap();
            if top == 1 {
                house::wait_until_ready(&guest).await;
                until(&guest, "free", |snapshot| snapshot.job.is_none()).await;
                guest.change(pivot::pivot("vda".to_owned(), true)).await.unwrap();
            }
            events.wait_for(&format!("block_job vda {kind} completed")).await;
        }
        until(&guest, "free", |snapshot| snapshot.job.is_none()).await;
        let is_own = top == 1 && !aborts;
        assert_eq!(modes(&guest, 3).await, if is_own { ["rdwr"] } else { ["rdonly"] }, "top {top}");
        house.wait_for_writes(20).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        house.has_all(if is_own { 0 } else { 2 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_file_that_could_not_be_given_back_is_given_back_by_the_next_chance() {
    if !has_qemu() {
        return;
    }
    for anew in [false, true] {
        let house = House::on_raw(2);
        let mut domains = house.world.open().await;
        let mut guest = house.start(&domains).await;
        let mut events = Listener::new(&domains);
        guest.change(commit("vda".to_owned(), slow(active()))).await.unwrap();
        let (base, away) = (house.layer(0), house.world.dir.path().join("away"));
        std::fs::rename(&base, &away).unwrap();
        guest.change(abort::abort("vda".to_owned(), true)).await.unwrap();
        events.wait_for("block_job vda active-commit canceled").await;
        assert_eq!(modes(&guest, 3).await, ["rdwr"]);
        // Another file in its place is not what QEMU is given.
        std::fs::copy(&away, &base).unwrap();
        let another = format!("'{}' is another file than the one that the guest runs on", base.display());
        assert_eq!(refused(&guest, commit("vda".to_owned(), active())).await, another);
        assert_eq!(modes(&guest, 3).await, ["rdwr"]);
        std::fs::rename(&away, &base).unwrap();
        if anew {
            drop(guest);
            domains.close(PATIENCE).await;
            domains = house.world.open().await;
            guest = domains.find("web1").unwrap();
        } else {
            let options = PullOptions { base: Some(base.display().to_string()), ..PullOptions::default() };
            guest.change(pull("vda".to_owned(), options)).await.unwrap();
            events.wait_for("block_job vda pull completed").await;
        }
        until(&guest, "free", |snapshot| snapshot.job.is_none()).await;
        assert_eq!(modes(&guest, 3).await, ["rdonly"]);
        house.wait_for_writes(20).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        house.has_all(2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_one_took_the_place_of_is_not_committed_into() {
    if !has_qemu() {
        return;
    }
    for raw in [true, false] {
        let house = if raw { House::on_raw(2) } else { House::new(2) };
        let domains = house.world.open().await;
        let guest = house.start(&domains).await;
        let (base, copy) = (house.layer(0), house.world.dir.path().join("copy"));
        std::fs::copy(&base, &copy).unwrap();
        std::fs::rename(&copy, &base).unwrap();
        let before = std::fs::read(&base).unwrap();
        let middle =
            CommitOptions { top: Some(house.layer(1).display().to_string()), ..CommitOptions::default() };
        let another = format!("'{}' is another file than the one that the guest runs on", base.display());
        for options in [active(), middle] {
            assert_eq!(refused(&guest, commit("vda".to_owned(), options)).await, another);
        }
        assert_eq!(guest.block_job("vda").await.unwrap(), None);
        assert_eq!(modes(&guest, 3).await, ["rdonly"]);
        house.wait_for_writes(20).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        assert!(std::fs::read(&base).unwrap() == before, "it was written");
    }
}

/// QEMU before 10 lets go of a descriptor only while the processors run, and would be in its own way.
#[tokio::test(flavor = "multi_thread")]
async fn a_raw_file_takes_a_commit_of_a_guest_that_stands_still_or_it_is_told_why_not() {
    if !has_qemu() {
        return;
    }
    let house = House::on_raw(1);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    let mut events = Listener::new(&domains);
    let lets_go = guest.monitor().unwrap().version().await.unwrap().qemu.at_least(10, 0);
    guest.suspend().await.unwrap();
    if lets_go {
        guest.change(commit("vda".to_owned(), active())).await.unwrap();
    } else {
        let why = refused(&guest, commit("vda".to_owned(), active())).await;
        assert!(why.ends_with("only while the guest runs: resume it first"), "{why}");
        assert_eq!(modes(&guest, 2).await, ["rdonly"]);
        guest.resume().await.unwrap();
        guest.change(commit("vda".to_owned(), active())).await.unwrap();
        guest.suspend().await.unwrap();
    }
    events.wait_for("block_job vda active-commit ready").await;
    guest.change(abort::abort("vda".to_owned(), true)).await.unwrap();
    guest.resume().await.unwrap();
    house.wait_for_writes(10).await;
    guest.change(commit("vda".to_owned(), active())).await.unwrap();
    pivoted(&guest, &mut events).await;
    house.wait_for_writes(10).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    house.has_all(0);
}
