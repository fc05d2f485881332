//! `<encryption>` of a volume or a guest's disk: how its bytes are locked, and with which secret.

use uuid::Uuid;

use crate::xml::{Foreign, Xml};

/// `<encryption format='luks'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Encryption {
    /// `luks`; libvirt also knows `qcow`, `luks2`, `default`.
    #[xml(attr)]
    pub format: Option<String>,
    /// Who decrypts: `qemu`, `librbd`.
    #[xml(attr)]
    pub engine: Option<String>,
    /// The secrets that open it.
    #[xml(children = "secret")]
    pub secrets: Vec<EncryptionSecret>,
    /// How a new one is encrypted.
    #[xml(child)]
    pub cipher: Option<Cipher>,
    /// How the initial vectors of a new one are made.
    #[xml(child)]
    pub ivgen: Option<IvGenerator>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl Encryption {
    /// What is known of a file with such a header.
    pub fn luks() -> Self {
        Self { format: Some("luks".to_owned()), ..Self::default() }
    }
}

/// `<secret type='passphrase' uuid='…'/>`, or by `usage`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct EncryptionSecret {
    /// `passphrase`.
    #[xml(attr = "type")]
    pub kind: Option<String>,
    /// Which secret.
    #[xml(attr)]
    pub uuid: Option<Uuid>,
    /// Which secret, by what it is for.
    #[xml(attr)]
    pub usage: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<cipher name='aes' size='256' mode='xts' hash='sha256'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Cipher {
    /// `aes`.
    #[xml(attr)]
    pub name: Option<String>,
    /// Bits of the key.
    #[xml(attr)]
    pub size: Option<u32>,
    /// `xts`, `cbc`.
    #[xml(attr)]
    pub mode: Option<String>,
    /// `sha256`.
    #[xml(attr)]
    pub hash: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<ivgen name='essiv' hash='sha256'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct IvGenerator {
    /// `plain64`, `essiv`.
    #[xml(attr)]
    pub name: Option<String>,
    /// Of `essiv`: its hash.
    #[xml(attr)]
    pub hash: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
