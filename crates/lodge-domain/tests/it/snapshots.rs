//! Snapshots with real images and real QEMU: taken, reverted to, deleted, refused, and found again by a next daemon.

mod branches;
mod faults;
mod live;

use std::path::{Path, PathBuf};
use std::time::Duration;

use lodge_domain::{
    CreateOptions, DefineOptions, DestroyOptions, DomainError, Domains, Handle, SnapshotCreateOptions,
    SnapshotDeleteOptions, SnapshotRevertOptions, StartOptions, Ticket, UndefineOptions, chain,
};
use lodge_model::Kind;

use crate::support::{World, has_qemu, qemu_img, state, tiny_with};

const CREATE: SnapshotCreateOptions = SnapshotCreateOptions {
    redefine: false,
    current: false,
    no_metadata: false,
    halt: false,
    disk_only: false,
    reuse_external: false,
    quiesce: false,
    live: false,
    validate: false,
};
const DISKS: SnapshotCreateOptions = SnapshotCreateOptions { disk_only: true, ..CREATE };

/// A domain with an image of its own.
struct House {
    world: World,
    domains: Domains,
    guest: Handle,
    image: PathBuf,
}

impl House {
    async fn new() -> Self {
        let world = World::new();
        let place = world.dir.path().to_owned();
        Self::of(world, &place).await
    }

    /// Its image lies there.
    async fn in_place(place: &Path) -> Self {
        Self::of(World::new(), place).await
    }

    async fn of(world: World, place: &Path) -> Self {
        let domains = world.open().await;
        let image = place.join("web1.qcow2");
        qemu_img(&["create", "-q", "-f", "qcow2", image.to_str().unwrap(), "4M"]).unwrap();
        let disk = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
             <target dev='vda' bus='virtio'/></disk>",
            image.display()
        );
        let guest =
            domains.define(&tiny_with("web1", "<genid/>", &disk), DefineOptions::default()).await.unwrap();
        Self { world, domains, guest, image }
    }

    async fn take(&self, name: &str, options: SnapshotCreateOptions) -> Result<String, DomainError> {
        let xml = format!("<domainsnapshot><name>{name}</name></domainsnapshot>");
        self.guest.create_snapshot(xml, options, Ticket::default()).await
    }

    async fn revert(&self, name: &str, options: SnapshotRevertOptions) -> Result<(), DomainError> {
        self.guest.revert_to_snapshot(name.to_owned(), options, Ticket::default()).await
    }

    async fn delete(&self, name: &str, options: SnapshotDeleteOptions) -> Result<(), DomainError> {
        self.guest.delete_snapshot(name.to_owned(), options).await
    }

    /// The file the guest writes.
    fn disk(&self) -> PathBuf {
        let document = self.guest.document().unwrap();
        document.devices.disks[0].path().unwrap().into()
    }

    /// Writes a mark into what the guest sees, from outside: it is off.
    fn mark(&self, byte: u8) {
        let disk = self.disk();
        let write = format!("write -q -P {byte} 0 64k");
        let done = std::process::Command::new("qemu-io").args(["-c", &write]).arg(&disk).status().unwrap();
        assert!(done.success());
    }

    /// The mark that the guest sees.
    fn seen(&self) -> u8 {
        let raw = self.world.dir.path().join("seen.raw");
        let disk = self.disk();
        qemu_img(&["convert", "-O", "raw", disk.to_str().unwrap(), raw.to_str().unwrap()]).unwrap();
        let bytes = std::fs::read(&raw).unwrap();
        std::fs::remove_file(&raw).unwrap();
        assert!(bytes[..65536].iter().all(|byte| *byte == bytes[0]));
        bytes[0]
    }

    fn names(&self) -> String {
        self.guest.snapshots().names().collect::<Vec<_>>().join(" ")
    }

    fn current(&self) -> Option<String> {
        self.guest.snapshots().current().map(|snapshot| snapshot.name().to_owned())
    }
}

fn said(error: &DomainError) -> String {
    chain(error)
}

fn is_sound(image: &Path) {
    qemu_img(&["check", "-q", image.to_str().unwrap()]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_is_off_goes_back_to_what_it_was() {
    if !has_qemu() {
        return;
    }
    let house = House::new().await;
    house.mark(1);
    assert_eq!(house.take("s1", CREATE).await.unwrap(), "s1");
    house.mark(2);
    house.take("s2", CREATE).await.unwrap();
    house.mark(3);
    assert_eq!((house.names().as_str(), house.current().as_deref()), ("s1 s2", Some("s2")));
    assert_eq!(house.guest.snapshot().snapshots, 2);
    let again = house.take("s2", CREATE).await.unwrap_err();
    assert_eq!(said(&again), "domain moment s2 already exists");
    house.revert("s1", SnapshotRevertOptions::default()).await.unwrap();
    assert_eq!((house.seen(), house.current().as_deref()), (1, Some("s1")));
    house.revert("s2", SnapshotRevertOptions::default()).await.unwrap();
    assert_eq!(house.seen(), 2);
    // The next daemon knows them.
    let House { world, domains, guest, image } = house;
    drop(guest);
    domains.close(Duration::from_secs(5)).await;
    let domains = world.open().await;
    let guest = domains.find("web1").unwrap();
    let house = House { world, domains, guest, image };
    assert_eq!((house.names().as_str(), house.current().as_deref()), ("s1 s2", Some("s2")));
    let held = house.guest.undefine(UndefineOptions::default()).await.unwrap_err();
    assert_eq!(held.kind(), Kind::InvalidState);
    house.delete("s1", SnapshotDeleteOptions::default()).await.unwrap();
    assert_eq!(house.guest.snapshots().get("s2").unwrap().parent(), None);
    house.delete("s2", SnapshotDeleteOptions::default()).await.unwrap();
    let missing = house.delete("s2", SnapshotDeleteOptions::default()).await.unwrap_err();
    assert!(matches!(missing, DomainError::NoSnapshot { .. }));
    assert_eq!(house.guest.snapshot().snapshots, 0);
    is_sound(&house.image);
    let info = qemu_img(&["snapshot", "-l", house.image.to_str().unwrap()]).unwrap();
    assert_eq!(info, "", "nothing is left inside");
    house.guest.undefine(UndefineOptions::default()).await.unwrap();
    house.domains.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_guest_goes_back_with_its_memory() {
    if !has_qemu() {
        return;
    }
    let house = House::new().await;
    house.guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    house.take("r1", CREATE).await.unwrap();
    assert_eq!(state(&house.guest), "running (unpaused)");
    house.guest.suspend().await.unwrap();
    house.take("r2", CREATE).await.unwrap();
    assert_eq!(state(&house.guest), "paused (user)");
    let domid = house.guest.snapshot().domid();
    let generation = || house.guest.document().unwrap().genid.unwrap().uuid.unwrap();
    let first = generation();
    house.revert("r1", SnapshotRevertOptions::default()).await.unwrap();
    let second = generation();
    assert_ne!(first, second, "its past goes on a second time");
    assert_eq!(state(&house.guest), "running (from snapshot)");
    assert_ne!(house.guest.snapshot().domid(), domid, "it is another run");
    house.revert("r2", SnapshotRevertOptions::default()).await.unwrap();
    assert_eq!(state(&house.guest), "paused (from snapshot)");
    assert!(![first, second].contains(&generation()), "and a third");
    let running = SnapshotRevertOptions { running: true, ..SnapshotRevertOptions::default() };
    house.revert("r2", running).await.unwrap();
    assert_eq!(state(&house.guest), "running (from snapshot)");
    house.delete("r2", SnapshotDeleteOptions::default()).await.unwrap();
    assert_eq!(house.current().as_deref(), Some("r1"));
    house.take("r3", SnapshotCreateOptions { halt: true, ..CREATE }).await.unwrap();
    assert_eq!(state(&house.guest), "shut off (from snapshot)");
    // From off to on, by its memory alone.
    house.revert("r1", SnapshotRevertOptions::default()).await.unwrap();
    assert_eq!(state(&house.guest), "running (from snapshot)");
    house.guest.destroy(DestroyOptions::default()).await.unwrap();
    is_sound(&house.image);
    house.domains.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_their_own_are_made_reverted_to_and_merged() {
    if !has_qemu() {
        return;
    }
    let house = House::new().await;
    house.mark(1);
    house.take("e1", DISKS).await.unwrap();
    assert_eq!(house.disk(), house.image.with_extension("e1"));
    house.mark(2);
    // Below a running guest.
    house.guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    house.take("e2", DISKS).await.unwrap();
    assert_eq!(house.disk(), house.image.with_extension("e2"));
    let memory = house.world.dir.path().join("memory");
    let xml = format!(
        "<domainsnapshot><name>e3</name><memory snapshot='external' file='{}'/></domainsnapshot>",
        memory.display()
    );
    house.guest.create_snapshot(xml, CREATE, Ticket::default()).await.unwrap();
    assert_eq!(state(&house.guest), "running (unpaused)");
    assert!(memory.metadata().unwrap().len() > 4096);
    assert_eq!(house.disk(), house.image.with_extension("e3"));
    house.guest.destroy(DestroyOptions::default()).await.unwrap();
    assert_eq!(house.seen(), 2);
    house.mark(3);
    // Back to the running guest: its own file above what e3 froze.
    house.revert("e3", SnapshotRevertOptions::default()).await.unwrap();
    assert_eq!(state(&house.guest), "running (from snapshot)");
    house.guest.destroy(DestroyOptions::default()).await.unwrap();
    assert_eq!(house.seen(), 2);
    house.revert("e1", SnapshotRevertOptions::default()).await.unwrap();
    assert_eq!((house.seen(), house.current().as_deref()), (1, Some("e1")));
    // e1 has a branch now whose files still stand on its image.
    let kept = house.delete("e1", SnapshotDeleteOptions::default()).await.unwrap_err();
    assert_eq!(
        said(&kept),
        "deletion of active external snapshot that is not a leaf snapshot is not supported"
    );
    house.revert("e2", SnapshotRevertOptions::default()).await.unwrap();
    assert_eq!((house.seen(), state(&house.guest).as_str()), (2, "shut off (destroyed)"));
    for image in ["qcow2", "e1", "e2"] {
        is_sound(&house.image.with_extension(image));
    }
    house.domains.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_file_is_merged_into_what_it_stands_on() {
    if !has_qemu() {
        return;
    }
    let house = House::new().await;
    house.mark(1);
    house.take("e1", DISKS).await.unwrap();
    house.mark(2);
    house.take("e2", DISKS).await.unwrap();
    house.mark(3);
    // From the middle of the chain, then from its end.
    house.delete("e1", SnapshotDeleteOptions::default()).await.unwrap();
    assert_eq!(house.seen(), 3);
    assert!(!house.image.with_extension("e1").exists());
    house.revert("e2", SnapshotRevertOptions::default()).await.unwrap();
    assert_eq!(house.seen(), 2, "what e2 froze is what it was");
    house.mark(4);
    house.delete("e2", SnapshotDeleteOptions::default()).await.unwrap();
    assert_eq!((house.seen(), house.disk()), (4, house.image.clone()));
    assert_eq!(house.names(), "");
    house.guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    house.guest.destroy(DestroyOptions::default()).await.unwrap();
    is_sound(&house.image);
    house.domains.close(Duration::from_secs(5)).await;
}

/// virt-manager's issue 811: an external snapshot, what is known of it given back as a side branch, a deletion, and the
/// base image was gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_never_takes_the_base_away() {
    if !has_qemu() {
        return;
    }
    let house = House::new().await;
    house.mark(1);
    house.take("one", DISKS).await.unwrap();
    let xml = house.guest.snapshots().get("one").unwrap().to_xml(true);
    house.mark(2);
    house.take("two", DISKS).await.unwrap();
    house.delete("one", SnapshotDeleteOptions { metadata: true, ..Default::default() }).await.unwrap();
    let redefine = SnapshotCreateOptions { redefine: true, ..CREATE };
    house.guest.create_snapshot(xml, redefine, Ticket::default()).await.unwrap();
    house.delete("one", SnapshotDeleteOptions::default()).await.unwrap();
    assert!(house.image.exists(), "the base is there");
    assert_eq!(house.seen(), 2, "and all that stands on it can be read");
    // A clone that nobody told us of stands on the newest file's base.
    let clone = house.world.dir.path().join("clone.qcow2");
    let base = house.image.with_extension("one");
    let made = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base.to_str().unwrap()];
    qemu_img(&[made.as_slice(), &[clone.to_str().unwrap()]].concat()).unwrap();
    let refused = house.delete("two", SnapshotDeleteOptions::default()).await.unwrap_err();
    assert!(said(&refused).contains("clone.qcow2"), "{}", said(&refused));
    assert_eq!((house.names().as_str(), house.seen()), ("two", 2));
    house.domains.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_leaves_all_as_it_was() {
    if !has_qemu() {
        return;
    }
    let house = House::new().await;
    house.mark(1);
    let before = house.world.files();
    for (call, options) in [("snapshot image", CREATE), ("create overlay", DISKS)] {
        house.world.fakes.fail(Some(call));
        let failed = house.take("s1", options).await.unwrap_err();
        assert!(said(&failed).contains("was made to fail"), "{}", said(&failed));
        house.world.fakes.fail(None);
        assert_eq!((house.names().as_str(), house.disk()), ("", house.image.clone()));
        assert_eq!(house.world.files(), before);
    }
    house.guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    let running = house.world.files();
    house.world.fakes.fail(Some("claim"));
    house.take("s1", DISKS).await.unwrap_err();
    house.world.fakes.fail(None);
    assert_eq!(house.world.files(), running);
    assert_eq!(house.disk(), house.image);
    let quiesce = SnapshotCreateOptions { quiesce: true, ..DISKS };
    let no_agent = house.take("s1", quiesce).await.unwrap_err();
    assert!(matches!(no_agent, DomainError::NoAgent { .. }), "{}", said(&no_agent));
    assert_eq!(state(&house.guest), "running (booted)");
    house.take("s1", DISKS).await.unwrap();
    house.guest.destroy(DestroyOptions::default()).await.unwrap();
    house.domains.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_guests_snapshots_go_with_it() {
    if !has_qemu() {
        return;
    }
    let house = House::new().await;
    let xml = house.guest.xml(lodge_domain::XmlOptions::default()).await.unwrap();
    house.guest.undefine(UndefineOptions::default()).await.unwrap();
    let guest = house.domains.create(&xml, CreateOptions::default(), Ticket::default()).await.unwrap();
    let house = House { guest, ..house };
    house.take("t1", CREATE).await.unwrap();
    let halt = house.take("t2", SnapshotCreateOptions { halt: true, ..CREATE }).await.unwrap_err();
    assert_eq!(said(&halt), "cannot halt after transient domain snapshot");
    house.revert("t1", SnapshotRevertOptions::default()).await.unwrap();
    assert_eq!(state(&house.guest), "running (from snapshot)");
    house.guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(house.domains.list().is_empty());
    house.domains.close(Duration::from_secs(5)).await;
}
