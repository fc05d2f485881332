//! Who has which device. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use lodge_model::DomainId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What only one guest can have at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Key {
    /// A PCI function, as `0000:01:00.0`.
    Pci(String),
    /// Devices that VFIO gives together or not at all.
    IommuGroup(u32),
    /// Bus and number on it.
    Usb(u32, u32),
    /// A SCSI unit: host, channel, target, unit as `0:0:1:0`.
    Scsi(String),
    /// A target of vhost-scsi.
    Vhost(String),
    /// A mediated device.
    Mdev(Uuid),
    /// The host's TPM.
    Tpm(PathBuf),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(address) => write!(f, "PCI device {address}"),
            Self::IommuGroup(number) => write!(f, "IOMMU group {number}"),
            Self::Usb(bus, device) => write!(f, "USB device {bus:03}/{device:03}"),
            Self::Scsi(address) => write!(f, "SCSI device {address}"),
            Self::Vhost(wwpn) => write!(f, "SCSI_host device {wwpn}"),
            Self::Mdev(uuid) => write!(f, "mediated device {uuid}"),
            Self::Tpm(path) => write!(f, "TPM device {}", path.display()),
        }
    }
}

/// A wish for a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wish {
    pub key: Key,
    /// Others may have it too, if all of them say so.
    pub shareable: bool,
}

#[derive(Debug, Clone)]
struct Holder {
    domain: DomainId,
    name: String,
    shareable: bool,
}

/// All that guests have.
#[derive(Debug, Default)]
pub(super) struct Taken(BTreeMap<Key, Vec<Holder>>);

impl Taken {
    /// The first wish that another guest stands against, with its name.
    pub fn conflict<'a>(&self, domain: DomainId, wishes: &'a [Wish]) -> Option<(&'a Wish, &str)> {
        wishes.iter().find_map(|wish| {
            let holders = self.0.get(&wish.key)?;
            let against = |holder: &&Holder| holder.domain != domain && !(wish.shareable && holder.shareable);
            holders.iter().find(against).map(|holder| (wish, holder.name.as_str()))
        })
    }

    /// They are the guest's. Not asked whether another has them: see [`Self::conflict`].
    pub fn put(&mut self, domain: DomainId, name: &str, wishes: &[Wish]) {
        for Wish { key, shareable } in wishes {
            let holders = self.0.entry(key.clone()).or_default();
            if !holders.iter().any(|holder| holder.domain == domain) {
                holders.push(Holder { domain, name: name.to_owned(), shareable: *shareable });
            }
        }
    }

    /// Whether the guest has any.
    pub fn has(&self, domain: DomainId) -> bool {
        self.0.values().flatten().any(|holder| holder.domain == domain)
    }

    /// The guest has none any more.
    pub fn release(&mut self, domain: DomainId) {
        self.0.retain(|_, holders| {
            holders.retain(|holder| holder.domain != domain);
            !holders.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(unit: &str, shareable: bool) -> Wish {
        Wish { key: Key::Scsi(unit.to_owned()), shareable }
    }

    #[test]
    fn one_guest_has_a_device_until_it_gives_it_back() {
        let (one, other) = (DomainId::random(), DomainId::random());
        let mut taken = Taken::default();
        let wishes = [wish("0:0:0:0", false), wish("0:0:1:0", false)];
        assert!(taken.conflict(one, &wishes).is_none());
        taken.put(one, "web1", &wishes);
        taken.put(one, "web1", &wishes);
        assert!(taken.conflict(one, &wishes).is_none(), "a second try of its own");
        let (against, by) = taken.conflict(other, &wishes[1..]).unwrap();
        assert_eq!((against.key.to_string().as_str(), by), ("SCSI device 0:0:1:0", "web1"));
        taken.release(one);
        assert!(taken.conflict(other, &wishes).is_none());
    }

    #[test]
    fn a_unit_is_shared_only_if_all_say_so() {
        let [a, b, c] = [DomainId::random(), DomainId::random(), DomainId::random()];
        let mut taken = Taken::default();
        taken.put(a, "a", &[wish("0:0:0:0", true)]);
        assert!(taken.conflict(b, &[wish("0:0:0:0", true)]).is_none());
        taken.put(b, "b", &[wish("0:0:0:0", true)]);
        assert_eq!(taken.conflict(c, &[wish("0:0:0:0", false)]).unwrap().1, "a");
        taken.release(a);
        assert_eq!(taken.conflict(c, &[wish("0:0:0:0", false)]).unwrap().1, "b");
    }
}
