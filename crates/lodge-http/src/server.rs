//! The socket and its connections: who may knock, how many, how long they may take, and how it all ends.

use std::convert::Infallible;
use std::fs::Permissions;
use std::future::Future;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lodge_api::{ErrorBody, ErrorKind};
use lodge_engine::{Caller, Engine};
use lodge_model::Kind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::limits::{
    CONNECTIONS_MAX, HEAD_DEADLINE, HEAD_MAX_BYTES, HEADERS_MAX, STOP_GRACE, TURN_AWAY_DEADLINE,
    TURNED_AWAY_MAX,
};
use crate::openapi;
use crate::request::{House, broke};

/// How long to leave the host alone when it has no descriptor left for a new connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The REST socket. It goes from the file system when this is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    inode: u64,
    room: Arc<Semaphore>,
}

/// How many are connected.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Semaphore>);

impl Connections {
    /// So many at this moment.
    pub fn now(&self) -> usize {
        CONNECTIONS_MAX.saturating_sub(self.0.available_permits())
    }
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Its directory is missing and cannot be made.
    #[error("cannot make the directory `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("cannot listen on `{}`", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket is there, but its owner or mode cannot be set.
    #[error("cannot set who may use `{}`", path.display())]
    Guard {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BindError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Directory { source, .. } | Self::Listen { source, .. } | Self::Guard { source, .. } => {
                match source.kind() {
                    io::ErrorKind::PermissionDenied => Kind::Denied,
                    io::ErrorKind::InvalidInput => Kind::InvalidInput,
                    _ => Kind::Internal,
                }
            }
        }
    }

    /// What to do next, where something can be done.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            // sockaddr_un has room for 107 bytes (unix(7)).
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
                Some("a socket's path has at most 107 bytes: choose a shorter --root")
            }
            _ => None,
        }
    }
}

impl Listener {
    /// Listens at `path`, mode 0660, of `group` if one is given. The socket takes its name only when its mode
    /// is set, and takes it from a dead daemon's; that none lives is the engine's lock's to say.
    pub fn bind(path: &Path, group: Option<u32>) -> Result<Self, BindError> {
        let of = |source| BindError::Listen { path: path.to_owned(), source };
        let guard = |source| BindError::Guard { path: path.to_owned(), source };
        let directory = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory)
            .map_err(|source| BindError::Directory { path: directory.to_owned(), source })?;
        let unnamed = directory.join(".new.sock");
        match std::fs::remove_file(&unnamed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(of(error)),
            _ => {}
        }
        let socket = UnixListener::bind(&unnamed).map_err(of)?;
        let named = std::fs::set_permissions(&unnamed, Permissions::from_mode(0o660))
            .and_then(|()| std::os::unix::fs::chown(&unnamed, None, group))
            .map_err(guard)
            .and_then(|()| std::fs::rename(&unnamed, path).map_err(of))
            .and_then(|()| std::fs::metadata(path).map_err(of));
        match named {
            Ok(metadata) => {
                let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
                Ok(Self { socket, path: path.to_owned(), inode: metadata.ino(), room })
            }
            Err(error) => {
                drop(std::fs::remove_file(&unnamed));
                Err(error)
            }
        }
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Counts those that are connected, for as long as it serves.
    pub fn connections(&self) -> Connections {
        Connections(Arc::clone(&self.room))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Another daemon may have taken the name meanwhile: that one is not ours to remove.
        if std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Serves the API until `shutdown` resolves; then waits a little for the requests that still run.
pub async fn serve(engine: Engine, listener: Listener, shutdown: impl Future<Output = ()>) {
    let closing = CancellationToken::new();
    let router = openapi::router(House { engine, closing: closing.clone() });
    serve_router(guarded(router), &listener, shutdown, closing).await;
}

/// What every request passes, whatever its route: a handler that breaks answers, and each answer is logged.
fn guarded(router: Router) -> Router {
    router.layer(middleware::from_fn(watch))
}

async fn watch(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let begun = Instant::now();
    let outcome = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let response = outcome.unwrap_or_else(|_| {
        tracing::error!(%method, path, "handler broke");
        broke().into_response()
    });
    tracing::debug!(%method, path, status = response.status().as_u16(), took = ?begun.elapsed(), "answered");
    response
}

async fn serve_router(
    router: Router,
    listener: &Listener,
    shutdown: impl Future<Output = ()>,
    closing: CancellationToken,
) {
    let room = Arc::clone(&listener.room);
    let porch = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
                    connections.spawn(connection(router.clone(), stream, permit, closing.clone()));
                    continue;
                }
                tracing::warn!(limit = CONNECTIONS_MAX, "connection refused: too many");
                if let Ok(permit) = Arc::clone(&porch).try_acquire_owned() {
                    connections.spawn(turn_away(stream, permit));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    closing.cancel();
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, all_done).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests cut off");
        connections.shutdown().await;
    }
}

async fn connection(
    router: Router,
    stream: UnixStream,
    _room: OwnedSemaphorePermit,
    closing: CancellationToken,
) {
    let caller = match stream.peer_cred() {
        Ok(peer) => Caller { uid: peer.uid(), pid: peer.pid(), read_only: false },
        Err(error) => {
            tracing::warn!(%error, "cannot tell who connects");
            return;
        }
    };
    tracing::trace!(uid = caller.uid, pid = caller.pid, "connected");
    // A volume's bytes: the client has something to read while the next are brought.
    lodge_sys::local::hold_more(&stream);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(caller.clone());
        let router = router.clone();
        async move { router.oneshot(request).await as Result<Response, Infallible> }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection ended");
    }
}

/// Tells one that is too many so. Its request is read first: an answer to nothing is no answer.
async fn turn_away(mut stream: UnixStream, _room: OwnedSemaphorePermit) {
    let body =
        ErrorBody::new(ErrorKind::Exhausted, format!("the daemon has {CONNECTIONS_MAX} connections already"))
            .with_hint("close some: each console, wait and stream of events holds one");
    let body = serde_json::to_string(&body).expect("an error document has string keys only");
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let talk = async {
        let mut head = Vec::new();
        while head.len() < HEAD_MAX_BYTES && !head.windows(4).any(|end| end == b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                break;
            }
        }
        stream.write_all(answer.as_bytes()).await
    };
    // It is turned away either way.
    drop(tokio::time::timeout(TURN_AWAY_DEADLINE, talk).await);
}

#[cfg(test)]
mod tests;
