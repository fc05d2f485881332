//! Trees of snapshots: disks that some of them leave out, reverts within them, images that were changed by hand.

use std::path::{Path, PathBuf};

use lodge_domain::{
    DefineOptions, DestroyOptions, Domains, Handle, SnapshotDeleteOptions, SnapshotRevertOptions,
    StartOptions, Ticket,
};

use super::{DISKS, said};
use crate::support::{World, has_qemu, qemu_img, tiny_with};

/// A domain with two images, `vda` and `vdb`.
struct Two {
    world: World,
    domains: Domains,
    guest: Handle,
}

fn document(files: [&Path; 2]) -> String {
    let disk = |(file, target): (&Path, &str)| {
        format!(
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
             <target dev='{target}' bus='virtio'/></disk>",
            file.display()
        )
    };
    let disks = [disk((files[0], "vda")), disk((files[1], "vdb"))].concat();
    tiny_with("web1", "<uuid>3d1f6f0c-5a4e-4b53-9d1c-0f5a6c1d2e3f</uuid>", &disks)
}

fn make(path: &Path) {
    qemu_img(&["create", "-q", "-f", "qcow2", path.to_str().unwrap(), "1M"]).unwrap();
}

/// Writes a mark into the `at`th 64 KiB.
fn mark(image: &Path, at: usize, byte: u8) {
    let write = format!("write -q -P {byte} {}k 64k", at * 64);
    let done = std::process::Command::new("qemu-io").args(["-f", "qcow2", "-c", &write]).arg(image).status();
    assert!(done.unwrap().success());
}

impl Two {
    async fn new() -> Self {
        let world = World::new();
        let files = ["a.qcow2", "b.qcow2"].map(|name| world.dir.path().join(name));
        for file in &files {
            make(file);
        }
        let domains = world.open().await;
        let text = document([&files[0], &files[1]]);
        let guest = domains.define(&text, DefineOptions::default()).await.unwrap();
        Self { world, domains, guest }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.world.dir.path().join(name)
    }

    /// Of these disks alone.
    async fn take(&self, name: &str, disks: &[&str]) {
        let left_out = ["vda", "vdb"].into_iter().filter(|disk| !disks.contains(disk));
        let left_out = left_out.map(|disk| format!("<disk name='{disk}' snapshot='no'/>"));
        let left_out = left_out.collect::<String>();
        let xml = format!("<domainsnapshot><name>{name}</name><disks>{left_out}</disks></domainsnapshot>");
        self.guest.create_snapshot(xml, DISKS, Ticket::default()).await.unwrap();
    }

    async fn revert(&self, name: &str) {
        let options = SnapshotRevertOptions::default();
        self.guest.revert_to_snapshot(name.to_owned(), options, Ticket::default()).await.unwrap();
    }

    async fn delete(&self, name: &str) {
        let deleted = self.guest.delete_snapshot(name.to_owned(), SnapshotDeleteOptions::default()).await;
        deleted.map_err(|error| said(&error)).unwrap();
    }

    /// The file of each disk in the definition.
    fn own(&self) -> [PathBuf; 2] {
        let definition = self.domains.find("web1").unwrap().definition().unwrap().unwrap();
        [0, 1].map(|at| definition.devices.disks[at].path().unwrap().into())
    }

    /// The first marks that the guest sees.
    fn seen(&self, image: &Path) -> [u8; 4] {
        let raw = self.file("seen.raw");
        qemu_img(&[
            "convert",
            "-U",
            "-f",
            "qcow2",
            "-O",
            "raw",
            image.to_str().unwrap(),
            raw.to_str().unwrap(),
        ])
        .unwrap();
        let bytes = std::fs::read(&raw).unwrap();
        std::fs::remove_file(&raw).unwrap();
        [0, 1, 2, 3].map(|at| bytes[at * 65536])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_a_snapshot_left_out_is_not_written_where_another_froze_it() {
    if !has_qemu() {
        return;
    }
    let two = Two::new().await;
    two.take("s1", &["vda"]).await;
    mark(&two.file("b.qcow2"), 0, 1);
    // Not frozen by anybody: it stays as it is.
    two.revert("s1").await;
    assert_eq!(two.own()[1], two.file("b.qcow2"));
    two.take("s2", &["vda", "vdb"]).await;
    for _ in 0..2 {
        two.revert("s1").await;
        let [_, own] = two.own();
        assert_ne!(own, two.file("b.qcow2"), "s2 is this file");
        assert_eq!(two.seen(&own), [1, 0, 0, 0]);
        mark(&own, 0, 2);
    }
    two.revert("s2").await;
    assert_eq!(two.seen(&two.own()[1]), [1, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_goes_whose_child_left_a_disk_out() {
    if !has_qemu() {
        return;
    }
    let two = Two::new().await;
    mark(&two.file("b.qcow2"), 0, 1);
    two.take("s1", &["vda", "vdb"]).await;
    mark(&two.own()[1], 1, 2);
    two.take("s2", &["vda"]).await;
    two.take("s3", &["vda", "vdb"]).await;
    mark(&two.own()[1], 2, 3);
    two.delete("s1").await;
    assert_eq!(two.seen(&two.own()[1]), [1, 2, 3, 0]);
    assert!(!two.file("b.s1").exists());
    for name in ["s2", "s3"] {
        two.delete(name).await;
    }
    assert_eq!(two.own(), [two.file("a.qcow2"), two.file("b.qcow2")]);
    assert_eq!(two.seen(&two.own()[1]), [1, 2, 3, 0]);
}

/// The guest was reverted to a child, on which a branch stands that is not its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_parent_of_the_current_snapshot_goes_from_below_two_branches() {
    if !has_qemu() {
        return;
    }
    for runs in [false, true] {
        let two = Two::new().await;
        mark(&two.own()[0], 0, 1);
        two.take("s1", &["vda"]).await;
        mark(&two.own()[0], 1, 2);
        two.take("s2", &["vda"]).await;
        mark(&two.own()[0], 2, 3);
        two.take("s3", &["vda"]).await;
        two.revert("s2").await;
        mark(&two.own()[0], 3, 4);
        if runs {
            two.guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
        }
        two.delete("s1").await;
        if runs {
            two.guest.destroy(DestroyOptions::default()).await.unwrap();
        }
        assert!(!two.file("a.s1").exists());
        assert_eq!(two.seen(&two.own()[0]), [1, 2, 0, 4]);
        two.revert("s3").await;
        assert_eq!(two.seen(&two.own()[0]), [1, 2, 3, 0]);
        two.domains.close(std::time::Duration::from_secs(5)).await;
    }
}

/// Flattened with `qemu-img convert`, say: what it has no bytes for reads as zero, and not as what lies below.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_made_to_stand_alone_stays_so() {
    if !has_qemu() {
        return;
    }
    let two = Two::new().await;
    mark(&two.own()[0], 0, 1);
    two.take("s1", &["vda"]).await;
    mark(&two.own()[0], 1, 2);
    two.take("s2", &["vda"]).await;
    let own = two.own()[0].clone();
    let zero = ["-f", "qcow2", "-c", "write -q -z 64k 64k"];
    let done = std::process::Command::new("qemu-io").args(zero).arg(&own).status();
    assert!(done.unwrap().success());
    let alone = two.file("alone");
    qemu_img(&["convert", "-O", "qcow2", own.to_str().unwrap(), alone.to_str().unwrap()]).unwrap();
    std::fs::rename(&alone, &own).unwrap();
    assert_eq!(two.seen(&own), [1, 0, 0, 0]);
    two.delete("s1").await;
    assert_eq!(two.seen(&own), [1, 0, 0, 0]);
}

/// What is deeper than documents are read could never be read again.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_too_deep_is_refused_and_the_guest_goes_on() {
    if !has_qemu() {
        return;
    }
    let two = Two::new().await;
    let take = |number: usize| {
        let xml = format!("<domainsnapshot><name>s{number}</name></domainsnapshot>");
        two.guest.create_snapshot(xml, DISKS, Ticket::default())
    };
    for number in 1..100 {
        take(number).await.unwrap();
    }
    let refused = said(&take(100).await.unwrap_err());
    assert!(refused.starts_with("backing chains more than 100 layers deep are not supported"), "{refused}");
    assert!(!two.file("a.s100").exists());
    two.delete("s99").await;
    take(99).await.unwrap();
    two.guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    two.delete("s50").await;
    two.guest.destroy(DestroyOptions::default()).await.unwrap();
    assert_eq!(two.own()[0], two.file("a.s99"));
    two.domains.close(std::time::Duration::from_secs(5)).await;
}

/// The definition was given another disk while the guest runs; the next start is to be on that.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_a_running_guest_leaves_a_disk_that_its_definition_was_given() {
    if !has_qemu() {
        return;
    }
    let two = Two::new().await;
    let other = two.file("c.qcow2");
    make(&other);
    two.guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    let text = document([&other, &two.file("b.qcow2")]);
    two.domains.define(&text, DefineOptions::default()).await.unwrap();
    two.take("s1", &["vda", "vdb"]).await;
    assert_eq!(two.own(), [other.clone(), two.file("b.s1")]);
    two.guest.destroy(DestroyOptions::default()).await.unwrap();
    assert_eq!(two.own(), [other, two.file("b.s1")]);
    two.domains.close(std::time::Duration::from_secs(5)).await;
}
