//! A running guest that an earlier daemon started, or a libvirt daemon: what it has is in use.

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_model::domain::hostdev::{HostAddress, HostdevKind};
use lodge_model::xml::YesNo;

use super::error::HostdevError;
use super::note::{Before, Rebound};
use super::taken::Key;
use super::{Begin, Inner, find, lock, pci};

impl Inner {
    pub(super) fn adopt(&self, domain: DomainId, document: &Domain) -> Result<(), HostdevError> {
        let acts = self.acts_of(domain);
        let _one_at_a_time = lock(&acts);
        let mut note = self.note_of(domain, &document.name)?;
        let noted = note.wishes.clone();
        let is_noted = |key: &Key| noted.iter().any(|wish| wish.key == *key);
        for found in find::each(&self.root, document, Begin::Fresh).flatten() {
            note.wishes.extend(found.wishes.into_iter().filter(|wish| !is_noted(&wish.key)));
        }
        // A libvirt daemon took these for the guest, and would have given them back.
        for hostdev in &document.devices.hostdevs {
            let (HostdevKind::Pci, Some(YesNo::Yes), Some(HostAddress::Pci(address))) =
                (hostdev.kind, hostdev.managed, &hostdev.source.address)
            else {
                continue;
            };
            let address = pci::text_of(address);
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
