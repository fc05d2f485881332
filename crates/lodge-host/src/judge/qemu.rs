//! QEMU, the parts of it that Debian packages apart, and firmware.

use crate::facts::{Facts, Qemu};
use crate::report::{Check, Status};

use super::check;

/// The oldest QEMU that Lodge is tested with.
const OLDEST: (u32, u32) = (7, 2);

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let qemu = &facts.qemu;
    let mut found = vec![emulator(qemu)];
    if !qemu.emulators.is_empty() {
        found.push(part(
            "qemu.spice",
            "SPICE",
            qemu.spice,
            "qemu-system-modules-spice",
            "guests get VNC instead",
        ));
        let packages = "qemu-system-modules-opengl qemu-system-gui";
        found.push(part("qemu.gpu", "virtio-gpu", qemu.gpu, packages, "guests get std VGA instead"));
    }
    found.push(needed(
        "qemu.img",
        "qemu-img",
        qemu.img.is_some(),
        "qemu-utils",
        "disk images are converted with it",
    ));
    let seabios = qemu.seabios.is_some();
    found.push(needed("firmware.bios", "SeaBIOS", seabios, "seabios", "no guest boots by BIOS without it"));
    let (ovmf, title) = (qemu.ovmf.is_some(), "OVMF (UEFI)");
    found.push(part("firmware.uefi", title, ovmf, "ovmf", "guests with UEFI firmware do not start"));
    found
}

fn emulator(qemu: &Qemu) -> Check {
    let title = "QEMU";
    let Some((program, version)) = qemu.emulators.first() else {
        let next = "`apt install qemu-system-x86 qemu-utils` (add `-t bookworm-backports` where apt speaks of held broken \
                    packages)";
        return check("qemu", title, Status::Miss, "there is no qemu-system-x86_64", Some(next.to_owned()));
    };
    let all: Vec<_> =
        qemu.emulators.iter().map(|(file, version)| format!("{} {version}", file.display())).collect();
    if number(version).is_some_and(|version| version < OLDEST) {
        let next = format!(
            "install QEMU {}.{} or newer (`apt install -t bookworm-backports qemu-system-x86`)",
            OLDEST.0, OLDEST.1
        );
        let found = format!("{} is {version}, older than Lodge is tested with", program.display());
        return check("qemu", title, Status::Warn, found, Some(next));
    }
    check("qemu", title, Status::Ok, all.join(", "), None)
}

/// `10.0.2` → (10, 0).
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// A part that Lodge can do without.
fn part(id: &str, title: &str, there: bool, package: &str, without: &str) -> Check {
    if there {
        return check(id, title, Status::Ok, "there", None);
    }
    check(id, title, Status::Warn, format!("missing: {without}"), Some(format!("`apt install {package}`")))
}

/// A part that Lodge cannot do without.
fn needed(id: &str, title: &str, there: bool, package: &str, without: &str) -> Check {
    if there {
        return check(id, title, Status::Ok, "there", None);
    }
    check(id, title, Status::Miss, format!("missing: {without}"), Some(format!("`apt install {package}`")))
}
