//! Contradictions inside of a domain's document.
//!
//! It works on a document as it was written and on a completed one. Paths count elements as they stand in the
//! struct; completing may reorder disks and controllers, so places in a text are told before it
//! ([`Domain::judge`] does both in the right order). Deliberately absent: what the host lacks, which is for
//! those who start a guest.

mod addresses;
mod devices;
mod disks;
mod filesystems;
mod firmware;
mod hostdevs;
mod images;
mod kinds;
mod machine;
mod modules;
mod nics;
mod places;
mod processor;
mod screens;
mod served;
mod tuning;

use super::cpu::CpuMode;
use super::os::{Firmware, LoaderKind};
use super::{Domain, DomainKind, Platform};
use crate::{BadName, Fault, Faults, check_name};
use std::collections::HashSet;
use std::hash::Hash;

impl Domain {
    /// Reads, checks and completes a document that somebody gave; faults have their places in the text.
    pub fn judge(text: &str, strict: bool, platform: &Platform) -> Result<Self, Faults> {
        let mut domain = if strict { Self::parse_strict(text)? } else { Self::parse(text)? };
        domain.check().map_err(|faults| faults.locate(text))?;
        domain.complete(platform).map_err(|faults| faults.locate(text))?;
        domain.check()?;
        Ok(domain)
    }

    /// Finds contradictions; every fault names its element.
    pub fn check(&self) -> Result<(), Faults> {
        let mut found = Found(Vec::new());
        self.check_identity(&mut found);
        self.check_memory(&mut found);
        self.check_processors(&mut found);
        self.check_boot(&mut found);
        tuning::check(self, &mut found);
        machine::check(self, &mut found);
        processor::check(self, &mut found);
        firmware::check(self, &mut found);
        disks::check(self, &mut found);
        images::check(self, &mut found);
        nics::check(self, &mut found);
        screens::check(self, &mut found);
        devices::check(self, &mut found);
        filesystems::check(self, &mut found);
        hostdevs::check(self, &mut found);
        kinds::check(self, &mut found);
        modules::check(self, &mut found);
        addresses::check(self, &mut found);
        places::check(self, &mut found);
        Faults(found.0).into_result()
    }

    fn check_identity(&self, found: &mut Found) {
        match check_name(&self.name) {
            Ok(()) => {}
            Err(BadName::Empty) => found.add("/domain", "element <name> is missing or empty"),
            Err(error) => found.add("/domain/name", error.to_string()),
        }
        if self.title.as_deref().is_some_and(|title| title.contains('\n')) {
            found.add("/domain/title", "a title is one line");
        }
        let text = self.os.kind.text.as_str();
        if text.is_empty() {
            found.add("/domain/os", "element <type> is missing or empty");
        } else if text != "hvm" && matches!(self.kind, DomainKind::Kvm | DomainKind::Qemu) {
            let message = format!("`{text}` is not possible with type `{}`; only `hvm` is", self.kind);
            found.add("/domain/os/type", message);
        }
    }

    fn check_memory(&self, found: &mut Found) {
        let memory = self.memory.size;
        // Cells say it as well.
        let has_cells = self.cpu.as_deref().and_then(|cpu| cpu.numa.as_deref());
        if memory.0 == 0 && has_cells.is_some_and(|numa| numa.cells.iter().any(|cell| cell.memory > 0)) {
            return;
        }
        if memory.0 == 0 {
            found.add("/domain/memory", "the amount of memory is missing");
            return;
        }
        if let Some(max) = self.max_memory.as_deref().filter(|max| max.size < memory) {
            found.add("/domain/maxMemory", format!("{} is less than <memory>, {memory}", max.size));
        }
    }

    fn check_processors(&self, found: &mut Found) {
        let count = self.vcpu.as_ref().map_or(1, |vcpu| vcpu.count);
        if count == 0 {
            found.add("/domain/vcpu", "a guest needs at least one processor");
        }
        if let Some(current) = self.vcpu.as_ref().and_then(|vcpu| vcpu.current) {
            if current > count {
                found.add("/domain/vcpu/@current", format!("{current} is more than all processors, {count}"));
            } else if current == 0 {
                found.add("/domain/vcpu/@current", "a guest needs at least one processor");
            }
        }
        let Some(cpu) = self.cpu.as_deref() else { return };
        if let Some(topology) = &cpu.topology {
            let parts = [
                topology.sockets,
                topology.dies.unwrap_or(1),
                topology.clusters.unwrap_or(1),
                topology.cores,
                topology.threads,
            ];
            let product = parts.into_iter().try_fold(1_u32, u32::checked_mul);
            if product != Some(count) {
                let product = product.map_or_else(|| "too many".to_owned(), |product| product.to_string());
                found.add("/domain/cpu/topology", format!("has {product} processors, <vcpu> has {count}"));
            }
        }
        if cpu.mode == Some(CpuMode::Custom)
            && cpu.model.as_ref().is_none_or(|model| model.name.is_none())
            && !cpu.features.is_empty()
        {
            found.add("/domain/cpu", "features need a <model> that they are added to");
        }
        let mut names = Seen::default();
        for (at, feature) in cpu.features.iter().enumerate() {
            let path = nth("/domain/cpu/feature", at, cpu.features.len());
            names.note(found, feature.name.as_str(), &path, || {
                format!("feature `{}` is given twice", feature.name)
            });
        }
    }

    fn check_boot(&self, found: &mut Found) {
        let mut orders = Seen::default();
        self.devices.each_place(&mut |name, at, count, place| {
            let Some(boot) = place.boot.as_deref() else { return };
            let path = format!("{}/boot/@order", nth(&format!("/domain/devices/{name}"), at, count));
            if boot.order == 0 {
                found.add(path, "boot order begins with 1");
            } else {
                orders.note(found, boot.order, &path, || format!("boot order {} is given twice", boot.order));
            }
        });
        if !orders.0.is_empty() && !self.os.boot.is_empty() {
            found.add("/domain/os/boot", "either <boot> here or boot order of devices, not both");
        }
        let acpi = self.features.as_deref().is_some_and(|features| features.acpi);
        let is_pc = self.os.kind.arch.as_deref().is_none_or(|arch| matches!(arch, "x86_64" | "i686"));
        let is_flash =
            self.os.loader.as_deref().is_some_and(|loader| loader.kind == Some(LoaderKind::Pflash));
        let is_efi = self.os.firmware == Some(Firmware::Efi);
        if (is_efi || is_flash) && is_pc && !acpi {
            let path = if is_efi { "/domain/os/@firmware" } else { "/domain/os/loader" };
            found.add(path, "UEFI needs <acpi/> in <features>");
        }
    }
}

/// The faults found so far.
struct Found(Vec<Fault>);

/// Most faults that are told of one document: each has a place to be looked up.
const FAULTS_MAX: usize = 100;

impl Found {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        if self.0.len() < FAULTS_MAX {
            self.0.push(Fault::at(path, message));
        }
    }
}

/// What was seen already, so that a second one is told.
struct Seen<K>(HashSet<K>);

impl<K> Default for Seen<K> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl<K: Hash + Eq> Seen<K> {
    fn note(&mut self, found: &mut Found, key: K, path: &str, message: impl FnOnce() -> String) {
        if !self.0.insert(key) {
            found.add(path, message());
        }
    }
}

/// The path of one of several: `/domain/devices/disk[2]`; alone it has no number.
pub(super) fn nth(path: &str, at: usize, count: usize) -> String {
    if count > 1 { format!("{path}[{}]", at + 1) } else { path.to_owned() }
}
