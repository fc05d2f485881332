//! Clients that are none, or mean harm: each gets an answer or is closed, as by libvirtd, and the next is served.

use std::os::fd::AsFd;

use lodge_libvirt::{Served, served};
use lodge_wire::packet::{Header, Kind, Status};
use lodge_wire::{admin, lxc, qemu, remote, xdr};

use crate::raw::{Client, house, root_door};

const TYPE: i32 = remote::Procedure::ConnectGetType as i32;
pub const RPC: i32 = 39;

/// What the sockets of clients serve; the administrators' own is another.
pub fn everything() -> impl Iterator<Item = &'static Served> {
    served().filter(|procedure| procedure.facts.program != admin::PROGRAM)
}

#[test]
fn bad_lengths_close_without_a_word() {
    let house = house();
    house.run(async {
        for length in [0, 3, 4, 27, 33_554_437, u32::MAX] {
            let mut client = house.opened().await;
            let mut bytes = u32::to_be_bytes(length).to_vec();
            bytes.resize(64, 0);
            client.send(&bytes).await.unwrap();
            client.closed().await;
        }
        assert!(house.opened().await.answers().await);
    });
}

#[test]
fn the_longest_message_is_taken_and_one_byte_at_a_time_is_a_message_too() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        let header = client.header(remote::PROGRAM, TYPE);
        // What follows the arguments is ignored, so that the longest message is a good one.
        client.send_message(&header, &vec![0; 33_554_432 - 24]).await.unwrap();
        assert_eq!(client.reply(header.serial).await.unwrap().header.status, Status::Ok);
        let header = client.header(remote::PROGRAM, TYPE);
        for byte in lodge_wire::packet::stream_message(&header, &[]).unwrap() {
            client.send(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(client.reply(header.serial).await.unwrap().header.status, Status::Ok);
    });
}

#[test]
fn a_message_that_stops_in_the_middle_holds_up_nobody() {
    let house = house();
    house.run(async {
        let mut slow = Vec::new();
        for length in [1_u32, 3, 4, 20, 28, 5000] {
            let mut client = house.opened().await;
            let message = [&33_554_432_u32.to_be_bytes()[..], &[0; 8192]].concat();
            client.send(&message[..length as usize]).await.unwrap();
            slow.push(client);
        }
        assert!(house.opened().await.answers().await);
    });
}

#[test]
fn what_odd_messages_get() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        let mut refused = async |program, version, procedure, status| {
            let header = Header { version, status, ..client.header(program, procedure) };
            client.send_message(&header, &[]).await.unwrap();
            let reply = client.reply(header.serial).await.unwrap();
            let Header { program: of, version: v, procedure: p, kind, .. } = reply.header;
            assert_eq!((of, v, p, kind), (program, version, procedure, Kind::Reply));
            assert_eq!(reply.error().domain, 7);
            reply.refusal()
        };
        let rpc = |text: &str| (RPC, text.to_owned());
        let ok = Status::Ok;
        assert_eq!(refused(0x1234_5678, 1, 1, ok).await, rpc("Cannot find program 305419896 version 1"));
        assert_eq!(refused(remote::PROGRAM, 2, 1, ok).await, rpc("Cannot find program 536903814 version 2"));
        for procedure in [0, -1, 454, 9999, i32::MAX, i32::MIN, 61, 108, 419, 107] {
            let text = format!("unknown procedure: {procedure}");
            assert_eq!(refused(remote::PROGRAM, 1, procedure, ok).await, rpc(&text));
        }
        assert_eq!(refused(qemu::PROGRAM, 1, 6, ok).await, rpc("unknown procedure: 6"));
        assert_eq!(refused(lxc::PROGRAM, 1, 1, ok).await, rpc("unknown procedure: 1"));
        // The administrators' program has a socket of its own.
        assert_eq!(refused(admin::PROGRAM, 1, 1, ok).await, rpc("Cannot find program 110102160 version 1"));
        assert_eq!(
            refused(remote::PROGRAM, 1, TYPE, Status::Error).await,
            rpc("Unexpected message status 1")
        );
        assert_eq!(
            refused(remote::PROGRAM, 1, TYPE, Status::Continue).await,
            rpc("Unexpected message status 2")
        );
    });
}

#[test]
fn numbers_that_do_not_exist_in_a_header() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        let header = client.header(remote::PROGRAM, TYPE);
        let with = |word: usize, value: i32| {
            let mut bytes = lodge_wire::packet::stream_message(&header, &[]).unwrap();
            bytes[4 + word * 4..8 + word * 4].copy_from_slice(&value.to_be_bytes());
            bytes
        };
        client.send(&with(5, 9)).await.unwrap();
        let reply = client.reply(header.serial).await.unwrap();
        assert_eq!(reply.refusal(), (RPC, "Unexpected message status 9".to_owned()));
        client.send(&with(3, 7)).await.unwrap();
        client.send(&with(3, -1)).await.unwrap();
        assert!(client.answers().await);
    });
}

#[test]
fn what_nobody_asked_for_is_dropped() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        for kind in [Kind::Reply, Kind::Message, Kind::Stream, Kind::StreamHole] {
            for status in [Status::Ok, Status::Error, Status::Continue] {
                let header = Header { kind, status, ..client.header(remote::PROGRAM, TYPE) };
                client.send_message(&header, b"none of this is awaited").await.unwrap();
            }
        }
        let header = Header { kind: Kind::ReplyWithFds, ..client.header(remote::PROGRAM, TYPE) };
        client.send_message(&header, &[0; 4]).await.unwrap();
        assert!(client.answers().await);
    });
}

#[test]
fn a_ping_is_answered_at_once() {
    let house = house();
    house.run(async {
        let mut client = house.connect(root_door(false));
        client.send_message(&Header::keepalive(lodge_wire::keepalive::PING), &[]).await.unwrap();
        let pong = client.receive().await.unwrap();
        assert_eq!(pong.header, Header::keepalive(lodge_wire::keepalive::PONG));
        // What the keepalive program does not have is dropped.
        client.send_message(&Header::keepalive(99), &[]).await.unwrap();
        client.open().await;
    });
}

#[test]
fn arguments_that_are_none() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        let lookup = remote::Procedure::DomainLookupByName.number();
        let undecodable = (RPC, "Unable to decode message payload".to_owned());
        let too_long = [&4_194_305_u32.to_be_bytes()[..], b"aaaa"].concat();
        for payload in [&[][..], &[0, 0], &u32::MAX.to_be_bytes(), &too_long] {
            let reply = client.raw_call(remote::PROGRAM, lookup, payload).await.unwrap();
            assert_eq!(reply.refusal(), undecodable);
        }
        // A string ends at its first NUL, need not be UTF-8, and bytes behind the arguments do not count.
        let named = |name: &[u8]| {
            let mut payload = xdr::to_bytes(&lodge_wire::Text::from(name)).unwrap();
            payload.extend(b"more than was asked for");
            payload
        };
        let reply = client.raw_call(remote::PROGRAM, lookup, &named(b"no\0such")).await.unwrap();
        assert_eq!(reply.refusal(), (42, "Domain not found: no domain with matching name 'no'".to_owned()));
        let reply = client.raw_call(remote::PROGRAM, lookup, &named(b"\xff\xfe")).await.unwrap();
        assert_eq!(reply.refusal().0, 42);
    });
}

#[test]
fn no_procedure_minds_senseless_arguments() {
    let house = house();
    house.run(async {
        // A fixed seed: a failure comes again.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut chance = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut client = house.read_only().await;
        for procedure in everything().filter(|procedure| procedure.facts.name != "CONNECT_CLOSE") {
            let facts = procedure.facts;
            let mut payloads = vec![vec![], vec![0xff; 4096], vec![0x7f; 4096], vec![0; 4096]];
            payloads.extend((0..16).map(|_| (0..512).map(|_| chance().to_le_bytes()[0] & 3).collect()));
            for payload in payloads {
                let reply = client.raw_call(facts.program, facts.number, &payload).await;
                let reply = reply.unwrap_or_else(|| panic!("{} ended the connection", facts.name));
                if reply.header.status == Status::Error {
                    assert!(!reply.refusal().1.contains("fault of the daemon"), "{} broke", facts.name);
                } else if facts.stream.is_some() {
                    let abort = Header { kind: Kind::Stream, status: Status::Error, ..reply.header };
                    client.send_message(&abort, &[]).await.unwrap();
                }
            }
        }
        assert!(client.answers().await);
    });
}

#[test]
fn a_second_open_fails() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        let args = remote::ConnectOpenArgs { name: Some("qemu:///system".into()), flags: 0 };
        let reply = client.call(remote::call::ConnectOpen, &args).await;
        assert_eq!(reply.refusal(), (1, "internal error: connection already open".to_owned()));
        assert!(client.answers().await);
    });
}

#[test]
fn uris() {
    let house = house();
    house.run(async {
        let own = Some("qemu:///system");
        for (name, outcome) in [
            (own, Ok("qemu:///system")),
            (Some(""), Ok("qemu:///system")),
            (Some("qemu:///system?a=b"), Ok("qemu:///system?a=b")),
            (Some("network:///system"), Ok("network:///system")),
            (None, Err((1, 7, "internal error: connection not open"))),
            (
                Some("qemu:///bad"),
                Err((1, 0, "internal error: unexpected qemu URI path '/bad', try qemu:///system")),
            ),
            (
                Some("garbage"),
                Err((
                    5,
                    0,
                    "no connection driver available for URI 'garbage' does not include a driver name",
                )),
            ),
            (Some("xen:///system"), Err((5, 0, "no connection driver available for xen:///system"))),
            (Some("QEMU:///system"), Err((5, 0, "no connection driver available for QEMU:///system"))),
            (Some("://"), Err((1, 45, "internal error: Unable to parse URI ://"))),
        ] {
            let mut client = house.connect(root_door(false));
            let args = remote::ConnectOpenArgs { name: name.map(Into::into), flags: 0 };
            let reply = client.call(remote::call::ConnectOpen, &args).await;
            match outcome {
                Ok(uri) => {
                    reply.value::<()>();
                    let told = client.call(remote::call::ConnectGetUri, &()).await;
                    assert_eq!(told.value::<remote::ConnectGetUriRet>().uri, uri);
                }
                Err((code, domain, message)) => {
                    let error = reply.error();
                    assert_eq!(
                        (error.code, error.domain, error.message.unwrap().to_string().as_str()),
                        (code, domain, message)
                    );
                }
            }
        }
    });
}

#[test]
fn features() {
    let house = house();
    house.run(async {
        let mut client = house.connect(root_door(false));
        let asked = async |client: &mut Client, feature| {
            let args = remote::ConnectSupportsFeatureArgs { feature };
            client.call(remote::call::ConnectSupportsFeature, &args).await
        };
        // Asked for before the connection is opened: keepalive alone.
        assert_eq!(asked(&mut client, 10).await.value::<remote::ConnectSupportsFeatureRet>().supported, 1);
        assert_eq!(asked(&mut client, 14).await.refusal().0, 1);
        client.open().await;
        for feature in [8, 9, 10, 14, 15, 16] {
            assert_eq!(
                asked(&mut client, feature).await.value::<remote::ConnectSupportsFeatureRet>().supported,
                1
            );
        }
        for feature in [-1, 0, 1, 2, 5, 17, 1000] {
            assert_eq!(
                asked(&mut client, feature).await.value::<remote::ConnectSupportsFeatureRet>().supported,
                0
            );
        }
    });
}

#[test]
fn descriptors_that_belong_nowhere() {
    let house = house();
    house.run(async {
        let with_fds =
            |client: &mut Client| Header { kind: Kind::CallWithFds, ..client.header(remote::PROGRAM, TYPE) };
        // Announced and sent, where the procedure has no use for it: closed at the call's end.
        let mut client = house.opened().await;
        let header = with_fds(&mut client);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        client.send_message(&header, &1_u32.to_be_bytes()).await.unwrap();
        client.send_fd(theirs.as_fd()).await;
        assert_eq!(client.reply(header.serial).await.unwrap().header.status, Status::Ok);
        drop(theirs);
        tokio::task::spawn_blocking(move || {
            // The other end is closed only when the server let go of it.
            assert_eq!(std::io::Read::read(&mut &ours, &mut [0]).unwrap(), 0);
        })
        .await
        .unwrap();
        // None at all is fine.
        let header = with_fds(&mut client);
        client.send_message(&header, &0_u32.to_be_bytes()).await.unwrap();
        assert_eq!(client.reply(header.serial).await.unwrap().header.status, Status::Ok);
        // More than there can be, or a byte without one: closed.
        for count in [33_u32, u32::MAX] {
            let mut client = house.opened().await;
            let header = with_fds(&mut client);
            client.send_message(&header, &count.to_be_bytes()).await.unwrap();
            client.closed().await;
        }
        let header = with_fds(&mut client);
        client.send_message(&header, &1_u32.to_be_bytes()).await.unwrap();
        client.send(&[0]).await.unwrap();
        client.closed().await;
    });
}

#[test]
fn a_descriptor_inside_a_message_is_closed_and_the_message_read() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        let header = client.header(remote::PROGRAM, TYPE);
        let bytes = lodge_wire::packet::stream_message(&header, &[0; 8]).unwrap();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        // The last byte but four is a zero, with a descriptor on its back.
        let (head, tail) = bytes.split_at(bytes.len() - 4);
        client.send(&head[..head.len() - 1]).await.unwrap();
        client.send_fd(theirs.as_fd()).await;
        client.send(tail).await.unwrap();
        assert_eq!(client.reply(header.serial).await.unwrap().header.status, Status::Ok);
        drop(theirs);
        let ended = move || std::io::Read::read(&mut &ours, &mut [0]).unwrap();
        assert_eq!(tokio::task::spawn_blocking(ended).await.unwrap(), 0);
    });
}

#[test]
fn a_client_that_asks_and_never_reads_is_not_served_without_end() {
    let house = house();
    house.run(async {
        let mut deaf = house.opened().await;
        let header = deaf.header(remote::PROGRAM, TYPE);
        let call = lodge_wire::packet::stream_message(&header, &[]).unwrap();
        let many = call.repeat(1000);
        // The server stops reading; then nothing more can be written.
        let mut written = 0_usize;
        loop {
            match tokio::time::timeout(std::time::Duration::from_secs(1), deaf.stream.writable()).await {
                Ok(ready) => ready.unwrap(),
                Err(_) => break,
            }
            match deaf.stream.try_write(&many) {
                Ok(count) => written += count,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
            assert!(written < 64 << 20, "the server takes calls without end");
        }
        assert!(house.opened().await.answers().await);
    });
}

#[test]
fn pipelined_calls_are_all_answered() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        let mut all = Vec::new();
        let headers: Vec<Header> = (0..500).map(|_| client.header(remote::PROGRAM, TYPE)).collect();
        for header in &headers {
            all.extend(lodge_wire::packet::stream_message(header, &[]).unwrap());
        }
        client.send(&all).await.unwrap();
        let mut serials = Vec::new();
        while serials.len() < headers.len() {
            serials.push(client.receive().await.unwrap().header.serial);
        }
        serials.sort_unstable();
        assert_eq!(serials, headers.iter().map(|header| header.serial).collect::<Vec<_>>());
    });
}

#[test]
fn close_is_answered_and_then_the_server_closes() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        client.call(remote::call::ConnectClose, &()).await.value::<()>();
        client.closed().await;
    });
}
