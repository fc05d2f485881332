//! Cards that are on no network of ours: straight on an interface of the host's, on somebody's bridge, alone.

use std::io::{Read, Write};
use std::time::Instant;

use lodge_model::{DomainId, Kind, MacAddr};
use lodge_network::{CardEnd, CardOptions, CardRequest, DirectMode, PluggedCard, Scripts};

use super::space::{DEADLINE, in_space, run, until};

const A: &str = "52:54:00:00:00:0a";
const B: &str = "52:54:00:00:00:0b";
const HEADER_BYTES: usize = 10;
/// A protocol for experiments (IEEE 802).
const PROTOCOL: [u8; 2] = [0x88, 0xb5];

fn request(domain: DomainId, mac: &str, end: CardEnd) -> CardRequest {
    CardRequest {
        domain,
        domain_name: "web1".into(),
        mac: mac.parse().unwrap(),
        target: None,
        mtu: None,
        queues: 1,
        options: CardOptions::default(),
        end,
    }
}

fn direct(dev: &str, mode: DirectMode) -> CardEnd {
    CardEnd::Direct { dev: dev.into(), mode }
}

/// Two interfaces with a cable between them.
fn cable() {
    run("ip", &["link", "add", "near0", "type", "veth", "peer", "name", "far0"]);
    run("ip", &["link", "set", "far0", "up"]);
}

fn alias(ifname: &str) -> String {
    let shown = run("ip", &["-d", "link", "show", ifname]);
    shown.lines().find_map(|line| Some(line.trim().strip_prefix("alias ")?.to_owned())).unwrap_or_default()
}

/// A card's owner, in QEMU's place.
struct Owner(std::fs::File);

impl Owner {
    fn of(card: PluggedCard) -> (Self, String) {
        let PluggedCard { mut taps, ifname } = card;
        (Self(taps.remove(0).into()), ifname)
    }

    fn say(&self, to: &str, from: &str, words: &[u8]) {
        let mac = |text: &str| text.parse::<MacAddr>().unwrap().0;
        let frame = [&[0; HEADER_BYTES][..], &mac(to), &mac(from), &PROTOCOL, words].concat();
        assert_eq!((&self.0).write(&frame).unwrap(), frame.len());
    }

    /// The next frame of that protocol.
    fn hear(&self) -> Vec<u8> {
        let (end, mut frame) = (Instant::now() + DEADLINE, vec![0; 2_048]);
        loop {
            match (&self.0).read(&mut frame) {
                Ok(length) if frame[HEADER_BYTES + 12..HEADER_BYTES + 14] == PROTOCOL => {
                    return frame[HEADER_BYTES + 14..length].to_vec();
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let left = end.checked_duration_since(Instant::now()).expect("nothing was heard");
                    let wait = rustix::event::Timespec::try_from(left).unwrap();
                    let mut poll = [rustix::event::PollFd::new(&self.0, rustix::event::PollFlags::IN)];
                    rustix::event::poll(&mut poll, Some(&wait)).unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn two_guests_hear_each_other_over_their_interfaces_cable() {
    in_space(|space| async move {
        cable();
        let networks = space.open().await;
        // The kernel takes up to a second to see that the far end has no carrier.
        let is_down = || run("ip", &["-br", "link", "show", "far0"]).contains("LOWERLAYERDOWN");
        until("the far end is down", async || is_down().then_some(())).await;
        let before = space.trace();
        let (one, two) = (DomainId::random(), DomainId::random());
        let near = networks.plug(request(one, A, direct("near0", DirectMode::Vepa))).await.unwrap();
        let far = networks.plug(request(two, B, direct("far0", DirectMode::Private))).await.unwrap();
        let ((near, near_name), (far, far_name)) = (Owner::of(near), Owner::of(far));
        assert_eq!([near_name.as_str(), far_name.as_str()], ["macvtap0", "macvtap1"]);
        assert!(run("ip", &["link", "show", "near0"]).contains(",UP"), "it was down");
        near.say(B, A, b"who are you, a guest on the far side of this cable?");
        assert!(far.hear().starts_with(b"who are you"));
        far.say(A, B, b"another one, and this frame is long enough to be no runt");
        assert!(near.hear().starts_with(b"another one"));
        let sent = run("cat", &["/proc/self/net/dev"]);
        let counted = sent.lines().find_map(|line| line.trim().strip_prefix("macvtap1:")).unwrap();
        assert_ne!(
            counted.split_whitespace().next(),
            Some("0"),
            "what the guest received is received: {sent}"
        );

        // Its end is the end of its cards, and of no others.
        networks.unplug(one).await.unwrap();
        assert!(alias("macvtap1").contains(&two.to_string()));
        assert!(!run("ip", &["-br", "link"]).contains("macvtap0"));
        networks.detach("macvtap1").await.unwrap();
        run("ip", &["link", "set", "near0", "down"]);
        until("the host as before", async || (space.trace() == before).then_some(())).await;
    });
}

#[test]
fn a_macvtap_is_known_whatever_becomes_of_its_daemon() {
    in_space(|space| async move {
        cable();
        let networks = space.open().await;
        let domain = DomainId::random();
        let wish = CardRequest {
            target: Some("uplink7".into()),
            queues: 3,
            ..request(domain, A, direct("near0", DirectMode::Bridge))
        };
        let card = networks.plug(wish.clone()).await.unwrap();
        assert_eq!((card.ifname.as_str(), card.taps.len()), ("uplink7", 3));
        let taken = networks.plug(wish).await.unwrap_err();
        assert_eq!(taken.kind(), Kind::Conflict, "{taken}");
        assert!(taken.to_string().contains("domain `web1`"), "{taken}");
        // Its descriptors go with the daemon and with QEMU; it stays. And one that was not even marked.
        drop(card);
        drop(networks);
        let half = format!("lodge{}", space.root.tag());
        run("ip", &["link", "add", "link", "near0", "name", &half, "type", "macvtap", "mode", "bridge"]);
        let networks = space.open().await;
        networks.plug(request(domain, B, direct("near0", DirectMode::Bridge))).await.unwrap();
        let links = run("ip", &["-br", "link"]);
        assert!(!links.contains(&half) && links.contains("macvtap0") && links.contains("uplink7"), "{links}");
        networks.unplug(domain).await.unwrap();
        let links = run("ip", &["-br", "link"]);
        assert!(!links.contains("macvtap0") && !links.contains("uplink7"), "{links}");

        // One that libvirt made is taken over, and removed like ours; a stranger's is let alone.
        for name in ["macvtap5", "macvtap6"] {
            run("ip", &["link", "add", "link", "near0", "name", name, "type", "macvtap", "mode", "bridge"]);
        }
        networks.take_card("macvtap5", (domain, "web1"), A.parse().unwrap()).await.unwrap();
        networks.take_card("nosuch", (domain, "web1"), A.parse().unwrap()).await.unwrap();
        networks.unplug(domain).await.unwrap();
        let links = run("ip", &["-br", "link"]);
        assert!(!links.contains("macvtap5") && links.contains("macvtap6"), "{links}");
    });
}

#[test]
fn an_interface_for_one_guest_alone_bears_its_address_as_long_as_it_runs() {
    in_space(|space| async move {
        cable();
        let networks = space.open().await;
        let own = run("ip", &["link", "show", "near0"]);
        let domain = DomainId::random();
        let card = networks.plug(request(domain, A, direct("near0", DirectMode::Passthrough))).await.unwrap();
        assert!(run("ip", &["link", "show", "near0"]).contains(A));
        let second =
            networks.plug(request(domain, B, direct("near0", DirectMode::Bridge))).await.unwrap_err();
        assert!(second.to_string().starts_with("cannot create macvtap"), "{second}");
        drop(card);
        networks.unplug(domain).await.unwrap();
        let mac = |shown: &str| shown.split("link/ether ").nth(1).unwrap()[..17].to_owned();
        assert_eq!(mac(&run("ip", &["link", "show", "near0"])), mac(&own));
        let missing =
            networks.plug(request(domain, B, direct("nosuch", DirectMode::Vepa))).await.unwrap_err();
        assert_eq!(missing.to_string(), "cannot find the interface `nosuch`");
    });
}

#[test]
fn a_card_on_somebodys_bridge_or_on_none_goes_with_its_descriptors() {
    in_space(|space| async move {
        // With an address of its own it does not take its ports'.
        run("ip", &["link", "add", "br9", "address", "02:00:00:00:00:09", "type", "bridge"]);
        run("ip", &["tuntap", "add", "made0", "mode", "tap"]);
        let networks = space.open().await;
        let before = space.trace();
        let domain = DomainId::random();
        let on = |name: &str, isolated| CardEnd::Bridge { name: name.into(), isolated };
        let bridged = CardRequest { queues: 2, ..request(domain, A, on("br9", true)) };
        let bridged = networks.plug(bridged).await.unwrap();
        assert_eq!((bridged.ifname.as_str(), bridged.taps.len()), ("vnet0", 2));
        let shown = run("ip", &["-d", "link", "show", "vnet0"]);
        assert!(shown.contains("master br9") && shown.contains("isolated on"), "{shown}");
        assert!(shown.contains("fe:54:00:00:00:0a") && shown.contains(",UP"), "{shown}");
        let other = networks.plug(request(domain, B, on("br9", false))).await.unwrap();
        assert!(run("ip", &["-d", "link", "show", &other.ifname]).contains("isolated off"));

        let alone = CardEnd::Alone {
            addresses: vec![("192.0.2.1".parse().unwrap(), 24)],
            scripts: Scripts::default(),
        };
        let alone = networks.plug(request(domain, B, alone)).await.unwrap();
        assert!(run("ip", &["-br", "address", "show", &alone.ifname]).contains("192.0.2.1/24"));
        let made = CardRequest {
            target: Some("made0".into()),
            ..request(domain, B, CardEnd::Made { scripts: Scripts::default() })
        };
        let made = networks.plug(made).await.unwrap();
        assert_eq!((made.ifname.as_str(), alias("made0").as_str()), ("made0", ""), "it is not ours");

        for (end, said) in [
            (on("nosuch", false), "cannot find the bridge `nosuch`"),
            (
                on("made0", false),
                "interface `made0` is already there: it belongs to something that is no bridge",
            ),
        ] {
            let refused = networks.plug(request(domain, B, end)).await.unwrap_err();
            assert_eq!(refused.to_string(), said);
        }
        drop((bridged, other, alone, made));
        networks.unplug(domain).await.unwrap();
        assert_eq!(space.trace(), before);
        run("ip", &["link", "show", "made0"]);
    });
}
