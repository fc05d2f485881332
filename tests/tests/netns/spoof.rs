//! Guests that say they are another: by its client id, its host name, its hardware address. They get nothing of its.

use std::net::{IpAddr, Ipv4Addr};

use lodge_model::{DomainId, MacAddr, NetworkId};
use lodge_network::{AttachRequest, Networks, NetworksConfig};

use super::serve::started;
use super::space::{Space, in_space, run};
use super::tap::{DISCOVER, RELEASE, REQUEST, Saying, Tap, in_pieces, message};

const A: &str = "52:54:00:00:00:0a";
const B: &str = "52:54:00:00:00:0b";
const NESTED: &str = "52:54:00:00:00:0e";

/// A host as it is by itself, with two guests plugged in.
async fn two_guests(space: &Space) -> (Networks, NetworkId, Tap, Tap) {
    let config = NetworksConfig { guest_names: false, ..space.config() };
    let networks = Networks::open(config).await.unwrap();
    let id = started(&networks, "lab", "lt0", 1).await;
    let a = plug(&networks, "web1", A).await;
    let b = plug(&networks, "thief", B).await;
    (networks, id, a, b)
}

async fn plug(networks: &Networks, name: &str, mac: &str) -> Tap {
    let request = AttachRequest {
        network: "lab".into(),
        domain: DomainId::random(),
        domain_name: name.into(),
        hostnames: Vec::new(),
        mac: mac.parse().unwrap(),
        target: None,
        mtu: None,
        queues: 1,
        isolated: None,
        options: lodge_network::CardOptions::default(),
    };
    Tap::new(networks.attach(request).await.unwrap(), mac)
}

async fn leases(networks: &Networks, id: NetworkId) -> Vec<(MacAddr, Ipv4Addr)> {
    let leases = networks.leases(id).await.unwrap();
    let mut pairs: Vec<_> = leases.into_iter().map(|lease| (lease.mac, lease.ip)).collect();
    pairs.sort();
    pairs
}

async fn resolved(networks: &Networks, name: &str) -> Vec<IpAddr> {
    networks.resolve(name).await
}

#[test]
fn two_clones_with_one_client_id_get_two_addresses() {
    in_space(|space| async move {
        let (networks, id, a, b) = two_guests(&space).await;
        // RFC 4361: a DUID made of a machine id that both have.
        let client_id = Some([&[255, 0, 0, 0, 1, 0, 2, 0, 0, 0xab, 0x11][..], &[7; 8]].concat());
        let say = |mac| Saying { client_id: client_id.clone(), ..Saying::as_itself(mac) };
        let (one, other) = (a.lease(&say(A)).unwrap(), b.lease(&say(B)).unwrap());
        assert_ne!(one, other);
        assert_eq!(leases(&networks, id).await, [(a.mac(), one), (b.mac(), other)]);
        // And again: each keeps its own.
        assert_eq!((a.lease(&say(A)), b.lease(&say(B))), (Some(one), Some(other)));
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn a_name_that_a_guest_says_is_nobodys() {
    in_space(|space| async move {
        let (networks, id, a, b) = two_guests(&space).await;
        let says = |name: &str| Saying { name: Some(name.to_owned()), ..Saying::as_itself(B) };
        let thief = b.lease(&says("web1")).unwrap();
        assert_eq!(resolved(&networks, "web1").await, Vec::<IpAddr>::new(), "it has no address yet");
        let ip = a.lease(&Saying::as_itself(A)).unwrap();
        assert_eq!(resolved(&networks, "web1").await, [IpAddr::from(ip)]);
        assert_eq!(resolved(&networks, "thief").await, [IpAddr::from(thief)]);
        // While it is off, nobody answers to its name.
        networks.detach(&a.ifname).await.unwrap();
        assert_eq!(b.lease(&says("web1")), Some(thief));
        assert_eq!(resolved(&networks, "web1").await, Vec::<IpAddr>::new());
        assert_eq!(b.lease(&says("www")), Some(thief));
        assert_eq!(resolved(&networks, "www").await, Vec::<IpAddr>::new());
        // An address reserved by a name is its holder's.
        assert_eq!(b.lease(&says("db")), Some(thief));
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn anothers_hardware_address_gets_and_ends_nothing() {
    in_space(|space| async move {
        let (networks, id, a, b) = two_guests(&space).await;
        let ip = a.lease(&Saying::as_itself(A)).unwrap();
        let before = leases(&networks, id).await;
        assert_eq!(before, [(a.mac(), ip)]);
        let none = Ipv4Addr::UNSPECIFIED;
        // With its own address on the frame, or with the other's there too.
        for frame in [b.mac(), a.mac()] {
            let saying = Saying { frame, name: Some("mine".into()), ..Saying::as_itself(A) };
            assert!(!b.is_answered(&message(&saying, DISCOVER, none, None), a.mac()));
            assert!(!b.is_answered(&message(&saying, REQUEST, none, Some(ip)), a.mac()));
            let release = message(&saying, RELEASE, ip, None);
            assert!(!b.is_answered(&release, a.mac()));
            for piece in in_pieces(&release) {
                b.send(&piece);
            }
        }
        // Whatever came, came before this.
        let own = b.lease(&Saying::as_itself(B)).unwrap();
        assert_eq!(leases(&networks, id).await, [(a.mac(), ip), (b.mac(), own)]);
        let seen = networks.leases(id).await.unwrap().into_iter().find(|lease| lease.mac == a.mac());
        assert_eq!(seen.and_then(|lease| lease.hostname).as_deref(), Some("web1"));
        // The bridge still looks for it at its own port.
        let learnt = run("bridge", &["fdb", "show", "br", "lt0"]);
        let of_a: Vec<&str> = learnt.lines().filter(|line| line.starts_with(A)).collect();
        assert!(of_a.iter().all(|line| line.contains(&format!("dev {}", a.ifname))), "{learnt}");
        // It can still end its lease itself: the guard is not what kept it.
        a.send(&message(&Saying::as_itself(A), RELEASE, ip, None));
        assert_eq!(b.lease(&Saying::as_itself(B)), Some(own));
        assert_eq!(leases(&networks, id).await, [(b.mac(), own)]);
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn a_guest_may_bridge_guests_of_its_own_and_the_guard_goes_with_the_last() {
    in_space(|space| async move {
        let (networks, id, a, b) = two_guests(&space).await;
        let nested = b.lease(&Saying::as_itself(NESTED)).unwrap();
        assert_eq!(leases(&networks, id).await, [(NESTED.parse().unwrap(), nested)]);
        let table = format!("lodge_{}", space.root.tag());
        assert!(run("nft", &["list", "tables"]).contains(&format!("table bridge {table}")));
        for tap in [&a, &b] {
            networks.detach(&tap.ifname).await.unwrap();
        }
        assert!(!run("nft", &["list", "tables"]).contains(&format!("table bridge {table}")));
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn the_guard_comes_back_when_somebody_takes_it_away_and_with_a_new_daemon() {
    in_space(|space| async move {
        let (networks, id, a, b) = two_guests(&space).await;
        let ip = a.lease(&Saying::as_itself(A)).unwrap();
        let steal = Saying { frame: b.mac(), ..Saying::as_itself(A) };
        let release = message(&steal, RELEASE, ip, None);
        let table = format!("lodge_{}", space.root.tag());
        run("nft", &["delete", "table", "bridge", &table]);
        networks.reconcile().await.unwrap();
        b.send(&release);
        let own = b.lease(&Saying::as_itself(B)).unwrap();
        assert_eq!(leases(&networks, id).await, [(a.mac(), ip), (b.mac(), own)]);
        drop(networks);
        run("nft", &["delete", "table", "bridge", &table]);
        let networks = space.open().await;
        b.send(&release);
        assert_eq!(b.lease(&Saying::as_itself(B)), Some(own));
        assert_eq!(leases(&networks, id).await, [(a.mac(), ip), (b.mac(), own)]);
        networks.stop(id).await.unwrap();
    });
}
