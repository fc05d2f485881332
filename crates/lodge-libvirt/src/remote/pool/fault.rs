//! The storage's errors as libvirt's: number, part and words.

use lodge_engine::EngineError;
use lodge_engine::storage::{PoolError, StorageError};

use crate::fault::{Code, Fault, Origin};

/// What a client is told of an error of the storage.
pub(crate) fn of(error: EngineError) -> Fault {
    match error.resource::<PoolError>() {
        Some(pool) => of_pool(pool),
        None => error.into(),
    }
}

pub(crate) fn of_pool(error: &PoolError) -> Fault {
    use PoolError as E;
    let code = match error {
        E::NoPool { .. } => Code::NoStoragePool,
        E::NoVolume { .. } => Code::NoStorageVol,
        E::Document(_) => Code::XmlError,
        E::Syntax(_) => Code::XmlDetail,
        E::Root { .. } => return Fault::new(Code::XmlError, Origin::Xml, error.to_string()),
        E::Schema(text) => return Fault::new(Code::XmlInvalidSchema, Origin::Xml, text.clone()),
        E::Config(_) => Code::ConfigUnsupported,
        E::State(_) | E::InUse { .. } => Code::OperationInvalid,
        E::Clash(_) | E::Full { .. } => Code::OperationFailed,
        E::Unsupported(_) => Code::OperationUnsupported,
        E::NoSupport(_) => Code::NoSupport,
        E::ArgumentUnsupported(_) => Code::ArgumentUnsupported,
        E::Silent { .. } | E::Late { .. } => Code::OperationTimeout,
        E::Built(_) => Code::StoragePoolBuilt,
        E::NoSecret(_) => return Fault::new(Code::NoSecret, Origin::Secret, error.to_string()),
        E::VolumeExists { name } => {
            return Fault::new(Code::StorageVolExist, Origin::Storage, format!("'{name}'"));
        }
        E::Argument(text) => {
            // What the C library itself refuses stands alone.
            let is_bare = text.starts_with("unsupported flags");
            let made = if is_bare { Fault::bare } else { Fault::new };
            return made(Code::InvalidArg, Origin::Storage, text.clone());
        }
        E::System { source, .. } => {
            return Fault::system(
                Origin::Storage,
                error.to_string(),
                source.raw_os_error().unwrap_or_default(),
            );
        }
        E::Disk(StorageError::Missing { path }) => {
            let text = format!("no storage vol with matching path '{}'", path.display());
            return Fault::new(Code::NoStorageVol, Origin::Storage, text);
        }
        _ => Code::InternalError,
    };
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    Fault::new(code, Origin::Storage, text)
}
