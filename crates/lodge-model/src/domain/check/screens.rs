//! Screens, sound, inputs, streams and small devices: what a PC does not have, and what does not go together.

use super::{Found, Seen, nth};
use crate::domain::Domain;
use crate::domain::chardev::{CharDevice, CharKind};
use crate::domain::complete::Board;
use crate::domain::controller::{Controller, ControllerKind};
use crate::domain::devices::{Devices, MemballoonModel, PanicModel, RngSource, WatchdogModel};
use crate::domain::graphics::{
    Graphics, GraphicsKind, InputKind, ListenKind, SPICE_CHANNELS, VideoKind, VideoModel,
};
use crate::domain::memory::MemorySourceKind;
use crate::xml::YesNo;

pub(super) fn check(domain: &Domain, found: &mut Found) {
    let devices = &*domain.devices;
    for (at, graphics) in devices.graphics.iter().enumerate() {
        screen(devices, graphics, &nth("/domain/devices/graphics", at, devices.graphics.len()), found);
    }
    together(&devices.graphics, found);
    videos(domain, found);
    sound(devices, found);
    for (at, input) in devices.inputs.iter().enumerate() {
        let path = nth("/domain/devices/input", at, devices.inputs.len());
        if input.model.as_deref().is_some_and(|model| model != "virtio")
            && input.kind != InputKind::Passthrough
        {
            found.add(format!("{path}/@model"), format!("a {} has no such models", input.kind));
        }
    }
    streams(devices, found);
    controllers(domain, found);
    small(domain, found);
}

/// What libvirt and QEMU have of screens beside each other.
fn together(screens: &[Graphics], found: &mut Found) {
    let has_egl = screens.iter().any(|screen| screen.kind == GraphicsKind::EglHeadless);
    for (at, screen) in screens.iter().enumerate().filter(|_| has_egl) {
        let path = nth("/domain/devices/graphics", at, screens.len());
        match screen.kind {
            GraphicsKind::Spice if screen.has_gl() => {
                found.add(format!("{path}/gl"), "only one screen is drawn by the host, and egl-headless is");
            }
            GraphicsKind::EglHeadless | GraphicsKind::Vnc | GraphicsKind::Spice => {}
            kind => found.add(path, format!("a screen of type `{kind}` does not go beside egl-headless")),
        }
    }
}

fn screen(devices: &Devices, graphics: &Graphics, path: &str, found: &mut Found) {
    if matches!(graphics.kind, GraphicsKind::Rdp | GraphicsKind::Desktop) {
        found.add(path, format!("QEMU has no screens of type `{}`", graphics.kind));
    }
    let mut known = |place: &str, word: Option<&str>, words: &[&str]| {
        if let Some(word) = word.filter(|word| !words.contains(word)) {
            found.add(
                format!("{path}/{place}"),
                format!("`{word}` is not known here (known: {})", words.join(", ")),
            );
        }
    };
    known("@sharePolicy", graphics.share_policy.as_deref(), &["allow-exclusive", "force-shared", "ignore"]);
    let images = ["auto_glz", "auto_lz", "quic", "glz", "lz", "off"];
    known("image/@compression", graphics.image.as_ref().map(|image| image.compression.as_str()), &images);
    let modes = ["any", "secure", "insecure"];
    known("@defaultMode", graphics.default_mode.as_deref(), &modes);
    for channel in &graphics.channels {
        known("channel/@name", Some(channel.name.as_str()), &SPICE_CHANNELS);
        known("channel/@mode", Some(channel.mode.as_str()), &modes);
    }
    for (at, listen) in graphics.listens.iter().enumerate() {
        if listen.kind == ListenKind::Network && listen.network.is_none() {
            let path = nth(&format!("{path}/listen"), at, graphics.listens.len());
            found.add(
                format!("{path}/@network"),
                "attribute `network` is missing (the listen is of type `network`)",
            );
        }
    }
    let first = graphics.listens.first().filter(|listen| listen.kind == ListenKind::Address);
    if let (Some(old), Some(new)) = (&graphics.listen, first.and_then(|listen| listen.address.as_ref()))
        && old != new
    {
        found.add(path, format!("`listen` says {old}, the first <listen> says {new}"));
    }
    if graphics.foreign.attribute("p2p") == Some("yes") && graphics.foreign.attribute("address").is_some() {
        found.add(path, "what is handed over (p2p) has no address");
    }
    if graphics.kind == GraphicsKind::Vnc && graphics.connected.as_deref().is_some_and(|word| word != "keep")
    {
        found.add(format!("{path}/@connected"), "VNC knows connected='keep' only");
    }
    if let Some(audio) = &graphics.audio
        && !devices.audios.iter().any(|known| known.id == audio.id)
    {
        found.add(format!("{path}/audio/@id"), format!("there is no audio {}", audio.id));
    }
}

fn videos(domain: &Domain, found: &mut Found) {
    let videos = &domain.devices.videos;
    let is_none = |model: &VideoModel| model.kind == VideoKind::None;
    if videos.len() > 1 && videos.iter().filter_map(|video| video.model.as_deref()).any(is_none) {
        found.add("/domain/devices/video", "who has no video device (type='none') has no second one");
    }
    let source = domain.memory_backing.as_deref().and_then(|backing| backing.source.as_ref());
    let in_memfd = source.is_some_and(|source| source.kind == MemorySourceKind::Memfd);
    for (at, video) in videos.iter().enumerate() {
        let Some(model) = video.model.as_deref() else { continue };
        let path = format!("{}/model", nth("/domain/devices/video", at, videos.len()));
        if model.kind == VideoKind::Qxl && model.vgamem_kib.is_some_and(|kib| !kib.is_power_of_two()) {
            found.add(format!("{path}/@vgamem"), "it is no power of two");
        }
        let is_plain = matches!(model.kind, VideoKind::Vga | VideoKind::VmVga | VideoKind::Bochs);
        if is_plain && model.vram_kib.is_some_and(|kib| kib < 1024) {
            found.add(format!("{path}/@vram"), "it begins with 1 MiB");
        }
        let wants_3d = model.acceleration.as_deref().is_some_and(|accel| accel.accel3d == Some(YesNo::Yes));
        if wants_3d && model.kind != VideoKind::Virtio {
            found.add(format!("{path}/acceleration"), "3-D is possible with type='virtio' only");
        }
        let accel = model.acceleration.as_deref();
        if accel.is_some_and(|accel| accel.accel2d == Some(YesNo::Yes)) {
            found.add(format!("{path}/acceleration/@accel2d"), "QEMU has no setting for 2-D");
        }
        let is_outside =
            video.driver.as_deref().and_then(|driver| driver.name.as_deref()) == Some("vhostuser");
        if accel.is_some_and(|accel| accel.render_node.is_some()) && !is_outside {
            let message = "a render node is chosen here for <driver name='vhostuser'/> only";
            found.add(format!("{path}/acceleration/@rendernode"), message);
        }
        if model.blob.is_some_and(crate::xml::OnOff::is_on) && !in_memfd {
            found.add(
                format!("{path}/@blob"),
                "it needs memory that can be handed over: <source type='memfd'/>",
            );
        }
    }
}

fn sound(devices: &Devices, found: &mut Found) {
    let mut ids = Seen::default();
    for (at, audio) in devices.audios.iter().enumerate() {
        let path = format!("{}/@id", nth("/domain/devices/audio", at, devices.audios.len()));
        if audio.id == 0 {
            found.add(path, "a number begins with 1");
        } else {
            ids.note(found, audio.id, &path, || format!("audio {} is given twice", audio.id));
        }
    }
    for (at, audio) in devices.audios.iter().enumerate() {
        let path = nth("/domain/devices/audio", at, devices.audios.len());
        for name in ["input", "output"] {
            let Some(tree) = audio.foreign.tree(name) else { continue };
            let says = |word: &str| tree.attribute(word) == Some("yes");
            if says("fixedSettings") && !says("mixingEngine") {
                found.add(format!("{path}/{name}/@fixedSettings"), "fixed settings need mixingEngine='yes'");
            }
            if tree.child("settings").is_some() && !says("fixedSettings") {
                found.add(format!("{path}/{name}/settings"), "settings need fixedSettings='yes'");
            }
        }
    }
    for (at, sound) in devices.sounds.iter().enumerate() {
        let path = nth("/domain/devices/sound", at, devices.sounds.len());
        if let Some(audio) = &sound.audio
            && !devices.audios.iter().any(|known| known.id == audio.id)
        {
            found.add(format!("{path}/audio/@id"), format!("there is no audio {}", audio.id));
        }
        for codec in
            sound.codecs.iter().filter(|codec| !["duplex", "micro", "output"].contains(&&*codec.kind))
        {
            found.add(
                format!("{path}/codec"),
                format!("`{}` is not known here (known: duplex, micro, output)", codec.kind),
            );
        }
    }
}

fn streams(devices: &Devices, found: &mut Found) {
    let lists = [
        ("serial", &devices.serials),
        ("parallel", &devices.parallels),
        ("console", &devices.consoles),
        ("channel", &devices.channels),
    ];
    let has_spice = devices.graphics.iter().any(|graphics| graphics.kind == GraphicsKind::Spice);
    for (name, list) in lists {
        for (at, device) in list.iter().enumerate() {
            let path = nth(&format!("/domain/devices/{name}"), at, list.len());
            if device.kind == CharKind::SpicePort && !has_spice {
                found.add(path.as_str(), "there is no <graphics type='spice'> that could carry it");
            }
            stream(name, device, &path, found);
        }
    }
}

fn stream(name: &str, device: &CharDevice, path: &str, found: &mut Found) {
    const PROTOCOLS: [&str; 4] = ["raw", "telnet", "telnets", "tls"];
    if let Some(protocol) = device.protocol.as_ref().filter(|protocol| !PROTOCOLS.contains(&&*protocol.kind))
    {
        let message = format!("`{}` is not known here (known: {})", protocol.kind, PROTOCOLS.join(", "));
        found.add(format!("{path}/protocol/@type"), message);
    } else if let Some(protocol) = device.protocol.as_ref().filter(|_| device.kind == CharKind::Tcp)
        && !["raw", "telnet"].contains(&&*protocol.kind)
    {
        let message = format!("tcp chardev protocol '{}' not supported", protocol.kind);
        found.add(format!("{path}/protocol/@type"), message);
    }
    if device.kind == CharKind::Nmdm {
        let words = device.source().map(|source| &source.foreign);
        let count = words.map_or(0, |words| words.items().len());
        if count < 2 {
            found.add(format!("{path}/source"), "attributes `master` and `slave` are both needed");
        }
    }
    let Some(target) = device.target.as_deref() else { return };
    let kinds: &[&str] = match name {
        "serial" => &["isa-serial", "system-serial", "usb-serial", "pci-serial", "isa-debug"],
        "console" => &["serial", "virtio", "xen"],
        "channel" => &["virtio", "guestfwd", "xen"],
        _ => return,
    };
    let Some(kind) = target.kind.as_deref() else { return };
    if !kinds.contains(&kind) {
        let message = format!("`{kind}` is not known here (known: {})", kinds.join(", "));
        return found.add(format!("{path}/target/@type"), message);
    }
    if let Some(model) = target.model.as_ref() {
        let fits = match kind {
            "isa-debug" => model.name == "isa-debugcon",
            "system-serial" => matches!(model.name.as_str(), "pl011" | "16550a"),
            kind => model.name == kind,
        };
        if name == "serial" && !fits {
            found.add(
                format!("{path}/target/model"),
                format!("`{}` does not go with type `{kind}`", model.name),
            );
        }
    }
    if kind == "guestfwd" && target.port.is_none() {
        found.add(format!("{path}/target/@port"), "attribute `port` is missing");
    }
}

fn controllers(domain: &Domain, found: &mut Found) {
    let controllers = &domain.devices.controllers;
    let board = Board::of(domain);
    let has_no_usb = |controller: &&Controller| {
        controller.kind == ControllerKind::Usb && controller.model.as_deref() == Some("none")
    };
    let usb = controllers.iter().filter(|controller| controller.kind == ControllerKind::Usb).count();
    let is_usb_off = controllers.iter().any(|controller| has_no_usb(&controller));
    if is_usb_off && usb > 1 {
        found.add(
            "/domain/devices/controller",
            "who has no USB (model='none') has no second controller of it",
        );
    }
    for (at, controller) in controllers.iter().enumerate() {
        let path = nth("/domain/devices/controller", at, controllers.len());
        one_controller(controller, board, &path, found);
    }
}

fn one_controller(controller: &Controller, board: Board, path: &str, found: &mut Found) {
    let model = controller.model.as_deref();
    let is_virtio_scsi =
        controller.kind == ControllerKind::Scsi && model.is_some_and(|model| model.starts_with("virtio"));
    if !is_virtio_scsi && controller.driver.as_deref().is_some_and(|driver| driver.iothread.is_some()) {
        found.add(format!("{path}/driver/@iothread"), "it is for SCSI controllers of virtio");
    }
    match (controller.kind, model) {
        (ControllerKind::Scsi, Some(model)) => {
            const MODELS: [&str; 10] = [
                "auto",
                "lsilogic",
                "lsisas1068",
                "lsisas1078",
                "vmpvscsi",
                "virtio-scsi",
                "virtio-transitional",
                "virtio-non-transitional",
                "am53c974",
                "dc390",
            ];
            if !MODELS.contains(&model) {
                found.add(
                    format!("{path}/@model"),
                    format!("`{model}` is no model of a PC's SCSI controller"),
                );
            }
        }
        (ControllerKind::Usb, Some("nec-xhci" | "qemu-xhci"))
            if controller.ports.is_some_and(|ports| ports > 15) =>
        {
            found.add(format!("{path}/@ports"), "such a controller has at most 15 ports");
        }
        (ControllerKind::Pci, Some("pci-root" | "pcie-root"))
            if controller.index.is_some_and(|index| index != 0) =>
        {
            found.add(path, "the root of PCI has index 0");
        }
        (ControllerKind::Pci, None) if controller.index.is_some_and(|index| index != 0) => {
            found.add(path, "attribute `model` is missing");
        }
        (ControllerKind::Ide, _)
            if board == Board::I440fx && controller.index.is_some_and(|index| index > 0) =>
        {
            found.add(path, "a PC has one IDE controller");
        }
        (ControllerKind::Ide, _) if board.is_virt() || board == Board::Isa => {
            found.add(path, "this machine has no IDE controller");
        }
        (ControllerKind::Ide, _) if board == Board::Q35 => {
            found.add(path, "machine q35 has no IDE; bus='sata' takes its place");
        }
        _ => {}
    }
}

fn small(domain: &Domain, found: &mut Found) {
    let devices = &*domain.devices;
    let board = Board::of(domain);
    let watchdogs = &devices.watchdogs;
    for (at, watchdog) in watchdogs.iter().enumerate() {
        let path = nth("/domain/devices/watchdog", at, watchdogs.len());
        match watchdog.model {
            WatchdogModel::Itco if board != Board::Q35 && domain.os.kind.machine.is_some() => {
                found.add(format!("{path}/@model"), "this one is part of machine q35");
            }
            WatchdogModel::Ib700 if !board.is_pc() || board == Board::Isa => {
                found.add(format!("{path}/@model"), "this one cannot be used with this machine type");
            }
            WatchdogModel::Diag288 => found.add(format!("{path}/@model"), "this one is no PC's"),
            _ => {}
        }
    }
    if watchdogs.windows(2).any(|pair| pair[0].action != pair[1].action) {
        found.add(
            "/domain/devices/watchdog",
            "QEMU does one thing for all watchdogs, and these ask for several",
        );
    }
    if devices.memballoon.as_deref().is_some_and(|balloon| balloon.model == MemballoonModel::Xen) {
        found.add("/domain/devices/memballoon/@model", "a balloon of model `xen` is not QEMU's");
    }
    let mut models = Seen::default();
    for (at, panic) in devices.panics.iter().enumerate() {
        let path = nth("/domain/devices/panic", at, devices.panics.len());
        if panic.model.is_none() && board == Board::RiscvVirt {
            found.add(&path, "no panic model provided, and no default for this machine type");
        }
        let model = panic.model.unwrap_or(PanicModel::Isa);
        if matches!(model, PanicModel::Pseries | PanicModel::S390) {
            found.add(format!("{path}/@model"), format!("`{model}` is no PC's"));
        }
        models.note(found, model.as_str(), &path, || format!("model `{model}` is given twice"));
    }
    for (at, rng) in devices.rngs.iter().enumerate() {
        let path = format!("{}/backend", nth("/domain/devices/rng", at, devices.rngs.len()));
        if rng.backend.model == RngSource::Egd && rng.backend.kind.is_none() {
            found.add(path, "attribute `type` is missing (the model is `egd`)");
        }
    }
}
