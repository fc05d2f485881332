//! Screens: the servers SPICE and VNC, and what QEMU shows or draws on itself (SDL, EGL without a screen, D-Bus).
//!
//! Of the latter it has one at most, by `-display`.

use lodge_model::domain::Domain;
use lodge_model::domain::graphics::{Graphics, GraphicsKind, ListenKind};
use lodge_model::xml::YesNo;

use super::builder::Builder;
use super::props::{Props, escaped};
use crate::capabilities::debian_package_of;
use crate::claims::ScreenClaim;

/// The object with VNC's certificates: QEMU has one server of VNC.
const VNC_CREDENTIALS: &str = "vnc-tls-creds0";

/// Whether the guest's screen is really served over SPICE: asked for, and this QEMU can.
pub(super) fn serves_spice(b: &Builder<'_>) -> bool {
    let asked = b.domain.devices.graphics.iter().any(|graphics| graphics.kind == GraphicsKind::Spice);
    asked && b.capabilities.has_spice()
}

/// Every `<graphics>`, and `<audio>` before it, for it refers to it.
pub(super) fn screens(b: &mut Builder<'_>) {
    super::audio::audios(b);
    for (at, graphics) in b.domain.devices.graphics.iter().enumerate() {
        b.at_device("graphics", at);
        let claim = b.claims.screens.get(at).cloned().unwrap_or_default();
        match graphics.kind {
            GraphicsKind::Vnc => vnc(b, graphics, &claim),
            GraphicsKind::Spice if b.capabilities.has_spice() => spice(b, graphics, &claim, at),
            GraphicsKind::Spice if graphics.wants_security() => b.refuse_hinted(
                "SPICE is to be secure, and this QEMU has no SPICE",
                "install the Debian package qemu-system-modules-spice",
            ),
            GraphicsKind::Spice => {
                b.warn(
                    "this QEMU has no SPICE, so the screen is served over VNC \
                     (the Debian package qemu-system-modules-spice brings SPICE)",
                );
                vnc(b, graphics, &claim);
            }
            GraphicsKind::Sdl => sdl(b, graphics, &claim),
            GraphicsKind::EglHeadless => egl_headless(b, at),
            GraphicsKind::Dbus => dbus(b, graphics, at),
            kind @ (GraphicsKind::Rdp | GraphicsKind::Desktop) => {
                b.refuse(format!("graphics of type '{kind}' are not QEMU's"));
            }
        }
    }
}

/// Those that QEMU has one of.
fn is_display(graphics: &Graphics) -> bool {
    matches!(graphics.kind, GraphicsKind::Sdl | GraphicsKind::EglHeadless | GraphicsKind::Dbus)
}

/// Whether there is one.
pub(super) fn has_display(domain: &Domain) -> bool {
    domain.devices.graphics.iter().any(is_display)
}

/// Writes it, if this QEMU has it and no other was written.
fn display(b: &mut Builder<'_>, name: &str, words: &[String]) {
    if b.domain.devices.graphics.iter().filter(|screen| is_display(screen)).count() > 1 {
        b.refuse("QEMU has one display beside VNC and SPICE, and several are asked for");
    }
    if !b.capabilities.has_display(name) {
        let reason = format!("this QEMU ({}) has no display `{name}`", b.capabilities.version);
        return match debian_package_of(name) {
            Some(package) => b.refuse_hinted(reason, format!("install the Debian package {package}")),
            None => b.refuse(reason),
        };
    }
    b.arg("-display", words.iter().fold(name.to_owned(), |text, word| text + "," + word));
}

/// The host's render node, by the name of one that QEMU's user may open.
fn render_node(b: &mut Builder<'_>, at: usize) -> Option<String> {
    let fd = b.claims.render_nodes.get(&format!("graphics{at}")).copied();
    if fd.is_none() {
        b.refuse("no render node of the host's was opened for it");
    }
    fd.map(|fd| format!("/proc/self/fd/{fd}"))
}

/// A word of QEMU's for a yes or no, where the document says it.
fn toggled(name: &str, value: Option<YesNo>) -> Option<String> {
    value.map(|value| format!("{name}={}", if value.is_yes() { "on" } else { "off" }))
}

fn sdl(b: &mut Builder<'_>, graphics: &Graphics, claim: &ScreenClaim) {
    let Some(place) = graphics.display.as_deref() else {
        let hint = "name it: <graphics type='sdl' display=':0' xauth='/home/me/.Xauthority'/>";
        return b.refuse_hinted("an SDL screen needs the X display that shows it", hint);
    };
    b.env("DISPLAY", place);
    if let Some(authority) = claim.x_authority.as_deref().or(graphics.xauth.as_deref()) {
        b.env("XAUTHORITY", authority);
    }
    let full = (graphics.foreign.attribute("fullscreen") == Some("yes")).then(|| "full-screen=on".to_owned());
    let gl = toggled("gl", graphics.gl.as_ref().and_then(|gl| gl.enable));
    let words: Vec<String> = gl.into_iter().chain(full).collect();
    display(b, "sdl", &words);
}

/// Draws for VNC and SPICE beside it, and shows nothing itself.
fn egl_headless(b: &mut Builder<'_>, at: usize) {
    let node = render_node(b, at).map(|node| format!("rendernode={node}"));
    let words: Vec<String> = node.into_iter().collect();
    display(b, "egl-headless", &words);
}

/// For a viewer on a bus, or one that is handed over a connection (p2p) by `open-graphics`.
fn dbus(b: &mut Builder<'_>, graphics: &Graphics, at: usize) {
    let by_hand = graphics.foreign.attribute("p2p") == Some("yes");
    let mut words = Vec::new();
    match graphics.foreign.attribute("address") {
        _ if by_hand => words.push("p2p=on".to_owned()),
        Some(address) => words.push(format!("addr={}", escaped(address))),
        None => {
            let hint = "name one (address='unix:path=…'), or use p2p='yes'";
            b.refuse_hinted("no D-Bus of the guest's own is started for its screen", hint);
        }
    }
    words.extend(toggled("gl", graphics.gl.as_ref().and_then(|gl| gl.enable)));
    if graphics.needs_render_node() {
        words.extend(render_node(b, at).map(|node| format!("rendernode={node}")));
    }
    words.extend(graphics.audio.as_ref().map(|audio| format!("audiodev=audio{}", audio.id)));
    display(b, "dbus", &words);
}

/// The address to listen on: the document's, or this host only.
fn address(graphics: &Graphics) -> &str {
    let listen = graphics.listens.iter().find(|listen| listen.kind == ListenKind::Address);
    let old = graphics.listen.as_deref();
    listen.and_then(|listen| listen.address.as_deref()).or(old).unwrap_or("127.0.0.1")
}

/// A socket the document or the claims name.
fn socket(graphics: &Graphics, claim: &ScreenClaim) -> Option<String> {
    let listen = graphics.listens.iter().find(|listen| listen.kind == ListenKind::Socket);
    let named = listen.and_then(|listen| listen.socket.clone());
    claim.socket.clone().or(named).or_else(|| graphics.socket.clone())
}

/// The document's password, or the host's for guests that have none.
fn password_of<'a>(graphics: &'a Graphics, claim: &'a ScreenClaim) -> Option<&'a str> {
    graphics.passwd.as_deref().or(claim.password.as_ref().map(|password| password.0.as_str()))
}

/// How viewers log in by SASL.
fn sasl(b: &mut Builder<'_>, claim: &ScreenClaim) -> bool {
    if let Some(dir) = claim.sasl_dir.as_deref().filter(|_| claim.sasl) {
        b.env("SASL_CONF_PATH", dir);
    }
    claim.sasl
}

/// What a viewer has to say, until when, and what becomes of those who are there.
fn password(b: &mut Builder<'_>, graphics: &Graphics, claim: &ScreenClaim, protocol: &str) {
    let Some(password) = password_of(graphics, claim) else { return };
    let mut arguments = serde_json::json!({ "protocol": protocol, "password": password });
    if let Some(connected) = graphics.connected.as_deref() {
        arguments["connected"] = connected.into();
    }
    b.command("set_password", arguments);
    let Some(until) = graphics.passwd_valid_to.as_deref() else { return };
    match super::time::unix_s(until) {
        Some(seconds) => {
            let arguments = serde_json::json!({ "protocol": protocol, "time": seconds.to_string() });
            b.command("expire_password", arguments);
        }
        None => b.refuse(format!("passwdValidTo='{until}' is no time such as 2030-12-31T23:59:59")),
    }
}

fn vnc(b: &mut Builder<'_>, graphics: &Graphics, claim: &ScreenClaim) {
    if !b.capabilities.has_vnc() {
        return b.refuse("this QEMU has no VNC");
    }
    let is_own = graphics.kind == GraphicsKind::Vnc;
    let mut text = match (socket(graphics, claim), claim.port) {
        (Some(socket), _) => format!("vnc=unix:{}", escaped(&socket)),
        (None, Some(port)) if port >= 5900 => {
            let address = address(graphics);
            let bracketed = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            format!("{bracketed}:{}", port - 5900)
        }
        (None, Some(port)) => return b.refuse(format!("VNC's ports begin at 5900; {port} is below")),
        // A screen that listens nowhere: QEMU has it, and a later command can open it.
        (None, None) if graphics.listens.iter().any(|listen| listen.kind == ListenKind::None) => {
            "none".to_owned()
        }
        (None, None) => return b.refuse("no port was chosen for it"),
    };
    // Of a screen that should have gone by SPICE, too: who has a password is not left without.
    if password_of(graphics, claim).is_some() {
        text += ",password=on";
        password(b, graphics, claim, "vnc");
    }
    if let Some(dir) = &claim.certificates {
        let name = format!("{VNC_CREDENTIALS}-secret0");
        let opened = claim.passphrase.map(|fd| super::served::secret(b, &name, fd));
        let object = Props::object("tls-creds-x509", VNC_CREDENTIALS).with("dir", dir.as_str());
        let object = object.with("endpoint", "server").with("verify-peer", claim.verify);
        b.json("-object", &object.maybe("passwordid", opened));
        text += &format!(",tls-creds={VNC_CREDENTIALS}");
    }
    if sasl(b, claim) {
        text += ",sasl=on";
    }
    if is_own {
        match (graphics.websocket, claim.websocket) {
            (None, _) => {}
            (Some(_), Some(port)) => text += &format!(",websocket={port}"),
            (Some(_), None) => b.refuse("no WebSocket port was chosen for it"),
        }
        if let Some(policy) = graphics.share_policy.as_deref() {
            text += &format!(",share={policy}");
        }
        if graphics.power_control == Some(YesNo::Yes) {
            text += ",power-control=on";
        }
        if let Some(audio) = &graphics.audio {
            text += &format!(",audiodev=audio{}", audio.id);
        } else {
            text += ",audiodev=audio1";
        }
    }
    b.arg("-vnc", text);
    if let Some(keymap) = graphics.keymap.as_deref() {
        b.arg("-k", keymap);
    }
}

/// The certificates, and which channels may go by which port.
fn spice_security(b: &mut Builder<'_>, graphics: &Graphics, claim: &ScreenClaim, words: &mut Vec<String>) {
    if claim.tls_port.is_some() {
        match &claim.certificates {
            Some(dir) => words.push(format!("x509-dir={}", escaped(dir))),
            None => b.refuse_hinted(
                "there are no certificates for SPICE over TLS",
                "put ca-cert.pem, server-cert.pem and server-key.pem into /etc/pki/libvirt-spice",
            ),
        }
    } else if graphics.wants_security() {
        b.refuse_hinted(
            "channels of SPICE are to be secure, and there is no port for them",
            "give a tlsPort, or autoport='yes'",
        );
    }
    let default = graphics.default_mode.as_deref().map(|mode| ("default", mode));
    let own = graphics.channels.iter().map(|channel| (channel.name.as_str(), channel.mode.as_str()));
    for (channel, mode) in default.into_iter().chain(own) {
        match mode {
            "secure" => words.push(format!("tls-channel={channel}")),
            "insecure" => words.push(format!("plaintext-channel={channel}")),
            "any" => {}
            mode => b.refuse(format!("mode='{mode}' of channel '{channel}' is not known")),
        }
    }
}

fn spice(b: &mut Builder<'_>, graphics: &Graphics, claim: &ScreenClaim, at: usize) {
    let mut words = Vec::new();
    match (socket(graphics, claim), claim.port, claim.tls_port) {
        (Some(socket), ..) => words.push(format!("unix=on,addr={}", escaped(&socket))),
        (None, None, None) if graphics.listens.iter().any(|listen| listen.kind == ListenKind::None) => {
            words.push("port=0".to_owned());
        }
        (None, None, None) => return b.refuse("no port was chosen for it"),
        (None, plain, tls) => {
            words.extend(plain.map(|port| format!("port={port}")));
            words.extend(tls.map(|port| format!("tls-port={port}")));
            words.push(format!("addr={}", address(graphics)));
        }
    }
    spice_security(b, graphics, claim, &mut words);
    match password_of(graphics, claim) {
        Some(_) => password(b, graphics, claim, "spice"),
        None => words.push("disable-ticketing=on".to_owned()),
    }
    if sasl(b, claim) {
        words.push("sasl=on".to_owned());
    }
    let compressions = [
        ("image-compression", &graphics.image),
        ("jpeg-wan-compression", &graphics.jpeg),
        ("zlib-glz-wan-compression", &graphics.zlib),
        ("playback-compression", &graphics.playback),
    ];
    for (word, compression) in compressions {
        let value = compression.as_ref().map(|compression| compression.compression.as_str());
        words.extend(value.map(|value| format!("{word}={value}")));
    }
    words.extend(graphics.streaming.as_ref().map(|streaming| format!("streaming-video={}", streaming.mode)));
    if graphics.mouse.as_ref().is_some_and(|mouse| mouse.mode == "server") {
        words.push("agent-mouse=off".to_owned());
    }
    if graphics.clipboard.as_ref().is_some_and(|clipboard| clipboard.copy_paste == YesNo::No) {
        words.push("disable-copy-paste=on".to_owned());
    }
    if graphics.filetransfer.as_ref().is_some_and(|transfer| transfer.enable == YesNo::No) {
        words.push("disable-agent-file-xfer=on".to_owned());
    }
    if graphics.has_gl() {
        if claim.port.is_some() || claim.tls_port.is_some() {
            let hint = "use <listen type='none'/> or <listen type='socket'/>";
            b.refuse_hinted("SPICE with OpenGL is for viewers on this host: it has no port", hint);
        }
        words.push("gl=on".to_owned());
        words.extend(render_node(b, at).map(|node| format!("rendernode={node}")));
    }
    words.push("seamless-migration=on".to_owned());
    b.arg("-spice", words.join(","));
    if let Some(keymap) = graphics.keymap.as_deref() {
        b.arg("-k", keymap);
    }
}
