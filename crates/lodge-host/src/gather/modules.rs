//! KVM's kernel modules, also where the kernel has no loadable modules at all.

use std::path::Path;

use crate::facts::{Module, Modules};

use super::{names, text};

pub(super) fn modules() -> Modules {
    let loaded = std::fs::read_to_string("/proc/modules").ok();
    let sysfs = names("/sys/module");
    let parameter = |module: &str| text(format!("/sys/module/{module}/parameters/nested"));
    let release = rustix::system::uname();
    let directory = Path::new("/lib/modules").join(release.release().to_string_lossy().as_ref());
    Modules {
        nested: nested(&parameter("kvm_intel")).or(nested(&parameter("kvm_amd"))),
        on_disk: text(directory.join("modules.dep")).contains("/kvm.ko"),
        ..sort(loaded.as_deref(), &sysfs)
    }
}

/// `/proc/modules` names what was loaded; `/sys/module` names that and what is built in.
fn sort(loaded: Option<&str>, sysfs: &[String]) -> Modules {
    let is_loaded =
        |name: &str| loaded.is_some_and(|list| list.lines().any(|line| line.split(' ').next() == Some(name)));
    let state = |name: &str| match (is_loaded(name), sysfs.iter().any(|known| known == name)) {
        (true, _) => Module::Loaded,
        (false, true) => Module::BuiltIn,
        (false, false) => Module::Absent,
    };
    let named = ["kvm_intel", "kvm_amd"];
    Modules {
        loadable: loaded.is_some(),
        kvm: state("kvm"),
        kvm_intel: state("kvm_intel"),
        kvm_amd: state("kvm_amd"),
        other: sysfs
            .iter()
            .filter(|name| name.starts_with("kvm_") && !named.contains(&name.as_str()))
            .cloned()
            .collect(),
        nested: None,
        on_disk: false,
    }
}

/// `Y`, `N`, `1` or `0`.
fn nested(parameter: &str) -> Option<bool> {
    match parameter.trim() {
        "Y" | "1" => Some(true),
        "N" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loaded_and_built_in_are_told_apart() {
        let sysfs = ["kvm", "kvm_amd", "kvm_pvm"].map(str::to_owned);
        let modules = sort(Some("kvm 1175552 1 kvm_amd, Live 0x0\n"), &sysfs);
        assert_eq!(
            (modules.kvm, modules.kvm_amd, modules.kvm_intel),
            (Module::Loaded, Module::BuiltIn, Module::Absent)
        );
        assert_eq!(modules.other, ["kvm_pvm"]);
        assert!(!sort(None, &sysfs).loadable);
    }
}
