use std::fmt::Write;

use proptest::prelude::*;

use super::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const UNSET: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn message(mac: MacAddr, kind: MessageType, current: Ipv4Addr, options: Vec<DhcpOption>) -> Vec<u8> {
    let mut message = Message::new_with_id(7, current, UNSET, UNSET, UNSET, &mac.0);
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    for option in options {
        message.opts_mut().insert(option);
    }
    message.to_vec().unwrap()
}

fn read(reply: &Reply) -> Message {
    Message::decode(&mut Decoder::new(&reply.message)).unwrap()
}

fn ask(server: &mut Server, bytes: &[u8]) -> Outcome {
    server.handle(bytes, |_| &[], 100)
}

/// A full exchange; the address.
fn lease(server: &mut Server, mac: MacAddr) -> Ipv4Addr {
    let offer = ask(server, &message(mac, MessageType::Discover, UNSET, vec![]));
    let ip = read(&offer.reply.unwrap()).yiaddr();
    let options = vec![DhcpOption::RequestedIpAddress(ip), DhcpOption::ServerIdentifier(SERVER)];
    let ack = ask(server, &message(mac, MessageType::Request, UNSET, options));
    assert_eq!(read(&ack.reply.unwrap()).opts().msg_type(), Some(MessageType::Ack));
    ip
}

fn kind(outcome: &Outcome) -> Option<MessageType> {
    outcome.reply.as_ref().and_then(|reply| read(reply).opts().msg_type())
}

#[test]
fn an_exchange_tells_all_a_guest_needs() {
    let mut server = Server::new(Scope::example());
    let ip = lease(&mut server, MAC);
    let options = vec![DhcpOption::RequestedIpAddress(ip), DhcpOption::ClientIdentifier(vec![1, 2, 3])];
    let again = ask(&mut server, &message(MAC, MessageType::Request, UNSET, options));
    let reply = again.reply.unwrap();
    assert_eq!((reply.to_mac, reply.to_ip), (MAC.0, ip), "without the broadcast flag straight to it");
    let ack = read(&reply);
    assert_eq!((ack.xid(), ack.yiaddr()), (7, ip));
    let mut told: Vec<String> = ack.opts().iter().map(|(_, option)| format!("{option:?}")).collect();
    told.sort();
    expect_test::expect![[r#"
        AddressLeaseTime(3600)
        BroadcastAddr(10.0.0.255)
        ClientIdentifier([1, 2, 3])
        DomainName("lan")
        DomainNameServer([10.0.0.1])
        MessageType(Ack)
        Rebinding(3150)
        Renewal(1800)
        Router([10.0.0.1])
        ServerIdentifier(10.0.0.1)
        SubnetMask(255.255.255.0)"#]]
    .assert_eq(&told.join("\n"));
    let Some(Change::Bound(MAC, held)) = again.change else { panic!("no change") };
    assert_eq!((held.ip, held.until), (ip, 3_700));
}

#[test]
fn the_table_of_requests() {
    // What a client says, and what it hears, when it has a lease and when it has none.
    let mut table = String::new();
    let wrong = Ipv4Addr::new(192, 0, 2, 9);
    for has_lease in [false, true] {
        let server = || {
            let mut server = Server::new(Scope::example());
            let ip = if has_lease { lease(&mut server, MAC) } else { Ipv4Addr::new(10, 0, 0, 12) };
            (server, ip)
        };
        let (_, ip) = server();
        let of = |ip: Ipv4Addr| DhcpOption::RequestedIpAddress(ip);
        let from = |ip: Ipv4Addr| DhcpOption::ServerIdentifier(ip);
        let cases = [
            ("selecting us", UNSET, vec![of(ip), from(SERVER)]),
            ("selecting another server", UNSET, vec![of(ip), from(wrong)]),
            ("after a restart, its address", UNSET, vec![of(ip)]),
            ("after a restart, of elsewhere", UNSET, vec![of(wrong)]),
            ("after a restart, the bridge's", UNSET, vec![of(SERVER)]),
            ("renewing its address", ip, vec![]),
            ("renewing one of elsewhere", wrong, vec![]),
            ("saying nothing", UNSET, vec![]),
        ];
        for (name, current, options) in cases {
            let (mut server, _) = server();
            let heard = kind(&ask(&mut server, &message(MAC, MessageType::Request, current, options)));
            let heard = heard.map_or("-".to_owned(), |kind| format!("{kind:?}"));
            let state = if has_lease { "lease" } else { "none" };
            writeln!(table, "{state:8} {name:31} {heard}").unwrap();
        }
    }
    expect_test::expect![[r"
        none     selecting us                    Ack
        none     selecting another server        -
        none     after a restart, its address    Ack
        none     after a restart, of elsewhere   Nak
        none     after a restart, the bridge's   Nak
        none     renewing its address            Ack
        none     renewing one of elsewhere       Nak
        none     saying nothing                  -
        lease    selecting us                    Ack
        lease    selecting another server        -
        lease    after a restart, its address    Ack
        lease    after a restart, of elsewhere   Nak
        lease    after a restart, the bridge's   Nak
        lease    renewing its address            Ack
        lease    renewing one of elsewhere       Nak
        lease    saying nothing                  -
    "]]
    .assert_eq(&table);
}

#[test]
fn another_guests_lease_is_refused_to_all() {
    let mut server = Server::new(Scope::example());
    let ip = lease(&mut server, MAC);
    for current in [UNSET, ip] {
        let options = vec![DhcpOption::RequestedIpAddress(ip)];
        let outcome = ask(&mut server, &message(OTHER, MessageType::Request, current, options));
        assert_eq!(kind(&outcome), Some(MessageType::Nak));
        let reply = outcome.reply.unwrap();
        assert_eq!((reply.to_mac, reply.to_ip), (BROADCAST, Ipv4Addr::BROADCAST));
    }
    let same_id = vec![DhcpOption::ClientIdentifier(vec![9])];
    let offer = ask(&mut server, &message(OTHER, MessageType::Discover, UNSET, same_id));
    assert_ne!(read(&offer.reply.unwrap()).yiaddr(), ip, "whatever it calls itself");
}

#[test]
fn a_decline_or_a_release_counts_only_from_the_holder() {
    let mut server = Server::new(Scope::example());
    let ip = lease(&mut server, MAC);
    let decline = |mac| message(mac, MessageType::Decline, UNSET, vec![DhcpOption::RequestedIpAddress(ip)]);
    assert_eq!(ask(&mut server, &decline(OTHER)), Outcome::default());
    assert_eq!(ask(&mut server, &message(OTHER, MessageType::Release, ip, vec![])), Outcome::default());
    assert!(matches!(
        ask(&mut server, &message(MAC, MessageType::Release, ip, vec![])).change,
        Some(Change::Ended(..))
    ));
    let ip = lease(&mut server, MAC);
    let decline = message(MAC, MessageType::Decline, UNSET, vec![DhcpOption::RequestedIpAddress(ip)]);
    assert!(matches!(ask(&mut server, &decline).change, Some(Change::Ended(..))));
    assert_ne!(lease(&mut server, MAC), ip, "it rests");
}

#[test]
fn an_inform_is_answered_without_a_lease() {
    let mut server = Server::new(Scope::example());
    let current = Ipv4Addr::new(10, 0, 0, 77);
    let outcome = ask(&mut server, &message(MAC, MessageType::Inform, current, vec![]));
    let reply = outcome.reply.unwrap();
    assert_eq!((reply.to_ip, outcome.change), (current, None));
    let ack = read(&reply);
    assert_eq!(ack.yiaddr(), UNSET);
    assert!(ack.opts().get(OptionCode::AddressLeaseTime).is_none());
    assert!(ack.opts().get(OptionCode::DomainNameServer).is_some());
}

#[test]
fn names_are_checked_and_the_hosts_names_choose_a_fixed_address() {
    let mut scope = Scope::example();
    scope.hosts.push(super::super::setup::StaticHost {
        mac: None,
        name: Some("Web1".into()),
        ip: Ipv4Addr::new(10, 0, 0, 60),
    });
    let mut server = Server::new(scope);
    let vouched = ["web1".to_owned()];
    let outcome = server.handle(&message(MAC, MessageType::Discover, UNSET, vec![]), |_| &vouched, 0);
    assert_eq!(read(&outcome.reply.unwrap()).yiaddr(), Ipv4Addr::new(10, 0, 0, 60));
    for (said, kept) in
        [("Alpha.example.org", Some("alpha")), ("a b", None), ("-x", None), ("localhost", None)]
    {
        let ip = Ipv4Addr::new(10, 0, 0, 11);
        let options = vec![DhcpOption::RequestedIpAddress(ip), DhcpOption::Hostname(said.into())];
        match ask(&mut server, &message(OTHER, MessageType::Request, UNSET, options)).change {
            Some(Change::Bound(_, held)) => assert_eq!(held.hostname.as_deref(), kept, "{said}"),
            other => panic!("{said}: {other:?}"),
        }
    }
}

#[test]
fn a_name_that_a_guest_says_chooses_no_address_unless_such_names_are_wanted() {
    let web = super::super::setup::StaticHost {
        mac: None,
        name: Some("web1".into()),
        ip: Ipv4Addr::new(10, 0, 0, 60),
    };
    let says = vec![DhcpOption::Hostname("web1".into())];
    for (guest_names, gets_it) in [(false, false), (true, true)] {
        let hosts = vec![web.clone()];
        let mut server = Server::new(Scope { hosts, guest_names, ..Scope::example() });
        let offer = ask(&mut server, &message(OTHER, MessageType::Discover, UNSET, says.clone()));
        let ip = read(&offer.reply.unwrap()).yiaddr();
        assert_eq!(ip == web.ip, gets_it, "{guest_names} {ip}");
    }
}

#[test]
fn what_is_no_clients_message_is_ignored() {
    let mut server = Server::new(Scope::example());
    let good = message(MAC, MessageType::Discover, UNSET, vec![]);
    let spoilt = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let cases = [
        ("a reply", spoilt(0, 2)),
        ("not Ethernet", spoilt(1, 6)),
        ("a long hardware address", spoilt(2, 255)),
        ("relayed", spoilt(24, 10)),
        ("no cookie", spoilt(236, 0)),
        ("a group's hardware address", spoilt(28, 1)),
        ("cut short", good[..239].to_vec()),
        ("nothing", Vec::new()),
    ];
    for (name, bytes) in cases {
        assert_eq!(ask(&mut server, &bytes), Outcome::default(), "{name}");
    }
    assert!(ask(&mut server, &good).reply.is_some());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        fuzz(&bytes);
    }

    #[test]
    fn any_options_are_survived(
        kind in 0..20_u8,
        current in any::<u32>(),
        options in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = message(MAC, MessageType::Unknown(kind), Ipv4Addr::from(current), vec![]);
        bytes.truncate(MESSAGE_MIN_BYTES);
        bytes.extend([53, 1, kind]);
        bytes.extend(options);
        fuzz(&bytes);
    }
}
