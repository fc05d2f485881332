//! The host's disks fail amid a block job: full, or dead. The job fails with the cause and the place, the guest goes on
//! on the files it was on, and sees every byte.

use std::time::{Duration, Instant};

use lodge_domain::block_job::abort::abort;
use lodge_domain::block_job::commit::commit;
use lodge_domain::block_job::copy::{CopyOptions, Destination, copy};
use lodge_domain::block_job::pivot::pivot;
use lodge_domain::control::Change;
use lodge_domain::{DestroyOptions, Domains, Handle};
use lodge_faults::{DyingDisk, SlowDisk, SmallDisk};

use super::active;
use super::house::{self, House, WINDOW, is_clean, refused, text_of, wait_until_ready};
use crate::support::{Listener, has_qemu, state, until};

const MIB: u64 = 1 << 20;
const EIO: &str = "Input/output error";

/// A job on three overlays, what it is called in events, and the file it fills.
fn job(house: &House, round: usize) -> (Change, &'static str, String) {
    let path = |at: usize| house.layer(at).display().to_string();
    match round {
        0 | 1 => (house.own_end(round, 0).0, "pull", path(3)),
        2 => (house.own_end(round, 0).0, "commit", path(0)),
        _ => (commit("vda".to_owned(), active()), "active-commit", path(0)),
    }
}

/// Runs the `round`th job, which fails; the event's words.
async fn fails(house: &House, domains: &Domains, guest: &Handle, round: usize) -> (String, String) {
    let mut events = Listener::new(domains);
    let (job, kind, filled) = job(house, round);
    guest.change(job).await.unwrap();
    let told = events.wait_for_one(&format!("block_job vda {kind} ")).await;
    until(guest, "free", |snapshot| snapshot.job.is_none()).await;
    assert_eq!(guest.block_job("vda").await.unwrap(), None, "after {told}");
    (told, filled)
}

/// The guest runs, on all the files it ran on.
async fn is_as_it_was(house: &House, guest: &Handle) {
    assert_eq!(state(guest), "running (booted)");
    let live = text_of(guest, false).await;
    assert!(!live.contains("<mirror"), "{live}");
    for at in 0..=3 {
        assert!(live.contains(&format!("'{}'", house.layer(at).display())), "{live}");
    }
    assert_eq!(house::top_of(guest), house.layer(3));
    for at in 1..=3 {
        assert_eq!(house.backing_of(at), Some(house.layer(at - 1).display().to_string()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_bytes_the_host_cannot_keep_fails_and_changes_no_header() {
    if !has_qemu() {
        return;
    }
    for round in 0..4 {
        let Some(disk) = DyingDisk::new(64) else { return };
        let house = House::idle_in(disk.path(), 3);
        let before = house.bytes(3);
        let domains = house.world.open().await;
        let guest = house.start(&domains).await;
        disk.die();
        let (told, filled) = fails(&house, &domains, &guest, round).await;
        assert!(told.contains(" failed: ") && told.contains(&filled) && told.contains(EIO), "{told}");
        is_as_it_was(&house, &guest).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        assert!(house.bytes(3) == before, "round {round}: the guest sees other bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_does_not_change_over_to_a_file_that_cannot_be_kept() {
    if !has_qemu() {
        return;
    }
    let Some(disk) = DyingDisk::new(64) else { return };
    let house = House::new(1);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    // Every cluster is there: QEMU makes no new one in the copy, which it would have to flush.
    house.wait_for_writes(WINDOW + 100).await;
    let path = disk.path().join("copy").display().to_string();
    let options = CopyOptions { transient_job: true, ..CopyOptions::default() };
    let to = Destination { path: path.clone(), ..Destination::default() };
    guest.change(copy("vda".to_owned(), to, options)).await.unwrap();
    wait_until_ready(&guest).await;
    disk.die();
    house.wait_for_writes(50).await;
    let why = refused(&guest, pivot("vda".to_owned(), true)).await;
    // It may have failed before it was asked.
    assert!(why.contains(EIO) && why.contains(&path) || why.contains("does not have an active"), "{why}");
    until(&guest, "running", |snapshot| snapshot.state.words().0 == "running").await;
    house.wait_for_writes(50).await;
    assert_eq!(house::top_of(&guest), house.layer(1));
    assert_eq!(guest.block_job("vda").await.unwrap(), None);
    let live = text_of(&guest, false).await;
    assert!(!live.contains("<mirror") && live.contains(&house.layer(1).display().to_string()), "{live}");
    guest.destroy(DestroyOptions::default()).await.unwrap();
    house.has_all(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_finds_no_room_fails_and_can_be_done_when_there_is() {
    if !has_qemu() {
        return;
    }
    for round in 0..4 {
        let Some(disk) = SmallDisk::new(32).unwrap() else { return };
        let house = House::idle_in(disk.path(), 3);
        let before = house.bytes(3);
        let domains = house.world.open().await;
        let guest = house.start(&domains).await;
        disk.fill_but(64 << 10).unwrap();
        let (told, filled) = fails(&house, &domains, &guest, round).await;
        let why = format!("failed: '{filled}': No space left on device");
        assert!(told.ends_with(&why), "{told}");
        is_as_it_was(&house, &guest).await;
        disk.free().unwrap();
        let mut events = Listener::new(&domains);
        let (job, kind, _) = job(&house, round);
        guest.change(job).await.unwrap();
        if kind == "active-commit" {
            wait_until_ready(&guest).await;
            guest.change(pivot("vda".to_owned(), true)).await.unwrap();
        }
        events.wait_for(&format!("block_job vda {kind} completed")).await;
        let top = house::top_of(&guest);
        guest.destroy(DestroyOptions::default()).await.unwrap();
        for at in 0..=3 {
            is_clean(&house.layer(at));
        }
        assert!(house.bytes_of(&top) == before, "round {round}: the guest sees other bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_finds_no_room_leaves_the_disk_where_it_is() {
    if !has_qemu() {
        return;
    }
    let Some(disk) = SmallDisk::new(1).unwrap() else { return };
    let house = House::new(1);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    let mut events = Listener::new(&domains);
    disk.fill_but(MIB / 2).unwrap();
    let path = disk.path().join("copy").display().to_string();
    let to = Destination { path: path.clone(), ..Destination::default() };
    let options = CopyOptions { transient_job: true, ..CopyOptions::default() };
    guest.change(copy("vda".to_owned(), to, options)).await.unwrap();
    let told = events.wait_for_one("block_job vda copy ").await;
    assert!(told.ends_with(&format!("failed: '{path}': No space left on device")), "{told}");
    house.wait_for_writes(50).await;
    assert_eq!(house::top_of(&guest), house.layer(1));
    guest.destroy(DestroyOptions::default()).await.unwrap();
    house.has_all(1);
}

/// The host takes its time: the job is held back, neither ended unseen nor given up, and nobody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_bytes_the_host_writes_back_slowly_is_held_back_until_they_are() {
    if !has_qemu() {
        return;
    }
    for round in [0, 2] {
        let Some(disk) = SlowDisk::new(64) else { return };
        let house = House::idle_in(disk.path(), 3);
        let before = house.bytes(3);
        let domains = house.world.open().await;
        domains.set_write_back_patience(Duration::from_millis(300));
        let guest = house.start(&domains).await;
        let mut events = Listener::new(&domains);
        disk.stand_still();
        let (job, kind, _) = job(&house, round);
        guest.change(job).await.unwrap();
        // Much longer than the owner waits, which meanwhile does other things.
        let deadline = Instant::now() + Duration::from_secs(4);
        while Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(guest.block_job("vda").await.unwrap().is_some(), "round {round}: it has ended");
        }
        guest.set_autostart(true).await.unwrap();
        assert_eq!(house.backing_of(3), Some(house.layer(2).display().to_string()));
        disk.go_on();
        events.wait_for(&format!("block_job vda {kind} completed")).await;
        until(&guest, "free", |snapshot| snapshot.job.is_none()).await;
        assert_eq!(guest.block_job("vda").await.unwrap(), None);
        let top = house::top_of(&guest);
        guest.destroy(DestroyOptions::default()).await.unwrap();
        is_clean(&house.layer(3));
        assert!(house.bytes_of(&top) == before, "round {round}: the guest sees other bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_held_back_can_be_aborted() {
    if !has_qemu() {
        return;
    }
    let Some(disk) = SlowDisk::new(64) else { return };
    let house = House::idle_in(disk.path(), 3);
    let before = house.bytes(3);
    let domains = house.world.open().await;
    domains.set_write_back_patience(Duration::from_millis(300));
    let guest = house.start(&domains).await;
    let mut events = Listener::new(&domains);
    disk.stand_still();
    guest.change(job(&house, 0).0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(guest.block_job("vda").await.unwrap().is_some());
    guest.change(abort("vda".to_owned(), false)).await.unwrap();
    disk.go_on();
    events.wait_for("block_job vda pull canceled").await;
    until(&guest, "free", |snapshot| snapshot.job.is_none()).await;
    is_as_it_was(&house, &guest).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(house.bytes(3) == before, "the guest sees other bytes");
}
