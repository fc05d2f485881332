//! Events as a stream: server-sent events, parsed as the WHATWG's HTML standard § 9.2.6 says.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, ready};
use http::header::ACCEPT;
use hyper::body::{Body, Incoming};
use lodge_api::{ErrorBody, Event, EventsQuery, route};
use tokio::time::{Instant, Sleep};

use crate::wire::{Call, decode};
use crate::{Client, ClientError};

/// The server says something at least every 15 s; after this long without it is hung.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// How errors name this call.
const CALL: &str = "GET /v1/events";
/// The longest line taken.
const LINE_MAX_BYTES: usize = 1 << 20;

impl Client {
    /// Events with a greater number than `since` that are still kept, then the new ones; with `None` the
    /// new ones only. The stream ends with an error when the daemon goes or the reader is too slow: begin
    /// again with the last number seen.
    pub async fn events(&self, since: Option<u64>) -> Result<Events, ClientError> {
        let call = Call::get(route::EVENTS).query(&EventsQuery { since }).header(ACCEPT, "text/event-stream");
        let response = self.wire.open_stream(call).await?;
        Ok(Events {
            body: response.into_body(),
            parser: Parser::default(),
            ready: VecDeque::new(),
            silence: Box::pin(tokio::time::sleep(SILENCE_MAX)),
            socket: self.socket().to_owned(),
            ended: false,
        })
    }
}

/// Events as they come.
pub struct Events {
    body: Incoming,
    parser: Parser,
    ready: VecDeque<Result<Event, ClientError>>,
    silence: Pin<Box<Sleep>>,
    socket: std::path::PathBuf,
    ended: bool,
}

impl Events {
    /// The next event; `None` after the stream's end or its error.
    pub async fn next(&mut self) -> Option<Result<Event, ClientError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn take_in(&mut self, bytes: &[u8]) {
        for message in self.parser.feed(bytes) {
            let item = message.and_then(|message| {
                let data = message.data.as_bytes();
                if message.name == "error" {
                    return Err(ClientError::Api(decode::<ErrorBody>(CALL, data)?));
                }
                decode(CALL, data)
            });
            self.ready.push_back(item);
        }
    }
}

impl Stream for Events {
    type Item = Result<Event, ClientError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(item) = this.ready.pop_front() {
                this.ended |= item.is_err();
                return Poll::Ready(Some(item));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.silence.as_mut().reset(Instant::now() + SILENCE_MAX);
                    if let Some(bytes) = frame.data_ref() {
                        this.take_in(bytes);
                    }
                }
                Poll::Ready(Some(Err(source))) => {
                    this.ready.push_back(Err(ClientError::Lost { call: CALL.to_owned(), source }));
                }
                Poll::Ready(None) => this.ended = true,
                Poll::Pending => {
                    ready!(this.silence.as_mut().poll(cx));
                    let (socket, waited) = (this.socket.clone(), SILENCE_MAX);
                    this.ready.push_back(Err(ClientError::Silent { socket, waited }));
                }
            }
        }
    }
}

/// One message of a server-sent stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    name: String,
    data: String,
}

/// Lines in, messages out. Holds at most a line and a message, both bounded.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    message: Message,
    has_data: bool,
}

impl Parser {
    /// The messages that `bytes` complete.
    fn feed(&mut self, bytes: &[u8]) -> Vec<Result<Message, ClientError>> {
        let mut out = Vec::new();
        for &byte in bytes {
            let end = match byte {
                b'\n' if std::mem::take(&mut self.after_cr) => continue,
                b'\n' => true,
                b'\r' => {
                    self.after_cr = true;
                    true
                }
                _ => {
                    self.after_cr = false;
                    self.line.push(byte);
                    false
                }
            };
            if self.line.len() > LINE_MAX_BYTES || self.message.data.len() > LINE_MAX_BYTES {
                out.push(Err(garbled("an event has more than a mebibyte")));
                return out;
            }
            if end {
                let line = std::mem::take(&mut self.line);
                match String::from_utf8(line) {
                    Ok(line) => out.extend(self.line(&line).map(Ok)),
                    Err(_) => out.push(Err(garbled("it is not UTF-8"))),
                }
            }
        }
        out
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return std::mem::take(&mut self.has_data).then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.name),
            "data" => {
                if self.has_data {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
                self.has_data = true;
            }
            // A comment (no field name) is a heartbeat; `id` repeats the event's own number.
            _ => {}
        }
        None
    }
}

fn garbled(why: &str) -> ClientError {
    ClientError::Garbled { call: CALL.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(chunks: &[&[u8]]) -> Vec<Message> {
        let mut parser = Parser::default();
        chunks.iter().flat_map(|chunk| parser.feed(chunk)).map(Result::unwrap).collect()
    }

    fn message(name: &str, data: &str) -> Message {
        Message { name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn the_standards_forms_of_a_message() {
        let text = b": hello\n\nid: 1\ndata: a\n\nevent: error\ndata:b\ndata: c\n\ndata\n\nevent: x\n\n";
        assert_eq!(parse(&[text]), [message("", "a"), message("error", "b\nc"), message("", "")]);
    }

    #[test]
    fn line_ends_of_every_kind_and_chunks_anywhere() {
        let text = b"data: \xc3\xa9\r\n\r\ndata: 2\r\rdata: 3\n\n";
        let wanted = [message("", "é"), message("", "2"), message("", "3")];
        assert_eq!(parse(&[text]), wanted);
        let bytes: Vec<_> = text.iter().map(std::slice::from_ref).collect();
        assert_eq!(parse(&bytes), wanted);
    }

    #[test]
    fn an_endless_line_is_an_error_not_memory() {
        let mut parser = Parser::default();
        let out = parser.feed(&vec![b'x'; LINE_MAX_BYTES + 1]);
        assert!(matches!(out[..], [Err(ClientError::Garbled { .. })]));
    }
}
