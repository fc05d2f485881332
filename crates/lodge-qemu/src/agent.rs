//! The agent inside a guest (qemu-guest-agent), client side.
//!
//! ```text
//!  Agent (clones) ──mpsc(16)──▶ one task: connect · sync · command · answer ──▶ agent.sock ──▶ QEMU ──▶ guest
//! ```
//!
//! The guest answers, or lies, or does not answer at all. So one task serialises the calls, each call has its own
//! deadline (which covers its wait in the queue: a stuck call never holds others beyond their time), answers are
//! bounded, and after any fault the channel is resynchronised (`guest-sync-delimited` and the 0xFF sentinel) before it
//! is believed again. Nothing the guest says is more than a claim.
//! Deliberately absent: waiting for an agent to come up (see lodge-guest's readiness), and retries.

mod call;
mod task;
#[cfg(test)]
mod tests;
mod types;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use lodge_model::Kind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

pub(crate) use self::call::encode_base64;
pub use self::types::*;

/// Why a call to the agent brought nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AgentError {
    /// The channel's socket is not there: the guest does not run, or has no agent channel.
    #[error("cannot connect to the guest agent's channel at `{}`", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The kernel's reason.
        source: Arc<std::io::Error>,
    },
    /// No agent answered in time: none is installed, it is not up yet, or it is stuck.
    #[error("the guest agent gave no answer to `{command}` in {waited:?}")]
    Silent {
        /// The call.
        command: String,
        /// How long was waited.
        waited: Duration,
    },
    /// Too many calls are waiting already.
    #[error("the guest agent has too many calls waiting; `{command}` was not sent")]
    Busy {
        /// The call.
        command: String,
    },
    /// The agent said no.
    #[error("the guest agent refused `{command}`: {description}")]
    Refused {
        /// The call.
        command: String,
        /// The agent's error class; `CommandNotFound` also for one the guest's owner has switched off.
        class: String,
        /// The agent's words, escaped.
        description: String,
    },
    /// What came is no answer to this call.
    #[error("the guest agent gave a malformed answer to `{command}`: {reason}")]
    Malformed {
        /// The call.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The channel closed while the call was under way: the guest has gone.
    #[error("the guest agent's channel closed during `{command}`")]
    Closed {
        /// The call.
        command: String,
    },
    /// The file in the guest is longer than the caller wants to read.
    #[error("`{path}` in the guest is longer than {longest} bytes")]
    TooLong {
        /// In the guest.
        path: String,
        /// The caller's limit.
        longest: usize,
    },
}

impl AgentError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Connect { .. } | Self::Silent { .. } | Self::Closed { .. } | Self::Malformed { .. } => {
                Kind::Unavailable
            }
            Self::Busy { .. } => Kind::Busy,
            Self::Refused { class, .. } if class == "CommandNotFound" => Kind::Unsupported,
            Self::Refused { .. } => Kind::Internal,
            Self::TooLong { .. } => Kind::Exhausted,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Connect { .. } | Self::Silent { .. } => Some(
                "see that the guest has booted and that the package qemu-guest-agent is installed and running in it",
            ),
            Self::Refused { class, .. } if class == "CommandNotFound" => {
                Some("the guest's agent is too old for it, or its configuration forbids it")
            }
            _ => None,
        }
    }
}

/// A call on its way to the task.
pub(crate) struct Call {
    command: Cow<'static, str>,
    arguments: serde_json::Value,
    deadline: Instant,
    patience: Duration,
    /// The guest ends by doing it: silence or a closed channel is how success looks.
    may_stay_silent: bool,
    reply: oneshot::Sender<Result<Box<RawValue>, AgentError>>,
}

/// Agents in use in this process, by their channel's socket.
static KNOWN: LazyLock<Mutex<HashMap<PathBuf, mpsc::WeakSender<Call>>>> = LazyLock::new(Mutex::default);

/// One guest's agent. Cheap to clone; all clones share one channel and one queue.
///
/// Its task starts with the first call and ends with the last clone.
#[derive(Debug, Clone)]
pub struct Agent {
    calls: mpsc::Sender<Call>,
    path: Arc<Path>,
}

impl Agent {
    /// The agent behind the channel's socket at `path`. Connects when first asked, and again whenever needed.
    /// To be called within a tokio runtime.
    ///
    /// QEMU serves one connection of a channel and leaves others waiting for ever, so whoever asks for the same path
    /// gets the same agent.
    pub fn new(path: &Path) -> Self {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, calls| calls.upgrade().is_some());
        let alive = known.get(path).and_then(mpsc::WeakSender::upgrade).filter(|calls| !calls.is_closed());
        let shared: Arc<Path> = path.into();
        let calls = alive.unwrap_or_else(|| {
            let (calls, mailbox) = mpsc::channel(16);
            tokio::spawn(task::run(Arc::clone(&shared), mailbox));
            known.insert(path.to_owned(), calls.downgrade());
            calls
        });
        Self { calls, path: shared }
    }

    /// The channel's socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does any call. `patience` counts from now, the wait in the queue included; scale it by the guest's speed.
    pub async fn call<A: DeserializeOwned>(
        &self,
        command: impl Into<Cow<'static, str>>,
        arguments: impl Serialize,
        patience: Duration,
    ) -> Result<A, AgentError> {
        let command = command.into();
        let answer = self.raw_call(command.clone(), arguments, patience, false).await?;
        serde_json::from_str(answer.get()).map_err(|error| AgentError::Malformed {
            command: command.into_owned(),
            reason: error.to_string(),
        })
    }

    async fn raw_call(
        &self,
        command: Cow<'static, str>,
        arguments: impl Serialize,
        patience: Duration,
        may_stay_silent: bool,
    ) -> Result<Box<RawValue>, AgentError> {
        let name = command.clone();
        let owned = || name.to_string();
        let arguments = serde_json::to_value(arguments)
            .map_err(|error| AgentError::Malformed { command: owned(), reason: error.to_string() })?;
        let deadline = Instant::now() + patience;
        let (reply, answer) = oneshot::channel();
        let call = Call { command, arguments, deadline, patience, may_stay_silent, reply };
        self.calls.try_send(call).map_err(|_| AgentError::Busy { command: owned() })?;
        // The task keeps the deadline of the call it is at; those behind it are kept here.
        match tokio::time::timeout_at(deadline + Duration::from_millis(50), answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(AgentError::Closed { command: owned() }),
            Err(_) => Err(AgentError::Silent { command: owned(), waited: patience }),
        }
    }
}
