//! A running guest that an earlier daemon started, or a libvirt daemon: what it has is in use.

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_model::domain::address::PciAddress;
use lodge_model::domain::disk::Disk;
use lodge_model::domain::hostdev::{HostAddress, Hostdev, HostdevKind};

use super::error::HostdevError;
use super::note::{Before, Rebound};
use super::taken::Key;
use super::{Begin, Inner, find, lock, pci};

impl Inner {
    pub(super) fn adopt(
        &self,
        domain: DomainId,
        document: &Domain,
        taken: &[String],
    ) -> Result<(), HostdevError> {
        let acts = self.acts_of(domain);
        let _one_at_a_time = lock(&acts);
        let mut note = self.note_of(domain, &document.name)?;
        let noted = note.wishes.clone();
        let is_noted = |key: &Key| noted.iter().any(|wish| wish.key == *key);
        for found in find::each(&self.root, document, Begin::Fresh).flatten() {
            note.wishes.extend(found.wishes.into_iter().filter(|wish| !is_noted(&wish.key)));
        }
        // A libvirt daemon took these for the guest, and would have given them back.
        for address in managed(document, taken) {
            let address = pci::text_of(&address);
            let driver = pci::driver_of(&pci::directory(&self.root, &address));
            if let Some(driver) = driver.filter(|_| !is_noted(&Key::Pci(address.clone()))) {
                let before = Before::Unknown;
                note.rebound.push(Rebound { address, driver, before, preferred: None });
            }
        }
        lock(&self.taken).put(domain, &document.name, &note.wishes);
        if note.wishes.len() == noted.len() { Ok(()) } else { self.write(&note) }
    }
}

/// The PCI functions that a libvirt daemon took from their drivers for the guest, and would have given back: of host
/// devices it says which, of NVMe controllers that it manages it is all.
fn managed(document: &Domain, taken: &[String]) -> Vec<PciAddress> {
    let devices = &document.devices;
    let is_taken =
        |hostdev: &&Hostdev| hostdev.place.alias.as_ref().is_some_and(|alias| taken.contains(&alias.name));
    let hostdevs = devices.hostdevs.iter().filter(is_taken).filter_map(|hostdev| {
        match (hostdev.kind, &hostdev.source.address) {
            (HostdevKind::Pci, Some(HostAddress::Pci(address))) => Some(address.clone()),
            _ => None,
        }
    });
    let namespaces = devices.disks.iter().filter_map(Disk::nvme).filter(|namespace| namespace.managed);
    hostdevs.chain(namespaces.map(|namespace| namespace.controller)).collect()
}
