//! Whoever comes in between: an end that is asked for twice and otherwise, a guest that is ended, QEMU killed amid jobs of
//! two disks, and what cannot be done to a disk that a job has. Each is a clear answer, in time, and no byte is lost.

use std::time::Duration;

use lodge_domain::block_job::commit::commit;
use lodge_domain::block_job::copy::{CopyOptions, Destination, copy};
use lodge_domain::block_job::pull::{PullOptions, pull};
use lodge_domain::block_job::{abort, pivot};
use lodge_domain::control::tune::block::resize;
use lodge_domain::{DestroyOptions, DomainError, Handle, SnapshotCreateOptions, Ticket};

use super::house::{self, House, refused};
use super::{active, slow};
use crate::support::{has_qemu, until};

/// Long enough on a busy machine; what hangs takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

async fn until_idle(guest: &Handle, disk: &str) {
    in_time("the job", async {
        while guest.block_job(disk).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn take(guest: &Handle, name: &str, options: SnapshotCreateOptions) -> Result<String, DomainError> {
    let xml = format!("<domainsnapshot><name>{name}</name></domainsnapshot>");
    guest.create_snapshot(xml, options, Ticket::default()).await
}

const DISKS: SnapshotCreateOptions = SnapshotCreateOptions {
    redefine: false,
    current: false,
    no_metadata: true,
    halt: false,
    disk_only: true,
    reuse_external: false,
    quiesce: false,
    live: false,
    validate: false,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_beside_a_pivot_ends_the_job_one_way_or_the_other() {
    if !has_qemu() {
        return;
    }
    for raw in [true, false] {
        let house = if raw { House::on_raw(1) } else { House::new(1) };
        let domains = house.world.open().await;
        let guest = house.start(&domains).await;
        let (mut aborted, mut pivoted) = (0, 0);
        for round in 0..10_u64 {
            guest.change(commit("vda".to_owned(), active())).await.unwrap();
            if round % 2 == 0 {
                house::wait_until_ready(&guest).await;
            }
            tokio::time::sleep(Duration::from_millis(round)).await;
            let ends = [round % 4 < 2, round % 4 >= 2].map(|first| {
                let guest = guest.clone();
                tokio::spawn(async move {
                    let (waits, disk) = (round % 3 > 0, "vda".to_owned());
                    let end = if first { abort::abort(disk, waits) } else { pivot::pivot(disk, waits) };
                    guest.change(end).await.map_err(|error| error.to_string())
                })
            });
            for end in ends {
                if let Err(why) = in_time("an end", end).await.unwrap() {
                    let known = [
                        "not ready for pivot yet",
                        "still being ended",
                        "not have an active",
                        "while pivoting",
                    ];
                    assert!(known.iter().any(|words| why.contains(words)), "round {round}: {why}");
                }
            }
            until_idle(&guest, "vda").await;
            until(&guest, "free", |snapshot| snapshot.job.is_none()).await;
            house.wait_for_writes(5).await;
            if house::top_of(&guest) == house.layer(0) {
                pivoted += 1;
                take(&guest, &format!("r{round}"), DISKS).await.unwrap();
            } else {
                aborted += 1;
            }
        }
        eprintln!("{aborted} aborted, {pivoted} pivoted");
        assert!(aborted > 0 && pivoted > 0, "{aborted} aborted, {pivoted} pivoted");
        until(&guest, "running", |snapshot| snapshot.state.words().0 == "running").await;
        let top = house::top_of(&guest);
        guest.destroy(DestroyOptions::default()).await.unwrap();
        house.has_all_in(&top);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_ended_amid_a_job_that_somebody_waits_for_is_off_at_once() {
    if !has_qemu() {
        return;
    }
    for round in 0..4 {
        let house = if round % 2 == 0 { House::on_raw(2) } else { House::new(2) };
        let domains = house.world.open().await;
        let guest = house.start(&domains).await;
        let to = Destination {
            path: house.world.dir.path().join("copy").display().to_string(),
            ..Destination::default()
        };
        let job = match round {
            0 => commit("vda".to_owned(), slow(active())),
            1 => pull("vda".to_owned(), PullOptions { speed: 64 << 10, ..PullOptions::default() }),
            2 => commit("vda".to_owned(), active()),
            _ => copy("vda".to_owned(), to, CopyOptions { transient_job: true, ..CopyOptions::default() }),
        };
        guest.change(job).await.unwrap();
        let waits = if round < 2 {
            abort::abort("vda".to_owned(), true)
        } else {
            house::wait_until_ready(&guest).await;
            pivot::pivot("vda".to_owned(), true)
        };
        let waiting = {
            let guest = guest.clone();
            tokio::spawn(async move { guest.change(waits).await.map(drop) })
        };
        tokio::time::sleep(Duration::from_millis(round * 3)).await;
        in_time("destroy", guest.destroy(DestroyOptions::default())).await.unwrap();
        // Done, or told that the guest is gone.
        let _ = in_time("who waits", waiting).await.unwrap();
        until(&guest, "off", |snapshot| !snapshot.is_active()).await;
        let top = house::top_of(&guest);
        house.has_all_in(&top);
        house.restart(&guest).await;
        assert_eq!(guest.block_job("vda").await.unwrap(), None);
        guest.destroy(DestroyOptions::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_killed_amid_jobs_of_two_disks_loses_nothing_of_either() {
    if !has_qemu() {
        return;
    }
    for (round, wait_ms) in [0_u64, 20, 80, 300].into_iter().enumerate() {
        let house = if round % 2 == 0 { House::on_raw(2) } else { House::new(2) }.with_other();
        let before = house.bytes_of(&house.other(1));
        let domains = house.world.open().await;
        let guest = house.start(&domains).await;
        let (first, other) = if round % 2 == 0 {
            (commit("vda".to_owned(), active()), pull("vdb".to_owned(), PullOptions::default()))
        } else {
            (pull("vda".to_owned(), PullOptions::default()), commit("vdb".to_owned(), active()))
        };
        guest.change(first).await.unwrap();
        guest.change(other).await.unwrap();
        let ends = {
            let guest = guest.clone();
            tokio::spawn(async move {
                for disk in ["vda", "vdb"].into_iter().cycle().take(200) {
                    let _ = guest.change(pivot::pivot(disk.to_owned(), true)).await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        };
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        house::kill_qemu(&guest);
        until(&guest, "off", |snapshot| !snapshot.is_active()).await;
        in_time("who ends the jobs", ends).await.unwrap();
        house.has_all_in(&house::top_of(&guest));
        let other = house::top_of_disk(&guest, 1);
        house::is_clean(&other);
        assert!(house.bytes_of(&other) == before, "round {round}: the second disk has other bytes");
        house.restart(&guest).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_change_a_disk_under_a_job_is_refused_by_name() {
    if !has_qemu() {
        return;
    }
    let house = House::new(2);
    let domains = house.world.open().await;
    let guest = house.start(&domains).await;
    guest.change(commit("vda".to_owned(), slow(active()))).await.unwrap();
    const BUSY: &str = "disk 'vda' already in active block job";
    assert_eq!(refused(&guest, resize("vda".to_owned(), 16 << 20)).await, BUSY);
    assert_eq!(refused(&guest, pull("vda".to_owned(), PullOptions::default())).await, BUSY);
    let memory = SnapshotCreateOptions { disk_only: false, ..DISKS };
    for options in [DISKS, SnapshotCreateOptions { no_metadata: false, ..memory }] {
        let why = take(&guest, "s", options).await.unwrap_err().to_string();
        assert!(why.contains(BUSY), "{why}");
    }
    assert_eq!(guest.snapshots().len(), 0);
    house.wait_for_writes(10).await;
    guest.change(abort::abort("vda".to_owned(), true)).await.unwrap();
    // And then it can be done.
    guest.change(resize("vda".to_owned(), 16 << 20)).await.unwrap();
    take(&guest, "s", DISKS).await.unwrap();
    house.wait_for_writes(10).await;
    let top = house::top_of(&guest);
    guest.destroy(DestroyOptions::default()).await.unwrap();
    house.has_all_in(&top);
}
