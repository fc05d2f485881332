//! Snapshots where the host's disk is full, and where QEMU is killed amid one: images are whole, what was there is there,
//! and it can be asked for again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lodge_domain::{
    DestroyOptions, Progress, SnapshotDeleteOptions, SnapshotRevertOptions, StartOptions, Ticket,
};
use lodge_faults::SmallDisk;
use lodge_sys::process::{Identity, Process};
use tokio::sync::{Semaphore, watch};

use super::{CREATE, DISKS, House, is_sound, said};
use crate::block_jobs::house::is_clean;
use crate::support::{has_qemu, qemu_img, state, until};

const SPACE: &str = "No space left on device";
/// The disk's device: what is written through it is what the guest writes.
const DEVICE: &str = "/machine/peripheral/virtio-disk0/virtio-backend";

impl House {
    async fn start(&self) {
        self.guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    }

    /// The guest, which runs, writes a mark.
    async fn write(&self, byte: u8) {
        let monitor = self.guest.monitor().unwrap();
        for command in [&format!("write -q -P {byte} 0 64k"), "flush"] {
            monitor.human(&format!("qemu-io -d {DEVICE} \"{command}\"")).await.unwrap();
        }
    }

    /// Ends whatever QEMU there is of this house.
    fn kill_qemu(&self) {
        for (pid, _) in self.world.processes() {
            if let Ok(Some(identity)) = Identity::of(pid)
                && let Ok(Some(process)) = Process::hold(identity)
            {
                let _ = process.kill();
            }
        }
    }

    async fn is_off(&self) {
        until(&self.guest, "off", |view| !view.is_active() && view.job.is_none()).await;
    }

    /// Names of what is inside the image.
    fn inside(&self) -> Vec<String> {
        let told = qemu_img(&["snapshot", "-U", "-l", self.image.to_str().unwrap()]).unwrap();
        let names = told.lines().skip(2).filter_map(|line| line.split_whitespace().nth(1));
        names.map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_finds_no_room_is_told_with_its_place_and_leaves_nothing() {
    if !has_qemu() {
        return;
    }
    let Some(disk) = SmallDisk::new(16).unwrap() else { return };
    let house = House::new().await;
    house.start().await;
    let files = house.world.files();
    let nodes = house.guest.monitor().unwrap().block_nodes().await.unwrap().len();
    disk.fill_but(128 << 10).unwrap();
    let file = disk.path().join("memory");
    let xml = format!(
        "<domainsnapshot><name>m1</name><memory snapshot='external' file='{}'/></domainsnapshot>",
        file.display()
    );
    let full = house.guest.create_snapshot(xml.clone(), CREATE, Ticket::default()).await.unwrap_err();
    let (told, place) = (said(&full), file.display().to_string());
    assert!(told.contains(SPACE) && told.contains(&place), "{told}");
    assert_eq!((state(&house.guest).as_str(), house.names().as_str()), ("running (booted)", ""));
    assert_eq!(house.world.files(), files);
    let left: Vec<_> = std::fs::read_dir(disk.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.iter().all(|path| path.ends_with(".ballast")), "{left:?}");
    assert_eq!(house.guest.monitor().unwrap().block_nodes().await.unwrap().len(), nodes);
    assert_eq!(house.disk(), house.image);
    disk.free().unwrap();
    house.guest.create_snapshot(xml, CREATE, Ticket::default()).await.unwrap();
    house.revert("m1", SnapshotRevertOptions::default()).await.unwrap();
    assert_eq!(state(&house.guest), "running (from snapshot)");
    house.guest.destroy(DestroyOptions::default()).await.unwrap();
    house.domains.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_room_for_the_memory_is_whole_and_the_guest_goes_on() {
    if !has_qemu() {
        return;
    }
    let Some(disk) = SmallDisk::new(24).unwrap() else { return };
    let house = House::in_place(disk.path()).await;
    house.mark(1);
    house.start().await;
    disk.fill_but(256 << 10).unwrap();
    // QEMU calls it an I/O error.
    let full = said(&house.take("i1", CREATE).await.unwrap_err());
    assert!(
        full.contains("Error while writing VM state") && full.contains(house.image.to_str().unwrap()),
        "{full}"
    );
    assert_eq!((state(&house.guest).as_str(), house.names().as_str()), ("running (booted)", ""));
    assert_eq!(house.inside(), [""; 0]);
    // A new file finds no room either.
    disk.free().unwrap();
    disk.fill_but(0).unwrap();
    let full = said(&house.take("e1", DISKS).await.unwrap_err());
    assert!(
        full.contains(SPACE) && full.contains(house.image.with_extension("e1").to_str().unwrap()),
        "{full}"
    );
    assert!(!house.image.with_extension("e1").exists());
    assert_eq!((house.names().as_str(), house.disk()), ("", house.image.clone()));
    disk.free().unwrap();
    house.take("i1", CREATE).await.unwrap();
    house.write(2).await;
    house.revert("i1", SnapshotRevertOptions::default()).await.unwrap();
    house.guest.destroy(DestroyOptions::default()).await.unwrap();
    is_sound(&house.image);
    assert_eq!(house.seen(), 1);
    // Inside, off: the tables alone take room.
    disk.fill_but(0).unwrap();
    let taken = house.take("off", CREATE).await.map_err(|error| said(&error));
    if let Err(full) = &taken {
        assert!(full.contains(SPACE) && full.contains(house.image.to_str().unwrap()), "{full}");
        assert_eq!((house.names().as_str(), house.inside().join(" ").as_str()), ("i1", "i1"));
    }
    is_sound(&house.image);
    house.domains.close(Duration::from_secs(5)).await;
}

/// What is known and what is in the image are the same, or the rest can be done now.
async fn settle(house: &House, names: &[&str]) {
    is_clean(&house.image);
    let known = house.names();
    for name in known.split_whitespace() {
        if !house.inside().iter().any(|inside| inside == name) {
            // A deletion that was cut off.
            house.delete(name, SnapshotDeleteOptions::default()).await.unwrap();
        }
    }
    assert!(names.iter().all(|name| house.names().split_whitespace().any(|known| known == *name)), "{known}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_killed_amid_taking_or_deleting_a_snapshot_inside_leaves_every_other() {
    if !has_qemu() {
        return;
    }
    let mut cut = 0;
    for (round, wait_ms) in [0_u64, 3, 8, 15, 30, 60, 0, 3, 8, 15, 30].into_iter().enumerate() {
        let deletes = round > 5;
        let house = House::new().await;
        house.mark(1);
        house.start().await;
        house.take("kept", CREATE).await.unwrap();
        house.write(2).await;
        if deletes {
            house.take("other", CREATE).await.unwrap();
        }
        let guest = house.guest.clone();
        let act = tokio::spawn(async move {
            if deletes {
                return guest.delete_snapshot("other".to_owned(), SnapshotDeleteOptions::default()).await;
            }
            let xml = "<domainsnapshot><name>other</name></domainsnapshot>".to_owned();
            guest.create_snapshot(xml, CREATE, Ticket::default()).await.map(drop)
        });
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        house.kill_qemu();
        let done = act.await.unwrap();
        house.is_off().await;
        cut += usize::from(done.is_err());
        let is_known = house.names().contains("other");
        if done.is_ok() {
            assert_eq!(is_known, !deletes, "what was told as done is not");
        }
        if !deletes && is_known {
            assert!(house.inside().contains(&"other".to_owned()), "known, and not there");
        }
        assert_eq!(house.seen(), 2, "what the guest was told is written");
        settle(&house, &["kept"]).await;
        house.revert("kept", SnapshotRevertOptions::default()).await.unwrap();
        house.guest.destroy(DestroyOptions::default()).await.unwrap();
        assert_eq!(house.seen(), 1);
        house.start().await;
        house.take("again", CREATE).await.unwrap();
        house.guest.destroy(DestroyOptions::default()).await.unwrap();
        is_clean(&house.image);
        house.domains.close(Duration::from_secs(5)).await;
    }
    assert!(cut > 0, "no kill came amid an act");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_killed_amid_a_revert_leaves_the_snapshot_and_the_next_revert_works() {
    if !has_qemu() {
        return;
    }
    for external in [false, true] {
        let mut cut = 0;
        // At the end whenever the revert's own QEMU is there, however fast this machine is.
        for wait_ms in [Some(0), Some(20), Some(50), Some(90), Some(140), Some(200), None, None] {
            let house = House::new().await;
            house.mark(1);
            house.start().await;
            if external {
                let memory = house.world.dir.path().join("memory");
                let xml = format!(
                    "<domainsnapshot><name>s1</name><memory snapshot='external' file='{}'/></domainsnapshot>",
                    memory.display()
                );
                house.guest.create_snapshot(xml, CREATE, Ticket::default()).await.unwrap();
            } else {
                house.take("s1", CREATE).await.unwrap();
            }
            house.write(2).await;
            let before = house.world.processes();
            let guest = house.guest.clone();
            let act = tokio::spawn(async move {
                let options = SnapshotRevertOptions::default();
                guest.revert_to_snapshot("s1".to_owned(), options, Ticket::default()).await
            });
            if let Some(wait_ms) = wait_ms {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            } else {
                let is_new = |pid: &u32| !before.contains_key(pid);
                while !act.is_finished() && !house.world.processes().keys().any(is_new) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            house.kill_qemu();
            cut += usize::from(act.await.unwrap().is_err());
            house.kill_qemu();
            house.is_off().await;
            let top = house.disk();
            is_clean(&top);
            is_clean(&house.image);
            assert!([1, 2].contains(&house.seen()), "neither what was nor what is gone back to");
            house.revert("s1", SnapshotRevertOptions::default()).await.unwrap();
            assert_eq!(state(&house.guest), "running (from snapshot)");
            house.guest.destroy(DestroyOptions::default()).await.unwrap();
            assert_eq!(house.seen(), 1);
            is_clean(Path::new(&house.disk()));
            house.domains.close(Duration::from_secs(5)).await;
        }
        assert!(cut > 0, "no kill came amid a revert");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_killed_amid_taking_a_file_above_leaves_every_byte() {
    if !has_qemu() {
        return;
    }
    for wait_ms in [0_u64, 5, 12, 25, 50] {
        let house = House::new().await;
        house.mark(1);
        house.start().await;
        house.write(2).await;
        let guest = house.guest.clone();
        let act = tokio::spawn(async move {
            let xml = "<domainsnapshot><name>e1</name></domainsnapshot>".to_owned();
            guest.create_snapshot(xml, DISKS, Ticket::default()).await
        });
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        house.kill_qemu();
        let done = act.await.unwrap();
        house.is_off().await;
        if done.is_err() {
            assert_eq!((house.names().as_str(), house.disk()), ("", house.image.clone()));
            assert!(!house.image.with_extension("e1").exists(), "half a snapshot is left");
        } else {
            assert_eq!((house.names().as_str(), house.disk()), ("e1", house.image.with_extension("e1")));
        }
        assert_eq!(house.seen(), 2);
        is_clean(&house.disk());
        is_clean(&house.image);
        house.start().await;
        house.guest.destroy(DestroyOptions::default()).await.unwrap();
        house.domains.close(Duration::from_secs(5)).await;
    }
}

/// Nobody but who wants this very guest waits for it, and who does is told why, or waits as long as it takes.
#[test]
fn a_merge_that_a_daemon_left_holds_up_its_guest_only() {
    if !has_qemu() {
        return;
    }
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let first = runtime();
    let gate = Arc::new(Semaphore::new(0));
    let (world, image) = first.block_on(async {
        let house = House::new().await;
        house.mark(1);
        house.take("e1", DISKS).await.unwrap();
        house.mark(2);
        house.guest.set_autostart(true).await.unwrap();
        house.world.fakes.0.lock().unwrap().merging = Some(Arc::clone(&gate));
        let guest = house.guest.clone();
        tokio::spawn(async move {
            guest.delete_snapshot("e1".to_owned(), SnapshotDeleteOptions::default()).await
        });
        let is_merging =
            || house.world.fakes.0.lock().unwrap().calls.iter().any(|call| call == "commit image");
        while !is_merging() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let House { world, image, .. } = house;
        (world, image)
    });
    // The daemon is gone, and all that it was at.
    first.shutdown_timeout(Duration::from_secs(5));
    runtime().block_on(async {
        let begun = Instant::now();
        let domains = world.open().await;
        assert!(begun.elapsed() < Duration::from_secs(10), "all wait for it: {:?}", begun.elapsed());
        let guest = domains.find("web1").unwrap();
        assert_eq!(state(&guest), "shut off (unknown)");
        let impatient = Ticket { patience: Some(Duration::from_millis(100)), ..Ticket::default() };
        let why = said(&guest.start(StartOptions::default(), impatient).await.unwrap_err());
        assert!(why.contains("busy with `what an earlier daemon left`"), "{why}");
        let (told, mut progress) = watch::channel(Progress::default());
        let patient = Ticket { progress: Some(told), ..Ticket::default() };
        let autostart = {
            let domains = domains.clone();
            tokio::spawn(async move { domains.autostart().await.len() })
        };
        let start = {
            let guest = guest.clone();
            tokio::spawn(async move {
                guest.start(StartOptions::default(), patient).await.map_err(|error| said(&error))
            })
        };
        progress.changed().await.unwrap();
        assert_eq!(progress.borrow().phase, "waiting until `what an earlier daemon left` is done");
        gate.add_permits(1);
        // One of the two starts it.
        let (failed, started) = (autostart.await.unwrap(), start.await.unwrap());
        assert_eq!(failed + usize::from(started.is_err()), 1, "{started:?}");
        let house = House { world, domains, guest, image };
        house.guest.destroy(DestroyOptions::default()).await.unwrap();
        assert_eq!((house.seen(), house.disk(), house.names().as_str()), (2, house.image.clone(), ""));
        house.domains.close(Duration::from_secs(5)).await;
    });
}
