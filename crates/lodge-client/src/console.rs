//! A domain's serial console as a byte stream, over a WebSocket.
//!
//! Bytes go both ways in binary frames. The server's close says why it ended: 1000 is the guest's end of
//! the console, anything else is an error of the reader's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream, ready};
use http::StatusCode;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use lodge_api::{ConsoleQuery, route};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::wire::Call;
use crate::{Client, ClientError};

/// The largest piece sent in one frame.
const FRAME_MAX_BYTES: usize = 16 << 10;

impl Client {
    /// Opens a domain's serial console; with `force` takes it over from whoever has it.
    pub async fn console(&self, dom: &str, force: bool) -> Result<Console, ClientError> {
        let key = generate_key();
        let path = route::of(route::DOMAIN_CONSOLE, dom);
        let call = Call::get(path.clone())
            .query(&ConsoleQuery { force })
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key);
        let response = self.wire.open_stream(call).await?;
        let garbled = |why: &str| ClientError::Garbled { call: format!("GET {path}"), why: why.to_owned() };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(garbled("it is no console but a page"));
        }
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes().to_vec());
        if accept != Some(derive_accept_key(key.as_bytes()).into_bytes()) {
            return Err(garbled("the other side does not speak WebSocket"));
        }
        let upgraded = hyper::upgrade::on(response).await;
        let upgraded =
            upgraded.map_err(|source| ClientError::Lost { call: format!("GET {path}"), source })?;
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
        Ok(Console { socket, rest: Bytes::new(), ended: false })
    }
}

/// An open console. Reading to the end means that the guest's side ended; shutting it down detaches.
/// Flush after writing, as with every buffered writer.
#[derive(Debug)]
pub struct Console {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    rest: Bytes,
    ended: bool,
}

impl AsyncRead for Console {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.rest.is_empty() && !this.ended {
            match ready!(Pin::new(&mut this.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => this.rest = bytes,
                Some(Ok(Message::Text(text))) => this.rest = text.into(),
                Some(Ok(Message::Close(frame))) => {
                    this.ended = true;
                    ending(frame)?;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => this.ended = true,
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Err(io_error(error)));
                }
            }
        }
        let taken = this.rest.len().min(buf.remaining());
        buf.put_slice(&this.rest[..taken]);
        this.rest.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Console {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut socket = Pin::new(&mut self.get_mut().socket);
        // What was written before goes out first: what waits here is one piece, not the library's buffer full.
        ready!(socket.as_mut().poll_flush(cx)).map_err(io_error)?;
        let piece = &bytes[..bytes.len().min(FRAME_MAX_BYTES)];
        socket.as_mut().start_send(Message::Binary(Bytes::copy_from_slice(piece))).map_err(io_error)?;
        // A key pressed goes out now; where that must wait, the next write or flush goes on with it.
        match socket.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(io_error(error))),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(piece.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.get_mut().socket).poll_close(cx)) {
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(io_error(error))),
        }
    }
}

/// Whether a close is the console's own end.
fn ending(frame: Option<CloseFrame>) -> io::Result<()> {
    match frame {
        None => Ok(()),
        Some(frame) if frame.code == CloseCode::Normal => Ok(()),
        Some(frame) => Err(io::Error::other(frame.reason.to_string())),
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}
