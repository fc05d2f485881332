//! `<serial>`, `<parallel>`, `<console>`, `<channel>`, `<redirdev>`: streams of characters.

use super::address::Place;
use crate::xml::words::{OnOff, YesNo, words};
use crate::xml::{Foreign, Xml};

words! {
    /// What the host's end of a stream is.
    pub enum CharKind {
        Null = "null", Vc = "vc", Pty = "pty", Dev = "dev", File = "file", Pipe = "pipe", Stdio = "stdio", Udp = "udp",
        Tcp = "tcp", Unix = "unix", SpiceVmc = "spicevmc", SpicePort = "spiceport", Nmdm = "nmdm", QemuVdagent = "qemu-vdagent",
        Dbus = "dbus",
    }
}

/// A serial or parallel port, a console or a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct CharDevice {
    /// What the host's end is.
    #[xml(attr = "type")]
    pub kind: CharKind,
    /// The pty of a running guest's console.
    #[xml(attr, live)]
    pub tty: Option<String>,
    /// `<source …/>`; udp has two.
    #[xml(children = "source")]
    pub sources: Vec<CharSource>,
    /// `<protocol type='telnet'/>` of tcp.
    #[xml(child)]
    pub protocol: Option<Protocol>,
    /// `<log file='…' append='on'/>`.
    #[xml(child)]
    pub log: Option<Box<CharLog>>,
    /// `<target …/>`: the guest's end.
    #[xml(child)]
    pub target: Option<Box<CharTarget>>,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl CharDevice {
    /// The first source.
    pub fn source(&self) -> Option<&CharSource> {
        self.sources.first()
    }

    /// Whether it is a console on a serial port: that port by another name, with nothing of its own.
    pub fn is_serial_console(&self) -> bool {
        self.target.as_deref().and_then(|target| target.kind.as_deref()) == Some("serial")
    }

    /// Name of a virtio channel, as `org.qemu.guest_agent.0`.
    pub fn channel_name(&self) -> Option<&str> {
        self.target.as_deref()?.name.as_deref()
    }
}

words! {
    /// Who listens.
    pub enum CharMode { Bind = "bind", Connect = "connect" }
}

/// `<source mode='bind' path='…'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct CharSource {
    /// Who listens (tcp, unix, udp).
    #[xml(attr)]
    pub mode: Option<CharMode>,
    /// A file, pipe, device, socket; in the live form also the pty.
    #[xml(attr)]
    pub path: Option<String>,
    /// File: whether it is written on.
    #[xml(attr)]
    pub append: Option<OnOff>,
    /// tcp, udp.
    #[xml(attr)]
    pub host: Option<String>,
    /// tcp, udp: the port.
    #[xml(attr)]
    pub service: Option<String>,
    /// tcp.
    #[xml(attr)]
    pub tls: Option<YesNo>,
    /// spiceport.
    #[xml(attr)]
    pub channel: Option<String>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "seclabel reconnect clipboard mouse @master @slave @wiremode")]
    pub foreign: Foreign,
}

/// `<protocol type='raw'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Protocol {
    /// `raw`, `telnet`, `telnets`, `tls`.
    #[xml(attr = "type", required)]
    pub kind: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<log file='/var/log/guest.log' append='on'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct CharLog {
    /// Its path.
    #[xml(attr, required)]
    pub file: String,
    /// Whether it is written on.
    #[xml(attr)]
    pub append: Option<OnOff>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<target type='isa-serial' port='0'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct CharTarget {
    /// `isa-serial`, `serial`, `virtio`, `guestfwd` …
    #[xml(attr = "type")]
    pub kind: Option<String>,
    /// guestfwd.
    #[xml(attr)]
    pub address: Option<String>,
    /// virtio: the channel's name.
    #[xml(attr)]
    pub name: Option<String>,
    /// virtio, live: `connected` or `disconnected`.
    #[xml(attr, live)]
    pub state: Option<String>,
    /// The port's number.
    #[xml(attr)]
    pub port: Option<u32>,
    /// `<model name='isa-serial'/>`.
    #[xml(child)]
    pub model: Option<CharModel>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<model name='isa-serial'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct CharModel {
    /// QEMU's device.
    #[xml(attr, required)]
    pub name: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<redirdev bus='usb' type='spicevmc'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Redirdev {
    /// Always `usb`.
    #[xml(attr)]
    pub bus: RedirdevBus,
    /// What the host's end is.
    #[xml(attr = "type", required)]
    pub kind: CharKind,
    /// `<source …/>`.
    #[xml(children = "source")]
    pub sources: Vec<CharSource>,
    /// `<protocol type='raw'/>`.
    #[xml(child)]
    pub protocol: Option<Protocol>,
    /// Boot order, alias, address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// The bus of a redirected device.
    pub enum RedirdevBus { Usb = "usb" }
}
