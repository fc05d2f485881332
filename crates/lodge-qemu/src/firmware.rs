//! QEMU's firmware descriptors (docs/interop/firmware.json): which images the host has, and for which machines.
//!
//! A file in `/etc` stands for one of the same name in `/usr/share`, an empty one hides it; their names give the order
//! of preference. Deliberately absent: choosing one (lodge-model for a guest, lodge-host for what it offers).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The directories, a later one standing for an earlier one.
const DIRECTORIES: [&str; 2] = ["/usr/share/qemu/firmware", "/etc/qemu/firmware"];
/// The longest file that is taken for a descriptor.
const LONGEST_BYTES: u64 = 64 << 10;

/// One descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Descriptor {
    /// `uefi`, `bios`.
    #[serde(rename = "interface-types")]
    pub interfaces: Vec<String>,
    /// The image's files.
    pub mapping: Mapping,
    /// What it runs on.
    pub targets: Vec<Target>,
    /// `secure-boot`, `enrolled-keys` ….
    #[serde(default)]
    pub features: Vec<String>,
}

/// Where an image lies and how it is given to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mapping {
    /// `flash`, `kernel` or `memory`.
    pub device: String,
    /// Of flash: `split`, `combined` or `stateless`; none: split.
    pub mode: Option<String>,
    /// Of flash: the program.
    pub executable: Option<Image>,
    /// Of split flash: the template of a guest's variables.
    pub nvram_template: Option<Image>,
    /// Of the others: the program.
    pub filename: Option<String>,
}

/// An image's file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Image {
    /// Its path.
    pub filename: String,
}

/// An architecture and the machines of it, as patterns whose only wildcard is a star at the end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Target {
    /// `x86_64`.
    pub architecture: String,
    /// `pc-q35-*`.
    pub machines: Vec<String>,
}

impl Descriptor {
    /// The program's file.
    pub fn program(&self) -> Option<&str> {
        let executable = self.mapping.executable.as_ref().map(|image| image.filename.as_str());
        executable.or(self.mapping.filename.as_deref())
    }

    /// Whether it is for this machine.
    pub fn fits(&self, arch: &str, machine: &str) -> bool {
        let is_one = |pattern: &String| {
            pattern.strip_suffix('*').map_or(pattern == machine, |start| machine.starts_with(start))
        };
        self.targets.iter().any(|target| target.architecture == arch && target.machines.iter().any(is_one))
    }
}

/// The host's descriptors, the preferred first.
pub fn descriptors() -> Vec<Descriptor> {
    read(&DIRECTORIES.map(Path::new))
}

fn read(directories: &[&Path]) -> Vec<Descriptor> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for directory in directories {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "json") {
                files.insert(entry.file_name(), entry.path());
            }
        }
    }
    files.values().filter_map(|path| descriptor(path)).collect()
}

fn descriptor(path: &Path) -> Option<Descriptor> {
    let length = std::fs::metadata(path).ok()?.len();
    if length == 0 || length > LONGEST_BYTES {
        return None;
    }
    let text = std::fs::read(path).ok()?;
    serde_json::from_slice(&text)
        .inspect_err(
            |error| tracing::warn!(path = %path.display(), %error, "a firmware descriptor is not understood"),
        )
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, code: &str) {
        let text = format!(
            r#"{{"description": "", "interface-types": ["uefi"], "tags": [], "features": ["acpi-s3"],
            "mapping": {{"device": "flash", "executable": {{"filename": "{code}", "format": "raw"}},
            "nvram-template": {{"filename": "/vars", "format": "raw"}}}},
            "targets": [{{"architecture": "x86_64", "machines": ["pc-q35-*", "microvm"]}}]}}"#
        );
        std::fs::write(dir.join(name), text).unwrap();
    }

    #[test]
    fn descriptors_are_read_in_the_order_of_their_names_and_stand_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let (usr, etc) = (dir.path().join("usr"), dir.path().join("etc"));
        std::fs::create_dir(&usr).unwrap();
        std::fs::create_dir(&etc).unwrap();
        write(&usr, "60-a.json", "/60");
        write(&usr, "50-b.json", "/50");
        write(&usr, "40-c.json", "/40");
        write(&etc, "60-a.json", "/etc60");
        std::fs::write(etc.join("50-b.json"), "").unwrap();
        std::fs::write(etc.join("10-bad.json"), "{").unwrap();
        let found = read(&[&usr, &etc, Path::new("/nowhere")]);
        let programs: Vec<_> = found.iter().filter_map(Descriptor::program).collect();
        assert_eq!(programs, ["/40", "/etc60"]);
    }

    #[test]
    fn a_star_stands_for_the_rest_of_a_machine() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.json", "/a");
        let found = &read(&[dir.path()])[0];
        assert!(found.fits("x86_64", "pc-q35-10.0") && found.fits("x86_64", "microvm"));
        assert!(!found.fits("x86_64", "pc-i440fx-10.0") && !found.fits("x86_64", "microvm2"));
        assert!(!found.fits("aarch64", "microvm"));
    }
}
