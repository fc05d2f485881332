//! The end of a block job: nothing on the host's disks changes before all the job has written is there, and whoever
//! dies while QEMU waits to be let end it loses nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use lodge_domain::block_job::abort::abort;
use lodge_domain::block_job::commit::commit;
use lodge_domain::block_job::copy::{CopyOptions, Destination, copy};
use lodge_domain::control::Change;
use lodge_domain::{DestroyOptions, Domains, Handle};
use lodge_model::DomainId;
use lodge_qemu::qmp::{JobStatus, Monitor};
use serde::de::IgnoredAny;
use serde_json::json;

use super::active;
use super::house::{self, House};
use crate::support::{Listener, has_qemu, until};

const PATIENCE: Duration = Duration::from_secs(30);
const PULL: &str = "pull-vda-libvirt-1-format";

/// The monitor, now that no daemon has it.
async fn monitor(house: &House, id: DomainId) -> Monitor {
    Monitor::connect(&house.run_of(id).join("monitor.sock"), PATIENCE).await.unwrap()
}

async fn wait_for(monitor: &Monitor, job: &str, wanted: JobStatus) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let jobs = monitor.jobs().await.unwrap();
        let status = jobs.into_iter().find(|known| known.id == job).map(|known| known.status);
        if status.as_ref() == Some(&wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{job} is {status:?}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn wait_until_gone(guest: &Handle) {
    let deadline = Instant::now() + PATIENCE;
    while guest.block_job("vda").await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "the job does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A job on three overlays that ends by itself, and its name.
fn own_end(house: &House, round: usize) -> (Change, &'static str) {
    house.own_end(round, 64 << 10)
}

/// What the own file's header says it stands on, when the job has ended.
fn below_own(house: &House, round: usize) -> Option<String> {
    (round > 0).then(|| house.layer(0).display().to_string())
}

/// The job has done its work, and there is no daemon that lets it end.
async fn left_pending(house: &House, domains: Domains, id: DomainId, job: &str) -> Monitor {
    domains.close(Duration::from_secs(5)).await;
    let monitor = monitor(house, id).await;
    monitor.set_block_job_speed(job, 0).await.unwrap();
    wait_for(&monitor, job, JobStatus::Pending).await;
    monitor
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_lets_end_changes_no_header_and_the_next_daemon_ends_it() {
    if !has_qemu() {
        return;
    }
    for round in 0..3 {
        let house = House::new(3);
        let domains = house.world.open().await;
        let guest = house.start(&domains).await;
        let (id, (job, name)) = (guest.id(), own_end(&house, round));
        guest.change(job).await.unwrap();
        drop(guest);
        let monitor = left_pending(&house, domains, id, name).await;
        // It stays so, and the guest writes on.
        house.wait_for_writes(20).await;
        wait_for(&monitor, name, JobStatus::Pending).await;
        assert_eq!(house.backing_of(3), Some(house.layer(2).display().to_string()));
        drop(monitor);
        let domains = house.world.open().await;
        let guest = domains.find("web1").unwrap();
        wait_until_gone(&guest).await;
        until(&guest, "free", |snapshot| snapshot.job.is_none()).await;
        let live = house::text_of(&guest, false).await;
        assert!(!live.contains(&house.layer(2).display().to_string()), "{live}");
        assert_eq!(house.backing_of(3), below_own(&house, round));
        house.wait_for_writes(20).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        house.has_all(3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_killed_before_its_job_was_let_end_leaves_the_disk_as_it_was() {
    if !has_qemu() {
        return;
    }
    for round in 0..3 {
        let house = House::new(3);
        let domains = house.world.open().await;
        let guest = house.start(&domains).await;
        let (id, (job, name)) = (guest.id(), own_end(&house, round));
        let qemu = house::process_of(&guest);
        guest.change(job).await.unwrap();
        drop(guest);
        let monitor = left_pending(&house, domains, id, name).await;
        house.wait_for_writes(20).await;
        qemu.kill().unwrap();
        monitor.lost().await;
        let domains = house.world.open().await;
        let guest = domains.find("web1").unwrap();
        until(&guest, "off", |snapshot| !snapshot.is_active()).await;
        assert_eq!(house::top_of(&guest), house.layer(3));
        assert_eq!(house.backing_of(3), Some(house.layer(2).display().to_string()));
        house.has_all(3);
        house.restart(&guest).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        house::is_clean(&house.layer(3));
    }
}

/// A job that changes the disk over, told to by a daemon that died behind that; the file it changes over to.
async fn left_changing(house: &House, copies: bool, held: bool) -> (DomainId, Monitor, String) {
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    let id = guest.id();
    let (job, name, to) = if copies {
        let path = house.world.dir.path().join("copy").display().to_string();
        let options = CopyOptions { transient_job: true, ..CopyOptions::default() };
        let to = Destination { path: path.clone(), ..Destination::default() };
        (copy("vda".to_owned(), to, options), "copy-vda-libvirt-1-format", path)
    } else {
        let base = house.layer(0).display().to_string();
        (commit("vda".to_owned(), active()), "commit-vda-libvirt-1-format", base)
    };
    guest.change(job).await.unwrap();
    house::wait_until_ready(&guest).await;
    until(&guest, "free", |snapshot| snapshot.job.is_none()).await;
    drop(guest);
    domains.close(Duration::from_secs(5)).await;
    house.amend_note(id, &[("stage", json!("Pivoting")), ("held", json!(held))]);
    let monitor = monitor(house, id).await;
    if held {
        monitor.stop().await.unwrap();
    }
    monitor.job_complete(name).await.unwrap();
    wait_for(&monitor, name, JobStatus::Pending).await;
    (id, monitor, to)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_to_change_over_does_so_under_the_next_daemon() {
    if !has_qemu() {
        return;
    }
    for (copies, held) in [(false, true), (false, false), (true, true), (true, false)] {
        let house = House::new(2);
        let (_, monitor, to) = left_changing(&house, copies, held).await;
        drop(monitor);
        let domains = house.world.open().await;
        let guest = domains.find("web1").unwrap();
        wait_until_gone(&guest).await;
        until(&guest, "running", |snapshot| snapshot.state.words().0 == "running").await;
        assert_eq!(house::top_of(&guest), Path::new(&to));
        house.wait_for_writes(20).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        house.has_all_in(Path::new(&to));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_killed_before_its_disk_changed_over_leaves_it_on_its_own_file() {
    if !has_qemu() {
        return;
    }
    for (copies, held) in [(false, true), (false, false), (true, true), (true, false)] {
        let house = House::new(2);
        let (_, monitor, _) = left_changing(&house, copies, held).await;
        let pid = pid_of(&house);
        assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        monitor.lost().await;
        let domains = house.world.open().await;
        let guest = domains.find("web1").unwrap();
        until(&guest, "off", |snapshot| !snapshot.is_active()).await;
        assert_eq!(house::top_of(&guest), house.layer(2));
        house.has_all(2);
        house.restart(&guest).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        house::is_clean(&house.layer(2));
    }
}

/// The one QEMU of this house.
fn pid_of(house: &House) -> String {
    let there = crate::support::processes_below(house.world.dir.path());
    let found: Vec<_> = there.keys().collect();
    assert_eq!(found.len(), 1, "{there:?}");
    found[0].to_string()
}

/// Until this file's header says that it stands on another one, or none.
fn until_header_changes(path: &Path) {
    let file = File::open(path).unwrap();
    let below = || {
        let mut head = vec![0; 64 << 10];
        file.read_exact_at(&mut head, 0).unwrap();
        let at = usize::try_from(u64::from_be_bytes(head[8..16].try_into().unwrap())).unwrap();
        let length = u32::from_be_bytes(head[16..20].try_into().unwrap()) as usize;
        head[at..at + length].to_vec()
    };
    let (before, deadline) = (below(), Instant::now() + PATIENCE);
    while below() == before {
        assert!(Instant::now() < deadline, "the header of {} does not change", path.display());
    }
}

/// The guest writes nothing and so flushes nothing: what a job has written is durable by the job's own end, or lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_killed_right_behind_the_first_change_of_a_header_has_lost_nothing() {
    if !has_qemu() {
        return;
    }
    for round in [0, 1, 2, 0, 1, 2] {
        let house = House::idle(3);
        let before = house.bytes(3);
        let domains = house.world.open().await;
        let guest = house.start(&domains).await;
        let qemu = house::process_of(&guest);
        let own = house.layer(3);
        let watch = tokio::task::spawn_blocking(move || {
            until_header_changes(&own);
            qemu.kill().unwrap();
        });
        let (job, name) = own_end(&house, round);
        guest.change(job).await.unwrap();
        guest.monitor().unwrap().set_block_job_speed(name, 0).await.unwrap();
        watch.await.unwrap();
        until(&guest, "off", |snapshot| !snapshot.is_active()).await;
        house::is_clean(&house.layer(3));
        assert_eq!(house.backing_of(3), below_own(&house, round));
        assert!(house.bytes(3) == before, "round {round}: the guest sees other bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_daemon_that_let_qemu_end_it_is_followed_too() {
    if !has_qemu() {
        return;
    }
    for ends in [true, false] {
        let house = House::new(3);
        let domains = house.world.open().await;
        let guest = house.start(&domains).await;
        let id = guest.id();
        drop(guest);
        domains.close(Duration::from_secs(5)).await;
        let direct = monitor(&house, id).await;
        let job = json!({ "job-id": PULL, "device": "libvirt-1-format", "speed": 64 << 10 });
        direct.execute::<IgnoredAny>("block-stream", job).await.unwrap();
        drop(direct);
        let domains = house.world.open().await;
        let mut events = Listener::new(&domains);
        let guest = domains.find("web1").unwrap();
        until(&guest, "free", |snapshot| snapshot.job.is_none()).await;
        assert!(guest.block_job("vda").await.unwrap().is_some());
        if ends {
            guest.monitor().unwrap().set_block_job_speed(PULL, 0).await.unwrap();
            events.wait_for("block_job vda pull completed").await;
        } else {
            guest.change(abort("vda".to_owned(), true)).await.unwrap();
            events.wait_for("block_job vda pull canceled").await;
        }
        let below = (!ends).then(|| house.layer(2).display().to_string());
        assert_eq!(house.backing_of(3), below);
        house.wait_for_writes(20).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        house.has_all(3);
    }
}

/// Told to end early while it waits to be let end: it has not ended, so it can be.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_to_end_early_is_not_ended_well_by_the_next_daemon() {
    if !has_qemu() {
        return;
    }
    let house = House::new(3);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    let (id, (job, name)) = (guest.id(), own_end(&house, 0));
    guest.change(job).await.unwrap();
    drop(guest);
    let monitor = left_pending(&house, domains, id, name).await;
    drop(monitor);
    house.amend_note(id, &[("stage", json!("Aborting"))]);
    let domains = house.world.open().await;
    let guest = domains.find("web1").unwrap();
    wait_until_gone(&guest).await;
    assert_eq!(house.backing_of(3), Some(house.layer(2).display().to_string()));
    let live = house::text_of(&guest, false).await;
    assert!(live.contains(&house.layer(2).display().to_string()), "{live}");
    house.wait_for_writes(20).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    house.has_all(3);
}
