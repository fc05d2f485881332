//! `<graphics>`, `<video>`, `<sound>`, `<audio>`, `<input>`: what a person sees, hears and touches.

use super::address::Place;
use super::virtio::{VirtioDriver, VirtioOptions};
use crate::xml::words::{OnOff, YesNo, words};
use crate::xml::{Foreign, Xml};

words! {
    /// How a screen is reached.
    pub enum GraphicsKind { Sdl = "sdl", Vnc = "vnc", Rdp = "rdp", Desktop = "desktop", Spice = "spice", EglHeadless = "egl-headless", Dbus = "dbus" }
}

/// `<graphics type='vnc' port='-1' autoport='yes'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Graphics {
    /// How it is reached.
    #[xml(attr = "type", required)]
    pub kind: GraphicsKind,
    /// TCP port; -1: chosen at the start.
    #[xml(attr)]
    pub port: Option<i32>,
    /// SPICE's TLS port.
    #[xml(attr = "tlsPort")]
    pub tls_port: Option<i32>,
    /// Whether ports are chosen at the start.
    #[xml(attr)]
    pub autoport: Option<YesNo>,
    /// VNC over WebSocket: its port.
    #[xml(attr)]
    pub websocket: Option<i32>,
    /// VNC's socket in the old form.
    #[xml(attr)]
    pub socket: Option<String>,
    /// Address in the old form.
    #[xml(attr)]
    pub listen: Option<String>,
    /// Keyboard map.
    #[xml(attr)]
    pub keymap: Option<String>,
    /// SPICE: `any`, `secure`, `insecure`.
    #[xml(attr = "defaultMode")]
    pub default_mode: Option<String>,
    /// VNC: `allow-exclusive`, `force-shared`, `ignore`.
    #[xml(attr = "sharePolicy")]
    pub share_policy: Option<String>,
    /// VNC: whether a viewer can switch the guest off.
    #[xml(attr = "powerControl")]
    pub power_control: Option<YesNo>,
    /// Password; written only with `security_info`.
    #[xml(attr, secret)]
    pub passwd: Option<String>,
    /// Until when, UTC.
    #[xml(attr = "passwdValidTo")]
    pub passwd_valid_to: Option<String>,
    /// What happens to viewers on a new password.
    #[xml(attr)]
    pub connected: Option<String>,
    /// X display (sdl).
    #[xml(attr)]
    pub display: Option<String>,
    /// X authority (sdl).
    #[xml(attr)]
    pub xauth: Option<String>,
    /// `<listen …/>`.
    #[xml(children = "listen")]
    pub listens: Vec<Listen>,
    /// SPICE: `<channel name='main' mode='secure'/>`.
    #[xml(children = "channel")]
    pub channels: Vec<SpiceChannel>,
    /// SPICE: `<image compression='off'/>`.
    #[xml(child)]
    pub image: Option<Compression>,
    /// SPICE: `<jpeg compression='auto'/>`.
    #[xml(child)]
    pub jpeg: Option<Compression>,
    /// SPICE: `<zlib compression='auto'/>`.
    #[xml(child)]
    pub zlib: Option<Compression>,
    /// SPICE: `<playback compression='on'/>`.
    #[xml(child)]
    pub playback: Option<Compression>,
    /// SPICE: `<streaming mode='filter'/>`.
    #[xml(child)]
    pub streaming: Option<SpiceMode>,
    /// SPICE: `<mouse mode='client'/>`.
    #[xml(child)]
    pub mouse: Option<SpiceMode>,
    /// SPICE: `<clipboard copypaste='no'/>`.
    #[xml(child)]
    pub clipboard: Option<Clipboard>,
    /// SPICE: `<filetransfer enable='no'/>`.
    #[xml(child)]
    pub filetransfer: Option<Enable>,
    /// `<gl enable='no'/>`.
    #[xml(child)]
    pub gl: Option<Gl>,
    /// VNC: `<audio id='1'/>`.
    #[xml(child)]
    pub audio: Option<AudioRef>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "@websocketGenerated @multiUser @fullscreen @replaceUser @address @p2p")]
    pub foreign: Foreign,
}

impl Graphics {
    /// Whether what the guest draws in 3-D is drawn by the host for it.
    pub fn has_gl(&self) -> bool {
        let is_on = self.gl.as_ref().is_some_and(|gl| gl.enable == Some(YesNo::Yes));
        self.kind == GraphicsKind::EglHeadless || is_on
    }

    /// Whether QEMU opens a render node of the host's for it: the one it names, or any. SDL draws where it shows.
    pub fn needs_render_node(&self) -> bool {
        let kinds = [GraphicsKind::EglHeadless, GraphicsKind::Spice, GraphicsKind::Dbus];
        kinds.contains(&self.kind) && self.has_gl()
    }

    /// The render node that it names.
    pub fn render_node(&self) -> Option<&str> {
        self.gl.as_ref().and_then(|gl| gl.render_node.as_deref())
    }

    /// Whether a channel of SPICE's is to be encrypted.
    pub fn wants_security(&self) -> bool {
        self.default_mode.as_deref() == Some("secure")
            || self.channels.iter().any(|channel| channel.mode == "secure")
    }

    /// Whether it listens at a port without encryption: SPICE does not where all its channels are to be encrypted,
    /// or where the document fixes the other port alone.
    pub fn needs_plain_port(&self) -> bool {
        if self.kind != GraphicsKind::Spice {
            return true;
        }
        if self.autoport.is_none_or(|auto| !auto.is_yes()) {
            let is_fixed = |port: Option<i32>| port.is_some_and(|port| port > 0);
            return is_fixed(self.port) || !is_fixed(self.tls_port);
        }
        let is_secure = |name: &str| {
            let own = self.channels.iter().rfind(|channel| channel.name == name);
            let own = own.map(|channel| channel.mode.as_str()).filter(|mode| *mode != "any");
            own.or(self.default_mode.as_deref()) == Some("secure")
        };
        !SPICE_CHANNELS.iter().all(|name| is_secure(name))
    }
}

/// The channels of SPICE's that a document can name.
pub const SPICE_CHANNELS: [&str; 8] =
    ["main", "display", "inputs", "cursor", "playback", "record", "smartcard", "usbredir"];

words! {
    /// What a screen listens on.
    pub enum ListenKind { Address = "address", Network = "network", Socket = "socket", None = "none" }
}

/// `<listen type='address' address='127.0.0.1'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Listen {
    /// What it is.
    #[xml(attr = "type", required)]
    pub kind: ListenKind,
    /// The address; in a definition possibly none.
    #[xml(attr)]
    pub address: Option<String>,
    /// The network.
    #[xml(attr)]
    pub network: Option<String>,
    /// The socket's path.
    #[xml(attr)]
    pub socket: Option<String>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "@fromConfig")]
    pub foreign: Foreign,
}

/// `<channel name='main' mode='secure'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SpiceChannel {
    /// Which channel.
    #[xml(attr, required)]
    pub name: String,
    /// How it is secured.
    #[xml(attr, required)]
    pub mode: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<image compression='off'/>` and its like.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Compression {
    /// Which one.
    #[xml(attr, required)]
    pub compression: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<streaming mode='filter'/>`, `<mouse mode='client'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SpiceMode {
    /// Which one.
    #[xml(attr, required)]
    pub mode: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<clipboard copypaste='no'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Clipboard {
    /// Whether it works.
    #[xml(attr = "copypaste", required)]
    pub copy_paste: YesNo,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<filetransfer enable='no'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Enable {
    /// Whether it works.
    #[xml(attr, required)]
    pub enable: YesNo,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<gl enable='yes' rendernode='/dev/dri/renderD128'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Gl {
    /// Whether it is used.
    #[xml(attr)]
    pub enable: Option<YesNo>,
    /// The host's device.
    #[xml(attr = "rendernode")]
    pub render_node: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<audio id='1'/>`: which back end a device uses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct AudioRef {
    /// The back end's number.
    #[xml(attr, required)]
    pub id: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<video>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Video {
    /// `<driver name='qemu'/>`.
    #[xml(child)]
    pub driver: Option<Box<VideoDriver>>,
    /// `<model …/>`.
    #[xml(child)]
    pub model: Option<Box<VideoModel>>,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<driver name='qemu'/>` of a video device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct VideoDriver {
    /// What every virtio device can have.
    #[xml(flatten)]
    pub virtio: VirtioOptions,
    /// `qemu` or `vhostuser`.
    #[xml(attr)]
    pub name: Option<String>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "@vgaconf")]
    pub foreign: Foreign,
}

words! {
    /// Sorts of video device.
    pub enum VideoKind {
        Vga = "vga", Cirrus = "cirrus", VmVga = "vmvga", Xen = "xen", Vbox = "vbox", Qxl = "qxl", Parallels = "parallels",
        Virtio = "virtio", Gop = "gop", None = "none", Bochs = "bochs", Ramfb = "ramfb",
    }
}

/// `<model type='virtio' heads='1' primary='yes'>`; memory in KiB.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct VideoModel {
    /// The sort.
    #[xml(attr = "type", required)]
    pub kind: VideoKind,
    /// qxl: primary bar.
    #[xml(attr = "ram")]
    pub ram_kib: Option<u32>,
    /// Video memory.
    #[xml(attr = "vram")]
    pub vram_kib: Option<u32>,
    /// qxl: secondary bar in 64-bit space.
    #[xml(attr = "vram64")]
    pub vram64_kib: Option<u32>,
    /// qxl: of the VGA part.
    #[xml(attr = "vgamem")]
    pub vgamem_kib: Option<u32>,
    /// Number of screens.
    #[xml(attr)]
    pub heads: Option<u32>,
    /// Whether it is the one the firmware uses.
    #[xml(attr)]
    pub primary: Option<YesNo>,
    /// virtio: blob resources.
    #[xml(attr)]
    pub blob: Option<OnOff>,
    /// Whether the screen describes itself.
    #[xml(attr)]
    pub edid: Option<OnOff>,
    /// `<acceleration accel3d='no'/>`.
    #[xml(child)]
    pub acceleration: Option<Box<Acceleration>>,
    /// `<resolution x='800' y='600'/>`.
    #[xml(child)]
    pub resolution: Option<Resolution>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<acceleration accel3d='no' accel2d='no'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Acceleration {
    /// 3-D.
    #[xml(attr)]
    pub accel3d: Option<YesNo>,
    /// 2-D.
    #[xml(attr)]
    pub accel2d: Option<YesNo>,
    /// The host's device.
    #[xml(attr = "rendernode")]
    pub render_node: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<resolution x='800' y='600'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Resolution {
    /// Width in pixels.
    #[xml(attr = "x", required)]
    pub x_px: u32,
    /// Height in pixels.
    #[xml(attr = "y", required)]
    pub y_px: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<sound model='ich9'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Sound {
    /// The model.
    #[xml(attr, required)]
    pub model: SoundModel,
    /// usb: whether it has more than two channels.
    #[xml(attr = "multichannel")]
    pub multi_channel: Option<YesNo>,
    /// virtio: number of streams.
    #[xml(attr)]
    pub streams: Option<u32>,
    /// `<codec type='micro'/>`.
    #[xml(children = "codec")]
    pub codecs: Vec<Codec>,
    /// `<audio id='1'/>`.
    #[xml(child)]
    pub audio: Option<AudioRef>,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// `<driver iommu='on'/>`.
    #[xml(child)]
    pub driver: Option<Box<VirtioDriver>>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Sorts of sound card.
    pub enum SoundModel {
        Sb16 = "sb16", Es1370 = "es1370", PcSpeaker = "pcspk", Ac97 = "ac97", Ich6 = "ich6", Ich9 = "ich9", Usb = "usb",
        Ich7 = "ich7", Virtio = "virtio",
    }
}

/// `<codec type='micro'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Codec {
    /// `duplex`, `micro`, `output`.
    #[xml(attr = "type", required)]
    pub kind: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Where the sound goes.
    pub enum AudioKind {
        None = "none", Alsa = "alsa", CoreAudio = "coreaudio", Jack = "jack", Oss = "oss", PulseAudio = "pulseaudio",
        Sdl = "sdl", Spice = "spice", File = "file", Dbus = "dbus", Pipewire = "pipewire",
    }
}

/// `<audio id='1' type='spice'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Audio {
    /// Its number.
    #[xml(attr, required)]
    pub id: u32,
    /// Where it goes.
    #[xml(attr = "type", required)]
    pub kind: AudioKind,
    /// How often QEMU looks, in µs.
    #[xml(attr = "timerPeriod")]
    pub timer_period_us: Option<u32>,
    /// `type='file'`: the file.
    #[xml(attr)]
    pub path: Option<String>,
    /// What this struct does not know; among it `<input>` and `<output>`.
    #[xml(
        foreign,
        keeps = "input output @driver @dev @runtimeDir @serverName @tryMMap @exclusive @dspPolicy @period"
    )]
    pub foreign: Foreign,
}

words! {
    /// Sorts of input device.
    pub enum InputKind { Mouse = "mouse", Tablet = "tablet", Keyboard = "keyboard", Passthrough = "passthrough", Evdev = "evdev" }
}

words! {
    /// The bus of an input device.
    pub enum InputBus { Ps2 = "ps2", Usb = "usb", Xen = "xen", Parallels = "parallels", Virtio = "virtio", None = "none" }
}

/// `<input type='tablet' bus='usb'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Input {
    /// The sort.
    #[xml(attr = "type", required)]
    pub kind: InputKind,
    /// The bus.
    #[xml(attr)]
    pub bus: Option<InputBus>,
    /// `virtio-transitional` …
    #[xml(attr)]
    pub model: Option<String>,
    /// `<driver iommu='on'/>`.
    #[xml(child)]
    pub driver: Option<Box<VirtioDriver>>,
    /// `<source evdev='…'/>`.
    #[xml(child)]
    pub source: Option<Box<InputSource>>,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Whose devices a grab takes.
    pub enum Grab { All = "all" }
}

words! {
    /// Keys that are pressed together.
    pub enum GrabToggle {
        CtrlCtrl = "ctrl-ctrl", AltAlt = "alt-alt", ShiftShift = "shift-shift", MetaMeta = "meta-meta",
        ScrollLock = "scrolllock", CtrlScrollLock = "ctrl-scrolllock",
    }
}

/// `<source evdev='/dev/input/event1'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct InputSource {
    /// The host's device (passthrough).
    #[xml(attr)]
    pub evdev: Option<String>,
    /// The host's device (evdev).
    #[xml(attr)]
    pub dev: Option<String>,
    /// evdev: whether this one's grab is that of all of the guest's.
    #[xml(attr)]
    pub grab: Option<Grab>,
    /// evdev: the keys that give the devices to the guest and back.
    #[xml(attr = "grabToggle")]
    pub grab_toggle: Option<GrabToggle>,
    /// evdev: whether a key that is held counts again and again.
    #[xml(attr)]
    pub repeat: Option<OnOff>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "@startupID @name")]
    pub foreign: Foreign,
}
