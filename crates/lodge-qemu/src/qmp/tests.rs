//! The monitor against a QEMU that misbehaves: a fake on the other end of a socket pair.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::{Monitor, MonitorError};
use crate::qmp::wire::LONGEST_LINE;

const SOON: Duration = Duration::from_secs(10);
const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": ""}, "capabilities": ["oob"]}}"#;

struct Fake {
    read: tokio::io::Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Fake {
    async fn asked(&mut self) -> Value {
        serde_json::from_str(&self.read.next_line().await.unwrap().expect("a command")).unwrap()
    }

    async fn say(&mut self, text: &str) {
        self.write.write_all(text.as_bytes()).await.unwrap();
    }

    async fn answer(&mut self, asked: &Value, answer: Value) {
        self.say(&format!("{}\r\n", json!({ "return": answer, "id": asked["id"] }))).await;
    }
}

fn pair() -> (UnixStream, Fake) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (read, write) = theirs.into_split();
    (ours, Fake { read: BufReader::new(read).lines(), write })
}

async fn connected() -> (Monitor, Fake) {
    let (ours, mut fake) = pair();
    let connecting = tokio::spawn(Monitor::over(ours, SOON));
    fake.say(&format!("{GREETING}\r\n")).await;
    let asked = fake.asked().await;
    assert_eq!(asked["execute"], "qmp_capabilities");
    assert_eq!(asked["arguments"], json!({ "enable": ["oob"] }));
    fake.answer(&asked, json!({})).await;
    (connecting.await.unwrap().unwrap(), fake)
}

#[tokio::test]
async fn answers_out_of_order_find_their_questions() {
    let (monitor, mut fake) = connected().await;
    assert_eq!(monitor.greeting().version.qemu.to_string(), "10.0.2");
    let first = tokio::spawn({
        let monitor = monitor.clone();
        async move { monitor.execute::<u32>("one", ()).await }
    });
    let one = fake.asked().await;
    let second = tokio::spawn({
        let monitor = monitor.clone();
        async move { monitor.execute_oob::<u32>("two", json!({ "x": 1 })).await }
    });
    let two = fake.asked().await;
    assert_eq!((&one["execute"], &one["arguments"]), (&json!("one"), &Value::Null));
    assert_eq!((&two["exec-oob"], &two["arguments"]), (&json!("two"), &json!({ "x": 1 })));
    fake.answer(&two, json!(2)).await;
    fake.answer(&one, json!(1)).await;
    assert_eq!(first.await.unwrap().unwrap(), 1);
    assert_eq!(second.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn half_lines_and_events_between_are_put_together() {
    let (monitor, mut fake) = connected().await;
    let mut events = monitor.events();
    let asking = tokio::spawn({
        let monitor = monitor.clone();
        async move { monitor.status().await }
    });
    let asked = fake.asked().await;
    fake.say("{\"event\": \"STOP\", \"data\": {\"a\"").await;
    tokio::task::yield_now().await;
    fake.say(
        ": 1}, \"timestamp\": {\"seconds\": 5, \"microseconds\": 6}}\n{\"return\": {\"status\": \"paused\",",
    )
    .await;
    tokio::task::yield_now().await;
    fake.say(&format!("\"running\": false}}, \"id\": {}}}\n", asked["id"])).await;
    assert_eq!(asking.await.unwrap().unwrap().status.as_str(), "paused");
    let event = events.recv().await.unwrap();
    assert_eq!((event.name.as_str(), &event.data["a"]), ("STOP", &json!(1)));
    assert_eq!(event.timestamp.unwrap().seconds, 5);
}

#[tokio::test]
async fn a_refusal_is_told_in_qemus_words() {
    let (monitor, mut fake) = connected().await;
    let asking = tokio::spawn(async move { monitor.cont().await });
    let asked = fake.asked().await;
    fake.say(&format!(
        "{}\n",
        json!({ "error": { "class": "CommandNotFound", "desc": "no such" }, "id": asked["id"] })
    ))
    .await;
    let error = asking.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "QEMU refused `cont`: no such");
    assert!(error.is_unknown_command() && !error.is_lost());
}

#[tokio::test]
async fn a_disconnect_in_the_middle_reaches_every_question() {
    let (monitor, mut fake) = connected().await;
    let mut events = monitor.events();
    let asking: Vec<_> = (0..5)
        .map(|_| {
            let monitor = monitor.clone();
            tokio::spawn(async move { monitor.status().await })
        })
        .collect();
    for _ in 0..5 {
        fake.asked().await;
    }
    fake.say("{\"return\": {\"sta").await;
    drop(fake);
    for one in asking {
        let error = one.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the monitor is lost: QEMU closed it");
    }
    assert!(events.recv().await.is_err(), "the stream of events ends");
    assert!(monitor.lost().await.is_lost());
    assert!(monitor.status().await.unwrap_err().is_lost(), "later questions fail at once");
    assert!(monitor.quit().await.is_ok(), "a QEMU that is gone has quit");
}

/// The test's runtime has one thread and asks the kernel for news only when nothing else is to be done: the question is
/// written before the socket is known to have something to read.
#[tokio::test]
async fn last_words_are_heard_when_a_question_finds_nobody() {
    let (monitor, fake) = connected().await;
    let mut events = monitor.events();
    let said = r#"{"event": "SHUTDOWN", "data": {"reason": "host-signal"}, "timestamp": {"seconds": 1, "microseconds": 2}}"#;
    let written = fake.write.try_write(format!("{said}\r\n").as_bytes()).unwrap();
    assert_eq!(written, said.len() + 2);
    drop(fake);
    assert!(monitor.status().await.unwrap_err().is_lost());
    assert_eq!(events.recv().await.unwrap().name, "SHUTDOWN");
    assert!(events.recv().await.is_err(), "the stream of events ends");
}

#[tokio::test]
async fn an_endless_line_and_nonsense_end_the_connection() {
    let (monitor, mut fake) = connected().await;
    let flood = tokio::spawn(async move {
        let block = vec![b'x'; 1 << 20];
        for _ in 0..=(LONGEST_LINE >> 20) {
            if fake.write.write_all(&block).await.is_err() {
                return;
            }
        }
    });
    assert!(monitor.lost().await.to_string().contains("a line of more than"));
    flood.await.unwrap();

    let (monitor, mut fake) = connected().await;
    fake.say("SSH-2.0-OpenSSH\x1b[2J\n").await;
    let lost = monitor.lost().await.to_string();
    assert!(lost.contains("no QMP") && !lost.contains('\x1b'), "{lost}");
}

#[tokio::test]
async fn who_greets_wrongly_is_no_qemu() {
    let (ours, mut fake) = pair();
    let connecting = tokio::spawn(Monitor::over(ours, SOON));
    fake.say("220 mail.example ESMTP\n").await;
    assert!(
        matches!(connecting.await.unwrap(), Err(MonitorError::NotQmp { said }) if said.starts_with("220"))
    );
}

#[tokio::test]
async fn silence_has_a_deadline_and_does_not_spoil_the_next_answer() {
    let (ours, fake) = pair();
    let waited = Duration::from_millis(50);
    assert!(
        matches!(Monitor::over(ours, waited).await, Err(MonitorError::Silent { command, .. }) if command == "greeting")
    );
    drop(fake);

    let (monitor, mut fake) = connected().await;
    let error = monitor.execute_within::<Value>("slow", (), waited).await.unwrap_err();
    assert_eq!(error.to_string(), "QEMU's monitor gave no answer to `slow` in 50ms");
    let slow = fake.asked().await;
    let next = tokio::spawn({
        let monitor = monitor.clone();
        async move { monitor.execute::<u32>("next", ()).await }
    });
    let asked = fake.asked().await;
    fake.answer(&slow, json!(1)).await;
    fake.answer(&asked, json!(2)).await;
    assert_eq!(next.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn a_descriptor_travels_with_its_command() {
    use std::io::{Read, Seek, Write};
    use std::os::fd::OwnedFd;

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let (ours, theirs) = UnixStream::pair().unwrap();
    let theirs = theirs.into_std().unwrap();
    theirs.set_nonblocking(false).unwrap();
    let fake = std::thread::spawn(move || {
        let mut theirs = theirs;
        let mut buffer = [0u8; 4096];
        writeln!(theirs, "{GREETING}").unwrap();
        let _ = theirs.read(&mut buffer).unwrap();
        writeln!(theirs, "{}", json!({ "return": {}, "id": 1 })).unwrap();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [std::io::IoSliceMut::new(&mut buffer)];
        recvmsg(&theirs, &mut slices, &mut ancillary, RecvFlags::empty()).unwrap();
        let fds: Vec<OwnedFd> = ancillary
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        writeln!(theirs, "{}", json!({ "return": {}, "id": 2 })).unwrap();
        fds
    });
    let monitor = Monitor::over(ours, SOON).await.unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"memory").unwrap();
    file.rewind().unwrap();
    monitor.give_fd("state", file.into()).await.unwrap();
    let mut fds = fake.join().unwrap();
    assert_eq!(fds.len(), 1);
    let mut text = String::new();
    std::fs::File::from(fds.remove(0)).read_to_string(&mut text).unwrap();
    assert_eq!(text, "memory");
}

#[tokio::test]
async fn one_descriptor_is_on_its_way_at_a_time() {
    let (monitor, mut fake) = connected().await;
    let give = |name: &'static str| {
        let monitor = monitor.clone();
        tokio::spawn(async move { monitor.give_fd(name, tempfile::tempfile().unwrap().into()).await })
    };
    let first = give("one");
    let one = fake.asked().await;
    assert_eq!(one["arguments"]["fdname"], "one");
    let second = give("two");
    let early = tokio::time::timeout(Duration::from_millis(100), fake.asked()).await;
    assert!(early.is_err(), "{early:?} came while QEMU may not have taken the first");
    fake.say("{\"event\": \"STOP\", \"timestamp\": {\"seconds\": 5, \"microseconds\": 6}}\n").await;
    fake.answer(&one, json!({})).await;
    first.await.unwrap().unwrap();
    // An answer that refuses frees the way as well.
    let two = fake.asked().await;
    assert_eq!(two["arguments"]["fdname"], "two");
    fake.say(&format!(
        "{}\n",
        json!({ "error": { "class": "GenericError", "desc": "no" }, "id": two["id"] })
    ))
    .await;
    second.await.unwrap().unwrap_err();
    let third = give("three");
    let three = fake.asked().await;
    fake.answer(&three, json!({})).await;
    third.await.unwrap().unwrap();
}
