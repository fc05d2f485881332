//! Guests with network filters: what they send and receive with real cards on a real bridge.

use lodge_model::DomainId;
use lodge_model::nwfilter::{Parameters, Reference};
use lodge_network::{AttachRequest, CardOptions, FilterError, NetworkError, NetworkFilters, Networks};

use super::serve::started;
use super::space::{Space, in_space, run, until};
use super::tap::{Saying, Tap};

const A: &str = "52:54:00:00:00:0a";
const B: &str = "52:54:00:00:00:0b";
const A_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0x0a];
const B_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0x0b];
const OTHER_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0x0c];
/// An address that nobody is given.
const OWN: [u8; 4] = [10, 9, 1, 77];

async fn open(space: &Space) -> (Networks, NetworkFilters) {
    let config = space.config();
    let filters = config.filters.clone();
    (Networks::open(config).await.unwrap(), filters)
}

fn request(mac: &str, filter: Option<(&str, &[(&str, &str)])>) -> AttachRequest {
    let filter = filter.map(|(name, known)| {
        let known = known.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]));
        Reference { filter: name.to_owned(), parameters: Parameters(known.collect()) }
    });
    AttachRequest {
        network: "lab".into(),
        domain: DomainId::random(),
        domain_name: format!("guest-{}", &mac[15..]),
        hostnames: Vec::new(),
        mac: mac.parse().unwrap(),
        target: None,
        mtu: None,
        queues: 1,
        isolated: None,
        options: CardOptions { filter, ..CardOptions::default() },
    }
}

async fn plug(networks: &Networks, mac: &str, filter: Option<(&str, &[(&str, &str)])>) -> Tap {
    Tap::new(networks.attach(request(mac, filter)).await.unwrap(), mac)
}

/// A frame to all.
fn frame(from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&[0xff; 6][..], &from, &kind.to_be_bytes(), payload].concat()
}

/// Who has an address; `asker`: whom it says that it is.
fn arp(from: [u8; 6], asker: ([u8; 6], [u8; 4])) -> Vec<u8> {
    let payload = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &asker.0, &asker.1, &[0; 6], &[10, 9, 1, 1]].concat();
    frame(from, 0x0806, &payload)
}

/// A packet of this protocol from `source` to this port.
fn ipv4(from: [u8; 6], source: [u8; 4], protocol: u8, port: u16) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 40, 0, 9, 0, 0, 64, protocol, 0, 0];
    header.extend(source);
    header.extend([10, 9, 1, 200]);
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header.extend(9_999_u16.to_be_bytes());
    header.extend(port.to_be_bytes());
    header.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0]);
    frame(from, 0x0800, &header)
}

fn ipv6(from: [u8; 6]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, 59, 64];
    header.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    header.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    frame(from, 0x86dd, &header)
}

/// Whether each frame gets from one guest to the other; `last` does, so that what has not come before it never will.
fn passed(from: &Tap, to: &Tap, frames: &[Vec<u8>], last: &[u8]) -> Vec<bool> {
    for frame in frames {
        from.send(frame);
    }
    from.send(last);
    let heard = to.frames_until(last);
    frames.iter().map(|frame| heard.contains(frame)).collect()
}

#[test]
fn clean_traffic_stops_what_is_not_from_the_guests_own_addresses() {
    in_space(|space| async move {
        let (networks, filters) = open(&space).await;
        let id = started(&networks, "lab", "lt0", 1).await;
        let own = "10.9.1.77";
        let a = plug(&networks, A, Some(("clean-traffic", &[("IP", own)]))).await;
        let b = plug(&networks, B, None).await;
        let honest = arp(A_MAC, (A_MAC, OWN));
        let sent = [
            arp(A_MAC, (A_MAC, [10, 9, 1, 1])),
            arp(A_MAC, (OTHER_MAC, OWN)),
            arp(OTHER_MAC, (OTHER_MAC, OWN)),
            ipv4(A_MAC, [10, 9, 1, 78], 6, 80),
            ipv4(OTHER_MAC, OWN, 6, 80),
            ipv6(A_MAC),
            frame(A_MAC, 0x88b5, &[1]),
            ipv4(A_MAC, OWN, 6, 80),
            frame(A_MAC, 0x0835, &[1]),
        ];
        let wanted = [false, false, false, false, false, false, false, true, true];
        assert_eq!(passed(&a, &b, &sent, &honest), wanted);
        let received = [ipv6(B_MAC), frame(B_MAC, 0x88b5, &[1]), ipv4(B_MAC, [10, 9, 1, 5], 17, 9)];
        let last = arp(B_MAC, (B_MAC, [10, 9, 1, 5]));
        assert_eq!(passed(&b, &a, &received, &last), [false, false, true]);

        let binding = filters.binding(&a.ifname).unwrap();
        assert_eq!((binding.filter.filter.as_str(), binding.mac.to_string().as_str()), ("clean-traffic", A));
        let used = filters.by_name("no-mac-spoofing").unwrap();
        assert!(matches!(filters.undefine(used.uuid).await, Err(FilterError::InUse)));
        networks.detach(&a.ifname).await.unwrap();
        assert!(filters.bindings().is_empty());
        assert!(!run("nft", &["list", "tables"]).contains("lodge_filter"));
        filters.undefine(used.uuid).await.unwrap();
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn a_filter_that_changes_changes_its_cards_and_refuses_what_they_cannot_have() {
    in_space(|space| async move {
        let (networks, filters) = open(&space).await;
        let id = started(&networks, "lab", "lt0", 1).await;
        let uuid = "e4b9f0b0-5f43-4b6e-9f1b-0d4f4b7e0001";
        let closed = |port: u16, more: &str| {
            format!(
                "<filter name='ports'><uuid>{uuid}</uuid><rule action='drop' direction='in'>\
                 <tcp dstportstart='{port}'/></rule>{more}</filter>"
            )
        };
        filters.define(&closed(22, ""), true).await.unwrap();
        filters.define("<filter name='outer'><filterref filter='ports'/></filter>", true).await.unwrap();
        let a = plug(&networks, A, Some(("outer", &[]))).await;
        let b = plug(&networks, B, None).await;
        let source = [10, 9, 1, 5];
        let sent = [ipv4(B_MAC, source, 6, 22), ipv4(B_MAC, source, 6, 23), ipv4(B_MAC, source, 17, 22)];
        let last = arp(B_MAC, (B_MAC, source));
        assert_eq!(passed(&b, &a, &sent, &last), [false, true, true]);
        filters.define(&closed(23, ""), true).await.unwrap();
        assert_eq!(passed(&b, &a, &sent, &last), [true, false, true]);
        let back: Vec<_> = [22, 23].map(|port| ipv4(A_MAC, OWN, 6, port)).into();
        assert_eq!(passed(&a, &b, &back, &arp(A_MAC, (A_MAC, OWN))), [true, true]);

        // What its card cannot have leaves everything as it was.
        let unknown = "<rule action='drop' direction='in'><mac srcmacaddr='$NOBODY'/></rule>";
        let refused = filters.define(&closed(22, unknown), true).await.unwrap_err();
        assert!(refused.to_string().ends_with("list elements: NOBODY"), "{refused}");
        assert_eq!(passed(&b, &a, &sent, &last), [true, false, true]);
        assert!(!filters.by_name("ports").unwrap().document.to_xml().contains("NOBODY"));

        // Somebody takes all rules away; they come back, also with a new daemon.
        run("nft", &["flush", "ruleset"]);
        assert_eq!(passed(&b, &a, &sent, &last), [true, true, true]);
        networks.reconcile().await.unwrap();
        assert_eq!(passed(&b, &a, &sent, &last), [true, false, true]);
        let table = format!("lodge_filter_{}", space.root.tag());
        let chain = format!("{}-in.packets", a.ifname);
        run("nft", &["add", "rule", "bridge", &table, &chain, "drop"]);
        networks.reconcile().await.unwrap();
        assert_eq!(passed(&b, &a, &sent, &last), [true, false, true]);
        drop((networks, filters));
        assert_eq!(passed(&b, &a, &sent, &last), [true, false, true]);
        run("nft", &["flush", "ruleset"]);
        let (networks, filters) = open(&space).await;
        assert_eq!(passed(&b, &a, &sent, &last), [true, false, true]);
        assert_eq!(filters.bindings().len(), 1);
        filters.unbind(&a.ifname).await.unwrap();
        assert_eq!(passed(&b, &a, &sent, &last), [true, true, true]);
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn an_address_is_learned_of_its_lease_and_forgotten_with_it() {
    in_space(|space| async move {
        let (networks, filters) = open(&space).await;
        let id = started(&networks, "lab", "lt0", 1).await;
        let a = plug(&networks, A, Some(("clean-traffic", &[]))).await;
        let b = plug(&networks, B, None).await;
        let table = format!("lodge_filter_{}", space.root.tag());
        let rules = || run("nft", &["list", "table", "bridge", &table]);
        assert!(rules().contains("dport 67") && !rules().contains("arp saddr ip"), "{}", rules());
        let ip = a.lease(&Saying::as_itself(A)).expect("DHCP is all that it may do");
        until("the lease to be known", async || {
            rules().contains(&format!("arp saddr ip {ip}")).then_some(())
        })
        .await;
        let honest = arp(A_MAC, (A_MAC, ip.octets()));
        let sent = [arp(A_MAC, (A_MAC, OWN)), ipv4(A_MAC, OWN, 6, 80), ipv4(A_MAC, ip.octets(), 6, 80)];
        assert_eq!(passed(&a, &b, &sent, &honest), [false, false, true]);
        // A new daemon knows it still.
        drop((networks, filters));
        let (networks, _filters) = open(&space).await;
        assert_eq!(passed(&a, &b, &sent, &honest), [false, false, true]);
        // And so does the card when the guest comes again.
        networks.detach(&a.ifname).await.unwrap();
        let a = plug(&networks, A, Some(("clean-traffic", &[]))).await;
        assert_eq!(passed(&a, &b, &sent, &honest), [false, false, true]);
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn a_filter_that_cannot_be_keeps_its_card_away() {
    in_space(|space| async move {
        let (networks, filters) = open(&space).await;
        let id = started(&networks, "lab", "lt0", 1).await;
        let links = run("ip", &["-br", "link"]);
        for (name, known, why) in [
            ("nonesuch", &[][..], "referenced filter 'nonesuch' is missing"),
            ("clean-traffic", &[("CTRL_IP_LEARNING", "none")], "list elements: IP"),
            ("clean-traffic", &[("IP", "nonsense")], "cannot be that of srcipaddr"),
        ] {
            let error = networks.attach(request(A, Some((name, known)))).await.unwrap_err();
            assert!(
                matches!(&error, NetworkError::Filter(error) if error.to_string().contains(why)),
                "{error}"
            );
        }
        // Connections are counted on bridges only by kernels that have nf_conntrack_bridge.
        let stateful = "<filter name='ssh'><rule action='accept' direction='in'><tcp dstportstart='22'/></rule></filter>";
        filters.define(stateful, true).await.unwrap();
        match networks.attach(request(A, Some(("ssh", &[])))).await {
            Ok(attached) => networks.detach(&attached.ifname).await.unwrap(),
            Err(error) => assert!(error.to_string().contains("<tcp> of <rule action='accept'"), "{error}"),
        }
        assert!(filters.bindings().is_empty());
        assert_eq!(run("ip", &["-br", "link"]), links);
        assert!(!run("nft", &["list", "tables"]).contains("lodge_filter"));
        networks.stop(id).await.unwrap();
    });
}
