//! HTTP/1.1 over the daemon's socket: connections, reused when idle; requests out, answers in.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use lodge_api::{ErrorBody, ErrorKind};
use rustix::net::sockopt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::{ClientError, Endpoint};

/// Connections kept when nobody uses them.
const IDLE_MAX: usize = 8;
/// How long a connection is kept. Well under the server's 30 s, or it might close one just as it is used.
const IDLE_FOR: Duration = Duration::from_secs(10);
/// The largest answer taken: a list of a hundred thousand domains is less.
const ANSWER_MAX_BYTES: usize = 256 << 20;

/// What the socket of a long body may hold.
const BODY_ROOM_BYTES: usize = 1 << 20;

type Sender = SendRequest<Full<Bytes>>;

/// The connections to one daemon.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: PathBuf,
    idle: Mutex<Vec<(Sender, Instant)>>,
}

impl Wire {
    /// Connects to the first of the endpoint's sockets that takes a connection.
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let mut tried = Vec::new();
        for socket in endpoint.sockets() {
            match UnixStream::connect(socket).await {
                Ok(stream) => {
                    let wire = Self { socket: socket.clone(), idle: Mutex::default() };
                    let sender = greet(stream).await.map_err(|source| lost("connect", source))?;
                    wire.keep(sender);
                    return Ok(wire);
                }
                Err(error) => tried.push((socket.clone(), error)),
            }
        }
        Err(ClientError::Unreachable { tried })
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// One call with its whole answer; anything but a success is the error it carries.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Bytes, ClientError> {
        let name = call.name();
        let (sender, response) = self.send(call).await?;
        let status = response.status();
        let body = whole(&name, response).await?;
        self.keep(sender);
        if status.is_success() { Ok(body) } else { Err(refusal(&name, status, &body)) }
    }

    /// One call whose answer goes on: the head, and the body as it comes.
    pub(crate) async fn open_stream(&self, call: Call<'_>) -> Result<Response<Incoming>, ClientError> {
        let name = call.name();
        let (_sender, response) = self.send(call).await?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let body = whole(&name, response).await?;
        Err(refusal(&name, status, &body))
    }

    /// One call whose body goes on, on a connection of its own. The body's error ends the call.
    pub(crate) async fn send_stream<B>(&self, call: Call<'_>, body: B) -> Result<(), ClientError>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let name = call.name();
        let (parts, _) = call.request()?.into_parts();
        let unreachable = |error| ClientError::Unreachable { tried: vec![(self.socket.clone(), error)] };
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        hold_more(&stream);
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|source| lost(&name, source))?;
        tokio::spawn(connection);
        let response = sender
            .send_request(Request::from_parts(parts, body))
            .await
            .map_err(|source| lost(&name, source))?;
        let status = response.status();
        let body = whole(&name, response).await?;
        if status.is_success() { Ok(()) } else { Err(refusal(&name, status, &body)) }
    }

    /// Sends on an idle connection or a new one. A connection the daemon closed while it was idle never
    /// took the request, so that one goes out again on a new one; a request that was taken is not repeated.
    async fn send(&self, call: Call<'_>) -> Result<(Sender, Response<Incoming>), ClientError> {
        let name = call.name();
        // Asked again where its connection was left by a daemon that is gone: it changes nothing.
        let again = (call.method == Method::GET).then(|| call.clone());
        let mut request = call.request()?;
        while let Some(mut sender) = self.idle() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((sender, response)),
                Err(mut failed) => match (failed.take_message(), &again) {
                    (Some(unsent), _) => request = unsent,
                    (None, Some(call)) => request = call.clone().request()?,
                    (None, None) => return Err(lost(name, failed.into_error())),
                },
            }
        }
        let unreachable = |error| ClientError::Unreachable { tried: vec![(self.socket.clone(), error)] };
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let mut sender = greet(stream).await.map_err(|source| lost(&name, source))?;
        let response = sender.send_request(request).await.map_err(|source| lost(&name, source))?;
        Ok((sender, response))
    }

    fn idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < IDLE_FOR);
        idle.pop().map(|(sender, _)| sender)
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push((sender, Instant::now()));
        }
    }
}

/// What to ask.
#[derive(Clone)]
pub(crate) struct Call<'a> {
    method: Method,
    path: String,
    headers: Vec<(http::HeaderName, &'a str)>,
    body: Bytes,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub(crate) fn query(mut self, query: &impl Serialize) -> Self {
        let text = serde_urlencoded::to_string(query).expect("our queries are flat structs of plain values");
        if !text.is_empty() {
            self.path = format!("{}?{text}", self.path);
        }
        self
    }

    pub(crate) fn header(mut self, name: http::HeaderName, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        self.body = serde_json::to_vec(body).expect("our documents have string keys only").into();
        self.header(CONTENT_TYPE, "application/json")
    }

    pub(crate) fn xml(mut self, document: &str) -> Self {
        self.body = Bytes::copy_from_slice(document.as_bytes());
        self.header(CONTENT_TYPE, "application/xml")
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn request(self) -> Result<Request<Full<Bytes>>, ClientError> {
        let name = self.name();
        let mut builder = Request::builder().method(self.method).uri(self.path).header(HOST, "lodge");
        for (header, value) in self.headers {
            builder = builder.header(header, value);
        }
        builder
            .body(Full::new(self.body))
            .map_err(|error| ClientError::Garbled { call: name, why: format!("it cannot be sent: {error}") })
    }
}

/// The JSON document in `body`.
pub(crate) fn decode<T: DeserializeOwned>(call: &str, body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body)
        .map_err(|error| ClientError::Garbled { call: call.to_owned(), why: error.to_string() })
}

/// Starts HTTP on a connection; its task ends with it.
async fn greet(stream: UnixStream) -> Result<Sender, hyper::Error> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection ended");
        }
    });
    Ok(sender)
}

/// Lets a socket hold more of a body: the daemon has something to read while this process is woken to go on. How much
/// is the host's to say.
fn hold_more(stream: &UnixStream) {
    if sockopt::set_socket_send_buffer_size_force(stream, BODY_ROOM_BYTES).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(stream, BODY_ROOM_BYTES);
    }
}

/// All of an answer's body.
async fn whole(call: &str, response: Response<Incoming>) -> Result<Bytes, ClientError> {
    match Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(source) => lost(call, *source),
            Err(error) => ClientError::Garbled { call: call.to_owned(), why: error.to_string() },
        }),
    }
}

/// The error an answer carries; one without a body of ours came from HTTP itself.
fn refusal(call: &str, status: StatusCode, body: &[u8]) -> ClientError {
    if let Ok(body) = serde_json::from_slice::<ErrorBody>(body) {
        return ClientError::Api(body);
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim().lines().next().unwrap_or_default();
    if status == StatusCode::NOT_FOUND {
        let message = format!("the daemon does not know `{call}`");
        let hint = "the client is newer than the daemon: restart the daemon";
        return ClientError::Api(ErrorBody::new(ErrorKind::Unsupported, message).with_hint(hint));
    }
    ClientError::Garbled { call: call.to_owned(), why: format!("HTTP status {status}: {text}") }
}

fn lost(call: impl Into<String>, source: hyper::Error) -> ClientError {
    ClientError::Lost { call: call.into(), source }
}
