//! The processor and what this host itself runs on.

use crate::facts::{Cpu, Hypervisor};

use super::text;

pub(super) fn cpu() -> Cpu {
    parse(&text("/proc/cpuinfo"))
}

/// `/proc/cpuinfo`: blocks of `key\t: value`, one per processor, all alike but for the numbers.
fn parse(cpuinfo: &str) -> Cpu {
    let field = |wanted: &str| {
        let mut pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(key, _)| key.trim() == wanted).map(|(_, value)| value.trim()).unwrap_or_default()
    };
    let flags: Vec<&str> = field("flags").split_ascii_whitespace().collect();
    let has = |flag| flags.contains(&flag);
    Cpu {
        vendor: field("vendor_id").to_owned(),
        model: field("model name").to_owned(),
        count: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
        vmx: has("vmx"),
        svm: has("svm"),
        hypervisor: has("hypervisor"),
    }
}

/// CPUID leaf 0x4000_0000 means something only where the flag `hypervisor` is set.
pub(super) fn hypervisor(flag: bool) -> Hypervisor {
    let word = |path: &str| Some(text(path).trim().to_owned()).filter(|word| !word.is_empty());
    let dmi: Vec<String> = ["sys_vendor", "product_name"]
        .iter()
        .filter_map(|name| word(&format!("/sys/class/dmi/id/{name}")))
        .collect();
    Hypervisor {
        signature: flag.then(signature).flatten(),
        sysfs: word("/sys/hypervisor/type"),
        dmi: Some(dmi.join(" ")).filter(|dmi| !dmi.is_empty()),
        container: container(),
    }
}

#[cfg(target_arch = "x86_64")]
fn signature() -> Option<String> {
    let leaf = std::arch::x86_64::__cpuid(0x4000_0000);
    let bytes: Vec<u8> = [leaf.ebx, leaf.ecx, leaf.edx].iter().flat_map(|word| word.to_le_bytes()).collect();
    let text: String =
        bytes.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect();
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(not(target_arch = "x86_64"))]
fn signature() -> Option<String> {
    None
}

/// The marks that container runtimes leave (systemd's container interface, Docker, Podman).
fn container() -> Option<String> {
    let told = text("/run/systemd/container");
    let marks = [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")];
    let marked = marks.iter().find(|(path, _)| std::path::Path::new(path).exists());
    Some(told.trim().to_owned())
        .filter(|name| !name.is_empty())
        .or(marked.map(|(_, name)| (*name).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn flags_are_whole_words() {
        let cpu = parse(
            "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)\nvmx flags\t: vnmi\n\
             flags\t\t: fpu vmx_like ssvm hypervisor\n\nprocessor\t: 1\nvendor_id\t: GenuineIntel\n",
        );
        assert_eq!((cpu.vmx, cpu.svm, cpu.hypervisor), (false, false, true));
        assert_eq!(
            (cpu.count, cpu.vendor.as_str(), cpu.model.as_str()),
            (2, "GenuineIntel", "Intel(R) Xeon(R)")
        );
        assert!(parse("flags : vmx").vmx);
    }
}
