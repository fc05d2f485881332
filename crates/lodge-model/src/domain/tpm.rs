//! `<tpm>`: a trusted platform module, the host's or an emulated one.

use super::address::Place;
use crate::DomainId;
use crate::xml::words::{YesNo, words};
use crate::xml::{Foreign, Xml};

words! {
    /// What the guest sees.
    pub enum TpmModel { Tis = "tpm-tis", Crb = "tpm-crb", Spapr = "tpm-spapr", SpaprProxy = "spapr-tpm-proxy" }
}

/// `<tpm model='tpm-crb'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Tpm {
    /// What the guest sees.
    #[xml(attr)]
    pub model: Option<TpmModel>,
    /// `<backend type='emulator' version='2.0'>`.
    #[xml(child, required)]
    pub backend: TpmBackend,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// What it is on the host.
    pub enum TpmBackendKind { Passthrough = "passthrough", Emulator = "emulator", External = "external" }
}

words! {
    /// Which of TCG's specifications it follows.
    pub enum TpmVersion { V1_2 = "1.2", V2_0 = "2.0" }
}

/// `<backend type='emulator' version='2.0' persistent_state='yes'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct TpmBackend {
    /// What it is on the host.
    #[xml(attr = "type", required)]
    pub kind: TpmBackendKind,
    /// emulator: the specification.
    #[xml(attr)]
    pub version: Option<TpmVersion>,
    /// emulator: whether its state outlives a guest that is not defined.
    #[xml(attr)]
    pub persistent_state: Option<YesNo>,
    /// emulator: how much it logs.
    #[xml(attr)]
    pub debug: Option<u32>,
    /// passthrough: `<device path='/dev/tpm0'/>`.
    #[xml(child)]
    pub device: Option<TpmDevice>,
    /// emulator: the secret that its state is encrypted with.
    #[xml(child)]
    pub encryption: Option<TpmEncryption>,
    /// emulator, 2.0: `<active_pcr_banks>`.
    #[xml(child)]
    pub active_pcr_banks: PcrBanks,
    /// emulator: where its state lies. external: its socket.
    #[xml(child)]
    pub source: Option<TpmSource>,
    /// emulator, 2.0: `<profile source='local:restricted'/>`.
    #[xml(child)]
    pub profile: Option<TpmProfile>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<device path='/dev/tpm0'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct TpmDevice {
    /// Its path.
    #[xml(attr)]
    pub path: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<encryption secret='…'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct TpmEncryption {
    /// The secret's UUID.
    #[xml(attr, required)]
    pub secret: Option<DomainId>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<active_pcr_banks><sha256/></active_pcr_banks>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct PcrBanks {
    /// SHA-1's.
    #[xml(flag)]
    pub sha1: bool,
    /// SHA-256's.
    #[xml(flag)]
    pub sha256: bool,
    /// SHA-384's.
    #[xml(flag)]
    pub sha384: bool,
    /// SHA-512's.
    #[xml(flag)]
    pub sha512: bool,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// What the source is.
    pub enum TpmSourceKind { File = "file", Dir = "dir", Unix = "unix" }
}

/// `<source type='unix' mode='connect' path='/run/swtpm.sock'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct TpmSource {
    /// What it is.
    #[xml(attr = "type", required)]
    pub kind: TpmSourceKind,
    /// Who listens; QEMU never does.
    #[xml(attr)]
    pub mode: Option<super::chardev::CharMode>,
    /// Its path.
    #[xml(attr)]
    pub path: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// What happens to algorithms that the profile does not have.
    pub enum RemoveDisabled { Check = "check", FipsHost = "fips-host" }
}

/// `<profile source='local:restricted' removeDisabled='check' name='custom'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct TpmProfile {
    /// Where it comes from.
    #[xml(attr)]
    pub source: Option<String>,
    /// What happens to algorithms that it does not have.
    #[xml(attr = "removeDisabled")]
    pub remove_disabled: Option<RemoveDisabled>,
    /// Its name; found out at the first start.
    #[xml(attr)]
    pub name: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
