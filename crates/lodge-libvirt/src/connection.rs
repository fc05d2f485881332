//! One connection's task: reads messages, starts calls, writes what comes back.
//!
//! ```text
//!  bytes ──▶ inbox ──▶ a call ──▶ done at once ───────────────▶ sending ──▶ bytes
//!                        │                                        ▲
//!                        └──▶ has to wait: a task of its own ──▶ outbox (events and streams, too)
//! ```
//!
//! A call is begun in this very task, and where it needs to wait for nothing its reply leaves with the same turn: no
//! other task, no queue. One that has to wait becomes a task of its own, so that it delays nobody. Calls that libvirt
//! does not mark as quick take turns, so that many of them leave room for the quick ones.
//! As libvirtd does, a client with five calls unanswered is not read until one of them is. One that calls without a
//! pause is not slept for (`pace.rs`).

mod pace;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use lodge_wire::packet::{self, Header, Kind, MAX_MESSAGE};
use lodge_wire::{Facts, keepalive};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};

pub(crate) use self::pace::Lookout;
use self::pace::Pace;
use crate::dispatch::{self, Request, Work};
use crate::fault::{Fault, Origin};
use crate::frame::{BadFrame, Inbox};
use crate::limits::{FRAMES_PER_WRITE, READ_BYTES, SENDING_MAX, SLOW_CALL_TURN, STRANGER_MESSAGE_MAX};
use crate::outbox::{Frame, Outbox};
use crate::server::Server;
use crate::session::Session;
use crate::stream::Delivered;
use crate::transport::Transport;

/// Between two looks for a call: a look is a system call.
const LOOK_PAUSES: u32 = 8;

thread_local! {
    /// Where reads go; what is no whole message is kept by the connection, so an idle one needs no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the client went")]
    Gone,
    #[error("closed")]
    Closed,
    #[error("cannot read or write: {0}")]
    Broken(io::Error),
    #[error("not libvirt's protocol: {0}")]
    Bad(BadFrame),
    #[error("not libvirt's protocol: a hole in a stream that has none")]
    BadStream,
    #[error("the client did not answer")]
    Silent,
}

/// A client's connection. As a future it ends when the connection does.
pub(crate) struct Connection {
    server: Arc<Server>,
    session: Arc<Session>,
    outbox: Arc<Outbox>,
    transport: Box<dyn Transport>,
    inbox: Inbox,
    /// What is being written; of the first so many bytes are.
    sending: VecDeque<Frame>,
    sent: usize,
    /// Descriptors of the message that was just written.
    sending_fds: VecDeque<OwnedFd>,
    /// Replies in `sending` of calls that were done at once.
    prompt: usize,
    flushing: bool,
    pace: Pace,
    /// Tells that the client has gone while it is not read.
    gone: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    alive: Option<Alive>,
}

/// What is known of a client that answers pings.
struct Alive {
    heard: Instant,
    pings: u32,
    timer: Pin<Box<Sleep>>,
}

impl Connection {
    pub fn new(server: Arc<Server>, session: Arc<Session>, transport: Box<dyn Transport>) -> Self {
        Self {
            outbox: Arc::clone(session.outbox()),
            server,
            session,
            transport,
            inbox: Inbox::default(),
            sending: VecDeque::new(),
            sent: 0,
            sending_fds: VecDeque::new(),
            prompt: 0,
            flushing: false,
            pace: Pace::default(),
            gone: None,
            alive: None,
        }
    }

    /// Whether the client may have more begun: it has not too much unanswered and reads its answers.
    fn takes_more(&self) -> bool {
        self.prompt + self.outbox.unfinished() < self.session.door().calls_max
            && self.sending.len() < SENDING_MAX
    }

    /// Begins what the messages at hand ask for; says whether anything was there.
    fn begin(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut any = false;
        while self.takes_more() {
            // The message borrows the inbox, which is put back behind it.
            let mut inbox = std::mem::take(&mut self.inbox);
            let most = if self.session.is_authenticated() { MAX_MESSAGE } else { STRANGER_MESSAGE_MAX };
            let outcome = match inbox.next(most) {
                Ok(Some(message)) => {
                    let request = Request {
                        header: message.header,
                        status: message.status,
                        payload: message.payload,
                        fds: message.fds,
                    };
                    self.message(cx, request).map(|()| true)
                }
                Ok(None) => {
                    inbox.make_room(|| self.session.streams().spare());
                    Ok(false)
                }
                Err(bad) => Err(End::Bad(bad)),
            };
            self.inbox = inbox;
            if !outcome? {
                break;
            }
            any = true;
        }
        if any {
            self.inbox.rest();
            if let Some(alive) = &mut self.alive {
                alive.heard = Instant::now();
                alive.pings = 0;
            }
        }
        Ok(any)
    }

    fn message(&mut self, cx: &mut Context<'_>, request: Request<'_>) -> Result<(), End> {
        let header = request.header;
        match header.kind {
            Kind::Call | Kind::CallWithFds => self.call(cx, request),
            Kind::Message if header.program == keepalive::PROGRAM => {
                if header.procedure == keepalive::PING {
                    self.sending.push_back(keepalive_frame(keepalive::PONG));
                }
            }
            Kind::Stream | Kind::StreamHole => {
                match self.session.streams().deliver(&header, request.payload, &self.outbox) {
                    Delivered::Done => {}
                    Delivered::Answer(frame) => self.sending.push_back(frame),
                    Delivered::Bad => return Err(End::BadStream),
                }
            }
            // From a client that answers what nobody asked: dropped, as libvirtd does.
            Kind::Reply | Kind::ReplyWithFds | Kind::Message => {
                tracing::trace!(session = self.session.id(), ?header, "message dropped");
            }
        }
        Ok(())
    }

    fn call(&mut self, cx: &mut Context<'_>, request: Request<'_>) {
        let header = request.header;
        match dispatch::prepare(&self.server, &self.session, request) {
            Err(fault) => {
                tracing::debug!(session = self.session.id(), ?header, %fault, "call refused");
                self.answer(dispatch::refusal(&header, &fault));
            }
            Ok((work, facts)) if facts.high_priority => self.run(cx, header, work),
            Ok((work, facts)) => self.slow(cx, header, facts, work),
        }
    }

    fn slow(&mut self, cx: &mut Context<'_>, header: Header, facts: &'static Facts, work: Work) {
        let work = take_turns(Arc::clone(&self.server.slow_calls), facts, work);
        self.run(cx, header, Box::pin(work));
    }

    /// A call is begun here; where it has to wait, a task of its own does that.
    fn run(&mut self, cx: &mut Context<'_>, header: Header, mut work: Work) {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(Poll::Ready(frame)) => self.answer(frame),
            Ok(Poll::Pending) => self.detach(header, work),
            Err(_) => self.answer(dispatch::refusal(&header, &broke(&header))),
        }
    }

    fn detach(&mut self, header: Header, work: Work) {
        let (outbox, ticket) = (Arc::clone(&self.outbox), self.outbox.ticket());
        self.server.tasks().spawn(async move {
            let outcome = AssertUnwindSafe(work).catch_unwind().await;
            let frame = outcome.unwrap_or_else(|_| dispatch::refusal(&header, &broke(&header)));
            outbox.push(Frame { ticket: Some(ticket), ..frame });
        });
    }

    fn answer(&mut self, frame: Frame) {
        self.prompt += 1;
        self.sending.push_back(Frame { prompt: true, ..frame });
    }

    /// Writes what there is; ready when all of it is written.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            while let Some(fd) = self.sending_fds.front() {
                ready!(self.transport.poll_send_fd(cx, fd.as_fd())).map_err(End::Broken)?;
                self.sending_fds.pop_front();
            }
            if self.sending.is_empty() {
                break;
            }
            let count = {
                let mut parts = [IoSlice::new(&[]); FRAMES_PER_WRITE];
                let mut used = 0;
                for frame in self.sending.iter().take(FRAMES_PER_WRITE) {
                    let from = if used == 0 { self.sent } else { 0 };
                    parts[used] = IoSlice::new(&frame.bytes[from..]);
                    used += 1;
                    if !frame.fds.is_empty() || frame.after.is_some() {
                        break;
                    }
                }
                ready!(self.transport.poll_write(cx, &parts[..used])).map_err(End::Broken)?
            };
            if count == 0 {
                return Poll::Ready(Err(End::Broken(io::ErrorKind::WriteZero.into())));
            }
            self.flushing = true;
            self.written(count);
        }
        if self.flushing {
            ready!(self.transport.poll_flush(cx)).map_err(End::Broken)?;
            self.flushing = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Lets go of the messages that these bytes were.
    fn written(&mut self, mut count: usize) {
        while let Some(frame) = self.sending.front() {
            let left = frame.bytes.len() - self.sent;
            if count < left {
                self.sent += count;
                return;
            }
            count -= left;
            self.sent = 0;
            let Some(frame) = self.sending.pop_front() else { return };
            if frame.prompt {
                self.prompt -= 1;
                self.pace.answered();
            }
            self.sending_fds.extend(frame.fds);
            if let Some(after) = frame.after {
                after();
            }
            if let Some(room) = frame.room {
                room.leave(frame.bytes);
            }
        }
    }

    /// One read; ready when it brought something.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let read = |place: &mut [u8], fds: &mut Vec<OwnedFd>| match self.transport.poll_read(cx, place, fds) {
            Poll::Ready(read) => Some(read),
            Poll::Pending => None,
        };
        match receive(&mut self.inbox, read) {
            None => Poll::Pending,
            Some(Ok(0)) => Poll::Ready(Err(End::Gone)),
            Some(Ok(_)) => {
                self.pace.called();
                Poll::Ready(Ok(()))
            }
            Some(Err(error)) => Poll::Ready(Err(End::Broken(error))),
        }
    }

    /// Looks for the next call of a client that calls without a pause; says whether to go on with it at once.
    fn look_out(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let Some(until) = self.pace.look_until() else { return Ok(false) };
        if !self.transport.tells_now() || !self.sending.is_empty() || self.outbox.unfinished() > 0 {
            return Ok(false);
        }
        let Some(_looking) = self.server.lookout.take() else { return Ok(false) };
        loop {
            match receive(&mut self.inbox, |place, fds| self.transport.read_now(place, fds)) {
                Some(Err(error)) => return Err(End::Broken(error)),
                Some(Ok(0)) => return Err(End::Gone),
                Some(Ok(_)) => {
                    if self.pace.found() {
                        // It is in the inbox; the others' turn comes first.
                        cx.waker().wake_by_ref();
                        return Ok(false);
                    }
                    return Ok(true);
                }
                None if std::time::Instant::now() >= until => {
                    self.pace.missed();
                    return Ok(false);
                }
                None => (0..LOOK_PAUSES).for_each(|_| std::hint::spin_loop()),
            }
        }
    }

    /// Pings a client that agreed to it and is silent; ready when it has been silent for too long.
    fn poll_alive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let keepalive = self.session.door().keepalive;
        let Some(interval) = keepalive.interval.filter(|_| self.session.keepalive()) else {
            return Poll::Pending;
        };
        let alive = self.alive.get_or_insert_with(|| Alive {
            heard: Instant::now(),
            pings: 0,
            timer: Box::pin(tokio::time::sleep(interval)),
        });
        let due = |alive: &Alive| alive.heard + interval * (alive.pings + 1);
        loop {
            ready!(alive.timer.as_mut().poll(cx));
            if due(alive) <= Instant::now() {
                if alive.pings == keepalive.count {
                    return Poll::Ready(());
                }
                alive.pings += 1;
                self.outbox.push(keepalive_frame(keepalive::PING));
            }
            let next = due(alive).max(Instant::now() + Duration::from_millis(1));
            alive.timer.as_mut().reset(next);
        }
    }

    /// Ready when the client has gone, which reading would tell if it were read.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let transport = &self.transport;
        self.gone.get_or_insert_with(|| transport.gone()).as_mut().poll(cx)
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let Some(more) = self.outbox.take(cx, &mut self.sending) else {
                return Poll::Ready(End::Closed);
            };
            match self.poll_send(cx) {
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                Poll::Ready(Ok(())) if more => continue,
                _ => {}
            }
            match self.begin(cx) {
                Err(end) => return Poll::Ready(end),
                Ok(true) => continue,
                Ok(false) => {}
            }
            if self.poll_alive(cx).is_ready() {
                return Poll::Ready(End::Silent);
            }
            if !self.takes_more() {
                return self.poll_gone(cx).map(|()| End::Gone);
            }
            self.gone = None;
            match self.poll_receive(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                Poll::Pending => match self.look_out(cx) {
                    Ok(true) => {}
                    Ok(false) => return Poll::Pending,
                    Err(end) => return Poll::Ready(end),
                },
            }
        }
    }
}

impl Future for Connection {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        self.turn(cx)
    }
}

/// One read, to where the message at hand has its place, or from the scratch to the inbox. None: nothing is there.
fn receive(
    inbox: &mut Inbox,
    read: impl FnOnce(&mut [u8], &mut Vec<OwnedFd>) -> Option<io::Result<usize>>,
) -> Option<io::Result<usize>> {
    let mut fds = Vec::new();
    if let Some(place) = inbox.place() {
        let came = read(place, &mut fds)?;
        if let Ok(count) = came {
            inbox.filled(count, &mut fds);
        }
        return Some(came);
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let came = read(scratch, &mut fds)?;
        if let Ok(count) = came {
            inbox.add(&scratch[..count], &mut fds);
        }
        Some(came)
    })
}

/// Slow calls: so many work at a time; one that waits rather than works lets others go before it.
async fn take_turns(turns: Arc<Semaphore>, facts: &'static Facts, mut work: Work) -> Frame {
    let turn = turns.acquire_owned().await;
    if let Ok(frame) = tokio::time::timeout(SLOW_CALL_TURN, work.as_mut()).await {
        return frame;
    }
    drop(turn);
    tracing::trace!(procedure = facts.name, "call takes long");
    work.await
}

fn keepalive_frame(procedure: i32) -> Frame {
    Frame::plain(packet::message(&Header::keepalive(procedure), &()).expect("an empty message fits"))
}

fn broke(header: &Header) -> Fault {
    tracing::error!(?header, "call broke");
    Fault::internal(Origin::Rpc, "a fault of the daemon itself stopped this call; see its log")
}

#[cfg(test)]
mod tests;
