//! Screens, sound, input, and the small devices that every machine gets.

use super::Board;
use crate::domain::Platform;
use crate::domain::devices::{
    Devices, Memballoon, MemballoonModel, PanicModel, RngModel, Watchdog, WatchdogModel,
};
use crate::domain::graphics::{
    Audio, AudioKind, Graphics, GraphicsKind, Input, InputBus, InputKind, Listen, ListenKind, SoundModel,
    Video, VideoKind, VideoModel,
};
use crate::xml::YesNo;

/// Completes them.
pub(super) fn complete(devices: &mut Devices, platform: &Platform, board: Board, has_ps2: bool) {
    for graphics in &mut devices.graphics {
        complete_graphics(graphics);
    }
    for sound in devices.sounds.iter_mut().filter(|sound| sound.model == SoundModel::Virtio) {
        sound.streams.get_or_insert(2);
    }
    if let Some(vsock) = &mut devices.vsock {
        vsock.model.get_or_insert(RngModel::Virtio);
    }
    inputs(devices, board, has_ps2);
    audio(devices);
    videos(devices, if board.is_virt() { VideoKind::Virtio } else { platform.video });
    if board == Board::Q35 && !devices.watchdogs.iter().any(|watchdog| watchdog.model == WatchdogModel::Itco)
    {
        // It is part of the board; a document can only say what it does.
        let action = devices.watchdogs.first().map_or_else(Default::default, |watchdog| watchdog.action);
        devices.watchdogs.push(Watchdog { model: WatchdogModel::Itco, action, ..Watchdog::default() });
    }
    if has_balloon(board) {
        devices.memballoon.get_or_insert_with(|| Box::new(Memballoon::default()));
    }
    if let Some(balloon) = &mut devices.memballoon
        && balloon.model == MemballoonModel::None
    {
        **balloon = Memballoon { model: MemballoonModel::None, ..Memballoon::default() };
    }
    for rng in &mut devices.rngs {
        rng.rate.take_if(|rate| rate.bytes == 0);
    }
    for panic in &mut devices.panics {
        if let Some(model) = usual_panic(board) {
            panic.model.get_or_insert(model);
        }
    }
}

/// The panic device of which nothing is said.
fn usual_panic(board: Board) -> Option<PanicModel> {
    match board {
        Board::ArmVirt => Some(PanicModel::Pvpanic),
        Board::RiscvVirt | Board::Bare => None,
        Board::I440fx | Board::Q35 | Board::Isa | Board::Micro | Board::Other => Some(PanicModel::Isa),
    }
}

/// Whether a guest on this board has a balloon of which nothing is said.
fn has_balloon(board: Board) -> bool {
    !matches!(board, Board::ArmVirt | Board::Bare)
}

fn complete_graphics(graphics: &mut Graphics) {
    // libvirtd's own sockets are of the run that it chose them for.
    graphics.socket.take_if(|socket| socket.starts_with("/var/lib/libvirt/qemu/domain-"));
    // Who names a socket is reached by it alone.
    if let (GraphicsKind::Vnc, Some(socket)) = (graphics.kind, &graphics.socket) {
        let kind = ListenKind::Socket;
        graphics.listens = vec![Listen { kind, socket: Some(socket.clone()), ..Listen::default() }];
    }
    if graphics.listens.is_empty() && matches!(graphics.kind, GraphicsKind::Vnc | GraphicsKind::Spice) {
        let (socket, address) = (graphics.socket.take(), graphics.listen.take());
        let kind = if socket.is_some() { ListenKind::Socket } else { ListenKind::Address };
        graphics.listens.push(Listen { kind, address, socket, ..Listen::default() });
    }
    for listen in &mut graphics.listens {
        // The address of a network is what its bridge has at the start.
        listen.address.take_if(|address| address.is_empty() || listen.kind == ListenKind::Network);
    }
    match graphics.kind {
        GraphicsKind::Vnc => vnc_ports(graphics),
        GraphicsKind::Spice => spice_ports(graphics),
        GraphicsKind::Sdl
        | GraphicsKind::Rdp
        | GraphicsKind::Desktop
        | GraphicsKind::EglHeadless
        | GraphicsKind::Dbus => return,
    }
    let first = graphics.listens.first();
    graphics.listen =
        first.filter(|listen| listen.kind == ListenKind::Address).and_then(|listen| listen.address.clone());
    let is_vnc = graphics.kind == GraphicsKind::Vnc;
    graphics.socket = first
        .filter(|_| is_vnc)
        .filter(|listen| listen.kind == ListenKind::Socket)
        .and_then(|listen| listen.socket.clone());
    graphics.channels.retain(|channel| channel.mode != "any");
}

fn vnc_ports(graphics: &mut Graphics) {
    let by_socket = graphics
        .listens
        .first()
        .is_some_and(|listen| matches!(listen.kind, ListenKind::Socket | ListenKind::None));
    if by_socket {
        (graphics.port, graphics.autoport, graphics.websocket) = (None, None, None);
        return;
    }
    // Without a port and not by itself it is the first, 5900 (virDomainGraphicsDefParseXMLVNC).
    let says_no = graphics.autoport == Some(YesNo::No) && graphics.port.is_none();
    let automatic =
        !says_no && (graphics.port.is_none_or(|port| port <= 0) || graphics.autoport == Some(YesNo::Yes));
    if automatic {
        graphics.port = Some(-1);
    }
    graphics.autoport = Some(automatic.into());
}

fn spice_ports(graphics: &mut Graphics) {
    let given = graphics.port.is_some() || graphics.tls_port.is_some();
    let automatic =
        graphics.autoport == Some(YesNo::Yes) || graphics.port == Some(-1) || graphics.tls_port == Some(-1);
    if automatic {
        (graphics.port, graphics.tls_port) = (None, None);
        graphics.autoport = Some(YesNo::Yes);
    } else if given {
        graphics.autoport = Some(YesNo::No);
    } else {
        // Without a port nobody can reach it.
        graphics.autoport = None;
        for listen in graphics.listens.iter_mut().filter(|listen| listen.kind == ListenKind::Address) {
            *listen = Listen { kind: ListenKind::None, ..Listen::default() };
        }
    }
}

fn inputs(devices: &mut Devices, board: Board, has_ps2: bool) {
    // A document that leaves the bus out gets the implied ones beside it, as with libvirt.
    for kind in [InputKind::Mouse, InputKind::Keyboard] {
        let wanted = Input { kind, bus: Some(InputBus::Ps2), ..Input::default() };
        let is_wanted = board.has_ps2() && has_ps2;
        if is_wanted
            && !devices.inputs.iter().any(|input| input.kind == wanted.kind && input.bus == wanted.bus)
        {
            devices.inputs.push(wanted);
        }
    }
    for input in &mut devices.inputs {
        match input.kind {
            InputKind::Mouse | InputKind::Keyboard => {
                input.bus.get_or_insert(if board.has_ps2() { InputBus::Ps2 } else { InputBus::Usb });
            }
            InputKind::Tablet => {
                input.bus.get_or_insert(InputBus::Usb);
            }
            InputKind::Passthrough => {
                input.bus.get_or_insert(InputBus::Virtio);
            }
            InputKind::Evdev => {}
        }
    }
}

/// Sound goes where the last screen is (qemuDomainDefAddDefaultAudioBackend).
/// libvirt writes first what all back ends have.
fn sort_words(audio: &mut Audio) {
    const COMMON: [&str; 4] = ["mixingEngine", "fixedSettings", "voices", "bufferLength"];
    for name in ["input", "output"] {
        let Some(mut tree) = audio.foreign.tree(name) else { continue };
        let place = |(name, _): &(String, String)| {
            COMMON.iter().position(|known| known == name).unwrap_or(COMMON.len())
        };
        if !tree.attributes.is_sorted_by_key(place) {
            tree.attributes.sort_by_key(place);
            audio.foreign.set_trees(&[name], &[tree]);
        }
    }
}

fn audio(devices: &mut Devices) {
    devices.audios.iter_mut().for_each(sort_words);
    if !devices.audios.is_empty() {
        return;
    }
    let mut kind = devices.graphics.is_empty().then_some(AudioKind::None);
    for graphics in &devices.graphics {
        match graphics.kind {
            GraphicsKind::Vnc => kind = Some(AudioKind::None),
            GraphicsKind::Spice => kind = Some(AudioKind::Spice),
            GraphicsKind::Sdl
            | GraphicsKind::Rdp
            | GraphicsKind::Desktop
            | GraphicsKind::EglHeadless
            | GraphicsKind::Dbus => {}
        }
    }
    devices.audios.extend(kind.map(|kind| Audio { id: 1, kind, ..Audio::default() }));
}

fn videos(devices: &mut Devices, usual: VideoKind) {
    if devices.videos.is_empty() && !devices.graphics.is_empty() {
        devices.videos.push(Video::default());
    }
    for video in &mut devices.videos {
        let model =
            video.model.get_or_insert_with(|| Box::new(VideoModel { kind: usual, ..VideoModel::default() }));
        complete_model(model);
    }
    // The primary one comes first; where none is named it is the first.
    let is_primary =
        |video: &Video| video.model.as_deref().is_some_and(|model| model.primary == Some(YesNo::Yes));
    if let Some(at) = devices.videos.iter().position(is_primary) {
        devices.videos[..=at].rotate_right(1);
    }
    for (at, model) in devices.videos.iter_mut().filter_map(|video| video.model.as_deref_mut()).enumerate() {
        model.primary = (at == 0 && model.kind != VideoKind::None).then_some(YesNo::Yes);
    }
}

fn complete_model(model: &mut VideoModel) {
    const DEFAULT_KIB: u32 = 16 * 1024;
    const QXL_KIB: u32 = 64 * 1024;
    let round = |kib: u32| kib.checked_next_power_of_two().unwrap_or(kib);
    match model.kind {
        VideoKind::None => return,
        VideoKind::Vga | VideoKind::Cirrus | VideoKind::VmVga | VideoKind::Bochs => {
            model.vram_kib = Some(round(model.vram_kib.unwrap_or(DEFAULT_KIB)));
        }
        VideoKind::Qxl => {
            model.ram_kib = Some(round(model.ram_kib.unwrap_or(QXL_KIB)));
            model.vram_kib = Some(round(model.vram_kib.unwrap_or(QXL_KIB)));
            model.vgamem_kib = Some(round(model.vgamem_kib.unwrap_or(DEFAULT_KIB)));
        }
        VideoKind::Virtio
        | VideoKind::Ramfb
        | VideoKind::Gop
        | VideoKind::Xen
        | VideoKind::Vbox
        | VideoKind::Parallels => {}
    }
    model.heads.get_or_insert(1);
}
