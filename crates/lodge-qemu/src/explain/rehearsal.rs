//! What a start would have open, as stand-ins: numbers of no descriptor, and the path behind each.
//!
//! It gives the command line everything that a start gives it, so that the arguments are the same but for numbers,
//! ports and what is found only when files are opened (a chain of backing files that the document does not name).

use std::collections::{BTreeMap, BTreeSet};

use lodge_model::domain::Domain;
use lodge_model::domain::address::Place;
use lodge_model::domain::chardev::CharKind;
use lodge_model::domain::disk::{BackingStore, Disk, DiskSource};
use lodge_model::domain::graphics::{Graphics, GraphicsKind, InputKind, ListenKind};
use lodge_model::domain::hostdev::{Hostdev, HostdevKind, StartupPolicy};
use lodge_model::domain::interface::{Interface, InterfaceKind};
use lodge_model::domain::os::Sysinfo;
use lodge_model::domain::security::LaunchSecurity;
use lodge_model::domain::tpm::TpmBackendKind;

use crate::claims::{
    Accelerator, Claims, FdNumber, HostdevClaim, Link, LinkBytes, NicClaim, ScreenClaim, SecurityClaim,
    Served,
};

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
            rehearsal.disk(disk, &document.name);
        }
        for interface in &document.devices.interfaces {
            rehearsal.interface(interface);
        }
        rehearsal.streams(document);
        for (at, graphics) in document.devices.graphics.iter().enumerate() {
            rehearsal.screen(graphics, at);
        }
        if crate::command_line::secured_streams(document).is_some() {
            rehearsal.claims.stream_certificates = Some(rehearsal.directory());
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

    /// Knows which files of guests' disks have all their blocks.
    #[must_use]
    pub fn with_full(mut self, full: &BTreeSet<String>) -> Self {
        for link in self.claims.disks.values_mut().flatten() {
            if let LinkBytes::File(fd) = &link.bytes {
                link.is_full = self.paths.get(&fd.to_string()).is_some_and(|path| full.contains(path));
            }
        }
        self
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
    fn disk(&mut self, disk: &Disk, name: &str) {
        let mut chain = Vec::new();
        if let Some(path) = disk.path() {
            if disk.transient {
                let above = format!("{path}.TRANSIENT-{name}");
                chain.push(Link::file(self.fd(Some(&above)), "qcow2", false));
            }
            let fd = self.fd(Some(path));
            let is_block = disk.source.as_deref().is_some_and(|source| source.dev.is_some());
            let bytes = if is_block { LinkBytes::Device(fd) } else { LinkBytes::File(fd) };
            chain.push(Link::new(bytes, disk.format(), disk.readonly || disk.transient));
            let mut below = disk.backing_store.as_deref();
            while let Some((store, path)) = below.and_then(|store| Some((store, path_of(store)?))) {
                let format = store.format.as_ref().map_or("raw", |format| format.kind.as_str());
                chain.push(Link::file(self.fd(Some(path)), format, true));
                below = store.backing_store.as_deref();
            }
        }
        for image in disk.served_layers().images {
            let read_only = !chain.is_empty() || disk.readonly;
            let served = self.served(image.source);
            chain.push(Link::new(LinkBytes::Served(Box::new(served)), image.format, read_only));
        }
        if chain.is_empty() {
            return;
        }
        self.claims.disks.insert(disk.target.dev.clone(), chain);
        for (depth, encryption) in disk.encryption_trees().into_iter().enumerate() {
            if encryption.is_some() {
                let fd = self.fd(None);
                self.claims.passphrases.insert((disk.target.dev.clone(), depth), fd);
            }
        }
    }

    /// What a start prepares for the way to a server.
    fn served(&mut self, source: DiskSource) -> Served {
        let login = source.foreign.tree("auth").map(|_| self.fd(None));
        let cookies = source.cookie_line().map(|_| self.fd(None));
        let certificates = (source.foreign.attribute("tls") == Some("yes")).then(|| self.directory());
        if source.protocol.as_deref() == Some("ssh") && self.claims.ssh_home.is_none() {
            self.claims.ssh_home = Some(self.directory());
        }
        let socket = source.hosts.first().and_then(|host| host.socket.clone());
        let is_kept = source.protocol.as_deref() == Some("nbd") && source.foreign.tree("reconnect").is_none();
        let socket = socket.filter(|_| is_kept).map(|path| self.fd(Some(&path)));
        Served { source, login, cookies, socket, certificates, passphrase: None }
    }

    fn directory(&mut self) -> String {
        format!("/proc/self/fd/{}", self.fd(None))
    }

    fn interface(&mut self, interface: &Interface) {
        let mut claim = NicClaim::default();
        let source = interface.source.as_deref();
        match interface.kind {
            InterfaceKind::Network
            | InterfaceKind::Bridge
            | InterfaceKind::Ethernet
            | InterfaceKind::Direct => {
                let driver = interface.driver.as_deref();
                let queues = driver.and_then(|driver| driver.queues).unwrap_or(1).clamp(1, 256);
                claim.taps = (0..queues).map(|_| self.fd(None)).collect();
            }
            InterfaceKind::Vdpa => {
                claim.device = Some(self.fd(source.and_then(|source| source.dev.as_deref())));
            }
            InterfaceKind::VhostUser => {
                let fd = self.fd(source.and_then(|source| source.path.as_deref()));
                self.claims.sockets.insert(alias(&interface.place), fd);
                self.claims.helpers.insert(alias(&interface.place), fd);
            }
            InterfaceKind::Hostdev => {}
            _ => {
                let fd = self.fd(None);
                self.claims.helpers.insert(alias(&interface.place), fd);
            }
        }
        self.claims.nics.push(claim);
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
        for port in devices.ports().filter(|port| matches!(port.kind, CharKind::File | CharKind::Dev)) {
            if let Some(path) = port.source().and_then(|source| source.path.as_deref()) {
                let fd = self.fd(Some(path));
                self.claims.files.insert(alias(&port.place), fd);
            }
        }
    }

    fn screen(&mut self, graphics: &Graphics, at: usize) {
        let mut claim = screen(graphics);
        if claim.tls_port.is_some() {
            claim.certificates = Some(self.directory());
        }
        if graphics.needs_render_node() {
            let node = self.fd(graphics.render_node());
            self.claims.render_nodes.insert(format!("graphics{at}"), node);
        }
        self.claims.screens.push(claim);
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
        let Some(nvram) = os.nvram.as_deref() else { return };
        let source = nvram.source.as_deref();
        let bytes = match (nvram.file(), source.and_then(|source| source.dev.as_deref()), source) {
            (Some(path), ..) => LinkBytes::File(self.fd(Some(path))),
            (None, Some(device), _) => LinkBytes::Device(self.fd(Some(device))),
            (None, None, Some(source)) => LinkBytes::Served(Box::new(self.served(source.clone()))),
            (None, None, None) => return,
        };
        self.claims.nvram = Some(Link::new(bytes, "raw", false));
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
        for disk in devices.disks.iter().filter(|disk| disk.nvme().is_some()) {
            self.claims.hostdevs.insert(alias(&disk.place), HostdevClaim::Ready);
        }
        for disk in devices.disks.iter().filter(|disk| disk.vhost_user_socket().is_some()) {
            let fd = self.fd(disk.vhost_user_socket());
            self.claims.helpers.insert(alias(&disk.place), fd);
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
        if let Ok(Some(security)) = document.security() {
            let mut claim = SecurityClaim { bit: Some((51, 1)), ..SecurityClaim::default() };
            if let LaunchSecurity::Sev(sev) = &security {
                claim.certificate = sev.certificate.as_ref().map(|_| self.fd(None));
                claim.session = sev.session.as_ref().map(|_| self.fd(None));
            }
            if !matches!(security, LaunchSecurity::Tdx(_)) {
                claim.device = Some(self.fd(Some("/dev/sev")));
            }
            self.claims.security = Some(claim);
        }
        for card in devices.interfaces.iter().filter(|card| card.kind == InterfaceKind::Hostdev) {
            self.claims.hostdevs.insert(alias(&card.place), HostdevClaim::Ready);
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
    let tls = graphics.tls_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    ScreenClaim {
        port: port.or(graphics.needs_plain_port().then_some(5900)),
        tls_port: tls.or(graphics.wants_security().then_some(5901)),
        websocket: websocket.map(|port| port.unwrap_or(5700)),
        ..ScreenClaim::default()
    }
}

fn alias(place: &Place) -> String {
    crate::command_line::alias_of(place).to_owned()
}
