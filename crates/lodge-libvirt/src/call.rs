//! One call, as the function that does it sees it.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use lodge_engine::{Caller, Engine};
use lodge_wire::packet::{Header, Kind, Status};
use lodge_wire::{Facts, When};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::api;
use crate::fault::{Code, Fault};
use crate::server::Server;
use crate::session::Session;
use crate::stream::{Reader, Sink, Source, Stream, Writer};

/// A call at work.
pub struct Call {
    server: Arc<Server>,
    session: Arc<Session>,
    header: Header,
    facts: &'static Facts,
    baggage: Mutex<Baggage>,
}

/// What goes with a call beside its arguments and its reply.
#[derive(Default)]
struct Baggage {
    fds: Vec<OwnedFd>,
    reply_fds: Vec<OwnedFd>,
    after_reply: Option<AfterReply>,
    stream: Option<Stream>,
}

/// What is done when a reply is written.
pub(crate) type AfterReply = Box<dyn FnOnce() + Send>;

impl Call {
    pub(crate) fn new(
        server: &Arc<Server>,
        session: &Arc<Session>,
        header: Header,
        facts: &'static Facts,
        fds: Vec<OwnedFd>,
    ) -> Self {
        Self {
            server: Arc::clone(server),
            session: Arc::clone(session),
            header,
            facts,
            baggage: Mutex::new(Baggage { fds, ..Baggage::default() }),
        }
    }

    /// The use cases.
    pub fn engine(&self) -> &Engine {
        self.server.engine()
    }

    /// Who asks.
    pub fn caller(&self) -> Caller {
        self.session.caller()
    }

    /// The connection it came by.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The daemon's front.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The procedure's row of the table.
    pub fn facts(&self) -> &'static Facts {
        self.facts
    }

    /// Refuses flags beyond `known`, as libvirt does.
    pub fn only_flags(&self, flags: u32, known: u32) -> Result<(), Fault> {
        let unknown = flags & !known;
        if unknown == 0 {
            return Ok(());
        }
        let (function, origin) = api::driver_function(self.facts);
        let text = format!("unsupported flags (0x{unknown:x}) in function {function}");
        Err(Fault::bare(Code::InvalidArg, origin, text).with_strings(&function, "flags"))
    }

    /// The descriptors that came with the call. They are closed at its end if nobody takes them.
    pub fn take_fds(&self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.baggage().fds)
    }

    /// Descriptors that go with the reply.
    pub fn reply_fds(&self, fds: Vec<OwnedFd>) {
        self.baggage().reply_fds = fds;
    }

    /// Opens a stream with this call's reply, if that is a good one.
    pub fn open_stream(&self, stream: Stream) {
        self.baggage().stream = Some(stream);
    }

    /// Opens a stream to the client.
    pub fn send_stream(&self, source: impl Source) {
        self.open_stream(Stream { source: Some(Box::new(source)), sink: None });
    }

    /// Opens a stream from the client.
    pub fn receive_stream(&self, sink: impl Sink) {
        self.open_stream(Stream { source: None, sink: Some(Box::new(sink)) });
    }

    /// Opens a stream both ways.
    pub fn duplex_stream(&self, both: impl AsyncRead + AsyncWrite + Send + 'static) {
        let (reader, writer) = tokio::io::split(both);
        self.open_stream(Stream {
            source: Some(Box::new(Reader(reader))),
            sink: Some(Box::new(Writer(writer))),
        });
    }

    /// Does something when the reply is written and before anything else is.
    pub fn after_reply(&self, act: impl FnOnce() + Send + 'static) {
        self.baggage().after_reply = Some(Box::new(act));
    }

    /// The header of the reply.
    pub(crate) fn reply_header(&self, kind: Kind, status: Status) -> Header {
        Header { kind, status, ..self.header }
    }

    /// Refuses what only the read-write connection may.
    pub(crate) fn refuse_write(&self) -> Fault {
        let (function, origin) = (api::function(self.facts), api::part(self.facts));
        // Documents are refused for what is secret in them, everything else as it is.
        let whole = self.facts.acl.iter().all(|rule| rule.when == When::Always || rule.only_looks());
        let text = if !whole && function.ends_with("XMLDesc") {
            format!("{function} with secure flag")
        } else {
            format!("read only access prevents {function}")
        };
        Fault::new(Code::OperationDenied, origin, text)
    }

    /// The descriptors of the reply, and what is done after it.
    pub(crate) fn take_reply_baggage(&self) -> (Vec<OwnedFd>, Option<AfterReply>) {
        let mut baggage = self.baggage();
        (std::mem::take(&mut baggage.reply_fds), baggage.after_reply.take())
    }

    /// Makes the stream known that the function opened; what is returned lets it flow.
    pub(crate) fn begin_stream(&self) -> Result<Option<AfterReply>, Fault> {
        let Some(stream) = self.baggage().stream.take() else { return Ok(None) };
        let pump = self.session.streams().open(&self.header, stream, self.session.outbox())?;
        let server = Arc::clone(&self.server);
        Ok(Some(Box::new(move || drop(server.tasks().spawn(pump.run())))))
    }

    fn baggage(&self) -> std::sync::MutexGuard<'_, Baggage> {
        self.baggage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
