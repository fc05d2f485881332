//! Streams: bytes that follow a call, to the client, from it, or both ways (wire.md calls them by their call's serial).
//!
//! ```text
//!          the OK reply is written            client: STREAM/OK      STREAM/OK, after `finish`
//!  opened ─────────────────────────▶ flowing ─────────────────▶ over
//!                                      │  client: STREAM/ERROR, or it goes ─▶ over (source and sink are dropped)
//!                                      └─ source or sink fails: STREAM/ERROR ─▶ over
//! ```
//!
//! One task per stream pumps. Back-pressure: what comes in holds a ticket of the connection until the sink has it,
//! what goes out waits until the packet before it is written. Packets of a stream that is over are dropped.
//! Deliberately absent: what the bytes are, and files: [`Source`] and [`Sink`] are the procedures' own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lodge_wire::packet::{self, Header, Kind, LEGACY_PAYLOAD, STREAM_HEAD, Status, StreamHole};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::fault::{Code, Fault, Origin};
use crate::frame::{Bytes, Payload};
use crate::limits::{
    LONG_PACKET_BYTES, LONG_PAYLOAD, PACKETS_IN_FLIGHT, SPARE_PACKET_BYTES, SPARE_PACKETS, STREAMS_MAX,
};
use crate::outbox::{Frame, Outbox, Room, Ticket};

/// A part of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes, behind those that the buffer keeps.
    Data(Vec<u8>),
    /// So many zeroes. Only where the client asked for holes.
    Hole(u64),
}

/// Where bytes for the client come from.
#[async_trait]
pub trait Source: Send + 'static {
    /// The next piece, of at most `max` bytes of data; `None` at the end. Data comes in `buffer`, behind its first
    /// `kept` bytes: there is what a packet begins with.
    async fn next(&mut self, buffer: Vec<u8>, kept: usize, max: usize) -> Result<Option<Piece>, Fault>;
}

/// Where bytes from the client go. Dropped without [`Sink::finish`], the client gave up or went.
#[async_trait]
pub trait Sink: Send + 'static {
    /// Takes the bytes behind the first `kept` of `buffer`, and gives the buffer back.
    async fn data(&mut self, buffer: Vec<u8>, kept: usize) -> Result<Vec<u8>, Fault>;

    /// Whether the client may send holes: it asked for that when it opened the stream.
    fn takes_holes(&self) -> bool {
        false
    }

    /// Takes so many zeroes.
    async fn hole(&mut self, _length: u64) -> Result<(), Fault> {
        Err(Fault::new(Code::OperationUnsupported, Origin::Streams, "the stream takes no holes"))
    }

    /// All is there: what returns here is the client's answer, so it is on the disk.
    async fn finish(&mut self) -> Result<(), Fault>;
}

/// A stream to open: either or both of its directions.
#[derive(Default)]
pub struct Stream {
    /// To the client.
    pub source: Option<Box<dyn Source>>,
    /// From the client.
    pub sink: Option<Box<dyn Sink>>,
}

/// Reads until the end.
#[derive(Debug)]
pub struct Reader<R>(pub R);

#[async_trait]
impl<R: AsyncRead + Send + Unpin + 'static> Source for Reader<R> {
    async fn next(&mut self, mut buffer: Vec<u8>, kept: usize, max: usize) -> Result<Option<Piece>, Fault> {
        buffer.resize(kept, 0);
        buffer.reserve(max.min(64 * 1024));
        let mut part = (&mut self.0).take(max as u64);
        let count = part.read_buf(&mut buffer).await.map_err(|error| broken("read", &error))?;
        Ok((count > 0).then_some(Piece::Data(buffer)))
    }
}

/// Writes everything.
#[derive(Debug)]
pub struct Writer<W>(pub W);

#[async_trait]
impl<W: AsyncWrite + Send + Unpin + 'static> Sink for Writer<W> {
    async fn data(&mut self, buffer: Vec<u8>, kept: usize) -> Result<Vec<u8>, Fault> {
        self.0.write_all(&buffer[kept..]).await.map_err(|error| broken("write", &error))?;
        Ok(buffer)
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        self.0.flush().await.map_err(|error| broken("write", &error))
    }
}

fn broken(act: &str, error: &std::io::Error) -> Fault {
    let number = error.raw_os_error().unwrap_or_default();
    Fault::system(Origin::Streams, format!("Unable to {act} stream: {error}"), number)
}

/// What a client sends into a stream. The ticket is held until it is dealt with.
enum Incoming {
    Data(Bytes, Ticket),
    Hole(u64, Ticket),
    Finish(Ticket),
}

/// A stream's name on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    program: u32,
    procedure: i32,
    serial: u32,
}

impl Key {
    fn of(header: &Header) -> Self {
        Self { program: header.program, procedure: header.procedure, serial: header.serial }
    }
}

/// A stream that is open.
struct Open {
    incoming: mpsc::UnboundedSender<Incoming>,
    takes_holes: bool,
    end: CancellationToken,
}

/// A connection's open streams.
#[derive(Default)]
pub(crate) struct Streams {
    open: Mutex<HashMap<Key, Open>>,
    /// Buffers that came back, for packets to come: a fresh one costs a page fault per page.
    spares: Mutex<Vec<Vec<u8>>>,
    /// The client takes long packets.
    long: AtomicBool,
}

/// What a packet did.
pub(crate) enum Delivered {
    /// It is with its stream, or dropped.
    Done,
    /// The client is told so.
    Answer(Frame),
    /// No client of libvirt's does that.
    Bad,
}

impl Streams {
    /// The client takes packets longer than those of any age do.
    pub fn take_long_packets(&self) {
        self.long.store(true, Ordering::Relaxed);
    }

    /// Makes a stream known, so that packets for it find it; it flows when the pump runs.
    pub fn open(
        self: &Arc<Self>,
        header: &Header,
        stream: Stream,
        outbox: &Arc<Outbox>,
    ) -> Result<Pump, Fault> {
        let key = Key::of(header);
        let mut open = self.lock();
        if open.len() >= STREAMS_MAX || open.contains_key(&key) {
            return Err(Fault::internal(Origin::Streams, "too many streams on this connection"));
        }
        let (sender, incoming) = mpsc::unbounded_channel();
        let end = CancellationToken::new();
        let takes_holes = stream.sink.as_ref().is_some_and(|sink| sink.takes_holes());
        open.insert(key, Open { incoming: sender, takes_holes, end: end.clone() });
        let header = Header { kind: Kind::Stream, ..*header };
        Ok(Pump { streams: Arc::clone(self), outbox: Arc::clone(outbox), header, key, stream, incoming, end })
    }

    /// Gives a packet to its stream.
    pub fn deliver(&self, header: &Header, payload: Payload<'_>, outbox: &Arc<Outbox>) -> Delivered {
        let key = Key::of(header);
        let mut streams = self.lock();
        let Some(open) = streams.get(&key) else { return Delivered::Done };
        let incoming = match (header.kind, header.status) {
            (Kind::StreamHole, Status::Continue) => {
                match lodge_wire::xdr::from_bytes::<StreamHole>(&payload) {
                    Ok(hole) if open.takes_holes && hole.length >= 0 => {
                        Incoming::Hole(hole.length.unsigned_abs(), outbox.ticket())
                    }
                    _ => return Delivered::Bad,
                }
            }
            (Kind::StreamHole, _) => return Delivered::Bad,
            (_, Status::Continue) => Incoming::Data(payload.into_own(), outbox.ticket()),
            (_, Status::Ok) => Incoming::Finish(outbox.ticket()),
            (_, Status::Error) => {
                open.end.cancel();
                streams.remove(&key);
                return Delivered::Answer(packet(header, Status::Ok, &[]));
            }
        };
        // The pump may just have ended; then the packet is late.
        let _ = open.incoming.send(incoming);
        Delivered::Done
    }

    /// A buffer that served before, if there is one.
    pub fn spare(&self) -> Vec<u8> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// A buffer has served.
    fn give_back(&self, buffer: Vec<u8>) {
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        if (LONG_PACKET_BYTES..=SPARE_PACKET_BYTES).contains(&buffer.len()) && spares.len() < SPARE_PACKETS {
            spares.push(buffer);
        }
    }

    /// A stream is over; says whether it was open. With the last, the buffers go.
    fn close(&self, key: &Key) -> bool {
        let mut open = self.lock();
        let was_open = open.remove(key).is_some();
        if open.is_empty() {
            *self.spares.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        }
        was_open
    }

    /// Ends all streams: the client is gone.
    pub fn end(&self) {
        for (_, open) in self.lock().drain() {
            open.end.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What moves a stream's bytes.
pub(crate) struct Pump {
    streams: Arc<Streams>,
    outbox: Arc<Outbox>,
    header: Header,
    key: Key,
    stream: Stream,
    incoming: mpsc::UnboundedReceiver<Incoming>,
    end: CancellationToken,
}

impl Pump {
    /// Pumps until the stream is over.
    pub async fn run(mut self) {
        let Stream { source, sink } = std::mem::take(&mut self.stream);
        let (header, outbox, end) = (self.header, Arc::clone(&self.outbox), self.end.clone());
        let max = if self.streams.long.load(Ordering::Relaxed) { LONG_PAYLOAD } else { LEGACY_PAYLOAD };
        let outcome = tokio::select! {
            biased;
            () = end.cancelled() => return,
            outcome = take_in(sink, &mut self.incoming, &self.streams) => outcome,
            fault = give_out(source, &header, &outbox, max) => Err(fault),
        };
        // Whoever takes it out of the table says how it ended: an abort may have come first.
        if !self.streams.close(&self.key) {
            return;
        }
        outbox.push(match outcome {
            Ok(()) => packet(&header, Status::Ok, &[]),
            Err(fault) => failure(&header, &fault),
        });
    }
}

impl Drop for Pump {
    /// A stream whose opening never reached its client, or whose pump broke, is over too.
    fn drop(&mut self) {
        self.streams.close(&self.key);
    }
}

/// Takes what the client sends until it says that this was all.
async fn take_in(
    mut sink: Option<Box<dyn Sink>>,
    incoming: &mut mpsc::UnboundedReceiver<Incoming>,
    streams: &Streams,
) -> Result<(), Fault> {
    let one_way = || Fault::new(Code::OperationInvalid, Origin::Streams, "stream is not writable");
    while let Some(packet) = incoming.recv().await {
        match packet {
            Incoming::Data(Bytes { buffer, kept }, _ticket) => {
                streams.give_back(sink.as_mut().ok_or_else(one_way)?.data(buffer, kept).await?);
            }
            Incoming::Hole(length, _ticket) => sink.as_mut().ok_or_else(one_way)?.hole(length).await?,
            Incoming::Finish(_ticket) => {
                return match &mut sink {
                    Some(sink) => sink.finish().await,
                    None => Ok(()),
                };
            }
        }
    }
    // The connection is gone; nobody hears this.
    Err(Fault::internal(Origin::Streams, "connection closed"))
}

/// Gives the client what there is, in packets of at most `max` bytes; comes back only with what went wrong.
async fn give_out(source: Option<Box<dyn Source>>, header: &Header, outbox: &Outbox, max: usize) -> Fault {
    let Some(mut source) = source else { return std::future::pending().await };
    let in_flight = Arc::new(Semaphore::new(PACKETS_IN_FLIGHT));
    // Buffers go round: a fresh one costs a page fault per page.
    let (spare, mut spares) = mpsc::unbounded_channel();
    loop {
        // The semaphore is never closed.
        let permit = Arc::clone(&in_flight).acquire_owned().await.ok();
        let room = permit.map(|permit| Room { permit, spare: spare.clone() });
        let buffer = spares.try_recv().unwrap_or_default();
        let (frame, last) = match source.next(buffer, STREAM_HEAD, max).await {
            Ok(Some(Piece::Data(bytes))) if bytes.len() <= STREAM_HEAD => continue,
            Ok(Some(Piece::Data(bytes))) if bytes.len() > STREAM_HEAD + max => {
                return Fault::internal(Origin::Streams, "more came at once than the client takes");
            }
            Ok(Some(Piece::Data(bytes))) => (data(header, bytes), false),
            Ok(Some(Piece::Hole(length))) => (hole(header, length), false),
            Ok(None) => (packet(header, Status::Continue, &[]), true),
            Err(fault) => return fault,
        };
        outbox.push(Frame { room, ..frame });
        if last {
            // The client's word ends the stream.
            return std::future::pending().await;
        }
    }
}

/// A packet of the bytes in `message`, behind the room for its head.
fn data(header: &Header, mut message: Vec<u8>) -> Frame {
    let header = Header { kind: Kind::Stream, status: Status::Continue, ..*header };
    packet::begin_stream_message(&header, &mut message).expect("at most LONG_PAYLOAD bytes");
    Frame::plain(message)
}

fn packet(header: &Header, status: Status, bytes: &[u8]) -> Frame {
    let header = Header { kind: Kind::Stream, status, ..*header };
    Frame::plain(packet::stream_message(&header, bytes).expect("at most LEGACY_PAYLOAD bytes"))
}

fn hole(header: &Header, length: u64) -> Frame {
    let header = Header { kind: Kind::StreamHole, status: Status::Continue, ..*header };
    let hole = StreamHole { length: i64::try_from(length).unwrap_or(i64::MAX), flags: 0 };
    Frame::plain(packet::message(&header, &hole).expect("a hole fits"))
}

fn failure(header: &Header, fault: &Fault) -> Frame {
    tracing::debug!(procedure = header.procedure, %fault, "stream failed");
    let header = Header { kind: Kind::Stream, status: Status::Error, ..*header };
    let fits = packet::message(&header, &fault.body());
    fits.map_or_else(|_| packet(&header, Status::Error, &[]), Frame::plain)
}

#[cfg(test)]
mod tests;
