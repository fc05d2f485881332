//! Video devices.

use lodge_model::domain::graphics::{Graphics, Video, VideoKind, VideoModel};
use lodge_model::xml::{OnOff, YesNo};

use super::builder::{Builder, alias};
use super::controller::virtio_options;
use super::props::Props;

/// Every `<video>`.
pub(super) fn videos(b: &mut Builder<'_>) {
    let videos = &b.domain.devices.videos;
    let primary = videos
        .iter()
        .position(|video| video.model.as_deref().is_some_and(|model| model.primary == Some(YesNo::Yes)));
    for (at, video) in videos.iter().enumerate() {
        b.at_device("video", at);
        one(b, video, at == primary.unwrap_or(0));
    }
}

fn one(b: &mut Builder<'_>, video: &Video, is_primary: bool) {
    let Some(model) = video.model.as_deref() else { return b.refuse("a video device needs a <model>") };
    let wants_3d = model.acceleration.as_deref().is_some_and(|accel| accel.accel3d == Some(YesNo::Yes));
    if wants_3d && !b.domain.devices.graphics.iter().any(Graphics::has_gl) {
        let hint = "add <graphics type='egl-headless'/>, or <gl enable='yes'/> to a screen of type spice, dbus or sdl";
        b.refuse_hinted("3-D acceleration needs a screen that the host draws by OpenGL", hint);
    }
    if video.driver.as_deref().and_then(|driver| driver.name.as_deref()).is_some_and(|name| name != "qemu") {
        b.refuse("a video device outside of QEMU is not supported yet");
    }
    let Some(name) = device_name(b, model.kind, is_primary) else { return };
    let name = match name {
        "virtio-vga" if wants_3d => "virtio-vga-gl",
        "virtio-gpu-pci" if wants_3d => "virtio-gpu-gl-pci",
        name => name,
    };
    let props = Props::driver(name).with("id", alias(&video.place));
    let props = with_memory(name, model, props);
    let props = with_size(name, model, props);
    let props = match model.kind {
        VideoKind::Virtio => virtio_options(props, video.driver.as_deref().map(|driver| &driver.virtio)),
        _ => props,
    };
    let props = b.pci(props, &video.place);
    b.device(name, &props);
}

fn device_name(b: &mut Builder<'_>, kind: VideoKind, is_primary: bool) -> Option<&'static str> {
    Some(match (kind, is_primary) {
        (VideoKind::None, _) => return None,
        (VideoKind::Virtio, true) if b.family.is_pc() => "virtio-vga",
        (VideoKind::Virtio, _) => "virtio-gpu-pci",
        (VideoKind::Qxl, _) if !b.capabilities.has_device("qxl-vga") => {
            b.warn("this QEMU has no QXL, so the guest gets a plain VGA (package qemu-system-modules-spice brings QXL)");
            "VGA"
        }
        (VideoKind::Qxl, true) => "qxl-vga",
        (VideoKind::Qxl, false) => "qxl",
        (VideoKind::Vga, true) => "VGA",
        (VideoKind::Vga, false) => "secondary-vga",
        (VideoKind::Cirrus, true) => "cirrus-vga",
        (VideoKind::VmVga, true) => "vmware-svga",
        (VideoKind::Bochs, _) => "bochs-display",
        (VideoKind::Ramfb, true) => "ramfb",
        (kind, true) => {
            b.refuse(format!("video of type '{kind}' is not QEMU's"));
            return None;
        }
        (kind, false) => {
            b.refuse(format!("video of type '{kind}' can only be the primary one"));
            return None;
        }
    })
}

fn with_memory(name: &str, model: &VideoModel, props: Props) -> Props {
    let mib = |kib: Option<u32>| kib.map(|kib| kib.div_ceil(1024));
    match name {
        "qxl-vga" | "qxl" => props
            .with("max_outputs", model.heads.unwrap_or(1))
            .maybe("ram_size", model.ram_kib.map(|kib| u64::from(kib) * 1024))
            .maybe("vram_size", model.vram_kib.map(|kib| u64::from(kib) * 1024))
            .maybe("vram64_size_mb", mib(model.vram64_kib))
            .maybe("vgamem_mb", mib(model.vgamem_kib)),
        "virtio-vga" | "virtio-gpu-pci" | "virtio-vga-gl" | "virtio-gpu-gl-pci" => {
            props.with("max_outputs", model.heads.unwrap_or(1)).maybe("blob", model.blob.map(OnOff::is_on))
        }
        "VGA" | "secondary-vga" | "vmware-svga" => props.maybe("vgamem_mb", mib(model.vram_kib)),
        "bochs-display" => props.maybe("vgamem", model.vram_kib.map(|kib| u64::from(kib) * 1024)),
        _ => props,
    }
}

fn with_size(name: &str, model: &VideoModel, props: Props) -> Props {
    let has_size = name.starts_with("virtio-") || matches!(name, "qxl-vga" | "qxl" | "VGA" | "bochs-display");
    let resolution = model.resolution.as_ref().filter(|_| has_size);
    let edid = model.edid.filter(|_| has_size).map(OnOff::is_on);
    props
        .maybe("edid", edid)
        .maybe("xres", resolution.map(|resolution| resolution.x_px))
        .maybe("yres", resolution.map(|resolution| resolution.y_px))
}
