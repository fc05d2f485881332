//! What outlives what: netd its daemon, leases their netd, and nothing its network.

use super::guest::Guest;
use super::serve::{one_guest, started};
use super::space::{in_space, run, until};
use lodge_model::Kind;
use lodge_network::NetworkEvent;

#[test]
fn a_network_leaves_nothing_behind() {
    in_space(|space| async move {
        let networks = space.open().await;
        let before = space.trace();
        let id = started(&networks, "lab", "lt0", 1).await;
        assert_ne!(space.trace(), before);
        let view = networks.get("lab").unwrap();
        assert!(view.active && view.persistent && !view.autostart);
        assert_eq!((view.mode.as_str(), view.bridge.as_str()), ("nat", "lt0"));
        assert!(!networks.start(id).await.unwrap().changed, "it is up already");
        let link = run("ip", &["-d", "link", "show", "lt0"]);
        assert!(
            link.contains("mtu 1400") && link.contains("stp_state 0") && link.contains("alias lodge:"),
            "{link}"
        );
        networks.stop(id).await.unwrap();
        assert_eq!(space.trace(), before);
        assert_eq!(networks.stop(id).await.unwrap_err().kind(), Kind::InvalidState);
        networks.undefine(id).await.unwrap();
        assert!(networks.list().is_empty());
        assert_eq!(std::fs::read_dir(space.root.leases()).unwrap().count(), 0, "its leases are gone too");
    });
}

#[test]
fn guests_are_served_while_the_daemon_is_down_and_it_takes_over_again() {
    in_space(|space| async move {
        let (networks, id, guest, ip) = one_guest(&space).await;
        let netd = space.netds();
        drop(networks);
        tokio::task::yield_now().await;
        let other = Guest::on("lt0", "52:54:00:00:00:0b");
        let second = other.ask(&["-x", "hostname:beta"]).unwrap();
        assert_eq!(guest.dig(&["@10.9.1.1", "beta"]), second.ip);

        let networks = space.open().await;
        assert!(networks.get("lab").unwrap().active);
        assert_eq!(space.netds(), netd, "the same netd serves on");
        assert_eq!(networks.leases(id).await.unwrap().len(), 2);
        assert_eq!(guest.ask(&[]).unwrap().ip, ip);
        networks.stop(id).await.unwrap();
        assert!(space.netds().is_empty());
    });
}

#[test]
fn leases_survive_a_killed_netd() {
    in_space(|space| async move {
        let (networks, id, guest, ip) = one_guest(&space).await;
        let mut events = networks.subscribe();
        let [pid] = space.netds().try_into().unwrap();
        let pid: u32 = pid;
        run("kill", &["-9", &pid.to_string()]);
        let restarted =
            async { while !matches!(events.recv().await.unwrap(), (_, _, NetworkEvent::NetdRestarted)) {} };
        tokio::time::timeout(super::space::DEADLINE, restarted).await.unwrap();
        let leases = networks.leases(id).await.unwrap();
        assert_eq!(
            leases.iter().map(|lease| lease.ip.to_string()).collect::<Vec<_>>(),
            std::slice::from_ref(&ip)
        );
        assert_eq!(leases[0].hostname.as_deref(), Some("alpha"));
        let other = Guest::on("lt0", "52:54:00:00:00:0b");
        assert_ne!(other.ask(&["-r", &ip]).unwrap().ip, ip, "it is the first guest's");
        assert_eq!(guest.ask(&[]).unwrap().ip, ip);
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn a_netd_killed_while_the_daemon_is_down_is_started_again() {
    in_space(|space| async move {
        let (networks, id, guest, ip) = one_guest(&space).await;
        drop(networks);
        tokio::task::yield_now().await;
        for pid in space.netds() {
            run("kill", &["-9", &pid.to_string()]);
        }
        until("netd gone", async || space.netds().is_empty().then_some(())).await;
        let networks = space.open().await;
        assert_eq!(networks.leases(id).await.unwrap().len(), 1);
        assert_eq!(guest.ask(&[]).unwrap().ip, ip);
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn a_half_made_network_is_taken_back() {
    in_space(|space| async move {
        let (networks, id, _guest, _) = one_guest(&space).await;
        drop(networks);
        tokio::task::yield_now().await;
        // As after a crash in the middle of a start: the bridge is not up.
        run("ip", &["link", "set", "lt0", "down"]);
        let networks = space.open().await;
        assert!(!networks.get("lab").unwrap().active);
        assert!(space.netds().is_empty());
        assert!(!run("ip", &["-br", "link"]).contains("lt0"));
        networks.start(id).await.unwrap();
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn definitions_and_autostart_are_kept() {
    in_space(|space| async move {
        let networks = space.open().await;
        let id = networks.define(&super::serve::document("lab", "lt0", 1)).await.unwrap().id;
        networks.set_autostart(id, true).await.unwrap();
        drop(networks);
        tokio::task::yield_now().await;
        let networks = space.open().await;
        let view = networks.get(&id.to_string()).unwrap();
        assert!(view.autostart && !view.active && view.name == "lab");
        assert!(networks.autostart().await.is_empty());
        assert!(networks.get("lab").unwrap().active);
        let xml = networks.xml(id, true).await.unwrap();
        assert!(xml.contains("<bridge name='lt0'") && xml.contains(&id.to_string()), "{xml}");
        // Undefined while it runs: it stays up, and is gone once stopped.
        networks.undefine(id).await.unwrap();
        let view = networks.get("lab").unwrap();
        assert!(view.active && !view.persistent);
        networks.stop(id).await.unwrap();
        assert!(networks.list().is_empty());
    });
}

#[test]
fn a_bridge_that_somebody_removed_is_made_again() {
    in_space(|space| async move {
        let (networks, id, guest, ip) = one_guest(&space).await;
        let attached = networks
            .attach(lodge_network::AttachRequest {
                network: "lab".into(),
                domain: lodge_model::DomainId::random(),
                domain_name: "vm".into(),
                hostnames: Vec::new(),
                mac: "52:54:00:00:00:0e".parse().unwrap(),
                target: None,
                mtu: None,
                queues: 1,
                isolated: None,
                options: lodge_network::CardOptions::default(),
            })
            .await
            .unwrap();
        drop(guest);
        run("ip", &["link", "delete", "lt0"]);
        networks.reconcile().await.unwrap();
        let guest = Guest::on("lt0", "52:54:00:00:00:0a");
        assert_eq!(guest.ask(&[]).unwrap().ip, ip);
        let tap = run("ip", &["link", "show", &attached.ifname]);
        assert!(tap.contains("master lt0") && tap.contains(",UP"), "the tap is plugged in again: {tap}");
        assert_eq!(networks.get("lab").unwrap().nics.len(), 1);
        networks.stop(id).await.unwrap();
    });
}

/// The seeds' own network, spanning tree and all: a guest waits for the bridge's forward delay and is served.
#[test]
fn the_default_network_works_as_written() {
    in_space(|space| async move {
        // A new namespace has the value of the first one.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        let networks = space.open().await;
        let before = space.trace();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/default.xml");
        let view = networks.define(&std::fs::read_to_string(path).unwrap()).await.unwrap();
        assert_eq!(view.id.to_string(), "55ab064f-62f8-49d3-8d25-8ef36a524344");
        let started = networks.start(view.id).await.unwrap();
        assert!(started.notes.iter().any(|note| note.contains("forwarding was off")), "{started:?}");
        assert!(run("ip", &["-br", "address", "show", "virbr0"]).contains("192.168.122.1/24"));
        let link = run("ip", &["-d", "link", "show", "virbr0"]);
        assert!(link.contains("stp_state 1") && link.contains("52:54:00:b8:e0:15"), "{link}");
        let guest = Guest::on("virbr0", "52:54:00:00:00:0a");
        let given = until("a lease", async || guest.ask(&["-x", "hostname:test-system"])).await;
        assert_eq!((given.router.as_str(), given.lease.as_str()), ("192.168.122.1", "3600"));
        assert_eq!(guest.dig(&["@192.168.122.1", "test-system"]), given.ip);
        // Nobody beyond loopback is asked here: the namespace has no way out.
        assert!(
            ["SERVFAIL", "no answer"]
                .contains(&guest.dig_status(&["@192.168.122.1", "example.org"]).as_str())
        );
        drop(guest);
        networks.stop(view.id).await.unwrap();
        networks.undefine(view.id).await.unwrap();
        until("the host as before", async || (space.trace() == before).then_some(())).await;
    });
}

/// A daemon that dies in the middle of a start, at whatever moment, leaves nothing the next one does not
/// take over or take back.
#[test]
fn a_start_cut_off_at_any_moment_is_finished_or_taken_back() {
    in_space(|space| async move {
        let networks = space.open().await;
        let id = networks.define(&super::serve::document("lab", "lt0", 1)).await.unwrap().id;
        let before = space.trace();
        drop(networks);
        for moment_ms in [1, 3, 6, 10, 15, 20, 30, 45, 60, 90] {
            // A runtime of its own, shut down in the middle: the owner task stops where it is.
            let config = space.config();
            let daemon = tokio::task::spawn_blocking(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let networks = lodge_network::Networks::open(config).await.unwrap();
                    let cut = std::time::Duration::from_millis(moment_ms);
                    let _ = tokio::time::timeout(cut, networks.start(id)).await;
                });
                runtime.shutdown_background();
            });
            daemon.await.unwrap();
            let networks = space.open().await;
            let active = networks.get("lab").unwrap().active;
            let netds = space.netds().len();
            assert_eq!(netds, usize::from(active), "after {moment_ms} ms");
            if active {
                networks.stop(id).await.unwrap();
            }
            assert_eq!(space.trace(), before, "after {moment_ms} ms");
        }
    });
}
