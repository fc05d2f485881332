//! Changes of a domain that is there: one document per change, one route for all of them.
//!
//! What virsh has a verb each for (`setmem`, `attach-device`, `schedinfo --set` …) is here one tagged document, so that
//! a new change is a variant and no path. Devices travel as libvirt's XML inside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::is_off;

/// For which of a domain's documents a change is. Neither: for the one that counts now, the running guest's or the
/// definition. Both: only if both can be changed is either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ChangeScope {
    /// The running guest.
    #[serde(skip_serializing_if = "is_off")]
    pub live: bool,
    /// The definition, which the next start takes.
    #[serde(skip_serializing_if = "is_off")]
    pub config: bool,
}

/// What is to change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "change", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DomainChange {
    /// The memory that the guest has of what it can have (`virsh setmem`).
    Memory {
        /// In KiB.
        memory_kib: u64,
    },
    /// The most memory it can have (`virsh setmaxmem`).
    MaxMemory {
        /// In KiB.
        memory_kib: u64,
    },
    /// Its processors (`virsh setvcpus`).
    Vcpus {
        /// How many.
        count: u32,
    },
    /// The most processors it can have, from the next start on (`virsh setvcpus --maximum`).
    MaxVcpus {
        /// How many.
        count: u32,
    },
    /// One more device (`virsh attach-device`).
    AttachDevice {
        /// libvirt's element of it.
        xml: String,
    },
    /// A device less (`virsh detach-device`).
    DetachDevice {
        /// libvirt's element of it; what tells it from others is enough.
        xml: String,
    },
    /// A device otherwise (`virsh update-device`, `change-media`).
    UpdateDevice {
        /// libvirt's element of it as it is to be.
        xml: String,
        /// A drive's tray is opened whatever the guest says.
        #[serde(default, skip_serializing_if = "is_off")]
        force: bool,
    },
    /// Shares and limits of processor time (`virsh schedinfo --set`).
    Scheduler {
        /// By libvirt's names: `cpu_shares`, `vcpu_quota` …
        settings: BTreeMap<String, i64>,
    },
}
