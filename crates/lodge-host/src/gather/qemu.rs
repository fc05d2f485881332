//! QEMU, asked itself what it was built with, and the firmware files beside it.

use std::path::{Path, PathBuf};

use crate::facts::Qemu;

use super::{ask, find_program, output};

const SEABIOS: [&str; 3] = [
    "/usr/share/seabios/bios-256k.bin",
    "/usr/share/qemu/bios-256k.bin",
    "/usr/share/seavgabios/bios-256k.bin",
];
const OVMF: [&str; 4] = [
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_CODE.fd",
    "/usr/share/edk2/ovmf/OVMF_CODE.fd",
    "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
];

pub(super) fn qemu() -> Qemu {
    let programs = ["qemu-system-x86_64", "qemu-system-aarch64", "qemu-kvm"];
    let emulators: Vec<(PathBuf, String)> = programs
        .iter()
        .filter_map(|name| find_program(name))
        .filter_map(|program| Some((program.clone(), version(&output(&program, &["--version"]).ok()?)?)))
        .collect();
    let asked = emulators.first().map(|(program, _)| program.clone());
    let knows =
        |question: &str, word: &str| asked.as_deref().is_some_and(|program| knows(program, question, word));
    let first = |files: &[&str]| files.iter().map(PathBuf::from).find(|file| file.exists());
    Qemu {
        spice: knows("-spice", "spice options"),
        gpu: knows("-device", "\"virtio-gpu-pci\""),
        img: find_program("qemu-img"),
        seabios: first(&SEABIOS),
        ovmf: first(&OVMF),
        emulators,
    }
}

/// `qemu-system-x86_64 -spice help`: the modules that are installed, as QEMU itself finds them. (`-chardev help` would
/// not do: it lists only what is loaded already.)
fn knows(program: &Path, question: &str, word: &str) -> bool {
    // QEMU 10 ends `-spice help` with 1 although it helped.
    ask(program, &["-M", "none", question, "help"]).is_ok_and(|answer| answer.told.contains(word))
}

/// `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2~bpo12+1)` → `10.0.2`.
fn version(banner: &str) -> Option<String> {
    let after = banner.split_once("version ")?.1;
    let end = after.find(|letter: char| !(letter.is_ascii_digit() || letter == '.')).unwrap_or(after.len());
    after.get(..end).filter(|version| !version.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_version_is_cut_from_the_banner() {
        assert_eq!(version("QEMU emulator version 10.0.2 (Debian 1:10.0.2)\n").as_deref(), Some("10.0.2"));
        assert_eq!(version("QEMU emulator version 7.2").as_deref(), Some("7.2"));
        assert_eq!(version("something else"), None);
    }
}
