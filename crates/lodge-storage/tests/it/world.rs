//! A root of its own for each test, and the tools that judge it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lodge_model::{Bytes, DomainId, Kind};
use lodge_storage::{
    DiskUse, FileUse, Format, GuestFiles, Guests, Image, ImageSource, NewImage, Part, Pools, Storage,
};
use lodge_store::{Root, Store};

pub const GIB: u64 = 1 << 30;

/// A storage on a root that goes with it.
pub struct World {
    pub dir: tempfile::TempDir,
    pub storage: Storage,
    /// Holds the root's lock.
    pub store: Store,
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, storage) = open(dir.path()).await;
        Self { dir, storage, store }
    }

    /// As if the daemon had been stopped and started.
    pub async fn restarted(self) -> Self {
        let Self { dir, storage, store } = self;
        drop((storage, store));
        let (store, storage) = open(dir.path()).await;
        Self { dir, storage, store }
    }

    /// The pools of this root.
    pub async fn pools(&self) -> Pools {
        Pools::open(&self.store, &self.storage).await.unwrap()
    }

    pub fn pool(&self, name: &str) -> PathBuf {
        self.storage.pool_dir().join(name)
    }

    /// Makes and registers the image `base`: 1 GiB, some bytes at its start.
    pub async fn base(&self) -> Image {
        self.image("base", "base-000000000001.qcow2").await
    }

    pub async fn image(&self, name: &str, file: &str) -> Image {
        let path = self.storage.images_dir().join(file);
        qemu_img(&["create", "-q", "-f", "qcow2", text(&path), "1G"]);
        run("qemu-io", &["-f", "qcow2", "-c", "write -P 7 0 1M", text(&path)]);
        let new = NewImage {
            name: name.to_owned(),
            path,
            format: Format::Qcow2,
            sha256: String::new(),
            source: ImageSource::Built,
            details: serde_json::Value::Null,
        };
        self.storage.register_image(new).await.unwrap()
    }

    /// What lies in the pool, sorted; hidden files too.
    pub fn pool_names(&self) -> Vec<String> {
        names(&self.storage.pool_dir())
    }
}

pub async fn open(dir: &Path) -> (Store, Storage) {
    // One that was killed while it started a program leaves its lock with that until its exec.
    let deadline = Instant::now() + Duration::from_secs(5);
    let store = loop {
        match Store::open(&Root::at(dir).unwrap()) {
            Err(error) if error.kind() == Kind::Busy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => break opened.unwrap(),
        }
    };
    let storage = Storage::open(&store).await.unwrap();
    (store, storage)
}

pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Whether qemu-utils is there; says so if not.
pub fn can_run() -> bool {
    let is_there = Command::new("qemu-img").arg("--version").output().is_ok();
    if !is_there {
        eprintln!("skipped: qemu-img is not installed (Debian's package qemu-utils)");
    }
    is_there
}

pub fn qemu_img(args: &[&str]) -> String {
    run("qemu-img", args)
}

pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// `qemu-img info` of one file.
pub fn info(path: &Path) -> serde_json::Value {
    serde_json::from_str(&qemu_img(&["info", "--output=json", text(path)])).unwrap()
}

/// `qemu-img check` finds nothing, not even leaks.
pub fn assert_clean(path: &Path) {
    let report = qemu_img(&["check", "--output=json", text(path)]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["check-errors"], 0, "{report}");
    assert_eq!(report.get("leaks"), None, "{report}");
    assert_eq!(report.get("corruptions"), None, "{report}");
}

/// `qemu-img check` finds no damage; leaks are what a cut-off act may leave.
pub fn assert_sound(path: &Path) {
    let output = Command::new("qemu-img").args(["check", "--output=json", text(path)]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report.get("corruptions"), None, "{report}");
    assert_eq!(report["check-errors"], 0, "{report}");
}

pub fn disk(path: &Path) -> DiskUse {
    DiskUse {
        target: "vda".to_owned(),
        path: Some(path.to_owned()),
        format: Format::Qcow2,
        read_only: false,
        shareable: false,
        optional: false,
        backing: Vec::new(),
        served_after: None,
        locked: Vec::new(),
    }
}

pub fn domain(number: u128) -> DomainId {
    DomainId(uuid::Uuid::from_u128(number))
}

/// Guests that are off, each with its number and its disks.
pub fn guests(all: &[(&str, u128, &[&PathBuf])]) -> Arc<dyn Guests> {
    let guest = |(name, number, disks): &(&str, u128, &[&PathBuf])| guest(name, *number, disks);
    Arc::new(Fixed(Mutex::new(all.iter().map(guest).collect())))
}

/// A guest that is off.
pub fn guest(name: &str, number: u128, disks: &[&PathBuf]) -> GuestFiles {
    let files = disks.iter().map(|path| disk_file(path)).collect();
    GuestFiles { id: domain(number), name: name.into(), is_active: false, files }
}

fn disk_file(path: &Path) -> FileUse {
    FileUse {
        path: path.to_owned(),
        part: Part::Disk("vda".to_owned()),
        format: Some("qcow2".to_owned()),
        writes: true,
        shareable: false,
    }
}

/// Guests as a test has them.
#[derive(Debug)]
pub struct Fixed(pub Mutex<Vec<GuestFiles>>);

impl Guests for Fixed {
    fn list(&self) -> Vec<GuestFiles> {
        self.0.lock().unwrap().clone()
    }
}

pub fn gib(count: u64) -> Bytes {
    Bytes(count * GIB)
}
