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
