//! UEFI images as QEMU's firmware descriptors tell them (docs/interop/firmware.json of QEMU).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Directories of descriptors; a file in a later one hides the one of the same name in an earlier one.
const DIRECTORIES: [&str; 2] = ["/usr/share/qemu/firmware", "/etc/qemu/firmware"];

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

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Descriptor {
    interface_types: Vec<String>,
    mapping: serde_json::Value,
    targets: Vec<Target>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Deserialize)]
struct Target {
    architecture: String,
    machines: Vec<String>,
}

/// Images for a machine, the preferred first.
pub fn firmwares(arch: &str, machine: &str) -> Vec<Firmware> {
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for directory in DIRECTORIES {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if Path::new(&name).extension().is_some_and(|extension| extension == "json") {
                files.insert(name, entry.path());
            }
        }
    }
    files.values().filter_map(|file| read(file, arch, machine)).collect()
}

/// Images that are there though no descriptor tells of them.
pub fn without_descriptor() -> Vec<String> {
    WITHOUT_DESCRIPTOR.iter().filter(|path| Path::new(path).exists()).map(ToString::to_string).collect()
}

fn read(file: &Path, arch: &str, machine: &str) -> Option<Firmware> {
    // An empty file hides one of the same name.
    let text = std::fs::read(file).ok().filter(|text| !text.is_empty())?;
    let descriptor: Descriptor = serde_json::from_slice(&text)
        .inspect_err(
            |error| tracing::warn!(file = %file.display(), %error, "a firmware descriptor is no good"),
        )
        .ok()?;
    let fits = |target: &Target| {
        target.architecture == arch && target.machines.iter().any(|pattern| matches(pattern, machine))
    };
    let path =
        descriptor.mapping.pointer("/executable/filename").or_else(|| descriptor.mapping.get("filename"))?;
    descriptor.targets.iter().any(fits).then(|| Firmware {
        path: path.as_str().unwrap_or_default().to_owned(),
        uefi: descriptor.interface_types.iter().any(|kind| kind == "uefi"),
        secure: descriptor.features.iter().any(|feature| feature == "secure-boot"),
    })
}

/// `pc-q35-*` and the like: the only wildcard in use is the star at the end.
fn matches(pattern: &str, machine: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == machine, |start| machine.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_the_rest() {
        assert!(matches("pc-q35-*", "pc-q35-10.0") && matches("microvm", "microvm"));
        assert!(!matches("pc-q35-*", "pc-i440fx-10.0") && !matches("microvm", "microvm2"));
    }
}
