//! A document for another machine made of the same parts: what a clone has of its source, and what it must not have.
//!
//! Pure: names, ids, addresses and files are given; here they are put in their places, and what would tie the new
//! machine to the old one (fixed ports, sockets, log files) is taken away. Everything changed is told, old and new, and
//! everything that stays shared is a warning.
//! Deliberately absent: what lies inside the disks, and making any file.

mod ends;

use std::collections::BTreeMap;

use super::disk::{BackingStore, DiskSource, SourceKind};
use super::interface::InterfaceKind;
use super::lodge::Origin;
use super::os::{Sysinfo, SysinfoBlock};
use super::{Domain, LodgeGuest};
use crate::{DomainId, MacAddr, xml::Kept};

/// Who the new machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMachine {
    /// Its name.
    pub name: String,
    /// Its identity; SMBIOS shows it to the guest.
    pub id: DomainId,
    /// The addresses of its interfaces, in the document's order; where they end, the source's stay.
    pub macs: Vec<MacAddr>,
    /// The generation that a document with `<genid>` gets.
    pub generation: DomainId,
    /// Where its own disks lie, by target. What is not named here stays the source's.
    pub disks: BTreeMap<String, NewDisk>,
    /// Where its UEFI variables lie.
    pub nvram: Option<String>,
    /// What it was made of; none: that stays as the source has it.
    pub origin: Option<Origin>,
    /// Serial numbers stay: a replacement of the source, not another machine.
    pub keeps_serials: bool,
}

/// A disk of the new machine's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDisk {
    /// Its file.
    pub path: String,
    /// The file's format.
    pub format: String,
    /// What it stands on, where only the document says how that is opened.
    pub backing_store: Option<Box<BackingStore>>,
    /// How it is encrypted, where it is otherwise than the source's own file; else that says it.
    pub encryption: Option<Kept>,
}

/// One thing that is another than the source's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is, as `mac-address (52:54:00…)`.
    pub item: String,
    /// What the source has.
    pub old: String,
    /// What the new machine has; empty: nothing.
    pub new: String,
}

/// The document, and what became of the source's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The new machine's document.
    pub document: Domain,
    /// What is another.
    pub differences: Vec<Difference>,
    /// What both have, and what was taken away.
    pub warnings: Vec<String>,
}

impl Domain {
    /// The document of another machine like this one. `self` is a definition, not a running guest's document.
    pub fn copied(&self, new: &NewMachine) -> Copied {
        let mut work = Copied { document: self.clone(), differences: Vec::new(), warnings: Vec::new() };
        work.name(self, new);
        work.disks(new);
        work.firmware(self, new);
        work.cards(self, new);
        ends::part(&mut work, &self.name, &new.name);
        work.shared();
        if let Some(origin) = &new.origin {
            let kept = work.document.lodge().unwrap_or_default();
            work.document.set_lodge(&LodgeGuest { origin: Some(origin.clone()), ..kept });
        }
        work
    }
}

impl Copied {
    fn differs(&mut self, item: impl Into<String>, old: &dyn ToString, new: &dyn ToString) {
        let (item, old, new) = (item.into(), old.to_string(), new.to_string());
        if old != new {
            self.differences.push(Difference { item, old, new });
        }
    }

    fn name(&mut self, source: &Domain, new: &NewMachine) {
        self.document.id = None;
        self.document.name.clone_from(&new.name);
        self.differs("name", &source.name, &new.name);
        self.document.uuid = Some(new.id);
        let old = source.uuid.map(|id| id.to_string()).unwrap_or_default();
        self.differs("uuid", &old, &new.id);
        if let Some(genid) = &mut self.document.genid {
            let before = genid.uuid.replace(new.generation.to_string()).unwrap_or_default();
            self.differs("vm-generation-id", &before, &new.generation);
        }
        let mut found = Vec::new();
        for sysinfo in &mut self.document.sysinfo {
            number_tables(sysinfo, new, &mut found);
        }
        for (item, before) in found {
            self.differs(item, &before, &new.id);
        }
    }

    fn disks(&mut self, new: &NewMachine) {
        let mut found = Vec::new();
        for disk in &mut self.document.devices.disks {
            disk.backing_store = None;
            let Some(own) = new.disks.get(&disk.target.dev) else { continue };
            let before = match (disk.kind, disk.source.as_deref()) {
                (SourceKind::Volume, Some(source)) => format!(
                    "{}/{}",
                    source.pool.as_deref().unwrap_or_default(),
                    source.volume.as_deref().unwrap_or_default()
                ),
                _ => disk.path().unwrap_or_default().to_owned(),
            };
            found.push((format!("disk {}", disk.target.dev), before, own.path.clone()));
            let kept = disk.source.take().map(|source| *source).unwrap_or_default();
            disk.kind = SourceKind::File;
            disk.source = Some(Box::new(DiskSource {
                file: Some(own.path.clone()),
                startup_policy: kept.startup_policy,
                seclabels: kept.seclabels,
                foreign: kept.foreign,
                ..DiskSource::default()
            }));
            let driver = disk.driver.get_or_insert_default();
            driver.name.get_or_insert_with(|| "qemu".to_owned());
            driver.format = Some(own.format.clone());
            disk.backing_store.clone_from(&own.backing_store);
            if own.encryption.is_some() {
                disk.set_encryption(own.encryption.as_ref());
            }
        }
        for (item, old, new) in found {
            self.differs(item, &old, &new);
        }
        let wwns: Vec<_> = self.document.devices.disks.iter().filter(|disk| disk.wwn.is_some()).collect();
        let wwns: Vec<String> = wwns
            .iter()
            .map(|disk| format!("disk {}: the world wide name stays the source's", disk.target.dev))
            .collect();
        self.warnings.extend(wwns);
    }

    fn firmware(&mut self, source: &Domain, new: &NewMachine) {
        let Some(nvram) = self.document.os.nvram.as_deref_mut() else { return };
        if nvram.path.is_none() {
            return;
        }
        nvram.path.clone_from(&new.nvram);
        let old = source.os.nvram.as_deref().and_then(|nvram| nvram.path.clone()).unwrap_or_default();
        self.differs("nvram", &old, &new.nvram.as_deref().unwrap_or("made at the first start"));
    }

    fn cards(&mut self, source: &Domain, new: &NewMachine) {
        let mut found = Vec::new();
        for (card, mac) in self.document.devices.interfaces.iter_mut().zip(&new.macs) {
            let before = card.mac().map(|mac| mac.to_string()).unwrap_or_default();
            card.mac.get_or_insert_default().address = *mac;
            found.push((before, mac.to_string()));
        }
        for (at, (old, mac)) in found.into_iter().enumerate() {
            self.differs(format!("mac-address {at}"), &old, &mac);
        }
        let is_other = new.name != source.name;
        let mut warnings = Vec::new();
        for card in self.document.devices.interfaces.iter_mut().filter(|_| is_other) {
            if let Some(target) = card.target.take() {
                warnings.push(format!("interface {}: the host's end gets a name at the start", target.dev));
            }
        }
        self.warnings.append(&mut warnings);
    }

    /// What no copy can be made of.
    fn shared(&mut self) {
        let devices = &self.document.devices;
        let mut warn = |is_there: bool, what: &str| {
            if is_there {
                self.warnings.push(what.to_owned());
            }
        };
        let has_card = devices.interfaces.iter().any(|card| card.kind == InterfaceKind::Hostdev);
        warn(
            has_card || !devices.hostdevs.is_empty(),
            "host devices are the same: only one of the two can run with them",
        );
        warn(!devices.filesystems.is_empty(), "directories of the host's that the guest mounts are the same");
        warn(!devices.shmems.is_empty(), "shared memory (<shmem>) is the same");
        warn(!devices.leases.is_empty(), "locks (<lease>) are the same: only one of the two can run");
        warn(
            self.document.qemu_commandline.is_some(),
            "arguments of <qemu:commandline> are the same; what they name may be the source's",
        );
        warn(
            devices.tpms.iter().any(|tpm| tpm.backend.source.is_some()),
            "the TPM's state lies at a place that the document names: both would write to it",
        );
    }
}

/// Puts the machine's id where SMBIOS has the old one, and in serial numbers.
fn number_tables(sysinfo: &mut Sysinfo, new: &NewMachine, found: &mut Vec<(String, String)>) {
    let named = [("system", sysinfo.system.as_mut()), ("chassis", sysinfo.chassis.as_mut())];
    let blocks = named.into_iter().filter_map(|(name, block)| Some((name, block?)));
    let boards = sysinfo.base_boards.iter_mut().map(|board| ("baseBoard", board));
    let put = |(table, block): (&str, &mut SysinfoBlock)| {
        for entry in &mut block.entries {
            let name = entry.name.as_deref().unwrap_or_default();
            let is_old = name == "uuid" || (name == "serial" && !new.keeps_serials);
            if is_old && entry.value.is_some() {
                let item = format!("smbios {table} {name}");
                let before = entry.value.replace(new.id.to_string()).unwrap_or_default();
                found.push((item, before));
            }
        }
    };
    blocks.chain(boards).for_each(put);
}

#[cfg(test)]
mod tests;
