//! What keeps a guest's memory from its host: AMD's SEV and SEV-SNP, Intel's TDX. Which of it this host has, and what it
//! lacks of the rest.

use std::path::Path;

use lodge_qemu::Capabilities;

/// The kinds, each with its object of QEMU's.
const KINDS: [(&str, &str); 3] = [("sev", "sev-guest"), ("sev-snp", "sev-snp-guest"), ("tdx", "tdx-guest")];

/// Those that this host and its QEMU have.
pub fn kinds(qemu: &Capabilities) -> Vec<String> {
    let has =
        |(kind, object): &(&str, &str)| qemu.has_object(object) && lacking(Path::new("/"), kind).is_none();
    KINDS.iter().filter(|known| has(known)).map(|(kind, _)| (*kind).to_owned()).collect()
}

/// What this host lacks of a kind; none: nothing. `root`: `/`, or a tree made for a test.
pub(crate) fn lacking(root: &Path, kind: &str) -> Option<String> {
    let (module, parameter) = match kind {
        "sev" => ("kvm_amd", "sev"),
        "sev-snp" => ("kvm_amd", "sev_snp"),
        "tdx" => ("kvm_intel", "tdx"),
        _ => return Some(format!("`{kind}` is no PC's")),
    };
    let path = format!("sys/module/{module}/parameters/{parameter}");
    match std::fs::read_to_string(root.join(&path)) {
        Ok(text) if matches!(text.trim(), "Y" | "1") => {}
        Ok(_) => return Some(format!("{module} has it switched off (/{path})")),
        Err(_) => return Some(format!("its processor or its kernel has none (there is no /{path})")),
    }
    let is_missing = kind != "tdx" && !root.join(DEVICE).exists();
    is_missing.then(|| format!("there is no /{DEVICE}"))
}

/// The device of AMD's, below the root.
pub(crate) const DEVICE: &str = "dev/sev";

/// Where the bit is that says that memory is encrypted, and how many bits of addresses it costs (CPUID, leaf 0x8000001f).
#[cfg(target_arch = "x86_64")]
pub(crate) fn encryption_bit() -> Option<(u32, u32)> {
    use std::arch::x86_64::__cpuid_count;
    const LEAF: u32 = 0x8000_001f;
    if __cpuid_count(0x8000_0000, 0).eax < LEAF {
        return None;
    }
    let told = __cpuid_count(LEAF, 0);
    let has_sev = told.eax & (1 << 1) != 0;
    has_sev.then_some((told.ebx & 0x3f, (told.ebx >> 6) & 0x3f))
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn encryption_bit() -> Option<(u32, u32)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let put = |path: &str, text: &str| {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), text).unwrap();
        };
        assert!(lacking(root, "sev").unwrap().contains("there is no /sys/module/kvm_amd/parameters/sev"));
        put("sys/module/kvm_amd/parameters/sev", "N\n");
        assert!(lacking(root, "sev").unwrap().contains("switched off"));
        put("sys/module/kvm_amd/parameters/sev", "Y\n");
        assert_eq!(lacking(root, "sev").as_deref(), Some("there is no /dev/sev"));
        put(DEVICE, "");
        assert_eq!(lacking(root, "sev"), None);
        assert!(lacking(root, "sev-snp").is_some() && lacking(root, "s390-pv").is_some());
        put("sys/module/kvm_intel/parameters/tdx", "1\n");
        assert_eq!(lacking(root, "tdx"), None);
    }
}
