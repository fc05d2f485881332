//! The secrets that encrypted volumes and TPMs are opened with: storage and guests declare the need, the engine's
//! secrets meet it.

use std::{
    fs::File,
    io::{Seek as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
};

use lodge_domain::PortError;
use lodge_model::{
    Kind,
    domain::served::{Login, LoginSecret},
    secret::{SecretUsage, UsageKind},
};
use lodge_storage::{PoolError, SecretName, SecretValue};
use uuid::Uuid;

use crate::secret::{SecretError, Secrets};

/// Secrets as storage asks for them.
#[derive(Debug)]
pub(crate) struct Keys(pub Arc<Secrets>);

impl lodge_storage::Secrets for Keys {
    fn value(&self, name: &SecretName) -> Result<SecretValue, PoolError> {
        let uuid = match name {
            SecretName::Uuid(uuid) => self.0.by_uuid(*uuid).map_err(|error| told(&error))?.uuid,
            SecretName::Usage(usage) => {
                self.0.by_usage(&for_volume(usage)).map_err(|error| told(&error))?.uuid
            }
        };
        self.0.value_for_guest(uuid).map(SecretValue).map_err(|error| told(&error))
    }

    fn of_volume(&self, path: &Path) -> Option<Uuid> {
        let found = self.0.by_usage(&for_volume(path.to_str()?));
        found.ok().map(|secret| secret.uuid)
    }
}

#[async_trait::async_trait]
impl lodge_domain::Secrets for Keys {
    async fn tpm_passphrase(&self, secret: Uuid) -> Result<OwnedFd, PortError> {
        self.passphrase(secret, UsageKind::Vtpm)
    }

    async fn tls_passphrase(&self, secret: Uuid) -> Result<OwnedFd, PortError> {
        self.passphrase(secret, UsageKind::Tls)
    }
}

impl Keys {
    /// The value of a secret that is for this use.
    fn passphrase(&self, secret: Uuid, wanted: UsageKind) -> Result<OwnedFd, PortError> {
        let refused = |error: SecretError| PortError::new(error.kind(), error.to_string());
        let document = self.0.by_uuid(secret).map_err(refused)?;
        if let Some(usage) = document.usage.as_ref().filter(|usage| usage.kind != wanted) {
            let text = format!(
                "secret with uuid {secret} is of type '{}' not expected '{}' type",
                usage.kind.as_str(),
                wanted.as_str()
            );
            return Err(PortError::new(Kind::InvalidInput, text));
        }
        let value = self.0.value_for_guest(secret).map_err(refused)?;
        in_memory(&value).map_err(|error| {
            PortError::new(Kind::Internal, format!("cannot keep a passphrase in memory: {error}"))
        })
    }

    /// The value of the secret that a disk's server asks for.
    pub(crate) fn login(&self, login: &Login) -> Result<OwnedFd, PortError> {
        let refused = |error: SecretError| PortError::new(error.kind(), error.to_string());
        let document = match &login.secret {
            LoginSecret::Uuid(uuid) => self.0.by_uuid(*uuid),
            LoginSecret::Usage(id) => self.0.by_usage(&SecretUsage { kind: login.usage, id: id.clone() }),
        };
        let document = document.map_err(refused)?;
        if let Some(usage) = document.usage.as_ref().filter(|usage| usage.kind != login.usage) {
            let text = format!(
                "secret with uuid {} is of type '{}' not expected '{}' type",
                document.uuid,
                usage.kind.as_str(),
                login.usage.as_str()
            );
            return Err(PortError::new(Kind::InvalidInput, text));
        }
        let value = self.0.value_for_guest(document.uuid).map_err(refused)?;
        kept_in_memory(&value)
    }
}

/// A file in memory with a secret in it, for QEMU.
pub(crate) fn kept_in_memory(value: &[u8]) -> Result<OwnedFd, PortError> {
    in_memory(value)
        .map_err(|error| PortError::new(Kind::Internal, format!("cannot keep a secret in memory: {error}")))
}

fn in_memory(value: &[u8]) -> std::io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, memfd_create};
    let mut file = File::from(memfd_create("passphrase", MemfdFlags::CLOEXEC)?);
    file.write_all(value)?;
    file.rewind()?;
    Ok(file.into())
}

fn for_volume(usage: &str) -> SecretUsage {
    SecretUsage { kind: UsageKind::Volume, id: usage.to_owned() }
}

fn told(error: &SecretError) -> PoolError {
    PoolError::NoSecret(error.to_string())
}
