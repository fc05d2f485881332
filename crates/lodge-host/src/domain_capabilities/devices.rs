//! `<memoryBacking>` and `<devices>`: what this QEMU has and a start takes.
//!
//! Each row names libvirt's word and QEMU's type, so that a kind that comes later is one more row.

use lodge_model::markup::Markup;
use lodge_qemu::Capabilities;

use super::choices;

/// A virtio device's three kinds: new and old at once, old only, new only. QEMU has the latter two as types.
fn virtio(qemu: &Capabilities, device: &str) -> Vec<&'static str> {
    ["virtio", "virtio-transitional", "virtio-non-transitional"]
        .into_iter()
        .filter(|kind| {
            qemu.has_device(&format!("{device}{}", kind.strip_prefix("virtio").unwrap_or_default()))
        })
        .collect()
}

fn there(all: &[(&'static str, bool)]) -> Vec<&'static str> {
    all.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect()
}

/// A kind of device with its choices; without a first choice it is not supported at all.
fn kind(text: &mut Markup, name: &str, enums: &[(&str, &[&str])]) {
    if enums.first().is_none_or(|(_, values)| values.is_empty()) {
        return text.empty(name, &[("supported", &"no")]);
    }
    text.start(name, &[("supported", &"yes")]);
    for (name, values) in enums {
        choices(text, name, values);
    }
    text.end();
}

/// Where a guest's memory can come from. Memory out of a named file is refused by a start.
pub(super) fn memory_backing(text: &mut Markup, qemu: &Capabilities) {
    let sources = there(&[
        ("anonymous", qemu.has_object("memory-backend-ram")),
        ("memfd", qemu.has_object("memory-backend-memfd")),
    ]);
    kind(text, "memoryBacking", &[("sourceType", &sources)]);
}

/// All kinds of devices that clients choose among.
///
/// `swtpm`: the host has the emulator of TPMs; `vfio`: it can give PCI devices.
pub(super) fn devices(text: &mut Markup, qemu: &Capabilities, machine: &str, (swtpm, vfio): (bool, bool)) {
    let has = |name: &str| qemu.has_device(name);
    text.start("devices", &[]);
    disk(text, qemu, machine);
    let screens = there(&[
        ("sdl", qemu.has_display("sdl")),
        ("vnc", qemu.has_vnc()),
        ("spice", qemu.has_spice()),
        ("egl-headless", qemu.has_display("egl-headless")),
        ("dbus", qemu.has_display("dbus")),
    ]);
    kind(text, "graphics", &[("type", &screens)]);
    let video = there(&[
        ("vga", has("VGA")),
        ("cirrus", has("cirrus-vga")),
        ("vmvga", has("vmware-svga")),
        ("qxl", has("qxl-vga")),
        ("virtio", has("virtio-vga") || has("virtio-gpu-pci")),
        ("none", true),
        ("bochs", has("bochs-display")),
        ("ramfb", has("ramfb")),
    ]);
    kind(text, "video", &[("modelType", &video)]);
    hostdev(text, qemu, vfio);
    let sources =
        there(&[("random", qemu.has_object("rng-random")), ("builtin", qemu.has_object("rng-builtin"))]);
    kind(text, "rng", &[("model", &virtio(qemu, "virtio-rng-pci")), ("backendModel", &sources)]);
    let shares = there(&[
        ("path", has("virtio-9p-pci") && qemu.options.contains("fsdev")),
        ("virtiofs", has("vhost-user-fs-pci")),
    ]);
    kind(text, "filesystem", &[("driverType", &shares)]);
    let tpms =
        there(&[("tpm-tis", has("tpm-tis")), ("tpm-crb", has("tpm-crb") && !machine.starts_with("virt"))]);
    let servers = there(&[("passthrough", true), ("emulator", swtpm), ("external", true)]);
    let versions: &[(&str, &[&str])] =
        &[("model", &tpms), ("backendModel", &servers), ("backendVersion", &["1.2", "2.0"])];
    kind(text, "tpm", versions);
    kind(text, "redirdev", &[("bus", &there(&[("usb", has("usb-redir") && qemu.has_spice())]))]);
    let channels = there(&[
        ("pty", qemu.has_chardev("pty")),
        ("unix", qemu.has_chardev("socket")),
        ("spicevmc", qemu.has_spice()),
    ]);
    kind(text, "channel", &[("type", &channels)]);
    let crypto = there(&[
        ("builtin", qemu.has_object("cryptodev-backend-builtin")),
        ("lkcf", qemu.has_object("cryptodev-backend-lkcf")),
    ]);
    let models = there(&[("virtio", has("virtio-crypto-pci") && !crypto.is_empty())]);
    kind(text, "crypto", &[("model", &models), ("type", &["qemu"]), ("backendModel", &crypto)]);
    kind(text, "interface", &[("backendType", &["default", "passt"])]);
    let panics =
        there(&[("isa", has("pvpanic") && !machine.starts_with("virt")), ("pvpanic", has("pvpanic-pci"))]);
    kind(text, "panic", &[("model", &panics)]);
    text.end();
}

/// Devices of the host's; `mode` has its word only where there is a way for one.
fn hostdev(text: &mut Markup, qemu: &Capabilities, vfio: bool) {
    let has = |name: &str| qemu.has_device(name);
    let sorts = there(&[
        ("usb", has("usb-host")),
        ("pci", has("vfio-pci")),
        ("scsi", has("scsi-generic") && has("virtio-scsi-pci")),
    ]);
    let modes = there(&[("subsystem", !sorts.is_empty())]);
    let drivers = there(&[("default", vfio), ("vfio", vfio)]);
    let enums: &[(&str, &[&str])] = &[
        ("mode", &modes),
        ("startupPolicy", &["default", "mandatory", "requisite", "optional"]),
        ("subsysType", &sorts),
        ("capsType", &[]),
        ("pciBackend", &drivers),
    ];
    kind(text, "hostdev", enums);
}

fn disk(text: &mut Markup, qemu: &Capabilities, machine: &str) {
    let has = |name: &str| qemu.has_device(name);
    let buses = there(&[
        ("ide", machine.starts_with("pc-i440fx-") && has("ide-hd")),
        ("fdc", has("floppy") && !machine.starts_with("virt")),
        ("scsi", has("scsi-hd")),
        ("virtio", has("virtio-blk-pci")),
        ("usb", has("usb-storage")),
        ("sata", has("ich9-ahci")),
    ]);
    let disks = virtio(qemu, "virtio-blk-pci");
    kind(text, "disk", &[("diskDevice", &["disk", "cdrom", "floppy"]), ("bus", &buses), ("model", &disks)]);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What the document offers of a kind with this QEMU.
    fn offered(devices: &[&str], objects: &[&str]) -> String {
        let mut qemu = Capabilities::none(Path::new("/usr/bin/qemu-system-x86_64"));
        qemu.devices = devices.iter().map(ToString::to_string).collect();
        qemu.objects = objects.iter().map(ToString::to_string).collect();
        let mut text = Markup::new();
        super::devices(&mut text, &qemu, "pc-q35-10.0", (false, false));
        text.finish()
    }

    #[test]
    fn what_the_qemu_lacks_is_not_offered() {
        let bare = offered(&[], &[]);
        for kind in ["rng", "tpm", "crypto", "redirdev", "filesystem", "panic", "graphics", "hostdev"] {
            assert!(bare.contains(&format!("<{kind} supported='no'/>")), "{kind}:\n{bare}");
        }
        assert!(!bare.contains("emulator"), "{bare}");
        let some = offered(&["virtio-rng-pci", "virtio-rng-pci-transitional", "tpm-crb"], &["rng-builtin"]);
        assert!(some.contains("<value>virtio-transitional</value>"), "{some}");
        assert!(!some.contains("<value>virtio-non-transitional</value>"), "{some}");
        assert!(some.contains("<value>builtin</value>") && !some.contains("<value>random</value>"), "{some}");
        assert!(
            some.contains("<value>tpm-crb</value>") && !some.contains("<value>tpm-tis</value>"),
            "{some}"
        );
        let given = offered(&["usb-host", "vfio-pci"], &[]);
        assert!(
            given.contains("<value>usb</value>") && given.contains("<enum name='pciBackend'/>"),
            "{given}"
        );
        assert!(!given.contains("<value>scsi</value>"), "{given}");
    }
}
