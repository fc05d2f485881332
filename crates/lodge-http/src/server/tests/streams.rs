//! Events and consoles from end to end: our client, our server, sources of the test's own.

use axum::extract::Query as RawQuery;
use axum::extract::ws::WebSocketUpgrade;
use futures_util::future::pending;
use lodge_api::{ConsoleQuery, Event};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::*;
use crate::console::pump;
use crate::events::{Source, stream_of};
use crate::refusal::Refusal;

struct Told(mpsc::Receiver<Result<Event, u64>>);

impl Source for Told {
    async fn next(&mut self) -> Option<Result<Event, u64>> {
        self.0.recv().await
    }
}

fn event(seq: u64) -> Event {
    let (kind, subject) = ("domain.started".to_owned(), format!("web{seq}\né"));
    Event { seq, time_ms: 1, kind, subject, data: serde_json::json!({"id": seq}) }
}

/// A server whose one stream of events is what the test says; `closing` is the daemon's stop.
fn events_server() -> (Trial, mpsc::Sender<Result<Event, u64>>, CancellationToken) {
    let (tell, told) = mpsc::channel(4);
    let told = Arc::new(Mutex::new(Some(told)));
    let closing = CancellationToken::new();
    let handler = {
        let closing = closing.clone();
        async move || {
            let told = told.lock().await.take();
            stream_of(Told(told.expect("one reader")), closing.clone()).into_response()
        }
    };
    (Trial::of(Router::new().route("/v1/events", get(handler))), tell, closing)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_whole_and_a_slow_reader_is_told_where_to_go_on() {
    let (trial, tell, _) = events_server();
    let client = trial.client().await;
    let mut events = client.events(Some(1)).await.unwrap();
    for seq in 2..20 {
        tell.send(Ok(event(seq))).await.unwrap();
        assert_eq!(events.next().await.unwrap().unwrap(), event(seq));
    }
    tell.send(Err(7)).await.unwrap();
    let Some(Err(ClientError::Api(body))) = events.next().await else { panic!("an error") };
    assert_eq!(body.message, "the reader was too slow: 7 events went by unread");
    assert_eq!(body.hint.as_deref(), Some("ask again with since=19"));
    assert!(events.next().await.is_none());
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_daemon_and_says_so() {
    let (trial, _tell, closing) = events_server();
    let mut events = trial.client().await.events(None).await.unwrap();
    closing.cancel();
    let Some(Err(ClientError::Api(body))) = events.next().await else { panic!("an error") };
    assert_eq!(body.kind, ErrorKind::Unavailable);
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_reads_nothing_holds_the_source_back_not_memory() {
    let (trial, tell, _) = events_server();
    let _events = trial.client().await.events(None).await.unwrap();
    let big = Event { subject: "x".repeat(100 << 10), ..event(1) };
    let mut sent = 0;
    // What the socket, the server and the client buffer between them is bounded: some send must not get through.
    while tokio::time::timeout(Duration::from_millis(500), tell.send(Ok(big.clone()))).await.is_ok() {
        sent += 1;
        assert!(sent < 1000, "100 MiB went somewhere");
    }
    trial.stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), trial.task).await.unwrap().unwrap();
}

/// A server with one console; its guest's end, who may take it, and the daemon's stop.
fn console_server() -> (Trial, DuplexStream, oneshot::Sender<()>, CancellationToken) {
    let (guest, host) = duplex(1024);
    let (take, taken) = oneshot::channel::<()>();
    let closing = CancellationToken::new();
    let parts = Arc::new(Mutex::new(Some((host, taken))));
    let handler = {
        let closing = closing.clone();
        async move |RawQuery(query): RawQuery<ConsoleQuery>, upgrade: WebSocketUpgrade| {
            let closing = closing.clone();
            let Some((host, taken)) = parts.lock().await.take() else {
                assert!(!query.force);
                return Refusal::new(ErrorKind::Busy, "somebody has the console").into_response();
            };
            let taken = async move {
                if taken.await.is_err() {
                    pending::<()>().await;
                }
            };
            upgrade.on_upgrade(move |socket| pump(socket, host, taken, closing))
        }
    };
    (Trial::of(Router::new().route("/v1/domains/{dom}/console", get(handler))), guest, take, closing)
}

/// Reads a console to its end.
async fn rest(console: &mut lodge_client::Console) -> (Vec<u8>, Option<String>) {
    let mut bytes = Vec::new();
    let outcome =
        tokio::time::timeout(Duration::from_secs(10), console.read_to_end(&mut bytes)).await.unwrap();
    (bytes, outcome.err().map(|error| error.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_carries_every_byte_both_ways_and_ends_with_the_guest() {
    let (trial, mut guest, _take, _) = console_server();
    let mut console = trial.client().await.console("web 1", true).await.unwrap();
    let all: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let echo = {
        let length = all.len();
        tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(&mut guest);
            let copied = tokio::io::copy(&mut (&mut from).take(length as u64), &mut to).await.unwrap();
            assert_eq!(copied, length as u64);
        })
    };
    let (mut from, mut to) = tokio::io::split(&mut console);
    let write = async {
        to.write_all(&all).await.unwrap();
        to.flush().await.unwrap();
    };
    let read = async {
        let mut got = vec![0; all.len()];
        from.read_exact(&mut got).await.unwrap();
        got
    };
    let ((), got) =
        tokio::time::timeout(Duration::from_mins(1), async { tokio::join!(write, read) }).await.unwrap();
    assert!(got == all, "the bytes differ");
    echo.await.unwrap();
    assert_eq!(rest(&mut console).await, (Vec::new(), None));
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_says_why_it_was_taken_away() {
    let (trial, mut guest, take, _) = console_server();
    let client = trial.client().await;
    let mut console = client.console("web1", false).await.unwrap();
    guest.write_all(b"login: ").await.unwrap();
    let mut bytes = [0; 7];
    console.read_exact(&mut bytes).await.unwrap();
    let Err(ClientError::Api(body)) = client.console("web1", false).await else { panic!("refused") };
    assert_eq!(body.kind, ErrorKind::Busy);
    take.send(()).unwrap();
    assert_eq!(rest(&mut console).await, (Vec::new(), Some("somebody took the console over".to_owned())));
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_ends_with_the_daemon_and_says_so() {
    let (trial, _guest, _take, closing) = console_server();
    let mut console = trial.client().await.console("web1", false).await.unwrap();
    closing.cancel();
    let (_, why) = rest(&mut console).await;
    assert_eq!(why.as_deref(), Some("the daemon is stopping; the guest runs on"));
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_detaches_frees_the_guests_end() {
    let (trial, mut guest, _take, _) = console_server();
    let mut console = trial.client().await.console("web1", false).await.unwrap();
    console.write_all(b"exit\r").await.unwrap();
    console.shutdown().await.unwrap();
    let mut got = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), guest.read_to_end(&mut got)).await.unwrap().unwrap();
    assert_eq!(got, b"exit\r");
    trial.stop().await;
}
