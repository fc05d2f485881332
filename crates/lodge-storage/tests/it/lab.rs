//! What needs a kernel with device-mapper and an NFS server: volume groups and a server's directory. `cargo xtask lab`
//! runs these in a guest that serves as a host; they are ignored elsewhere.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use lodge_model::{Bytes, storage::PoolKind};
use lodge_storage::{
    BuildOptions, MakeOptions, PoolError, PoolHandle, Pools, ResizeOptions, Span, WipeAlgorithm,
    find_pool_sources,
};

use crate::{
    device::Loop,
    world::{World, run},
};

const MIB: u64 = 1 << 20;
const OVERWRITE: BuildOptions = BuildOptions { overwrite: true, no_overwrite: false };

fn error<T>(result: Result<T, PoolError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

async fn define(pools: &Pools, xml: &str) -> PoolHandle {
    pools.define(xml, false).await.unwrap().handle()
}

fn group(name: &str, devices: &[&Loop]) -> String {
    let device = |device: &&Loop| format!("<device path='{}'/>", device.shown());
    let devices = devices.iter().map(device).collect::<Vec<_>>().concat();
    format!("<pool type='logical'><name>{name}</name><source>{devices}<name>{name}</name></source></pool>")
}

async fn make(pools: &Pools, pool: &PoolHandle, name: &str, mib: u64, rest: &str) -> Result<(), PoolError> {
    let xml = format!("<volume><name>{name}</name><capacity unit='MiB'>{mib}</capacity>{rest}</volume>");
    pools.create_volume(pool, &xml, MakeOptions::default()).await.map(drop)
}

async fn fill(pools: &Pools, pool: &PoolHandle, name: &str, byte: u8) {
    let mut upload = pools.upload(pool, name, Span::default()).await.unwrap();
    upload.write(vec![byte; 1 << 20], 0).await.unwrap();
    upload.finish().await.unwrap();
}

#[tokio::test]
#[ignore = "needs device-mapper: cargo xtask lab"]
async fn a_volume_group_lives_as_libvirts_do() {
    let world = World::new().await;
    let (Some(one), Some(two)) =
        (Loop::of(world.dir.path(), "one", 64 * MIB), Loop::of(world.dir.path(), "two", 64 * MIB))
    else {
        panic!("no loop devices")
    };
    let pools = world.pools().await;
    let pool = define(&pools, &group("lab0", &[&one, &two])).await;
    let missing = error(pools.start(&pool, None).await);
    assert_eq!(missing, "cannot find logical volume group name 'lab0'");
    // Something of somebody's is not written over unasked.
    run("mkfs.ext4", &["-q", one.shown()]);
    let taken = error(pools.build(&pool, BuildOptions::default()).await);
    assert!(taken.contains("does not match the expected format 'LVM2_member'"), "{taken}");
    assert!(Command::new("pvs").arg(two.shown()).output().unwrap().stdout.is_empty());
    pools.build(&pool, OVERWRITE).await.unwrap();
    pools.start(&pool, None).await.unwrap();
    let view = pools.find("lab0").unwrap();
    assert_eq!((view.capacity / MIB, view.allocation), (120, 0));
    assert_eq!(view.path.as_deref(), Some(Path::new("/dev/lab0")));

    make(&pools, &pool, "data", 16, "").await.unwrap();
    let sources = find_pool_sources(PoolKind::Logical, None).await.unwrap();
    assert!(sources.contains("<name>lab0</name>") && sources.contains(one.shown()), "{sources}");
    fill(&pools, &pool, "data", 7).await;
    // A snapshot keeps what was there.
    let on_data = "<backingStore><path>/dev/lab0/data</path></backingStore>";
    make(&pools, &pool, "snap", 8, on_data).await.unwrap();
    fill(&pools, &pool, "data", 9).await;
    assert!(fs::read("/dev/lab0/snap").unwrap()[..1 << 20].iter().all(|byte| *byte == 7));
    pools.refresh(&pool).await.unwrap();
    let snap = pools.look_at(&pool, "snap").await.unwrap();
    assert_eq!((snap.capacity / MIB, snap.allocation / MIB), (16, 8));
    assert!(snap.xml().contains("<path>/dev/lab0/data</path>\n    <format type='lvm2'/>"), "{}", snap.xml());
    let (_, by_key) = pools.volume_by_path(&snap.key(), "key").unwrap();
    assert_eq!(by_key.name, "snap");
    let in_use = error(pools.delete_volume(&pool, "data", false).await);
    assert!(in_use.contains("stands on it"), "{in_use}");
    let sparse = error(pools.wipe_volume(&pool, "snap", WipeAlgorithm::Zero).await);
    assert!(sparse.contains("is sparse, volume wipe not supported"), "{sparse}");
    pools.delete_volume(&pool, "snap", false).await.unwrap();

    pools.resize_volume(&pool, "data", Bytes(24 * MIB), ResizeOptions::default()).await.unwrap();
    assert_eq!(pools.volume(&pool, "data").unwrap().capacity / MIB, 24);
    let copy = "<volume><name>copy</name></volume>";
    pools.clone_volume(&pool, copy, (&pool, "data"), MakeOptions::default()).await.unwrap();
    assert!(fs::read("/dev/lab0/copy").unwrap() == fs::read("/dev/lab0/data").unwrap());
    make(&pools, &pool, "thin", 64, "<allocation unit='MiB'>8</allocation>").await.unwrap();
    let thin = pools.volume(&pool, "thin").unwrap();
    assert_eq!((thin.capacity / MIB, thin.allocation / MIB), (64, 8));
    let full = error(make(&pools, &pool, "huge", 500, "").await);
    assert!(full.contains("insufficient free space"), "{full}");

    // A daemon that was killed finds what runs.
    drop(pools);
    let world = world.restarted().await;
    let pools = world.pools().await;
    assert!(pools.find("lab0").unwrap().is_active);
    assert_eq!(pools.volume_count(&pool).unwrap(), 3);
    let held = fs::File::open("/dev/lab0/data").unwrap();
    let busy = error(pools.destroy(&pool).await);
    assert!(busy.contains("open logical volume"), "{busy}");
    drop(held);
    pools.destroy(&pool).await.unwrap();
    assert!(!Path::new("/dev/lab0").exists());
    pools.delete(&pool).await.unwrap();
    assert!(run("pvs", &["--noheadings"]).trim().is_empty());
}

/// What a guest would see of a container, or of what is none.
fn contents(world: &World, driver: &str, path: &str) -> Vec<u8> {
    let key = world.dir.path().join("key");
    fs::write(&key, crate::encrypted::PASSPHRASE).unwrap();
    let (secret, out) = (format!("secret,id=k,file={}", key.display()), world.dir.path().join("seen"));
    let (image, to) = (format!("driver={driver},file.filename={path}"), out.to_str().unwrap());
    run("qemu-img", &["convert", "-O", "raw", "--object", &secret, "--image-opts", &image, to]);
    fs::read(out).unwrap()
}

fn write(world: &World, name: &str, commands: &[&str]) {
    let key = world.dir.path().join("key");
    fs::write(&key, crate::encrypted::PASSPHRASE).unwrap();
    let secret = format!("secret,id=k,file={}", key.display());
    let image = format!("driver=luks,key-secret=k,file.filename=/dev/lab3/{name}");
    let commands = commands.iter().flat_map(|command| ["-c", command]);
    let words: Vec<&str> =
        ["--object", &secret, "--image-opts", &image].into_iter().chain(commands).collect();
    run("qemu-io", &words);
}

#[tokio::test]
#[ignore = "needs device-mapper: cargo xtask lab"]
async fn a_logical_volume_may_be_a_luks_container() {
    const LUKS: &str = "luks,key-secret=k";
    let world = World::new().await;
    let Some(device) = Loop::of(world.dir.path(), "one", 256 * MIB) else { panic!("no loop devices") };
    let secrets = std::sync::Arc::new(crate::encrypted::Kept::default());
    let pools = Pools::open_with(&world.store, &world.storage, secrets).await.unwrap();
    let pool = define(&pools, &group("lab3", &[&device])).await;
    pools.build(&pool, OVERWRITE).await.unwrap();
    pools.start(&pool, None).await.unwrap();
    let secret = crate::encrypted::by_uuid();
    let encryption = format!("<target><encryption format='luks'>{secret}</encryption></target>");
    let nonesuch = encryption.replace("0007", "0001");
    assert_eq!(error(make(&pools, &pool, "data", 16, &nonesuch).await), "no such secret");
    let on_data = format!("{encryption}<backingStore><path>/dev/lab3/data</path></backingStore>");
    let stands = error(make(&pools, &pool, "snap", 16, &on_data).await);
    assert!(stands.contains("cannot stand on another"), "{stands}");
    assert_eq!(pools.volume_count(&pool).unwrap(), 0);

    make(&pools, &pool, "data", 16, &encryption).await.unwrap();
    let data = pools.volume(&pool, "data").unwrap();
    // All that was asked for is the guest's; an extent has 4 MiB.
    assert!(data.capacity >= 16 * MIB && data.physical == 20 * MIB, "{data:?}");
    assert!(data.xml().contains("<encryption format='luks'>"), "{}", data.xml());
    let length = usize::try_from(data.capacity).unwrap();
    let mut model = vec![5; length];
    model[1 << 20..(1 << 20) + (300 << 10)].fill(6);
    write(&world, "data", &[&format!("write -q -P 5 0 {length}"), "write -q -P 6 1M 300k"]);
    assert!(contents(&world, LUKS, "/dev/lab3/data") == model);
    let stored = fs::read("/dev/lab3/data").unwrap();
    assert!(!stored.windows(512).step_by(512).any(|bytes| bytes == [5; 512] || bytes == [6; 512]));

    // Larger, which is known then and after a look.
    pools.resize_volume(&pool, "data", Bytes(24 * MIB), ResizeOptions::default()).await.unwrap();
    pools.refresh(&pool).await.unwrap();
    let data = pools.volume(&pool, "data").unwrap();
    assert!(data.capacity >= 24 * MIB && data.encryption.is_some(), "{data:?}");
    let grown = contents(&world, LUKS, "/dev/lab3/data");
    assert!(grown[..length] == model[..] && grown.len() as u64 == data.capacity);

    // Copied as it is, decrypted, and into a file and back.
    let files = crate::pool::running(&pools, "files", &world.dir.path().join("files")).await;
    let clone = async |to: &PoolHandle, from: (&PoolHandle, &str), name: &str, rest: &str| {
        let xml = format!("<volume><name>{name}</name>{rest}</volume>");
        pools.clone_volume(to, &xml, from, MakeOptions::default()).await.unwrap();
    };
    clone(&pool, (&pool, "data"), "copy", &encryption).await;
    clone(&pool, (&pool, "data"), "clear", "").await;
    let sealed = encryption.replace("<target>", "<target><format type='qcow2'/>");
    clone(&files, (&pool, "data"), "sealed", &sealed).await;
    clone(&pool, (&files, "sealed"), "back", &encryption).await;
    for (driver, name) in [(LUKS, "copy"), ("raw", "clear"), (LUKS, "back")] {
        let seen = contents(&world, driver, &format!("/dev/lab3/{name}"));
        assert!(seen[..grown.len()] == grown[..], "{name}");
    }
    make(&pools, &pool, "thin", 64, &format!("<allocation unit='MiB'>8</allocation>{encryption}"))
        .await
        .unwrap();
    let thin = pools.volume(&pool, "thin").unwrap();
    assert!(thin.capacity >= 64 * MIB && thin.allocation < 16 * MIB, "{thin:?}");
    write(&world, "thin", &["write -q -P 9 60M 1M"]);
    assert!(contents(&world, LUKS, "/dev/lab3/thin")[60 << 20..61 << 20].iter().all(|byte| *byte == 9));
    for name in ["data", "copy", "clear", "back", "thin"] {
        pools.delete_volume(&pool, name, false).await.unwrap();
    }
    pools.destroy(&pool).await.unwrap();
    pools.delete(&pool).await.unwrap();
}

#[tokio::test]
#[ignore = "needs device-mapper: cargo xtask lab"]
async fn a_process_killed_amid_changing_logical_volumes_leaves_those_it_had_made() {
    let dir = tempfile::tempdir().unwrap();
    let Some(device) = Loop::of(dir.path(), "disk", 64 * MIB) else { panic!("no loop devices") };
    let xml = format!(
        "<pool type='logical'><name>d</name><source><device path='{}'/><name>lab1</name></source></pool>",
        device.shown()
    );
    let place = |name: &str| Path::new("/dev/lab1").join(name);
    crate::cut_devices::cut(dir.path(), &xml, crate::cut_devices::KEPT, "other", &place).await;
    run("vgck", &["lab1"]);
    run("vgremove", &["-f", "lab1"]);
}

#[tokio::test]
#[ignore = "needs device-mapper: cargo xtask lab"]
async fn a_process_killed_amid_making_and_removing_a_group_leaves_what_the_next_goes_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let Some(device) = Loop::of(dir.path(), "disk", 64 * MIB) else { panic!("no loop devices") };
    let xml = format!(
        "<pool type='logical'><name>d</name><source><device path='{}'/><name>lab2</name></source></pool>",
        device.shown()
    );
    let is_made = || Command::new("vgs").arg("lab2").output().unwrap().status.success();
    crate::cut_devices::cut_groups(dir.path(), &xml, &is_made).await;
    assert!(run("pvs", &["--noheadings"]).trim().is_empty());
}

fn netfs(target: &Path, host: &str) -> String {
    format!(
        "<pool type='netfs'><name>n</name><source><host name='{host}'/><dir path='/srv/lab'/><format type='nfs'/>\
         </source><target><path>{}</path></target></pool>",
        target.display()
    )
}

#[tokio::test]
#[ignore = "needs an NFS server: cargo xtask lab"]
async fn a_servers_directory_is_a_pool() {
    let world = World::new().await;
    let pools = world.pools().await;
    let target = world.dir.path().join("mnt");
    let spec = "<source><host name='127.0.0.1'/></source>";
    let sources = find_pool_sources(PoolKind::Netfs, Some(spec)).await.unwrap();
    assert!(sources.contains("<dir path='/srv/lab'/>"), "{sources}");
    let pool = define(&pools, &netfs(&target, "127.0.0.1")).await;
    pools.start(&pool, Some(BuildOptions::default())).await.unwrap();
    let xml = "<volume><name>v</name><capacity unit='MiB'>1</capacity></volume>";
    pools.create_volume(&pool, xml, MakeOptions::default()).await.unwrap();
    assert_eq!(fs::metadata("/srv/lab/v").unwrap().len(), MIB);
    drop(pools);
    // Noted or not: what is mounted runs.
    fs::remove_file(world.dir.path().join("run/libvirt/storage/n.xml")).unwrap();
    let world = world.restarted().await;
    let pools = world.pools().await;
    assert!(pools.find("n").unwrap().is_active);
    pools.destroy(&pool).await.unwrap();
    assert!(fs::read_dir(&target).unwrap().next().is_none());
}

#[tokio::test]
#[ignore = "needs an NFS client: cargo xtask lab"]
async fn a_server_that_is_not_there_costs_its_own_caller_only() {
    let world = World::new().await;
    let pools = world.pools().await;
    let other = crate::pool::running(&pools, "other", &world.dir.path().join("other")).await;
    // Packets to it are dropped: nobody answers, not even with a no.
    run("ip", &["address", "replace", "192.0.2.2/24", "dev", "dummy0"]);
    let pool = define(&pools, &netfs(&world.dir.path().join("mnt"), "192.0.2.1")).await;
    let started = tokio::spawn({
        let (pools, pool) = (pools.clone(), pool.clone());
        async move { pools.start(&pool, Some(BuildOptions::default())).await }
    });
    // While it waits, others go on.
    let goes_on = async {
        for _ in 0..20 {
            pools.refresh(&other).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), goes_on).await.unwrap();
    let told = tokio::time::timeout(Duration::from_mins(3), started).await.unwrap().unwrap();
    let told = error(told);
    assert!(told.contains("was not done in") || told.contains("mount.nfs"), "{told}");
    assert!(!pools.find("n").unwrap().is_active);
    let left = Command::new("pgrep").args(["-x", "mount.nfs"]).output().unwrap();
    assert!(left.stdout.is_empty(), "mount.nfs is left");
}

/// The kernel's server does not answer while this is there. However a test ends, it is to come back: threads that hang
/// would keep the test's runtime from its end.
struct Gone;

impl Gone {
    fn now() -> Self {
        run("rpc.nfsd", &["0"]);
        eprintln!("the server is gone");
        Self
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        // Not by a program: it would be given a copy of a descriptor that is written by, close it at its exec, and wait
        // there for the server that it is to start. That is what `lodge_sys::spawn` spares the product's.
        let came = fs::write("/proc/fs/nfsd/threads", "2");
        eprintln!("the server is back: {came:?}");
    }
}

#[tokio::test]
#[ignore = "needs an NFS server: cargo xtask lab"]
async fn a_server_that_goes_away_amid_the_work_costs_those_who_ask_an_error_in_time() {
    let world = World::new().await;
    let pools = world.pools().await;
    let other = crate::pool::running(&pools, "other", &world.dir.path().join("other")).await;
    let target = world.dir.path().join("mnt");
    let pool = define(&pools, &netfs(&target, "127.0.0.1")).await;
    pools.start(&pool, Some(BuildOptions::default())).await.unwrap();
    for name in ["up", "down", "old"] {
        make(&pools, &pool, name, 4, "").await.unwrap();
        make(&pools, &other, name, 4, "").await.unwrap();
    }
    let mut upload = pools.upload(&pool, "up", Span::default()).await.unwrap();
    upload.write(vec![7; 1 << 20], 0).await.unwrap();
    let began = Instant::now();
    let gone = Gone::now();
    let streamed = async {
        upload.write(vec![8; 1 << 20], 0).await?;
        upload.finish().await
    };
    let asked = async {
        tokio::join!(
            pools.refresh(&pool),
            streamed,
            make(&pools, &pool, "new", 4, ""),
            pools.delete_volume(&pool, "old", false),
        )
    };
    // Whoever asks nothing of that server is not kept waiting by it.
    let others = async {
        for number in 0..20 {
            let one = async {
                assert_eq!(pools.list().len(), 2);
                assert_eq!(pools.volumes(&pool).unwrap().len(), 3);
                pools.refresh(&other).await.unwrap();
                // qemu-img does it: programs start as ever.
                let xml = format!(
                    "<volume><name>v{number}</name><capacity unit='MiB'>1</capacity>\
                     <target><format type='qcow2'/></target></volume>"
                );
                let options = MakeOptions { prealloc_metadata: true, ..MakeOptions::default() };
                pools.create_volume(&other, &xml, options).await.unwrap();
            };
            tokio::time::timeout(Duration::from_secs(10), one).await.expect("others wait for the server");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        // It is judged by what was last seen of the server's directory.
        pools.delete_volume(&other, "old", false).await.unwrap();
    };
    let both = Box::pin(async { tokio::join!(asked, others) });
    let both = tokio::time::timeout(Duration::from_mins(6), both).await;
    let took = began.elapsed();
    eprintln!("all were told after {took:?}");
    drop(gone);
    let ((refreshed, streamed, made, deleted), ()) = both.expect("somebody waits for ever");
    for told in [error(refreshed), error(streamed), error(made), error(deleted)] {
        assert!(told.contains("answer"), "after {took:?}: {told}");
    }
    drop(upload);
    // When it is back, so is the pool; an upload is begun anew.
    let deadline = Instant::now() + Duration::from_mins(3);
    while let Err(error) = pools.refresh(&pool).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    fill(&pools, &pool, "up", 9).await;
    assert!(fs::read("/srv/lab/up").unwrap()[..1 << 20].iter().all(|byte| *byte == 9));
    pools.destroy(&pool).await.unwrap();
}
