//! How the guest boots: firmware, its variables, direct kernels, the boot menu.

use lodge_model::domain::disk::DiskDriver;
use lodge_model::domain::os::{Firmware, LoaderKind};
use lodge_model::xml::YesNo;

use super::builder::Builder;
use super::disk;
use super::props::{Props, escaped};
use crate::claims::Link;

/// Firmware, `-boot`, `-kernel`.
pub(super) fn boot(b: &mut Builder<'_>) {
    firmware(b);
    b.at("/domain/os");
    let mut text = String::new();
    if let Some(menu) = &b.domain.os.boot_menu {
        match menu.enable {
            Some(YesNo::Yes) => text += "menu=on,",
            Some(YesNo::No) => text += "menu=off,",
            None => {}
        }
        if let Some(timeout_ms) = menu.timeout_ms.filter(|_| menu.enable == Some(YesNo::Yes)) {
            text += &format!("splash-time={timeout_ms},");
        }
    }
    if let Some(timeout_ms) = b.domain.os.bios.as_ref().and_then(|bios| bios.reboot_timeout_ms) {
        text += &format!("reboot-timeout={timeout_ms},");
    }
    b.arg("-boot", text + "strict=on");
    let (os, boot) = (&b.domain.os, b.claims.boot);
    if os.shim.is_some() && !b.capabilities.machine_properties.contains("shim") {
        b.at("/domain/os/shim");
        b.refuse(format!("this QEMU ({}) knows no shim; 10.0 does", b.capabilities.version));
    }
    for (element, option, value, fd) in [
        ("shim", "-shim", &os.shim, boot.shim),
        ("kernel", "-kernel", &os.kernel, boot.kernel),
        ("initrd", "-initrd", &os.initrd, boot.initrd),
        ("cmdline", "-append", &os.cmdline, None),
        ("dtb", "-dtb", &os.dtb, boot.dtb),
    ] {
        b.at(format!("/domain/os/{element}"));
        match (value, fd) {
            // `/dev/fdset` is known to QEMU's block layer only, not to what loads these.
            (Some(_), Some(fd)) => b.arg(option, format!("/proc/self/fd/{fd}")),
            (Some(value), None) => b.arg(option, value),
            (None, _) => {}
        }
    }
}

fn firmware(b: &mut Builder<'_>) {
    b.at("/domain/os/loader");
    let loader = b.domain.os.loader.as_deref();
    let is_rom = loader.is_some_and(|loader| loader.kind == Some(LoaderKind::Rom));
    if let Some(path) = loader.filter(|_| is_rom).and_then(|loader| loader.path.as_deref()) {
        b.arg("-bios", escaped(path));
        return;
    }
    let wants_efi = b.domain.os.firmware == Some(Firmware::Efi);
    let wants_flash = loader.is_some_and(|loader| loader.path.is_some()) || wants_efi;
    match &b.claims.firmware {
        Some(code) => flash(b, 0, code),
        None if wants_flash => {
            let hint = "install the Debian package ovmf, or name a <loader>";
            b.refuse_hinted("no firmware image was found for it", hint);
        }
        None => {}
    }
    b.at("/domain/os/nvram");
    let has_source = b.domain.os.nvram.as_deref().is_some_and(|nvram| nvram.source.is_some());
    if has_source && b.claims.nvram.is_none() {
        b.refuse("the variables at its <source> were not opened");
    }
    if let Some(variables) = &b.claims.nvram {
        flash(b, 1, variables);
    }
    if loader.is_some_and(|loader| loader.secure == Some(YesNo::Yes)) {
        b.at("/domain/os/loader/@secure");
        b.arg("-global", "driver=cfi.pflash01,property=secure,value=on");
    }
}

fn flash(b: &mut Builder<'_>, number: u8, link: &Link) {
    let storage = format!("libvirt-pflash{number}-storage");
    let Some((file, mode)) = disk::bytes(b, link, &DiskDriver::default(), &storage) else { return };
    b.json("-blockdev", &file.with("node-name", storage.as_str()).with(mode.0, mode.1));
    let format = Props::plain()
        .with("node-name", format!("libvirt-pflash{number}-format"))
        .with("read-only", link.read_only)
        .with("driver", link.format.as_str())
        .with("file", storage);
    b.json("-blockdev", &format);
}
