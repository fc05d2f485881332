//! A root of its own with real QEMU, fakes for disks, nets and seeds, and a look at what is left on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lodge_domain::{
    Accelerator, AttachedNic, Beginning, ChainLink, ClaimedDevice, ClaimedDisk, CopyTarget, DeviceGift,
    DiskStorage, DomainEvent, Domains, DomainsConfig, Handle, HostDevices, ImageSnapshot, Nics, PortError,
    Ports, QemuUser, Secrets, SeedDisk, Seeds, Snapshot, SnapshotVerb, Volumes,
};
use lodge_model::domain::Domain;
use lodge_model::{DomainId, Kind};
use lodge_qemu::{Capabilities, Speed};
use lodge_store::{Root, Store};
use tokio::sync::broadcast;

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

/// What the fakes hold, as other resources would.
#[derive(Debug, Default)]
pub struct Held {
    pub volumes: BTreeSet<DomainId>,
    pub nics: BTreeSet<DomainId>,
    pub seeds: BTreeSet<DomainId>,
    pub devices: BTreeSet<DomainId>,
    pub calls: Vec<String>,
    /// Which call is to fail next.
    pub failing: Option<&'static str>,
}

/// The other resources.
#[derive(Debug, Clone, Default)]
pub struct Fakes(pub Arc<Mutex<Held>>);

impl Fakes {
    fn call(&self, name: &'static str, act: impl FnOnce(&mut Held)) -> Result<(), PortError> {
        let mut held = self.0.lock().unwrap();
        held.calls.push(name.to_owned());
        if held.failing == Some(name) {
            return Err(
                PortError::new(Kind::NotFound, format!("{name} was made to fail")).with_hint("mend it")
            );
        }
        act(&mut held);
        Ok(())
    }

    pub fn fail(&self, name: Option<&'static str>) {
        self.0.lock().unwrap().failing = name;
    }

    pub fn ports(&self) -> Ports {
        let this = Arc::new(self.clone());
        Ports {
            volumes: this.clone(),
            nics: this.clone(),
            seeds: this.clone(),
            devices: this.clone(),
            secrets: this,
        }
    }
}

fn opened(path: &Path, format: &str, write: bool) -> ChainLink {
    let fd = std::fs::OpenOptions::new().read(true).write(write).open(path).unwrap().into();
    ChainLink { path: path.into(), format: format.to_owned(), fd, read_only: !write }
}

#[async_trait]
impl Volumes for Fakes {
    async fn claim(&self, domain: DomainId, document: &Domain) -> Result<Vec<ClaimedDisk>, PortError> {
        self.call("claim", |held| {
            held.volumes.insert(domain);
        })?;
        let open = |disk: &lodge_model::domain::disk::Disk| {
            let path = PathBuf::from(disk.path()?);
            let mut chain = vec![opened(&path, disk.format(), true)];
            // What it stands on, as the document or else the images say it.
            let mut below = disk.backing_store.as_deref();
            while let Some(store) = below {
                let Some(path) = store.source.as_deref().and_then(|source| source.file.as_deref()) else {
                    break;
                };
                chain.push(opened(path.as_ref(), &store.format.as_ref().unwrap().kind, false));
                below = store.backing_store.as_deref();
            }
            while let Some((path, format)) = stands_on(chain.last().unwrap()) {
                chain.push(opened(&path, &format, false));
            }
            Some(ClaimedDisk { target: disk.target.dev.clone(), chain, ..ClaimedDisk::default() })
        };
        Ok(document.devices.disks.iter().filter_map(open).collect())
    }
    async fn adopt(&self, domain: DomainId, _: &Domain) -> Result<(), PortError> {
        self.call("adopt volumes", |held| {
            held.volumes.insert(domain);
        })
    }
    async fn release(&self, domain: DomainId) -> Result<(), PortError> {
        self.call("release", |held| {
            held.volumes.remove(&domain);
        })
    }
    async fn open_backing(
        &self,
        _: DomainId,
        path: &Path,
        _: &[PathBuf],
    ) -> Result<std::os::fd::OwnedFd, PortError> {
        self.call("open backing", |_| ())?;
        Ok(opened(path, "", true).fd)
    }
    async fn take_copy(&self, _: DomainId, _: &str, copy: &CopyTarget) -> Result<Vec<ChainLink>, PortError> {
        self.call("take copy", |_| ())?;
        let path = copy.path.display().to_string();
        if !copy.reuse {
            let mut create = std::process::Command::new("qemu-img");
            create.args(["create", "-q", "-f", &copy.format]);
            if let Some((backing, format)) = &copy.backing {
                create.arg("-b").arg(backing).args(["-F", format]);
            }
            assert!(create.arg(&path).arg(copy.size.to_string()).status().unwrap().success());
        }
        Ok(vec![opened(&copy.path, &copy.format, true)])
    }
    async fn storage_of(&self, _: DomainId, document: &Domain) -> Result<Vec<DiskStorage>, PortError> {
        let failing = self.0.lock().unwrap().failing;
        assert!(failing != Some("storage_of panics"), "made to panic");
        let of = |disk: &lodge_model::domain::disk::Disk| {
            let path = PathBuf::from(disk.path()?);
            let keep = path.starts_with("/outside").then(|| "it is in no pool".to_owned());
            Some(DiskStorage { target: disk.target.dev.clone(), path, keep })
        };
        Ok(document.devices.disks.iter().filter_map(of).collect())
    }
    async fn delete(&self, _: DomainId, path: &Path) -> Result<(), PortError> {
        std::fs::remove_file(path).map_err(|error| PortError::new(Kind::Internal, error.to_string()))
    }
    async fn claim_more(&self, id: DomainId, document: &Domain) -> Result<Vec<ClaimedDisk>, PortError> {
        Volumes::claim(self, id, document).await
    }
    async fn image_snapshots(&self, path: &Path) -> Result<Vec<ImageSnapshot>, PortError> {
        let info = qemu_img(&["info", "-U", "--output=json", &path.display().to_string()])?;
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        let of = |one: &serde_json::Value| ImageSnapshot {
            name: one["name"].as_str().unwrap().to_owned(),
            memory_bytes: one["vm-state-size"].as_u64().unwrap(),
        };
        Ok(info["snapshots"].as_array().into_iter().flatten().map(of).collect())
    }
    async fn snapshot_image(
        &self,
        _: DomainId,
        verb: SnapshotVerb,
        path: &Path,
        name: &str,
    ) -> Result<(), PortError> {
        self.call("snapshot image", |_| ())?;
        let option = match verb {
            SnapshotVerb::Create => "-c",
            SnapshotVerb::Apply => "-a",
            SnapshotVerb::Delete => "-d",
        };
        qemu_img(&["snapshot", option, name, &path.display().to_string()]).map(drop)
    }
    async fn create_overlay(&self, path: &Path, backing: &Path, format: &str) -> Result<(), PortError> {
        self.call("create overlay", |_| ())?;
        let (path, backing) = (path.display().to_string(), backing.display().to_string());
        qemu_img(&["create", "-q", "-f", "qcow2", "-b", &backing, "-F", format, &path]).map(drop)
    }
    async fn needed_by(
        &self,
        _: DomainId,
        path: &Path,
        going: &[PathBuf],
    ) -> Result<Option<String>, PortError> {
        for entry in std::fs::read_dir(path.parent().unwrap()).unwrap().flatten() {
            let other = entry.path();
            if other == path || going.contains(&other) || !other.is_file() {
                continue;
            }
            let Ok(info) = qemu_img(&["info", "-U", "--output=json", &other.display().to_string()]) else {
                continue;
            };
            let info: serde_json::Value = serde_json::from_str(&info).unwrap();
            if info["full-backing-filename"].as_str() == path.to_str() {
                return Ok(Some(format!("volume '{}' stands on it", other.display())));
            }
        }
        Ok(None)
    }
    async fn commit_image(&self, _: DomainId, top: &Path, _: &Path) -> Result<(), PortError> {
        self.call("commit image", |_| ())?;
        qemu_img(&["commit", "-q", "-d", "-f", "qcow2", &top.display().to_string()]).map(drop)
    }
    async fn rebase_image(&self, path: &Path, backing: &Path, format: &str) -> Result<(), PortError> {
        let (path, backing) = (path.display().to_string(), backing.display().to_string());
        qemu_img(&["rebase", "-u", "-f", "qcow2", "-b", &backing, "-F", format, &path]).map(drop)
    }
}

/// What the tool prints.
pub fn qemu_img(arguments: &[&str]) -> Result<String, PortError> {
    let output = std::process::Command::new("qemu-img").args(arguments).output().unwrap();
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(PortError::new(Kind::Internal, format!("qemu-img {}: {said}", arguments.join(" "))))
}

fn stands_on(link: &ChainLink) -> Option<(PathBuf, String)> {
    if link.format != "qcow2" {
        return None;
    }
    let info = qemu_img(&["info", "-U", "--output=json", &link.path.display().to_string()]).ok()?;
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    let path = info["full-backing-filename"].as_str()?;
    Some((path.into(), info["backing-filename-format"].as_str()?.to_owned()))
}

#[async_trait]
impl Nics for Fakes {
    async fn attach(&self, domain: DomainId, _: &Domain) -> Result<Vec<AttachedNic>, PortError> {
        self.call("attach", |held| {
            held.nics.insert(domain);
        })?;
        Ok(Vec::new())
    }
    async fn adopt(&self, domain: DomainId, _: &Domain) -> Result<(), PortError> {
        self.call("adopt nics", |held| {
            held.nics.insert(domain);
        })
    }
    async fn detach(&self, domain: DomainId) -> Result<(), PortError> {
        self.call("detach", |held| {
            held.nics.remove(&domain);
        })
    }
}

#[async_trait]
impl Seeds for Fakes {
    async fn write(&self, domain: DomainId, _: &Domain) -> Result<Option<SeedDisk>, PortError> {
        self.call("write seed", |held| {
            held.seeds.insert(domain);
        })?;
        Ok(None)
    }
    async fn discard(&self, domain: DomainId) -> Result<(), PortError> {
        self.call("discard seed", |held| {
            held.seeds.remove(&domain);
        })
    }
    async fn files_of(&self, _: DomainId) -> Result<Vec<PathBuf>, PortError> {
        Ok(Vec::new())
    }
    async fn forget(&self, domain: DomainId) -> Result<(), PortError> {
        self.call("forget seed", |held| {
            held.seeds.remove(&domain);
        })
    }
}

/// No device is there.
#[async_trait]
impl HostDevices for Fakes {
    async fn claim(
        &self,
        domain: DomainId,
        document: &Domain,
        _: Option<QemuUser>,
        _: Beginning,
    ) -> Result<Vec<ClaimedDevice>, PortError> {
        self.call("claim devices", |held| {
            held.devices.insert(domain);
        })?;
        let missing = |hostdev: &lodge_model::domain::hostdev::Hostdev| {
            let alias = hostdev.place.alias.as_ref().unwrap().name.clone();
            ClaimedDevice { alias, gift: DeviceGift::Missing }
        };
        Ok(document.devices.hostdevs.iter().map(missing).collect())
    }
    async fn adopt(&self, domain: DomainId, _: &Domain) -> Result<(), PortError> {
        self.call("adopt devices", |held| {
            held.devices.insert(domain);
        })
    }
    async fn release(&self, domain: DomainId) -> Result<(), PortError> {
        self.call("release devices", |held| {
            held.devices.remove(&domain);
        })
    }
}

/// The passphrase of every secret.
pub const PASSPHRASE: &[u8] = b"correct horse";

#[async_trait]
impl Secrets for Fakes {
    async fn tpm_passphrase(&self, _: uuid::Uuid) -> Result<std::os::fd::OwnedFd, PortError> {
        self.call("passphrase", |_| ())?;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(PASSPHRASE).unwrap();
        file.rewind().unwrap();
        Ok(file.into())
    }
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
        accelerator: Accelerator { kvm: false, reason: "tests use TCG".into(), fallback: true },
        speed: Speed { factor: 3.0 },
        own_users: false,
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
