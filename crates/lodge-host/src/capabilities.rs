//! `capabilities`: what this host is, and which guests it can have. libvirt's document, from live facts.
//!
//! Deliberately absent: guests and machines that Lodge's starts refuse. libvirtd lists all that QEMU has; a document
//! that a start would then refuse by name helps nobody.

use std::fmt::Display;

use lodge_model::domain::resctrl;
use lodge_model::markup::Markup;
use lodge_qemu::Capabilities;
use lodge_sys::resctrl::{Facts, MonitorFacts};

use crate::cpu::HostCpu;
use crate::node::{CacheBank, Node};

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
        let resources = self.node.resources();
        let monitor = resources.as_ref().and_then(|facts| facts.monitor.as_ref());
        if !banks.is_empty() {
            text.start("cache", &[]);
            for bank in &banks {
                bank_of(bank, resources.as_ref(), text);
            }
            if let Some(monitor) = monitor {
                let own: [(&str, &dyn Display); 2] =
                    [("level", &3), ("reuseThreshold", &monitor.reuse_bytes)];
                counted(monitor, "llc_", &own, text);
            }
            text.end();
        }
        let Some(memory) = resources.as_ref().and_then(|facts| facts.memory.as_ref()) else { return };
        text.start("memory_bandwidth", &[]);
        for bank in banks.iter().filter(|bank| bank.level == memory.level) {
            text.start("node", &[("id", &bank.id), ("cpus", &bank.cpus)]);
            let most = &memory.groups_max;
            text.empty(
                "control",
                &[("granularity", &memory.step), ("min", &memory.min), ("maxAllocs", most)],
            );
            text.end();
        }
        if let Some(monitor) = monitor {
            counted(monitor, "mbm_", &[], text);
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

/// One cache, and how it can be divided.
fn bank_of(bank: &CacheBank, resources: Option<&Facts>, text: &mut Markup) {
    let (size, unit) = if bank.size_kib.is_multiple_of(1024) {
        (bank.size_kib / 1024, "MiB")
    } else {
        (bank.size_kib, "KiB")
    };
    let own: [(&str, &dyn Display); 6] = [
        ("id", &bank.id),
        ("level", &bank.level),
        ("type", &bank.kind),
        ("size", &size),
        ("unit", &unit),
        ("cpus", &bank.cpus),
    ];
    let divided = resources.iter().flat_map(|facts| &facts.caches);
    let divided: Vec<_> = divided.filter(|((level, _), _)| *level == bank.level).collect();
    if divided.is_empty() {
        text.empty("bank", &own);
        return;
    }
    text.start("bank", &own);
    for ((_, sort), cache) in divided {
        let part = cache.part_bytes();
        // As libvirt has it, one part alone is no minimum worth a word.
        let min = if cache.parts_min == 1 { 0 } else { part * u64::from(cache.parts_min) };
        let (granularity, min, unit) = in_one_unit(part, min);
        let mut own: Vec<(&str, &dyn Display)> = vec![("granularity", &granularity)];
        if min > 0 {
            own.push(("min", &min));
        }
        let word = sort.word();
        own.push(("unit", &unit));
        own.push(("type", &word));
        own.push(("maxAllocs", &cache.groups_max));
        text.empty("control", &own);
    }
    text.end();
}

/// Two numbers of bytes in the largest unit that both are whole numbers of; a minimum of 0 is none.
fn in_one_unit(granularity: u64, min: u64) -> (u64, u64, &'static str) {
    let (short, unit) = resctrl::short(granularity);
    let (short_min, unit_min) = resctrl::short(min);
    if min == 0 || granularity == 0 {
        return (short, 0, unit);
    }
    let (scale, scale_min) = (granularity / short, min / short_min);
    if scale_min < scale {
        (granularity / scale_min, short_min, unit_min)
    } else {
        (short, min / scale, unit)
    }
}

/// What can be counted that begins so.
fn counted(monitor: &MonitorFacts, prefix: &str, own: &[(&str, &dyn Display)], text: &mut Markup) {
    let features: Vec<_> = monitor.features.iter().filter(|feature| feature.starts_with(prefix)).collect();
    if features.is_empty() {
        return;
    }
    let most: [(&str, &dyn Display); 1] = [("maxMonitors", &monitor.groups_max)];
    text.start("monitor", &[own, &most[..]].concat());
    for feature in features {
        text.empty("feature", &[("name", feature)]);
    }
    text.end();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_that_can_be_divided_are_told_as_libvirtd_tells_them() {
        let root = tempfile::tempdir().unwrap();
        lodge_sys::resctrl::play(root.path()).unwrap();
        let on = root.path().join("sys/devices/system/cpu/online");
        std::fs::write(on, "0\n").unwrap();
        let mut text = Markup::new();
        let document = HostDocument {
            uuid: uuid::Uuid::nil(),
            cpu: &HostCpu::default(),
            node: &Node::at(root.path()),
            qemu: &Capabilities::none(std::path::Path::new("/usr/bin/qemu-system-x86_64")),
            others: &[],
            kvm: false,
        };
        text.start("host", &[]);
        document.caches(&mut text);
        text.end();
        // libvirtd 11.3's own words on such a tree.
        let wanted = "<host>
  <cache>
    <bank id='0' level='3' type='both' size='32' unit='MiB' cpus='0-1'>
      <control granularity='2' min='4' unit='MiB' type='both' maxAllocs='16'/>
    </bank>
    <monitor level='3' reuseThreshold='65536' maxMonitors='176'>
      <feature name='llc_occupancy'/>
    </monitor>
  </cache>
  <memory_bandwidth>
    <node id='0' cpus='0-1'>
      <control granularity='10' min='10' maxAllocs='8'/>
    </node>
    <monitor maxMonitors='176'>
      <feature name='mbm_total_bytes'/>
      <feature name='mbm_local_bytes'/>
    </monitor>
  </memory_bandwidth>
</host>";
        assert_eq!(text.finish().trim(), wanted);
    }

    #[test]
    fn two_amounts_are_told_in_one_unit() {
        assert_eq!(in_one_unit(64 << 10, 0), (64, 0, "KiB"));
        assert_eq!(in_one_unit(2 << 20, 4 << 20), (2, 4, "MiB"));
        assert_eq!(in_one_unit(768 << 10, 3 << 20), (768, 3072, "KiB"));
        assert_eq!(in_one_unit(1_677_721, 3_355_442), (1_677_721, 3_355_442, "B"));
    }
}
