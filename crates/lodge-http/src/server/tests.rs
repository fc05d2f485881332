//! The server under hostile and unlucky clients, with handlers of its own: no engine is needed for that.

mod calls;
mod streams;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as BlockingStream;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::routing::{get, post};
use lodge_api::{Autostart, Version};
use lodge_client::{Client, ClientError, Endpoint};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::request::{Document, Query, Xml, to_the_end};

/// A server on a socket of its own.
struct Trial {
    path: PathBuf,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Trial {
    fn of(router: Router) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/lodge/lodge.sock");
        let listener = Listener::bind(&path, None).unwrap();
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let router = guarded(router.route("/v1/version", get(async || Json(Version::default()))));
        let closing = CancellationToken::new();
        let task = tokio::spawn(async move { serve_router(router, &listener, shutdown, closing).await });
        Self { path, stop, task, _directory: directory }
    }

    async fn client(&self) -> Client {
        Client::connect(&Endpoint::at_path(&self.path)).await.unwrap()
    }

    /// Sends bytes as they are and reads to the end; the request must ask to close.
    async fn raw(&self, bytes: Vec<u8>) -> String {
        let path = self.path.clone();
        let talk = move || {
            let mut stream = BlockingStream::connect(path).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            // The server may answer before it read all: then writing fails and reading does not.
            drop(stream.write_all(&bytes));
            let mut answer = Vec::new();
            drop(stream.read_to_end(&mut answer));
            String::from_utf8_lossy(&answer).into_owned()
        };
        tokio::task::spawn_blocking(talk).await.unwrap()
    }

    async fn post(&self, path: &str, body: &[u8]) -> String {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.raw([head.as_bytes(), body].concat()).await
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.task).await.unwrap().unwrap();
        assert!(!self.path.exists(), "the socket stayed");
    }
}

/// Status and error document of an answer, for a table.
fn told(answer: &str) -> String {
    let status = answer.split(' ').nth(1).unwrap_or("none");
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let Ok(body) = serde_json::from_str::<ErrorBody>(body) else { return format!("{status} {body}") };
    format!("{status} {:?}: {}", body.kind, body.message)
}

fn takers() -> Router {
    Router::new()
        .route("/json", post(async |Document(wish): Document<Autostart>| wish.enabled.to_string()))
        .route("/xml", post(async |Xml(document): Xml| document.len().to_string()))
        .route("/query", post(async |Query(query): Query<lodge_api::DomainFilter>| format!("{query:?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bad_bodies_and_queries_get() {
    let trial = Trial::of(takers());
    let mut table = String::new();
    for (path, body) in [
        ("/json", &br#"{"enabled":true}"#[..]),
        ("/json", b""),
        ("/json", b"{"),
        ("/json", br#"{"enabled":1}"#),
        ("/json", br#"{"enabled":true,"enable":true}"#),
        ("/json", b"\xff\xfe"),
        ("/xml", b"<domain/>"),
        ("/xml", b" \n"),
        ("/xml", b"<domain>\xff</domain>"),
        ("/query?state=running,shut+off&active=true", b""),
        ("/query?state=runing", b""),
        ("/query?stat=running", b""),
        ("/query?active=yes", b""),
        ("/query?state=%ff", b""),
    ] {
        let answer = trial.post(path, body).await;
        let body = String::from_utf8_lossy(body);
        writeln!(table, "{path} {}\n    {}", body.escape_debug(), told(&answer)).unwrap();
    }
    expect_test::expect![[r#"
        /json {\"enabled\":true}
            200 true
        /json 
            400 InvalidInput: cannot read the body as JSON: missing field `enabled` at line 1 column 2
        /json {
            400 InvalidInput: cannot read the body as JSON: EOF while parsing an object at line 1 column 1
        /json {\"enabled\":1}
            400 InvalidInput: cannot read the body as JSON: invalid type: integer `1`, expected a boolean at line 1 column 12
        /json {\"enabled\":true,\"enable\":true}
            400 InvalidInput: cannot read the body as JSON: unknown field `enable`, expected `enabled` at line 1 column 24
        /json ��
            400 InvalidInput: cannot read the body as JSON: expected value at line 1 column 1
        /xml <domain/>
            200 9
        /xml  \n
            400 InvalidInput: the body is empty; libvirt's XML is expected
        /xml <domain>�</domain>
            400 InvalidInput: the body is not UTF-8: byte 9 cannot be read
        /query?state=running,shut+off&active=true 
            200 DomainFilter { active: Some(true), persistent: None, autostart: None, managed_save: None, snapshots: None, state: [Running, ShutOff], identity: false }
        /query?state=runing 
            400 InvalidInput: cannot read the query: `runing` is no state; the states are: no state, running, idle, paused, in shutdown, shut off, crashed, pmsuspended
        /query?stat=running 
            400 InvalidInput: cannot read the query: unknown field `stat`, expected one of `active`, `persistent`, `autostart`, `managed_save`, `snapshots`, `state`, `identity`
        /query?active=yes 
            400 InvalidInput: cannot read the query: provided string was not `true` or `false`
        /query?state=%ff 
            400 InvalidInput: cannot read the query: `�` is no state; the states are: no state, running, idle, paused, in shutdown, shut off, crashed, pmsuspended
    "#]].assert_eq(&table);
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_body_is_read_to_its_end_and_refused() {
    let trial = Trial::of(takers());
    let answer = trial.post("/xml", &vec![b'x'; 9 << 20]).await;
    assert_eq!(told(&answer), "413 InvalidInput: the body is larger than 4 MiB");
    let answer = trial.post("/xml", &vec![b'x'; 4 << 20]).await;
    assert_eq!(told(&answer), format!("200 {}", 4 << 20));
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_answered_or_cut_off() {
    let trial = Trial::of(takers());
    assert!(trial.raw(b"\x16\x03\x01 hello\r\n\r\n".to_vec()).await.starts_with("HTTP/1.1 400"));
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(HEAD_MAX_BYTES * 2));
    let answer = trial.raw(long.into_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 414") || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
    assert!(trial.raw(many.into_bytes()).await.starts_with("HTTP/1.1 431"));
    trial.client().await;
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_breaks_answers_and_the_server_goes_on() {
    async fn breaks() -> &'static str {
        panic!("as the test wants")
    }
    let trial = Trial::of(Router::new().route("/v1/host", get(breaks)));
    let client = trial.client().await;
    for _ in 0..3 {
        let Err(ClientError::Api(body)) = client.host().await else { panic!("an answer") };
        assert_eq!(body.kind, ErrorKind::Internal);
        assert!(body.hint.is_some());
    }
    client.version().await.unwrap();
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_goes_on_when_its_client_goes() {
    let (begun, go_on, done) =
        (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let act = {
        let (begun, go_on, done) = (Arc::clone(&begun), Arc::clone(&go_on), Arc::clone(&done));
        async move || {
            let (begun, go_on, done) = (Arc::clone(&begun), Arc::clone(&go_on), Arc::clone(&done));
            let act = async move {
                begun.notify_one();
                go_on.notified().await;
                done.store(true, Ordering::SeqCst);
                begun.notify_one();
                Ok(())
            };
            to_the_end(act).await
        }
    };
    let trial = Trial::of(Router::new().route("/v1/networks/{net}/start", post(act)));
    let client = trial.client().await;
    let call = tokio::spawn(async move { client.start_network("n").await.map(drop) });
    begun.notified().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    go_on.notify_one();
    tokio::time::timeout(Duration::from_secs(10), begun.notified()).await.unwrap();
    assert!(done.load(Ordering::SeqCst));
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so() {
    let trial = Trial::of(Router::new());
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        held.push(UnixStream::connect(&trial.path).await.unwrap());
    }
    // Connections are accepted in order, so this one is the one too many.
    let answer = trial.raw(b"GET /v1/version HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()).await;
    assert_eq!(told(&answer), "503 Exhausted: the daemon has 512 connections already");
    let refused = Client::connect(&Endpoint::at_path(&trial.path)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exhausted, "{refused}");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = Client::connect(&Endpoint::at_path(&trial.path)).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
    trial.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_for_owner_and_group_and_survives_a_dead_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lodge.sock");
    let dead = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(dead);
    let listener = Listener::bind(&path, None).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
    let names: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["lodge.sock"]);
    let successor = Listener::bind(&path, None).unwrap();
    drop(listener);
    assert!(path.exists(), "took the successor's socket away");
    drop(successor);
    assert!(!path.exists());
    let long = directory.path().join("x".repeat(120)).join("lodge.sock");
    let error = Listener::bind(&long, None).unwrap_err();
    assert!(error.hint().unwrap().contains("shorter"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_daemon_is_noticed_at_once_and_its_successor_found() {
    let router = Router::new().route("/v1/host", get(async || std::future::pending::<&'static str>().await));
    let trial = Trial::of(router.clone());
    let client = trial.client().await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.host().await }
    });
    client.version().await.unwrap();
    trial.task.abort();
    let outcome = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert!(
        matches!(outcome, Err(ClientError::Lost { .. } | ClientError::Unreachable { .. })),
        "{outcome:?}"
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while trial.path.exists() {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let outcome = client.version().await;
    assert!(matches!(outcome, Err(ClientError::Unreachable { .. })), "{outcome:?}");
    let listener = Listener::bind(&trial.path, None).unwrap();
    let router = router.route("/v1/version", get(async || Json(Version::default())));
    let stop = CancellationToken::new();
    let (shutdown, closing) = (stop.clone().cancelled_owned(), CancellationToken::new());
    let task = tokio::spawn(async move { serve_router(router, &listener, shutdown, closing).await });
    client.version().await.unwrap();
    stop.cancel();
    task.await.unwrap();
}

/// The clock stands still and jumps when all wait: thirty seconds take none.
async fn slowly(bytes: &[u8]) -> String {
    let trial = Trial::of(takers());
    let mut stream = UnixStream::connect(&trial.path).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let begun = tokio::time::Instant::now();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(25), "cut off after {:?}", begun.elapsed());
    trial.stop().await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_waited_for_so_long() {
    let answer =
        slowly(b"POST /xml HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nconnection: close\r\n\r\n<dom")
            .await;
    assert_eq!(told(&answer), "408 InvalidInput: the body did not come to its end in 30 s");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_waited_for_so_long() {
    let answer = slowly(b"POST /xml HTTP/1.1\r\nhost").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}
