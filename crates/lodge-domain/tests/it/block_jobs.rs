//! Block jobs of running guests: nothing that a guest was told is written may be lost, whoever dies in between.
//!
//! The guest writes numbered sectors of its own disk and prints each number when its disk has said that it is written.

mod crash;
mod descriptors;
mod faults;
pub mod house;
mod kinds;
mod model;
mod pending;
mod rough;

use std::time::Duration;

use lodge_domain::block_job::commit::{CommitOptions, commit};
use lodge_domain::block_job::copy::{CopyOptions, Destination, copy};
use lodge_domain::block_job::pull::{PullOptions, pull};
use lodge_domain::block_job::{BlockJobKind, abort, pivot, speed};
use lodge_domain::control::Scope;
use lodge_domain::control::device::{Given, detach};
use lodge_domain::{DestroyOptions, XmlOptions};

use crate::support::{Listener, has_qemu, until};
use house::{House, refused, text_of};

fn active() -> CommitOptions {
    CommitOptions { active: true, ..CommitOptions::default() }
}

fn slow(options: CommitOptions) -> CommitOptions {
    CommitOptions { speed: 64 << 10, ..options }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_the_guests_own_file_ends_on_the_base_with_all_that_was_written() {
    if !has_qemu() {
        return;
    }
    let house = House::new(2);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    let mut events = Listener::new(&domains);
    guest.change(commit("vda".to_owned(), active())).await.unwrap();
    events.wait_for("block_job vda active-commit ready").await;
    let live = text_of(&guest, false).await;
    assert!(live.contains("job='active-commit' ready='yes'"), "{live}");
    assert_eq!(
        refused(&guest, commit("vda".to_owned(), active())).await,
        "disk 'vda' already in active block job"
    );
    let disk = Given::parse("<disk type='file' device='disk'><target dev='vda'/></disk>").unwrap();
    assert_eq!(refused(&guest, detach(disk, Scope::LIVE)).await, "disk 'vda' already in active block job");
    let info = guest.block_job("vda").await.unwrap().unwrap();
    assert!(info.ready && info.kind == BlockJobKind::ActiveCommit, "{info:?}");
    guest.change(pivot::pivot("vda".to_owned(), true)).await.unwrap();
    events.wait_for("block_job vda active-commit completed").await;
    assert_eq!(guest.block_job("vda").await.unwrap(), None);
    let base = house.layer(0).display().to_string();
    for inactive in [false, true] {
        let text = text_of(&guest, inactive).await;
        assert!(text.contains(&format!("file='{base}'")), "{text}");
        assert!(!text.contains("<mirror") && !text.contains(&house.layer(2).display().to_string()), "{text}");
    }
    // It writes on, on its new file.
    house.wait_for_writes(20).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    house.has_all(0);
}

/// QEMU would find itself in its own way at the end of each of these.
#[tokio::test(flavor = "multi_thread")]
async fn a_raw_file_takes_what_is_committed_into_it_and_stays_below_or_is_the_guests_own() {
    if !has_qemu() {
        return;
    }
    let house = House::on_raw(3);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    let mut events = Listener::new(&domains);
    let monitor = guest.monitor().unwrap();
    let modes = async || {
        let sets = monitor.fdsets().await.unwrap();
        let lowest = monitor.block_nodes().await.unwrap();
        let lowest = lowest.into_iter().find(|node| node.node_name == "libvirt-4-storage").unwrap();
        let set = sets.into_iter().find(|set| lowest.file == format!("/dev/fdset/{}", set.fdset_id)).unwrap();
        set.fds.into_iter().filter_map(|fd| fd.opaque).collect::<Vec<_>>()
    };
    assert_eq!(modes().await, ["rdonly"]);
    for is_ready in [true, false] {
        let options = if is_ready { active() } else { slow(active()) };
        guest.change(commit("vda".to_owned(), options)).await.unwrap();
        assert_eq!(modes().await, ["rdwr"]);
        if is_ready {
            events.wait_for("block_job vda active-commit ready").await;
        }
        guest.change(abort::abort("vda".to_owned(), true)).await.unwrap();
        events.wait_for("block_job vda active-commit canceled").await;
        assert_eq!(modes().await, ["rdonly"]);
    }
    let path = |at: usize| house.layer(at).display().to_string();
    let options = CommitOptions { top: Some(path(1)), ..CommitOptions::default() };
    guest.change(commit("vda".to_owned(), options)).await.unwrap();
    events.wait_for("block_job vda commit completed").await;
    until(&guest, "free", |snapshot| snapshot.job.is_none()).await;
    assert_eq!(modes().await, ["rdonly"]);
    house.wait_for_writes(20).await;
    guest.change(commit("vda".to_owned(), active())).await.unwrap();
    events.wait_for("block_job vda active-commit ready").await;
    guest.change(pivot::pivot("vda".to_owned(), true)).await.unwrap();
    events.wait_for("block_job vda active-commit completed").await;
    assert_eq!(modes().await, ["rdwr"]);
    house.wait_for_writes(20).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert_eq!(house::top_of(&guest), house.layer(0));
    house.has_all(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_in_the_middle_are_committed_and_pulled_and_the_guest_sees_the_same() {
    if !has_qemu() {
        return;
    }
    let house = House::idle(4);
    let before = house.bytes(4);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    let mut events = Listener::new(&domains);
    let sets = guest.monitor().unwrap().fdsets().await.unwrap().len();
    let path = |at: usize| house.layer(at).display().to_string();
    // 4 on 3 on 2 on 1 on 0: 2 and 3 go into 1.
    let options = CommitOptions { base: Some(path(1)), top: Some(path(3)), ..CommitOptions::default() };
    guest.change(commit("vda".to_owned(), options)).await.unwrap();
    events.wait_for("block_job vda commit completed").await;
    until(&guest, "free", |snapshot| snapshot.job.is_none()).await;
    let live = text_of(&guest, false).await;
    assert!(live.contains(&path(1)) && !live.contains(&path(2)) && !live.contains(&path(3)), "{live}");
    // And 1 comes up into 4, which then stands on 0.
    let options = PullOptions { base: Some(path(0)), ..PullOptions::default() };
    guest.change(pull("vda".to_owned(), options)).await.unwrap();
    events.wait_for("block_job vda pull completed").await;
    let live = text_of(&guest, false).await;
    assert!(live.contains(&path(0)) && !live.contains(&path(1)), "{live}");
    guest.change(pull("vda".to_owned(), PullOptions::default())).await.unwrap();
    events.wait_for("block_job vda pull completed").await;
    let live = text_of(&guest, false).await;
    assert!(live.contains("<backingStore/>") && !live.contains(&path(0)), "{live}");
    // What is not needed any more is not held any more: nodes, descriptors.
    let monitor = guest.monitor().unwrap();
    assert_eq!(monitor.block_nodes().await.unwrap().len(), 2);
    assert_eq!(monitor.fdsets().await.unwrap().len(), sets - 4);
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert_eq!(house.backing_of(4), None);
    assert!(house.bytes(4) == before, "the guest sees other bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_taken_or_left() {
    if !has_qemu() {
        return;
    }
    let house = House::new(1);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    let mut events = Listener::new(&domains);
    let path = house.world.dir.path().join("copy");
    let to = || Destination { path: path.display().to_string(), ..Destination::default() };
    assert_eq!(
        refused(&guest, copy("vda".to_owned(), to(), CopyOptions::default())).await,
        "domain is not transient"
    );
    let options = CopyOptions { transient_job: true, ..CopyOptions::default() };
    guest.change(copy("vda".to_owned(), to(), options.clone())).await.unwrap();
    events.wait_for("block_job vda copy ready").await;
    guest.change(abort::abort("vda".to_owned(), true)).await.unwrap();
    events.wait_for("block_job vda copy canceled").await;
    let live = text_of(&guest, false).await;
    assert!(!live.contains("<mirror") && live.contains(&house.layer(1).display().to_string()), "{live}");
    assert_eq!(guest.monitor().unwrap().block_nodes().await.unwrap().len(), 4);
    std::fs::remove_file(&path).unwrap();
    // On the same base as the disk itself.
    let options = CopyOptions { shallow: true, synchronous: true, ..options };
    guest.change(copy("vda".to_owned(), to(), options)).await.unwrap();
    events.wait_for("block_job vda copy ready").await;
    guest.change(pivot::pivot("vda".to_owned(), true)).await.unwrap();
    events.wait_for("block_job vda copy completed").await;
    house.wait_for_writes(20).await;
    for inactive in [false, true] {
        let text = text_of(&guest, inactive).await;
        assert!(text.contains(&format!("file='{}'", path.display())), "{text}");
    }
    assert_eq!(guest.monitor().unwrap().block_nodes().await.unwrap().len(), 4);
    guest.destroy(DestroyOptions::default()).await.unwrap();
    house.has_all_in(&path);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_under_way_stops_nothing_else_and_can_be_slowed_and_ended() {
    if !has_qemu() {
        return;
    }
    let house = House::new(1);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    let mut events = Listener::new(&domains);
    guest.change(commit("vda".to_owned(), slow(active()))).await.unwrap();
    let not_ready = "block job 'commit-vda-libvirt-1-format' not ready for pivot yet";
    assert_eq!(refused(&guest, pivot::pivot("vda".to_owned(), true)).await, not_ready);
    let acts = async {
        guest.suspend().await.unwrap();
        guest.resume().await.unwrap();
        guest.xml(XmlOptions::default()).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(5), acts).await.expect("others wait for the block job");
    assert!(guest.snapshot().job.is_none());
    guest.change(speed::set_speed("vda".to_owned(), 128 << 10)).await.unwrap();
    let info = guest.block_job("vda").await.unwrap().unwrap();
    assert!(info.speed == 128 << 10 && !info.ready && info.done < info.all, "{info:?}");
    guest.change(abort::abort("vda".to_owned(), true)).await.unwrap();
    events.wait_for("block_job vda active-commit canceled").await;
    assert_eq!(
        refused(&guest, abort::abort("vda".to_owned(), true)).await,
        "disk vda does not have an active block job"
    );
    house.wait_for_writes(10).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    house.has_all(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_without_the_daemon_and_the_next_one_sees_how_it_ended() {
    if !has_qemu() {
        return;
    }
    let house = House::new(2);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    guest.change(commit("vda".to_owned(), slow(active()))).await.unwrap();
    drop(guest);
    domains.close(Duration::from_secs(5)).await;
    let domains = house.world.open().await;
    let guest = domains.find("web1").unwrap();
    let info = guest.block_job("vda").await.unwrap().unwrap();
    assert!(!info.ready, "{info:?}");
    // It becomes ready while nobody looks.
    let monitor = guest.monitor().unwrap();
    monitor.set_block_job_speed("commit-vda-libvirt-1-format", 0).await.unwrap();
    drop((monitor, guest));
    domains.close(Duration::from_secs(5)).await;
    let domains = house.world.open().await;
    let mut events = Listener::new(&domains);
    let guest = domains.find("web1").unwrap();
    house::wait_until_ready(&guest).await;
    guest.change(pivot::pivot("vda".to_owned(), true)).await.unwrap();
    events.wait_for("block_job vda active-commit completed").await;
    house.wait_for_writes(10).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    house.has_all(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_qemu_loses_nothing_at_any_point_of_a_job() {
    if !has_qemu() {
        return;
    }
    for (round, wait_ms) in [0_u64, 30, 120, 400].into_iter().enumerate() {
        let house = House::new(2);
        let domains = house.world.open().await;
        let guest = house.start(&domains).await;
        let (begun, other) = (guest.clone(), guest.clone());
        let work = tokio::spawn(async move {
            let job = if round % 2 == 0 {
                commit("vda".to_owned(), active())
            } else {
                pull("vda".to_owned(), PullOptions::default())
            };
            let _ = begun.change(job).await;
            // Whether it is ready or not: what is refused changes nothing.
            while begun.block_job("vda").await.is_ok_and(|job| job.is_some()) {
                let _ = begun.change(pivot::pivot("vda".to_owned(), true)).await;
            }
        });
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        house::kill_qemu(&other);
        until(&guest, "off", |snapshot| !snapshot.is_active()).await;
        work.await.unwrap();
        let top = house::top_of(&guest);
        house.has_all_in(&top);
        // And it comes up again.
        house.restart(&guest).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        house::is_clean(&top);
    }
}
