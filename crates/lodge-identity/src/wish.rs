//! What somebody wants to become of a guest's identity.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{Fresh, Step, operations};

/// A wish for one guest.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What for.
    pub purpose: Purpose,
    /// The new host name, short or with its domain. None: as it was, or none at all (a template).
    pub host_name: Option<String>,
    /// The NICs, in the definition's order.
    pub nics: Vec<NicWish>,
    /// What becomes of private keys that are not the machine's own.
    pub private_keys: PrivateKeys,
    /// What becomes of the UUIDs of disks, partitions and file systems.
    pub device_uuids: DeviceUuids,
    /// Host keys that the caller made, as OpenSSH private keys: RSA ones, which take most of a second to make, so
    /// they are made by those who want them and when there is time. Each takes the place of its type.
    pub host_keys: Vec<String>,
    /// Which parts of the catalogue.
    pub operations: Operations,
    /// What else is to be done, in this order, after all that: virt-sysprep's customizations.
    pub steps: Vec<Step>,
    /// Randomness.
    pub fresh: Fresh,
}

/// What the new identity is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// A new machine that keeps what its source had learned (logs, users' files) and is somebody else.
    Clone,
    /// The same machine with a new identity.
    Reset,
    /// A template: no identity at all, and no traces of who used it.
    Generalise,
    /// The same identity, for the return of a lost machine: nothing is changed.
    Keep,
}

/// What is wanted of one NIC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicWish {
    /// The address it had, if the guest may know it by that.
    pub old_mac: Option<String>,
    /// The address it gets.
    pub new_mac: Option<String>,
    /// What the guest calls it, if that is known.
    pub interface: Option<String>,
    /// Its addresses.
    pub address: Address,
}

/// What becomes of a NIC's addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// As it is. A clone's static one is flagged, since its source has it too; a template's becomes DHCP's, unless
    /// the operations say otherwise.
    #[default]
    Leave,
    /// Asked of DHCP.
    Dhcp,
    /// Another static one.
    Static(StaticAddress),
}

/// A static address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of the network's prefix.
    pub prefix: u8,
    /// The router. None: as it was.
    pub gateway: Option<IpAddr>,
}

/// What becomes of private keys that are not the machine's own (users', services', PGP).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrivateKeys {
    /// They stay and are flagged.
    #[default]
    Keep,
    /// They are removed.
    Remove,
    /// There is no plan while there are any.
    Refuse,
}

/// What becomes of devices' UUIDs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceUuids {
    /// New ones where all that refers to the old one was found and can be put right.
    #[default]
    Safe,
    /// New ones wherever there is a way, also where the guest may then need help to boot.
    All,
    /// As they are.
    Keep,
}

/// Which parts of the catalogue are done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operations {
    /// What the purpose needs.
    #[default]
    Default,
    /// These and no others: [`operations::OPERATIONS`]' names.
    Only(BTreeSet<String>),
}

impl Wish {
    /// A wish with everything at its default.
    pub fn new(purpose: Purpose, fresh: Fresh) -> Self {
        Self {
            purpose,
            host_name: None,
            nics: Vec::new(),
            private_keys: PrivateKeys::default(),
            device_uuids: DeviceUuids::default(),
            host_keys: Vec::new(),
            operations: Operations::default(),
            steps: Vec::new(),
            fresh,
        }
    }

    /// Whether an operation is wished.
    pub(crate) fn does(&self, operation: &str) -> bool {
        if self.purpose == Purpose::Keep {
            return false;
        }
        match &self.operations {
            Operations::Only(names) => names.contains(operation),
            // A clone's devices are new; a template's need not be, since its clones' will.
            Operations::Default => match operation {
                "fs-uuids" | "lvm-uuids" | "disk-ids" => self.purpose != Purpose::Generalise,
                // virt-sysprep leaves static addresses; a template of Lodge's is nobody's.
                "net-address" => self.purpose == Purpose::Generalise,
                name => operations::of(name).is_none_or(|operation| operation.is_default),
            },
        }
    }
}
