//! Crowds: ten thousand connections, clients that vanish in the middle of anything, many calls. Afterwards the
//! process has the descriptors, tasks and sessions that it had before. Alone in its process, since it counts them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

#[path = "it/raw.rs"]
#[allow(dead_code, reason = "the other tests' client")]
mod raw;

use std::time::Duration;

use lodge_wire::packet::{self, Header, Kind, Status};
use lodge_wire::remote;

use raw::{Client, House, house, root_door};

/// Descriptors, sessions and tasks.
fn holdings(house: &House) -> (usize, usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (descriptors, house.server.sessions().len(), house.server.tasks().len())
}

/// Waits until all is as it was.
async fn settled(house: &House, before: (usize, usize, usize)) {
    for _ in 0..1000 {
        if holdings(house) == before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(holdings(house), before, "descriptors, sessions, tasks: something stays");
}

/// As many clients as the process may have descriptors for, at most ten thousand.
fn crowd() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum.or(Some(1 << 20)), ..limit };
    let _ = setrlimit(Resource::Nofile, wanted);
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = usize::try_from(current / 2).unwrap_or(usize::MAX).saturating_sub(200);
    if room < 10_000 {
        eprintln!("skipped in part: room for {room} connections only (RLIMIT_NOFILE)");
    }
    room.min(10_000)
}

async fn ten_thousand_connections(house: &House) {
    let mut clients = Vec::new();
    for _ in 0..crowd() {
        clients.push(house.connect(root_door(false)));
    }
    for client in &mut clients {
        client.open().await;
    }
    assert_eq!(house.server.sessions().len(), clients.len());
    let mut last = house.opened().await;
    assert!(last.answers().await);
}

/// Goes in the middle of whatever it is.
async fn vanish(house: &House, round: u32) {
    let mut client = house.opened().await;
    let register = remote::ConnectDomainEventCallbackRegisterAnyArgs { event_id: 0, dom: None };
    client.call(remote::call::ConnectDomainEventCallbackRegisterAny, &register).await;
    let header = client.header(remote::PROGRAM, remote::Procedure::ConnectListAllDomains.number());
    let message = packet::stream_message(&header, &[0; 8]).unwrap();
    let cut = message.len() * round as usize % (message.len() + 1);
    client.send(&message[..cut]).await.unwrap();
    // And a message that promises descriptors, some of which come.
    let header = Header { kind: Kind::CallWithFds, ..header };
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    if cut == message.len() {
        client.send_message(&header, &2_u32.to_be_bytes()).await.unwrap();
        client.send_fd(std::os::fd::AsFd::as_fd(&ours)).await;
    }
}

async fn many_calls(client: &mut Client, count: u32) {
    const AT_ONCE: u32 = 50;
    let procedure = remote::Procedure::ConnectGetLibVersion.number();
    let mut bytes = Vec::new();
    for serial in 0..AT_ONCE {
        let header = Header { serial, ..client.header(remote::PROGRAM, procedure) };
        bytes.extend(packet::stream_message(&header, &[]).unwrap());
    }
    for _ in 0..count / AT_ONCE {
        client.send(&bytes).await.unwrap();
        for _ in 0..AT_ONCE {
            assert_eq!(client.receive().await.unwrap().header.status, Status::Ok);
        }
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn nothing_stays_of_those_who_went() {
    let house = house();
    house.run(async {
        // What is made at the first use only is made now.
        vanish(house, 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = holdings(house);
        for round in 0..200 {
            vanish(house, round).await;
        }
        settled(house, before).await;
        ten_thousand_connections(house).await;
        settled(house, before).await;
        let mut client = house.opened().await;
        many_calls(&mut client, 20_000).await;
        let resident = resident_kib();
        many_calls(&mut client, 200_000).await;
        let grown = resident_kib().saturating_sub(resident);
        assert!(grown < 4096, "memory grew by {grown} KiB over 200,000 calls");
        drop(client);
        settled(house, before).await;
    });
}
