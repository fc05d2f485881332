//! All jobs, one after the other, on disks that are driven otherwise: past the host's cache, by threads of their own, with
//! what is trimmed and zeroes that are looked for.

use lodge_domain::block_job::commit::{CommitOptions, commit};
use lodge_domain::block_job::copy::{CopyOptions, Destination, copy};
use lodge_domain::block_job::pull::{PullOptions, pull};
use lodge_domain::block_job::{abort, pivot};
use lodge_domain::{DestroyOptions, Handle, SnapshotCreateOptions, SnapshotDeleteOptions, Ticket};

use super::house::{self, House};
use super::{active, slow};
use crate::support::{Listener, has_qemu, until};

async fn free(guest: &Handle) {
    until(guest, "free", |snapshot| snapshot.job.is_none()).await;
}

async fn take(guest: &Handle, name: &str) {
    let xml = format!("<domainsnapshot><name>{name}</name></domainsnapshot>");
    let options = SnapshotCreateOptions { disk_only: true, ..SnapshotCreateOptions::default() };
    guest.create_snapshot(xml, options, Ticket::default()).await.unwrap();
}

/// Every job, and the disk is on a copy in the end, or on the base.
async fn all_of_them(house: &House, copies: bool) {
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    let mut events = Listener::new(&domains);
    let path = |at: usize| house.layer(at).display().to_string();
    // 3 on 2 on 1 on 0: 1 goes into 0, 2 comes up into 3.
    let options = CommitOptions { top: Some(path(1)), ..CommitOptions::default() };
    guest.change(commit("vda".to_owned(), options)).await.unwrap();
    events.wait_for("block_job vda commit completed").await;
    free(&guest).await;
    let options = PullOptions { base: Some(path(0)), ..PullOptions::default() };
    guest.change(pull("vda".to_owned(), options)).await.unwrap();
    events.wait_for("block_job vda pull completed").await;
    free(&guest).await;
    take(&guest, "s1").await;
    take(&guest, "s2").await;
    house.wait_for_writes(10).await;
    for name in ["s1", "s2"] {
        guest.delete_snapshot(name.to_owned(), SnapshotDeleteOptions::default()).await.unwrap();
    }
    guest.change(commit("vda".to_owned(), slow(active()))).await.unwrap();
    guest.change(abort::abort("vda".to_owned(), true)).await.unwrap();
    events.wait_for("block_job vda active-commit canceled").await;
    free(&guest).await;
    let copied = house.world.dir.path().join("copied");
    if copies {
        let to = Destination { path: copied.display().to_string(), ..Destination::default() };
        let options = CopyOptions { transient_job: true, ..CopyOptions::default() };
        guest.change(copy("vda".to_owned(), to, options)).await.unwrap();
    } else {
        guest.change(commit("vda".to_owned(), active())).await.unwrap();
    }
    house::wait_until_ready(&guest).await;
    free(&guest).await;
    guest.change(pivot::pivot("vda".to_owned(), true)).await.unwrap();
    free(&guest).await;
    house.wait_for_writes(20).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    let own = if copies { copied } else { house.layer(0) };
    assert_eq!(house::top_of(&guest), own);
    house.has_all_in(&own);
    // And it starts from there.
    house.restart(&guest).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_on_disks_past_the_hosts_cache() {
    if !has_qemu() {
        return;
    }
    for (driver, raw) in [
        ("cache='none' io='native'", true),
        ("cache='directsync'", false),
        ("cache='none' iothread='1'", true),
    ] {
        let house = if raw { House::on_raw(3) } else { House::new(3) };
        all_of_them(&house.driven(driver), !raw).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_on_disks_that_trim_and_look_for_zeroes() {
    if !has_qemu() {
        return;
    }
    for (driver, raw) in [
        ("discard='unmap' detect_zeroes='unmap'", true),
        ("discard='unmap' detect_zeroes='unmap' cache='none' io='io_uring'", false),
        ("discard='ignore' detect_zeroes='on' cache='writethrough' iothread='1'", true),
    ] {
        let house = if raw { House::on_raw(3) } else { House::new(3) };
        all_of_them(&house.driven(driver), raw).await;
    }
}
