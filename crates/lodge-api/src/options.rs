//! What can be asked of a domain beside its name: queries and request bodies, one struct per act.
//!
//! Everything is optional; what is left out is off. The words are those of virsh's options.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::{IntoParams, ToSchema};

use crate::domain::DomainState;
use crate::is_off;

/// Which domains to list. All that is given must be so; nothing given lists all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct DomainFilter {
    /// Those with a QEMU (`true`) or without (`false`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Those with a kept definition, or the transient ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent: Option<bool>,
    /// Those that start with the daemon, or do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autostart: Option<bool>,
    /// Those with, or without, saved memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_save: Option<bool>,
    /// Those with, or without, snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<bool>,
    /// Those in one of these states: virsh's words, with commas between them.
    #[serde(with = "state_list", skip_serializing_if = "Vec::is_empty")]
    #[param(value_type = Option<String>, example = "running,shut off")]
    pub state: Vec<DomainState>,
    /// With the machine ids that were read from disks before.
    #[serde(skip_serializing_if = "is_off")]
    pub identity: bool,
}

/// States with commas between, as one query parameter.
mod state_list {
    use super::{Deserialize, Deserializer, DomainState, Serializer, de};

    pub fn serialize<S: Serializer>(states: &[DomainState], out: S) -> Result<S::Ok, S::Error> {
        let words: Vec<_> = states.iter().map(|state| state.word()).collect();
        out.serialize_str(&words.join(","))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<DomainState>, D::Error> {
        let text = String::deserialize(input)?;
        let state = |word: &str| {
            DomainState::ALL.into_iter().find(|state| state.word() == word).ok_or_else(|| {
                let words = DomainState::ALL.map(DomainState::word).join(", ");
                de::Error::custom(format!("`{word}` is no state; the states are: {words}"))
            })
        };
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(state).collect()
    }
}

/// How to take in a domain's document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct DefineOptions {
    /// Refuse what libvirt's schema would refuse, unknown elements included.
    #[serde(skip_serializing_if = "is_off")]
    pub validate: bool,
    /// Start it at once and keep no definition (`virsh create`).
    #[serde(skip_serializing_if = "is_off")]
    pub start: bool,
    /// With `start`: leave its processors held.
    #[serde(skip_serializing_if = "is_off")]
    pub paused: bool,
    /// With `start`: destroy it when this client goes.
    #[serde(skip_serializing_if = "is_off")]
    pub autodestroy: bool,
}

/// How to write a domain's document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct XmlOptions {
    /// The definition the next start takes, even while it runs.
    #[serde(skip_serializing_if = "is_off")]
    pub inactive: bool,
    /// Without what older versions would not understand.
    #[serde(skip_serializing_if = "is_off")]
    pub migratable: bool,
    /// With passwords.
    #[serde(skip_serializing_if = "is_off")]
    pub security_info: bool,
    /// With what the processor leaves to the host filled in.
    #[serde(skip_serializing_if = "is_off")]
    pub update_cpu: bool,
}

/// What goes with an undefined domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct UndefineOptions {
    /// Its NVRAM file goes too.
    #[serde(skip_serializing_if = "is_off")]
    pub nvram: bool,
    /// Its NVRAM file stays.
    #[serde(skip_serializing_if = "is_off")]
    pub keep_nvram: bool,
    /// Its TPM's state goes also if the document has it persist.
    #[serde(skip_serializing_if = "is_off")]
    pub tpm: bool,
    /// Its TPM's state stays.
    #[serde(skip_serializing_if = "is_off")]
    pub keep_tpm: bool,
    /// Its saved memory goes too.
    #[serde(skip_serializing_if = "is_off")]
    pub managed_save: bool,
    /// What is known of its snapshots goes too.
    #[serde(skip_serializing_if = "is_off")]
    pub snapshots_metadata: bool,
    /// Its disks go too.
    #[serde(skip_serializing_if = "is_off")]
    pub remove_all_storage: bool,
    /// These disks go too: targets or paths, parted by commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// Do nothing; say what would go.
    #[serde(skip_serializing_if = "is_off")]
    pub dry_run: bool,
}

/// How to start a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StartOptions {
    /// Leave its processors held.
    #[serde(skip_serializing_if = "is_off")]
    pub paused: bool,
    /// Drop the saved memory, if any, and boot.
    #[serde(skip_serializing_if = "is_off")]
    pub force_boot: bool,
    /// Read the saved memory past the page cache.
    #[serde(skip_serializing_if = "is_off")]
    pub bypass_cache: bool,
    /// Destroy it when this client goes.
    #[serde(skip_serializing_if = "is_off")]
    pub autodestroy: bool,
}

/// How to stop a domain at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DestroyOptions {
    /// Let QEMU flush and end by itself; fail where it does not, instead of killing it.
    #[serde(skip_serializing_if = "is_off")]
    pub graceful: bool,
}

/// How to ask the guest to shut down or reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PowerOptions {
    /// The ways to try, in this order. None given: the agent if it answers, else ACPI.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mode: Vec<PowerMode>,
}

/// A way to ask the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PowerMode {
    /// The power button (for a reboot: reset after the guest's shutdown).
    Acpi,
    /// The guest agent.
    Agent,
}

/// Where and how to save a domain's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SaveOptions {
    /// The file on the daemon's host; an absolute path.
    #[schema(example = "/var/lib/libvirt/qemu/save/web1.save")]
    pub file: String,
    /// The restored domain is to be paused, whatever it is now.
    #[serde(default, skip_serializing_if = "is_off")]
    pub paused: bool,
    /// The restored domain is to run, whatever it is now.
    #[serde(default, skip_serializing_if = "is_off")]
    pub running: bool,
    /// Write past the page cache.
    #[serde(default, skip_serializing_if = "is_off")]
    pub bypass_cache: bool,
    /// The document to keep in the file instead of the domain's; what the guest sees must be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xml: Option<String>,
}

/// What to restore, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreOptions {
    /// The file on the daemon's host; an absolute path.
    #[schema(example = "/var/lib/libvirt/qemu/save/web1.save")]
    pub file: String,
    /// Leave it paused, whatever the file says.
    #[serde(default, skip_serializing_if = "is_off")]
    pub paused: bool,
    /// Let it run, whatever the file says.
    #[serde(default, skip_serializing_if = "is_off")]
    pub running: bool,
    /// Read past the page cache.
    #[serde(default, skip_serializing_if = "is_off")]
    pub bypass_cache: bool,
    /// The document to take instead of the file's; what the guest sees must be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xml: Option<String>,
}

/// How to save a domain's memory where the next start finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ManagedSaveOptions {
    /// The next start leaves it paused.
    #[serde(skip_serializing_if = "is_off")]
    pub paused: bool,
    /// The next start lets it run.
    #[serde(skip_serializing_if = "is_off")]
    pub running: bool,
    /// Write past the page cache.
    #[serde(skip_serializing_if = "is_off")]
    pub bypass_cache: bool,
}

/// Whether a domain or network starts with the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Autostart {
    /// It does.
    pub enabled: bool,
}

/// Where to learn a domain's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct AddressesQuery {
    /// The source; none given: leases.
    pub source: AddressSource,
}

/// A source of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AddressSource {
    /// What our DHCP server leased.
    #[default]
    Lease,
    /// What the guest agent says.
    Agent,
    /// The host's neighbour table.
    Arp,
}

/// How to open a console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ConsoleQuery {
    /// Take it over from whoever has it.
    #[serde(skip_serializing_if = "is_off")]
    pub force: bool,
}

/// Which log of a domain, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Which; none given: QEMU's.
    pub which: LogKind,
    /// At most so many of its last lines; none given: 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
}

/// A log of a domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogKind {
    /// What QEMU said.
    #[default]
    Qemu,
    /// What the guest wrote to its serial console.
    Console,
}

/// What to wait for, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// What to wait for.
    #[serde(rename = "for")]
    pub target: WaitFor,
    /// Give up after so many seconds; none given: when the guest's own deadline passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
}

/// A point in a guest's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WaitFor {
    /// Its own set-up is done.
    #[default]
    Ready,
    /// It has an address.
    Address,
    /// Its agent answers.
    Agent,
    /// It is shut off.
    Stopped,
    /// Its processors run.
    Running,
}
