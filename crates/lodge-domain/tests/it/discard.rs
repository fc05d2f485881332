//! What a guest trims comes back to the host from thin disks, unless the document says otherwise, however the disk came.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lodge_domain::control::Scope;
use lodge_domain::control::device::{Given, attach};
use lodge_domain::{CreateOptions, DestroyOptions, Handle, SnapshotCreateOptions, Ticket};

use crate::support::{World, has_qemu, qemu_img, tiny_with};

const WRITTEN: u64 = 4 << 20;
const DEVICE: &str = "/machine/peripheral/virtio-disk0/virtio-backend";

/// How the guest comes to its disk.
#[derive(Debug, Clone, Copy)]
enum Way {
    Started,
    Plugged,
    /// It was started with another one, and writes the file of a snapshot now.
    Snapshot,
}

/// Does with the device what it does when its guest writes or trims, by the device's own way to the disk.
async fn io(guest: &Handle, command: &str) {
    let command = format!("qemu-io -d {DEVICE} \"{command}\"");
    let said = guest.monitor().unwrap().human(&command).await.unwrap();
    assert!(!said.contains("failed"), "{said}");
}

fn taken(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

/// Bytes that the disk's file takes before and after the guest's device discarded all that was written.
async fn before_and_after(way: Way, format: &str, made: &str, discard: &str) -> (u64, u64) {
    let world = World::new();
    let mut path = world.dir.path().join("disk");
    let file = path.display().to_string();
    qemu_img(&["create", "-q", "-f", format, "-o", made, &file, "8M"]).unwrap();
    let domains = world.open().await;
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='{format}'{discard}/><source file='{file}'/>\
         <target dev='vda' bus='virtio'/></disk>"
    );
    let at_start = if matches!(way, Way::Plugged) { "" } else { disk.as_str() };
    let document = tiny_with("trim", "", at_start);
    let guest = domains.create(&document, CreateOptions::default(), Ticket::default()).await.unwrap();
    match way {
        Way::Started => {}
        Way::Plugged => {
            guest.change(attach(Given::parse(&disk).unwrap(), Scope::LIVE)).await.unwrap();
        }
        Way::Snapshot => {
            let options = SnapshotCreateOptions { disk_only: true, ..SnapshotCreateOptions::default() };
            let xml = "<domainsnapshot><name>s1</name></domainsnapshot>".to_owned();
            guest.create_snapshot(xml, options, Ticket::default()).await.unwrap();
            path = PathBuf::from(guest.document().unwrap().devices.disks[0].path().unwrap());
        }
    }
    assert_eq!(
        guest.document().unwrap().devices.disks[0].driver.as_ref().unwrap().discard.is_some(),
        !discard.is_empty()
    );
    io(&guest, &format!("write -q -P 7 0 {WRITTEN}")).await;
    io(&guest, "flush").await;
    let before = taken(&path);
    io(&guest, &format!("discard 0 {WRITTEN}")).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    (before, taken(&path))
}

#[tokio::test(flavor = "multi_thread")]
async fn trimmed_blocks_come_back_to_the_host() {
    if !has_qemu() {
        return;
    }
    let (thin, given) = ("preallocation=off", "preallocation=falloc");
    for (way, format, made, discard, comes_back) in [
        (Way::Started, "qcow2", thin, "", true),
        (Way::Started, "raw", thin, "", true),
        (Way::Started, "raw", thin, " discard='ignore'", false),
        (Way::Started, "qcow2", thin, " discard='ignore'", false),
        // Its owner gave it all its blocks beforehand.
        (Way::Started, "raw", given, "", false),
        (Way::Started, "raw", given, " discard='unmap'", true),
        (Way::Plugged, "qcow2", thin, "", true),
        (Way::Plugged, "raw", given, "", false),
        (Way::Snapshot, "qcow2", thin, "", true),
        // A snapshot's file is a qcow2 whatever it stands on.
        (Way::Snapshot, "raw", given, "", true),
        (Way::Snapshot, "qcow2", thin, " discard='ignore'", false),
    ] {
        let (before, after) = before_and_after(way, format, made, discard).await;
        let case = format!("{way:?} {format} {made}{discard}: {before} → {after}");
        assert!(before >= WRITTEN, "{case}");
        if comes_back {
            assert!(after + WRITTEN <= before + (1 << 20), "{case}");
        } else {
            assert!(after >= before, "{case}");
        }
    }
}
