//! Why a change or a look did not happen, in libvirt's sorts and words.

use lodge_model::{Faults, Kind};
use lodge_qemu::agent::AgentError;
use lodge_qemu::qmp::MonitorError;

use crate::ports::PortError;

/// libvirt's sorts of error that a domain's acts have; the front knows each one's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// An argument makes no sense (here).
    InvalidArg,
    /// The same, with the text standing alone.
    InvalidArgBare,
    /// The state does not admit it.
    Invalid,
    /// It was tried and failed.
    Failed,
    /// This guest or QEMU cannot do it.
    Unsupported,
    /// The configuration asked for cannot be had.
    ConfigUnsupported,
    /// An argument's value cannot be served.
    ArgumentUnsupported,
    /// The API has nothing behind it.
    NoSupport,
    /// There is no such device.
    DeviceMissing,
    /// The document is not what it must be.
    Xml,
    /// The document is no XML.
    XmlMalformed,
    /// Something inside failed: QEMU refused, a file could not be read.
    Internal,
    /// The agent is not there, or is silent.
    AgentUnresponsive,
    /// The agent's words are not in step with ours.
    AgentUnsynced,
    /// The agent said no.
    AgentRefused,
    /// Another act on the same guest took too long.
    Timeout,
    /// A block job has the disk, or is not as far as it must be.
    BlockJob,
    /// A number is too large to be passed on.
    Overflow,
    /// No name is known of the guest.
    NoHostname,
    /// There is no such secret, or it has no value.
    NoSecret,
    /// An operating system's call failed; the number of the error.
    System(i32),
}

/// A refusal: its sort, its text without libvirt's prefix, and which part of libvirt says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The sort.
    pub sort: Sort,
    /// The text.
    pub text: String,
    /// libvirt's general part says it, not its QEMU driver.
    pub general: bool,
    /// What to do next, where another resource of ours knows. libvirt's clients are not told.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal of this sort.
    pub fn new(sort: Sort, text: impl Into<String>) -> Self {
        Self { sort, text: text.into(), general: false, hint: None }
    }

    /// `VIR_ERR_INVALID_ARG`.
    pub fn arg(text: impl Into<String>) -> Self {
        Self::new(Sort::InvalidArg, text)
    }

    /// `VIR_ERR_OPERATION_INVALID`.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(Sort::Invalid, text)
    }

    /// `VIR_ERR_OPERATION_UNSUPPORTED`.
    pub fn unsupported(text: impl Into<String>) -> Self {
        Self::new(Sort::Unsupported, text)
    }

    /// `VIR_ERR_INTERNAL_ERROR`.
    pub fn internal(text: impl Into<String>) -> Self {
        Self::new(Sort::Internal, text)
    }

    /// Said by libvirt's general part (`VIR_FROM_DOMAIN`).
    #[must_use]
    pub fn of_domain(self) -> Self {
        Self { general: true, ..self }
    }

    /// The guest would have to run.
    pub fn not_running() -> Self {
        Self::invalid("domain is not running").of_domain()
    }

    /// For those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self.sort {
            Sort::InvalidArg | Sort::InvalidArgBare | Sort::Xml | Sort::XmlMalformed | Sort::Overflow => {
                Kind::InvalidInput
            }
            Sort::Invalid | Sort::BlockJob => Kind::InvalidState,
            Sort::Unsupported | Sort::ConfigUnsupported | Sort::ArgumentUnsupported | Sort::NoSupport => {
                Kind::Unsupported
            }
            Sort::DeviceMissing | Sort::NoHostname | Sort::NoSecret => Kind::NotFound,
            Sort::AgentUnresponsive | Sort::AgentUnsynced => Kind::Unavailable,
            Sort::Timeout => Kind::Busy,
            Sort::Failed | Sort::Internal | Sort::AgentRefused | Sort::System(_) => Kind::Internal,
        }
    }

    /// What QEMU answered to `command`.
    pub fn of_monitor(error: &MonitorError) -> Self {
        match error {
            MonitorError::Refused { command, description, .. } => {
                Self::internal(format!("unable to execute QEMU command '{command}': {description}"))
            }
            MonitorError::Lost { .. } | MonitorError::Connect { .. } => {
                Self::new(Sort::Failed, "domain is not running")
            }
            MonitorError::Silent { command, waited } => Self::new(
                Sort::Timeout,
                format!("QEMU gave no answer to '{command}' in {} s", waited.as_secs().max(1)),
            ),
            other => Self::internal(crate::error::chain(other)),
        }
    }

    /// What the guest's agent answered.
    pub fn of_agent(error: &AgentError) -> Self {
        match error {
            AgentError::Refused { command, description, class } if class == "CommandNotFound" => Self::new(
                Sort::Internal,
                format!("unable to execute QEMU agent command '{command}': {description}"),
            ),
            AgentError::Refused { command, description, .. } => {
                Self::internal(format!("unable to execute QEMU agent command '{command}': {description}"))
            }
            AgentError::Silent { .. } | AgentError::Busy { .. } => Self::new(
                Sort::AgentUnresponsive,
                "guest agent didn't respond to command within the given time",
            ),
            AgentError::Connect { .. } | AgentError::Closed { .. } => {
                Self::new(Sort::AgentUnresponsive, "QEMU guest agent is not connected")
            }
            AgentError::Malformed { .. } => Self::new(Sort::AgentUnsynced, error.to_string()),
            AgentError::TooLong { .. } => Self::internal(error.to_string()),
        }
    }
}

impl From<MonitorError> for Refusal {
    fn from(error: MonitorError) -> Self {
        Self::of_monitor(&error)
    }
}

impl From<AgentError> for Refusal {
    fn from(error: AgentError) -> Self {
        Self::of_agent(&error)
    }
}

impl From<PortError> for Refusal {
    fn from(error: PortError) -> Self {
        let sort = match error.kind {
            Kind::Unsupported => Sort::ConfigUnsupported,
            Kind::Conflict | Kind::Busy => Sort::Failed,
            _ => Sort::Internal,
        };
        Self { hint: error.hint.clone(), ..Self::new(sort, crate::error::chain(&error)) }
    }
}

impl From<Faults> for Refusal {
    fn from(faults: Faults) -> Self {
        Self::new(Sort::ConfigUnsupported, faults.to_string()).of_domain()
    }
}
