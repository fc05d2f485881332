//! What waits to be written to a client: replies of calls that took their time, events, streams' packets.
//!
//! Whoever puts something in wakes the connection's task, which alone writes. A [`Ticket`] is kept with what the
//! client asked for until the answer is written: tickets are what a connection's limit counts.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::limits::UNSENT_MAX_BYTES;

/// A message on its way out.
#[derive(Default)]
pub(crate) struct Frame {
    /// The whole message, length word included.
    pub bytes: Vec<u8>,
    /// Descriptors that follow it.
    pub fds: Vec<OwnedFd>,
    /// It is the reply of a call that was done at once.
    pub prompt: bool,
    /// What is let go when it is written.
    pub ticket: Option<Ticket>,
    /// The room that a stream's packet takes.
    pub room: Option<Room>,
    /// What is done when it is written, before anything behind it is.
    pub after: Option<Box<dyn FnOnce() + Send>>,
}

impl Frame {
    pub fn plain(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }
}

/// The room that a stream's packet takes until it is written.
pub(crate) struct Room {
    pub permit: OwnedSemaphorePermit,
    /// Where its buffer goes then, for a packet to come.
    pub spare: mpsc::UnboundedSender<Vec<u8>>,
}

impl Room {
    /// The packet is written: buffer and room are free, in this order.
    pub fn leave(self, buffer: Vec<u8>) {
        // The stream may be over.
        let _ = self.spare.send(buffer);
        drop(self.permit);
    }
}

/// A connection's queue of messages to write.
#[derive(Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    unfinished: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// The connection is gone, or is to go.
    closed: bool,
    waker: Option<Waker>,
}

impl Outbox {
    /// Puts a message in; it is dropped if the client is gone. A client too far behind is given up.
    pub fn push(&self, frame: Frame) {
        let waker = {
            let mut queue = self.lock();
            if queue.closed {
                return;
            }
            // Replies and streams have brakes of their own.
            if frame.ticket.is_none() && frame.room.is_none() {
                queue.bytes += frame.bytes.len();
            }
            queue.frames.push_back(frame);
            if queue.bytes > UNSENT_MAX_BYTES {
                tracing::warn!(bytes = queue.bytes, "client does not read what it asked for; disconnected");
                queue.close();
            }
            queue.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ends the connection as soon as its task is awake.
    pub fn close(&self) {
        let waker = {
            let mut queue = self.lock();
            queue.close();
            queue.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// What has come in since, for the connection's task; `None` when the connection is to end. Nothing is taken while
    /// something is still being written: what a client does not read waits here, where it is counted. Says whether
    /// something waits.
    pub fn take(&self, cx: &Context<'_>, into: &mut VecDeque<Frame>) -> Option<bool> {
        let mut queue = self.lock();
        if queue.closed {
            return None;
        }
        if into.is_empty() {
            queue.bytes = 0;
            into.append(&mut queue.frames);
        }
        match &mut queue.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Some(!queue.frames.is_empty())
    }

    /// Counts one more thing that the client waits for.
    pub fn ticket(self: &Arc<Self>) -> Ticket {
        self.unfinished.fetch_add(1, Ordering::AcqRel);
        Ticket(Arc::clone(self))
    }

    /// How many tickets are out.
    pub fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Acquire)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn close(&mut self) {
        self.closed = true;
        self.frames = VecDeque::new();
    }
}

/// Something the client waits for. Dropped when it has it.
pub(crate) struct Ticket(Arc<Outbox>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.unfinished.fetch_sub(1, Ordering::AcqRel);
        // The connection may have stopped reading for the sake of this one.
        let waker = self.0.lock().waker.take();
        waker.into_iter().for_each(Waker::wake);
    }
}
