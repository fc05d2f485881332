//! `info`, `map`, `check`.

use std::os::unix::fs::FileExt as _;

use lodge_model::Bytes;
use lodge_storage::{Extent, ImageFormat, Repair, StorageError};

use super::raw_disk;
use crate::world::{World, can_run, disk, domain, qemu_img, run, text};

/// What qemu-img says of the same file.
fn theirs(format: &str, path: &std::path::Path) -> Vec<Extent> {
    serde_json::from_str(&qemu_img(&["map", "-f", format, "--output=json", text(path)])).unwrap()
}

#[tokio::test]
async fn a_map_is_qemu_imgs_map() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (raw, plain) = (world.pool("a.img"), world.pool("a.qcow2"));
    raw_disk(&raw);
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", text(&raw), text(&plain)]);
    let packed = world.pool("packed.qcow2");
    qemu_img(&["convert", "-c", "-f", "raw", "-O", "qcow2", text(&raw), text(&packed)]);
    // Longer than what it stands on, with zeros said and data of its own.
    let (middle, top) = (world.pool("middle.qcow2"), world.pool("top.qcow2"));
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&packed), "-F", "qcow2", text(&middle), "16M"]);
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 9 3M 64k", "-c", "write -z 1M 128k", text(&middle)]);
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&middle), "-F", "qcow2", text(&top)]);
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 9 12M 1M", text(&top)]);
    let on_raw = world.pool("on-raw.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&raw), "-F", "raw", text(&on_raw), "8M"]);
    let zstd = world.pool("zstd.qcow2");
    let options = ["-c", "-o", "compression_type=zstd", "-f", "raw", "-O", "qcow2"];
    qemu_img(&[&["convert"][..], &options, &[text(&raw), text(&zstd)]].concat());

    for path in [&plain, &packed, &middle, &top, &on_raw, &zstd] {
        let ours = world.storage.map_image(path, ImageFormat::Qcow2).await.unwrap();
        assert_eq!(ours.extents, theirs("qcow2", path), "{}", path.display());
    }
    assert_eq!(world.storage.map_image(&raw, ImageFormat::Raw).await.unwrap().extents, theirs("raw", &raw));
    let files = world.storage.map_image(&top, ImageFormat::Qcow2).await.unwrap().files;
    assert_eq!(files, [top, middle, packed]);
}

#[tokio::test]
async fn what_a_guest_writes_to_is_not_mapped() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, top) = (world.pool("base.qcow2"), world.pool("top.qcow2"));
    qemu_img(&["create", "-q", "-f", "qcow2", text(&base), "1M"]);
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&base), "-F", "qcow2", text(&top)]);
    world.storage.claim(domain(1), "web1", &[disk(&top)]).await.unwrap();
    let refused = world.storage.map_image(&top, ImageFormat::Qcow2).await.unwrap_err();
    assert!(refused.to_string().ends_with("is in use by domain `web1`: it writes to it"), "{refused}");
    // What it only stands on does not move.
    world.storage.map_image(&base, ImageFormat::Qcow2).await.unwrap();
    world.storage.release(domain(1));
    world.storage.map_image(&top, ImageFormat::Qcow2).await.unwrap();
    // Nor what a QEMU writes to that is none of ours.
    let mut other = std::process::Command::new("qemu-io");
    other.args(["-f", "qcow2", text(&top)]).stdin(std::process::Stdio::piped());
    let mut other = other.stdout(std::process::Stdio::piped()).spawn().unwrap();
    // Its prompt comes when it has the image.
    let mut prompt = [0; 8];
    std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut prompt).unwrap();
    let refused = world.storage.map_image(&top, ImageFormat::Qcow2).await.unwrap_err();
    assert!(matches!(refused, StorageError::Locked { .. }), "{refused}");
    drop(other.stdin.take());
    other.wait().unwrap();
    world.storage.map_image(&top, ImageFormat::Qcow2).await.unwrap();
}

#[tokio::test]
async fn a_description_says_what_qemu_img_says() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let raw = world.pool("a.img");
    raw_disk(&raw);
    for format in ImageFormat::ALL {
        let path = world.pool(&format!("b.{format}"));
        qemu_img(&["convert", "-f", "raw", "-O", format.as_str(), text(&raw), text(&path)]);
        let said = qemu_img(&["info", "-f", format.as_str(), "--output=json", text(&path)]);
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let ours = world.storage.describe_image(&path, *format, false).await.unwrap().remove(0);
        assert_eq!(Some(ours.virtual_size.0), said["virtual-size"].as_u64(), "{format}");
        assert_eq!(Some(ours.allocation.0), said["actual-size"].as_u64(), "{format}");
        assert_eq!(ours.cluster_size.map(|bytes| bytes.0), said["cluster-size"].as_u64(), "{format}");
        assert_eq!(world.storage.looks(&path).await.unwrap(), *format);
    }
}

#[tokio::test]
async fn a_chain_is_described_whole_and_a_bare_header_without_it() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (base, top) = (world.pool("base.qcow2"), world.pool("top.qcow2"));
    qemu_img(&["create", "-q", "-f", "qcow2", "-o", "compat=0.10", text(&base), "1M"]);
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", text(&top), "2M"]);
    qemu_img(&["snapshot", "-c", "one", text(&top)]);
    let chain = world.storage.describe_image(&top, ImageFormat::Qcow2, true).await.unwrap();
    assert_eq!(chain.len(), 2);
    assert_eq!(
        (chain[0].virtual_size, chain[0].snapshots, chain[0].compat),
        (Bytes(2 << 20), 1, Some("1.1"))
    );
    assert_eq!(chain[0].backing, Some(("base.qcow2".to_owned(), Some("qcow2".to_owned()))));
    assert_eq!((&chain[1].path, chain[1].compat), (&base, Some("0.10")));
    // What it stands on is gone: its own header is there all the same.
    std::fs::remove_file(&base).unwrap();
    assert_eq!(world.storage.describe_image(&top, ImageFormat::Qcow2, false).await.unwrap().len(), 1);
    let error = world.storage.describe_image(&top, ImageFormat::Qcow2, true).await.unwrap_err();
    assert!(matches!(error, StorageError::BackingMissing { .. }), "{error}");
}

#[tokio::test]
async fn a_check_finds_what_is_wrong_and_puts_it_right() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let path = world.pool("a.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", text(&path), "4M"]);
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 1 0 1M", text(&path)]);
    let check = async |repair| world.storage.check_image(&path, ImageFormat::Qcow2, repair).await;
    let sound = check(Repair::No).await.unwrap();
    assert!(sound.is_sound());
    assert_eq!((sound.allocated_clusters, sound.total_clusters), (16, 64));

    // The first entry of the first L2 table goes: its cluster is counted and not used.
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let number = |at: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).unwrap();
        u64::from_be_bytes(bytes) & 0x00ff_ffff_ffff_fe00
    };
    file.write_all_at(&[0; 8], number(number(40))).unwrap();
    let found = check(Repair::No).await.unwrap();
    assert_eq!((found.leaks, found.corruptions), (1, 0));
    assert_eq!(check(Repair::Leaks).await.unwrap().leaks_fixed, 1);
    assert!(check(Repair::No).await.unwrap().is_sound());

    // The count of a cluster in use goes to 0.
    file.write_all_at(&[0, 0], number(number(48)) + 2 * 6).unwrap();
    assert!(check(Repair::No).await.unwrap().corruptions > 0);
    assert!(check(Repair::All).await.unwrap().corruptions_fixed > 0);
    assert!(check(Repair::No).await.unwrap().is_sound());

    let error = world.storage.check_image(&path, ImageFormat::Raw, Repair::No).await.unwrap_err();
    assert!(error.to_string().ends_with("is raw, which has no tables that could be checked"), "{error}");
}
