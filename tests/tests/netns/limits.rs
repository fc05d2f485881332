//! Limits on what guests send and receive, and floors that are kept free for them.

use lodge_model::domain::interface::{Bandwidth, Rate};
use lodge_model::{DomainId, Kind};
use lodge_network::{AttachRequest, CardEnd, CardOptions, CardRequest, DirectMode, Networks, Scripts};

use super::{
    options::{bridged, request},
    space::{in_space, run},
};

fn rate(average: u64, peak: Option<u64>, burst: Option<u64>) -> Rate {
    Rate { average_kib_s: Some(average), peak_kib_s: peak, burst_kib: burst, ..Rate::default() }
}

fn limited(inbound: Option<Rate>, outbound: Option<Rate>) -> CardOptions {
    let bandwidth = Bandwidth { inbound, outbound, ..Bandwidth::default() };
    CardOptions { bandwidth: Some(bandwidth), ..CardOptions::default() }
}

fn class(ifname: &str, class: &str) -> String {
    let shown = run("tc", &["class", "show", "dev", ifname]);
    let found = shown.lines().find(|line| line.starts_with(&format!("class htb {class} ")));
    found.unwrap_or_default().to_owned()
}

pub fn card(mac: &str, floor: u64) -> AttachRequest {
    let inbound = Rate { floor_kib_s: Some(floor), ..Rate::default() };
    AttachRequest {
        network: "lab".into(),
        domain: DomainId::random(),
        domain_name: "vm".into(),
        hostnames: Vec::new(),
        mac: mac.parse().unwrap(),
        target: None,
        mtu: None,
        queues: 1,
        isolated: None,
        options: limited(Some(inbound), None),
    }
}

#[test]
fn what_a_guest_receives_is_limited_by_the_kernel_whatever_becomes_of_the_daemon() {
    in_space(|space| async move {
        run("ip", &["link", "add", "br9", "address", "02:00:00:00:00:09", "type", "bridge"]);
        run("ip", &["link", "add", "near0", "type", "veth", "peer", "name", "far0"]);
        let networks = space.open().await;
        let before = space.trace();
        let domain = DomainId::random();
        let inbound = limited(Some(rate(1000, Some(5000), Some(1024))), None);
        let tap = networks.plug(request(domain, bridged("br9"), inbound)).await.unwrap();
        // As `tc` shows 1000, 5000 (by eight) and 1024 KiB.
        assert!(
            class(&tap.ifname, "1:1").contains("rate 8Mbit ceil 40Mbit burst 1Mb"),
            "{}",
            class(&tap.ifname, "1:1")
        );

        // A macvtap is the guest's own side: what the guest sends, it sends.
        let direct = || CardEnd::Direct { dev: "near0".into(), mode: DirectMode::Bridge };
        let outbound = limited(None, Some(rate(128, None, None)));
        let macvtap = networks.plug(request(domain, direct(), outbound)).await.unwrap();
        assert!(class(&macvtap.ifname, "1:1").contains("rate 1024Kbit ceil 1024Kbit"));

        // `virsh domiftune`.
        let slower = Bandwidth { inbound: Some(rate(500, None, None)), ..Bandwidth::default() };
        networks.limit(&tap.ifname, &slower).await.unwrap();
        assert!(class(&tap.ifname, "1:1").contains("rate 4Mbit ceil 4Mbit"), "{}", class(&tap.ifname, "1:1"));
        networks.limit(&tap.ifname, &Bandwidth::default()).await.unwrap();
        assert_eq!(class(&tap.ifname, "1:1"), "");
        networks.limit(&tap.ifname, &slower).await.unwrap();

        // The daemon ends; QEMU, which has the descriptors, does not.
        drop(networks);
        tokio::task::yield_now().await;
        let networks = space.open().await;
        assert!(
            class(&tap.ifname, "1:1").contains("4Mbit") && class(&macvtap.ifname, "1:1").contains("1024Kbit")
        );
        drop((tap, macvtap));
        networks.unplug(domain).await.unwrap();
        run("ip", &["link", "set", "near0", "down"]);
        assert_eq!(space.trace(), before);

        // Somebody else's interface is not ours to limit.
        run("ip", &["tuntap", "add", "made0", "mode", "tap"]);
        let made = CardEnd::Made { scripts: Scripts::default() };
        let made = CardRequest {
            target: Some("made0".into()),
            ..request(domain, made, limited(Some(rate(1, None, None)), None))
        };
        let refused = networks.plug(made).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unsupported, "{refused}");
    });
}

/// Needs a kernel that drops by a rate; one that does not says so, and nothing of the card stays.
#[test]
fn what_a_guest_sends_too_fast_is_dropped_or_the_start_is_refused() {
    in_space(|space| async move {
        run("ip", &["link", "add", "br9", "address", "02:00:00:00:00:09", "type", "bridge"]);
        run("ip", &["link", "add", "near0", "type", "veth", "peer", "name", "far0"]);
        let networks = space.open().await;
        run("ip", &["link", "set", "near0", "up"]);
        let before = space.trace();
        let direct = CardEnd::Direct { dev: "near0".into(), mode: DirectMode::Bridge };
        let ends = [
            (bridged("br9"), limited(None, Some(rate(128, None, None)))),
            (direct, limited(Some(rate(128, None, None)), None)),
        ];
        for (end, options) in ends {
            let domain = DomainId::random();
            match networks.plug(request(domain, end, options)).await {
                Ok(card) => {
                    let filters = run("tc", &["filter", "show", "dev", &card.ifname, "parent", "ffff:"]);
                    assert!(filters.contains("police") && filters.contains("rate 1024Kbit"), "{filters}");
                    drop(card);
                    networks.unplug(domain).await.unwrap();
                }
                Err(error) => {
                    assert!(error.to_string().starts_with("cannot limit what goes over `"), "{error}");
                    assert!(error.hint().unwrap().contains("act_police"));
                }
            }
            assert_eq!(space.trace(), before);
        }
    });
}

#[test]
fn a_network_keeps_a_floor_free_for_each_guest_that_has_one() {
    in_space(|space| async move {
        let networks = space.open().await;
        let before = space.trace();
        let document = "<network><name>lab</name><bridge name='lt0' stp='off'/>\
                        <bandwidth><inbound average='1000' peak='2000'/></bandwidth></network>";
        let id = networks.define(document).await.unwrap().id;
        assert!(networks.start(id).await.unwrap().notes.is_empty(), "it has its effect");
        assert!(class("lt0", "1:1").contains("rate 8Mbit ceil 16Mbit"), "{}", class("lt0", "1:1"));
        assert!(class("lt0", "1:2").contains("rate 8Mbit ceil 16Mbit"));
        let (one, two) = (card("52:54:00:00:00:01", 200), card("52:54:00:00:00:02", 300));
        let first = networks.attach(one.clone()).await.unwrap();
        let second = networks.attach(two).await.unwrap();
        assert!(class("lt0", "1:2").contains("rate 4Mbit"), "{}", class("lt0", "1:2"));
        assert!(class("lt0", "1:3").contains("rate 1600Kbit ceil 16Mbit"));
        assert!(class("lt0", "1:4").contains("rate 2400Kbit ceil 16Mbit"));
        let filters = run("tc", &["filter", "show", "dev", "lt0"]);
        assert!(filters.contains("flowid 1:3") && filters.contains("00000002/ffffffff"), "{filters}");

        let much = networks.attach(card("52:54:00:00:00:03", 1501)).await.unwrap_err();
        assert_eq!(much.kind(), Kind::Conflict);
        assert!(much.to_string().contains("combined inbound floor=2001 would overcommit 2000"), "{much}");
        assert_eq!(networks.get("lab").unwrap().nics.len(), 2);

        // A floor may change while the guest runs, as far as there is room.
        let floor = |kib_s| Bandwidth {
            inbound: Some(Rate { floor_kib_s: Some(kib_s), ..Rate::default() }),
            ..Bandwidth::default()
        };
        assert_eq!(networks.limit(&first.ifname, &floor(1701)).await.unwrap_err().kind(), Kind::Conflict);
        networks.limit(&first.ifname, &floor(600)).await.unwrap();
        assert!(
            class("lt0", "1:3").contains("rate 4800Kbit") && class("lt0", "1:2").contains("rate 800Kbit")
        );
        networks.limit(&first.ifname, &floor(200)).await.unwrap();

        // The next daemon is told by the guests' documents, and the first guest's end gives its floor back.
        drop(networks);
        tokio::task::yield_now().await;
        let networks: Networks = space.open().await;
        networks.take_tap(&first.ifname, one).await.unwrap();
        networks.take_tap(&second.ifname, card("52:54:00:00:00:02", 300)).await.unwrap();
        networks.detach(&first.ifname).await.unwrap();
        assert!(class("lt0", "1:2").contains("rate 5600Kbit"), "{}", class("lt0", "1:2"));
        assert!(class("lt0", "1:3").contains("rate 2400Kbit") && class("lt0", "1:4").is_empty());
        networks.detach(&second.ifname).await.unwrap();
        assert!(class("lt0", "1:2").contains("rate 8Mbit") && class("lt0", "1:3").is_empty());
        drop((first, second));
        networks.stop(id).await.unwrap();
        networks.undefine(id).await.unwrap();
        assert_eq!(space.trace(), before);
    });
}

#[test]
fn what_a_bridge_knows_of_its_guests_it_knows_again_when_it_is_made_anew() {
    in_space(|space| async move {
        let networks = space.open().await;
        let before = space.trace();
        let document = "<network><name>lab</name><bridge name='lt0' stp='off'/>\
                        <bandwidth><inbound average='1000' peak='2000'/></bandwidth></network>";
        let id = networks.define(document).await.unwrap().id;
        networks.start(id).await.unwrap();
        let alone = AttachRequest { isolated: Some(true), ..card("52:54:00:00:00:01", 200) };
        let first = networks.attach(alone).await.unwrap();
        let second = networks.attach(card("52:54:00:00:00:02", 300)).await.unwrap();
        let isolated = |ifname: &str| run("ip", &["-d", "link", "show", ifname]).contains("isolated on");
        assert!(isolated(&first.ifname) && !isolated(&second.ifname));
        let floor = Bandwidth {
            inbound: Some(Rate { floor_kib_s: Some(400), ..Rate::default() }),
            ..Bandwidth::default()
        };
        networks.limit(&second.ifname, &floor).await.unwrap();
        let look = |networks: &Networks, again: &str| {
            assert_eq!(networks.get("lab").unwrap().nics.len(), 2, "{again}");
            assert!(class("lt0", "1:3").contains("rate 1600Kbit"), "{again}: {}", class("lt0", "1:3"));
            assert!(class("lt0", "1:4").contains("rate 3200Kbit"), "{again}: {}", class("lt0", "1:4"));
            assert!(class("lt0", "1:2").contains("rate 3200Kbit"), "{again}: {}", class("lt0", "1:2"));
            assert!(isolated(&first.ifname) && !isolated(&second.ifname), "{again}");
        };
        networks.stop(id).await.unwrap();
        networks.start(id).await.unwrap();
        look(&networks, "the network is started again");
        drop(networks);
        tokio::task::yield_now().await;
        let networks = space.open().await;
        look(&networks, "another daemon");
        let much = networks.attach(card("52:54:00:00:00:03", 1401)).await.unwrap_err();
        assert!(much.to_string().contains("combined inbound floor=2001"), "{much}");
        networks.stop(id).await.unwrap();
        networks.start(id).await.unwrap();
        look(&networks, "it starts the network again");
        drop((first, second));
        networks.stop(id).await.unwrap();
        networks.undefine(id).await.unwrap();
        assert_eq!(space.trace(), before);
    });
}

/// A network on a bridge of somebody else's: what is set there goes with the network, what others set stays.
#[test]
fn a_bridge_of_somebody_elses_is_limited_while_its_network_runs() {
    in_space(|space| async move {
        run("ip", &["link", "add", "br9", "address", "02:00:00:00:00:09", "type", "bridge"]);
        run("ip", &["link", "set", "br9", "up"]);
        let networks = space.open().await;
        let before = space.trace();
        let document = "<network><name>lab</name><forward mode='bridge'/><bridge name='br9'/>\
                        <bandwidth><inbound average='1000' peak='2000'/></bandwidth>\
                        <portgroup name='usual' default='yes'><bandwidth><inbound average='100'/></bandwidth></portgroup>\
                        <portgroup name='fast'><bandwidth><inbound average='500'/></bandwidth></portgroup></network>";
        let id = networks.define(document).await.unwrap().id;
        assert!(networks.start(id).await.unwrap().notes.is_empty(), "it has its effect");
        assert!(class("br9", "1:1").contains("rate 8Mbit ceil 16Mbit"), "{}", class("br9", "1:1"));
        let unsaid = |group: Option<&str>, mac| AttachRequest {
            options: CardOptions { port_group: group.map(str::to_owned), ..CardOptions::default() },
            ..card(mac, 1)
        };
        let usual = networks.attach(unsaid(None, "52:54:00:00:00:01")).await.unwrap();
        let fast = networks.attach(unsaid(Some("fast"), "52:54:00:00:00:02")).await.unwrap();
        let own = networks.attach(card("52:54:00:00:00:03", 200)).await.unwrap();
        assert!(class(&usual.ifname, "1:1").contains("rate 800Kbit"), "{}", class(&usual.ifname, "1:1"));
        assert!(class(&fast.ifname, "1:1").contains("rate 4Mbit"), "{}", class(&fast.ifname, "1:1"));
        assert_eq!(class(&own.ifname, "1:1"), "", "it has a word of its own");
        assert!(class("br9", "1:3").contains("rate 1600Kbit"), "{}", class("br9", "1:3"));
        let names = [usual.ifname.clone(), fast.ifname.clone(), own.ifname.clone()];
        drop((usual, fast, own));
        for name in names {
            networks.detach(&name).await.unwrap();
        }
        networks.stop(id).await.unwrap();
        assert_eq!(class("br9", "1:1"), "");
        run("tc", &["qdisc", "add", "dev", "br9", "root", "handle", "7:", "htb"]);
        let refused = networks.start(id).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
        assert!(refused.to_string().contains("`br9` has limits already"), "{refused}");
        assert!(run("tc", &["qdisc", "show", "dev", "br9"]).contains("htb 7:"), "somebody else's stay");
        run("tc", &["qdisc", "del", "dev", "br9", "root"]);
        networks.undefine(id).await.unwrap();
        assert_eq!(space.trace(), before);
    });
}
