//! The host's end of a stream of characters: `-chardev`, whatever has the guest's end.

use lodge_model::domain::Domain;
use lodge_model::domain::address::Place;
use lodge_model::domain::chardev::{CharDevice, CharKind, CharLog, CharMode, CharSource, Protocol};
use lodge_model::xml::{OnOff, YesNo};

use super::builder::{Builder, alias};
use super::props::{Props, escaped};

/// A stream, as whatever element has it.
pub(super) struct Stream<'a> {
    /// Of the device that it is for; the stream is `char` and this.
    pub(super) id: &'a str,
    pub(super) kind: CharKind,
    pub(super) sources: &'a [CharSource],
    pub(super) protocol: Option<&'a Protocol>,
    pub(super) log: Option<&'a CharLog>,
}

impl<'a> Stream<'a> {
    /// A port's, a console's or a channel's.
    pub(super) fn of(device: &'a CharDevice) -> Self {
        Self {
            id: alias(&device.place),
            kind: device.kind,
            sources: &device.sources,
            protocol: device.protocol.as_ref(),
            log: device.log.as_deref(),
        }
    }

    /// The source that listens, or the one that connects.
    fn with_mode(&self, mode: CharMode) -> Option<&'a CharSource> {
        self.sources.iter().find(|source| source.mode == Some(mode))
    }
}

/// The streams that listen at a socket of the document's, by alias and path: who opens it for QEMU puts it among
/// [`Claims::sockets`](crate::Claims).
pub fn listeners(domain: &Domain) -> Vec<(&str, &str)> {
    ends(domain)
        .filter(|(_, kind, _)| *kind == CharKind::Unix)
        .filter_map(|(place, _, sources)| {
            Some((
                alias(place),
                sources.first().filter(|source| listens(source, CharMode::Bind))?.path.as_deref()?,
            ))
        })
        .collect()
}

/// Whether streams go by TLS, and if so, whether one of them is a server of it.
pub fn secured_streams(domain: &Domain) -> Option<bool> {
    let secured = ends(domain).filter(|(_, kind, _)| *kind == CharKind::Tcp);
    let secured = secured.filter_map(|(_, _, sources)| sources.first());
    let secured = secured.filter(|source| source.tls == Some(YesNo::Yes));
    secured.map(|source| listens(source, CharMode::Connect)).reduce(|one, other| one || other)
}

/// Lets streams by TCP that say nothing of TLS go by it.
pub fn secure_streams(domain: &mut Domain) {
    let devices = &mut domain.devices;
    let ports = devices.serials.iter_mut().chain(&mut devices.parallels).chain(&mut devices.channels);
    let ports = ports.chain(&mut devices.consoles).map(|port| (Some(port.kind), &mut port.sources));
    let redirections = devices.redirdevs.iter_mut().map(|device| (Some(device.kind), &mut device.sources));
    let cards = devices.smartcards.iter_mut().map(|card| (card.kind, &mut card.sources));
    let rngs = devices.rngs.iter_mut().map(|rng| (rng.backend.kind, &mut rng.backend.sources));
    let all = ports.chain(redirections).chain(cards).chain(rngs);
    for (_, sources) in all.filter(|(kind, _)| *kind == Some(CharKind::Tcp)) {
        if let Some(source) = sources.first_mut() {
            source.tls.get_or_insert(YesNo::Yes);
        }
    }
}

/// Whether it is the one that listens; `usual`: what it is without a word.
fn listens(source: &CharSource, usual: CharMode) -> bool {
    source.mode.unwrap_or(usual) == CharMode::Bind
}

/// The host's ends of all streams.
fn ends(domain: &Domain) -> impl Iterator<Item = (&Place, CharKind, &Vec<CharSource>)> {
    let devices = &domain.devices;
    let ports = devices.ports().map(|port| (&port.place, port.kind, &port.sources));
    let redirections = devices.redirdevs.iter().map(|device| (&device.place, device.kind, &device.sources));
    let cards = devices.smartcards.iter().filter_map(|card| Some((&card.place, card.kind?, &card.sources)));
    let rngs = devices.rngs.iter();
    let rngs = rngs.filter_map(|rng| Some((&rng.place, rng.backend.kind?, &rng.backend.sources)));
    ports.chain(redirections).chain(cards).chain(rngs)
}

/// Writes it. Whether it could be written.
pub(super) fn back_end(b: &mut Builder<'_>, stream: &Stream<'_>) -> bool {
    let id = stream.id;
    let none = CharSource::default();
    let source = stream.sources.first().unwrap_or(&none);
    let path = source.path.as_deref();
    let text = match stream.kind {
        CharKind::Pty => Some("pty".to_owned()),
        CharKind::Null => Some("null".to_owned()),
        CharKind::Vc => Some("vc".to_owned()),
        CharKind::Stdio => Some("stdio".to_owned()),
        CharKind::Unix => unix(b, source, id),
        CharKind::Tcp => tcp(b, stream, source),
        CharKind::Udp => udp(b, stream),
        CharKind::File => match (b.claims.files.get(id).copied(), path) {
            (Some(fd), _) => Some(format!("file,path={},append=on", b.fdset(fd, "wronly"))),
            (None, Some(path)) => {
                Some(format!("file,path={},append={}", escaped(path), source.append.unwrap_or(OnOff::Off)))
            }
            (None, None) => refused(b, "type='file' needs a <source path='…'/>"),
        },
        CharKind::Pipe => named(b, "pipe", path),
        CharKind::Dev => device(b, id, path),
        CharKind::SpicePort if super::screen::serves_spice(b) => {
            Some(format!("spiceport,name={}", source.channel.as_deref().map(escaped).unwrap_or_default()))
        }
        CharKind::SpicePort => {
            b.warn("left out: it comes over SPICE, which this guest's screen does not have here");
            None
        }
        CharKind::QemuVdagent => Some(agent(source)),
        CharKind::Dbus => dbus(b, source),
        kind => refused(b, &format!("type='{kind}' is not supported here")),
    };
    let Some(text) = text else { return false };
    let (kind, rest) = text
        .split_once(',')
        .map_or((text.as_str(), String::new()), |(kind, rest)| (kind, format!(",{rest}")));
    let log = match (b.claims.logs.get(id).copied(), stream.log) {
        (Some(fd), _) => format!(",logfile={},logappend=on", b.fdset(fd, "wronly")),
        (None, Some(log)) => {
            let append = log.append.unwrap_or(OnOff::Off);
            format!(",logfile={},logappend={append}", escaped(&log.file))
        }
        (None, None) => String::new(),
    };
    b.arg("-chardev", format!("{kind},id=char{id}{rest}{log}"));
    true
}

fn refused(b: &mut Builder<'_>, reason: &str) -> Option<String> {
    b.refuse(reason);
    None
}

/// One that is known by a path.
fn named(b: &mut Builder<'_>, word: &str, path: Option<&str>) -> Option<String> {
    match path {
        Some(path) => Some(format!("{word},path={}", escaped(path))),
        None => refused(b, &format!("type='{word}' needs a <source path='…'/>")),
    }
}

/// A serial or a parallel port of the host's: QEMU sets its line, so it must be one of those.
fn device(b: &mut Builder<'_>, id: &str, path: Option<&str>) -> Option<String> {
    let word = if id.starts_with("parallel") { "parallel" } else { "serial" };
    match (b.claims.files.get(id).copied(), path) {
        (Some(fd), _) => Some(format!("{word},path={}", b.fdset(fd, "rdwr"))),
        (None, Some(path)) => Some(format!("{word},path={}", escaped(path))),
        (None, None) => refused(b, "type='dev' needs a <source path='…'/>"),
    }
}

fn unix(b: &mut Builder<'_>, source: &CharSource, id: &str) -> Option<String> {
    let listens = source.mode.unwrap_or(CharMode::Bind) == CharMode::Bind;
    match (b.claims.sockets.get(id), source.path.as_deref()) {
        (Some(fd), _) => Some(format!("socket,fd={fd},server=on,wait=off")),
        (None, Some(path)) if listens => Some(format!("socket,path={},server=on,wait=off", escaped(path))),
        (None, Some(path)) => Some(format!("socket,path={}{}", escaped(path), reconnect(b, source)?)),
        (None, None) => refused(b, "no socket was made for it"),
    }
}

fn tcp(b: &mut Builder<'_>, stream: &Stream<'_>, source: &CharSource) -> Option<String> {
    let (Some(host), Some(port)) = (source.host.as_deref(), source.service.as_deref()) else {
        return refused(b, "type='tcp' needs a <source host='…' service='…'/>");
    };
    let mut text = format!("socket,host={},port={}", escaped(host), escaped(port));
    match stream.protocol.map_or("raw", |protocol| protocol.kind.as_str()) {
        "raw" => {}
        "telnet" => text += ",telnet=on",
        other => return refused(b, &format!("protocol '{other}' is not supported; 'raw' and 'telnet' are")),
    }
    let serves = listens(source, CharMode::Connect);
    if serves {
        text += ",server=on,wait=off";
    } else {
        text += &reconnect(b, source)?;
    }
    if source.tls == Some(YesNo::Yes) {
        text += &format!(",tls-creds={}", credentials(b, stream.id, serves)?);
    }
    Some(text)
}

/// The object with the certificates of a stream; its name. Who connects looks at the other's, who listens if it is to.
fn credentials(b: &mut Builder<'_>, id: &str, serves: bool) -> Option<String> {
    let Some(dir) = b.claims.stream_certificates.clone() else {
        b.refuse_hinted(
            "there are no certificates for TLS",
            "put ca-cert.pem with server-cert.pem and server-key.pem (where the guest listens) or client-cert.pem and \
             client-key.pem into /etc/pki/libvirt-chardev or /etc/pki/qemu",
        );
        return None;
    };
    let name = format!("objchar{id}_tls0");
    let object = Props::object("tls-creds-x509", &name).with("dir", dir);
    let endpoint = if serves { "server" } else { "client" };
    let verifies = !serves || b.claims.stream_verify;
    let opened = b.claims.stream_passphrase;
    let opened = opened.map(|fd| super::served::secret(b, &format!("char{id}-secret0"), fd));
    let object = object.with("endpoint", endpoint).with("verify-peer", verifies);
    b.json("-object", &object.maybe("passwordid", opened));
    Some(name)
}

/// `<reconnect enabled='yes' timeout='10'/>` of one that connects; nothing where it is not asked for.
fn reconnect(b: &mut Builder<'_>, source: &CharSource) -> Option<String> {
    let tree = source.foreign.tree("reconnect");
    let Some(tree) = tree.filter(|tree| tree.attribute("enabled") == Some("yes")) else {
        return Some(String::new());
    };
    match tree.attribute("timeout").map(str::parse::<u32>) {
        // QEMU 9.2 has the other one and calls this one old.
        Some(Ok(seconds)) if (b.capabilities.version.major, b.capabilities.version.minor) >= (9, 2) => {
            Some(format!(",reconnect-ms={}", u64::from(seconds) * 1000))
        }
        Some(Ok(seconds)) => Some(format!(",reconnect={seconds}")),
        _ => refused(b, "<reconnect> needs a timeout in seconds"),
    }
}

/// Where it is sent to, and where it is listened at: one source for each.
fn udp(b: &mut Builder<'_>, stream: &Stream<'_>) -> Option<String> {
    let peer = stream.with_mode(CharMode::Connect);
    let Some(port) = peer.and_then(|source| source.service.as_deref()) else {
        return refused(b, "type='udp' needs a <source mode='connect' service='…'/>");
    };
    let word = |text: Option<&str>, usual: &str| escaped(text.unwrap_or(usual));
    let host = word(peer.and_then(|source| source.host.as_deref()), "");
    let own = stream.with_mode(CharMode::Bind);
    let own_host = word(own.and_then(|source| source.host.as_deref()), "");
    let own_port = word(own.and_then(|source| source.service.as_deref()), "0");
    let port = escaped(port);
    Some(format!("udp,host={host},port={port},localaddr={own_host},localport={own_port}"))
}

/// What SPICE's agent in the guest says, heard by QEMU itself.
fn agent(source: &CharSource) -> String {
    let clipboard = source.foreign.tree("clipboard");
    let clipboard = clipboard.and_then(|tree| tree.attribute("copypaste").map(|word| word == "yes"));
    let mouse = source.foreign.tree("mouse");
    let mouse = mouse.and_then(|tree| tree.attribute("mode").map(|word| word == "client"));
    let word = |name: &str, on: Option<bool>| match on {
        Some(true) => format!(",{name}=on"),
        Some(false) => format!(",{name}=off"),
        None => String::new(),
    };
    format!("qemu-vdagent,name=vdagent{}{}", word("clipboard", clipboard), word("mouse", mouse))
}

fn dbus(b: &mut Builder<'_>, source: &CharSource) -> Option<String> {
    match source.channel.as_deref() {
        Some(name) => Some(format!("dbus,name={}", escaped(name))),
        None => refused(b, "type='dbus' needs a <source channel='…'/>"),
    }
}
