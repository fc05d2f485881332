//! The engine's errors as libvirt's: by what they are about where that is known, else by their kind.

use lodge_engine::EngineError;
use lodge_engine::control::{Refusal, Sort};
use lodge_model::Kind;

use super::{Code, Fault, Origin};

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        if let Some(refusal) = error.refusal() {
            return refusal.clone().into();
        }
        Self::new(code_of(error.kind()), Origin::Qemu, whole(&error))
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let Refusal { sort, text, general } = refusal;
        let origin = if general { Origin::Domain } else { Origin::Qemu };
        let code = match sort {
            Sort::InvalidArg => Code::InvalidArg,
            Sort::InvalidArgBare => return Self::bare(Code::InvalidArg, origin, text),
            Sort::Invalid => Code::OperationInvalid,
            Sort::Failed => Code::OperationFailed,
            Sort::Unsupported => Code::OperationUnsupported,
            Sort::ConfigUnsupported => Code::ConfigUnsupported,
            Sort::ArgumentUnsupported => Code::ArgumentUnsupported,
            Sort::NoSupport => Code::NoSupport,
            Sort::DeviceMissing => Code::DeviceMissing,
            Sort::Xml => Code::XmlError,
            Sort::XmlMalformed => Code::XmlDetail,
            Sort::Internal => Code::InternalError,
            Sort::AgentUnresponsive => Code::AgentUnresponsive,
            Sort::AgentUnsynced => Code::AgentUnsynced,
            Sort::AgentRefused => Code::AgentCommandFailed,
            Sort::Timeout => Code::OperationTimeout,
            Sort::BlockJob => Code::BlockCopyActive,
            Sort::Overflow => Code::Overflow,
            Sort::NoHostname => Code::NoHostname,
            Sort::System(errno) => return Self::system(origin, text, errno),
        };
        Self::new(code, origin, text)
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
