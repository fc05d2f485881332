//! What a guest trims comes back to the host, where the document says `discard='unmap'`, and only there.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use lodge_domain::{CreateOptions, DestroyOptions, Ticket};

use crate::support::{World, has_qemu, tiny_with};

const WRITTEN: u64 = 4 << 20;

/// Bytes that the disk's file takes before and after the guest's device discarded all of it.
async fn before_and_after(format: &str, discard: &str) -> (u64, u64) {
    let world = World::new();
    let path = world.dir.path().join("disk");
    let file = path.display().to_string();
    let run = |program: &str, args: &[&str]| {
        let done = Command::new(program).args(args).output().unwrap();
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    };
    run("qemu-img", &["create", "-q", "-f", format, &file, "8M"]);
    run("qemu-io", &["-f", format, "-c", &format!("write -q -P 7 0 {WRITTEN}"), &file]);
    let taken = || std::fs::metadata(&path).unwrap().blocks() * 512;
    let before = taken();
    let domains = world.open().await;
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='{format}'{discard}/><source file='{file}'/>\
         <target dev='vda' bus='virtio'/></disk>"
    );
    let document = tiny_with("trim", "", &disk);
    let guest = domains.create(&document, CreateOptions::default(), Ticket::default()).await.unwrap();
    // What the device does when its guest trims, by the device's own way to the disk.
    let trim = format!("qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend \"discard 0 {WRITTEN}\"");
    let said = guest.monitor().unwrap().human(&trim).await.unwrap();
    assert!(!said.contains("failed"), "{said}");
    guest.destroy(DestroyOptions::default()).await.unwrap();
    (before, taken())
}

#[tokio::test(flavor = "multi_thread")]
async fn trimmed_blocks_come_back_to_the_host() {
    if !has_qemu() {
        return;
    }
    for format in ["qcow2", "raw"] {
        let (before, after) = before_and_after(format, " discard='unmap'").await;
        assert!(before >= WRITTEN && after + WRITTEN <= before + (1 << 20), "{format}: {before} → {after}");
        // As libvirt: a document that does not say so keeps the blocks.
        let (before, after) = before_and_after(format, "").await;
        assert!(after >= before, "{format}: {before} → {after}");
    }
}
