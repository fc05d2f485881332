//! `convert`.

use std::{fs, os::unix::fs::MetadataExt as _};

use lodge_model::Bytes;
use lodge_storage::{Compression, Conversion, ImageFormat, StorageError};
use tokio_util::sync::CancellationToken;

use super::{assert_same, conversion, convert, leftovers, raw_disk};
use crate::world::{World, assert_clean, can_run, disk, domain, qemu_img, run, text};

#[tokio::test]
async fn every_format_there_and_back_has_the_same_bytes() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let raw = world.pool("a.img");
    raw_disk(&raw);
    for format in ImageFormat::ALL {
        let (there, back) = (world.pool(&format!("b.{format}")), world.pool(&format!("b.{format}.img")));
        convert(&world, conversion(&raw, ImageFormat::Raw, &there, *format)).await.unwrap();
        assert_same(&raw, "raw", &there, format.as_str());
        convert(&world, conversion(&there, *format, &back, ImageFormat::Raw)).await.unwrap();
        assert_same(&raw, "raw", &back, "raw");
        // Zeros that were written take no room any more, unless the blocks are shared.
        let room = fs::metadata(&back).unwrap().blocks() * 512;
        assert!(*format == ImageFormat::Raw || room < 1 << 20, "{format}: {room}");
    }
    assert_clean(&world.pool("b.qcow2"));
    assert_eq!(leftovers(&world.storage.pool_dir()), [""; 0]);
}

#[tokio::test]
async fn compressed_and_of_any_cluster_size_qemu_reads_it_and_finds_it_sound() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let raw = world.pool("a.img");
    raw_disk(&raw);
    // Bytes that do not become smaller, beside those that do.
    let noise: Vec<u8> =
        (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    std::os::unix::fs::FileExt::write_all_at(
        &fs::File::options().write(true).open(&raw).unwrap(),
        &noise,
        3_000_000,
    )
    .unwrap();
    for compression in [None, Some(Compression::Zlib), Some(Compression::Zstd)] {
        for cluster in [512, 4096, 65536, 2 << 20] {
            let name = format!("{}-{cluster}.qcow2", compression.map_or("plain", Compression::as_str));
            let path = world.pool(&name);
            let wanted = Conversion {
                compression,
                cluster_size: Some(Bytes(cluster)),
                ..conversion(&raw, ImageFormat::Raw, &path, ImageFormat::Qcow2)
            };
            convert(&world, wanted).await.unwrap();
            assert_clean(&path);
            assert_same(&raw, "raw", &path, "qcow2");
            // And on from there, by whoever reads it.
            let back = world.pool(&format!("{name}.img"));
            convert(&world, conversion(&path, ImageFormat::Qcow2, &back, ImageFormat::Raw)).await.unwrap();
            assert_same(&raw, "raw", &back, "raw");
        }
    }
}

#[tokio::test]
async fn a_chain_becomes_one_file_that_stands_alone() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (raw, base, top) = (world.pool("a.img"), world.pool("base.qcow2"), world.pool("top.qcow2"));
    raw_disk(&raw);
    qemu_img(&["convert", "-c", "-f", "raw", "-O", "qcow2", text(&raw), text(&base)]);
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&base), "-F", "qcow2", text(&top), "200M"]);
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 5 1M 128k", "-c", "write -P 6 150M 1M", text(&top)]);
    run("qemu-io", &["-f", "qcow2", "-c", "write -z 0 64k", text(&top)]);
    let whole = world.pool("whole.qcow2");
    convert(&world, conversion(&top, ImageFormat::Qcow2, &whole, ImageFormat::Qcow2)).await.unwrap();
    assert_same(&top, "qcow2", &whole, "qcow2");
    assert_clean(&whole);
    let told = world.storage.describe_image(&whole, ImageFormat::Qcow2, false).await.unwrap().remove(0);
    assert_eq!(told.backing, None);
    assert!(told.length.0 < 3 << 20, "{}", told.length.0);
}

#[tokio::test]
async fn what_is_there_stays_and_a_cancelled_conversion_leaves_nothing() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (raw, to) = (world.pool("a.img"), world.pool("b.qcow2"));
    raw_disk(&raw);
    fs::write(&to, "mine").unwrap();
    let wanted = conversion(&raw, ImageFormat::Raw, &to, ImageFormat::Qcow2);
    let error = convert(&world, wanted.clone()).await.unwrap_err();
    assert!(matches!(error, StorageError::Exists { .. }), "{error}");
    assert_eq!(fs::read(&to).unwrap(), b"mine");

    fs::remove_file(&to).unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    for format in [ImageFormat::Qcow2, ImageFormat::Raw, ImageFormat::Vmdk] {
        let wanted = Conversion { to_format: format, ..wanted.clone() };
        let error = world.storage.convert_image(wanted, &cancel, |_| ()).await.unwrap_err();
        assert!(matches!(error, StorageError::Cancelled { .. }), "{error}");
        assert!(!to.exists());
    }
    assert_eq!(leftovers(&world.storage.pool_dir()), [""; 0]);

    let wanted = Conversion { compression: Some(Compression::Zlib), to_format: ImageFormat::Raw, ..wanted };
    let error = convert(&world, wanted).await.unwrap_err();
    assert!(error.to_string().ends_with("would not be a qcow2, and only that is compressed here"), "{error}");
}

#[tokio::test]
async fn what_somebody_writes_to_is_not_read_and_what_is_read_is_not_written_to() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (path, to) = (world.pool("a.qcow2"), world.pool("b.img"));
    qemu_img(&["create", "-q", "-f", "qcow2", text(&path), "1M"]);
    world.storage.claim(domain(1), "web1", &[disk(&path)]).await.unwrap();
    let wanted = conversion(&path, ImageFormat::Qcow2, &to, ImageFormat::Raw);
    let error = convert(&world, wanted.clone()).await.unwrap_err();
    assert!(matches!(error, StorageError::InUse { .. }), "{error}");
    world.storage.release(domain(1));
    convert(&world, wanted).await.unwrap();
    // Free again.
    world.storage.claim(domain(1), "web1", &[disk(&path)]).await.unwrap();
}
