//! A domain's serial console over a WebSocket: bytes both ways, no more in hand than one chunk each way.
//!
//! ```text
//!  client ── binary frames ──▶ pump ── bytes ──▶ pty ── QEMU's serial port
//! ```
//!
//! Neither side is read faster than the other writes. The close code says why it ended: 1000 the guest's
//! side did, 1001 the daemon stops, 1008 somebody took the console over, 1011 the host's side failed.

use std::future::Future;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use lodge_api::{ConsoleQuery, route};
use lodge_engine::Console;
use lodge_sys::pty::Pty;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::limits::{CONSOLE_CHUNK_BYTES, CONSOLE_MESSAGE_MAX_BYTES};
use crate::refusal::Refusal;
use crate::request::{Front, House, Name, Query, invalid};

pub(crate) fn routes() -> OpenApiRouter<House> {
    OpenApiRouter::new().routes(routes!(domain_console))
}

/// Open a domain's serial console.
///
/// A WebSocket with binary frames. The close code says why it ended: 1000 the guest's side did, 1001 the
/// daemon stops (the guest runs on), 1008 somebody took the console over, 1011 the host's side failed.
#[utoipa::path(get, path = route::DOMAIN_CONSOLE, tag = "guests",
    params(("dom" = String, Path, description = "The domain's name, UUID or number"), ConsoleQuery),
    responses((status = 101, description = "The console is open"), Refusal))]
async fn domain_console(
    front: Front,
    Name(dom): Name,
    Query(query): Query<ConsoleQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Refusal> {
    let upgrade = upgrade.map_err(|_| {
        invalid("a console is a WebSocket; this is a plain request")
            .with_hint("use `lodge console`, or any WebSocket client that can use a unix socket")
            .with_status(StatusCode::UPGRADE_REQUIRED)
    })?;
    let Console { pty, taken } = front.engine.domain_console(&front.caller, &dom, query.force).await?;
    let pty = Pty::of(pty.into_std().await.into()).map_err(|error| {
        Refusal::new(lodge_api::ErrorKind::Internal, format!("cannot use the console's pty: {error}"))
    })?;
    let taken = async move { drop(taken.await) };
    let upgrade =
        upgrade.max_message_size(CONSOLE_MESSAGE_MAX_BYTES).max_frame_size(CONSOLE_MESSAGE_MAX_BYTES);
    Ok(upgrade.on_upgrade(move |socket| pump(socket, pty, taken, front.closing)))
}

/// Why a console ended.
enum End {
    /// The client went.
    Client,
    /// The guest's side did.
    Guest,
    /// Somebody took it over.
    Taken,
    /// The daemon stops.
    Closing,
    /// The pty failed.
    Failed(std::io::Error),
}

/// Carries bytes both ways until one side, or something else, ends it; says which to the client.
pub(crate) async fn pump(
    socket: WebSocket,
    pty: impl AsyncRead + AsyncWrite,
    taken: impl Future<Output = ()>,
    closing: CancellationToken,
) {
    let (mut to_client, from_client) = socket.split();
    let (from_guest, to_guest) = tokio::io::split(pty);
    let end = tokio::select! {
        end = client_to_guest(from_client, to_guest) => end,
        end = guest_to_client(from_guest, &mut to_client) => end,
        () = taken => End::Taken,
        () = closing.cancelled() => End::Closing,
    };
    let (code, reason) = match end {
        End::Client => return,
        End::Guest => (close_code::NORMAL, "the guest's console ended".to_owned()),
        End::Taken => (close_code::POLICY, "somebody took the console over".to_owned()),
        End::Closing => (close_code::AWAY, "the daemon is stopping; the guest runs on".to_owned()),
        End::Failed(error) => (close_code::ERROR, format!("the console's pty failed: {error}")),
    };
    let frame = CloseFrame { code, reason: reason.into() };
    // The client may be gone by now; then there is nobody to tell.
    drop(to_client.send(Message::Close(Some(frame))).await);
}

async fn client_to_guest(mut client: SplitStream<WebSocket>, mut guest: impl AsyncWrite + Unpin) -> End {
    while let Some(message) = client.next().await {
        let bytes = match message {
            Ok(Message::Binary(bytes)) => bytes,
            Ok(Message::Text(text)) => text.into(),
            Ok(Message::Ping(_) | Message::Pong(_)) => continue,
            Ok(Message::Close(_)) | Err(_) => return End::Client,
        };
        if let Err(error) = guest.write_all(&bytes).await {
            return End::Failed(error);
        }
    }
    End::Client
}

async fn guest_to_client(
    mut guest: impl AsyncRead + Unpin,
    client: &mut SplitSink<WebSocket, Message>,
) -> End {
    let mut buffer = BytesMut::with_capacity(CONSOLE_CHUNK_BYTES);
    loop {
        buffer.reserve(CONSOLE_CHUNK_BYTES);
        match guest.read_buf(&mut buffer).await {
            Ok(0) => return End::Guest,
            Ok(_) => {}
            Err(error) => return End::Failed(error),
        }
        let bytes: Bytes = buffer.split().freeze();
        if client.send(Message::Binary(bytes)).await.is_err() {
            return End::Client;
        }
    }
}
