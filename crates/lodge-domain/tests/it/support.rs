//! A root of its own with real QEMU, and a look at what is left on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lodge_domain::{Accelerator, DomainEvent, Domains, DomainsConfig, Handle, Snapshot};
use lodge_model::Kind;
use lodge_qemu::{Capabilities, Speed};
use lodge_store::{Root, Store};
use tokio::sync::broadcast;

pub use self::fakes::*;

// Named, because another crate's tests have this file as a module too.
#[path = "support/fakes.rs"]
mod fakes;

pub const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// Says why a test is skipped, where there is no QEMU.
pub fn has_qemu() -> bool {
    let there = Path::new(QEMU).exists();
    if !there {
        eprintln!("skipped: there is no {QEMU}");
    }
    there
}

/// Says why a test is skipped, where there is no swtpm.
pub fn has_swtpm() -> bool {
    let missing = ["swtpm_setup", "swtpm"].into_iter().find(|name| lodge_sys::tool::find(name).is_none());
    missing.inspect(|name| eprintln!("skipped: there is no {name}")).is_none()
}

/// A root under a temporary directory. Whatever runs under it ends with it.
pub struct World {
    pub dir: tempfile::TempDir,
    pub fakes: Fakes,
}

impl World {
    pub fn new() -> Self {
        Self {
            dir: tempfile::Builder::new().prefix("lodge-domain-").tempdir().unwrap(),
            fakes: Fakes::default(),
        }
    }

    pub fn root(&self) -> Root {
        Root::at(self.dir.path()).unwrap()
    }

    pub async fn config(&self) -> DomainsConfig {
        config(self.dir.path()).await
    }

    /// A daemon's worth of domains.
    pub async fn open(&self) -> Domains {
        Domains::open(self.config().await, self.fakes.ports()).await.unwrap()
    }

    /// Every file below the root, but for the database's own, the authority of TPMs and their logs.
    pub fn files(&self) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        walk(self.dir.path(), self.dir.path(), &mut files);
        let own = ["lodge.db", "var/cache", "swtpm-localca", "var/log/swtpm", "-passt.log"];
        files.retain(|file| !own.iter().any(|own| file.contains(own)));
        files
    }

    /// The processes whose output goes below the root: name by pid.
    pub fn processes(&self) -> BTreeMap<u32, String> {
        processes_below(self.dir.path())
    }

    /// The cgroups of this root's guests.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let tag = self.root().tag();
        let layout = lodge_sys::cgroup::Layout::read().unwrap();
        let mounts = layout.v2.into_iter().chain(layout.v1.into_iter().map(|(_, mount)| mount));
        let guests = mounts.map(|mount| mount.join("lodge").join(&tag).join("guests"));
        guests
            .flat_map(|guests| std::fs::read_dir(guests).into_iter().flatten())
            .filter_map(|entry| entry.ok().map(|entry| entry.path()).filter(|path| path.is_dir()))
            .collect()
    }

    /// What a guest's life may leave: nothing.
    pub fn leavings(&self) -> String {
        let held = self.fakes.0.lock().unwrap();
        format!(
            "files {:#?} processes {:?} cgroups {:?} volumes {:?} devices {:?} nics {:?} seeds {:?}",
            self.files(),
            self.processes(),
            self.cgroups(),
            held.volumes,
            held.devices,
            held.nics,
            held.seeds
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for pid in self.processes().into_keys() {
            if let Ok(Some(identity)) = lodge_sys::process::Identity::of(pid)
                && let Ok(Some(process)) = lodge_sys::process::Process::hold(identity)
            {
                let _ = process.kill();
            }
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.processes().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut guests: BTreeSet<_> =
            self.cgroups().into_iter().filter_map(|path| path.file_name().map(PathBuf::from)).collect();
        let base = Path::new("lodge").join(self.root().tag()).join("guests");
        // What has ended leaves its cgroup a moment later.
        while !guests.is_empty() && Instant::now() < deadline {
            guests.retain(|guest| {
                let found = lodge_sys::cgroup::Cgroup::find(&base.join(guest)).unwrap();
                found.is_some_and(|cgroup| cgroup.remove().is_err())
            });
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

pub async fn config(dir: &Path) -> DomainsConfig {
    static CACHE: tokio::sync::OnceCell<Capabilities> = tokio::sync::OnceCell::const_new();
    let probe = || async { Capabilities::probe(Path::new(QEMU), None).await.unwrap() };
    config_with(dir, CACHE.get_or_init(probe).await.clone())
}

pub fn config_with(dir: &Path, capabilities: Capabilities) -> DomainsConfig {
    DomainsConfig {
        store: open_store(dir),
        capabilities: Arc::new(capabilities),
        host_words: None,
        others: lodge_qemu::Others::default(),
        launch_security: Vec::new(),
        resctrl: lodge_sys::resctrl::Host::default(),
        accelerator: Accelerator { kvm: false, reason: "tests use TCG".into(), fallback: true },
        speed: Speed { factor: 3.0 },
        own_users: false,
        stay_when_full: false,
        settings: Arc::default(),
    }
}

/// A daemon that was killed while it started a process leaves its lock with that process until its exec.
fn open_store(dir: &Path) -> Store {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match Store::open(&Root::at(dir).unwrap()) {
            Err(error) if error.kind() == Kind::Busy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other.unwrap(),
        }
    }
}

pub fn processes_below(dir: &Path) -> BTreeMap<u32, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if std::fs::read_link(entry.path().join("fd/1")).is_ok_and(|output| output.starts_with(dir)) {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.insert(pid, name.trim().to_owned());
        }
    }
    found
}

fn walk(root: &Path, dir: &Path, files: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            walk(root, &path, files);
        } else {
            files.insert(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
}

/// A guest that sits in its firmware.
pub fn tiny(name: &str) -> String {
    tiny_with(name, "", "")
}

pub fn tiny_with(name: &str, top: &str, devices: &str) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>{top}\
         <devices><emulator>{QEMU}</emulator><controller type='usb' model='none'/><memballoon model='none'/>{devices}</devices></domain>"
    )
}

/// What happened, in order: `started booted`.
pub struct Listener(broadcast::Receiver<DomainEvent>);

impl Listener {
    pub fn new(domains: &Domains) -> Self {
        Self(domains.subscribe())
    }

    /// Waits for an event of this kind and detail.
    pub async fn wait_for(&mut self, wanted: &str) {
        let seen = async {
            loop {
                let event = self.0.recv().await.unwrap();
                if words(&event) == wanted {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), seen)
            .await
            .unwrap_or_else(|_| panic!("no event `{wanted}`"));
    }

    /// Waits for an event that begins so; all its words.
    pub async fn wait_for_one(&mut self, begins: &str) -> String {
        let seen = async {
            loop {
                let words = words(&self.0.recv().await.unwrap());
                if words.starts_with(begins) {
                    return words;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), seen)
            .await
            .unwrap_or_else(|_| panic!("no event `{begins}…`"))
    }

    /// What has happened until now.
    pub fn seen(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.0.try_recv().ok()).map(|event| words(&event)).collect()
    }
}

fn words(event: &DomainEvent) -> String {
    format!("{} {}", event.kind.as_str(), event.kind.detail())
}

/// Waits until the snapshot is as wanted.
pub async fn until(handle: &Handle, what: &str, wanted: impl Fn(&Snapshot) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !wanted(&handle.snapshot()) {
        assert!(Instant::now() < deadline, "not {what}: {:?}", handle.snapshot());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn state(handle: &Handle) -> String {
    let (state, reason) = handle.snapshot().state.words();
    format!("{state} ({reason})")
}
