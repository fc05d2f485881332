//! `<features>`: what clients ask about beside devices.

use lodge_model::markup::Markup;
use lodge_qemu::Processor;

use super::choices;

/// libvirt's words for what Hyper-V tells its guests. QEMU writes the same with hyphens, behind `hv-`.
const HYPERV: [&str; 17] = [
    "relaxed",
    "vapic",
    "spinlocks",
    "vpindex",
    "runtime",
    "synic",
    "stimer",
    "reset",
    "vendor_id",
    "frequencies",
    "reenlightenment",
    "tlbflush",
    "ipi",
    "evmcs",
    "avic",
    "emsr_bitmap",
    "xmm_input",
];

/// Writes them. `under_kvm`: the processor that KVM gives; without one the guest is emulated, and QEMU's emulation tells
/// a guest nothing in Hyper-V's manner. `security`: which sorts of launch security there are, all of them KVM's.
pub(super) fn features(
    text: &mut Markup,
    (arch, machine): (&str, &str),
    under_kvm: Option<&Processor>,
    security: &[String],
) {
    let is_pc = matches!(arch, "x86_64" | "i686");
    let has = |there| if there { "yes" } else { "no" };
    let all = [
        ("vmcoreinfo", "yes"),
        ("genid", has(is_pc)),
        ("backingStoreInput", "yes"),
        ("backup", "no"),
        ("async-teardown", "no"),
        ("ps2", has(is_pc && machine != "microvm")),
        ("sev", "no"),
        ("sgx", "no"),
    ];
    text.start("features", &[]);
    if matches!(arch, "aarch64" | "armv7l") {
        text.start("gic", &[("supported", &"yes")]);
        choices(text, "version", &["2", "3"]);
        text.end();
    } else {
        text.empty("gic", &[("supported", &"no")]);
    }
    for (name, supported) in all {
        text.empty(name, &[("supported", &supported)]);
    }
    let told = |name: &&str| under_kvm.is_some_and(|cpu| cpu.hyperv.contains(&name.replace('_', "-")));
    let hyperv: Vec<&str> = HYPERV.into_iter().filter(told).collect();
    if !is_pc {
        // It is a PC's alone.
    } else if hyperv.is_empty() {
        text.empty("hyperv", &[("supported", &"no")]);
    } else {
        text.start("hyperv", &[("supported", &"yes")]);
        choices(text, "features", &hyperv);
        text.end();
    }
    let security: Vec<&str> = security.iter().map(String::as_str).filter(|_| under_kvm.is_some()).collect();
    if security.is_empty() {
        text.empty("launchSecurity", &[("supported", &"no")]);
    } else {
        text.start("launchSecurity", &[("supported", &"yes")]);
        choices(text, "sectype", &security);
        text.end();
    }
    text.end();
}
