//! What the host says of a guest: its side of the identity, which the guest cannot change.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Item, Kind, seen::Seen};

/// Facts that the caller has from the guest's definition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The domain's name.
    pub name: String,
    /// What SMBIOS tells: `<sysinfo>`'s UUID, or else the domain's own.
    pub smbios_uuid: Option<Uuid>,
    /// The VM generation id.
    pub generation_id: Option<Uuid>,
    /// Of each NIC.
    pub macs: Vec<String>,
    /// Serial numbers: of the machine and of disks.
    pub serials: Vec<String>,
    /// The addresses that the host leased or reserved.
    pub addresses: Vec<String>,
}

/// Where an item of the host's is.
pub(crate) fn place(what: &str) -> String {
    format!("host: {what}")
}

pub(crate) fn read(seen: &Seen<'_>, found: &mut Vec<Item>) {
    let host = seen.host;
    if let Some(uuid) = host.smbios_uuid {
        found.push(Item::present(Kind::SMBIOS_UUID, place("SMBIOS UUID"), uuid.to_string()));
    }
    if let Some(id) = host.generation_id {
        found.push(Item::present(Kind::GENERATION_ID, place("VM generation id"), id.to_string()));
    }
    for (number, mac) in host.macs.iter().enumerate() {
        found.push(Item::present(Kind::MAC, place(&format!("NIC {number}")), mac.to_lowercase()));
    }
    for (number, serial) in host.serials.iter().enumerate() {
        let kind = Kind::known("serial-number");
        found.push(Item::present(kind, place(&format!("serial {number}")), serial.clone()));
    }
    for (number, address) in host.addresses.iter().enumerate() {
        found.push(Item::present(
            Kind::known("leased-address"),
            place(&format!("address {number}")),
            address.clone(),
        ));
    }
}
