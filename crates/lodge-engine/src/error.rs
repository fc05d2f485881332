//! What a caller is told when an act did not happen.
//!
//! Each resource has its own error enum; here they meet. Nothing is lost on the way: the resource's error stays as the
//! source, so the chain is printed whole, once, by a front. Fronts branch on [`EngineError::kind`] alone.

use std::{error::Error, fmt};

use lodge_api::ErrorBody;
use lodge_model::Kind;

/// An act that was refused or failed.
#[derive(Debug)]
pub struct EngineError {
    kind: Kind,
    hint: Option<String>,
    source: Box<dyn Error + Send + Sync>,
}

/// The result of every act of the engine.
pub type Result<T> = std::result::Result<T, EngineError>;

impl EngineError {
    /// An error the engine itself found.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, hint: None, source: Box::new(Message(message.into())) }
    }

    /// An error of a resource, with what that resource says of it.
    pub fn of(kind: Kind, hint: Option<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self { kind, hint, source: Box::new(source) }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The sort of the error.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to do next, where something can be done.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The refusal in libvirt's words, where a domain's act or look ended with one.
    pub fn refusal(&self) -> Option<&lodge_domain::control::Refusal> {
        match self.source.downcast_ref::<lodge_domain::DomainError>() {
            Some(lodge_domain::DomainError::Refused(refusal)) => Some(refusal),
            _ => None,
        }
    }

    /// The error of a resource, where it is one of this sort: a front has finer words for it than for its kind.
    pub fn resource<T: Error + 'static>(&self) -> Option<&T> {
        self.source.downcast_ref()
    }

    /// The error below, without the engine's own layer.
    pub(crate) fn into_source(self) -> Option<Box<dyn Error + Send + Sync>> {
        // The message is the source's own; only what lies below it is new to a reader.
        self.source.source().map(|below| Message(below.to_string()).into())
    }

    /// The error as the API tells it.
    pub fn body(&self) -> ErrorBody {
        let body = ErrorBody::of(error_kind(self.kind), &*self.source);
        ErrorBody { hint: self.hint.clone(), ..body }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.source, f)
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

#[derive(Debug)]
struct Message(String);

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Message {}

/// An error with all that lies below it, on one line.
pub(crate) fn chain_of(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The API's word for a kind. No wildcard: a new kind must choose.
pub fn error_kind(kind: Kind) -> lodge_api::ErrorKind {
    use lodge_api::ErrorKind as To;
    match kind {
        Kind::NotFound => To::NotFound,
        Kind::Exists => To::Exists,
        Kind::InvalidInput => To::InvalidInput,
        Kind::InvalidState => To::InvalidState,
        Kind::Busy => To::Busy,
        Kind::Conflict => To::Conflict,
        Kind::Denied => To::Denied,
        Kind::Unsupported => To::Unsupported,
        Kind::Exhausted => To::Exhausted,
        Kind::Unavailable => To::Unavailable,
        Kind::Corrupt => To::Corrupt,
        Kind::Internal => To::Internal,
    }
}

/// One line per family of errors that resources have; each says its own kind and hint.
macro_rules! from_resources {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for EngineError {
            fn from(error: $error) -> Self {
                Self::of(error.kind(), error.hint().map(|hint| hint.to_string()), error)
            }
        })*
    };
}

impl From<lodge_domain::control::Refusal> for EngineError {
    fn from(refusal: lodge_domain::control::Refusal) -> Self {
        lodge_domain::DomainError::from(refusal).into()
    }
}

from_resources!(
    lodge_build::BuildError,
    lodge_domain::DomainError,
    lodge_domain::SettingsError,
    lodge_host::HostError,
    lodge_host::hostdev::HostdevError,
    lodge_host::node::NodeError,
    lodge_network::FilterError,
    lodge_network::NetworkError,
    lodge_qemu::agent::AgentError,
    lodge_storage::ChainError,
    lodge_storage::PoolError,
    lodge_storage::StorageError,
    lodge_store::DbError,
    crate::secret::SecretError,
    lodge_store::RootError,
    lodge_store::StoreError,
);

impl From<lodge_disk::worker::WorkerError> for EngineError {
    fn from(error: lodge_disk::worker::WorkerError) -> Self {
        Self::of(error.kind(), None, error)
    }
}

impl From<lodge_model::Faults> for EngineError {
    fn from(faults: lodge_model::Faults) -> Self {
        Self::of(Kind::InvalidInput, None, faults)
    }
}
