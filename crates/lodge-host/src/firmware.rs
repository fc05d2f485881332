//! UEFI and BIOS images as this host offers them for a machine.

use std::path::Path;

use lodge_qemu::firmware::{Descriptor, descriptors};

/// Images that are known without a descriptor, as libvirt's Debian build knows them.
const WITHOUT_DESCRIPTOR: [&str; 2] =
    ["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_CODE.secboot.fd"];

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// The program's file.
    pub path: String,
    /// It is UEFI; otherwise BIOS.
    pub uefi: bool,
    /// It starts only what is signed.
    pub secure: bool,
}

/// Images for a machine, the preferred first.
pub fn firmwares(arch: &str, machine: &str) -> Vec<Firmware> {
    descriptors().iter().filter(|found| found.fits(arch, machine)).filter_map(image).collect()
}

/// Images that are there though no descriptor tells of them.
pub fn without_descriptor() -> Vec<String> {
    WITHOUT_DESCRIPTOR.iter().filter(|path| Path::new(path).exists()).map(ToString::to_string).collect()
}

fn image(found: &Descriptor) -> Option<Firmware> {
    Some(Firmware {
        path: found.program()?.to_owned(),
        uefi: found.interfaces.iter().any(|kind| kind == "uefi"),
        secure: found.features.iter().any(|feature| feature == "secure-boot"),
    })
}
