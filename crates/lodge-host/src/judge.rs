//! From facts to findings. Pure: no host is touched, so each kind of host is a line of a table in the tests.

use crate::facts::{Facts, Hypervisor};
use crate::kvm::KvmVerdict;
use crate::report::{Check, HostReport, Status, Verdict};

mod host;
mod processor;
mod qemu;
mod rooms;

/// Draws every finding from the facts.
pub fn judge(facts: Facts, kvm: KvmVerdict) -> HostReport {
    let mut checks = Vec::new();
    checks.extend(processor::checks(&facts, &kvm));
    checks.extend(qemu::checks(&facts));
    checks.extend(rooms::checks(&facts));
    checks.extend(host::checks(&facts));
    let verdict = match (checks.iter().any(|check| check.status == Status::Miss), kvm.is_usable()) {
        (true, _) => Verdict::Missing,
        (false, true) => Verdict::Ready,
        (false, false) => Verdict::Slow,
    };
    HostReport {
        verdict,
        summary: summary(verdict, &kvm, &checks),
        hypervisor: hypervisor_type(&facts, &kvm),
        kvm,
        checks,
        facts,
    }
}

/// A finding; the words of the next step, where there is one.
fn check(id: &str, title: &str, status: Status, found: impl Into<String>, next: Option<String>) -> Check {
    Check { id: id.to_owned(), title: title.to_owned(), status, found: found.into(), next_step: next }
}

fn summary(verdict: Verdict, kvm: &KvmVerdict, checks: &[Check]) -> String {
    match verdict {
        Verdict::Ready => "guests run with the processor's help (KVM)".to_owned(),
        Verdict::Slow => {
            format!("guests run by emulation (QEMU's TCG), 10 to 30 times slower: {}", kvm.why())
        }
        Verdict::Missing => {
            let missing = checks.iter().filter(|check| check.status == Status::Miss);
            let titles: Vec<_> = missing.map(|check| check.title.as_str()).collect();
            format!("guests cannot run yet; mend first: {}", titles.join(", "))
        }
    }
}

/// Type 1 runs on the hardware, type 2 on an operating system; KVM is both, by the way one looks.
fn hypervisor_type(facts: &Facts, kvm: &KvmVerdict) -> String {
    let under = match outer_name(&facts.hypervisor) {
        Some(name) if facts.cpu.hypervisor => format!(" This host is itself a guest of {name}."),
        _ if facts.cpu.hypervisor => {
            " This host is itself a guest of a hypervisor that does not say its name.".to_owned()
        }
        _ => String::new(),
    };
    if facts.hypervisor.sysfs.as_deref() == Some("xen") && !facts.cpu.hypervisor {
        return "type 1: this kernel is Xen's control domain; Xen runs on the hardware below it. Lodge's guests run \
                inside this domain."
            .to_owned();
    }
    if kvm.is_usable() {
        format!(
            "type 1 and type 2 at once: KVM makes this Linux kernel itself the hypervisor, right on the processor (type \
             1), and each guest is a QEMU process of an ordinary operating system (type 2).{under}"
        )
    } else {
        format!(
            "type 2: without a usable KVM each guest is an ordinary program (QEMU) of this operating system, which \
             translates the guest's code (TCG).{under}"
        )
    }
}

/// The outer hypervisor's name, by its CPUID signature, else by what the firmware says.
fn outer_name(outer: &Hypervisor) -> Option<String> {
    let known = |signature: &str| {
        match signature {
            "KVMKVMKVM" => "KVM",
            "Linux" | "LinuxKVMHv" => "KVM (with Hyper-V's interface)",
            "VMwareVMware" => "VMware",
            "MicrosoftHv" => "Hyper-V",
            "XenVMMXenVMM" => "Xen",
            "VBoxVBoxVBox" => "VirtualBox",
            "TCGTCGTCGTCG" => "QEMU (TCG)",
            "bhyvebhyve" => "bhyve",
            "prlhyperv" => "Parallels",
            "ACRNACRNACRN" => "ACRN",
            "QNXQVMBSQG" => "QNX",
            other => other,
        }
        .to_owned()
    };
    outer.signature.as_deref().map(known).or_else(|| outer.dmi.clone()).or_else(|| outer.sysfs.clone())
}

#[cfg(test)]
mod tests;
