//! A client that sends what it likes, and the house it calls at.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lodge_engine::{Config, Engine};
use lodge_libvirt::{Door, Server};
use lodge_sys::local::LocalSocket;
use lodge_wire::packet::{self, ErrorBody, Header, Kind, Status};
use lodge_wire::xdr::{self, Xdr};
use lodge_wire::{Call, remote};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

/// How long a test waits for what must come.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// One daemon's front for all tests of this process.
pub struct House {
    runtime: Runtime,
    pub server: Arc<Server>,
    _root: tempfile::TempDir,
}

/// The house; opened by the first who asks.
pub fn house() -> &'static House {
    static HOUSE: OnceLock<House> = OnceLock::new();
    HOUSE.get_or_init(|| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let root = tempfile::tempdir().unwrap();
        let config =
            Config { root: Some(root.path().to_owned()), accelerator_fallback: true, ..Config::default() };
        let server = runtime.block_on(async { Server::new(Engine::open(config).await.unwrap()) });
        House { runtime, server, _root: root }
    })
}

impl House {
    /// Runs a test's body, with an end to its patience.
    pub fn run(&self, body: impl Future<Output = ()>) {
        self.runtime.block_on(async { tokio::time::timeout(DEADLINE, body).await.expect("the test hangs") });
    }

    /// Runs something to its end.
    pub fn block<T>(&self, body: impl Future<Output = T>) -> T {
        self.runtime.block_on(body)
    }

    /// Runs something that starts tasks.
    pub fn enter<T>(&self, body: impl FnOnce() -> T) -> T {
        let _guard = self.runtime.enter();
        body()
    }

    /// A connection through any door.
    pub fn connect(&self, door: Door) -> Client {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let theirs = LocalSocket::of(theirs.into_std().unwrap()).unwrap();
        tokio::spawn(Arc::clone(&self.server).serve_connection(theirs, door));
        Client { stream: ours, serial: 0 }
    }

    /// A connection that may do everything, opened.
    pub async fn opened(&self) -> Client {
        let mut client = self.connect(root_door(false));
        client.open().await;
        client
    }

    /// A connection that may only look, opened.
    pub async fn read_only(&self) -> Client {
        let mut client = self.connect(root_door(true));
        client.open().await;
        client
    }
}

/// The door of root's socket.
pub fn root_door(read_only: bool) -> Door {
    Door::local(0, 0, None, read_only)
}

/// A client.
pub struct Client<S = UnixStream> {
    pub stream: S,
    serial: u32,
}

/// What came back.
#[derive(Debug)]
pub struct Message {
    pub header: Header,
    pub payload: Vec<u8>,
}

impl Message {
    /// The error in it.
    pub fn error(&self) -> ErrorBody {
        assert_eq!(self.header.status, Status::Error, "{self:?}");
        xdr::from_bytes(&self.payload).unwrap()
    }

    /// The error's number and text.
    pub fn refusal(&self) -> (i32, String) {
        let error = self.error();
        (error.code, error.message.unwrap().to_string())
    }

    /// The value in it.
    pub fn value<T: Xdr>(&self) -> T {
        assert_eq!(self.header.status, Status::Ok, "{:?}", self.refusal());
        xdr::from_bytes(&self.payload).unwrap()
    }
}

impl Client {
    /// One byte with a descriptor.
    pub async fn send_fd(&mut self, fd: BorrowedFd<'_>) {
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fds = [fd];
            control.push(SendAncillaryMessage::ScmRights(&fds));
            Ok(rustix::net::sendmsg(&self.stream, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?)
        };
        self.stream.async_io(Interest::WRITABLE, send).await.unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// On a connection that is there.
    pub fn over(stream: S) -> Self {
        Self { stream, serial: 0 }
    }

    /// Sends a call and does not wait.
    pub async fn begin<C: Call>(&mut self, _: C, args: &C::Args) {
        let header = self.header(C::FACTS.program, C::FACTS.number);
        self.send_message(&header, &xdr::to_bytes(args).unwrap()).await.unwrap();
    }

    /// Whether there is such a program behind this door.
    pub async fn has_program(&mut self, program: u32) -> bool {
        let reply = self.raw_call(program, 9999, &[]).await.unwrap();
        reply.refusal().1.starts_with("unknown procedure")
    }

    /// A header of a call with the next serial.
    pub fn header(&mut self, program: u32, procedure: i32) -> Header {
        self.serial += 1;
        Header { program, version: 1, procedure, kind: Kind::Call, serial: self.serial, status: Status::Ok }
    }

    /// Bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// A message of any kind.
    pub async fn send_message(&mut self, header: &Header, payload: &[u8]) -> io::Result<()> {
        self.send(&packet::stream_message(header, payload).unwrap()).await
    }

    /// The next message; `None` when the server has closed.
    pub async fn receive(&mut self) -> Option<Message> {
        let length = self.stream.read_u32().await.ok()?;
        let mut bytes = vec![0; packet::length(length)?];
        self.stream.read_exact(&mut bytes).await.ok()?;
        let mut input = xdr::Decoder::new(&bytes);
        let header = Header::decode(&mut input).unwrap();
        Some(Message { header, payload: input.rest().to_owned() })
    }

    /// The next message of that serial; events and others before it are dropped.
    pub async fn reply(&mut self, serial: u32) -> Option<Message> {
        loop {
            let message = self.receive().await?;
            if message.header.kind != Kind::Message && message.header.serial == serial {
                return Some(message);
            }
        }
    }

    /// A call with any payload, and its reply.
    pub async fn raw_call(&mut self, program: u32, procedure: i32, payload: &[u8]) -> Option<Message> {
        let header = self.header(program, procedure);
        self.send_message(&header, payload).await.ok()?;
        self.reply(header.serial).await
    }

    /// A call as the table has it, and its reply.
    pub async fn call<C: Call>(&mut self, _: C, args: &C::Args) -> Message {
        let payload = xdr::to_bytes(args).unwrap();
        self.raw_call(C::FACTS.program, C::FACTS.number, &payload).await.expect("the server closed")
    }

    /// CONNECT_OPEN.
    pub async fn open(&mut self) {
        let args = remote::ConnectOpenArgs { name: Some("qemu:///system".into()), flags: 0 };
        self.call(remote::call::ConnectOpen, &args).await.value::<()>();
    }

    /// Whether the server still answers here.
    pub async fn answers(&mut self) -> bool {
        let reply =
            self.raw_call(remote::PROGRAM, remote::Procedure::ConnectGetLibVersion.number(), &[]).await;
        reply.is_some_and(|reply| reply.header.status == Status::Ok)
    }

    /// Waits until the server closes.
    pub async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end, too.
        drop(self.stream.read_to_end(&mut rest).await);
        assert!(rest.is_empty(), "the server said something before it closed: {rest:?}");
    }
}
