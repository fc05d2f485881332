//! Which UEFI images the host has: QEMU's firmware descriptors (docs/interop/firmware.json), as libvirt reads them.
//!
//! A file in `/etc` stands for one of the same name in `/usr/share`, an empty one hides it; their names give the order
//! of preference. Deliberately absent: choosing one for a guest (lodge-model), and what is no flash image of two files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lodge_model::domain::Firmware;
use serde::Deserialize;

/// The directories, a later one standing for an earlier one.
const DIRS: [&str; 2] = ["/usr/share/qemu/firmware", "/etc/qemu/firmware"];
/// The longest file that is taken for a descriptor.
const LONGEST: u64 = 64 << 10;

/// The host's images for this architecture, the preferred one first.
pub(crate) fn installed(arch: &str) -> Vec<Firmware> {
    read(&DIRS.map(Path::new), arch)
}

fn read(dirs: &[&Path], arch: &str) -> Vec<Firmware> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for dir in dirs {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "json") {
                files.insert(entry.file_name(), entry.path());
            }
        }
    }
    files.values().filter_map(|path| descriptor(path, arch)).collect()
}

fn descriptor(path: &Path, arch: &str) -> Option<Firmware> {
    let length = std::fs::metadata(path).ok()?.len();
    if length == 0 || length > LONGEST {
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    let descriptor: Descriptor = match serde_json::from_str(&text) {
        Ok(descriptor) => descriptor,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a firmware descriptor is not understood");
            return None;
        }
    };
    let mapping = descriptor.mapping;
    let is_split = mapping.device == "flash" && mapping.mode.as_deref().is_none_or(|mode| mode == "split");
    let targets: Vec<_> =
        descriptor.targets.into_iter().filter(|target| target.architecture == arch).collect();
    if !is_split || !descriptor.interfaces.iter().any(|interface| interface == "uefi") || targets.is_empty() {
        return None;
    }
    let (code, vars) = (mapping.executable?.filename, mapping.nvram_template?.filename);
    let machines = targets.into_iter().flat_map(|target| target.machines).collect();
    Some(Firmware { code, vars, features: descriptor.features, machines })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Descriptor {
    #[serde(rename = "interface-types")]
    interfaces: Vec<String>,
    mapping: Mapping,
    targets: Vec<Target>,
    features: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    mode: Option<String>,
    executable: Option<Image>,
    nvram_template: Option<Image>,
}

#[derive(Deserialize)]
struct Image {
    filename: String,
}

#[derive(Deserialize)]
struct Target {
    architecture: String,
    machines: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, code: &str, arch: &str, device: &str) {
        let text = format!(
            r#"{{"description": "", "interface-types": ["uefi"], "tags": [], "features": ["acpi-s3"],
            "mapping": {{"device": "{device}", "executable": {{"filename": "{code}", "format": "raw"}},
            "nvram-template": {{"filename": "/vars", "format": "raw"}}}},
            "targets": [{{"architecture": "{arch}", "machines": ["pc-q35-*"]}}]}}"#
        );
        std::fs::write(dir.join(name), text).unwrap();
    }

    #[test]
    fn descriptors_are_read_in_the_order_of_their_names_and_stand_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let (usr, etc) = (dir.path().join("usr"), dir.path().join("etc"));
        std::fs::create_dir(&usr).unwrap();
        std::fs::create_dir(&etc).unwrap();
        write(&usr, "60-a.json", "/60", "x86_64", "flash");
        write(&usr, "50-b.json", "/50", "x86_64", "flash");
        write(&usr, "40-c.json", "/40", "x86_64", "flash");
        write(&usr, "30-arm.json", "/30", "aarch64", "flash");
        write(&usr, "20-memory.json", "/20", "x86_64", "memory");
        write(&etc, "60-a.json", "/etc60", "x86_64", "flash");
        std::fs::write(etc.join("50-b.json"), "").unwrap();
        std::fs::write(etc.join("10-bad.json"), "{").unwrap();
        let found = read(&[&usr, &etc, Path::new("/nowhere")], "x86_64");
        let codes: Vec<_> = found.iter().map(|firmware| firmware.code.as_str()).collect();
        assert_eq!(codes, ["/40", "/etc60"]);
        assert_eq!(
            (found[0].vars.as_str(), found[0].machines.as_slice()),
            ("/vars", &["pc-q35-*".to_owned()][..])
        );
    }
}
