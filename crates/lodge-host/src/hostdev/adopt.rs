//! A running guest that an earlier daemon started, or a libvirt daemon: what it has is in use.

use std::path::Path;

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_model::domain::address::PciAddress;
use lodge_model::domain::disk::Disk;
use lodge_model::domain::hostdev::{HostAddress, Hostdev, HostdevKind};
use lodge_model::domain::interface::Interface;

use super::error::HostdevError;
use super::function::Place;
use super::note::{Before, Function, Rebound, Setting};
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
        let _one_at_a_time = lock(&acts.turn);
        let mut note = self.note_of(domain, &document.name)?;
        let noted = note.wishes.clone();
        let is_noted = |key: &Key| noted.iter().any(|wish| wish.key == *key);
        for found in find::each(&self.root, document, Begin::Fresh).flatten() {
            if let Some(card) = &found.card
                && !is_noted(&Key::Pci(card.address.clone()))
                && let Some(before) = left_by_libvirt(&self.root, &card.place)
            {
                note.functions.push(Function { address: card.address.clone(), before });
            }
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
        |hostdev: &Hostdev| hostdev.place.alias.as_ref().is_some_and(|alias| taken.contains(&alias.name));
    let cards = devices.interfaces.iter().filter_map(Interface::as_hostdev);
    let hostdevs =
        devices.hostdevs.iter().cloned().chain(cards).filter(is_taken).filter_map(|hostdev| {
            match (hostdev.kind, hostdev.source.address) {
                (HostdevKind::Pci, Some(HostAddress::Pci(address))) => Some(address),
                _ => None,
            }
        });
    let namespaces = devices.disks.iter().filter_map(Disk::nvme).filter(|namespace| namespace.managed);
    hostdevs.chain(namespaces.map(|namespace| namespace.controller)).collect()
}

/// What a card had set for a function before a libvirt daemon gave it to a guest, as that daemon keeps it.
fn left_by_libvirt(root: &Path, place: &Place) -> Option<Setting> {
    let Place { card, number } = place;
    let path = root.join(format!("run/libvirt/hostdevmgr/{card}_vf{number}"));
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let mac = kept["adminMac"].as_str().and_then(|mac| mac.parse().ok()).unwrap_or_default();
    let vlan = kept["vlanTag"].as_str().and_then(|tag| tag.parse().ok()).unwrap_or(0);
    Some(Setting { mac, vlan, priority: 0 })
}
