//! QEMU's monitor protocol, client side.
//!
//! ```text
//!  Monitor (clones) ──mpsc──▶ one task per connection ──▶ unix socket ──▶ QEMU
//!     ▲   execute: oneshot ◀──┤   out: queue, with descriptors
//!     └── events: broadcast ◀─┘   in: lines, matched to commands by id
//! ```
//!
//! A connection ends for good ([`MonitorError::Lost`]); who wants another connects again, which a QEMU allows any
//! number of times one after another. The typed commands are methods of [`Monitor`] (`qmp/command.rs`); values of
//! enumerations that this code does not know are kept as text, never an error.
//! Deliberately absent: reconnecting by itself (the owner of the guest must know), and QEMU's schema as types.

mod answer;
mod block;
mod block_job;
mod command;
mod error;
mod migration;
mod open_enum;
mod task;
#[cfg(test)]
mod tests;
mod wire;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::net::UnixStream;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;

pub use self::answer::*;
pub use self::block::{BlockDevice, BlockImage, BlockNode};
pub use self::block_job::{BlockJob, Commit, InSet, Job, JobStatus, Mirror, Stream};
pub use self::error::MonitorError;
pub use self::migration::{Migration, MigrationRam, MigrationState};
pub use self::wire::{Greeting, Timestamp};
pub(crate) use self::wire::{Lines, TooLong};

/// How long a command may take unless said otherwise. QEMU answers in a millisecond, but its main loop can be held
/// by a slow disk, and the whole machine may be starved.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How many events may wait for a slow listener; a listener beyond that is told that it missed some.
const EVENTS_KEPT: usize = 1024;

/// Something QEMU told without being asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `SHUTDOWN`, `STOP`, `RESUME`, `RESET`, `GUEST_PANICKED`, …
    pub name: String,
    /// Its fields; `null` if it has none.
    pub data: serde_json::Value,
    /// The same as QEMU wrote it, without blanks, for who hands it on.
    pub text: Option<Arc<str>>,
    /// When, by QEMU's clock.
    pub timestamp: Option<Timestamp>,
}

/// A command on its way to the task.
pub(crate) struct Request {
    pub(crate) command: String,
    pub(crate) arguments: serde_json::Value,
    pub(crate) out_of_band: bool,
    pub(crate) fd: Option<OwnedFd>,
    pub(crate) reply: oneshot::Sender<Result<Box<RawValue>, MonitorError>>,
}

/// One connection to one QEMU's monitor. Cheap to clone; the connection ends when the last clone goes.
#[derive(Debug, Clone)]
pub struct Monitor {
    requests: mpsc::Sender<Request>,
    // Weak: this must not keep the channel open, so that listeners see the end of the connection as its end.
    events: broadcast::WeakSender<Event>,
    lost: watch::Receiver<Option<Arc<str>>>,
    greeting: Arc<Greeting>,
    /// The highest number in a name of a block node that was added on this connection.
    newest_node: Arc<AtomicUsize>,
}

impl Monitor {
    /// Connects to the socket at `path`, waits for the greeting and negotiates.
    pub async fn connect(path: &Path, patience: Duration) -> Result<Self, MonitorError> {
        let failed = |source| MonitorError::Connect { path: path.to_owned(), source: Arc::new(source) };
        let stream = crate::socket::connect(path).await.map_err(failed)?;
        Self::over(stream, patience).await
    }

    /// Negotiates on a connection that is there. `patience` covers the greeting and the negotiation.
    pub async fn over(stream: UnixStream, patience: Duration) -> Result<Self, MonitorError> {
        Ok(Self::over_listening(stream, patience).await?.0)
    }

    /// As [`over`](Self::over), with a listener that misses no event.
    pub async fn over_listening(
        stream: UnixStream,
        patience: Duration,
    ) -> Result<(Self, broadcast::Receiver<Event>), MonitorError> {
        let silent = |_| MonitorError::Silent { command: "greeting".to_owned(), waited: patience };
        timeout(patience, async {
            let (events, listener) = broadcast::channel(EVENTS_KEPT);
            let (told, lost) = watch::channel(None);
            let (requests, mailbox) = mpsc::channel(64);
            let weak = events.downgrade();
            let (greeted, greeting) = oneshot::channel();
            tokio::spawn(task::run(stream, mailbox, events, told, greeted));
            let greeting = match greeting.await {
                Ok(greeting) => Arc::new(greeting?),
                Err(_) => return Err(lost_error(&lost)),
            };
            let newest_node = Arc::default();
            let monitor = Self { requests, events: weak, lost, greeting, newest_node };
            monitor.negotiate().await?;
            Ok((monitor, listener))
        })
        .await
        .map_err(silent)?
    }

    async fn negotiate(&self) -> Result<(), MonitorError> {
        let enable: &[&str] = if self.has_out_of_band() { &["oob"] } else { &[] };
        let arguments = serde_json::json!({ "enable": enable });
        self.execute::<serde::de::IgnoredAny>("qmp_capabilities", arguments).await.map(drop)
    }

    /// What the monitor said first.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// The highest number of a block node (`libvirt-7-format`) that was added on this connection, whether it is there
    /// still: a name that was somebody's is not another's a moment later.
    pub fn newest_node(&self) -> usize {
        self.newest_node.load(Ordering::Relaxed)
    }

    /// Whether commands can overtake others on this connection.
    pub fn has_out_of_band(&self) -> bool {
        self.greeting.capabilities.iter().any(|capability| capability == "oob")
    }

    /// Listens to events from now on. The stream ends with the connection.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.upgrade().map_or_else(|| broadcast::channel(1).1, |events| events.subscribe())
    }

    /// Waits until the connection ends; says how.
    pub async fn lost(&self) -> MonitorError {
        let mut lost = self.lost.clone();
        let _ = lost.wait_for(Option::is_some).await;
        lost_error(&lost)
    }

    /// Does a command with the usual patience.
    pub async fn execute<A: DeserializeOwned>(
        &self,
        command: &str,
        arguments: impl Serialize,
    ) -> Result<A, MonitorError> {
        self.execute_within(command, arguments, PATIENCE).await
    }

    /// Does a command; gives up waiting after `patience` (the command itself cannot be taken back).
    pub async fn execute_within<A: DeserializeOwned>(
        &self,
        command: &str,
        arguments: impl Serialize,
        patience: Duration,
    ) -> Result<A, MonitorError> {
        self.ask(command, arguments, patience, false, None).await
    }

    /// Does a command that overtakes those under way; only few commands may (`migrate-recover`, `yank`, …).
    pub async fn execute_oob<A: DeserializeOwned>(
        &self,
        command: &str,
        arguments: impl Serialize,
    ) -> Result<A, MonitorError> {
        self.ask(command, arguments, PATIENCE, self.has_out_of_band(), None).await
    }

    /// Does a command with a descriptor in its hand (`getfd`, `add-fd`). QEMU gets a copy; `fd` is closed here.
    pub async fn execute_with_fd<A: DeserializeOwned>(
        &self,
        command: &str,
        arguments: impl Serialize,
        fd: OwnedFd,
    ) -> Result<A, MonitorError> {
        self.ask(command, arguments, PATIENCE, false, Some(fd)).await
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        command: &str,
        arguments: impl Serialize,
        patience: Duration,
        out_of_band: bool,
        fd: Option<OwnedFd>,
    ) -> Result<A, MonitorError> {
        let misread = |source| MonitorError::Answer { command: command.to_owned(), source: Arc::new(source) };
        let arguments = serde_json::to_value(arguments).map_err(misread)?;
        let (reply, answer) = oneshot::channel();
        let request = Request { command: command.to_owned(), arguments, out_of_band, fd, reply };
        let exchange = async {
            self.requests.send(request).await.map_err(|_| lost_error(&self.lost))?;
            answer.await.map_err(|_| lost_error(&self.lost))?
        };
        let silent = |_| MonitorError::Silent { command: command.to_owned(), waited: patience };
        let answer = timeout(patience, exchange).await.map_err(silent)??;
        serde_json::from_str(answer.get()).map_err(misread)
    }
}

fn lost_error(lost: &watch::Receiver<Option<Arc<str>>>) -> MonitorError {
    let reason = lost.borrow().clone();
    MonitorError::Lost { reason: reason.unwrap_or_else(|| "the connection was given up here".into()) }
}
