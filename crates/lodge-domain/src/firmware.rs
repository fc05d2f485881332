//! Which UEFI images the host has for a guest's flash, as libvirt chooses among them.
//!
//! Deliberately absent: reading the descriptors (lodge-qemu), choosing one (lodge-model), and what is no flash image of
//! two files.

use lodge_model::domain::Firmware;
use lodge_qemu::firmware::{Descriptor, descriptors};

/// The host's images for this architecture, the preferred one first.
pub(crate) fn installed(arch: &str) -> Vec<Firmware> {
    descriptors().into_iter().filter_map(|descriptor| split_flash(descriptor, arch)).collect()
}

fn split_flash(descriptor: Descriptor, arch: &str) -> Option<Firmware> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn described(arch: &str, device: &str, mode: &str) -> Option<Firmware> {
        let descriptor = serde_json::json!({
            "interface-types": ["uefi"], "features": ["acpi-s3"],
            "mapping": {
                "device": device, "mode": mode,
                "executable": { "filename": "/code", "format": "raw" },
                "nvram-template": { "filename": "/vars", "format": "raw" },
            },
            "targets": [{ "architecture": arch, "machines": ["pc-q35-*"] }],
        });
        split_flash(serde_json::from_value(descriptor).unwrap(), "x86_64")
    }

    #[test]
    fn only_flash_in_two_files_for_the_architecture_counts() {
        let found = described("x86_64", "flash", "split").unwrap();
        assert_eq!((found.code.as_str(), found.vars.as_str()), ("/code", "/vars"));
        assert_eq!(found.machines, ["pc-q35-*"]);
        assert_eq!(described("aarch64", "flash", "split"), None);
        assert_eq!(described("x86_64", "memory", "split"), None);
        assert_eq!(described("x86_64", "flash", "stateless"), None);
    }
}
