//! `domcapabilities`: what a guest of one machine type can be made of. libvirt's document.
//!
//! The lists name what a start of Lodge's accepts *and* this QEMU has; what only one of the two knows is left out, so
//! that a client which asks first is never refused later.
//! Deliberately absent: what only the host decides and only a start finds out (a device's group, a free port).

mod devices;
mod features;

use lodge_model::cpu::CpuDescription;
use lodge_model::markup::Markup;
use lodge_qemu::{Capabilities, Processor};

use crate::cpu::{KnownModel, Question, Wanted, decode, table};
use crate::firmware::{firmwares, without_descriptor};

/// What the document is made of.
#[derive(Debug)]
pub struct DomainDocument<'a> {
    /// The QEMU.
    pub qemu: &'a Capabilities,
    /// What it gives of the processor under the accelerator asked for.
    pub processor: &'a Processor,
    /// The machine type, by its full name.
    pub machine: &'a str,
    /// `kvm`; otherwise `qemu`.
    pub kvm: bool,
    /// Most vcpus.
    pub vcpus_max: u32,
    /// Bits of the host's physical addresses.
    pub address_bits: Option<u32>,
    /// The host has the emulator of TPMs.
    pub swtpm: bool,
    /// The host can give PCI devices to guests.
    pub vfio: bool,
    /// Which sorts of `<launchSecurity>` host and QEMU have.
    pub launch_security: Vec<String>,
}

/// The models as a decoder is to know them.
pub fn known_models(processor: &Processor) -> Vec<KnownModel> {
    let known = |model: &lodge_qemu::qmp::CpuModel| KnownModel {
        name: model.name.clone(),
        blockers: blockers(model.unavailable_features.as_deref().unwrap_or_default()),
    };
    processor.models.iter().filter(|model| table().model(&model.name).is_some()).map(known).collect()
}

/// The nearest model to the fullest processor a guest can have.
pub fn host_model(processor: &Processor) -> Option<CpuDescription> {
    let mut bits = crate::cpu::Bits::empty();
    for feature in processor.features.iter().filter_map(|name| table().feature(name)) {
        bits.add(feature);
    }
    let vendor = processor.vendor.as_deref().and_then(short_vendor);
    let known = known_models(processor);
    let question =
        Question { bits, vendor, signature: processor.signature, known: Some(&known), preferred: &[] };
    let choice = decode(&question, Wanted::Guest)?;
    Some(CpuDescription {
        guest: true,
        mode: Some("custom".to_owned()),
        matching: Some("exact".to_owned()),
        model: Some(choice.model.name.to_owned()),
        fallback: Some("forbid".to_owned()),
        vendor: vendor.map(str::to_owned),
        features: choice.features,
        ..CpuDescription::default()
    })
}

fn short_vendor(name: &str) -> Option<&'static str> {
    match name {
        "GenuineIntel" => Some("Intel"),
        "AuthenticAMD" => Some("AMD"),
        "HygonGenuine" => Some("Hygon"),
        _ => None,
    }
}

/// libvirt's names of what QEMU cannot give, each once, in the order of the alphabet.
fn blockers(names: &[String]) -> Vec<String> {
    let mut found: Vec<String> = names
        .iter()
        .map(|name| table().feature(name).map_or_else(|| name.clone(), |feature| feature.name.to_owned()))
        .collect();
    found.sort();
    found.dedup();
    found
}

impl DomainDocument<'_> {
    /// The text.
    pub fn to_xml(&self) -> String {
        let mut text = Markup::new();
        text.start("domainCapabilities", &[]);
        text.leaf("path", &[], self.qemu.binary.display());
        text.leaf("domain", &[], if self.kvm { "kvm" } else { "qemu" });
        text.leaf("machine", &[], self.machine);
        text.leaf("arch", &[], self.qemu.arch());
        text.empty("vcpu", &[("max", &self.vcpus_max)]);
        text.empty("iothreads", &[("supported", &"yes")]);
        self.firmware(&mut text);
        self.cpu(&mut text);
        devices::memory_backing(&mut text, self.qemu);
        devices::devices(&mut text, self.qemu, self.machine, (self.swtpm, self.vfio));
        let under_kvm = self.kvm.then_some(self.processor);
        features::features(&mut text, (self.qemu.arch(), self.machine), under_kvm, &self.launch_security);
        text.finish()
    }

    fn firmware(&self, text: &mut Markup) {
        let found = firmwares(self.qemu.arch(), self.machine);
        let mut kinds = Vec::new();
        if found.iter().any(|firmware| !firmware.uefi) {
            kinds.push("bios");
        }
        if found.iter().any(|firmware| firmware.uefi) {
            kinds.push("efi");
        }
        text.start("os", &[("supported", &"yes")]);
        choices(text, "firmware", &kinds);
        text.start("loader", &[("supported", &"yes")]);
        let paths: Vec<String> = if found.is_empty() {
            without_descriptor()
        } else {
            found.iter().map(|one| one.path.clone()).collect()
        };
        for path in paths {
            text.leaf("value", &[], path);
        }
        choices(text, "type", &["rom", "pflash"]);
        choices(text, "readonly", &["yes", "no"]);
        let secure = found.iter().any(|firmware| firmware.secure);
        choices(text, "secure", if secure { &["yes", "no"] } else { &["no"] });
        text.end();
        text.end();
    }

    fn cpu(&self, text: &mut Markup) {
        text.start("cpu", &[]);
        if self.kvm {
            mode(text, "host-passthrough", "hostPassthroughMigratable");
        } else {
            text.empty("mode", &[("name", &"host-passthrough"), ("supported", &"no")]);
        }
        mode(text, "maximum", "maximumMigratable");
        match host_model(self.processor).filter(|_| self.is_pc()) {
            Some(cpu) => {
                text.start("mode", &[("name", &"host-model"), ("supported", &"yes")]);
                text.leaf("model", &[("fallback", &"forbid")], cpu.model.as_deref().unwrap_or_default());
                if let Some(vendor) = &cpu.vendor {
                    text.leaf("vendor", &[], vendor);
                }
                if let Some(bits) = self.address_bits.filter(|_| self.kvm) {
                    text.empty("maxphysaddr", &[("mode", &"passthrough"), ("limit", &bits)]);
                }
                cpu.write_features(text);
                text.end();
            }
            None => text.empty("mode", &[("name", &"host-model"), ("supported", &"no")]),
        }
        self.custom(text);
        text.end();
    }

    fn is_pc(&self) -> bool {
        matches!(self.qemu.arch(), "x86_64" | "i686")
    }

    fn custom(&self, text: &mut Markup) {
        text.start("mode", &[("name", &"custom"), ("supported", &"yes")]);
        let mut models: Vec<_> = self.processor.models.iter().collect();
        models.sort_by(|one, other| one.name.cmp(&other.name));
        for model in models {
            let known = table().model(&model.name);
            if known.is_none() && self.is_pc() {
                continue;
            }
            let usable = match &model.unavailable_features {
                None => "unknown",
                Some(lacking) if lacking.is_empty() => "yes",
                Some(_) => "no",
            };
            let vendor = known.and_then(|known| known.vendor).unwrap_or("unknown");
            let mut attributes: Vec<(&str, &dyn std::fmt::Display)> = vec![("usable", &usable)];
            if model.deprecated {
                attributes.push(("deprecated", &"yes"));
            }
            attributes.push(("vendor", &vendor));
            if let Some(canonical) = &model.alias_of {
                attributes.push(("canonical", canonical));
            }
            text.leaf("model", &attributes, &model.name);
            let lacking = blockers(model.unavailable_features.as_deref().unwrap_or_default());
            if !lacking.is_empty() {
                text.start("blockers", &[("model", &model.name)]);
                for name in lacking {
                    text.empty("feature", &[("name", &name)]);
                }
                text.end();
            }
        }
        text.end();
    }
}

/// A mode of the processor whose only choice is whether it may move.
fn mode(text: &mut Markup, name: &str, migratable: &str) {
    text.start("mode", &[("name", &name), ("supported", &"yes")]);
    choices(text, migratable, &["on", "off"]);
    text.end();
}

/// `<enum name='…'>` with its values.
fn choices(text: &mut Markup, name: &str, values: &[&str]) {
    if values.is_empty() {
        return text.empty("enum", &[("name", &name)]);
    }
    text.start("enum", &[("name", &name)]);
    for value in values {
        text.leaf("value", &[], value);
    }
    text.end();
}
