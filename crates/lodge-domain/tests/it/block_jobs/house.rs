//! A guest on a chain of images, and what its disk must have afterwards.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lodge_domain::block_job::commit::{CommitOptions, commit};
use lodge_domain::block_job::pull::{PullOptions, pull};
use lodge_domain::control::Change;
use lodge_domain::{DefineOptions, DomainError, Domains, Handle, StartOptions, Ticket, XmlOptions};
use lodge_model::DomainId;
use lodge_sys::process::Process;
use serde_json::Value;

use crate::support::World;

/// Real-mode code: sector 64 + (n mod 4096) of its disk is filled with n; when that is done, n is printed on COM1 as
/// eight hexadecimal digits and a newline. n = 1, 2, 3 …
const WRITER: [u8; 156] = [
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x70, 0xfb, 0xfc, 0x88, 0xd3, 0x88,
    0x1e, 0x02, 0x70, 0x66, 0x31, 0xf6, 0x66, 0x89, 0x36, 0x08, 0x70, 0x66, 0xff, 0x06, 0x08, 0x70, 0x66,
    0xa1, 0x08, 0x70, 0xbf, 0x00, 0x80, 0xb9, 0x80, 0x00, 0x66, 0xf3, 0xab, 0x66, 0xc7, 0x06, 0x10, 0x70,
    0x10, 0x00, 0x01, 0x00, 0x66, 0xc7, 0x06, 0x14, 0x70, 0x00, 0x00, 0x00, 0x08, 0x66, 0x25, 0xff, 0x0f,
    0x00, 0x00, 0x66, 0x83, 0xc0, 0x40, 0x66, 0xa3, 0x18, 0x70, 0x66, 0xc7, 0x06, 0x1c, 0x70, 0x00, 0x00,
    0x00, 0x00, 0xbe, 0x10, 0x70, 0x8a, 0x16, 0x02, 0x70, 0xb8, 0x00, 0x43, 0xcd, 0x13, 0x72, 0xb7, 0x66,
    0xa1, 0x08, 0x70, 0xb9, 0x08, 0x00, 0xba, 0xf8, 0x03, 0x66, 0xc1, 0xc0, 0x04, 0x66, 0x50, 0x24, 0x0f,
    0x04, 0x30, 0x3c, 0x3a, 0x72, 0x02, 0x04, 0x27, 0xe8, 0x0b, 0x00, 0x66, 0x58, 0xe2, 0xe9, 0xb0, 0x0a,
    0xe8, 0x02, 0x00, 0xeb, 0x8f, 0x50, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xf8, 0xba, 0xf8, 0x03,
    0x58, 0xee, 0xc3,
];
const SECTOR: usize = 512;
const FIRST: usize = 64;
/// Sectors that the guest writes, round and round.
pub const WINDOW: u32 = 4096;
const PATIENCE: Duration = Duration::from_mins(1);

/// The chain, the guest's serial port, and the place for both.
pub struct House {
    pub world: World,
    disks: PathBuf,
    overlays: usize,
    /// What the lowest image is.
    base: &'static str,
    /// The guest writes.
    writes: bool,
    /// Attributes of its disk's `<driver>`.
    driver: &'static str,
    /// It has a second disk, on one overlay.
    has_other: bool,
}

fn run(program: &str, args: &[&str]) -> String {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The boot sector of a guest that writes.
fn writer() -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    sector[..WRITER.len()].copy_from_slice(&WRITER);
    sector[SECTOR - 2..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

impl House {
    /// A guest that writes, on a base with so many overlays.
    pub fn new(overlays: usize) -> Self {
        Self::of(&writer(), overlays, None, "qcow2")
    }

    /// The same, and the base is a raw file.
    pub fn on_raw(overlays: usize) -> Self {
        Self::of(&writer(), overlays, None, "raw")
    }

    /// One that has nothing to boot.
    pub fn idle(overlays: usize) -> Self {
        Self::of(&[0; SECTOR], overlays, None, "qcow2")
    }

    /// The same, and the images lie in `disks`.
    pub fn idle_in(disks: &Path, overlays: usize) -> Self {
        Self::of(&[0; SECTOR], overlays, Some(disks), "qcow2")
    }

    fn of(sector: &[u8], overlays: usize, disks: Option<&Path>, base: &'static str) -> Self {
        let world = World::new();
        let disks = disks.unwrap_or(world.dir.path()).to_owned();
        let house =
            Self { world, disks, overlays, base, writes: sector[0] != 0, driver: "", has_other: false };
        let raw = house.world.dir.path().join("raw");
        std::fs::write(&raw, sector).unwrap();
        std::fs::OpenOptions::new().write(true).open(&raw).unwrap().set_len(8 << 20).unwrap();
        let (raw, lowest) = (raw.display().to_string(), house.layer(0).display().to_string());
        run("qemu-img", &["convert", "-f", "raw", "-O", base, &raw, &lowest]);
        for at in 0..=overlays {
            let path = house.layer(at).display().to_string();
            if at > 0 {
                let below = house.layer(at - 1).display().to_string();
                let format = house.format(at - 1);
                run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", &below, "-F", format, &path]);
            }
            // Each layer has bytes of its own, and hides some of those below.
            let (own, shared) = (4096 + at * 256, 7168);
            for (at_kib, pattern) in [(own, 16 + at), (shared + at * 8, 32 + at)] {
                run(
                    "qemu-io",
                    &["-f", house.format(at), "-c", &format!("write -q -P {pattern} {at_kib}k 64k"), &path],
                );
            }
        }
        house
    }

    /// Its disk is driven so.
    pub fn driven(self, driver: &'static str) -> Self {
        Self { driver, ..self }
    }

    /// It has a second disk, `vdb`, which nobody writes.
    pub fn with_other(self) -> Self {
        let [base, top] = [0, 1].map(|at| self.other(at).display().to_string());
        run("qemu-img", &["create", "-q", "-f", "qcow2", &base, "8M"]);
        run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", &base, "-F", "qcow2", &top]);
        for (path, write) in [(&base, "write -q -P 3 0 6M"), (&top, "write -q -P 4 4M 4M")] {
            run("qemu-io", &["-f", "qcow2", "-c", write, path]);
        }
        Self { has_other: true, ..self }
    }

    /// The second disk's base, or what stands on it.
    pub fn other(&self, at: usize) -> PathBuf {
        self.disks.join(format!("other{at}.qcow2"))
    }

    /// The `at`th image from below.
    pub fn layer(&self, at: usize) -> PathBuf {
        self.disks.join(format!("layer{at}.qcow2"))
    }

    fn format(&self, at: usize) -> &'static str {
        if at == 0 { self.base } else { "qcow2" }
    }

    fn format_of(&self, path: &Path) -> &'static str {
        self.format(usize::from(path != self.layer(0)))
    }

    fn serial(&self) -> PathBuf {
        self.world.dir.path().join("serial")
    }

    /// Defines the guest and starts it; returns when it writes, if it does.
    pub async fn start(&self, domains: &Domains) -> Handle {
        let below = (0..self.overlays).fold("<backingStore/>".to_owned(), |deeper, at| {
            let (path, format) = (self.layer(at), self.format(at));
            format!(
                "<backingStore type='file'><format type='{format}'/><source file='{}'/>{deeper}</backingStore>",
                path.display()
            )
        });
        let other = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
             <target dev='vdb' bus='virtio'/></disk>",
            self.other(1).display()
        );
        let other = if self.has_other { other } else { String::new() };
        let driver = self.driver;
        let threads = if driver.contains("iothread") { "<iothreads>1</iothreads>" } else { "" };
        let xml = format!(
            "<domain type='qemu'><name>web1</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>{threads}\
             <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os><features><acpi/></features>\
             <devices><controller type='usb' model='none'/><memballoon model='none'/>\
             <disk type='file' device='disk'><driver name='qemu' type='qcow2' {driver}/><source file='{}'/>{below}\
             <target dev='vda' bus='virtio'/></disk>{other}\
             <serial type='file'><source path='{}'/></serial></devices></domain>",
            self.layer(self.overlays).display(),
            self.serial().display()
        );
        let guest = domains.define(&xml, DefineOptions::default()).await.unwrap();
        guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
        self.wait_for_writes(20).await;
        guest
    }

    /// A job on three overlays that ends by itself, and its name.
    pub fn own_end(&self, round: usize, speed: u64) -> (Change, &'static str) {
        let path = |at: usize| Some(self.layer(at).display().to_string());
        match round {
            0 | 1 => {
                let base = if round == 0 { None } else { path(0) };
                let options = PullOptions { base, speed, ..PullOptions::default() };
                (pull("vda".to_owned(), options), "pull-vda-libvirt-1-format")
            }
            _ => {
                let options =
                    CommitOptions { base: path(0), top: path(2), speed, ..CommitOptions::default() };
                (commit("vda".to_owned(), options), "commit-vda-libvirt-2-format")
            }
        }
    }

    /// The directory of the guest's run.
    pub fn run_of(&self, id: DomainId) -> PathBuf {
        self.world.dir.path().join("run/lodge/guests").join(id.to_string())
    }

    /// Changes what is noted of the only block job, as a daemon that died may have left it.
    pub fn amend_note(&self, id: DomainId, changes: &[(&str, Value)]) {
        let note = self.run_of(id).join("block-jobs.json");
        let mut jobs: Value = serde_json::from_slice(&std::fs::read(&note).unwrap()).unwrap();
        for (field, value) in changes {
            jobs[0][*field] = value.clone();
        }
        std::fs::write(&note, jobs.to_string()).unwrap();
    }

    /// Starts it again.
    pub async fn restart(&self, guest: &Handle) {
        std::fs::remove_file(self.serial()).unwrap();
        guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
        self.wait_for_writes(20).await;
    }

    /// The last number that the guest was told is written.
    fn acknowledged(&self) -> u32 {
        let text = std::fs::read_to_string(self.serial()).unwrap_or_default();
        // What is after the last newline is not all there.
        let whole = &text[..text.rfind('\n').unwrap_or(0)];
        let number = |line: &str| u32::from_str_radix(line.trim(), 16).ok();
        whole.lines().rev().find_map(number).unwrap_or(0)
    }

    /// Waits until the guest has written so many sectors more. One that has nothing to boot is let be.
    pub async fn wait_for_writes(&self, more: u32) {
        if !self.writes {
            return;
        }
        let (before, deadline) = (self.acknowledged(), Instant::now() + PATIENCE);
        while self.acknowledged() < before + more {
            assert!(Instant::now() < deadline, "the guest does not write: {}", self.acknowledged());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All that the guest sees of a chain.
    pub fn bytes(&self, at: usize) -> Vec<u8> {
        self.bytes_of(&self.layer(at))
    }

    /// All that is seen of an image.
    pub fn bytes_of(&self, path: &Path) -> Vec<u8> {
        let raw = self.world.dir.path().join("seen");
        let (from, to) = (path.display().to_string(), raw.display().to_string());
        run("qemu-img", &["convert", "-f", self.format_of(path), "-O", "raw", &from, &to]);
        std::fs::read(raw).unwrap()
    }

    /// The backing file in an image's header.
    pub fn backing_of(&self, at: usize) -> Option<String> {
        let text = run("qemu-img", &["info", "-U", "--output=json", &self.layer(at).display().to_string()]);
        let info: Value = serde_json::from_str(&text).unwrap();
        info["backing-filename"].as_str().map(str::to_owned)
    }

    /// See [`has_all_in`](Self::has_all_in).
    pub fn has_all(&self, at: usize) {
        self.has_all_in(&self.layer(at));
    }

    /// The image is whole, and has every sector that the guest was told is written.
    pub fn has_all_in(&self, path: &Path) {
        if self.format_of(path) == "qcow2" {
            is_clean(path);
        }
        let last = self.acknowledged();
        assert!(last > 0, "the guest has written nothing");
        let bytes = self.bytes_of(path);
        for number in last.saturating_sub(WINDOW - 1).max(1)..=last {
            let at = (FIRST + usize::try_from(number % WINDOW).unwrap()) * SECTOR;
            let found = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            // The next round may have come by already, before it was told.
            assert!(
                found == number || found == number + WINDOW,
                "{}: sector of {number} has {found}; the last told is {last}",
                path.display()
            );
        }
    }
}

/// The image has no error.
pub fn is_clean(path: &Path) {
    let done = Command::new("qemu-img").args(["check", "-f", "qcow2"]).arg(path).output().unwrap();
    let words = [&done.stderr[..], &done.stdout[..]].map(String::from_utf8_lossy).concat();
    // 3: clusters leaked by a killed QEMU, which hurt nobody.
    assert!(matches!(done.status.code(), Some(0 | 3)), "{}: {words}", path.display());
}

/// Ends the guest's QEMU at once.
pub fn kill_qemu(guest: &Handle) {
    if let Some(vmm) = &guest.snapshot().vmm
        && let Ok(Some(process)) = Process::hold(vmm.process)
    {
        process.kill().unwrap();
    }
}

/// The guest's QEMU, whoever looks after it.
pub fn process_of(guest: &Handle) -> Process {
    let snapshot = guest.snapshot();
    Process::hold(snapshot.vmm.as_ref().unwrap().process).unwrap().unwrap()
}

/// The file that the definition names.
pub fn top_of(guest: &Handle) -> PathBuf {
    top_of_disk(guest, 0)
}

/// The same of a disk by its place.
pub fn top_of_disk(guest: &Handle, at: usize) -> PathBuf {
    guest.definition().unwrap().unwrap().devices.disks[at].path().unwrap().into()
}

pub async fn text_of(guest: &Handle, inactive: bool) -> String {
    guest.xml(XmlOptions { inactive, ..XmlOptions::default() }).await.unwrap()
}

pub async fn refused(guest: &Handle, change: Change) -> String {
    match guest.change(change).await.unwrap_err() {
        DomainError::Refused(refusal) => refusal.text,
        other => panic!("another error: {other}"),
    }
}

/// Until the job on its disk waits for its last step.
pub async fn wait_until_ready(guest: &Handle) {
    let deadline = Instant::now() + PATIENCE;
    while !guest.block_job("vda").await.unwrap().is_some_and(|job| job.ready) {
        assert!(Instant::now() < deadline, "the job does not become ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
