//! Deleting external snapshots of a guest that runs and writes: it writes on, and sees every byte, whoever dies.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lodge_domain::{
    DestroyOptions, Domains, Handle, SnapshotDeleteOptions, SnapshotRevertOptions, StartOptions, Ticket,
    chain,
};

use super::DISKS;
use crate::block_jobs::house::{self, House};
use crate::support::{Fakes, config, has_qemu, state, until};

const DIR: &str = "LODGE_TEST_SNAPSHOT_DIR";

async fn take(guest: &Handle, name: &str) {
    let xml = format!("<domainsnapshot><name>{name}</name></domainsnapshot>");
    guest.create_snapshot(xml, DISKS, Ticket::default()).await.unwrap();
}

async fn delete(guest: &Handle, name: &str) -> Result<(), String> {
    let deleted = guest.delete_snapshot(name.to_owned(), SnapshotDeleteOptions::default()).await;
    deleted.map_err(|error| chain(&error))
}

async fn revert(guest: &Handle, name: &str) -> Result<(), String> {
    let reverted =
        guest.revert_to_snapshot(name.to_owned(), SnapshotRevertOptions::default(), Ticket::default()).await;
    reverted.map_err(|error| chain(&error))
}

fn names(guest: &Handle) -> String {
    guest.snapshots().names().collect::<Vec<_>>().join(" ")
}

/// The file that a snapshot put above.
fn made(house: &House, name: &str) -> PathBuf {
    house.layer(0).with_extension(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_and_one_in_the_middle_are_merged_below_a_guest_that_writes() {
    if !has_qemu() {
        return;
    }
    let house = House::new(0);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    let nodes = guest.monitor().unwrap().block_nodes().await.unwrap().len();
    let sets = guest.monitor().unwrap().fdsets().await.unwrap().len();
    for name in ["s1", "s2", "s3"] {
        take(&guest, name).await;
        house.wait_for_writes(20).await;
    }
    let domid = guest.snapshot().domid();
    // In the middle: what s2 made goes into what s1 made.
    delete(&guest, "s2").await.unwrap();
    house.wait_for_writes(20).await;
    assert_eq!((names(&guest).as_str(), made(&house, "s2").exists()), ("s1 s3", false));
    assert_eq!(house::top_of(&guest), made(&house, "s3"));
    // The newest: the guest changes over.
    delete(&guest, "s3").await.unwrap();
    house.wait_for_writes(20).await;
    assert_eq!((names(&guest).as_str(), made(&house, "s3").exists()), ("s1", false));
    assert_eq!(house::top_of(&guest), made(&house, "s1"));
    // It is not lost to a next snapshot, nor to a start.
    take(&guest, "s4").await;
    house.wait_for_writes(20).await;
    for name in ["s4", "s1"] {
        delete(&guest, name).await.unwrap();
        house.wait_for_writes(20).await;
    }
    assert_eq!((names(&guest).as_str(), house::top_of(&guest)), ("", house.layer(0)));
    assert_eq!((guest.snapshot().domid(), state(&guest).as_str()), (domid, "running (booted)"));
    let live = house::text_of(&guest, false).await;
    assert!(live.contains("<backingStore/>") && !live.contains("<mirror"), "{live}");
    let monitor = guest.monitor().unwrap();
    assert_eq!(monitor.block_nodes().await.unwrap().len(), nodes);
    assert_eq!(monitor.fdsets().await.unwrap().len(), sets, "descriptors are left");
    drop(monitor);
    guest.destroy(DestroyOptions::default()).await.unwrap();
    house.has_all(0);
    house.restart(&guest).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    domains.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_half_way_can_be_asked_for_again_and_never_brings_old_bytes_back() {
    if !has_qemu() {
        return;
    }
    let house = House::new(0);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    take(&guest, "s1").await;
    house.wait_for_writes(20).await;
    house.world.fakes.fail(Some("open backing"));
    let failed = delete(&guest, "s1").await.unwrap_err();
    assert!(failed.contains("was made to fail"), "{failed}");
    house.world.fakes.fail(None);
    house.wait_for_writes(20).await;
    assert_eq!(names(&guest), "s1");
    // No byte was merged: it is as good as before.
    assert!(guest.find_snapshot("s1").unwrap().disks().iter().all(|disk| !disk.delete_in_progress));
    // By hand, as virsh does it; the guest writes on into the file below, and the snapshot's own file grows old.
    use lodge_domain::block_job::{commit::CommitOptions, commit::commit, pivot::pivot};
    let options = CommitOptions { active: true, ..CommitOptions::default() };
    guest.change(commit("vda".to_owned(), options)).await.unwrap();
    house::wait_until_ready(&guest).await;
    let refused = revert(&guest, "s1").await.unwrap_err();
    let words = "snapshot disk 'vda' was target of not completed snapshot delete";
    assert!(refused.starts_with(words), "{refused}");
    guest.change(pivot("vda".to_owned(), true)).await.unwrap();
    house.wait_for_writes(200).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(made(&house, "s1").exists());
    delete(&guest, "s1").await.unwrap();
    assert_eq!((names(&guest).as_str(), made(&house, "s1").exists()), ("", false));
    house.has_all(0);
    domains.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_ended_in_the_midst_of_a_deletion_that_takes_long() {
    if !has_qemu() {
        return;
    }
    let house = House::new(0);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    take(&guest, "s1").await;
    house.wait_for_writes(20).await;
    let (other, begun) = (guest.clone(), Instant::now());
    let deleting = tokio::spawn(async move { delete(&other, "s1").await });
    until(&guest, "at it", |view| view.job.is_some() || begun.elapsed() > Duration::from_secs(5)).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    // Whichever came first: nothing that was written is lost, and the rest can be done now.
    if deleting.await.unwrap().is_err() {
        house.has_all_in(&house::top_of(&guest));
        delete(&guest, "s1").await.unwrap();
    }
    assert_eq!((names(&guest).as_str(), house::top_of(&guest)), ("", house.layer(0)));
    house.has_all(0);
    domains.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is the daemon that the test below starts and kills"]
async fn the_daemon_itself() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let domains = Domains::open(config(&dir).await, Fakes::default().ports()).await.unwrap();
    let guest = domains.find("web1").unwrap();
    println!("the daemon is up");
    let done = delete(&guest, if names(&guest).contains("s2") { "s1" } else { "s3" }).await;
    println!("it is done: {done:?}");
    std::future::pending::<()>().await;
}

fn daemon(dir: &Path) -> Child {
    let mut daemon = Command::new(std::env::current_exe().unwrap());
    daemon.args(["--ignored", "--exact", "--nocapture", "snapshots::live::the_daemon_itself"]);
    let mut child = daemon.env(DIR, dir).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The harness prints the test's name on the same line before.
    let up = lines.map_while(Result::ok).any(|line| line.ends_with("the daemon is up"));
    assert!(up, "the daemon did not come up");
    child
}

/// kill -9 of the daemon at any point: the next one brings the deletion to an end, or it can be asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_leaves_a_deletion_that_the_next_one_ends() {
    if !has_qemu() {
        return;
    }
    let mut finished = 0;
    for wait_ms in [0, 3, 8, 15, 25, 40, 60, 90, 140, 250, 1500] {
        for middle in [false, true] {
            let house = House::new(0);
            let domains = house.world.open().await;
            let guest = house.start(&domains).await;
            // The guest's own file is the last one's; s1 is in the middle where s2 is.
            for name in if middle { &["s1", "s2"][..] } else { &["s1", "s3"] } {
                take(&guest, name).await;
                house.wait_for_writes(20).await;
            }
            drop(guest);
            domains.close(Duration::from_secs(5)).await;
            let mut child = daemon(house.world.dir.path());
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            child.kill().unwrap();
            child.wait().unwrap();
            let domains = house.world.open().await;
            let guest = domains.find("web1").unwrap();
            until(&guest, "running", |view| view.state.words().0 == "running").await;
            house.wait_for_writes(20).await;
            let (gone, kept) = if middle { ("s1", "s2") } else { ("s3", "s1") };
            if names(&guest) == kept {
                finished += 1;
            } else {
                delete(&guest, gone).await.unwrap();
                house.wait_for_writes(20).await;
            }
            assert_eq!((names(&guest).as_str(), made(&house, gone).exists()), (kept, false));
            let top = house::top_of(&guest);
            assert_eq!(top, if middle { made(&house, "s2") } else { made(&house, "s1") });
            guest.destroy(DestroyOptions::default()).await.unwrap();
            house.has_all_in(&top);
            guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
            guest.destroy(DestroyOptions::default()).await.unwrap();
            domains.close(Duration::from_secs(5)).await;
        }
    }
    assert!(finished > 0, "no kill came late enough to be taken up");
}
