//! Elements that no argument comes of, and why. A test holds the table complete: see `tests/it/explain.rs`.

use lodge_model::domain::Domain;
use lodge_model::xml::{WriteOptions, element_paths};

use super::Without;

/// Where an element is that has its effect in an argument of another's, or none on QEMU. By the path's beginning, the
/// longer first.
const REASONS: &[(&str, &str)] = &[
    ("/domain/title", "kept for people and programs"),
    ("/domain/description", "kept for people and programs"),
    ("/domain/metadata", "kept for people and programs"),
    ("/domain/maxMemory", "within -m: how far modules can let memory grow"),
    ("/domain/currentMemory", "as much as <memory>: the balloon takes nothing"),
    ("/domain/memoryBacking", "within the memory's -object"),
    ("/domain/blkiotune", HOST_LIMITS),
    ("/domain/memtune", HOST_LIMITS),
    ("/domain/cputune", HOST_LIMITS),
    ("/domain/numatune", HOST_LIMITS),
    ("/domain/resource", "the group of the host's that QEMU is counted in"),
    ("/domain/vcpus", "within -smp"),
    ("/domain/iothreads", "none are asked for"),
    ("/domain/iothreadids", "within the -object of each iothread"),
    ("/domain/defaultiothread", "as QEMU has it by itself"),
    ("/domain/throttlegroups", "no group is in it"),
    ("/domain/sysinfo", "given to the guest only with <os><smbios mode='sysinfo'/>"),
    ("/domain/bootloader", FOREIGN),
    ("/domain/idmap", FOREIGN),
    ("/domain/os/boot", "within the bootindex of the devices"),
    ("/domain/os/bootmenu", "within -boot"),
    ("/domain/os/bios", "within -boot and -machine"),
    ("/domain/os/firmware", "by it the <loader> was chosen"),
    ("/domain/os/smbios", "as the firmware has it by itself"),
    ("/domain/os/loader", "no firmware of its own is asked for"),
    ("/domain/os/nvram", "no variables of its own are asked for"),
    ("/domain/os/init", FOREIGN),
    ("/domain/features", "within -machine and -cpu"),
    ("/domain/clock", "within -rtc"),
    ("/domain/on_", "what the daemon does when it happens"),
    ("/domain/pm", "as the machine has it by itself"),
    ("/domain/perf", "counted by the host's kernel beside QEMU"),
    ("/domain/seclabel", "whom QEMU runs as"),
    ("/domain/commandline", "variables of QEMU's environment"),
    ("/domain/capabilities", "without effect: what QEMU can do is asked of QEMU itself"),
    ("/domain/override", "within the -device of the alias that it names"),
    ("/domain/deprecation", "as QEMU has it by itself"),
    ("/domain/devices/emulator", "the program itself"),
    ("/domain/devices/controller", "part of the machine"),
    ("/domain/devices/console", "the first serial port by another name"),
    ("/domain/devices/input", "part of the machine"),
    ("/domain/devices/memballoon", "model='none': the guest has none"),
    ("/domain/devices/iommu", "within -machine"),
    ("/domain/devices/video", "type='none': the guest has none"),
    ("/domain/devices/panic", "model='hyperv': within -cpu, under KVM"),
    ("/domain/devices/audio", "no sound is asked for"),
    ("/domain/devices/sound", "within -machine"),
    ("/domain/devices/lease", "kept, without effect: the lock of a lock manager"),
    ("/domain/devices/hostdev", "not there, and it may be missing (startupPolicy)"),
    ("/domain/devices/channel", SPICE),
    ("/domain/devices/redirdev", SPICE),
    ("/domain/devices/redirfilter", "within the redirdevs' filter"),
    ("/domain/devices/smartcard", SPICE),
];

const HOST_LIMITS: &str = "set on the host beside QEMU: the guest's cgroup and threads";
const FOREIGN: &str = "kept, without effect: not of this hypervisor";
const SPICE: &str = "left out: it comes over SPICE, which this guest's screen does not have here";

/// What is told of an element that is not in the table.
pub(super) const UNTOLD: &str = "nothing of QEMU's comes of it";

/// Those of `document`. `used`: the elements of arguments.
pub(super) fn without(
    document: &Domain,
    used: &[&str],
    alias: impl Fn(&str) -> Option<String>,
) -> Vec<Without> {
    let used: Vec<String> = used.iter().map(|element| counted(element)).collect();
    let has_argument = |element: &str| {
        let element = counted(element);
        used.iter().any(|used| {
            used.strip_prefix(&element).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let paths = element_paths(&document.to_xml(&WriteOptions::default()));
    let told = paths.into_iter().filter(|path| is_told(path) && !has_argument(path));
    let without = |path: String| {
        let reason =
            REASONS.iter().filter(|(known, _)| path.starts_with(known)).max_by_key(|(known, _)| known.len());
        let element =
            if is_device(&path) && !path.ends_with(']') { path.clone() + "[1]" } else { path.clone() };
        let element = if alias(&element).is_some() { element } else { path.clone() };
        Without { alias: alias(&element), element, reason: reason.map_or(UNTOLD, |(_, reason)| reason) }
    };
    told.map(without).collect()
}

/// The document's own elements, the parts of `<os>`, and devices.
fn is_told(path: &str) -> bool {
    let steps: Vec<&str> = path.split('/').skip(1).collect();
    match steps[..] {
        ["domain", "os" | "devices"] => false,
        ["domain", _] | ["domain", "os" | "devices", _] => true,
        _ => false,
    }
}

fn is_device(path: &str) -> bool {
    path.starts_with("/domain/devices/")
}

/// A path with a number at each step, and without namespaces, attributes and conditions: for comparison.
fn counted(path: &str) -> String {
    let steps = path.split('/').skip(1).filter(|step| !step.starts_with('@'));
    steps.fold(String::new(), |path, step| {
        let (name, number) = step.split_once('[').unwrap_or((step, "1]"));
        let number = if number.starts_with('@') { "1]" } else { number };
        let name = name.rsplit(':').next().unwrap_or(name);
        path + "/" + name + "[" + number
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_step_by_step() {
        assert_eq!(counted("/domain/devices/disk[2]/source"), "/domain[1]/devices[1]/disk[2]/source[1]");
        assert_eq!(counted("/domain/clock/timer[@name='rtc']"), "/domain[1]/clock[1]/timer[1]");
        assert_eq!(counted("/domain/qemu:commandline/qemu:arg[2]"), "/domain[1]/commandline[1]/arg[2]");
        assert_eq!(counted("/domain/@type"), "/domain[1]");
    }
}
