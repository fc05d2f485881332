//! The agent against guests that lie, babble, stall and vanish.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::{Agent, AgentError, ShutdownMode};

const SOON: Duration = Duration::from_secs(10);

struct Guest {
    listener: UnixListener,
    _dir: tempfile::TempDir,
}

struct Channel {
    stream: UnixStream,
    bytes: Vec<u8>,
}

fn guest() -> (Agent, Guest) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    (Agent::new(&path), Guest { listener, _dir: dir })
}

impl Guest {
    async fn accept(&self) -> Channel {
        Channel { stream: self.listener.accept().await.unwrap().0, bytes: Vec::new() }
    }
}

impl Channel {
    async fn asked(&mut self) -> Value {
        loop {
            if let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).filter(|&byte| byte != 0xFF).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            assert_ne!(self.stream.read_buf(&mut self.bytes).await.unwrap(), 0, "the channel closed");
        }
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn answer(&mut self, answer: Value) {
        self.say(format!("{}\n", json!({ "return": answer })).as_bytes()).await;
    }

    async fn sync(&mut self) {
        let asked = self.asked().await;
        assert_eq!(asked["execute"], "guest-sync-delimited");
        self.say(&[0xFF]).await;
        self.answer(asked["arguments"]["id"].clone()).await;
    }
}

#[tokio::test]
async fn rubbish_from_before_is_skipped_up_to_the_sentinel() {
    let (agent, guest) = guest();
    let serving = tokio::spawn(async move {
        let mut channel = guest.accept().await;
        channel.say(b"{\"return\": {}}\n{\"return\": 7}\nhalf a l").await;
        let asked = channel.asked().await;
        // A late answer to an older synchronisation, then the right one.
        channel.say(b"ine\xff{\"return\": 3}\n").await;
        assert_eq!(channel.asked().await["execute"], "guest-sync-delimited");
        channel.say(&[0xFF]).await;
        channel.answer(asked["arguments"]["id"].clone()).await;
        assert_eq!(channel.asked().await["execute"], "guest-ping");
        channel.answer(json!({})).await;
        assert_eq!(channel.asked().await["execute"], "guest-get-host-name", "in step: no second sync");
        channel.answer(json!({ "host-name": "test-system" })).await;
    });
    agent.ping(SOON).await.unwrap();
    assert_eq!(agent.host_name(SOON).await.unwrap(), "test-system");
    serving.await.unwrap();
}

#[tokio::test]
async fn a_stuck_call_holds_nobody_beyond_his_own_time() {
    let (agent, guest) = guest();
    let short = Duration::from_millis(100);
    let stuck = tokio::spawn({
        let agent = agent.clone();
        async move { agent.host_name(Duration::from_millis(400)).await }
    });
    let mut channel = guest.accept().await;
    channel.sync().await;
    channel.asked().await;
    let begun = std::time::Instant::now();
    let error = agent.ping(short).await.unwrap_err();
    assert!(matches!(error, AgentError::Silent { .. }) && begun.elapsed() < Duration::from_millis(350));
    assert!(matches!(stuck.await.unwrap(), Err(AgentError::Silent { .. })));
    // The late answer is not taken for the next call's: the channel is synchronised first.
    let next = tokio::spawn(async move { agent.time_ns(SOON).await });
    channel.say(b"{\"return\": {\"host-name\": \"late\"}}\n").await;
    channel.sync().await;
    assert_eq!(channel.asked().await["execute"], "guest-get-time");
    channel.answer(json!(42)).await;
    assert_eq!(next.await.unwrap().unwrap(), 42);
}

#[tokio::test]
async fn too_many_calls_are_refused_at_once() {
    let (agent, guest) = guest();
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let agent = agent.clone();
            tokio::spawn(async move { agent.ping(Duration::from_millis(300)).await })
        })
        .collect();
    let _channel = guest.accept().await;
    let mut busy = 0;
    for call in calls {
        busy += usize::from(matches!(call.await.unwrap(), Err(AgentError::Busy { .. })));
    }
    assert!(busy >= 20, "{busy}");
}

#[tokio::test]
async fn a_vanished_guest_is_told_and_the_next_one_connected() {
    let (agent, guest) = guest();
    let first = tokio::spawn({
        let agent = agent.clone();
        async move { agent.ping(SOON).await }
    });
    let mut channel = guest.accept().await;
    channel.sync().await;
    channel.asked().await;
    drop(channel);
    assert!(matches!(first.await.unwrap(), Err(AgentError::Closed { .. })));
    let second = tokio::spawn(async move { agent.ping(SOON).await });
    let mut channel = guest.accept().await;
    channel.sync().await;
    channel.asked().await;
    channel.answer(json!({})).await;
    second.await.unwrap().unwrap();
    let nobody = Agent::new(std::path::Path::new("/nonexistent/agent.sock"));
    assert!(matches!(nobody.ping(SOON).await, Err(AgentError::Connect { .. })));
}

#[tokio::test]
async fn refusals_and_nonsense_are_told_apart_and_escaped() {
    let (agent, guest) = guest();
    let serving = tokio::spawn(async move {
        let mut channel = guest.accept().await;
        channel.sync().await;
        channel.asked().await;
        channel
            .say(b"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no\\u001b[2Jt here\"}}\n")
            .await;
        channel.asked().await;
        channel.say(b"{\"return\": {\"version\": 5}}\n").await;
        channel.asked().await;
        channel.say(b"[1,2]\n").await;
    });
    let error = agent.os(SOON).await.unwrap_err();
    assert!(matches!(&error, AgentError::Refused { class, .. } if class == "CommandNotFound"));
    assert!(!error.to_string().contains('\x1b'), "{error}");
    assert!(matches!(agent.version(SOON).await, Err(AgentError::Malformed { .. })));
    assert!(matches!(agent.ping(SOON).await, Err(AgentError::Malformed { .. })));
    serving.await.unwrap();
}

#[tokio::test]
async fn a_file_is_read_in_pieces_closed_and_bounded() {
    let (agent, guest) = guest();
    let serving = tokio::spawn(async move {
        let mut channel = guest.accept().await;
        channel.sync().await;
        for _ in 0..2 {
            assert_eq!(channel.asked().await["arguments"], json!({ "path": "/run/x", "mode": "r" }));
            channel.answer(json!(1000)).await;
            assert_eq!(channel.asked().await["execute"], "guest-file-read");
            channel.answer(json!({ "count": 3, "buf-b64": "Zm9v", "eof": false })).await;
            channel.asked().await;
            channel.answer(json!({ "count": 3, "buf-b64": "YmFy", "eof": true })).await;
            let close = channel.asked().await;
            assert_eq!(
                (&close["execute"], &close["arguments"]["handle"]),
                (&json!("guest-file-close"), &json!(1000))
            );
            channel.answer(json!({})).await;
        }
    });
    assert_eq!(agent.read_file("/run/x", 6, SOON).await.unwrap(), b"foobar");
    assert!(matches!(agent.read_file("/run/x", 5, SOON).await, Err(AgentError::TooLong { longest: 5, .. })));
    serving.await.unwrap();
}

#[tokio::test]
async fn a_program_is_followed_to_its_end() {
    let (agent, guest) = guest();
    let serving = tokio::spawn(async move {
        let mut channel = guest.accept().await;
        channel.sync().await;
        let asked = channel.asked().await;
        assert_eq!(asked["arguments"], json!({ "path": "/bin/x", "arg": ["a"], "capture-output": true }));
        channel.answer(json!({ "pid": 7 })).await;
        channel.asked().await;
        channel.answer(json!({ "exited": false })).await;
        channel.asked().await;
        channel.answer(json!({ "exited": true, "exitcode": 3, "out-data": "Zm9v" })).await;
    });
    let executed = agent.run("/bin/x", &["a"], SOON).await.unwrap();
    assert_eq!((executed.exit_code, executed.stdout.as_slice()), (Some(3), b"foo".as_slice()));
    serving.await.unwrap();
}

#[tokio::test]
async fn a_shutdown_that_ends_in_silence_has_worked() {
    let (agent, guest) = guest();
    let serving = tokio::spawn(async move {
        let mut channel = guest.accept().await;
        channel.sync().await;
        assert_eq!(channel.asked().await["arguments"]["mode"], "powerdown");
    });
    agent.shutdown(ShutdownMode::Powerdown, SOON).await.unwrap();
    serving.await.unwrap();
}
