//! What storage needs of others: the values of secrets, which encrypted volumes are made and opened with.

use std::{fmt, path::Path};

use uuid::Uuid;

use crate::pool::error::PoolError;

/// How a document names a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretName {
    /// By its identity.
    Uuid(Uuid),
    /// By what it is for: a volume's path, or what the user wrote there.
    Usage(String),
}

/// A secret's value. It is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(pub Vec<u8>);

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue")
    }
}

/// Where secrets are kept.
pub trait Secrets: Send + Sync + fmt::Debug {
    /// A secret's value, for the daemon's own use.
    fn value(&self, name: &SecretName) -> Result<SecretValue, PoolError>;
    /// The secret that is for the volume at this path.
    fn of_volume(&self, path: &Path) -> Option<Uuid>;
}

/// There are none: for who opens pools without an engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoSecrets;

impl Secrets for NoSecrets {
    fn value(&self, name: &SecretName) -> Result<SecretValue, PoolError> {
        let text = match name {
            SecretName::Uuid(uuid) => format!("no secret with matching uuid '{uuid}'"),
            SecretName::Usage(usage) => format!("no secret with matching usage '{usage}'"),
        };
        Err(PoolError::NoSecret(text))
    }

    fn of_volume(&self, _path: &Path) -> Option<Uuid> {
        None
    }
}
