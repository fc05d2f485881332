//! Pools of type disk on real devices: tables written, partitions made and removed.

use lodge_model::Bytes;
use lodge_storage::{
    BuildOptions, MakeOptions, PoolError, PoolHandle, Pools, ResizeOptions, Span, WipeAlgorithm,
};

use crate::{
    device::{Loop, can_mount},
    world::{World, run},
};

const MIB: u64 = 1 << 20;
const OVERWRITE: BuildOptions = BuildOptions { overwrite: true, no_overwrite: false };

async fn define(pools: &Pools, device: &str, format: &str) -> PoolHandle {
    let xml = format!(
        "<pool type='disk'><name>d</name><source><device path='{device}'/><format type='{format}'/></source>\
         <target><path>/dev</path></target></pool>"
    );
    pools.define(&xml, false).await.unwrap().handle()
}

async fn make(pools: &Pools, pool: &PoolHandle, name: &str, mib: u64, format: &str) -> Result<(), PoolError> {
    let xml = format!(
        "<volume><name>{name}</name><capacity unit='MiB'>{mib}</capacity>\
         <target><format type='{format}'/></target></volume>"
    );
    pools.create_volume(pool, &xml, MakeOptions::default()).await.map(drop)
}

fn volumes(pools: &Pools, pool: &PoolHandle) -> Vec<(String, u64)> {
    let volumes = pools.volumes(pool).unwrap();
    volumes.iter().map(|volume| (volume.name.clone(), volume.capacity / MIB)).collect()
}

fn error<T>(result: Result<T, PoolError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[tokio::test]
async fn partitions_of_a_gpt_are_volumes() {
    if !can_mount(&["parted"]) {
        return;
    }
    let world = World::new().await;
    let Some(device) = Loop::of(world.dir.path(), "disk", 64 * MIB) else { return };
    let pools = world.pools().await;
    let pool = define(&pools, device.shown(), "gpt").await;
    assert_eq!(error(pools.start(&pool, None).await), "Unrecognized disk label found, requires build");
    pools.build(&pool, BuildOptions::default()).await.unwrap();
    let again = error(pools.build(&pool, BuildOptions::default()).await);
    assert_eq!(again, "Disk label already formatted using 'gpt'");
    pools.start(&pool, None).await.unwrap();
    let name = |number: u32| format!("{}p{number}", device.shown().rsplit('/').next().unwrap());
    let wrong = error(make(&pools, &pool, "data", 8, "none").await);
    assert_eq!(wrong, format!("invalid partition name 'data', expected '{}'", name(1)));
    make(&pools, &pool, &name(1), 8, "linux").await.unwrap();
    make(&pools, &pool, &name(2), 16, "none").await.unwrap();
    assert_eq!(volumes(&pools, &pool), [(name(1), 8), (name(2), 16)]);
    let view = pools.find("d").unwrap();
    assert_eq!((view.capacity / MIB, view.allocation / MIB), (64, 24));
    let xml = pools.xml(&pool, false).unwrap();
    assert!(xml.contains("<freeExtent start="), "{xml}");
    let volume = pools.look_at(&pool, &name(1)).await.unwrap().xml();
    assert!(volume.contains("<extent start='1048576' end='9437184'/>"), "{volume}");
    assert!(volume.contains("<format type='linux'/>") && volume.contains("type='block'"), "{volume}");

    // Bytes go in and come out; a wipe takes them away.
    let mut upload = pools.upload(&pool, &name(1), Span::default()).await.unwrap();
    upload.write(vec![7; 4096], 0).await.unwrap();
    upload.finish().await.unwrap();
    drop(upload);
    let read = || std::fs::read(format!("{}p1", device.shown())).unwrap();
    assert_eq!(read()[..4096], [7; 4096]);
    pools.wipe_volume(&pool, &name(1), WipeAlgorithm::Zero).await.unwrap();
    assert!(read().iter().all(|byte| *byte == 0));
    let resize = pools.resize_volume(&pool, &name(1), Bytes(32 * MIB), ResizeOptions::default()).await;
    assert_eq!(error(resize), "storage pool does not support changing of volume capacity");
    let full = error(make(&pools, &pool, &name(3), 64, "none").await);
    assert_eq!(full, "no large enough free extent");
    pools.delete_volume(&pool, &name(1), false).await.unwrap();
    assert_eq!(volumes(&pools, &pool), [(name(2), 16)]);
    pools.destroy(&pool).await.unwrap();
    assert!(!pools.xml(&pool, false).unwrap().contains("freeExtent"));
    assert_eq!(error(pools.delete(&pool).await), "pool does not support pool deletion");
}

#[tokio::test]
async fn a_dos_table_has_four_partitions_and_an_extended_one_more() {
    if !can_mount(&["parted"]) {
        return;
    }
    let world = World::new().await;
    let Some(device) = Loop::of(world.dir.path(), "disk", 64 * MIB) else { return };
    let pools = world.pools().await;
    let pool = define(&pools, device.shown(), "dos").await;
    pools.start(&pool, Some(OVERWRITE)).await.unwrap();
    let name = |number: u32| format!("{}p{number}", device.shown().rsplit('/').next().unwrap());
    for number in 1..=3 {
        make(&pools, &pool, &name(number), 4, "linux").await.unwrap();
    }
    make(&pools, &pool, &name(4), 24, "extended").await.unwrap();
    make(&pools, &pool, &name(5), 4, "linux-swap").await.unwrap();
    make(&pools, &pool, &name(6), 4, "linux-lvm").await.unwrap();
    let sizes: Vec<_> = volumes(&pools, &pool).into_iter().map(|(_, mib)| mib).collect();
    assert_eq!(sizes, [4, 4, 4, 24, 4, 4]);
    let in_use = error(pools.delete_volume(&pool, &name(4), false).await);
    assert!(in_use.contains("logical partitions are in it"), "{in_use}");
    pools.delete_volume(&pool, &name(6), false).await.unwrap();
    pools.delete_volume(&pool, &name(5), false).await.unwrap();
    pools.delete_volume(&pool, &name(4), false).await.unwrap();
    assert_eq!(volumes(&pools, &pool).len(), 3);
}

#[tokio::test]
async fn a_volume_is_copied_into_a_partition_holes_and_all() {
    if !can_mount(&["parted"]) {
        return;
    }
    let world = World::new().await;
    let Some(device) = Loop::of(world.dir.path(), "disk", 64 * MIB) else { return };
    // Old bytes everywhere.
    run("sh", &["-c", &format!("yes | dd of={} bs=1M count=64 iflag=fullblock status=none", device.shown())]);
    let pools = world.pools().await;
    let files = crate::pool::running(&pools, "files", &world.dir.path().join("files")).await;
    let source = world.dir.path().join("files/source");
    std::fs::File::create(&source).unwrap().set_len(4 * MIB).unwrap();
    pools.refresh(&files).await.unwrap();
    let pool = define(&pools, device.shown(), "gpt").await;
    pools.start(&pool, Some(OVERWRITE)).await.unwrap();
    let name = format!("{}p1", device.shown().rsplit('/').next().unwrap());
    let xml = format!("<volume><name>{name}</name></volume>");
    pools.clone_volume(&pool, &xml, (&files, "source"), MakeOptions::default()).await.unwrap();
    let bytes = std::fs::read(format!("/dev/{name}")).unwrap();
    assert!(bytes.len() as u64 == 4 * MIB && bytes.iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn a_device_that_is_none_or_gone_is_told() {
    if !can_mount(&["parted"]) {
        return;
    }
    let world = World::new().await;
    let pools = world.pools().await;
    let file = world.dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let pool = define(&pools, file.to_str().unwrap(), "gpt").await;
    let error_of = |text: &str| format!("{text} '{}' is not a block device", file.display());
    assert_eq!(error(pools.build(&pool, OVERWRITE).await), error_of("source device"));
    pools.undefine(&pool).await.unwrap();
    let Some(device) = Loop::of(world.dir.path(), "disk", 16 * MIB) else { return };
    let pool = define(&pools, device.shown(), "gpt").await;
    pools.start(&pool, Some(OVERWRITE)).await.unwrap();
    drop(device);
    assert!(pools.refresh(&pool).await.is_err());
    assert!(!pools.find("d").unwrap().is_active);
}

#[tokio::test]
async fn a_partition_may_be_a_luks_container() {
    if !can_mount(&["parted"]) || !crate::world::can_run() {
        return;
    }
    let world = World::new().await;
    let Some(device) = Loop::of(world.dir.path(), "disk", 64 * MIB) else { return };
    let secrets = std::sync::Arc::new(crate::encrypted::Kept::default());
    let pools = Pools::open_with(&world.store, &world.storage, secrets).await.unwrap();
    let pool = define(&pools, device.shown(), "gpt").await;
    pools.start(&pool, Some(OVERWRITE)).await.unwrap();
    let name = |number: u32| format!("{}p{number}", device.shown().rsplit('/').next().unwrap());
    let locked = |name: &str, format: &str, secret: &str| {
        format!(
            "<volume><name>{name}</name><capacity unit='MiB'>8</capacity><target><format type='linux'/>\
             <encryption format='{format}'>{secret}</encryption></target></volume>"
        )
    };
    let create = async |xml: String| pools.create_volume(&pool, &xml, MakeOptions::default()).await;
    let secret = crate::encrypted::by_uuid();
    let old = error(create(locked(&name(1), "qcow", &secret)).await);
    assert_eq!(old, "storage pool only supports LUKS encrypted volumes");
    let nonesuch = secret.replace("0007", "0001");
    assert_eq!(error(create(locked(&name(1), "luks", &nonesuch)).await), "no such secret");
    assert!(volumes(&pools, &pool).is_empty());
    let made = create(locked(&name(1), "luks", &secret)).await.unwrap();
    // All that was asked for is the guest's.
    assert!(made.capacity >= 8 * MIB && made.physical >= 10 * MIB, "{made:?}");
    let key = world.dir.path().join("key");
    std::fs::write(&key, crate::encrypted::PASSPHRASE).unwrap();
    let secret_option = format!("secret,id=k,file={}", key.display());
    let image = format!("driver=luks,key-secret=k,file.filename=/dev/{}", name(1));
    let out = run("qemu-io", &["--object", &secret_option, "--image-opts", &image, "-c", "length"]);
    assert!(out.contains('8'), "{out}");
    // Another volume beside it, and a look at the pool, leave what is known of it.
    make(&pools, &pool, &name(2), 8, "linux").await.unwrap();
    pools.refresh(&pool).await.unwrap();
    let seen = pools.look_at(&pool, &name(1)).await.unwrap();
    assert_eq!((seen.capacity, seen.encryption.is_some()), (made.capacity, true));
    assert!(seen.xml().contains("<encryption format='luks'>"), "{}", seen.xml());
    // Into another partition and back out of it, decrypted on the way and not: the same bytes.
    let files = crate::pool::running(&pools, "files", &world.dir.path().join("files")).await;
    run("qemu-io", &["--object", &secret_option, "--image-opts", &image, "-c", "write -q -P 5 0 8M"]);
    run("qemu-io", &["--object", &secret_option, "--image-opts", &image, "-c", "write -q -P 6 1M 300k"]);
    let seen = |driver: &str, path: &str| {
        let (image, out) = (format!("driver={driver},file.filename={path}"), world.dir.path().join("seen"));
        let to = out.to_str().unwrap();
        run("qemu-img", &["convert", "-O", "raw", "--object", &secret_option, "--image-opts", &image, to]);
        std::fs::read(out).unwrap()
    };
    let model = seen("luks,key-secret=k", &format!("/dev/{}", name(1)));
    assert!(model.len() as u64 == made.capacity && model[1 << 20] == 6 && model[2 << 20] == 5);
    let copy = async |to: &PoolHandle,
                      from: (&PoolHandle, &str),
                      name: &str,
                      format: &str,
                      encryption: &str| {
        let xml = format!(
            "<volume><name>{name}</name><capacity unit='MiB'>8</capacity><target><format type='{format}'/>\
             {encryption}</target></volume>"
        );
        pools.clone_volume(to, &xml, from, MakeOptions::default()).await.unwrap()
    };
    let encryption = format!("<encryption format='luks'>{secret}</encryption>");
    copy(&pool, (&pool, &name(1)), &name(3), "linux", &encryption).await;
    copy(&files, (&pool, &name(3)), "sealed", "qcow2", &encryption).await;
    copy(&pool, (&files, "sealed"), &name(4), "linux", "").await;
    copy(&files, (&pool, &name(1)), "clear", "raw", "").await;
    let place = |name: &str| world.dir.path().join("files").join(name).display().to_string();
    for (driver, path) in [
        ("luks,key-secret=k", format!("/dev/{}", name(3))),
        ("qcow2,encrypt.key-secret=k", place("sealed")),
        ("raw", format!("/dev/{}", name(4))),
        ("raw", place("clear")),
    ] {
        // A partition may be longer than what it was made for.
        assert!(seen(driver, &path)[..model.len()] == model[..], "{path}");
    }
    for number in [1, 3, 4] {
        pools.delete_volume(&pool, &name(number), false).await.unwrap();
    }
}
