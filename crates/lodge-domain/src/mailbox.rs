//! The way to a domain's owner: a bounded mailbox, and an owner that is there when something is in it.
//!
//! ```text
//!          post              nothing to do            the domain is gone
//!  Idle ───────────▶ Open ─────────────────▶ Idle     Open ───────▶ Gone
//! ```
//!
//! A shut-off domain needs no task: [`post`] starts its owner, which ends when it has nothing left to do. Sending
//! and ending happen under the slot's lock, so no message is lost and there are never two owners. The lock guards
//! the way to the owner only, for a few instructions. Deliberately absent: what the owner does.

use std::sync::{Arc, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::act::{Act, Reply};
use crate::domains::Shared;
use crate::error::DomainError;
use crate::index::Entry;
use crate::options::Ticket;
use crate::owner;

/// How many requests may wait in a mailbox.
const MAILBOX_MAX: usize = 64;

/// A request on its way to the owner.
#[derive(Debug)]
pub(crate) struct Message {
    pub act: Act,
    pub ticket: Ticket,
    pub reply: oneshot::Sender<Result<Reply, DomainError>>,
}

/// Is there an owner?
#[derive(Debug)]
pub(crate) enum Slot {
    /// No: the domain rests, or was never asked anything.
    Idle,
    /// Yes.
    Open(mpsc::Sender<Message>),
    /// Never again: the domain is gone.
    Gone,
}

/// Gives `act` to the owner and waits for its answer.
pub(crate) async fn ask(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    act: Act,
    ticket: Ticket,
) -> Result<Reply, DomainError> {
    let (reply, answer) = oneshot::channel();
    post(shared, entry, Message { act, ticket, reply })?;
    answer.await.unwrap_or_else(|_| Err(DomainError::OwnerFailed { name: entry.name() }))
}

/// Puts a message into the mailbox, and an owner behind it.
pub(crate) fn post(shared: &Arc<Shared>, entry: &Arc<Entry>, message: Message) -> Result<(), DomainError> {
    if shared.closing.is_cancelled() {
        return Err(DomainError::Closing);
    }
    let mut slot = entry.slot.lock().unwrap_or_else(PoisonError::into_inner);
    match &*slot {
        Slot::Gone => Err(DomainError::Vanished { name: entry.name() }),
        Slot::Open(sender) => {
            sender.try_send(message).map_err(|_| DomainError::Crowded { name: entry.name() })
        }
        Slot::Idle => {
            let (sender, receiver) = mpsc::channel(MAILBOX_MAX);
            let sent = sender.try_send(message);
            *slot = Slot::Open(sender);
            let owner = owner::supervise(Arc::clone(shared), Arc::clone(entry), receiver);
            shared.owners.spawn_on(owner, &shared.runtime);
            sent.map_err(|_| DomainError::Crowded { name: entry.name() })
        }
    }
}

/// The owner has nothing left to do. `true`: it may end; `false`: something came in meanwhile.
pub(crate) fn retire(entry: &Entry, mailbox: &mpsc::Receiver<Message>) -> bool {
    let mut slot = entry.slot.lock().unwrap_or_else(PoisonError::into_inner);
    let idle = mailbox.is_empty();
    if idle {
        *slot = Slot::Idle;
    }
    idle
}

/// The domain is gone: whoever still waits is told so.
pub(crate) fn close(entry: &Entry, mailbox: &mut mpsc::Receiver<Message>) {
    *entry.slot.lock().unwrap_or_else(PoisonError::into_inner) = Slot::Gone;
    while let Ok(message) = mailbox.try_recv() {
        let _ = message.reply.send(Err(DomainError::Vanished { name: entry.name() }));
    }
}
