//! What a document says of a card's host end beside where it leads: frames that are gathered, programs, filters,
//! VLANs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lodge_model::domain::interface::Vlans;
use lodge_model::{DomainId, Kind, MacAddr};
use lodge_network::{
    AttachRequest, CardEnd, CardOptions, CardRequest, DirectMode, Listening, Scripts, SwitchPort,
};

use super::{
    limits::card,
    space::{in_space, run},
};

const MAC: &str = "52:54:00:00:00:0a";

pub fn request(domain: DomainId, end: CardEnd, options: CardOptions) -> CardRequest {
    CardRequest {
        domain,
        domain_name: "web1".into(),
        mac: MAC.parse().unwrap(),
        target: None,
        mtu: None,
        queues: 1,
        options,
        end,
    }
}

pub fn bridged(name: &str) -> CardEnd {
    CardEnd::Bridge { name: name.into(), isolated: false }
}

#[test]
fn a_tap_gathers_as_many_frames_as_it_is_told() {
    in_space(|space| async move {
        let networks = space.open().await;
        let alone = || CardEnd::Alone { addresses: Vec::new(), scripts: Scripts::default() };
        let options = CardOptions { gathered_frames: Some(32), ..CardOptions::default() };
        let tap = networks.plug(request(DomainId::random(), alone(), options)).await.unwrap();
        assert_eq!(lodge_sys::ethtool::gathered_frames(&tap.ifname).unwrap(), 32);
        let plain =
            networks.plug(request(DomainId::random(), alone(), CardOptions::default())).await.unwrap();
        assert_eq!(lodge_sys::ethtool::gathered_frames(&plain.ifname).unwrap(), 0);
    });
}

/// A program that writes down what it was called with, and which rights it has.
fn program(dir: &Path, name: &str) -> PathBuf {
    let (path, log) = (dir.join(name), dir.join("log"));
    let text = format!(
        "#!/bin/sh\necho \"{name} $* $(sed -n 's/^CapEff:\\s*//p' /proc/self/status)\" >> '{}'\n",
        log.display()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_documents_programs_run_for_its_tap_with_the_right_over_networks_only() {
    in_space(|space| async move {
        let dir = space.dir.path().to_owned();
        let networks = space.open().await;
        let before = space.trace();
        let (up, down) = (program(&dir, "up"), program(&dir, "down"));
        let scripts = Scripts { up: Some(up), down: Some(down) };
        let alone = |scripts: &Scripts| CardEnd::Alone { addresses: Vec::new(), scripts: scripts.clone() };
        let domain = DomainId::random();
        let tap = networks.plug(request(domain, alone(&scripts), CardOptions::default())).await.unwrap();
        let rights = "0000000000001000";
        let log = || std::fs::read_to_string(dir.join("log")).unwrap();
        assert_eq!(log(), format!("up {} {rights}\n", tap.ifname));

        // Daemon and guest are killed: the next daemon runs what is left.
        let ifname = tap.ifname.clone();
        drop((networks, tap));
        tokio::task::yield_now().await;
        let networks = space.open().await;
        networks.unplug(domain).await.unwrap();
        assert_eq!(log(), format!("up {ifname} {rights}\ndown {ifname} {rights}\n"));
        networks.unplug(domain).await.unwrap();
        assert_eq!(log().lines().count(), 2, "it is run once");

        // One that fails is told, and the tap goes.
        let failing = dir.join("failing");
        std::fs::write(&failing, "#!/bin/sh\necho no such thing >&2; exit 3\n").unwrap();
        std::fs::set_permissions(&failing, std::fs::Permissions::from_mode(0o755)).unwrap();
        let scripts = Scripts { up: Some(failing), down: None };
        let failed =
            networks.plug(request(domain, alone(&scripts), CardOptions::default())).await.unwrap_err();
        let text = failed.to_string();
        assert!(
            text.contains("failing` for `vnet0` failed") && text.contains("exit status 3: no such thing"),
            "{text}"
        );
        let relative = Scripts { up: Some("up".into()), down: None };
        let refused =
            networks.plug(request(domain, alone(&relative), CardOptions::default())).await.unwrap_err();
        assert!(refused.to_string().contains("must begin with /"), "{refused}");
        std::fs::remove_dir(space.root.run().join("cards")).unwrap();
        assert_eq!(space.trace(), before);
    });
}

#[test]
fn a_macvtap_follows_what_its_guest_listens_to() {
    in_space(|space| async move {
        run("ip", &["link", "add", "near0", "type", "veth", "peer", "name", "far0"]);
        let networks = space.open().await;
        let domain = DomainId::random();
        let direct = CardEnd::Direct { dev: "near0".into(), mode: DirectMode::Bridge };
        let card = networks.plug(request(domain, direct, CardOptions::default())).await.unwrap();
        let other: MacAddr = "52:54:00:00:00:99".parse().unwrap();
        let group: MacAddr = "01:00:5e:01:02:03".parse().unwrap();
        let listening =
            Listening { mac: other, promiscuous: true, all_multicast: true, multicast: vec![group] };
        networks.follow(&card.ifname, listening.clone()).await.unwrap();
        let shown = || run("ip", &["link", "show", &card.ifname]);
        let groups = || run("ip", &["maddress", "show", "dev", &card.ifname]);
        assert!(shown().contains(&other.to_string()) && shown().contains("PROMISC,"), "{}", shown());
        assert!(shown().contains("ALLMULTI"), "{}", shown());
        assert!(groups().contains("01:00:5e:01:02:03"), "{}", groups());
        // Twice is as once; and it is undone as the guest undoes it.
        networks.follow(&card.ifname, listening).await.unwrap();
        let own: MacAddr = MAC.parse().unwrap();
        let quiet = Listening { mac: own, promiscuous: false, all_multicast: false, multicast: Vec::new() };
        networks.follow(&card.ifname, quiet.clone()).await.unwrap();
        assert!(shown().contains(MAC) && !shown().contains("PROMISC"), "{}", shown());
        assert!(
            !groups().contains("01:00:5e:01:02:03") && groups().contains("33:33:00:00:00:01"),
            "{}",
            groups()
        );
        networks.follow("nosuch0", quiet).await.unwrap();
    });
}

/// Needs a kernel whose bridges filter VLANs; one without says so.
#[test]
fn a_guests_vlan_is_its_ports_or_the_start_is_refused() {
    in_space(|space| async move {
        run("ip", &["link", "add", "br9", "address", "02:00:00:00:00:09", "type", "bridge"]);
        let networks = space.open().await;
        let before = space.trace();
        let vlans = Vlans { trunk: false, tags: vec![42], native: None };
        let tagged = || CardOptions { vlans: Some(vlans.clone()), ..CardOptions::default() };
        let plug = async || networks.plug(request(DomainId::random(), bridged("br9"), tagged())).await;
        let refused = plug().await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "bridge `br9` does not filter VLANs: the guest's would separate it from nobody"
        );
        assert!(refused.hint().unwrap().starts_with("ip link set br9 type bridge vlan_filtering 1"));
        assert_eq!(space.trace(), before);
        let filters =
            super::space::output("ip", &["link", "set", "br9", "type", "bridge", "vlan_filtering", "1"]);
        if !filters.status.success() {
            return lodge_tests::skip("this kernel's bridges do not filter VLANs");
        }
        let card = plug().await.unwrap();
        let shown = run("bridge", &["vlan", "show", "dev", &card.ifname]);
        assert!(shown.contains("42 PVID Egress Untagged") && !shown.contains(" 1 "), "{shown}");
    });
}

#[test]
fn a_switch_that_is_not_installed_is_named() {
    in_space(|space| async move {
        if lodge_sys::tool::find("ovs-vsctl").is_some() {
            return lodge_tests::skip("Open vSwitch is installed here");
        }
        let networks = space.open().await;
        let before = space.trace();
        let port = SwitchPort { bridge: "ovs0".into(), interface: "a".into(), profile: None };
        let end = CardEnd::OpenVswitch(port);
        let refused =
            networks.plug(request(DomainId::random(), end, CardOptions::default())).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unsupported);
        let text = "cannot set up `vnet0` in Open vSwitch: cannot find 'ovs-vsctl' in path";
        assert_eq!(refused.to_string(), text);
        assert!(refused.hint().unwrap().contains("openvswitch-switch"));
        assert_eq!(space.trace(), before);

        // The same by a network; which sort of port it is, the interface may leave to it.
        run("ip", &["tuntap", "add", "ovs0", "mode", "tap"]);
        let document = "<network><name>lab</name><forward mode='bridge'/><bridge name='ovs0'/>\
                        <virtualport type='openvswitch'/></network>";
        let id = networks.define(document).await.unwrap().id;
        assert!(networks.start(id).await.unwrap().notes.is_empty());
        let wish = AttachRequest { options: CardOptions::default(), ..card(MAC, 1) };
        assert_eq!(networks.attach(wish).await.unwrap_err().to_string(), text);
        networks.stop(id).await.unwrap();
        networks.undefine(id).await.unwrap();
        run("ip", &["link", "del", "ovs0"]);
        assert_eq!(space.trace(), before);
    });
}

/// There is no card with functions here: what is seen is that the network is nothing on the host, and stays so.
#[test]
fn a_network_that_lends_functions_is_there_by_its_name() {
    in_space(|space| async move {
        let networks = space.open().await;
        let with = |inner: &str| format!("<network><name>pool</name>{inner}</network>");
        let address = "<address type='pci' domain='0x0000' bus='0x02' slot='0x10' function='0x0'/>";
        let document = with(&format!(
            "<forward mode='hostdev' managed='yes'>{address}</forward><vlan><tag id='42'/></vlan>"
        ));
        let before = space.trace();
        let id = networks.define(&document).await.unwrap().id;
        assert!(networks.start(id).await.unwrap().notes.is_empty());
        drop(networks);
        tokio::task::yield_now().await;
        let networks = space.open().await;
        let view = networks.get("pool").unwrap();
        assert!(view.active && view.mode == "hostdev" && view.bridge.is_empty());
        let pool = view.functions.clone().unwrap();
        assert!(pool.managed && pool.cards.is_empty() && !pool.vlan.is_empty());
        assert_eq!((pool.addresses[0].bus, pool.addresses[0].slot), (2, 16));
        networks.reconcile().await.unwrap();
        let plugged = AttachRequest { network: "pool".into(), ..card("52:54:00:00:00:01", 1) };
        let refused = networks.attach(plugged).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unsupported, "{refused}");
        networks.stop(id).await.unwrap();
        networks.undefine(id).await.unwrap();
        assert_eq!(space.trace(), before);

        let missing =
            networks.define(&with("<forward mode='hostdev'><pf dev='nosuch0'/></forward>")).await.unwrap();
        let refused = networks.start(missing.id).await.unwrap_err();
        assert_eq!(refused.to_string(), "cannot find the network card `nosuch0`");
        for (inner, why) in [
            ("<forward mode='hostdev'/>", "which devices are lent"),
            (
                "<forward mode='hostdev'><pf dev='a'/></forward><ip address='10.0.0.1' prefix='24'/>",
                "no addresses",
            ),
        ] {
            let refused = networks.define(&with(inner)).await.unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
        }
    });
}
