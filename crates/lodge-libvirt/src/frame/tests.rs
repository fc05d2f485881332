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
    inbox.make_room(|| panic!("not yet"));
    assert!(inbox.bytes.capacity() <= head.len() * BELIEVED_TIMES);
    let mut inbox = Inbox::default();
    let whole = message(Kind::Call, 1, &vec![1; 100_000]);
    inbox.add(&whole[..20_000], &mut Vec::new());
    inbox.make_room(|| panic!("no stream's"));
    let capacity = inbox.bytes.capacity();
    inbox.add(&whole[20_000..], &mut Vec::new());
    assert_eq!(inbox.bytes.capacity(), capacity, "it has grown once");
    assert_eq!(all(&mut inbox).len(), 1);
}

#[test]
fn a_streams_long_packet_comes_to_a_buffer_of_its_own() {
    let payload: Vec<u8> =
        (0..100_000_u32).map(|number| number.to_le_bytes()[0] ^ number.to_le_bytes()[1]).collect();
    let (call, packet) = (message(Kind::Call, 1, b"first"), message(Kind::Stream, 2, &payload));
    for come in [20_000, packet.len() - 1] {
        let mut inbox = Inbox::default();
        inbox.add(&[call.as_slice(), &packet[..come]].concat(), &mut Vec::new());
        assert_eq!(all(&mut inbox), [(1, b"first".to_vec(), 0)]);
        // The spare is longer than needed, and not empty.
        inbox.make_room(|| vec![7; 300_000]);
        let missing = &packet[come..];
        let place = inbox.place().unwrap();
        assert_eq!(place.len(), missing.len(), "nothing behind the packet is read to it");
        let half = missing.len() / 2;
        place[..half].copy_from_slice(&missing[..half]);
        inbox.filled(half, &mut Vec::new());
        assert_eq!(inbox.next(MAX_MESSAGE).unwrap().is_none(), missing.len() > half);
        inbox.make_room(|| panic!("it has its place"));
        inbox.place().unwrap().copy_from_slice(&missing[half..]);
        // Nobody announced a descriptor.
        inbox.filled(missing.len() - half, &mut vec![descriptor()]);
        let got = inbox.next(MAX_MESSAGE).unwrap().unwrap();
        let Payload::Own(bytes) = got.payload else { panic!("the payload was copied") };
        assert_eq!(&bytes.buffer[bytes.kept..], payload);
        assert!(inbox.place().is_none());
        // What comes behind it is read as ever.
        inbox.add(&message(Kind::Call, 3, b"last"), &mut Vec::new());
        assert_eq!(all(&mut inbox), [(3, b"last".to_vec(), 0)]);
        assert!(inbox.fds.is_empty());
    }
}

#[test]
fn an_idle_inbox_keeps_little() {
    let mut inbox = Inbox::default();
    inbox.add(&message(Kind::Call, 1, &vec![0; 1 << 20]), &mut Vec::new());
    assert_eq!(all(&mut inbox).len(), 1);
    assert!(inbox.bytes.capacity() <= SPARE_BYTES);
}
