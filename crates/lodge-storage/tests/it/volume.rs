//! Volumes of pools: made, copied, changed, streamed, deleted, with qemu-img as the oracle.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, sync::Arc};

use lodge_model::Bytes;
use lodge_storage::{
    MakeOptions, Piece, PoolError, PoolHandle, PoolVolume, Pools, ResizeOptions, Span, WipeAlgorithm,
};
use proptest::prelude::*;

use crate::{
    pool::running,
    world::{World, assert_clean, can_run, disk, domain, info, qemu_img, text},
};

struct Place {
    world: World,
    pools: Pools,
    pool: PoolHandle,
}

impl Place {
    async fn new() -> Self {
        let world = World::new().await;
        let pools = world.pools().await;
        let pool = running(&pools, "p", &world.dir.path().join("p")).await;
        Self { world, pools, pool }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.world.dir.path().join("p").join(name)
    }

    async fn make(&self, name: &str, bytes: u64, rest: &str) -> Result<Arc<PoolVolume>, PoolError> {
        let xml = format!("<volume><name>{name}</name><capacity>{bytes}</capacity>{rest}</volume>");
        self.pools.create_volume(&self.pool, &xml, MakeOptions::default()).await
    }

    async fn copy(&self, name: &str, from: &str, format: &str) -> Result<Arc<PoolVolume>, PoolError> {
        let xml = format!(
            "<volume><name>{name}</name><allocation>0</allocation><target><format type='{format}'/></target></volume>"
        );
        self.pools.clone_volume(&self.pool, &xml, (&self.pool, from), MakeOptions::default()).await
    }
}

fn target(inner: &str) -> String {
    format!("<target><format type='qcow2'/>{inner}</target>")
}

fn error<T>(result: Result<T, PoolError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn raw_volumes_take_the_room_they_are_told_to() {
    let place = Place::new().await;
    place.make("full", 4 * MIB, "").await.unwrap();
    place.make("sparse", 4 * MIB, "<allocation>0</allocation>").await.unwrap();
    let half = place.make("half", 4 * MIB, "<allocation unit='MiB'>2</allocation>").await.unwrap();
    let blocks = |name: &str| fs::metadata(place.at(name)).unwrap().blocks() * 512;
    assert_eq!((blocks("full"), blocks("sparse"), blocks("half")), (4 * MIB, 0, 2 * MIB));
    assert_eq!((half.capacity, half.physical), (4 * MIB, 4 * MIB));
    assert_eq!(error(place.make("full", MIB, "").await), "storage volume 'full' exists already");
    assert_eq!(error(place.make("a/b", MIB, "").await), "volume name 'a/b' cannot contain '/'");
    let dots = format!("volume target path '{}' already exists", place.at("..").display());
    assert_eq!(error(place.make("..", MIB, "").await), dots);
    let huge = error(place.make("huge", 1 << 63, "<allocation>0</allocation>").await);
    assert!(huge.starts_with("cannot extend file '") && huge.contains("File too large"), "{huge}");
    assert!(!place.at("huge").exists());
}

#[tokio::test]
async fn qcow2_volumes_are_what_they_were_asked_to_be() {
    if !can_run() {
        return;
    }
    let place = Place::new().await;
    place.make("plain", 16 * MIB, &target("")).await.unwrap();
    place.make("old", MIB, &target("<compat>0.10</compat>")).await.unwrap();
    place
        .make("lazy", 1000, &target("<compat>1.1</compat><features><lazy_refcounts/></features>"))
        .await
        .unwrap();
    place.make("ext", MIB, &target("<features><extended_l2/></features>")).await.unwrap();
    place.make("big", 3 << 40, &target("<clusterSize unit='KiB'>128</clusterSize>")).await.unwrap();
    place.make("small", 64 * MIB, &target("<clusterSize unit='B'>512</clusterSize>")).await.unwrap();
    let backing = format!(
        "{}<backingStore><path>{}</path><format type='qcow2'/></backingStore>",
        target(""),
        place.at("plain").display()
    );
    place.make("top", 32 * MIB, &backing).await.unwrap();
    for name in ["plain", "old", "lazy", "ext", "big", "small", "top"] {
        assert_clean(&place.at(name));
    }
    let lazy = info(&place.at("lazy"));
    assert_eq!(lazy["virtual-size"], 1024);
    assert_eq!(lazy["format-specific"]["data"]["lazy-refcounts"], true);
    assert_eq!(info(&place.at("old"))["format-specific"]["data"]["compat"], "0.10");
    assert_eq!(info(&place.at("ext"))["format-specific"]["data"]["extended-l2"], true);
    assert_eq!(info(&place.at("big"))["cluster-size"], 128 << 10);
    assert_eq!(info(&place.at("top"))["backing-filename-format"], "qcow2");
    place.pools.refresh(&place.pool).await.unwrap();
    let xml = place.pools.look_at(&place.pool, "lazy").await.unwrap().xml();
    assert!(xml.contains("<compat>1.1</compat>\n    <clusterSize unit='B'>65536</clusterSize>"), "{xml}");
    assert!(xml.contains("<lazy_refcounts/>"), "{xml}");
    let missing = "<backingStore><path>/none</path><format type='qcow2'/></backingStore>";
    assert_eq!(
        error(place.make("x", MIB, &(target("") + missing)).await),
        "inaccessible backing store volume /none: No such file or directory"
    );
}

#[tokio::test]
async fn other_formats_and_preallocated_tables_are_made_by_a_shut_in_qemu_img() {
    if !can_run() {
        return;
    }
    let place = Place::new().await;
    for format in ["vmdk", "vdi", "qed", "vpc", "qcow"] {
        let made = place.make(format, 16 * MIB, &format!("<target><format type='{format}'/></target>")).await;
        assert!(made.is_ok(), "{format}: {made:?}");
        assert_eq!(info(&place.at(format))["format"], format);
    }
    let xml = format!("<volume><name>pre</name><capacity>{}</capacity>{}</volume>", 16 * MIB, target(""));
    let options = MakeOptions { prealloc_metadata: true, ..MakeOptions::default() };
    place.pools.create_volume(&place.pool, &xml, options).await.unwrap();
    assert!(fs::metadata(place.at("pre")).unwrap().len() > 16 * MIB);
    assert_clean(&place.at("pre"));
    let no = place.make("bochs", MIB, "<target><format type='bochs'/></target>").await;
    let text = error(no);
    assert!(text.contains("does not support image creation"), "{text}");
    let names = place.pools.volumes(&place.pool).unwrap();
    assert!(names.iter().all(|volume| volume.name != "bochs") && !place.at("bochs").exists());
}

#[tokio::test]
async fn copies_have_the_same_bytes_in_every_format() {
    if !can_run() {
        return;
    }
    let place = Place::new().await;
    place.make("a.raw", 4 * MIB, "<allocation>0</allocation>").await.unwrap();
    crate::world::run("qemu-io", &["-f", "raw", "-c", "write -P 7 1M 70k", text(&place.at("a.raw"))]);
    place.copy("b.raw", "a.raw", "raw").await.unwrap();
    place.copy("c.qcow2", "a.raw", "qcow2").await.unwrap();
    place.copy("d.qcow2", "c.qcow2", "qcow2").await.unwrap();
    place.copy("e.raw", "d.qcow2", "raw").await.unwrap();
    place.copy("f.vmdk", "d.qcow2", "vmdk").await.unwrap();
    place.copy("g.raw", "f.vmdk", "raw").await.unwrap();
    for name in ["b.raw", "c.qcow2", "d.qcow2", "e.raw", "f.vmdk", "g.raw"] {
        qemu_img(&["compare", "-q", text(&place.at("a.raw")), text(&place.at(name))]);
    }
    assert!(fs::metadata(place.at("b.raw")).unwrap().blocks() * 512 < MIB);
    assert_clean(&place.at("d.qcow2"));
    // An overlay's copy without a backing file has all of it.
    let backing = format!(
        "{}<backingStore><path>{}</path><format type='qcow2'/></backingStore>",
        target(""),
        place.at("c.qcow2").display()
    );
    place.make("top", 4 * MIB, &backing).await.unwrap();
    place.copy("flat", "top", "qcow2").await.unwrap();
    assert_eq!(info(&place.at("flat")).get("backing-filename"), None);
    qemu_img(&["compare", "-q", text(&place.at("a.raw")), text(&place.at("flat"))]);
    assert_eq!(error(place.copy("top", "a.raw", "raw").await), "storage volume name 'top' already in use.");
}

#[tokio::test]
async fn sizes_change_as_libvirt_changes_them() {
    if !can_run() {
        return;
    }
    let place = Place::new().await;
    place.make("q", 16 * MIB, &target("")).await.unwrap();
    place.make("r", 4 * MIB, "<allocation>0</allocation>").await.unwrap();
    let resize = |name: &'static str, bytes: u64, allocate: bool, delta: bool, shrink: bool| {
        let options = ResizeOptions { allocate, delta, shrink };
        place.pools.resize_volume(&place.pool, name, Bytes(bytes), options)
    };
    let capacity =
        |name: &'static str| async { place.pools.look_at(&place.pool, name).await.unwrap().capacity };
    resize("q", 32 * MIB, false, false, false).await.unwrap();
    assert_eq!(capacity("q").await, 32 * MIB);
    let smaller = error(resize("q", 8 * MIB, false, false, false).await);
    assert!(smaller.starts_with("Can't shrink capacity below current capacity"), "{smaller}");
    resize("q", 8 * MIB, false, false, true).await.unwrap();
    resize("q", 4 * MIB, false, true, true).await.unwrap();
    assert_eq!(capacity("q").await, 4 * MIB);
    assert_clean(&place.at("q"));
    let taken = error(resize("q", 48 * MIB, true, false, false).await);
    assert_eq!(taken, "preallocate is only supported for raw type volume");
    resize("r", 8 * MIB, true, false, false).await.unwrap();
    let now = place.pools.look_at(&place.pool, "r").await.unwrap();
    assert_eq!((now.capacity, now.allocation), (8 * MIB, 8 * MIB));
    let below = error(resize("r", MIB, false, false, true).await);
    assert_eq!(below, "can't shrink capacity below existing allocation");
}

#[tokio::test]
async fn wiping_leaves_nothing_of_what_was_there() {
    let place = Place::new().await;
    place.make("v", MIB, "").await.unwrap();
    fs::write(place.at("v"), vec![7; MIB as usize]).unwrap();
    let wipe = |algorithm| place.pools.wipe_volume(&place.pool, "v", algorithm);
    wipe(WipeAlgorithm::Random).await.unwrap();
    let random = fs::read(place.at("v")).unwrap();
    assert!(random.len() == MIB as usize && random.iter().filter(|byte| **byte == 7).count() < 10_000);
    wipe(WipeAlgorithm::Zero).await.unwrap();
    assert!(fs::read(place.at("v")).unwrap().iter().all(|byte| *byte == 0));
    if std::process::Command::new("scrub").arg("--version").output().is_ok() {
        // A program that asks whether its user may write.
        fs::write(place.at("v"), vec![7; MIB as usize]).unwrap();
        wipe(WipeAlgorithm::of(2).unwrap()).await.unwrap();
        let scrubbed = fs::read(place.at("v")).unwrap();
        assert!(scrubbed.iter().filter(|byte| **byte == 7).count() < 10_000);
    }
    assert_eq!(error(WipeAlgorithm::of(77)), "wiping algorithm 77 not supported");
    assert_eq!(error(WipeAlgorithm::of(9)), "'trim' algorithm not supported");
}

#[tokio::test]
async fn what_is_used_or_stood_on_is_not_deleted_nor_written() {
    if !can_run() {
        return;
    }
    let place = Place::new().await;
    place.make("base", MIB, &target("")).await.unwrap();
    // Made behind our back, and not known yet.
    let top = place.at("top");
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", text(&top)]);
    let stands = format!("volume 'base' is still in use: volume '{}' stands on it", top.display());
    assert_eq!(error(place.pools.delete_volume(&place.pool, "base", false).await), stands);
    assert_eq!(error(place.pools.wipe_volume(&place.pool, "base", WipeAlgorithm::Zero).await), stands);
    assert_eq!(error(place.pools.upload(&place.pool, "base", Span::default()).await), stands);
    fs::remove_file(&top).unwrap();
    place.world.storage.claim(domain(1), "web1", &[disk(&place.at("base"))]).await.unwrap();
    let used = "volume 'base' is still in use: domain 'web1' uses it";
    assert_eq!(error(place.pools.delete_volume(&place.pool, "base", false).await), used);
    let grown =
        place.pools.resize_volume(&place.pool, "base", Bytes(2 * MIB), ResizeOptions::default()).await;
    assert_eq!(error(grown), used);
    place.pools.download(&place.pool, "base", Span::default(), false).await.unwrap();
    place.world.storage.release(domain(1));
    place.pools.delete_volume(&place.pool, "base", false).await.unwrap();
    assert!(!place.at("base").exists());
    let gone = error(place.pools.delete_volume(&place.pool, "base", false).await);
    assert_eq!(gone, "no storage vol with matching name 'base'");
}

#[tokio::test]
async fn a_file_that_went_is_told_and_can_be_forgotten() {
    let place = Place::new().await;
    place.make("v", MIB, "").await.unwrap();
    fs::remove_file(place.at("v")).unwrap();
    let gone = format!("no storage vol with matching path '{}'", place.at("v").display());
    assert_eq!(error(place.pools.look_at(&place.pool, "v").await), gone);
    place.pools.delete_volume(&place.pool, "v", false).await.unwrap();
    assert_eq!(place.pools.volume_count(&place.pool).unwrap(), 0);
}

#[tokio::test]
async fn of_many_creations_of_one_name_one_is_done() {
    let place = Arc::new(Place::new().await);
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let place = Arc::clone(&place);
        tries.spawn(async move { place.make("one", MIB, "").await.is_ok() });
    }
    assert_eq!(tries.join_all().await.into_iter().filter(|is_made| *is_made).count(), 1);
}

async fn read_all(pools: &Pools, pool: &PoolHandle, name: &str, span: Span, sparse: bool) -> (Vec<u8>, u64) {
    let mut download = pools.download(pool, name, span, sparse).await.unwrap();
    let (mut bytes, mut holes) = (Vec::new(), 0);
    // One buffer for all, with something of ours before the bytes.
    let mut buffer = b"own".to_vec();
    while let Some(piece) = download.next(std::mem::take(&mut buffer), 3, 100_000).await.unwrap() {
        match piece {
            Piece::Data(data) => {
                assert_eq!(&data[..3], b"own");
                bytes.extend_from_slice(&data[3..]);
                buffer = data;
            }
            Piece::Hole(length) => {
                buffer = b"own".to_vec();
                holes += length;
                bytes.resize(bytes.len() + usize::try_from(length).unwrap(), 0);
            }
        }
    }
    (bytes, holes)
}

#[tokio::test]
async fn streams_keep_offsets_lengths_and_holes() {
    let place = Place::new().await;
    place.make("v", 4 * MIB, "").await.unwrap();
    fs::write(place.at("v"), vec![9; 4 * MIB as usize]).unwrap();
    let mut upload = place.pools.upload(&place.pool, "v", Span::default()).await.unwrap();
    upload.hole(MIB).await.unwrap();
    upload.write(vec![1; 5000], 0).await.unwrap();
    upload.hole(MIB - 5000).await.unwrap();
    upload.finish().await.unwrap();
    let (bytes, holes) = read_all(&place.pools, &place.pool, "v", Span::default(), true).await;
    assert_eq!(bytes.len() as u64, 4 * MIB);
    assert!(holes >= MIB, "what was under a hole is gone: {holes}");
    assert!(bytes[..MIB as usize].iter().all(|byte| *byte == 0));
    assert!(bytes[MIB as usize..][..5000].iter().all(|byte| *byte == 1));
    assert!(bytes[2 * MIB as usize..].iter().all(|byte| *byte == 9));
    let span = Span { offset: MIB - 10, length: 20 };
    let (bytes, _) = read_all(&place.pools, &place.pool, "v", span, false).await;
    assert_eq!(bytes, [[0; 10], [1; 10]].concat());
    let beyond = Span { offset: 1 << 40, length: 5 };
    assert!(read_all(&place.pools, &place.pool, "v", beyond, false).await.0.is_empty());
    // libvirtd 11.3 dies of more data than it was told of.
    let mut short = place.pools.upload(&place.pool, "v", Span { offset: 0, length: 10 }).await.unwrap();
    short.write(vec![2; 10], 0).await.unwrap();
    let full = error(short.write(vec![2; 1], 0).await);
    assert_eq!(full, "cannot write to stream: No space left on device");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_uploaded_is_downloaded(pieces in proptest::collection::vec((any::<bool>(), 1_u64..300_000), 1..8)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::new().await;
            place.make("v", 1, "").await.unwrap();
            let mut expected = Vec::new();
            let mut upload = place.pools.upload(&place.pool, "v", Span::default()).await.unwrap();
            for (is_hole, length) in pieces {
                let length = usize::try_from(length).unwrap();
                if is_hole {
                    upload.hole(length as u64).await.unwrap();
                    expected.resize(expected.len() + length, 0);
                } else {
                    upload.write(vec![5; length], 0).await.unwrap();
                    expected.resize(expected.len() + length, 5);
                }
            }
            upload.finish().await.unwrap();
            for sparse in [false, true] {
                let (bytes, _) = read_all(&place.pools, &place.pool, "v", Span::default(), sparse).await;
                assert!(bytes == expected);
            }
        });
    }
}

#[tokio::test]
async fn an_image_that_names_a_file_outside_is_not_converted() {
    if !can_run() {
        return;
    }
    let place = Place::new().await;
    let outside = place.world.dir.path().join("secret");
    fs::write(&outside, vec![1; MIB as usize]).unwrap();
    let evil = place.at("evil");
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&outside), "-F", "raw", text(&evil)]);
    place.pools.refresh(&place.pool).await.unwrap();
    let refused = error(place.copy("out", "evil", "raw").await);
    assert!(refused.contains("outside of every pool"), "{refused}");
    assert!(!Path::new(&place.at("out")).exists());
}
