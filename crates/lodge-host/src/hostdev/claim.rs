//! Giving a guest what its document asks for: all of it, or nothing.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::{Fault, HostdevError};
use super::find::{self, Found, Way};
use super::kernel::{self, Kernel};
use super::note::{Function, Given, Note, Rebound};
use super::taken::{Key, Wish};
use super::{Ask, Claimed, Gift, Inner, User, bind, function, lock, of, pci};

/// Major number of devices of no sort (Documentation/admin-guide/devices.txt).
const MISC: u32 = 10;

impl Inner {
    pub(super) fn claim(&self, ask: &Ask) -> Result<Vec<Claimed>, HostdevError> {
        self.take(ask).inspect_err(|_| {
            if let Err(error) = self.give_back(ask.domain) {
                tracing::error!(
                    domain = ask.document.name,
                    error = &error as &dyn std::error::Error,
                    "devices were not given back"
                );
            }
        })
    }

    fn take(&self, ask: &Ask) -> Result<Vec<Claimed>, HostdevError> {
        let found: Vec<Found> = find::each(&self.root, &ask.document, ask.begin).collect::<Result<_, _>>()?;
        let kernel = self.kernel_for(ask.domain);
        self.reserve(ask, &found)?;
        pci::judge_groups(&self.root, &found)?;
        let mut note = self.note_of(ask.domain, &ask.document.name)?;
        let wishes: Vec<Wish> = found.iter().flat_map(|found| found.wishes.iter().cloned()).collect();
        let had = !note.wishes.is_empty();
        note.wishes = wishes;
        for rebound in found.iter().filter_map(rebound) {
            if !note.rebound.iter().any(|known| known.address == rebound.address) {
                note.rebound.push(rebound.clone());
            }
        }
        for (device, card) in found.iter().filter_map(|found| Some((found, found.card.as_ref()?))) {
            let before = function::setting(&kernel, &card.place).map_err(|fault| of(device, fault))?;
            if !note.functions.iter().any(|known| known.address == card.address) {
                note.functions.push(Function { address: card.address.clone(), before });
            }
        }
        // The kernel's own open counts for what has no key, and leaves nothing to give back.
        if had || !note.wishes.is_empty() {
            self.write(&note)?;
        }
        for found in &found {
            if let Some(rebound) = rebound(found) {
                bind::take(&kernel, &self.root, rebound).map_err(|fault| of(found, fault))?;
            }
        }
        if found.iter().any(|found| rebound(found).is_some()) {
            kernel.settle();
        }
        // While no driver of the host's has it: it would take over what is meant for the guest.
        for device in &found {
            if let Some(card) = &device.card {
                let set = function::set(&kernel, &card.place, &card.wish);
                set.map_err(|fault| of(device, fault))?;
            }
        }
        let mut given = BTreeSet::new();
        for found in &found {
            let (Way::Vfio { group, .. }, Some(user)) = (&found.way, ask.user) else { continue };
            if given.insert(*group) {
                self.give_group(&kernel, &mut note, *group, user).map_err(|fault| of(found, fault))?;
            }
        }
        found.into_iter().map(|found| claimed(&kernel, found, ask.user, &note)).collect()
    }

    /// The devices are this guest's from here on, if nobody has any of them.
    fn reserve(&self, ask: &Ask, found: &[Found]) -> Result<(), HostdevError> {
        let mut seen = BTreeSet::new();
        let mut taken = lock(&self.taken);
        for device in found {
            let twice = device
                .wishes
                .iter()
                .find(|wish| !matches!(wish.key, Key::IommuGroup(_)) && !seen.insert(&wish.key));
            if let Some(wish) = twice {
                return Err(of(device, Fault::Twice { what: wish.key.to_string() }));
            }
            if let Some((wish, by)) = taken.conflict(ask.domain, &device.wishes) {
                return Err(of(device, Fault::Taken { what: wish.key.to_string(), by: by.to_owned() }));
            }
        }
        for device in found {
            taken.put(ask.domain, &ask.document.name, &device.wishes);
        }
        Ok(())
    }

    /// Makes the group's node the guest's: QEMU opens it by its name.
    fn give_group(&self, kernel: &dyn Kernel, note: &mut Note, group: u32, user: User) -> Result<(), Fault> {
        let path = self.root.join(format!("dev/vfio/{group}"));
        let opened = |source| Fault::Open { path: path.clone(), source };
        let node = std::fs::metadata(&path).map_err(opened)?;
        if note.given.iter().all(|given| given.path != path) {
            note.given.push(Given { path: path.clone(), owner: (node.uid(), node.gid()) });
            note.write(&self.notes).map_err(|(path, source)| Fault::Note { path, source })?;
        }
        let given = kernel.give(&path, (user.uid, user.gid));
        given.map_err(|source| Fault::Give { path, source })
    }
}

/// A device that is the guest's, opened for QEMU.
fn claimed(
    kernel: &dyn Kernel,
    found: Found,
    user: Option<User>,
    note: &Note,
) -> Result<Claimed, HostdevError> {
    let gift = match &found.way {
        Way::Usb { path, bus, device } => {
            open(path, true, true).map(|fd| Gift::Usb { fd, bus: *bus, device: *device })
        }
        Way::Open { path } => {
            if !path.exists() {
                kernel.load("vhost_scsi");
            }
            open(path, true, true).map(Gift::Opened)
        }
        Way::Node { path, major } => {
            let node = kernel.node(path, *major, user);
            node.map(Gift::Opened).map_err(|source| Fault::Open { path: path.clone(), source })
        }
        Way::Tpm { path, cancel } => open(path, true, true)
            .and_then(|device| Ok(Gift::Tpm { device, cancel: open(cancel, false, true)? })),
        Way::Vfio { .. } => {
            let is_noted = |wish: &Wish| {
                note.rebound.iter().any(|rebound| wish.key == Key::Pci(rebound.address.clone()))
            };
            Ok(Gift::Vfio { taken: found.wishes.iter().any(is_noted) })
        }
        Way::Security { device } => {
            let node = device.as_deref().map(|path| {
                let node = kernel.node(path, MISC, user);
                node.map_err(|source| Fault::Open { path: path.to_owned(), source })
            });
            node.transpose().map(|device| Gift::Security { device, bit: crate::security::encryption_bit() })
        }
        Way::Missing => Ok(Gift::Missing),
    };
    match gift {
        Ok(gift) => Ok(Claimed { alias: found.alias, gift }),
        Err(fault) => Err(of(&found, fault)),
    }
}

fn rebound(found: &Found) -> Option<&Rebound> {
    match &found.way {
        Way::Vfio { rebound, .. } => rebound.as_ref(),
        _ => None,
    }
}

fn open(path: &Path, read: bool, write: bool) -> Result<OwnedFd, Fault> {
    kernel::open(path, read, write).map_err(|source| Fault::Open { path: path.to_owned(), source })
}
