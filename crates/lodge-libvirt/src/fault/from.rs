//! The engine's errors as libvirt's: by what they are about where that is known, else by their kind.

use lodge_engine::EngineError;
use lodge_model::Kind;

use super::{Code, Fault, Origin};

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self::new(code_of(error.kind()), Origin::Qemu, whole(&error))
    }
}

/// The error with its causes, in one line.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// libvirt's number for a kind. No wildcard: a new kind must choose.
pub(crate) fn code_of(kind: Kind) -> Code {
    match kind {
        Kind::NotFound => Code::NoDomain,
        Kind::Exists | Kind::Conflict | Kind::Exhausted | Kind::Unavailable => Code::OperationFailed,
        Kind::InvalidInput => Code::InvalidArg,
        Kind::InvalidState => Code::OperationInvalid,
        // What a client of libvirtd gets that waited for another job's end.
        Kind::Busy => Code::OperationTimeout,
        Kind::Denied => Code::OperationDenied,
        Kind::Unsupported => Code::OperationUnsupported,
        Kind::Corrupt | Kind::Internal => Code::InternalError,
    }
}
