//! The secrets that storage opens encrypted volumes with: storage declares the need, the engine's secrets meet it.

use std::{path::Path, sync::Arc};

use lodge_model::secret::{SecretUsage, UsageKind};
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

fn for_volume(usage: &str) -> SecretUsage {
    SecretUsage { kind: UsageKind::Volume, id: usage.to_owned() }
}

fn told(error: &SecretError) -> PoolError {
    PoolError::NoSecret(error.to_string())
}
