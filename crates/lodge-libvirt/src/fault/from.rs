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
        let Refusal { sort, text, general, hint: _ } = refusal;
        let origin = if general { Origin::Domain } else { Origin::Qemu };
        if let Some(fault) = of_missing_disk(&text) {
            return fault;
        }
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
            Sort::NoSecret => return Self::new(Code::NoSecret, Origin::Secret, text),
            Sort::System(errno) => return Self::system(origin, text, errno),
        };
        Self::new(code, origin, text)
    }
}

/// A disk's file that is not there, in libvirt's words: storage's own stand at the end of `text`.
pub(crate) fn of_missing_disk(text: &str) -> Option<Fault> {
    let (_, path) = text.strip_suffix("` does not exist")?.rsplit_once("disk `")?;
    let text = format!("Cannot access storage file '{path}': No such file or directory");
    Some(Fault::system(Origin::Storage, text, rustix::io::Errno::NOENT.raw_os_error()))
}

/// A document of another sort, in libvirt's words: `faults` tell of its root.
pub(crate) fn other_root(faults: &str) -> Option<Fault> {
    let (is, wanted) = faults.split_once("the document is a <")?.1.split_once(">, not a <")?;
    let (wanted, _) = wanted.split_once('>')?;
    let text = format!("expecting root element of '{wanted}', not '{is}'");
    Some(Fault::new(Code::XmlError, Origin::Xml, text))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_disk_is_told_in_libvirts_words() {
        let fault =
            of_missing_disk("start of `a` failed: claim volumes: disk `/v/a b` does not exist").unwrap();
        assert_eq!(fault.message(), "Cannot access storage file '/v/a b': No such file or directory");
        assert_eq!(of_missing_disk("`/v/a` stands on `/v/b`, which does not exist"), None);
    }

    #[test]
    fn a_document_of_another_sort_is_told_in_libvirts_words() {
        let fault = other_root("line 1, column 1: /a: the document is a <a>, not a <network>").unwrap();
        assert_eq!(fault.message(), "XML error: expecting root element of 'network', not 'a'");
        assert_eq!(other_root("line 1, column 1: /network: element <name> is missing or empty"), None);
    }
}
