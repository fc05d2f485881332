//! The one task that owns a monitor's socket: writes commands in order, reads lines, matches answers to questions.
//!
//! It waits for nothing but the socket and its mailbox, so a QEMU that does not read cannot stop us from reading, and
//! a question nobody waits for any more costs one entry until its answer comes.
//!
//! One descriptor is on its way at a time: QEMU reads messages in one thread and takes descriptors out of its
//! connection in another, unlocked, so that a second one that arrives meanwhile is mixed up or ends QEMU (10.0.2).

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};
use serde_json::value::RawValue;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::wire::{LONGEST_LINE, Lines, Said, TooLong, compact};
use super::{Event, Greeting, MonitorError, Request};

/// Questions that may be open at once; beyond that those nobody waits for are forgotten.
const MOST_OPEN: usize = 1024;

/// Commands written but not taken by QEMU yet; beyond that the mailbox waits.
const MOST_UNSENT: usize = 64;

type Greeted = oneshot::Sender<Result<Greeting, MonitorError>>;

struct Open {
    command: String,
    reply: oneshot::Sender<Result<Box<RawValue>, MonitorError>>,
}

struct Unsent {
    id: u64,
    bytes: Vec<u8>,
    written: usize,
    fd: Option<OwnedFd>,
}

struct Connection {
    stream: UnixStream,
    lines: Lines,
    unsent: VecDeque<Unsent>,
    open: HashMap<u64, Open>,
    next_id: u64,
    /// The command whose descriptor QEMU may not have taken yet.
    passing: Option<u64>,
    events: broadcast::Sender<Event>,
    greeted: Option<Greeted>,
}

/// Serves one connection to its end.
pub(super) async fn run(
    stream: UnixStream,
    mut mailbox: mpsc::Receiver<Request>,
    events: broadcast::Sender<Event>,
    told: watch::Sender<Option<Arc<str>>>,
    greeted: Greeted,
) {
    let mut connection = Connection {
        stream,
        lines: Lines::new(LONGEST_LINE),
        unsent: VecDeque::new(),
        open: HashMap::new(),
        next_id: 1,
        passing: None,
        events,
        greeted: Some(greeted),
    };
    let reason: Arc<str> = connection.serve(&mut mailbox).await.into();
    tracing::debug!(%reason, "monitor connection ended");
    told.send_replace(Some(Arc::clone(&reason)));
    let lost = || MonitorError::Lost { reason: Arc::clone(&reason) };
    if let Some(greeted) = connection.greeted.take() {
        let _ = greeted.send(Err(lost()));
    }
    for (_, open) in connection.open.drain() {
        let _ = open.reply.send(Err(lost()));
    }
    mailbox.close();
    while let Some(request) = mailbox.recv().await {
        let _ = request.reply.send(Err(lost()));
    }
}

impl Connection {
    /// Runs until the connection ends; returns how it did.
    async fn serve(&mut self, mailbox: &mut mpsc::Receiver<Request>) -> String {
        loop {
            let goes = |first: &Unsent| first.fd.is_none() || self.passing.is_none();
            let may_write = self.unsent.front().is_some_and(goes);
            let writing = if may_write { Interest::WRITABLE } else { Interest::READABLE };
            let interest = Interest::READABLE | writing;
            tokio::select! {
                request = mailbox.recv(), if self.unsent.len() < MOST_UNSENT => match request {
                    Some(request) => self.enqueue(request),
                    None => return "the connection was given up here".to_owned(),
                },
                ready = self.stream.ready(interest) => match ready {
                    Ok(ready) if ready.is_readable() => {
                        if let Err(reason) = self.read() {
                            return reason;
                        }
                    }
                    Ok(_) => {}
                    Err(error) => return text(error),
                }
            }
            // Most often the socket takes it at once, without another turn.
            if let Err(error) = self.write() {
                return self.hear_last_words(error);
            }
        }
    }

    /// Writing failed: most often QEMU has gone, and what it said last is waiting in the socket. The kernel is asked,
    /// for tokio may not have been told yet that there is something to read. Returns why the connection ended.
    fn hear_last_words(&mut self, failure: io::Error) -> String {
        let _ = self.read_by(|stream, bytes| Ok(recv(stream, bytes, RecvFlags::DONTWAIT)?.0));
        text(failure)
    }

    fn enqueue(&mut self, request: Request) {
        let id = self.next_id;
        self.next_id += 1;
        let verb = if request.out_of_band { "exec-oob" } else { "execute" };
        let mut message = serde_json::json!({ verb: request.command, "id": id });
        if let (Some(message), false) = (message.as_object_mut(), request.arguments.is_null()) {
            message.insert("arguments".to_owned(), request.arguments);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(b'\n');
        tracing::trace!(id, command = %request.command, "monitor command");
        self.unsent.push_back(Unsent { id, bytes, written: 0, fd: request.fd });
        if self.open.len() >= MOST_OPEN {
            self.open.retain(|_, open| !open.reply.is_closed());
        }
        self.open.insert(id, Open { command: request.command, reply: request.reply });
    }

    /// Writes what the socket takes. A descriptor goes with the first byte of its command, and what has one waits for
    /// the answer to the one before.
    fn write(&mut self) -> io::Result<()> {
        while let Some(first) = self.unsent.front_mut() {
            if first.fd.is_some() && self.passing.is_some() {
                return Ok(());
            }
            let rest = first.bytes.get(first.written..).unwrap_or_default();
            let fd = &first.fd;
            let stream = &self.stream;
            match stream.try_io(Interest::WRITABLE, || send(stream, rest, fd.as_ref())) {
                Ok(size) => {
                    first.written += size;
                    if first.fd.take().is_some() {
                        self.passing = Some(first.id);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if first.written >= first.bytes.len() {
                self.unsent.pop_front();
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        self.read_by(UnixStream::try_read)
    }

    fn read_by(
        &mut self,
        receive: impl Fn(&UnixStream, &mut [u8]) -> io::Result<usize>,
    ) -> Result<(), String> {
        let mut bytes = vec![0u8; 64 << 10];
        // Not endless: a QEMU that floods must not keep the mailbox waiting.
        for _ in 0..16 {
            match receive(&self.stream, &mut bytes) {
                Ok(0) => return Err("QEMU closed it".to_owned()),
                Ok(size) => self.lines.push(bytes.get(..size).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(text(error)),
            }
            loop {
                match self.lines.next_line() {
                    Ok(Some(line)) if line.is_empty() => {}
                    Ok(Some(line)) => self.hear(&line)?,
                    Ok(None) => break,
                    Err(TooLong) => {
                        return Err(format!("QEMU sent a line of more than {LONGEST_LINE} bytes"));
                    }
                }
            }
        }
        Ok(())
    }

    fn hear(&mut self, line: &[u8]) -> Result<(), String> {
        let said: Said = match serde_json::from_slice(line) {
            Ok(said) => said,
            Err(error) => {
                let begin = excerpt(line);
                if let Some(greeted) = self.greeted.take() {
                    let _ = greeted.send(Err(MonitorError::NotQmp { said: begin.clone() }));
                }
                return Err(format!("QEMU sent what is no QMP ({error}): {begin}"));
            }
        };
        // A command that QEMU could not even read is answered without its number.
        if said.id.map_or(said.error.is_some(), |id| self.passing == Some(id)) {
            self.passing = None;
        }
        if let Some(name) = said.event {
            let text = said.data.as_deref().map(|data| Arc::from(compact(data.get())));
            let data = said.data.and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default();
            tracing::debug!(event = %name, %data, "monitor event");
            let _ = self.events.send(Event { name, data, text, timestamp: said.timestamp });
        } else if let Some(greeting) = said.greeting {
            if let Some(greeted) = self.greeted.take() {
                let _ = greeted.send(Ok(greeting));
            }
        } else if let Some(open) = said.id.and_then(|id| self.open.remove(&id)) {
            let outcome = match (said.answer, said.error) {
                (Some(answer), _) => Ok(answer),
                (None, Some(no)) => Err(MonitorError::Refused {
                    command: open.command,
                    class: no.class,
                    description: no.desc,
                }),
                (None, None) => return Err("QEMU sent an answer without a result".to_owned()),
            };
            let _ = open.reply.send(outcome);
        } else {
            tracing::debug!(line = %excerpt(line), "monitor said what nobody asked");
        }
        Ok(())
    }
}

fn send(stream: &UnixStream, bytes: &[u8], fd: Option<&OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = fd.map(|fd| [fd.as_fd()]);
    if let Some(fds) = &fds {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape `map_err` wants")]
fn text(error: io::Error) -> String {
    error.to_string()
}

/// The beginning of untrusted bytes, fit for a log.
fn excerpt(line: &[u8]) -> String {
    String::from_utf8_lossy(line.get(..line.len().min(120)).unwrap_or_default()).escape_debug().to_string()
}
