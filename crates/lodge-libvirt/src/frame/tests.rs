//! Messages cut anywhere are the same messages; descriptors stay with theirs.

use lodge_wire::packet::MAX_MESSAGE;

use super::*;

fn message(kind: Kind, serial: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header { program: 7, version: 1, procedure: 3, kind, serial, status: Status::Ok };
    packet::stream_message(&header, payload).unwrap()
}

fn descriptor() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

/// Serials, payloads and the number of descriptors of all whole messages.
fn all(inbox: &mut Inbox) -> Vec<(u32, Vec<u8>, usize)> {
    let mut all = Vec::new();
    while let Some(message) = inbox.next(MAX_MESSAGE).unwrap() {
        all.push((message.header.serial, message.payload.to_vec(), message.fds.len()));
    }
    inbox.rest();
    all
}

#[test]
fn messages_cut_anywhere_are_the_same_messages() {
    let one = message(Kind::Call, 1, b"");
    let two = message(Kind::Call, 2, b"payload!");
    let three = message(Kind::CallWithFds, 3, &[&1_u32.to_be_bytes()[..], b"with"].concat());
    // The descriptor's byte ends a read, since the kernel ends it there.
    let head = [one.as_slice(), &two, &three].concat();
    let expected = [(1, vec![], 0), (2, b"payload!".to_vec(), 0), (3, b"with".to_vec(), 1), (4, vec![], 0)];
    for first in 0..=head.len() {
        for second in (first..=head.len()).step_by(7) {
            let mut inbox = Inbox::default();
            let mut got = Vec::new();
            for part in [&head[..first], &head[first..second]] {
                inbox.add(part, &mut Vec::new());
                got.extend(all(&mut inbox));
            }
            let last = [&head[second..], &[0]].concat();
            inbox.add(&last, &mut vec![descriptor()]);
            got.extend(all(&mut inbox));
            inbox.add(&message(Kind::Call, 4, b""), &mut Vec::new());
            got.extend(all(&mut inbox));
            assert_eq!(got, expected, "cut at {first} and {second}");
            assert!(inbox.fds.is_empty());
        }
    }
}

#[test]
fn a_descriptor_that_nobody_announced_is_closed_with_its_message() {
    let mut inbox = Inbox::default();
    inbox.add(&message(Kind::Call, 1, b""), &mut vec![descriptor(), descriptor()]);
    assert_eq!(all(&mut inbox), [(1, vec![], 0)]);
    assert!(inbox.fds.is_empty());
}

#[test]
fn an_announced_descriptor_must_be_at_its_byte() {
    let call = message(Kind::CallWithFds, 1, &1_u32.to_be_bytes());
    // One that came with the message itself is not it.
    let mut inbox = Inbox::default();
    inbox.add(&call, &mut vec![descriptor()]);
    inbox.add(&[0], &mut Vec::new());
    assert_eq!(inbox.next(MAX_MESSAGE).unwrap_err(), BadFrame::NoFd);
}

#[test]
fn a_message_longer_than_allowed_is_refused_at_its_first_word() {
    let mut inbox = Inbox::default();
    inbox.add(&1000_u32.to_be_bytes(), &mut Vec::new());
    assert!(inbox.next(MAX_MESSAGE).unwrap().is_none());
    assert_eq!(inbox.next(500).unwrap_err(), BadFrame::Length(1000));
}

#[test]
fn a_length_is_believed_as_far_as_bytes_have_come() {
    let mut inbox = Inbox::default();
    let mut head = message(Kind::Stream, 1, b"");
    head[..4].copy_from_slice(&(30_u32 << 20).to_be_bytes());
    inbox.add(&head, &mut Vec::new());
    assert!(inbox.next(MAX_MESSAGE).unwrap().is_none());
    assert!(inbox.bytes.capacity() <= head.len() * BELIEVED_TIMES);
    let mut inbox = Inbox::default();
    let whole = message(Kind::Stream, 1, &vec![1; 100_000]);
    inbox.add(&whole[..20_000], &mut Vec::new());
    let capacity = inbox.bytes.capacity();
    inbox.add(&whole[20_000..], &mut Vec::new());
    assert_eq!(inbox.bytes.capacity(), capacity, "it has grown once");
    assert_eq!(all(&mut inbox).len(), 1);
}

#[test]
fn an_idle_inbox_keeps_little() {
    let mut inbox = Inbox::default();
    inbox.add(&message(Kind::Call, 1, &vec![0; 1 << 20]), &mut Vec::new());
    assert_eq!(all(&mut inbox).len(), 1);
    assert!(inbox.bytes.capacity() <= SPARE_BYTES);
}
