//! What QEMU is given for one start: the accelerator, descriptors, ports, and from them its command line.

use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use lodge_model::domain::graphics::{Graphics, GraphicsKind, Listen, ListenKind};
use lodge_model::domain::lodge::AccelFallback;
use lodge_model::domain::{Domain, DomainKind};
use lodge_model::xml::YesNo;
use lodge_model::{DomainId, Kind};
use lodge_qemu::{
    Accelerator, Claims, CommandLine, Credentials, Descriptors, Link, LinkBytes, MONITOR_SOCKET, ScreenClaim,
    command_line,
};
use lodge_store::saga::Failure;
use lodge_sys::cgroup::{Cgroup, Outcome};

use rustix::fs::FileType;

use super::advice::{self, Advice};
use super::certificates::{Certificates, Passphrases, Purpose};
use super::devices;
use super::helpers::Served;
use super::steps::Seed;
use super::transient::{self, Passing};
use super::{
    cards, file_failure, kernel, labels, lun, nvram, partition, pstore, ram, security, served, streams,
};
use crate::control::Refusal;
use crate::control::tune::{numa, resctrl, start, threads};
use crate::display::{self, Port};
use crate::domains::{DomainsConfig, Shared};
use crate::ports::{AttachedNic, ChainLink, ClaimedDevice, ClaimedDisk, Passphrase, ServedLink};
use crate::record::unix_ms;
use crate::settings::{Service, Settings};
use crate::snapshot::Display;

/// All of it.
pub(crate) struct Gathered {
    pub binary: PathBuf,
    pub command_line: CommandLine,
    pub descriptors: Descriptors,
    pub accelerator: Accelerator,
    pub accelerator_reason: String,
    pub warnings: Vec<String>,
    pub displays: Vec<Display>,
    /// The alias of the agent's channel.
    pub agent: Option<String>,
    pub cgroup: Option<Cgroup>,
    /// It has limits.
    pub limited: bool,
    /// The host's processors that QEMU begins on; none: all.
    pub processors: Vec<u32>,
    /// Whom QEMU runs as; `None`: as the daemon.
    pub credentials: Option<Credentials>,
}

/// What it is gathered from. Owned, so that it can be done on a thread that may block.
pub(crate) struct Draft {
    pub shared: Arc<Shared>,
    pub id: DomainId,
    /// A saved memory will come.
    pub incoming: bool,
    /// The UEFI variables are made anew.
    pub reset_nvram: bool,
    pub document: Domain,
    pub disks: Vec<ClaimedDisk>,
    /// The UEFI variables that a server has.
    pub variables: Option<ServedLink>,
    /// The files that transient disks are written to.
    pub passing: Vec<Passing>,
    pub passphrases: Vec<Passphrase>,
    pub devices: Vec<ClaimedDevice>,
    pub nics: Vec<AttachedNic>,
    pub seed: Seed,
    pub helpers: Vec<Served>,
    pub ports: Vec<Port>,
    /// What the keys of certificates are opened with.
    pub tls_passphrases: Passphrases,
    /// Where numad would have the guest.
    pub advice: Option<Advice>,
}

impl Draft {
    /// Gathers it. On failure what was made stays for the step's undo.
    pub fn gather(&mut self) -> Result<Gathered, Failure> {
        let config = self.shared.config.clone();
        let dir = config.store.root().guest(self.id.0);
        resctrl::check(&config.resctrl, &self.document)
            .map_err(|refusal| Failure::new(refusal.kind(), refusal.text))?;
        make_dir(&dir)?;
        transient::note(&dir, &self.passing)?;
        lodge_qemu::assign_aliases(&mut self.document);
        let (accelerator, reason, fell_back) = choose_accelerator(&config, &self.document)?;
        let mut descriptors = Descriptors::default();
        let monitor = streams::listening(&dir.join(MONITOR_SOCKET), &mut descriptors)?;
        let mut claims = Claims::new(accelerator, monitor);
        claims.fallback_reason = fell_back.then(|| reason.clone());
        claims.incoming = self.incoming;
        claims.now_unix_s = i64::try_from(unix_ms(SystemTime::now()) / 1000).ok();
        claims.host_words.clone_from(&config.host_words);
        claims.local_offset_s = Some(jiff::Zoned::now().offset().seconds());
        let credentials = labels::user(&config, self.id, &self.document, accelerator)?;
        labels::show(&mut self.document, credentials.as_ref());
        lun::check(&self.document, &self.disks)?;
        let pki = config.store.root().pki();
        let settings = Arc::clone(&config.settings);
        let passphrases = std::mem::take(&mut self.tls_passphrases);
        let certificates = Certificates {
            pki,
            settings: &settings,
            dir: &dir,
            user: credentials.as_ref(),
            passphrases: &passphrases,
        };
        secure_streams(&mut self.document, &settings);
        let way = served::Way { certificates: &certificates, dir: &dir, user: credentials.as_ref() };
        way.pass((&mut self.disks, self.variables.take()), &mut claims, &mut descriptors)?;
        for ClaimedDisk { target, chain, .. } in std::mem::take(&mut self.disks) {
            let files = chain.into_iter().map(|link| pass(link, &mut descriptors));
            let served = claims.disks.remove(&target).unwrap_or_default();
            claims.disks.insert(target, files.chain(served).collect());
        }
        for Passphrase { target, depth, file } in std::mem::take(&mut self.passphrases) {
            claims.passphrases.insert((target, depth), descriptors.pass(file));
        }
        devices::pass(&self.document, std::mem::take(&mut self.devices), &mut claims, &mut descriptors);
        security::pass(&self.document, &mut claims, &mut descriptors)?;
        for (at, (nic, card)) in self.nics.iter_mut().zip(&self.document.devices.interfaces).enumerate() {
            let element = format!("/domain/devices/interface[{}]", at + 1);
            let taps = std::mem::take(&mut nic.fds);
            claims.nics.push(cards::claim(card, &element, taps, accelerator, &mut descriptors)?);
        }
        cards::listen_for_switches(&self.document, &mut claims, &mut descriptors)?;
        if let Seed::Written(seed) = &self.seed {
            let file = File::open(&seed.path);
            let file = file.map_err(|error| file_failure("open the seed", &seed.path, &error))?;
            claims.seed = Some(descriptors.pass(file));
        }
        for Served { alias, socket } in std::mem::take(&mut self.helpers) {
            claims.helpers.insert(alias, descriptors.pass(socket));
        }
        certificates.pass_streams(&self.document, &mut claims, &mut descriptors)?;
        let agent = streams::pass(&self.document, &dir, &mut claims, &mut descriptors)?;
        nvram::pass(self, &mut claims, &mut descriptors)?;
        pstore::pass(&self.document, credentials.as_ref(), &mut claims, &mut descriptors)?;
        let room = config.store.root().state();
        kernel::pass(&self.document.os, credentials.as_ref(), &room, &mut claims, &mut descriptors)?;
        ram::pass(
            &self.document,
            credentials.as_ref(),
            &config.store.root().memory(),
            &mut claims,
            &mut descriptors,
        )?;
        let displays = self.pass_screens(&certificates, &mut claims, &mut descriptors)?;
        let document = advice::taken(&self.document, self.advice.as_ref());
        let command_line = command_line(&document, config.capabilities_of(&document), &claims)
            .map_err(|refusals| Failure::of(refusals.kind(), &refusals).with_hint(refusals.hint()))?;
        for warning in &command_line.warnings {
            tracing::warn!(domain = self.document.name, element = warning.element, "{}", warning.message);
        }
        // The binary that was asked what it can do is the one that runs, unless the document insists on another.
        let emulator = self.document.devices.emulator.as_deref().map(PathBuf::from);
        Ok(Gathered {
            binary: emulator.unwrap_or_else(|| config.capabilities_of(&document).binary.clone()),
            warnings: command_line.warnings.iter().map(ToString::to_string).collect(),
            command_line,
            descriptors,
            accelerator,
            accelerator_reason: reason,
            displays,
            agent,
            cgroup: self.limited_cgroup(&document)?,
            limited: start::is_limited(&document),
            processors: threads::first_processors(&document),
            credentials,
        })
    }

    /// The guest's own cgroup, with the limits that the document asks for.
    fn limited_cgroup(&self, document: &Domain) -> Result<Option<Cgroup>, Failure> {
        let refused = |refusal: Refusal| Failure::new(refusal.kind(), refusal.text);
        let cells = numa::of_document(document).1;
        numa::available(&cells).map_err(refused)?;
        let relative = partition::place(&self.shared, self.id, document)?;
        let wants_cells = document.numatune.tree("numatune").is_some();
        let cgroup = guest_cgroup(&document.name, &relative, wants_cells);
        if cgroup.is_none() && partition::is_chosen(&relative) {
            let text = "/domain/resource/partition: the guest's directory in it cannot be made";
            return Err(Failure::new(Kind::Denied, text));
        }
        start::limit(document, cgroup.as_ref().map(Cgroup::relative)).map_err(refused)?;
        partition::name_traffic(document, cgroup.as_ref())?;
        Ok(cgroup)
    }

    fn pass_screens(
        &mut self,
        certificates: &Certificates<'_>,
        claims: &mut Claims,
        descriptors: &mut Descriptors,
    ) -> Result<Vec<Display>, Failure> {
        let mut displays = Vec::new();
        let has_spice = self.shared.config.capabilities_of(&self.document).has_spice();
        for graphics in &mut self.document.devices.graphics {
            let spice = graphics.kind == GraphicsKind::Spice;
            let by_spice = spice && has_spice;
            let guard = guarded(graphics, by_spice, certificates, descriptors)?;
            let service = if spice { &certificates.settings.spice } else { &certificates.settings.vnc };
            if (spice || graphics.kind == GraphicsKind::Vnc) && wants_own_socket(graphics, service) {
                let name = if by_spice { "spice.sock" } else { "vnc.sock" };
                let (known, made) = certificates.socket(name, descriptors)?;
                show_socket(graphics, known);
                claims.screens.push(ScreenClaim { socket: Some(made), ..guard });
                continue;
            }
            let first = graphics.listens.first();
            let socket = first.filter(|listen| listen.kind == ListenKind::Socket);
            let socket = socket.and_then(|listen| listen.socket.clone()).or_else(|| graphics.socket.clone());
            let silent = first.is_some_and(|listen| listen.kind == ListenKind::None);
            if !(spice || graphics.kind == GraphicsKind::Vnc) || socket.is_some() || silent {
                let authority = graphics.xauth.as_deref().filter(|_| graphics.kind == GraphicsKind::Sdl);
                let x_authority = authority.map(|path| certificates.copy(path, descriptors)).transpose()?;
                claims.screens.push(ScreenClaim { socket, x_authority, ..guard });
                continue;
            }
            let address = listen_address(graphics, service.listen.as_deref());
            graphics.listen = Some(address.clone());
            let ports = &self.shared.displays;
            let is_plain = !by_spice || graphics.needs_plain_port();
            let port = is_plain.then(|| choose_port(ports, graphics, &address)).transpose()?;
            graphics.port = port.as_ref().map(|port| i32::from(port.number()));
            let tls = if by_spice { choose_tls_port(ports, graphics, &address, service.tls)? } else { None };
            let mut own = guard.certificates.clone();
            if let Some(tls) = &tls {
                graphics.tls_port = Some(i32::from(tls.number()));
                own = certificates.of(Purpose::Spice, descriptors)?.map(|papers| papers.dir);
            }
            let web = choose_web_port(ports, graphics, &address)?;
            let websocket = web.as_ref().map(Port::number);
            if let Some(number) = websocket {
                graphics.websocket = Some(i32::from(number));
            }
            claims.screens.push(ScreenClaim {
                port: port.as_ref().map(Port::number),
                tls_port: tls.as_ref().map(Port::number),
                certificates: own,
                websocket,
                ..guard
            });
            self.ports.extend(web);
            self.ports.extend(tls);
            let Some(port) = port else { continue };
            let kind = if by_spice { "spice" } else { "vnc" };
            displays.push(Display { kind: kind.to_owned(), listen: address, port: port.number() });
            self.ports.push(port);
        }
        Ok(displays)
    }
}

/// Streams by TCP that say nothing of TLS go by it where the host says so, as libvirt has it.
fn secure_streams(document: &mut Domain, settings: &Settings) {
    if settings.streams.tls == Some(true) {
        lodge_qemu::secure_streams(document);
    }
}

/// Whether a screen is to listen on a socket that nobody has named: it says so itself, or says no address where the host
/// wants sockets.
fn wants_own_socket(graphics: &Graphics, service: &Service) -> bool {
    let has_address = graphics.listen.is_some() || graphics.socket.is_some();
    match graphics.listens.first() {
        Some(listen) => match listen.kind {
            ListenKind::Socket => listen.socket.is_none() && graphics.socket.is_none(),
            ListenKind::Address => service.auto_socket && listen.address.is_none() && !has_address,
            _ => false,
        },
        None => service.auto_socket && !has_address,
    }
}

/// Says in the live document where a screen listens.
fn show_socket(graphics: &mut Graphics, path: String) {
    if graphics.kind == GraphicsKind::Vnc {
        graphics.socket = Some(path.clone());
    }
    graphics.listens = vec![Listen { kind: ListenKind::Socket, socket: Some(path), ..Listen::default() }];
    (graphics.port, graphics.tls_port, graphics.autoport, graphics.websocket) = (None, None, None, None);
}

/// What the host says of who may look at a screen.
fn guarded(
    graphics: &Graphics,
    by_spice: bool,
    certificates: &Certificates<'_>,
    descriptors: &mut Descriptors,
) -> Result<ScreenClaim, Failure> {
    let settings = certificates.settings;
    let service = match graphics.kind {
        GraphicsKind::Vnc => &settings.vnc,
        GraphicsKind::Spice => &settings.spice,
        _ => return Ok(ScreenClaim::default()),
    };
    let mut claim = ScreenClaim {
        verify: settings.verifies(&settings.vnc, false),
        password: service.password.clone(),
        sasl: service.sasl,
        sasl_dir: service.sasl_dir.as_ref().map(|dir| dir.display().to_string()),
        ..ScreenClaim::default()
    };
    if !by_spice && settings.vnc.tls == Some(true) {
        let papers = certificates.of(Purpose::Vnc, descriptors)?;
        claim.passphrase = papers.as_ref().and_then(|papers| papers.passphrase);
        claim.certificates = papers.map(|papers| papers.dir);
        if claim.certificates.is_none() {
            let places = certificates.places(Purpose::Vnc);
            let places: Vec<_> = places.iter().map(|dir| format!("`{}`", dir.display())).collect();
            let text = format!(
                "VNC goes by TLS here (vnc_tls in qemu.conf), and no ca-cert.pem is in {}",
                places.join(" or ")
            );
            let hint = "put ca-cert.pem, server-cert.pem and server-key.pem there".to_owned();
            return Err(Failure::new(Kind::NotFound, text).with_hint(hint));
        }
    }
    Ok(claim)
}

/// The guest's own cgroup; it runs without where this host gives none. Fine if it is there.
pub(super) fn guest_cgroup(name: &str, relative: &Path, wants_cells: bool) -> Option<Cgroup> {
    let made = if wants_cells { Cgroup::create_with_cpuset(relative) } else { Cgroup::create(relative) };
    match made {
        Ok(Outcome::Made(cgroup)) => Some(cgroup),
        Ok(Outcome::Unavailable(why)) => {
            tracing::debug!(domain = name, why, "the guest has no cgroup of its own");
            None
        }
        Err(error) => {
            tracing::warn!(domain = name, %error, "the guest has no cgroup of its own");
            None
        }
    }
}

pub(super) fn make_dir(dir: &Path) -> Result<(), Failure> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| file_failure("create", dir, &error))
}

/// What runs the guest's processors, why, and whether the document asks for another.
pub(crate) fn choose_accelerator(
    config: &DomainsConfig,
    document: &Domain,
) -> Result<(Accelerator, String, bool), Failure> {
    let policy = document.lodge().ok().and_then(|lodge| lodge.accelerator_fallback);
    let allowed = policy.map_or(config.accelerator.fallback, |policy| policy == AccelFallback::Allow);
    let reason = config.accelerator.reason.clone();
    match document.kind {
        DomainKind::Kvm if config.accelerator.kvm => Ok((Accelerator::Kvm, reason, false)),
        DomainKind::Kvm if allowed => Ok((Accelerator::Tcg, reason, true)),
        DomainKind::Kvm => {
            let failure = Failure::new(
                Kind::Unsupported,
                format!("the document asks for type='kvm', and KVM is not usable here: {reason}"),
            );
            Err(failure.with_hint(
                "`lodge host check` says what to change; type='qemu' or <lodge:accelerator fallback='allow'/> runs \
                 the guest under TCG"
                    .to_owned(),
            ))
        }
        DomainKind::Qemu => Ok((Accelerator::Tcg, "the document asks for type='qemu'".to_owned(), false)),
        other => Err(Failure::new(Kind::Unsupported, format!("lodge runs no guests of type='{other}'"))),
    }
}

/// A file or device of a chain as QEMU gets it.
pub(crate) fn pass(link: ChainLink, descriptors: &mut Descriptors) -> Link {
    let stat = rustix::fs::fstat(&link.fd).ok();
    let is = |kind| stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == kind);
    let (is_device, is_file) = (is(FileType::BlockDevice), is(FileType::RegularFile));
    let is_full = is_file && stat.is_some_and(|stat| has_all_blocks(stat.st_size, stat.st_blocks));
    let fd = descriptors.pass(link.fd);
    let bytes = if is_device { LinkBytes::Device(fd) } else { LinkBytes::File(fd) };
    Link { is_full, ..Link::new(bytes, link.format, link.read_only) }
}

/// Whether a file of this size, in bytes, with so many blocks of 512 bytes has no hole.
pub(crate) fn has_all_blocks(size: i64, blocks: i64) -> bool {
    size > 0 && blocks.saturating_mul(512) >= size
}

/// The document's own port, or the next free one.
fn choose_port(ports: &display::Ports, graphics: &Graphics, address: &str) -> Result<Port, Failure> {
    let fixed = graphics.port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    match fixed.filter(|_| graphics.autoport.is_none_or(|auto| !auto.is_yes())) {
        Some(number) => ports.take(number).ok_or_else(|| port_taken(number)),
        None => ports.reserve(address.parse::<IpAddr>().ok()).ok_or_else(no_port),
    }
}

/// The same for VNC over WebSocket, where it is wanted.
fn choose_web_port(
    ports: &display::Ports,
    graphics: &Graphics,
    address: &str,
) -> Result<Option<Port>, Failure> {
    match graphics.websocket.filter(|_| graphics.kind == GraphicsKind::Vnc).map(u16::try_from) {
        None => Ok(None),
        Some(Ok(number)) if number > 0 => ports.take(number).ok_or_else(|| port_taken(number)).map(Some),
        Some(_) => ports.reserve_web(address.parse::<IpAddr>().ok()).ok_or_else(no_port).map(Some),
    }
}

/// The same for SPICE over TLS: the document's own, or one where a channel is to be secure, or may be and the host says so
/// (`allowed`: `spice_tls`; without a word of the host's the document's holds).
fn choose_tls_port(
    ports: &display::Ports,
    graphics: &Graphics,
    address: &str,
    allowed: Option<bool>,
) -> Result<Option<Port>, Failure> {
    let is_automatic = graphics.autoport.is_some_and(YesNo::is_yes);
    let fixed = graphics.tls_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let fixed = fixed.filter(|_| !is_automatic);
    let may_be_secure = graphics.default_mode.as_deref().is_none_or(|mode| mode == "any");
    let wanted = is_automatic && (graphics.wants_security() || (allowed == Some(true) && may_be_secure));
    let port = match fixed {
        None if !wanted => return Ok(None),
        _ if allowed == Some(false) => {
            let text = "spice TLS port set in XML configuration, but TLS is disabled in qemu.conf";
            return Err(Failure::new(Kind::Unsupported, text));
        }
        Some(number) => ports.take(number).ok_or_else(|| port_taken(number))?,
        None => ports.reserve(address.parse::<IpAddr>().ok()).ok_or_else(no_port)?,
    };
    Ok(Some(port))
}

/// Where a screen listens: its own word, else the host's, else libvirt's default.
fn listen_address(graphics: &Graphics, usual: Option<&str>) -> String {
    let given = graphics.listens.iter().find_map(|listen| listen.address.clone());
    given.or_else(|| graphics.listen.clone()).unwrap_or_else(|| usual.unwrap_or("127.0.0.1").to_owned())
}

fn port_taken(number: u16) -> Failure {
    let failure = Failure::new(Kind::Conflict, format!("display port {number} is another guest's"));
    failure.with_hint("use autoport='yes', or another port, in <graphics>".to_owned())
}

fn no_port() -> Failure {
    Failure::new(
        Kind::Exhausted,
        "no TCP port is free for a display (5900 and up, 5700 and up for WebSockets, or what qemu.conf says)",
    )
}
