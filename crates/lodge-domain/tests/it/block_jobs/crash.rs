//! kill -9 of the daemon at any point of a block job: the next one brings the job to an end, and nothing is lost.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lodge_domain::block_job::commit::commit;
use lodge_domain::block_job::pivot::pivot;
use lodge_domain::block_job::pull::{PullOptions, pull};
use lodge_domain::{DestroyOptions, Domains, Handle};

use super::active;
use super::house::{self, House};
use crate::support::{Fakes, Listener, config, has_qemu, until};

const DIR: &str = "LODGE_TEST_BLOCK_JOB_DIR";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is the daemon that the test below starts and kills"]
async fn the_daemon_itself() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let domains = Domains::open(config(&dir).await, Fakes::default().ports()).await.unwrap();
    let guest = domains.find("web1").unwrap();
    println!("the daemon is up");
    guest.change(commit("vda".to_owned(), active())).await.unwrap();
    if house::text_of(&guest, false).await.contains("vdb") {
        guest.change(pull("vdb".to_owned(), PullOptions::default())).await.unwrap();
    }
    end_it(&guest).await;
    std::future::pending::<()>().await;
}

/// Takes the job's last step as soon as it may.
async fn end_it(guest: &Handle) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while guest.block_job("vda").await.unwrap().is_some() {
        // Refused until it is ready.
        let _ = guest.change(pivot("vda".to_owned(), true)).await;
        assert!(Instant::now() < deadline, "the job does not end");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn daemon(dir: &Path) -> Child {
    let mut daemon = Command::new(std::env::current_exe().unwrap());
    daemon.args(["--ignored", "--exact", "--nocapture", "block_jobs::crash::the_daemon_itself"]);
    let mut child = daemon.env(DIR, dir).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The harness prints the test's name on the same line before.
    let up = lines.map_while(Result::ok).any(|line| line.ends_with("the daemon is up"));
    assert!(up, "the daemon did not come up");
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_leaves_a_job_that_the_next_one_ends() {
    if !has_qemu() {
        return;
    }
    for wait_ms in [0, 5, 20, 60, 200] {
        let house = House::new(2);
        let domains = house.world.open().await;
        house.start(&domains).await;
        domains.close(Duration::from_secs(5)).await;
        let mut child = daemon(house.world.dir.path());
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let domains = house.world.open().await;
        let guest = domains.find("web1").unwrap();
        end_it(&guest).await;
        until(&guest, "running", |snapshot| snapshot.state.words().0 == "running").await;
        let at = if house::top_of(&guest) == house.layer(0) { 0 } else { 2 };
        house.wait_for_writes(20).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        house.has_all(at);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_amid_jobs_of_two_disks_leaves_both_to_the_next() {
    if !has_qemu() {
        return;
    }
    for wait_ms in [0, 10, 40, 150] {
        let house = House::new(2).with_other();
        let before = house.bytes_of(&house.other(1));
        let domains = house.world.open().await;
        house.start(&domains).await;
        domains.close(Duration::from_secs(5)).await;
        let mut child = daemon(house.world.dir.path());
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let domains = house.world.open().await;
        let guest = domains.find("web1").unwrap();
        end_it(&guest).await;
        let deadline = Instant::now() + Duration::from_mins(1);
        while guest.block_job("vdb").await.unwrap().is_some() {
            assert!(Instant::now() < deadline, "the pull does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        until(&guest, "running", |snapshot| snapshot.state.words().0 == "running").await;
        let at = if house::top_of(&guest) == house.layer(0) { 0 } else { 2 };
        house.wait_for_writes(20).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        house.has_all(at);
        assert_eq!(house::top_of_disk(&guest, 1), house.other(1));
        assert!(house.bytes_of(&house.other(1)) == before, "the second disk has other bytes");
    }
}

/// The two documents are written one after the other: whoever dies in between leaves a disk that the next daemon still knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_between_the_documents_leaves_both_right_in_the_end() {
    if !has_qemu() {
        return;
    }
    for _ in 0..5 {
        let house = House::new(2);
        let domains = house.world.open().await;
        let id = house.start(&domains).await.id();
        let root = house.world.dir.path();
        let live = house.run_of(id).join("live.xml");
        let definition = root.join("etc/libvirt/qemu/web1.xml");
        let top = format!("<source file='{}'", house.layer(2).display());
        let names_top = |path: &Path| std::fs::read_to_string(path).unwrap().contains(&top);
        domains.close(Duration::from_secs(5)).await;
        let mut child = daemon(root);
        let deadline = Instant::now() + Duration::from_mins(1);
        // Nothing but looking, so that the kill comes right behind the first of the two.
        while names_top(&live) && names_top(&definition) {
            assert!(Instant::now() < deadline, "the disk does not change over");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let domains = house.world.open().await;
        let guest = domains.find("web1").unwrap();
        end_it(&guest).await;
        until(&guest, "running", |snapshot| snapshot.state.words().0 == "running").await;
        assert!(!names_top(&live) && !names_top(&definition), "{live:?} {definition:?}");
        assert_eq!(house::top_of(&guest), house.layer(0));
        house.wait_for_writes(20).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        house.has_all(0);
    }
}

/// Killed after both documents were written, and before the job was forgotten: nothing is left to be done, and it was done.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_done_is_told_as_done_by_the_next_daemon() {
    if !has_qemu() {
        return;
    }
    for _ in 0..5 {
        let house = House::new(2);
        let domains = house.world.open().await;
        let id = house.start(&domains).await.id();
        let root = house.world.dir.path();
        let run = house.run_of(id);
        let (live, note) = (run.join("live.xml"), run.join("block-jobs.json"));
        let top = format!("<source file='{}'", house.layer(2).display());
        domains.close(Duration::from_secs(5)).await;
        let mut child = daemon(root);
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut noted = String::new();
        while std::fs::read_to_string(&live).unwrap().contains(&top) {
            noted = std::fs::read_to_string(&note).unwrap_or(noted);
            assert!(Instant::now() < deadline, "the disk does not change over");
        }
        noted = std::fs::read_to_string(&note).unwrap_or(noted);
        child.kill().unwrap();
        child.wait().unwrap();
        // Where the kill came too late, the note is as it was a moment before.
        std::fs::write(&note, noted).unwrap();
        let domains = house.world.open().await;
        let mut listener = Listener::new(&domains);
        let guest = domains.find("web1").unwrap();
        end_it(&guest).await;
        let told = listener.seen();
        let ends: Vec<_> = told.iter().filter(|event| event.starts_with("block_job ")).collect();
        assert!(ends.iter().all(|event| event.ends_with(" completed")), "{told:?}");
        assert!(!ends.is_empty(), "{told:?}");
        assert_eq!(house::top_of(&guest), house.layer(0));
        guest.destroy(DestroyOptions::default()).await.unwrap();
        house.has_all(0);
    }
}
