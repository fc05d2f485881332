//! Streams against a client of their own: what goes in, what comes out, and how it ends.

use std::collections::VecDeque;
use std::task::{Context, Waker};

use lodge_wire::xdr;

use super::*;

const HEADER: Header = Header {
    program: 1,
    version: 1,
    procedure: 201,
    kind: Kind::Stream,
    serial: 7,
    status: Status::Continue,
};

/// A connection without a socket.
struct Side {
    streams: Arc<Streams>,
    outbox: Arc<Outbox>,
    got: VecDeque<Frame>,
}

impl Side {
    fn new() -> Self {
        Self { streams: Arc::default(), outbox: Arc::default(), got: VecDeque::new() }
    }

    fn open(&self, stream: Stream) -> tokio::task::JoinHandle<()> {
        tokio::spawn(self.streams.open(&HEADER, stream, &self.outbox).unwrap().run())
    }

    fn send(&self, kind: Kind, status: Status, payload: &[u8]) -> Delivered {
        self.streams.deliver(&Header { kind, status, ..HEADER }, Payload::Lying(payload), &self.outbox)
    }

    fn hole(&self, length: i64) -> Delivered {
        let payload = xdr::to_bytes(&StreamHole { length, flags: 0 }).unwrap();
        self.send(Kind::StreamHole, Status::Continue, &payload)
    }

    /// The next packet that the client gets: kind, status, payload.
    async fn next(&mut self) -> (Kind, Status, Vec<u8>) {
        let frame = self.next_frame().await;
        let header: Header = xdr::from_bytes(&frame.bytes[4..]).unwrap();
        (header.kind, header.status, frame.bytes[28..].to_vec())
    }

    async fn next_frame(&mut self) -> Frame {
        let take = std::future::poll_fn(|cx| {
            self.outbox.take(cx, &mut self.got);
            if self.got.is_empty() { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
        });
        tokio::time::timeout(std::time::Duration::from_secs(20), take).await.unwrap();
        let frame = self.got.pop_front().unwrap();
        assert_eq!(frame.bytes.len(), u32::from_be_bytes(frame.bytes[..4].try_into().unwrap()) as usize);
        let header: Header = xdr::from_bytes(&frame.bytes[4..]).unwrap();
        assert_eq!((header.program, header.procedure, header.serial), (1, 201, 7));
        frame
    }

    fn nothing_more(&mut self) {
        self.outbox.take(&Context::from_waker(Waker::noop()), &mut self.got);
        assert!(self.got.is_empty());
    }
}

/// A sink that tells what it was given.
struct Told {
    to: mpsc::UnboundedSender<String>,
    holes: bool,
    full: bool,
}

#[async_trait]
impl Sink for Told {
    async fn data(&mut self, buffer: Vec<u8>, kept: usize) -> Result<Vec<u8>, Fault> {
        if self.full {
            return Err(Fault::system(Origin::Storage, "no space left", 28));
        }
        self.to.send(String::from_utf8_lossy(&buffer[kept..]).into_owned()).unwrap();
        Ok(buffer)
    }

    fn takes_holes(&self) -> bool {
        self.holes
    }

    async fn hole(&mut self, length: u64) -> Result<(), Fault> {
        self.to.send(format!("hole {length}")).unwrap();
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        self.to.send("finished".to_owned()).unwrap();
        Ok(())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        drop(self.to.send("dropped".to_owned()));
    }
}

fn sink(holes: bool, full: bool) -> (Stream, mpsc::UnboundedReceiver<String>) {
    let (to, told) = mpsc::unbounded_channel();
    (Stream { source: None, sink: Some(Box::new(Told { to, holes, full })) }, told)
}

async fn all(mut told: mpsc::UnboundedReceiver<String>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(text) = told.recv().await {
        all.push(text);
    }
    all
}

fn source(bytes: &[u8]) -> Stream {
    Stream { source: Some(Box::new(Reader(std::io::Cursor::new(bytes.to_vec())))), sink: None }
}

#[tokio::test]
async fn an_upload_ends_with_the_sinks_word() {
    let mut side = Side::new();
    let (stream, told) = sink(true, false);
    let pump = side.open(stream);
    side.send(Kind::Stream, Status::Continue, b"one");
    side.hole(1 << 40);
    side.send(Kind::Stream, Status::Continue, b"two");
    side.send(Kind::Stream, Status::Ok, b"");
    assert_eq!(side.next().await, (Kind::Stream, Status::Ok, vec![]));
    pump.await.unwrap();
    assert_eq!(all(told).await, ["one", "hole 1099511627776", "two", "finished", "dropped"]);
    assert_eq!(side.outbox.unfinished(), 0);
    // Late packets are dropped.
    side.send(Kind::Stream, Status::Continue, b"late");
    side.send(Kind::Stream, Status::Error, b"");
    side.hole(1);
    assert_eq!(side.outbox.unfinished(), 0);
    side.nothing_more();
}

#[tokio::test]
async fn a_download_comes_in_packets_that_old_clients_take_and_ends_by_the_clients_word() {
    let mut side = Side::new();
    let bytes: Vec<u8> = (0..600_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let pump = side.open(source(&bytes));
    let mut got = Vec::new();
    loop {
        let (kind, status, payload) = side.next().await;
        assert_eq!((kind, status), (Kind::Stream, Status::Continue));
        assert!(payload.len() <= LEGACY_PAYLOAD);
        if payload.is_empty() {
            break;
        }
        got.extend(payload);
    }
    assert_eq!(got, bytes);
    // The end of the data is no end of the stream.
    assert!(!pump.is_finished());
    side.send(Kind::Stream, Status::Ok, b"");
    assert_eq!(side.next().await, (Kind::Stream, Status::Ok, vec![]));
    pump.await.unwrap();
}

#[tokio::test]
async fn a_client_that_takes_long_packets_gets_them_in_buffers_that_go_round() {
    struct Full(mpsc::UnboundedSender<usize>, u8);
    #[async_trait]
    impl Source for Full {
        async fn next(
            &mut self,
            mut buffer: Vec<u8>,
            kept: usize,
            max: usize,
        ) -> Result<Option<Piece>, Fault> {
            self.0.send(buffer.capacity()).unwrap();
            self.1 += 1;
            buffer.resize(kept, 0);
            buffer.resize(kept + max, self.1);
            Ok((self.1 < 10).then_some(Piece::Data(buffer)))
        }
    }
    let mut side = Side::new();
    side.streams.take_long_packets();
    let (sender, mut capacities) = mpsc::unbounded_channel();
    let _pump = side.open(Stream { source: Some(Box::new(Full(sender, 0))), sink: None });
    for number in 1..10 {
        // As the connection does with a packet that is written.
        let frame = side.next_frame().await;
        assert_eq!(frame.bytes.len(), STREAM_HEAD + LONG_PAYLOAD);
        assert!(frame.bytes[STREAM_HEAD..].iter().all(|byte| *byte == number));
        frame.room.unwrap().leave(frame.bytes);
    }
    assert_eq!(side.next().await, (Kind::Stream, Status::Continue, vec![]));
    let fresh = std::iter::from_fn(|| capacities.try_recv().ok()).filter(|capacity| *capacity == 0);
    assert_eq!(fresh.count(), PACKETS_IN_FLIGHT);
}

#[tokio::test]
async fn a_source_that_gives_too_much_ends_its_stream() {
    struct Greedy;
    #[async_trait]
    impl Source for Greedy {
        async fn next(&mut self, _: Vec<u8>, kept: usize, max: usize) -> Result<Option<Piece>, Fault> {
            Ok(Some(Piece::Data(vec![0; kept + max + 1])))
        }
    }
    let mut side = Side::new();
    let pump = side.open(Stream { source: Some(Box::new(Greedy)), sink: None });
    let (kind, status, _) = side.next().await;
    assert_eq!((kind, status), (Kind::Stream, Status::Error));
    pump.await.unwrap();
}

#[tokio::test]
async fn a_download_waits_for_its_reader() {
    struct Endless(Arc<std::sync::atomic::AtomicUsize>);
    #[async_trait]
    impl Source for Endless {
        async fn next(&mut self, _: Vec<u8>, kept: usize, _: usize) -> Result<Option<Piece>, Fault> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(Some(Piece::Data(vec![1; kept + 1])))
        }
    }
    let side = Side::new();
    let taken = Arc::default();
    let stream = Stream { source: Some(Box::new(Endless(Arc::clone(&taken)))), sink: None };
    let pump = side.open(stream);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(taken.load(std::sync::atomic::Ordering::SeqCst), PACKETS_IN_FLIGHT);
    side.streams.end();
    pump.await.unwrap();
}

#[tokio::test]
async fn what_waits_in_an_upload_counts_until_the_sink_has_it() {
    let side = Side::new();
    let (stream, told) = sink(false, false);
    let pump = side.streams.open(&HEADER, stream, &side.outbox).unwrap();
    for _ in 0..3 {
        side.send(Kind::Stream, Status::Continue, b"x");
    }
    assert_eq!(side.outbox.unfinished(), 3);
    let pump = tokio::spawn(pump.run());
    while side.outbox.unfinished() > 0 {
        tokio::task::yield_now().await;
    }
    side.streams.end();
    pump.await.unwrap();
    assert_eq!(all(told).await, ["x", "x", "x", "dropped"]);
}

#[tokio::test]
async fn an_abort_is_answered_and_drops_the_sink_unfinished() {
    let mut side = Side::new();
    let (stream, told) = sink(false, false);
    let pump = side.open(stream);
    let Delivered::Answer(answer) = side.send(Kind::Stream, Status::Error, b"") else { panic!() };
    let header: Header = xdr::from_bytes(&answer.bytes[4..]).unwrap();
    assert_eq!((header.kind, header.status, answer.bytes.len()), (Kind::Stream, Status::Ok, 28));
    pump.await.unwrap();
    assert_eq!(all(told).await, ["dropped"]);
    side.nothing_more();
}

#[tokio::test]
async fn a_client_that_goes_drops_the_sink_unfinished() {
    let mut side = Side::new();
    let (stream, told) = sink(false, false);
    let pump = side.open(stream);
    side.streams.end();
    pump.await.unwrap();
    assert_eq!(all(told).await, ["dropped"]);
    side.nothing_more();
}

#[tokio::test]
async fn a_sink_that_fails_tells_why() {
    let mut side = Side::new();
    let (stream, told) = sink(false, true);
    let pump = side.open(stream);
    side.send(Kind::Stream, Status::Continue, b"too much");
    let (kind, status, payload) = side.next().await;
    assert_eq!((kind, status), (Kind::Stream, Status::Error));
    let error: packet::ErrorBody = xdr::from_bytes(&payload).unwrap();
    assert_eq!((error.code, error.domain, error.int1), (38, 18, 28));
    assert_eq!(error.message.unwrap().to_string(), "no space left");
    pump.await.unwrap();
    assert_eq!(all(told).await, ["dropped"]);
}

#[tokio::test]
async fn a_hole_where_there_are_none_ends_the_connection() {
    let side = Side::new();
    let (stream, _told) = sink(false, false);
    let _pump = side.open(stream);
    assert!(matches!(side.hole(10), Delivered::Bad));
    let side = Side::new();
    let (stream, _told) = sink(true, false);
    let _pump = side.open(stream);
    assert!(matches!(side.hole(-1), Delivered::Bad));
    assert!(matches!(side.send(Kind::StreamHole, Status::Continue, b"short"), Delivered::Bad));
    assert!(matches!(side.hole(10), Delivered::Done));
}

#[tokio::test]
async fn holes_go_out_as_holes() {
    struct Holey(Vec<Piece>);
    #[async_trait]
    impl Source for Holey {
        async fn next(&mut self, _: Vec<u8>, _: usize, _: usize) -> Result<Option<Piece>, Fault> {
            Ok(self.0.pop())
        }
    }
    let mut side = Side::new();
    let data = [&[0; STREAM_HEAD][..], b"data"].concat();
    let pieces = vec![Piece::Hole(4096), Piece::Data(data)];
    let _pump = side.open(Stream { source: Some(Box::new(Holey(pieces))), sink: None });
    assert_eq!(side.next().await, (Kind::Stream, Status::Continue, b"data".to_vec()));
    let (kind, status, payload) = side.next().await;
    assert_eq!((kind, status), (Kind::StreamHole, Status::Continue));
    assert_eq!(xdr::from_bytes::<StreamHole>(&payload).unwrap(), StreamHole { length: 4096, flags: 0 });
    assert_eq!(side.next().await, (Kind::Stream, Status::Continue, vec![]));
}

#[tokio::test]
async fn both_ways_at_once() {
    let mut side = Side::new();
    let (ours, theirs) = tokio::io::duplex(64);
    let (reader, writer) = tokio::io::split(theirs);
    let stream = Stream { source: Some(Box::new(Reader(reader))), sink: Some(Box::new(Writer(writer))) };
    let pump = side.open(stream);
    let (mut from, mut to) = tokio::io::split(ours);
    side.send(Kind::Stream, Status::Continue, b"typed");
    let mut typed = [0; 5];
    from.read_exact(&mut typed).await.unwrap();
    assert_eq!(&typed, b"typed");
    to.write_all(b"shown").await.unwrap();
    assert_eq!(side.next().await, (Kind::Stream, Status::Continue, b"shown".to_vec()));
    side.send(Kind::Stream, Status::Ok, b"");
    assert_eq!(side.next().await, (Kind::Stream, Status::Ok, vec![]));
    pump.await.unwrap();
}

#[tokio::test]
async fn writing_into_a_download_is_an_error() {
    let mut side = Side::new();
    struct Silent;
    #[async_trait]
    impl Source for Silent {
        async fn next(&mut self, _: Vec<u8>, _: usize, _: usize) -> Result<Option<Piece>, Fault> {
            std::future::pending().await
        }
    }
    let pump = side.open(Stream { source: Some(Box::new(Silent)), sink: None });
    side.send(Kind::Stream, Status::Continue, b"what for?");
    let (kind, status, _) = side.next().await;
    assert_eq!((kind, status), (Kind::Stream, Status::Error));
    pump.await.unwrap();
}

#[tokio::test]
async fn a_name_is_one_streams_and_streams_are_counted() {
    let side = Side::new();
    let open = |serial| side.streams.open(&Header { serial, ..HEADER }, source(b""), &side.outbox);
    let first = open(0).unwrap();
    assert!(open(0).is_err());
    drop(first);
    let all: Vec<Pump> =
        (0..u32::try_from(STREAMS_MAX).unwrap()).map(|serial| open(serial).unwrap()).collect();
    assert!(open(u32::MAX).is_err());
    drop(all);
    assert!(open(u32::MAX).is_ok());
}
