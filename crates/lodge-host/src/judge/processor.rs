//! The processor's flags, KVM's modules, KVM's proof.

use crate::facts::{Cpu, Facts, Module, Modules};
use crate::kvm::KvmVerdict;
use crate::report::{Check, Status};

use super::{check, outer_name};

pub(super) fn checks(facts: &Facts, kvm: &KvmVerdict) -> Vec<Check> {
    let mut found = vec![flags(facts, kvm), outer(facts), modules(facts, kvm), proof(facts, kvm)];
    found.extend(nested(&facts.modules));
    found
}

/// What the seeds grep for.
fn flags(facts: &Facts, kvm: &KvmVerdict) -> Check {
    const SEEN: &str = "grep -E -o -w 'vmx|svm' /proc/cpuinfo | sort -u";
    let (cpu, title) = (&facts.cpu, "virtualization flags");
    let flag = match (cpu.vmx, cpu.svm) {
        (true, _) => Some("vmx (Intel VT-x)"),
        (_, true) => Some("svm (AMD-V)"),
        _ => None,
    };
    if let Some(flag) = flag {
        return check("cpu.flags", title, Status::Ok, format!("{flag}, by `{SEEN}`"), None);
    }
    let found = format!("neither vmx nor svm on this {}, by `{SEEN}`", processor(cpu));
    let status = if kvm.is_usable() { Status::Info } else { Status::Warn };
    check("cpu.flags", title, status, found, (!kvm.is_usable()).then(|| switch_on(facts)))
}

fn processor(cpu: &Cpu) -> &str {
    if cpu.model.is_empty() { "processor" } else { &cpu.model }
}

/// Where virtualization is switched on: in the outer hypervisor for a guest, in the firmware for a machine.
fn switch_on(facts: &Facts) -> String {
    if facts.cpu.hypervisor {
        return nested_outside(facts);
    }
    let menus = "power the machine off and on, enter its BIOS or UEFI set-up (usually Del, F2, F10 or Esc at power-on)";
    let after = "save, power off fully, start again, and run `lodge host check` once more";
    match facts.cpu.vendor.as_str() {
        "GenuineIntel" => format!(
            "{menus} and enable `Intel Virtualization Technology` (also called VT-x or VMX; under Advanced, CPU \
             Configuration, Processor or Security), and `VT-d` beside it for devices of guests; {after}"
        ),
        "AuthenticAMD" => format!(
            "{menus} and enable `SVM Mode` (also called AMD-V, Secure Virtual Machine or Virtualization; under \
             Advanced, CPU Configuration, or Overclocking, Advanced CPU Settings), and `IOMMU` beside it for devices \
             of guests; {after}"
        ),
        _ => format!("{menus} and enable the entry for virtualization (VT-x, SVM); {after}"),
    }
}

fn nested_outside(facts: &Facts) -> String {
    let how = match outer_name(&facts.hypervisor).as_deref() {
        Some(name) if name.starts_with("KVM") => {
            "on the outer host set `options kvm_intel nested=1` (or `kvm_amd`) in /etc/modprobe.d/kvm.conf and give this \
             guest `<cpu mode='host-passthrough'/>`; on a rented machine choose a size with nested virtualization, or \
             bare metal"
        }
        Some("VMware") => {
            "power this machine off and tick `Expose hardware assisted virtualization to the guest OS` in its CPU settings \
             (vhv.enable = \"TRUE\")"
        }
        Some("Hyper-V") => {
            "power this machine off and run on the outer host: `Set-VMProcessor -VMName NAME \
             -ExposeVirtualizationExtensions $true`"
        }
        Some("VirtualBox") => {
            "power this machine off and run on the outer host: `VBoxManage modifyvm NAME --nested-hw-virt on`"
        }
        Some("Xen") => "ask for `nestedhvm=1` in this guest's configuration",
        Some("QEMU (TCG)") => "give the outer QEMU `-cpu max`; guests inside will be slow all the same",
        _ => "ask whoever runs the outer hypervisor to allow nested virtualization for this machine",
    };
    format!("this machine is itself a guest, so its BIOS cannot help: {how}; until then guests run under TCG")
}

fn outer(facts: &Facts) -> Check {
    const SEEN: &str = "grep -c -w hypervisor /proc/cpuinfo";
    let dmi = facts.hypervisor.dmi.as_deref().map(|dmi| format!("; firmware: {dmi}")).unwrap_or_default();
    let container = facts.hypervisor.container.as_deref();
    let inside = container.map(|name| format!("; in a container ({name})")).unwrap_or_default();
    let found = match (facts.cpu.hypervisor, outer_name(&facts.hypervisor)) {
        (true, Some(name)) => {
            format!("flag hypervisor, by `{SEEN}`: this host is a guest of {name}{dmi}{inside}")
        }
        (true, None) => {
            format!("flag hypervisor, by `{SEEN}`: this host is a guest of something unnamed{inside}")
        }
        (false, _) => format!("no flag hypervisor, by `{SEEN}`: this host is no guest{dmi}{inside}"),
    };
    check("cpu.hypervisor", "the host's own hypervisor", Status::Info, found, None)
}

fn modules(facts: &Facts, kvm: &KvmVerdict) -> Check {
    let (modules, title) = (&facts.modules, "KVM modules");
    let word = |name: &str, module: Module| match module {
        Module::Loaded => format!("{name} loaded"),
        Module::BuiltIn => format!("{name} built in"),
        Module::Absent => format!("{name} absent"),
    };
    let mut words = vec![
        word("kvm", modules.kvm),
        word("kvm_intel", modules.kvm_intel),
        word("kvm_amd", modules.kvm_amd),
    ];
    words.extend(modules.other.iter().map(|name| format!("{name} present")));
    let seen = if modules.loadable {
        "by `lsmod | grep -i kvm`"
    } else {
        "by `ls -d /sys/module/kvm*`; this kernel has no loadable modules (no /proc/modules, so lsmod fails)"
    };
    let found = format!("{}, {seen}", words.join(", "));
    let vendors = modules.kvm_intel != Module::Absent || modules.kvm_amd != Module::Absent;
    if modules.kvm != Module::Absent && (vendors || kvm.is_usable()) {
        return check("kvm.modules", title, Status::Ok, found, None);
    }
    let has_flag = facts.cpu.vmx || facts.cpu.svm;
    let vendor = if facts.cpu.svm || facts.cpu.vendor == "AuthenticAMD" { "kvm_amd" } else { "kvm_intel" };
    let next = match (has_flag, modules.loadable && modules.on_disk, modules.loadable) {
        (false, ..) => None, // The flag comes first; its own finding says how.
        (true, true, _) => Some(format!(
            "`modprobe {vendor}`; should it answer `Operation not supported`, then `dmesg | grep -i kvm` says `disabled by \
             bios`: {}",
            switch_on(facts)
        )),
        (true, false, true) => Some(format!(
            "this kernel ({}) was installed without KVM's modules: install the distribution's full kernel \
             (`apt install linux-image-amd64`, not the cloud one) and reboot",
            facts.system.kernel
        )),
        (true, _, false) => {
            Some("this kernel was built without modules and without KVM: boot another one".to_owned())
        }
    };
    check("kvm.modules", title, if next.is_some() { Status::Warn } else { Status::Info }, found, next)
}

fn proof(facts: &Facts, kvm: &KvmVerdict) -> Check {
    let title = "/dev/kvm, by running guest code";
    let (status, found, next) = match kvm {
        KvmVerdict::Usable { guest_ns, slowdown, exit_ns } => (
            Status::Ok,
            format!(
                "usable: {guest_ns:.2} ns per guest instruction ({slowdown:.1} times the bare processor), {:.1} µs to the \
                 host and back",
                exit_ns / 1000.0
            ),
            None,
        ),
        KvmVerdict::Emulated { guest_ns, slowdown, .. } => (
            Status::Warn,
            format!(
                "present but emulated: {guest_ns:.0} ns per guest instruction, {slowdown:.0} times slower than the bare \
                 processor; no ordinary guest boots under it"
            ),
            Some(emulated_step(facts)),
        ),
        KvmVerdict::Absent => (Status::Warn, "absent: there is no /dev/kvm".to_owned(), absent_step(facts)),
        KvmVerdict::Denied { error } => (
            Status::Warn,
            format!("no permission: {error}"),
            Some("`usermod -aG kvm USER` as root, then log in anew (see `ls -l /dev/kvm`), or run the daemon as root".to_owned()),
        ),
        KvmVerdict::Broken { error } => (
            Status::Warn,
            format!("broken: {error}"),
            Some(
                "see `dmesg | grep -i kvm`; another hypervisor that holds the processor (VirtualBox, VMware) must be \
                 stopped; until then guests run under TCG"
                    .to_owned(),
            ),
        ),
    };
    check("kvm.run", title, status, found, next)
}

fn emulated_step(facts: &Facts) -> String {
    let module = facts.modules.other.first().map(|name| format!(" (module {name})")).unwrap_or_default();
    let speed =
        if facts.cpu.vmx || facts.cpu.svm { nested_outside(facts) } else { "see cpu.flags".to_owned() };
    format!(
        "nothing to mend in this system{module}: use TCG, as Lodge does by itself; for more speed {speed}"
    )
}

/// The flags' and modules' findings say the step; this one speaks up only where they are fine.
fn absent_step(facts: &Facts) -> Option<String> {
    let vendors = facts.modules.kvm_intel != Module::Absent || facts.modules.kvm_amd != Module::Absent;
    if !vendors {
        return None;
    }
    Some(match &facts.hypervisor.container {
        Some(name) => format!("this is a container ({name}): give it the device (`--device /dev/kvm`)"),
        None => "`mknod /dev/kvm c 10 232` or `udevadm trigger /dev/kvm` makes the node".to_owned(),
    })
}

fn nested(modules: &Modules) -> Option<Check> {
    let found = if modules.nested? {
        "guests may be hypervisors themselves (parameter nested is on)"
    } else {
        "guests cannot be hypervisors themselves; `options kvm_intel nested=1` (or kvm_amd) in \
         /etc/modprobe.d/kvm.conf would allow it"
    };
    Some(check("kvm.nested", "nested virtualization", Status::Info, found, None))
}
