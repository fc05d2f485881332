//! A connection with calls that take their time: who waits for whom.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use lodge_engine::{Config, Engine};
use lodge_sys::local::LocalSocket;
use lodge_wire::packet::Status;
use lodge_wire::{remote, xdr};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::*;
use crate::door::Door;

/// A connection, the client's end of it, and the root that the engine lives in.
struct Trial {
    connection: Connection,
    client: UnixStream,
    _root: tempfile::TempDir,
}

async fn trial() -> Trial {
    let root = tempfile::tempdir().unwrap();
    let config =
        Config { root: Some(root.path().to_owned()), accelerator_fallback: true, ..Config::default() };
    let server = Server::new(Engine::open(config).await.unwrap());
    let (client, theirs) = UnixStream::pair().unwrap();
    let session = Arc::new(Session::new(1, Door::local(0, 0, None, false), Arc::default()));
    let theirs = LocalSocket::of(theirs.into_std().unwrap()).unwrap();
    let connection = Connection::new(server, session, Box::new(theirs));
    Trial { connection, client, _root: root }
}

fn header(serial: u32) -> Header {
    let procedure = remote::Procedure::ConnectSupportsFeature.number();
    Header { program: remote::PROGRAM, version: 1, procedure, kind: Kind::Call, serial, status: Status::Ok }
}

/// Asks for keepalive, which needs no open connection.
fn quick_call(serial: u32) -> Vec<u8> {
    packet::message(&header(serial), &remote::ConnectSupportsFeatureArgs { feature: 10 }).unwrap()
}

async fn reply(client: &mut UnixStream) -> Header {
    let length = client.read_u32().await.unwrap();
    let mut bytes = vec![0; length as usize - 4];
    client.read_exact(&mut bytes).await.unwrap();
    xdr::from_bytes(&bytes).unwrap()
}

/// For a call that is begun outside of the connection's task.
fn unwatched() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// A call that ends when its sender is dropped or used.
fn stuck(serial: u32) -> (Work, tokio::sync::oneshot::Sender<()>) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let work = Box::pin(async move {
        drop(receiver.await);
        Frame::plain(packet::message(&Header { kind: Kind::Reply, ..header(serial) }, &()).unwrap())
    });
    (work, sender)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_call_delays_no_quick_one_and_replies_come_as_they_are_ready() {
    let Trial { mut connection, mut client, _root } = trial().await;
    let mut held = Vec::new();
    for serial in 0..4 {
        let (work, sender) = stuck(serial);
        connection.slow(&mut unwatched(), header(serial), remote::Procedure::DomainSave.facts(), work);
        held.push(sender);
    }
    let connection = tokio::spawn(connection);
    for serial in 100..200 {
        client.write_all(&quick_call(serial)).await.unwrap();
        assert_eq!(reply(&mut client).await.serial, serial);
    }
    for serial in [2, 0, 3, 1] {
        let _ = held.remove(held.len() - 1).send(());
        let expected = u32::try_from(held.len()).unwrap();
        assert_eq!(reply(&mut client).await.serial, expected, "{serial}");
    }
    drop(client);
    assert!(matches!(connection.await.unwrap(), End::Gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_a_pause_are_all_answered_and_so_is_one_behind_a_pause() {
    let Trial { connection, client, _root } = trial().await;
    let connection = tokio::spawn(connection);
    let client = client.into_std().unwrap();
    client.set_nonblocking(false).unwrap();
    let calling = tokio::task::spawn_blocking(move || {
        let mut length = [0; 4];
        for serial in 0..2000 {
            if serial % 500 == 499 {
                std::thread::sleep(Duration::from_millis(5));
            }
            io::Write::write_all(&mut &client, &quick_call(serial)).unwrap();
            io::Read::read_exact(&mut &client, &mut length).unwrap();
            let mut bytes = vec![0; u32::from_be_bytes(length) as usize - 4];
            io::Read::read_exact(&mut &client, &mut bytes).unwrap();
            let header: Header = xdr::from_bytes(&bytes).unwrap();
            assert_eq!((header.serial, header.status), (serial, Status::Ok));
        }
    });
    tokio::time::timeout(Duration::from_mins(1), calling).await.unwrap().unwrap();
    let end = tokio::time::timeout(Duration::from_secs(20), connection).await.unwrap().unwrap();
    assert!(matches!(end, End::Gone), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_five_calls_unanswered_a_client_is_not_read() {
    let Trial { mut connection, mut client, _root } = trial().await;
    let mut held = Vec::new();
    for serial in 0..5 {
        let (work, sender) = stuck(serial);
        connection.slow(&mut unwatched(), header(serial), remote::Procedure::DomainSave.facts(), work);
        held.push(sender);
    }
    let connection = tokio::spawn(connection);
    client.write_all(&quick_call(100)).await.unwrap();
    let nothing = tokio::time::timeout(Duration::from_millis(200), client.readable()).await;
    assert!(nothing.is_err(), "a sixth call was answered");
    drop(held.pop());
    let mut serials = [reply(&mut client).await.serial, reply(&mut client).await.serial];
    serials.sort_unstable();
    assert_eq!(serials, [4, 100]);
    drop(client);
    assert!(matches!(connection.await.unwrap(), End::Gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_while_it_is_not_read_is_missed() {
    let Trial { mut connection, mut client, _root } = trial().await;
    let mut held = Vec::new();
    for serial in 0..5 {
        let (work, sender) = stuck(serial);
        connection.slow(&mut unwatched(), header(serial), remote::Procedure::DomainSave.facts(), work);
        held.push(sender);
    }
    let connection = tokio::spawn(connection);
    client.write_all(&quick_call(100)).await.unwrap();
    drop(client);
    let end = tokio::time::timeout(Duration::from_secs(20), connection).await.unwrap().unwrap();
    assert!(matches!(end, End::Gone | End::Broken(_)), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_slow_calls_than_turns_are_all_done() {
    let Trial { mut connection, client, _root } = trial().await;
    let done = Arc::new(AtomicUsize::new(0));
    let mut held = Vec::new();
    // All turns are taken by calls that wait; those behind them get theirs nevertheless.
    let count = u32::try_from(crate::limits::SLOW_CALLS).unwrap();
    for serial in 0..count {
        let (work, sender) = stuck(serial);
        connection.slow(&mut unwatched(), header(serial), remote::Procedure::DomainSave.facts(), work);
        held.push(sender);
    }
    for serial in count..count * 2 {
        let done = Arc::clone(&done);
        let work = Box::pin(async move {
            done.fetch_add(1, Ordering::SeqCst);
            Frame::plain(packet::message(&header(serial), &()).unwrap())
        });
        connection.slow(&mut unwatched(), header(serial), remote::Procedure::DomainSave.facts(), work);
    }
    let all = async {
        while done.load(Ordering::SeqCst) < count as usize {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    drop((held, client));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_breaks_is_answered_and_the_connection_goes_on() {
    let Trial { mut connection, mut client, _root } = trial().await;
    let broken: Work = Box::pin(async { panic!("a fault in a procedure") });
    connection.slow(&mut unwatched(), header(1), remote::Procedure::DomainSave.facts(), broken);
    let connection = tokio::spawn(connection);
    assert_eq!(reply(&mut client).await.status, Status::Error);
    client.write_all(&quick_call(2)).await.unwrap();
    assert_eq!(reply(&mut client).await.status, Status::Ok);
    drop(client);
    connection.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_events_is_given_up() {
    let Trial { connection, client, _root } = trial().await;
    let outbox = Arc::clone(connection.session.outbox());
    let connection = tokio::spawn(connection);
    let event = packet::stream_message(&header(0), &vec![0; 100_000]).unwrap();
    let flood = async {
        while !connection.is_finished() {
            outbox.push(Frame::plain(event.clone()));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), flood).await.unwrap();
    assert!(matches!(connection.await.unwrap(), End::Closed));
    drop(client);
}

/// The clock stands still and jumps when all wait: half a minute takes none.
#[tokio::test]
async fn a_silent_client_is_pinged_and_then_given_up() {
    let Trial { connection, mut client, _root } = trial().await;
    tokio::time::pause();
    let connection = tokio::spawn(connection);
    client.write_all(&quick_call(1)).await.unwrap();
    assert_eq!(reply(&mut client).await.serial, 1);
    let (interval, count) = (Duration::from_secs(5), 5);
    let begun = Instant::now();
    for ping in 1..=count {
        assert_eq!(reply(&mut client).await, Header::keepalive(keepalive::PING));
        assert_eq!(begun.elapsed().as_secs(), u64::from(ping) * interval.as_secs());
    }
    assert!(matches!(connection.await.unwrap(), End::Silent));
    let waited = interval * (count + 1);
    assert_eq!(begun.elapsed().as_secs(), waited.as_secs());
}

#[tokio::test]
async fn a_client_that_answers_pings_stays_and_one_that_did_not_ask_gets_none() {
    let Trial { connection, mut client, _root } = trial().await;
    tokio::time::pause();
    let connection = tokio::spawn(connection);
    client.write_all(&quick_call(1)).await.unwrap();
    assert_eq!(reply(&mut client).await.serial, 1);
    for _ in 0..20 {
        assert_eq!(reply(&mut client).await, Header::keepalive(keepalive::PING));
        client.write_all(&keepalive_frame(keepalive::PONG).bytes).await.unwrap();
    }
    assert!(!connection.is_finished());
    drop(client);
    connection.await.unwrap();
    let Trial { connection, mut client, _root } = trial().await;
    let connection = tokio::spawn(connection);
    let nothing = tokio::time::timeout(Duration::from_secs(1000), client.read_u8()).await;
    assert!(nothing.is_err(), "pinged without having asked");
    drop(client);
    connection.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_follow_their_reply_each_with_a_byte_of_its_own() {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    let Trial { mut connection, client, _root } = trial().await;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let reply = packet::message(&header(1), &()).unwrap();
    let length = reply.len();
    let fds = vec![theirs.try_clone().unwrap().into(), theirs.into()];
    connection.answer(Frame { fds, ..Frame::plain(reply.clone()) });
    connection.answer(Frame::plain(reply));
    let connection = tokio::spawn(connection);
    let receive = |buffer: &mut [u8]| {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [io::IoSliceMut::new(buffer)];
        let got = rustix::net::recvmsg(&client, parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds.collect::<Vec<OwnedFd>>()),
            _ => None,
        });
        Ok((got.bytes, fds.flatten().collect::<Vec<_>>()))
    };
    let mut seen = Vec::new();
    for size in [length, 1, 1, length] {
        let mut buffer = vec![0; size];
        let (count, fds) = client.async_io(Interest::READABLE, || receive(&mut buffer)).await.unwrap();
        seen.push((count, fds.len()));
        for fd in fds {
            rustix::io::write(&fd, b"x").unwrap();
        }
    }
    assert_eq!(seen, [(length, 0), (1, 1), (1, 1), (length, 0)]);
    drop(client);
    connection.await.unwrap();
    // Both copies went: what was written through them is here, and nobody holds the other end.
    let mut text = String::new();
    io::Read::read_to_string(&mut &ours, &mut text).unwrap();
    assert_eq!(text, "xx");
}
