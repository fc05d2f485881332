//! Images that lie: what they name is told, and never opened.

use std::{fs, path::Path};

use lodge_storage::{ImageFormat, Repair, StorageError};

use super::{conversion, convert, leftovers};
use crate::world::{World, can_run, qemu_img, text};

const SECRET: &str = "the host's secret, which no image may read";

/// Everything that reads images, on one that names what it must not.
async fn refusals(world: &World, path: &Path, format: ImageFormat) -> Vec<StorageError> {
    let to = world.pool("stolen.img");
    let errors = vec![
        world.storage.map_image(path, format).await.unwrap_err(),
        convert(world, conversion(path, format, &to, ImageFormat::Raw)).await.unwrap_err(),
    ];
    assert!(!to.exists());
    assert_eq!(leftovers(&world.storage.pool_dir()), [""; 0]);
    errors
}

fn secret(world: &World) -> std::path::PathBuf {
    let path = world.dir.path().join("secret");
    fs::write(&path, SECRET).unwrap();
    path
}

#[tokio::test]
async fn a_backing_file_outside_of_every_pool_is_named_and_not_read() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (secret, path) = (secret(&world), world.pool("a.qcow2"));
    let name = text(&secret);
    qemu_img(&["create", "-q", "-f", "qcow2", "-u", "-b", name, "-F", "raw", text(&path), "1M"]);
    for error in refusals(&world, &path, ImageFormat::Qcow2).await {
        assert!(matches!(error, StorageError::BackingOutside { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    // Its own header is its own.
    let told = world.storage.describe_image(&path, ImageFormat::Qcow2, false).await.unwrap().remove(0);
    assert_eq!(told.backing.unwrap().0, name);
}

#[tokio::test]
async fn names_of_other_than_files_are_refused() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let secret = secret(&world);
    let json =
        format!(r#"json:{{"driver":"raw","file":{{"driver":"file","filename":"{}"}}}}"#, text(&secret));
    for name in [json.as_str(), "nbd://127.0.0.1:10809/x", "fat:/etc", "ssh://root@127.0.0.1/etc/shadow"] {
        let path = world.pool("a.qcow2");
        qemu_img(&["create", "-q", "-f", "qcow2", "-u", "-b", name, "-F", "raw", text(&path), "1M"]);
        for error in refusals(&world, &path, ImageFormat::Qcow2).await {
            let StorageError::Named { field, value, .. } = &error else { panic!("{error}") };
            assert_eq!((field.as_str(), value.as_str()), ("backing file", name));
        }
        fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn a_vmdks_extents_lie_beside_it_or_are_refused() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let secret = secret(&world);
    let path = world.pool("a.vmdk");
    let write = |extents: &str, more: &str| {
        let text = format!(
            "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\n\
             # Extent description\n{extents}\n\n# The Disk Data Base\nddb.adapterType = \"ide\"\n{more}"
        );
        fs::write(&path, text).unwrap();
    };
    for name in [text(&secret), "../../../../secret", "nbd:127.0.0.1:1", ".."] {
        write(&format!("RW 1 FLAT \"{name}\" 0"), "");
        for error in refusals(&world, &path, ImageFormat::Vmdk).await {
            let StorageError::Named { field, value, .. } = &error else { panic!("{error}") };
            assert_eq!((field.as_str(), value.as_str()), ("extent 1", name));
        }
    }
    // A link beside it is no way out either.
    std::os::unix::fs::symlink(&secret, world.pool("link.vmdk")).unwrap();
    write("RW 1 FLAT \"link.vmdk\" 0", "");
    for error in refusals(&world, &path, ImageFormat::Vmdk).await {
        assert!(error.to_string().contains("is `link.vmdk`: it is not a plain file"), "{error}");
    }
    write("RW 1 FLAT \"a-flat.vmdk\" 0", &format!("parentFileNameHint=\"{}\"\n", text(&secret)));
    for error in refusals(&world, &path, ImageFormat::Vmdk).await {
        assert!(error.to_string().starts_with("the parent of"), "{error}");
    }
    // And one that is as it should be is read.
    fs::write(world.pool("a-flat.vmdk"), [7; 512]).unwrap();
    write("RW 1 FLAT \"a-flat.vmdk\" 0", "");
    let to = world.pool("good.img");
    convert(&world, conversion(&path, ImageFormat::Vmdk, &to, ImageFormat::Raw)).await.unwrap();
    assert_eq!(fs::read(to).unwrap(), [7; 512]);
}

#[tokio::test]
async fn a_qed_is_read_alone() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (secret, path) = (secret(&world), world.pool("a.qed"));
    qemu_img(&["create", "-q", "-f", "qed", "-u", "-b", text(&secret), "-F", "raw", text(&path), "1M"]);
    for error in refusals(&world, &path, ImageFormat::Qed).await {
        let StorageError::Named { field, value, .. } = &error else { panic!("{error}") };
        assert_eq!((field.as_str(), value.as_str()), ("backing file", text(&secret)));
    }
}

#[tokio::test]
async fn data_in_another_file_is_refused_by_all_acts() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let (path, data) = (world.pool("a.qcow2"), world.dir.path().join("data"));
    let option = format!("data_file={}", text(&data));
    qemu_img(&["create", "-q", "-f", "qcow2", "-o", &option, text(&path), "1M"]);
    for error in refusals(&world, &path, ImageFormat::Qcow2).await {
        assert!(error.to_string().contains("keeps its data in another file"), "{error}");
    }
    let error = world.storage.check_image(&path, ImageFormat::Qcow2, Repair::No).await.unwrap_err();
    assert!(error.to_string().contains("keeps its data in another file"), "{error}");
}

#[tokio::test]
async fn what_is_no_disk_and_what_goes_in_circles_ends_with_an_error() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let fifo = world.pool("fifo");
    crate::world::run("mkfifo", &[text(&fifo)]);
    for path in [fifo.as_path(), Path::new("/dev/zero"), Path::new("/etc")] {
        for format in [ImageFormat::Raw, ImageFormat::Qcow2, ImageFormat::Vmdk] {
            let error = world.storage.describe_image(path, format, false).await.unwrap_err();
            assert!(matches!(error, StorageError::NotADisk { .. }), "{error}");
            let error = world.storage.map_image(path, format).await.unwrap_err();
            assert!(matches!(error, StorageError::NotADisk { .. }), "{error}");
        }
    }
    let (one, other) = (world.pool("one.qcow2"), world.pool("other.qcow2"));
    qemu_img(&["create", "-q", "-f", "qcow2", "-u", "-b", text(&other), "-F", "qcow2", text(&one), "1M"]);
    qemu_img(&["create", "-q", "-f", "qcow2", "-u", "-b", text(&one), "-F", "qcow2", text(&other), "1M"]);
    for error in refusals(&world, &one, ImageFormat::Qcow2).await {
        assert!(matches!(error, StorageError::Chain { .. }), "{error}");
    }
}

#[tokio::test]
async fn tables_that_lead_nowhere_are_an_error_and_no_panic() {
    if !can_run() {
        return;
    }
    let world = World::new().await;
    let path = world.pool("a.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", text(&path), "4M"]);
    crate::world::run("qemu-io", &["-f", "qcow2", "-c", "write -P 1 0 1M", text(&path)]);
    let whole = fs::read(&path).unwrap();
    // Each 8 bytes of header, refcount table, L1 and L2 in turn is a lie.
    let places = (8..104).step_by(8).chain([65536, 131_072, 196_608, 262_144]);
    for at in places {
        for lie in [u64::MAX, 1 << 62, 0x00ff_ffff_ffff_0000, 3] {
            let mut bytes = whole.clone();
            bytes[at..at + 8].copy_from_slice(&lie.to_be_bytes());
            fs::write(&path, bytes).unwrap();
            let to = world.pool("b.img");
            let map = world.storage.map_image(&path, ImageFormat::Qcow2).await;
            let made = convert(&world, conversion(&path, ImageFormat::Qcow2, &to, ImageFormat::Raw)).await;
            for error in [map.err(), made.err()].into_iter().flatten() {
                assert!(!matches!(error, StorageError::Panicked { .. }), "{at} {lie:x}: {error}");
            }
            let _ = fs::remove_file(to);
        }
    }
}
