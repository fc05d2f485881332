//! The host's disk fails amid the work: full, or dead. What was acknowledged is there, what was not is told with the
//! place, and nothing is half made.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lodge_faults::{DyingDisk, SmallDisk};
use lodge_model::Bytes;
use lodge_storage::{
    AfterCommit, Commit, Format, ImageFormat, InnerVerb, MakeOptions, NewOverlay, Piece, PoolHandle, Pools,
    RebaseMode, ResizeOptions, Span, WipeAlgorithm, unlocked,
};
use tokio_util::sync::CancellationToken;

use crate::{
    img::conversion,
    pool::running,
    world::{World, assert_clean, assert_sound, can_run, names, open, qemu_img, run, text},
};

const DIR: &str = "LODGE_TEST_FAULTS_DIR";
const MIB: u64 = 1 << 20;
const SPACE: &str = "No space left on device";

fn volume(name: &str, mib: u64, format: &str, rest: &str) -> String {
    format!(
        "<volume><name>{name}</name><capacity unit='MiB'>{mib}</capacity>{rest}\
         <target><format type='{format}'/></target></volume>"
    )
}

/// What an act said, with all its causes.
fn said<T, E: std::error::Error>(done: Result<T, E>) -> Result<(), String> {
    done.map(drop).map_err(|error| {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(source) = next {
            text = format!("{text}: {source}");
            next = source.source();
        }
        text
    })
}

fn write(path: &Path, format: &str, command: &str) {
    let out = run("qemu-io", &["-f", format, "-c", command, text(path)]);
    assert!(!out.contains("failed"), "{}: {command}: {out}", path.display());
}

/// Acts on the disks of one pool, each by its name; all find `raw`, `full.qcow2`, `base.qcow2` and `top.qcow2` above it.
struct Place {
    world: World,
    pools: Pools,
    pool: PoolHandle,
    at: PathBuf,
}

const ACTS: &[&str] = &[
    "upload",
    "allocate",
    "blank",
    "copy raw",
    "copy qcow2",
    "convert volume",
    "linked",
    "resize raw",
    "resize qcow2",
    "wipe",
    "random",
    "convert",
    "compact",
    "inside",
    "overlay",
    "commit",
    "flatten",
    "rebase",
];

impl Place {
    async fn new(at: &Path) -> Self {
        let world = World::new().await;
        let pools = world.pools().await;
        let at = at.join("p");
        let pool = running(&pools, "p", &at).await;
        let this = Self { world, pools, pool, at };
        qemu_img(&["create", "-q", "-f", "raw", text(&this.file("raw")), "4M"]);
        write(&this.file("raw"), "raw", "write -q -P 3 0 4M");
        for name in ["full.qcow2", "base.qcow2"] {
            qemu_img(&["create", "-q", "-f", "qcow2", text(&this.file(name)), "4M"]);
            write(&this.file(name), "qcow2", "write -q -P 7 0 3M");
        }
        write(&this.file("full.qcow2"), "qcow2", "write -q -P 0 0 1M");
        let (base, top) = (this.file("base.qcow2"), this.file("top.qcow2"));
        qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&base), "-F", "qcow2", text(&top)]);
        write(&top, "qcow2", "write -q -P 9 2M 2M");
        this.pools.refresh(&this.pool).await.unwrap();
        this
    }

    fn file(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    async fn act(&self, act: &str) -> Result<(), String> {
        let (pools, pool, storage) = (&self.pools, &self.pool, &self.world.storage);
        let options = MakeOptions::default();
        let (base, top, full) = (self.file("base.qcow2"), self.file("top.qcow2"), self.file("full.qcow2"));
        let none = CancellationToken::new();
        match act {
            "upload" => self.upload("raw", 5).await,
            "allocate" => said(pools.create_volume(pool, &volume("new", 4, "raw", ""), options).await),
            "blank" => said(pools.create_volume(pool, &volume("new", 4, "qcow2", ""), options).await),
            "copy raw" => {
                said(pools.clone_volume(pool, &volume("new", 4, "raw", ""), (pool, "raw"), options).await)
            }
            "copy qcow2" => {
                let xml = volume("new", 4, "qcow2", "");
                said(pools.clone_volume(pool, &xml, (pool, "full.qcow2"), options).await)
            }
            "convert volume" => {
                said(pools.clone_volume(pool, &volume("new", 4, "qcow2", ""), (pool, "raw"), options).await)
            }
            "linked" => said(storage.link_clone((&base, Format::Qcow2), &self.file("new"), None).await),
            "resize raw" => {
                let options = ResizeOptions { allocate: true, ..ResizeOptions::default() };
                said(pools.resize_volume(pool, "raw", Bytes(9 * MIB), options).await)
            }
            "resize qcow2" => {
                said(pools.resize_volume(pool, "full.qcow2", Bytes(8 * MIB), ResizeOptions::default()).await)
            }
            "wipe" => said(pools.wipe_volume(pool, "raw", WipeAlgorithm::Zero).await),
            "random" => said(pools.wipe_volume(pool, "raw", WipeAlgorithm::Random).await),
            "convert" => {
                let (from, to) = (self.file("raw"), self.file("new"));
                let wanted = conversion(&from, ImageFormat::Raw, &to, ImageFormat::Qcow2);
                said(storage.convert_image(wanted, &none, |_| ()).await)
            }
            "compact" => said(storage.compact_image(&full, ImageFormat::Qcow2, &none, |_| ()).await),
            "inside" => said(storage.change_inner_snapshot(InnerVerb::Create, &full, "s1", &unlocked).await),
            "overlay" => {
                let (path, backing, format) = (self.file("new"), base, Format::Qcow2);
                let new = NewOverlay { path, backing, format, is_on_locked: false, size: None, seal: None };
                said(storage.create_overlay(&new).await)
            }
            "commit" => {
                let (top, base) = (top, Some(base));
                let wish = Commit { top, base, after: AfterCommit::Keep, behalf: None };
                said(storage.commit(&wish).await)
            }
            "flatten" => said(storage.flatten(&top, None).await),
            "rebase" => said(storage.rebase(&top, (&full, Format::Qcow2), RebaseMode::Safe).await),
            other => panic!("no act {other}"),
        }
    }

    async fn upload(&self, name: &str, byte: u8) -> Result<(), String> {
        let mut upload = said_of(self.pools.upload(&self.pool, name, Span::default()).await)?;
        for _ in 0..4 {
            said(upload.write(vec![byte; 1 << 20], 0).await)?;
        }
        said(upload.finish().await)
    }

    /// What each disk shows.
    fn shows(&self) -> Vec<Vec<u8>> {
        let raw = self.world.dir.path().join("seen");
        let seen = |name: &&str| {
            qemu_img(&["convert", "-f", "qcow2", "-O", "raw", text(&self.file(name)), text(&raw)]);
            fs::read(&raw).unwrap()
        };
        ["full.qcow2", "base.qcow2", "top.qcow2"].iter().map(seen).collect()
    }
}

fn said_of<T, E: std::error::Error>(done: Result<T, E>) -> Result<T, String> {
    match done {
        Ok(value) => Ok(value),
        Err(error) => Err(said::<(), E>(Err(error)).unwrap_err()),
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_that_a_dying_disk_has_not_kept() {
    if !can_run() {
        return;
    }
    for act in ACTS {
        let Some(disk) = DyingDisk::new(64) else { return };
        let place = Place::new(disk.path()).await;
        let before = names(&place.at);
        disk.die();
        let told = place.act(act).await.expect_err(act);
        let names_place = told.contains(text(&place.at)) || *act == "upload";
        assert!(told.contains("Input/output error") && names_place, "{act}: {told}");
        assert_eq!(names(&place.at), before, "{act}: {told}");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_with_the_place_and_every_disk_is_as_it_was() {
    if !can_run() {
        return;
    }
    for act in ACTS {
        // What writes over bytes that are there, or a little, finds room.
        let fits = ["upload", "wipe", "random", "resize qcow2"].contains(act);
        let Some(disk) = SmallDisk::new(48).unwrap() else { return };
        let place = Place::new(disk.path()).await;
        let (files, shows) = (names(&place.at), place.shows());
        disk.fill_but(if fits { 64 << 10 } else { 0 }).unwrap();
        match place.act(act).await {
            Ok(()) => assert!(fits, "{act} is done on a full disk"),
            Err(told) => {
                assert!(told.contains(SPACE) && told.contains(text(&place.at)), "{act}: {told}");
                assert!(!fits, "{act}: {told}");
            }
        }
        assert_eq!(names(&place.at), files, "{act}");
        assert_eq!(fs::metadata(place.file("raw")).unwrap().len(), 4 * MIB, "{act}");
        for name in ["full.qcow2", "base.qcow2", "top.qcow2"] {
            assert_sound(&place.file(name));
        }
        if *act == "inside" {
            assert_clean(&place.file("full.qcow2"));
        }
        // `resize qcow2` has made it longer.
        let now = place.shows();
        let same = |at: usize| now[at][..shows[at].len()] == shows[at][..];
        // What is merged into shows what came so far; what stands on it shows the same as before.
        assert!(same(0) && (same(1) || *act == "commit") && same(2), "{act}: other bytes");
        disk.free().unwrap();
        if !fits {
            place.act(act).await.unwrap_or_else(|told| panic!("{act} with room: {told}"));
        }
    }
}

#[tokio::test]
async fn an_upload_that_finds_no_room_is_told_and_can_be_done_again() {
    let Some(disk) = SmallDisk::new(16).unwrap() else { return };
    let world = World::new().await;
    let pools = world.pools().await;
    let at = disk.path().join("p");
    let pool = running(&pools, "p", &at).await;
    let sparse = volume("v", 8, "raw", "<allocation>0</allocation>");
    pools.create_volume(&pool, &sparse, MakeOptions::default()).await.unwrap();
    let place = Place { world, pools, pool, at };
    disk.fill_but(2 * MIB).unwrap();
    let told = place.upload("v", 5).await.unwrap_err();
    assert!(told.contains(SPACE), "{told}");
    assert_eq!(names(&place.at), ["v"]);
    disk.free().unwrap();
    place.upload("v", 6).await.unwrap();
    let bytes = fs::read(place.file("v")).unwrap();
    assert!(bytes.len() == 8 << 20 && bytes[..4 << 20].iter().all(|byte| *byte == 6));
}

/// Nothing but the daemon's life ends it.
#[tokio::test]
async fn inner_changes() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let (store, storage) = open(&dir).await;
    let pools = Pools::open(&store, &storage).await.unwrap();
    let pool = pools.find("p").unwrap().handle();
    let options = MakeOptions::default();
    for number in 0_u32.. {
        let byte = u8::try_from(1 + number % 200).unwrap();
        let mut upload = pools.upload(&pool, "uploaded", Span::default()).await.unwrap();
        for _ in 0..4 {
            upload.write(vec![byte; 1 << 20], 0).await.unwrap();
        }
        upload.finish().await.unwrap();
        drop(upload);
        pools.wipe_volume(&pool, "wiped", WipeAlgorithm::Random).await.unwrap();
        pools.wipe_volume(&pool, "wiped", WipeAlgorithm::Zero).await.unwrap();
        let mut download = pools.download(&pool, "source.raw", Span::default(), true).await.unwrap();
        while let Some(piece) = download.next(Vec::new(), 0, 1 << 20).await.unwrap() {
            assert!(matches!(piece, Piece::Data(_) | Piece::Hole(_)));
        }
        for (format, source) in [("raw", "source.raw"), ("qcow2", "source.qcow2"), ("qcow2", "source.raw")] {
            let name = format!("copy{}-{number}-{source}.{format}", std::process::id());
            let xml = volume(&name, 4, format, "");
            pools.clone_volume(&pool, &xml, (&pool, source), options).await.unwrap();
        }
        for name in ["sized.raw", "sized.qcow2"] {
            let allocate = name.ends_with("raw");
            let options = ResizeOptions { allocate, delta: true, shrink: false };
            pools.resize_volume(&pool, name, Bytes(64 << 10), options).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_process_killed_amid_changing_volumes_leaves_them_whole_and_the_next_can_go_on() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("p");
    {
        let (store, storage) = open(dir.path()).await;
        let pools = Pools::open(&store, &storage).await.unwrap();
        let pool = running(&pools, "p", &at).await;
        pools.set_autostart(&pool, true).await.unwrap();
        for name in ["uploaded", "wiped", "sized.raw", "source.raw"] {
            let xml = volume(name, 4, "raw", "");
            pools.create_volume(&pool, &xml, MakeOptions::default()).await.unwrap();
            write(&at.join(name), "raw", "write -q -P 5 1M 3M");
        }
        for name in ["sized.qcow2", "source.qcow2"] {
            let xml = volume(name, 4, "qcow2", "");
            pools.create_volume(&pool, &xml, MakeOptions::default()).await.unwrap();
            write(&at.join(name), "qcow2", "write -q -P 5 1M 3M");
        }
    }
    let copies = || names(&at).into_iter().filter(|name| name.starts_with("copy")).collect::<Vec<_>>();
    for wait_ms in [0, 4, 9, 17, 28, 40, 60, 90] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "faults::inner_changes", "--nocapture"]).env(DIR, dir.path());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (before, deadline) = (copies().len(), Instant::now() + Duration::from_mins(1));
        while copies().len() < before + 3 {
            assert!(Instant::now() < deadline, "nothing is copied");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let (store, storage) = open(dir.path()).await;
        let pools = Pools::open(&store, &storage).await.unwrap();
        let pool = pools.find("p").unwrap().handle();
        // A start clears away what the last one left.
        pools.destroy(&pool).await.unwrap();
        pools.start(&pool, None).await.unwrap();
        assert!(names(&at).iter().all(|name| !name.starts_with('.')), "{:?}", names(&at));
        for name in copies() {
            let path = at.join(&name);
            let format = path.extension().unwrap().to_str().unwrap();
            if format == "qcow2" {
                assert_clean(&path);
            }
            let source = at.join("source.raw");
            let compare = ["compare", "-f", "raw", "-F", format, text(&source), text(&path)];
            assert!(qemu_img(&compare).contains("identical"), "{name}");
            pools.delete_volume(&pool, &name, false).await.unwrap();
        }
        for name in ["uploaded", "wiped"] {
            assert_eq!(fs::metadata(at.join(name)).unwrap().len(), 4 * MIB, "{name}");
        }
        assert_sound(&at.join("sized.qcow2"));
        write(&at.join("sized.qcow2"), "qcow2", "read -q -P 5 1M 3M");
        write(&at.join("sized.raw"), "raw", "read -q -P 5 1M 3M");
        assert_eq!(fs::metadata(at.join("sized.raw")).unwrap().len() % (64 << 10), 0);
        // Whatever was cut off can be done now.
        let mut upload = pools.upload(&pool, "uploaded", Span::default()).await.unwrap();
        for _ in 0..4 {
            upload.write(vec![201; 1 << 20], 0).await.unwrap();
        }
        upload.finish().await.unwrap();
        drop(upload);
        assert!(fs::read(at.join("uploaded")).unwrap().iter().all(|byte| *byte == 201));
        pools.wipe_volume(&pool, "wiped", WipeAlgorithm::Zero).await.unwrap();
        assert!(fs::read(at.join("wiped")).unwrap().iter().all(|byte| *byte == 0));
    }
}
