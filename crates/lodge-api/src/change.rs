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
    /// Another name; the domain must be off (`virsh domrename`).
    Name {
        /// The new one.
        name: String,
    },
    /// `<title>`; without a text it goes (`virsh desc --title`).
    Title {
        /// One line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// `<description>`; without a text it goes (`virsh desc`).
    Description {
        /// Any text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Somebody's element in `<metadata>`; without it, it goes (`virsh metadata`).
    Metadata {
        /// Its namespace.
        uri: String,
        /// The prefix it gets; needed with an element.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The element.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xml: Option<String>,
    },
    /// Keys pressed together, once (`virsh send-key`).
    Keys {
        /// What the numbers are of.
        #[serde(default)]
        codeset: KeyCodes,
        /// Up to 16 keys.
        codes: Vec<u32>,
        /// How long they are held, in ms; 0: QEMU's choice.
        #[serde(default, skip_serializing_if = "is_zero")]
        hold_ms: u32,
    },
    /// The guest's clock, set by its agent (`virsh domtime`).
    Time {
        /// What it shows then; without, what the guest's hardware clock shows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<GuestTime>,
    },
    /// Shares and limits of processor time (`virsh schedinfo --set`).
    Scheduler {
        /// By libvirt's names: `cpu_shares`, `vcpu_quota` …
        settings: BTreeMap<String, i64>,
    },
}

/// A moment as a guest's clock has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestTime {
    /// Seconds since 1970.
    pub seconds: i64,
    /// And nanoseconds.
    #[serde(default)]
    pub nanoseconds: u32,
}

/// Whose numbers of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyCodes {
    /// The kernel's.
    #[default]
    Linux,
    /// A PC's scan codes.
    Xt,
    /// A PC/AT's first set, which is the PC's.
    Atset1,
    /// USB's usages.
    Usb,
    /// QEMU's.
    Qnum,
}

/// Which screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ScreenQuery {
    /// Its number, from 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub screen: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
