//! Identities: what makes one machine this machine, and what became of it.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{IdentityChange, ImageSubject, InsideState, PrivateKeys, is_off};

/// What a machine is known by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdentityView {
    /// The domain, template or image.
    #[schema(example = "web1")]
    pub subject: String,
    /// What that is.
    pub kind: SubjectKind,
    /// How what is inside was learnt.
    pub learnt: Learnt,
    /// What runs in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Debian GNU/Linux 12 (bookworm)")]
    pub system: Option<String>,
    /// D-Bus's machine id: what `dbus-uuidgen --get` answers inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "17f2e0698e844e31b12ccd3f9aa4d94a")]
    pub machine_id: Option<String>,
    /// All that is known, item by item.
    pub items: Vec<IdentityItem>,
    /// What stands empty and somebody must fill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["/etc/sysconfig/network-scripts/ifcfg-eth0: IPADDR is empty"]))]
    pub to_fill: Vec<String>,
    /// What could not be looked at, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
    /// Why it is not another machine than its source yet, and what to do: of a clone with memory that nobody could finish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
}

/// What an identity is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SubjectKind {
    /// A domain.
    #[default]
    Domain,
    /// A version of a template.
    Template,
    /// An image.
    Image,
    /// A lease of a network.
    Lease,
    /// A machine that was seen on a bridge.
    Neighbour,
}

/// How what is inside a machine was learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Learnt {
    /// Its disks were read.
    Disk,
    /// Its disks were read before, and have not changed since.
    Cache,
    /// Its agent said so.
    Agent,
    /// Not at all: only what the host gives it is known.
    #[default]
    Host,
}

/// One value at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdentityItem {
    /// What it is.
    #[schema(example = "machine-id")]
    pub item: String,
    /// Where: a path in the guest, a device, or `host`.
    #[schema(example = "/etc/machine-id")]
    pub place: String,
    /// `present`, `empty`, `missing`, `unreadable`, `unknown`.
    #[schema(example = "present")]
    pub state: String,
    /// The value, or the fingerprint of one that is secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// No two machines may have the same value.
    pub is_unique: bool,
}

/// Two machines beside each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdentityDiff {
    /// One.
    pub one: String,
    /// The other.
    pub other: String,
    /// What both have, and no two machines may have.
    pub alike: Vec<IdentityPair>,
    /// What differs.
    pub different: Vec<IdentityPair>,
    /// What could not be looked at, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
}

/// One item of two machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdentityPair {
    /// What it is.
    pub item: String,
    /// Where.
    pub place: String,
    /// The one's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one: Option<String>,
    /// The other's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
}

/// Which two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct IdentityDiffQuery {
    /// A domain or template.
    pub one: String,
    /// Another.
    pub other: String,
}

/// Which entries of the book.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct IdentityLogQuery {
    /// Of this machine, by name or UUID; none given: of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// An entry of the book: one act on a machine's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdentityAct {
    /// The act's id.
    pub id: String,
    /// When. Unix time in ms.
    pub time_ms: u64,
    /// `clone`, `template`, `reset`, `sysprep`, `ensure`.
    #[schema(example = "clone")]
    pub act: String,
    /// The machine's UUID; of a template empty.
    pub uuid: String,
    /// Its name then.
    pub name: String,
    /// What it was made of; empty: of nothing, it was changed.
    pub source: String,
    /// Who asked.
    #[schema(example = "uid 0")]
    pub caller: String,
    /// What became of the identity inside.
    pub inside: InsideState,
    /// Each item: old, new, how it was verified.
    pub changes: Vec<IdentityChange>,
    /// What was not done, and what stays shared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What stands empty inside and somebody must fill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to_fill: Vec<String>,
}

/// How to give a guest another identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityReset {
    /// Although it runs: its machine id alone is changed, through its agent.
    #[serde(skip_serializing_if = "is_off")]
    pub force: bool,
    /// As `dbus-uuidgen --ensure`: a machine id where there is none, and nothing else. One that runs gets it through its
    /// agent.
    #[serde(skip_serializing_if = "is_off")]
    pub ensure: bool,
    /// Change nothing; say what would be changed.
    #[serde(skip_serializing_if = "is_off")]
    pub dry_run: bool,
    /// The host name inside; none given: it stays as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// virt-sysprep's operations, to leave it a template rather than another machine; none given: another machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<String>>,
    /// What becomes of private keys that are not the machine's own.
    pub private_keys: PrivateKeys,
    /// virt-sysprep's customizations, in their order; of the operation `customize`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<SysprepStep>,
    /// Users that stay; of the operation `user-account`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keep_users: Vec<String>,
    /// Users that go, and no others; of the operation `user-account`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_users: Vec<String>,
}

/// One of virt-sysprep's customizations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SysprepStep {
    /// virt-sysprep's option, without its dashes. A password is `crypt:HASH`, as crypt(5) has it, and a key `string:KEY`.
    #[schema(example = "append-line")]
    pub option: String,
    /// Its value.
    #[schema(example = "/etc/hosts:192.0.2.1 foo")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// The caller's files that the value names: of `upload`, `copy-in` and `firstboot`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<SysprepFile>,
}

/// A file on its way into a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SysprepFile {
    /// Its name, or its path below the directory that it goes into.
    #[schema(example = "motd")]
    pub path: String,
    /// A plain file's bytes, in base64. None of `base64` and `link`: it is a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Where a symbolic link points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permissions.
    #[schema(example = 420)]
    pub mode: u16,
}

/// What to take out of a machine that lies on image files and is no domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageSysprep {
    /// Its disks, in their order.
    pub disks: Vec<ImageSubject>,
    /// Change nothing; say what would be changed.
    #[serde(default, skip_serializing_if = "is_off")]
    pub dry_run: bool,
    /// The host name inside; none given: it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// virt-sysprep's operations.
    #[schema(example = json!(["defaults", "-ssh-userdir"]))]
    pub operations: Vec<String>,
    /// What becomes of private keys that are not the machine's own.
    #[serde(default)]
    pub private_keys: PrivateKeys,
    /// virt-sysprep's customizations, in their order; of the operation `customize`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<SysprepStep>,
    /// Users that stay; of the operation `user-account`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_users: Vec<String>,
    /// Users that go, and no others; of the operation `user-account`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove_users: Vec<String>,
}

/// A rule of the catalogue that is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdentityRule {
    /// The items' name.
    #[schema(example = "iscsi-initiator")]
    pub name: String,
    /// What it is about.
    pub what: String,
    /// The file that it stands in; none: it came with the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/etc/lodge/identity.d/ours.toml")]
    pub file: Option<String>,
    /// Which files in a guest it is about.
    pub paths: Vec<String>,
    /// What becomes of them in a clone.
    #[schema(example = "new-uuid")]
    pub reset: String,
    /// What becomes of them in a template.
    #[schema(example = "remove")]
    pub generalise: String,
    /// The operation that does it: virt-sysprep's name, or the rule's own.
    pub operation: String,
    /// It is under the policy for private keys.
    #[serde(default, skip_serializing_if = "is_off")]
    pub is_private: bool,
}

/// One of the things that can be taken out of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SysprepOperation {
    /// virt-sysprep's name.
    #[schema(example = "ssh-hostkeys")]
    pub name: String,
    /// Whether it is done where none is named.
    pub is_default: bool,
    /// What it does.
    pub about: String,
}

/// How to look at all machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityAudit {
    /// Read every disk, also one that has not changed since it was read.
    #[serde(skip_serializing_if = "is_off")]
    pub fresh: bool,
}

/// What was found among all machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditReport {
    /// Machines that were looked at.
    pub machines: u32,
    /// Of these, whose disks had not changed since they were read.
    pub cached: u32,
    /// Values that more than one machine has.
    pub duplicates: Vec<DuplicateView>,
    /// What could not be looked at, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// A value that more than one machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DuplicateView {
    /// What it is.
    #[schema(example = "machine-id")]
    pub item: String,
    /// The value.
    pub value: String,
    /// Who has it, and where.
    pub holders: Vec<DuplicateHolder>,
}

/// Who has a value, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DuplicateHolder {
    /// The machine.
    pub subject: String,
    /// Where in it.
    pub place: String,
}
