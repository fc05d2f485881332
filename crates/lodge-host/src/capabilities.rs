//! `capabilities`: what this host is, and which guests it can have. libvirt's document, from live facts.
//!
//! Deliberately absent: guests and machines that Lodge's starts refuse. libvirtd lists all that QEMU has; a document
//! that a start would then refuse by name helps nobody.

use lodge_model::markup::Markup;
use lodge_qemu::Capabilities;

use crate::cpu::HostCpu;
use crate::node::Node;

/// What the document is made of.
#[derive(Debug)]
pub struct HostDocument<'a> {
    /// The host's identity.
    pub uuid: uuid::Uuid,
    /// Its processor.
    pub cpu: &'a HostCpu,
    /// Where the rest is read.
    pub node: &'a Node,
    /// Its QEMU.
    pub qemu: &'a Capabilities,
    /// Those for other architectures.
    pub others: &'a [std::sync::Arc<Capabilities>],
    /// Guests may run under KVM.
    pub kvm: bool,
}

impl HostDocument<'_> {
    /// The text.
    pub fn to_xml(&self) -> String {
        let mut text = Markup::new();
        text.start("capabilities", &[]);
        text.gap();
        self.host(&mut text);
        text.gap();
        let mut qemus: Vec<&Capabilities> = self.others.iter().map(AsRef::as_ref).collect();
        qemus.extend(self.qemu.is_present().then_some(self.qemu));
        qemus.sort_by_key(|qemu| ORDER.iter().position(|arch| *arch == qemu.arch()));
        for qemu in qemus {
            self.guest(&mut text, qemu);
            text.gap();
        }
        text.finish()
    }

    fn host(&self, text: &mut Markup) {
        text.start("host", &[]);
        text.leaf("uuid", &[], self.uuid);
        self.processor(text);
        text.empty("power_management", &[]);
        let iommu = if self.node.has_iommu() { "yes" } else { "no" };
        text.empty("iommu", &[("support", &iommu)]);
        self.topology(text);
        self.caches(text);
        text.start("secmodel", &[]);
        text.leaf("model", &[], "none");
        text.leaf("doi", &[], "0");
        text.end();
        text.end();
    }

    fn processor(&self, text: &mut Markup) {
        let cpu = self.cpu;
        let shape = self.node.summary();
        text.start("cpu", &[]);
        text.leaf("arch", &[], &shape.model);
        let description = cpu.description.as_ref();
        if let Some(model) = description.and_then(|description| description.model.as_ref()) {
            text.leaf("model", &[], model);
        }
        if let Some(vendor) = description.and_then(|description| description.vendor.as_ref()) {
            text.leaf("vendor", &[], vendor);
        }
        if cpu.microcode > 0 {
            text.empty("microcode", &[("version", &cpu.microcode)]);
        }
        if let Some((family, model, stepping)) = &cpu.signature {
            text.empty("signature", &[("family", family), ("model", model), ("stepping", stepping)]);
        }
        let steady = crate::cpu::table().own_feature("invtsc").is_some_and(|feature| cpu.bits.has(feature));
        if let Some((kvm, khz)) =
            cpu.kvm.as_ref().filter(|_| steady).and_then(|kvm| Some((kvm, kvm.tsc_khz?)))
        {
            let scaling = if kvm.tsc_scaling { "yes" } else { "no" };
            let frequency = u64::from(khz) * 1000;
            text.empty("counter", &[("name", &"tsc"), ("frequency", &frequency), ("scaling", &scaling)]);
        }
        let dies = 1;
        text.empty(
            "topology",
            &[
                ("sockets", &shape.sockets),
                ("dies", &dies),
                ("clusters", &1),
                ("cores", &shape.cores),
                ("threads", &shape.threads),
            ],
        );
        if let Some(bits) = &cpu.address_bits {
            text.empty("maxphysaddr", &[("mode", &"emulate"), ("bits", bits)]);
        }
        if let Some(description) = description {
            description.write_features(text);
        }
        for kib in self.node.page_sizes() {
            text.empty("pages", &[("unit", &"KiB"), ("size", &kib)]);
        }
        text.end();
    }

    fn topology(&self, text: &mut Markup) {
        let cells = self.node.cells();
        text.start("topology", &[]);
        text.start("cells", &[("num", &cells.len())]);
        for cell in &cells {
            text.start("cell", &[("id", &cell.id)]);
            let memory = self.node.cell_figure(cell.id, "MemTotal").unwrap_or_default();
            text.leaf("memory", &[("unit", &"KiB")], memory);
            for page in self.node.cell_pages(cell.id) {
                text.leaf("pages", &[("unit", &"KiB"), ("size", &page.kib)], page.count);
            }
            if !cell.distances.is_empty() {
                text.start("distances", &[]);
                for (id, value) in &cell.distances {
                    text.empty("sibling", &[("id", id), ("value", value)]);
                }
                text.end();
            }
            text.start("cpus", &[("num", &cell.cpus.len())]);
            for id in &cell.cpus {
                match self.node.place(*id) {
                    Some(place) => text.empty(
                        "cpu",
                        &[
                            ("id", id),
                            ("socket_id", &place.socket),
                            ("die_id", &place.die),
                            ("cluster_id", &place.cluster),
                            ("core_id", &place.core),
                            ("siblings", &place.siblings),
                        ],
                    ),
                    None => text.empty("cpu", &[("id", id)]),
                }
            }
            text.end();
            text.end();
        }
        text.end();
        text.end();
    }

    fn caches(&self, text: &mut Markup) {
        let banks = self.node.caches();
        if banks.is_empty() {
            return;
        }
        text.start("cache", &[]);
        for bank in banks {
            let (size, unit) = if bank.size_kib.is_multiple_of(1024) {
                (bank.size_kib / 1024, "MiB")
            } else {
                (bank.size_kib, "KiB")
            };
            text.empty(
                "bank",
                &[
                    ("id", &bank.id),
                    ("level", &bank.level),
                    ("type", &bank.kind),
                    ("size", &size),
                    ("unit", &unit),
                    ("cpus", &bank.cpus),
                ],
            );
        }
        text.end();
    }

    fn guest(&self, text: &mut Markup, qemu: &Capabilities) {
        let arch = qemu.arch();
        let is_pc = matches!(arch, "x86_64" | "i686");
        text.start("guest", &[]);
        text.leaf("os_type", &[], "hvm");
        text.start("arch", &[("name", &arch)]);
        text.leaf("wordsize", &[], if arch.ends_with("64") { 64 } else { 32 });
        text.leaf("emulator", &[], qemu.binary.display());
        let is_first = |machine: &&lodge_qemu::qmp::Machine| {
            machine.is_default || (!is_pc && machine.alias.as_deref().unwrap_or(&machine.name) == "virt")
        };
        let (mut machines, others): (Vec<_>, Vec<_>) =
            qemu.machines.iter().filter(|machine| runs(arch, &machine.name)).partition(is_first);
        machines.extend(others);
        for machine in machines {
            let deprecated: &[(&str, &dyn std::fmt::Display)] =
                if machine.deprecated { &[("deprecated", &"yes")] } else { &[] };
            let own = [&[("maxCpus", &machine.cpu_max as &dyn std::fmt::Display)], deprecated].concat();
            text.leaf("machine", &own, &machine.name);
            if let Some(alias) = &machine.alias {
                let canonical = [("canonical", &machine.name as &dyn std::fmt::Display)];
                text.leaf("machine", &[&canonical[..], &own].concat(), alias);
            }
        }
        text.empty("domain", &[("type", &"qemu")]);
        if self.kvm && is_pc {
            text.empty("domain", &[("type", &"kvm")]);
        }
        text.end();
        text.start("features", &[]);
        if arch == "i686" {
            text.empty("pae", &[]);
            text.empty("nonpae", &[]);
        }
        if is_pc || arch == "aarch64" {
            text.empty("acpi", &[("default", &"on"), ("toggle", &"yes")]);
        }
        if is_pc {
            text.empty("apic", &[("default", &"on"), ("toggle", &"no")]);
        }
        text.empty("cpuselection", &[]);
        text.empty("deviceboot", &[]);
        text.empty("disksnapshot", &[("default", &"on"), ("toggle", &"no")]);
        text.empty("externalSnapshot", &[]);
        text.end();
        text.end();
    }
}

/// libvirt's order of architectures.
const ORDER: [&str; 5] = ["armv7l", "aarch64", "i686", "riscv64", "x86_64"];

/// Whether a start takes a machine of this name: PCs of all kinds, and the boards named `virt`.
pub(crate) fn runs(arch: &str, machine: &str) -> bool {
    match arch {
        "x86_64" | "i686" => {
            machine.starts_with("pc-i440fx-")
                || machine.starts_with("pc-q35-")
                || matches!(machine, "isapc" | "microvm")
        }
        _ => machine == "virt" || machine.starts_with("virt-"),
    }
}
