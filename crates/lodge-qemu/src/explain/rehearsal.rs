//! What a start would have open, as stand-ins: numbers of no descriptor, and the path behind each.
//!
//! It gives the command line everything that a start gives it, so that the arguments are the same but for numbers,
//! ports and what is found only when files are opened (a chain of backing files that the document does not name).

use std::collections::BTreeMap;

use lodge_model::domain::Domain;
use lodge_model::domain::address::Place;
use lodge_model::domain::chardev::{CharDevice, CharKind};
use lodge_model::domain::disk::{BackingStore, Disk};
use lodge_model::domain::graphics::{Graphics, GraphicsKind, InputKind, ListenKind};
use lodge_model::domain::hostdev::{Hostdev, HostdevKind, StartupPolicy};
use lodge_model::domain::os::Sysinfo;
use lodge_model::domain::tpm::TpmBackendKind;

use crate::claims::{Accelerator, Claims, FdNumber, HostdevClaim, Link, NicClaim, ScreenClaim};

/// The first number that stands for a descriptor: far from those that any process has of itself.
const FIRST: i32 = 100;
/// The agent's channel, which is Lodge's own wherever the document has it.
const AGENT: &str = "org.qemu.guest_agent.0";

/// Claims without a host.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// For the command line.
    pub claims: Claims,
    /// The path behind a number, by its text.
    pub paths: BTreeMap<String, String>,
    next: i32,
}

impl Rehearsal {
    /// Of a document with aliases.
    pub fn of(document: &Domain, accelerator: Accelerator) -> Self {
        let claims = Claims::new(accelerator, FdNumber::fixed(FIRST));
        let mut rehearsal = Self { claims, paths: BTreeMap::new(), next: FIRST + 1 };
        for disk in &document.devices.disks {
            rehearsal.disk(disk);
        }
        for interface in &document.devices.interfaces {
            let driver = interface.driver.as_deref();
            let queues = driver.and_then(|driver| driver.queues).unwrap_or(1).clamp(1, 256);
            let taps = (0..queues).map(|_| rehearsal.fd(None)).collect();
            rehearsal.claims.nics.push(NicClaim { taps, ..NicClaim::default() });
        }
        rehearsal.streams(document);
        for graphics in &document.devices.graphics {
            rehearsal.claims.screens.push(screen(graphics));
        }
        rehearsal.boot(document);
        rehearsal.kinds(document);
        if document.lodge().is_ok_and(|lodge| lodge.seed) {
            rehearsal.claims.seed = Some(rehearsal.fd(None));
        }
        rehearsal.claims.now_unix_s = Some(0);
        rehearsal.claims.local_offset_s = Some(0);
        // Who knows the host's puts them here.
        rehearsal.claims.host_words = Some(Sysinfo::default());
        for id in crate::command_line::memory_files(document) {
            let fd = rehearsal.fd(None);
            rehearsal.claims.memory.insert(id, fd);
        }
        rehearsal
    }

    fn fd(&mut self, path: Option<&str>) -> FdNumber {
        let fd = FdNumber::fixed(self.next);
        self.next += 1;
        if let Some(path) = path {
            self.paths.insert(fd.to_string(), path.to_owned());
        }
        fd
    }

    /// The disk's image, and what the document says it stands on.
    fn disk(&mut self, disk: &Disk) {
        let Some(path) = disk.path() else { return };
        let is_block = disk.source.as_deref().is_some_and(|source| source.dev.is_some());
        let link = Link { is_block, ..Link::file(self.fd(Some(path)), disk.format(), disk.readonly) };
        let mut chain = vec![link];
        let mut below = disk.backing_store.as_deref();
        while let Some((store, path)) = below.and_then(|store| Some((store, path_of(store)?))) {
            let format = store.format.as_ref().map_or("raw", |format| format.kind.as_str());
            chain.push(Link::file(self.fd(Some(path)), format, true));
            below = store.backing_store.as_deref();
        }
        self.claims.disks.insert(disk.target.dev.clone(), chain);
        if disk.encryption_tree().is_some() {
            let fd = self.fd(None);
            self.claims.passphrases.insert(disk.target.dev.clone(), fd);
        }
    }

    fn streams(&mut self, document: &Domain) {
        let devices = &document.devices;
        for channel in devices.channels.iter().filter(|channel| channel.kind == CharKind::Unix) {
            let has_path = channel.source().is_some_and(|source| source.path.is_some());
            if !has_path || channel.channel_name() == Some(AGENT) {
                let fd = self.fd(None);
                self.claims.sockets.insert(alias(&channel.place), fd);
            }
        }
        for (alias, path) in crate::command_line::listeners(document) {
            if !self.claims.sockets.contains_key(alias) {
                let fd = self.fd(Some(path));
                self.claims.sockets.insert(alias.to_owned(), fd);
            }
        }
        if !devices.serials.is_empty() {
            let fd = self.fd(None);
            self.claims.logs.insert("serial0".to_owned(), fd);
        }
        let all = devices.serials.iter().chain(&devices.parallels).chain(&devices.channels);
        let all = all.chain(devices.consoles.iter().filter(|console| !is_serial(console)));
        for port in all.filter(|port| matches!(port.kind, CharKind::File | CharKind::Dev)) {
            if let Some(path) = port.source().and_then(|source| source.path.as_deref()) {
                let fd = self.fd(Some(path));
                self.claims.files.insert(alias(&port.place), fd);
            }
        }
    }

    fn boot(&mut self, document: &Domain) {
        let os = &document.os;
        let mut claim = |path: &Option<String>| path.as_deref().map(|path| self.fd(Some(path)));
        let (kernel, initrd, dtb) = (claim(&os.kernel), claim(&os.initrd), claim(&os.dtb));
        let shim = claim(&os.shim);
        self.claims.boot = crate::claims::BootFiles { kernel, initrd, dtb, shim };
        if let Some(code) = os.loader.as_deref().and_then(|loader| loader.path.as_deref()) {
            self.claims.firmware = Some(Link::file(self.fd(Some(code)), "raw", true));
        }
        if let Some(nvram) = os.nvram.as_deref().and_then(|nvram| nvram.path.as_deref()) {
            self.claims.nvram = Some(Link::file(self.fd(Some(nvram)), "raw", false));
        }
    }

    /// Helpers' sockets and the host's own devices.
    fn kinds(&mut self, document: &Domain) {
        let devices = &document.devices;
        let served = |filesystem: &&lodge_model::domain::filesystem::Filesystem| {
            filesystem.is_virtiofs() && filesystem.socket().is_none()
        };
        for filesystem in devices.filesystems.iter().filter(served) {
            let fd = self.fd(None);
            self.claims.helpers.insert(alias(&filesystem.place), fd);
        }
        for tpm in &devices.tpms {
            match tpm.backend.kind {
                TpmBackendKind::Emulator => {
                    let fd = self.fd(None);
                    self.claims.helpers.insert(alias(&tpm.place), fd);
                }
                TpmBackendKind::Passthrough => self.claims.tpm = Some((self.fd(None), self.fd(None))),
                TpmBackendKind::External => {}
            }
        }
        for input in &devices.inputs {
            let source = input.source.as_deref();
            let path = source.and_then(|source| match input.kind {
                InputKind::Evdev => source.dev.as_deref(),
                InputKind::Passthrough => source.evdev.as_deref(),
                InputKind::Mouse | InputKind::Tablet | InputKind::Keyboard => None,
            });
            if let Some(path) = path {
                let fd = self.fd(Some(path));
                self.claims.inputs.insert(alias(&input.place), fd);
            }
        }
        let is_there = |hostdev: &&Hostdev| hostdev.source.startup_policy != Some(StartupPolicy::Optional);
        for hostdev in devices.hostdevs.iter().filter(is_there) {
            let claim = match hostdev.kind {
                HostdevKind::Pci | HostdevKind::Mdev => HostdevClaim::Ready,
                _ => HostdevClaim::Opened(self.fd(None)),
            };
            self.claims.hostdevs.insert(alias(&hostdev.place), claim);
        }
        if let Some(pstore) = devices.pstore.as_deref() {
            self.claims.pstore = Some(self.fd(pstore.path.as_deref()));
        }
        if let Some(vsock) = devices.vsock.as_deref() {
            let cid = vsock.cid.as_ref().and_then(|cid| cid.address).unwrap_or(3);
            self.claims.vsock = Some((self.fd(Some("/dev/vhost-vsock")), cid));
        }
    }
}

fn path_of(store: &BackingStore) -> Option<&str> {
    let source = store.source.as_deref()?;
    source.file.as_deref().or(source.dev.as_deref())
}

/// The first console is the first serial port by another name.
fn is_serial(console: &CharDevice) -> bool {
    console.target.as_deref().and_then(|target| target.kind.as_deref()) == Some("serial")
}

fn screen(graphics: &Graphics) -> ScreenClaim {
    let first = graphics.listens.first();
    let socket = first.filter(|listen| listen.kind == ListenKind::Socket);
    let socket = socket.and_then(|listen| listen.socket.clone()).or_else(|| graphics.socket.clone());
    let silent = first.is_some_and(|listen| listen.kind == ListenKind::None);
    let listens = matches!(graphics.kind, GraphicsKind::Spice | GraphicsKind::Vnc);
    if !listens || silent || socket.is_some() {
        return ScreenClaim { socket, ..ScreenClaim::default() };
    }
    let port = graphics.port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let websocket = graphics.websocket.map(|port| u16::try_from(port).ok().filter(|port| *port > 0));
    ScreenClaim {
        port: port.or(Some(5900)),
        websocket: websocket.map(|port| port.unwrap_or(5700)),
        ..ScreenClaim::default()
    }
}

fn alias(place: &Place) -> String {
    crate::command_line::alias_of(place).to_owned()
}
