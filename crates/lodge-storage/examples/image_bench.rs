//! How fast images are looked at, cloned and converted here, beside `qemu-img` in the same run.
//!
//! `cargo run --release -p lodge-storage --example image_bench [DIR]`. DIR: on the disk in question. Both sides end
//! with their bytes on disk: ours always do, after `qemu-img` its file is fsynced. Rounds alternate; the medians count.
//! `LODGE_BENCH_MIB` is the size of the disk that is converted.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use lodge_storage::{Compression, Conversion, Format, ImageFormat, ImageSource, NewImage, Storage};
use lodge_store::{Root, Store};
use tokio_util::sync::CancellationToken;

const MIB: usize = 1 << 20;
const DISK_MIB: usize = 256;
const IMAGES: usize = 1000;
const ROUNDS: usize = 3;
/// `qemu-img info` is run so often, and counted as if it were for all images: each run is the same.
const PEER_INFOS: usize = 100;

fn main() {
    let dir = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let dir = dir.map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("lodge-image-bench.{}", std::process::id()));
    fs::create_dir(&dir).expect("a new directory");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(measure(&dir));
    fs::remove_dir_all(&dir).expect("ours");
}

async fn measure(dir: &Path) {
    let store = Store::open(&Root::at(&dir.join("root")).expect("a root")).expect("a store");
    let storage = Storage::open(&store).await.expect("a storage");
    let raw = dir.join("disk.img");
    let mib = std::env::var("LODGE_BENCH_MIB").map_or(DISK_MIB, |mib| mib.parse().expect("a number"));
    fill(&raw, mib);
    infos(&storage, dir).await;
    clones(&storage, dir).await;
    conversions(&storage, dir, &raw).await;
}

/// Half of it text-like, a quarter noise, a quarter holes: roughly a system's disk.
fn fill(path: &Path, mib: usize) {
    let file = File::create(path).expect("space");
    file.set_len((mib * MIB) as u64).expect("space");
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut block = vec![0_u8; MIB];
    for number in (0..mib).filter(|number| number % 4 != 3) {
        for (at, byte) in block.iter_mut().enumerate() {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let noise = seed.to_le_bytes()[0];
            *byte = if number % 4 == 2 {
                noise
            } else if at % 8 < 6 {
                b'a' + noise % 4
            } else {
                noise
            };
        }
        file.write_all_at(&block, (number * MIB) as u64).expect("space");
    }
    file.sync_all().expect("a disk");
}

async fn infos(storage: &Storage, dir: &Path) {
    let images = dir.join("infos");
    fs::create_dir(&images).expect("space");
    let paths: Vec<PathBuf> = (0..IMAGES).map(|number| images.join(format!("{number}.qcow2"))).collect();
    qemu_img(&["create", "-q", "-f", "qcow2", text(&paths[0]), "10G"]);
    for path in &paths[1..] {
        fs::copy(&paths[0], path).expect("space");
    }
    let ours = async |_| {
        for path in &paths {
            let seen = storage.describe_image(path, ImageFormat::Qcow2, false).await.expect("an image");
            assert_eq!(seen[0].virtual_size.0, 10 << 30);
        }
    };
    let theirs = async |_| {
        for path in paths.iter().take(PEER_INFOS) {
            qemu_img(&["info", "-f", "qcow2", "--output=json", text(path)]);
        }
    };
    let (ours, theirs) = alternate(ROUNDS, ours, theirs).await;
    let theirs = theirs.mul_f64(count(IMAGES) / count(PEER_INFOS));
    told("info of 1000 volumes", ours, theirs, "at least 20 x");
}

async fn clones(storage: &Storage, dir: &Path) {
    let path = storage.images_dir().join("base-000000000001.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", text(&path), "10G"]);
    let source = ImageSource::Built;
    let (sha256, details) = (String::new(), serde_json::Value::Null);
    let name = "base".to_owned();
    let image = NewImage { name, path: path.clone(), format: Format::Qcow2, sha256, source, details };
    storage.register_image(image).await.expect("an image");
    // Many short rounds: what a disk takes for an fsync changes from one second to the next. So does what a new file takes
    // on ext4 without a journal, which looks through the inodes that were given back in the last minutes: the bare file says.
    const CLONES: usize = 20;
    let ours = async |round| {
        for number in 0..CLONES {
            let name = format!("ours{round}-{number}");
            storage.clone_linked("base", &name, None).await.expect("a clone");
        }
    };
    let theirs = async |round| {
        for number in 0..CLONES {
            let clone = dir.join(format!("theirs{round}-{number}.qcow2"));
            qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&path), "-F", "qcow2", text(&clone)]);
            sync(&clone);
        }
    };
    let (ours, theirs) = alternate(5 * ROUNDS, ours, theirs).await;
    told("linked clone", ours, theirs, "at least 10 x");
    let pool = storage.pool_dir();
    let bare = async |round| {
        for number in 0..CLONES {
            bare_file(&pool, &format!("bare{round}-{number}"));
        }
    };
    let (bare, _) = alternate(5 * ROUNDS, bare, async |_| ()).await;
    println!("{:22} {:8.1} ms   the same bytes in a bare durable file", "", bare.as_secs_f64() * 1000.0);
}

/// As many bytes as a linked clone has, in as many places, under their name and on disk.
fn bare_file(dir: &Path, name: &str) {
    let temp = dir.join(format!(".{name}"));
    let file = File::create_new(&temp).expect("space");
    file.set_len(3 << 16).expect("space");
    for (at, bytes) in [(0, 214), (1 << 16, 8), (2 << 16, 8)] {
        file.write_all_at(&vec![1; bytes], at).expect("space");
    }
    file.sync_all().expect("a disk");
    fs::rename(&temp, dir.join(name)).expect("ours");
    sync(dir);
}

async fn conversions(storage: &Storage, dir: &Path, raw: &Path) {
    let qcow2 = dir.join("disk.qcow2");
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", text(raw), text(&qcow2)]);
    sync(&qcow2);
    let cases = [
        ("raw -> qcow2", raw, ImageFormat::Raw, ImageFormat::Qcow2, None, "at least 1 x"),
        ("qcow2 -> raw", &qcow2, ImageFormat::Qcow2, ImageFormat::Raw, None, "at least 1 x"),
        ("qcow2 -> qcow2", &qcow2, ImageFormat::Qcow2, ImageFormat::Qcow2, None, "at least 1 x"),
        (
            "raw -> qcow2, zlib",
            raw,
            ImageFormat::Raw,
            ImageFormat::Qcow2,
            Some(Compression::Zlib),
            "at least 1.5 x",
        ),
        (
            "raw -> qcow2, zstd",
            raw,
            ImageFormat::Raw,
            ImageFormat::Qcow2,
            Some(Compression::Zstd),
            "at least 1.5 x",
        ),
    ];
    for (what, from, from_format, to_format, compression, bound) in cases {
        let (ours_at, theirs_at) = (dir.join("ours"), dir.join("theirs"));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let conversion = Conversion {
                from: from.to_owned(),
                from_format,
                to: ours_at.clone(),
                to_format,
                compression,
                cluster_size: None,
            };
            let begun = Instant::now();
            storage.convert_image(conversion, &CancellationToken::new(), |_| ()).await.expect("a conversion");
            ours.push(begun.elapsed());
            let option = compression.map(|by| format!("compression_type={by}"));
            let mut args = vec!["convert", "-f", from_format.as_str(), "-O", to_format.as_str()];
            if let Some(option) = &option {
                args.extend(["-c", "-o", option]);
            }
            args.extend([text(from), text(&theirs_at)]);
            let begun = Instant::now();
            qemu_img(&args);
            sync(&theirs_at);
            theirs.push(begun.elapsed());
            let formats = ["-f", to_format.as_str(), "-F", to_format.as_str()];
            qemu_img(&[&["compare", "-q"][..], &formats, &[text(&ours_at), text(&theirs_at)]].concat());
            for path in [&ours_at, &theirs_at] {
                fs::remove_file(path).expect("ours");
            }
        }
        told(what, middle(ours), middle(theirs), bound);
    }
}

/// The medians of both, whose rounds take turns.
async fn alternate(
    rounds: usize,
    mut ours: impl AsyncFnMut(usize),
    mut theirs: impl AsyncFnMut(usize),
) -> (Duration, Duration) {
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let begun = Instant::now();
        ours(round).await;
        our_times.push(begun.elapsed());
        let begun = Instant::now();
        theirs(round).await;
        their_times.push(begun.elapsed());
    }
    (middle(our_times), middle(their_times))
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn told(what: &str, ours: Duration, theirs: Duration, bound: &str) {
    let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("{what:22} {:8.1} ms   qemu-img {:8.1} ms   {ratio:6.2} x  ({bound})", ms(ours), ms(theirs));
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

fn sync(path: &Path) {
    File::open(path).and_then(|file| file.sync_all()).expect("a disk");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("plain names")
}

fn qemu_img(args: &[&str]) {
    let output = Command::new("qemu-img").args(args).output().expect("qemu-img");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
