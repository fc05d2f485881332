//! DHCP and DNS as guests see them.

use super::guest::Guest;
use super::space::{Space, in_space, until};
use super::tap::{Saying, Tap};
use lodge_network::{NetworkEvent, Networks};

const A: &str = "52:54:00:00:00:0a";
const B: &str = "52:54:00:00:00:0b";
const C: &str = "52:54:00:00:00:0c";

/// A network with two free addresses, one kept for `C`, and fixed names.
pub fn document(name: &str, bridge: &str, subnet: u8) -> String {
    format!(
        "<network><name>{name}</name><forward mode='nat'/><bridge name='{bridge}' stp='off'/>\
         <mtu size='1400'/><domain name='lab.test' localOnly='yes'/>\
         <dns><forwarder addr='127.0.0.1'/><host ip='10.9.{subnet}.200'><hostname>fixed</hostname></host></dns>\
         <ip address='10.9.{subnet}.1' netmask='255.255.255.0'><dhcp>\
         <range start='10.9.{subnet}.10' end='10.9.{subnet}.11'/>\
         <host mac='{C}' name='db' ip='10.9.{subnet}.50'/></dhcp></ip></network>"
    )
}

/// Defines and starts the network of [`document`].
pub async fn started(networks: &Networks, name: &str, bridge: &str, subnet: u8) -> lodge_model::NetworkId {
    let network = networks.define(&document(name, bridge, subnet)).await.unwrap();
    networks.start(network.id).await.unwrap();
    network.id
}

#[test]
fn guests_get_addresses_and_find_each_other() {
    in_space(|space| async move {
        let networks = space.open().await;
        let id = started(&networks, "lab", "lt0", 1).await;
        let (a, b, c) = (Guest::on("lt0", A), Guest::on("lt0", B), Guest::on("lt0", C));
        let given = a.ask(&["-x", "hostname:alpha"]).unwrap();
        assert!(["10.9.1.10", "10.9.1.11"].contains(&given.ip.as_str()), "{given:?}");
        assert_eq!(
            (given.mask.as_str(), given.router.as_str(), given.dns.as_str()),
            ("24", "10.9.1.1", "10.9.1.1")
        );
        assert_eq!(
            (given.domain.as_str(), given.lease.as_str(), given.mtu.as_str()),
            ("lab.test", "3600", "1400")
        );
        let other = b.ask(&["-x", "hostname:beta"]).unwrap();
        assert_ne!(given.ip, other.ip);
        let fixed = c.ask(&[]).unwrap();
        assert_eq!((fixed.ip.as_str(), fixed.hostname.as_str()), ("10.9.1.50", "db"));

        let server = "@10.9.1.1";
        assert_eq!(b.dig(&[server, "alpha"]), given.ip);
        assert_eq!(a.dig(&[server, "beta.lab.test"]), other.ip);
        assert_eq!(a.dig(&[server, "+tcp", "db.lab.test"]), "10.9.1.50");
        assert_eq!(a.dig(&[server, "fixed"]), "10.9.1.200");
        assert_eq!(a.dig(&[server, "-x", &other.ip]), "beta.lab.test.");
        assert_eq!(a.dig_status(&[server, "nobody.lab.test"]), "NXDOMAIN");
        assert_eq!(a.dig_status(&[server, "-x", "10.9.1.99"]), "NXDOMAIN");
        assert_eq!(a.dig(&[server, "AAAA", "beta"]), "");
        assert_eq!(a.dig_status(&[server, "AAAA", "beta"]), "NOERROR");
        assert!(a.reaches(&other.ip));

        assert_eq!(networks.resolve("alpha").await, [given.ip.parse::<std::net::IpAddr>().unwrap()]);
        let leases = networks.leases(id).await.unwrap();
        let mut seen: Vec<(String, Option<&str>)> =
            leases.iter().map(|lease| (lease.ip.to_string(), lease.hostname.as_deref())).collect();
        seen.sort();
        let mut expected =
            [(given.ip, Some("alpha")), (other.ip, Some("beta")), ("10.9.1.50".to_owned(), None)];
        expected.sort();
        assert_eq!(seen, expected);
        assert_eq!(networks.addresses(A.parse().unwrap()).await.len(), 1);
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn the_hosts_name_for_a_guest_wins() {
    in_space(|space| async move {
        let networks = space.open().await;
        let id = started(&networks, "lab", "lt0", 1).await;
        let request = lodge_network::AttachRequest {
            network: "lab".into(),
            domain: lodge_model::DomainId::random(),
            domain_name: "rhel8.0".into(),
            hostnames: vec!["test-system".into()],
            mac: A.parse().unwrap(),
            target: None,
            mtu: None,
            queues: 1,
            isolated: None,
            options: lodge_network::CardOptions::default(),
        };
        let id_of_guest = request.domain.to_string();
        let attached = networks.attach(request).await.unwrap();
        assert_eq!((attached.ifname.as_str(), attached.bridge.as_str()), ("vnet0", "lt0"));
        let ifname = attached.ifname.clone();
        let (a, thief) = (Tap::new(attached, A), Guest::on("lt0", B));
        let stolen = thief.ask(&["-x", "hostname:test-system"]).unwrap();
        let given = a.lease(&Saying::as_itself(A)).unwrap().to_string();
        for name in ["test-system", "rhel8.0", "rhel8-0.lab.test", &id_of_guest] {
            assert_eq!(thief.dig(&["@10.9.1.1", name]), given, "{name}");
        }
        assert_ne!(stolen.ip, given);
        assert_eq!(networks.get("lab").unwrap().nics.len(), 1);
        networks.detach(&ifname).await.unwrap();
        assert!(networks.get("lab").unwrap().nics.is_empty());
        assert_eq!(thief.dig_status(&["@10.9.1.1", "rhel8-0.lab.test"]), "NXDOMAIN");
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn an_address_is_given_again_only_when_it_is_free() {
    in_space(|space| async move {
        let networks = space.open().await;
        let id = started(&networks, "lab", "lt0", 1).await;
        let mut events = networks.subscribe();
        let (a, b, late) = (Guest::on("lt0", A), Guest::on("lt0", B), Guest::on("lt0", "52:54:00:00:00:0d"));
        let first = a.ask(&[]).unwrap();
        b.ask(&[]).unwrap();
        // Not on this thread, which meanwhile hears netd's events.
        let asked = tokio::task::spawn_blocking(move || (late.ask(&[]), late));
        let (none, late) = asked.await.unwrap();
        assert_eq!(none, None, "both addresses are taken");
        let told = async {
            loop {
                if let (_, _, NetworkEvent::Exhausted { mac }) = events.recv().await.unwrap() {
                    return mac;
                }
            }
        };
        assert_eq!(tokio::time::timeout(super::space::DEADLINE, told).await.unwrap(), "52:54:00:00:00:0d");
        assert_eq!(a.ask_and_release(), first.ip, "the same guest keeps its address");
        assert_eq!(late.ask(&[]).unwrap().ip, first.ip, "released, so another guest may have it");
        assert_eq!(a.ask(&["-r", &first.ip]), None, "and its first holder may not");
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn names_outside_are_asked_of_the_forwarder() {
    in_space(|space| async move {
        // A server outside: answers every question with 203.0.113.7, by datagram.
        let outside = std::net::UdpSocket::bind("127.0.0.1:53").unwrap();
        outside.set_read_timeout(Some(super::space::DEADLINE)).unwrap();
        let server = std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            let mut asked = 0;
            while let Ok((length, client)) = outside.recv_from(&mut buffer) {
                if &buffer[..length] == b"end" {
                    break;
                }
                asked += 1;
                outside.send_to(&answered(&buffer[..length]), client).unwrap();
            }
            asked
        });
        let networks = space.open().await;
        let id = started(&networks, "lab", "lt0", 1).await;
        let a = Guest::on("lt0", A);
        a.ask(&[]).unwrap();
        for _ in 0..3 {
            assert_eq!(a.dig(&["@10.9.1.1", "+noedns", "www.example.org"]), "203.0.113.7");
        }
        assert_eq!(a.dig_status(&["@10.9.1.1", "other.lab.test"]), "NXDOMAIN");
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"end", "127.0.0.1:53").unwrap();
        assert_eq!(server.join().unwrap(), 1, "asked once, then remembered; our own domain never");
        networks.stop(id).await.unwrap();
    });
}

/// The query as an answer with one address that lives for a minute.
fn answered(query: &[u8]) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    answer[6..8].copy_from_slice(&[0, 1]);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 7]);
    answer
}

#[test]
fn netd_has_no_privileges() {
    in_space(|space| async move {
        let networks = space.open().await;
        let id = started(&networks, "lab", "lt0", 1).await;
        let [pid] = space.netds().try_into().unwrap();
        let pid: u32 = pid;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        assert!(!field("Uid:").split_whitespace().any(|uid| uid == "0"), "{}", field("Uid:"));
        assert_eq!(field("Groups:"), "");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        assert_eq!((field("NoNewPrivs:").as_str(), field("Seccomp:").as_str()), ("1", "2"));
        assert_eq!(std::fs::read_dir(format!("/proc/{pid}/root/")).unwrap().count(), 0, "its root is empty");
        networks.stop(id).await.unwrap();
        until("netd gone", async || space.netds().is_empty().then_some(())).await;
    });
}

/// Used by other files: a guest with a lease on a fresh network.
pub async fn one_guest(space: &Space) -> (Networks, lodge_model::NetworkId, Guest, String) {
    let networks = space.open().await;
    let id = started(&networks, "lab", "lt0", 1).await;
    let guest = Guest::on("lt0", A);
    let ip = guest.ask(&["-x", "hostname:alpha"]).unwrap().ip;
    (networks, id, guest, ip)
}
