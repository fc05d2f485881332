//! Clones and templates: other machines made of one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::is_off;

/// What to make of what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloneSpec {
    /// A domain, or a template: `NAME`, `NAME:VERSION`, `NAME:latest`. One that runs is cloned with its memory. Empty where a
    /// `document` is given.
    #[schema(example = "web")]
    #[serde(default)]
    pub source: String,
    /// In place of a source: libvirt's document of a machine that is off, which need not be defined here. Its disks are
    /// copied, and must not be written by anybody meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// The new domain's name; with `count` the beginning of the names.
    #[schema(example = "web2")]
    pub name: String,
    /// So many clones: `NAME-1`, `NAME-2` … in place of one `NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// What the clones' disks stand on.
    #[serde(default)]
    pub mode: CloneMode,
    /// Leave all inside as it is, and addresses and serial numbers too: a replacement, not another machine.
    #[serde(default, skip_serializing_if = "is_off")]
    pub keep_identity: bool,
    /// Addresses of the interfaces in their order; `random` for one of its own. Of one clone only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macs: Vec<String>,
    /// The host name inside; none given: the domain's name, as far as it can be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Start each when it is made. A clone with memory goes on by itself.
    #[serde(default, skip_serializing_if = "is_off")]
    pub start: bool,
    /// A clone with memory does not go on: it stays a saved guest, with its interfaces' links down.
    #[serde(default, skip_serializing_if = "is_off")]
    pub no_start: bool,
    /// Of a domain that runs: its disks as they are at one moment, without its memory.
    #[serde(default, skip_serializing_if = "is_off")]
    pub disks_only: bool,
    /// Clone with memory also where the guest cannot be made to change what its source knows too, and put it on its
    /// networks all the same.
    #[serde(default, skip_serializing_if = "is_off")]
    pub force: bool,
    /// The UUID; none given: a random one. Of one clone only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Where the files of the disks that are copied go, in the disks' order; those that are not named go to the pool of the
    /// source's. Of one clone only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Copies share blocks with the source; where the file system cannot, nothing is done.
    #[serde(default, skip_serializing_if = "is_off")]
    pub reflink: bool,
    /// Disks, by target, that the clone shares with its source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub share: Vec<String>,
    /// Disks, by target, that are copied although both could have them: read-only and shareable ones, CD-ROMs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy: Vec<String>,
    /// Files of copied disks have no holes: the space that they may take is theirs from the beginning.
    #[serde(default, skip_serializing_if = "is_off")]
    pub allocate: bool,
    /// A domain that has the name is stopped at once and undefined before; its disks stay. Of one clone only.
    #[serde(default, skip_serializing_if = "is_off")]
    pub replace: bool,
    /// The files named in `files` are there already and are taken as they are.
    #[serde(default, skip_serializing_if = "is_off")]
    pub preserve_data: bool,
    /// Where the UEFI variables go. Of one clone only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvram: Option<String>,
    /// Addresses inside, each `NIC=ADDRESS/PREFIX[,ROUTER]`, `NIC=FIRST-LAST/PREFIX[,ROUTER]` (of many clones, one each) or
    /// `NIC=dhcp`. NIC: an interface's number from 0, its hardware address in the source, or its name in the guest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["0=192.0.2.10/24,192.0.2.1"]))]
    pub addresses: Vec<String>,
    /// What becomes of private keys that are not the machine's own.
    #[serde(default)]
    pub private_keys: PrivateKeys,
    /// Make nothing; the result says what would be made.
    #[serde(default, skip_serializing_if = "is_off")]
    pub dry_run: bool,
}

/// What becomes of private keys that are not the machine's own: users' and services', PGP's too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PrivateKeys {
    /// They stay and are warned of.
    #[default]
    Keep,
    /// They are removed.
    Remove,
    /// Nothing is made while there are any.
    Refuse,
}

/// What a clone's disks stand on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CloneMode {
    /// Of a template: on the template. Of a domain: each file is copied, and stands on what the domain's stands on.
    #[default]
    Auto,
    /// On the template; a domain is refused, since it would be written.
    Linked,
    /// On nothing.
    Full,
}

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloneReport {
    /// The domain, or the template with its version.
    pub source: String,
    /// The clones.
    pub guests: Vec<ClonedGuest>,
}

/// One clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClonedGuest {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Its own disks' files, by target.
    pub disks: BTreeMap<String, String>,
    /// What became of the identity inside.
    pub inside: InsideState,
    /// What is other than the source's.
    pub changes: Vec<IdentityChange>,
    /// What stays shared, and what was not done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What stands empty inside and somebody must fill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["/etc/sysconfig/network-scripts/ifcfg-eth0: IPADDR is empty"]))]
    pub to_fill: Vec<String>,
    /// libvirt's document, where nothing was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// What became of the identity inside a guest's disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InsideState {
    /// It is another, and that was verified.
    Reset,
    /// It was left, as was asked.
    Kept,
    /// It could not be changed; the warnings say why.
    #[default]
    NotReset,
}

/// One thing that became another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdentityChange {
    /// What it is.
    #[schema(example = "machine-id")]
    pub item: String,
    /// Where it is: a path in the guest, a device, or empty for what the host gives.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(example = "/etc/machine-id")]
    pub place: String,
    /// What it was.
    pub old: String,
    /// What it is; empty: nothing, and the guest makes one at its start.
    pub new: String,
    /// How that is known.
    #[schema(example = "read back from the disk")]
    pub verified: String,
}

/// What to make a template of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateSpec {
    /// A domain that is shut off. It stays as it is.
    #[schema(example = "web1")]
    pub domain: String,
    /// The template's name; none given: the domain's. One that is there gets a new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What becomes of private keys that are not the machine's own.
    #[serde(default)]
    pub private_keys: PrivateKeys,
    /// Take the copy as it is, with all that makes it this machine. Else a template is only made of what is proven to have
    /// none of it.
    #[serde(default)]
    pub keep_identity: bool,
}

/// A version of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TemplateView {
    /// Its name.
    #[schema(example = "web")]
    pub name: String,
    /// Its version, from 1.
    pub version: u32,
    /// Whether it is meant where no version is named.
    pub is_latest: bool,
    /// The domain it was made of.
    pub source: String,
    /// Its disks' files, by target. Nobody writes to them.
    pub disks: BTreeMap<String, String>,
    /// Its UEFI variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvram: Option<String>,
    /// Bytes its own files take on the host.
    pub size_bytes: u64,
    /// What became of the identity inside.
    pub inside: InsideState,
    /// What was taken out of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<IdentityChange>,
    /// What was not done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What stands empty inside and must be filled in each machine made of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["/etc/sysconfig/network-scripts/ifcfg-eth0: IPADDR is empty"]))]
    pub to_fill: Vec<String>,
    /// Files that stand on it; while there are any it cannot be removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<String>,
    /// When it was made. Unix time in ms.
    pub created_ms: u64,
    /// libvirt's document of a guest made of it.
    pub document: String,
}
