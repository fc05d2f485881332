//! Networks that no file defines, and networks that change while they run: what guests see of it.

use super::guest::Guest;
use super::serve::{document, one_guest, started};
use super::space::{in_space, run};
use lodge_model::Kind;
use lodge_model::network::{Command, Section, Update};
use lodge_network::{Affects, MetadataChange, MetadataPart};

fn update(command: Command, section: &str, xml: &str) -> Update {
    let section = Section::from_word(section).expect("a section");
    Update { command, section, parent: None, xml: xml.to_owned() }
}

const BOTH: Affects = Affects { live: true, config: true };
const LIVE: Affects = Affects { live: true, config: false };

#[test]
fn a_network_without_a_definition_is_gone_once_stopped() {
    in_space(|space| async move {
        let networks = space.open().await;
        let before = space.trace();
        let view = networks.create(&document("lab", "lt0", 1)).await.unwrap();
        assert!(view.active && !view.persistent);
        let guest = Guest::on("lt0", "52:54:00:00:00:0a");
        assert!(guest.ask(&[]).is_some());
        let again = networks.create(&document("lab", "lt0", 1)).await.unwrap_err();
        assert_eq!(again.to_string(), format!("network 'lab' already exists with uuid {}", view.id));
        let kept = networks.set_autostart(view.id, true).await.unwrap_err();
        assert_eq!(kept.to_string(), "cannot set autostart for transient network");
        drop(networks);
        tokio::task::yield_now().await;
        let networks = space.open().await;
        assert!(networks.get("lab").unwrap().active, "the next daemon takes it over");
        drop(guest);
        networks.stop(view.id).await.unwrap();
        assert!(networks.list().is_empty());
        assert_eq!(space.trace(), before);
    });
}

#[test]
fn what_is_served_changes_without_a_new_netd() {
    in_space(|space| async move {
        let (networks, id, guest, ip) = one_guest(&space).await;
        let netd = space.netds();
        let text = update(Command::AddLast, "dns-txt", "<txt name='note' value='hello there'/>");
        networks.update(id, text, BOTH).await.unwrap();
        assert_eq!(guest.dig(&["@10.9.1.1", "TXT", "note"]), "\"hello there\"");
        let service =
            "<srv service='ldap' protocol='tcp' domain='lab.test' target='db.lab.test' port='389'/>";
        networks.update(id, update(Command::AddLast, "dns-srv", service), LIVE).await.unwrap();
        assert_eq!(guest.dig(&["@10.9.1.1", "SRV", "_ldap._tcp.lab.test"]), "0 0 389 db.lab.test.");
        let known = "<host mac='52:54:00:00:00:0d' name='new' ip='10.9.1.60'/>";
        networks.update(id, update(Command::AddLast, "ip-dhcp-host", known), BOTH).await.unwrap();
        let other = Guest::on("lt0", "52:54:00:00:00:0d");
        assert_eq!(other.ask(&[]).unwrap().ip, "10.9.1.60");
        assert_eq!(guest.dig(&["@10.9.1.1", "new"]), "10.9.1.60");
        assert_eq!(guest.dig(&["@10.9.1.1", "alpha"]), ip, "names stay");
        assert_eq!(guest.ask(&[]).unwrap().ip, ip, "who had an address has it still");
        assert_eq!(space.netds(), netd, "the same netd serves on");
        let twice = networks.update(id, update(Command::AddLast, "ip-dhcp-host", known), BOTH).await;
        assert_eq!(twice.unwrap_err().kind(), Kind::InvalidState);
        let live = networks.xml(id, false).await.unwrap();
        let defined = networks.xml(id, true).await.unwrap();
        assert!(live.contains("<srv service='ldap'") && !defined.contains("<srv"), "{defined}");
        assert!(live.contains("ip='10.9.1.60'") && defined.contains("ip='10.9.1.60'"), "{defined}");
        networks.stop(id).await.unwrap();
    });
}

#[test]
fn an_open_network_has_no_rules_of_ours() {
    in_space(|space| async move {
        let networks = space.open().await;
        let open = document("lab", "lt0", 1).replace("<forward mode='nat'/>", "<forward mode='open'/>");
        let view = networks.create(&open).await.unwrap();
        assert_eq!(view.mode, "open");
        let rules = run("nft", &["list", "ruleset"]);
        assert!(!rules.contains("lt0"), "{rules}");
        let guest = Guest::on("lt0", "52:54:00:00:00:0a");
        assert_eq!(guest.ask(&[]).unwrap().router, "10.9.1.1");
        networks.stop(view.id).await.unwrap();
    });
}

#[test]
fn words_for_people_are_kept_where_they_were_put() {
    in_space(|space| async move {
        let networks = space.open().await;
        let id = started(&networks, "lab", "lt0", 1).await;
        let put = |part: MetadataPart, text: &str| MetadataChange {
            part,
            text: Some(text.to_owned()),
            key: Some("k".to_owned()),
        };
        networks.set_metadata(id, put(MetadataPart::Title, "the lab"), BOTH).await.unwrap();
        let element = MetadataPart::Element("http://x.test/".to_owned());
        networks.set_metadata(id, put(element.clone(), "<a b='c'/>"), LIVE).await.unwrap();
        assert_eq!(networks.metadata(id, element.clone(), LIVE).await.unwrap(), "<a b=\"c\"/>");
        let config = Affects { live: false, config: true };
        assert_eq!(networks.metadata(id, element, config).await.unwrap_err().kind(), Kind::NotFound);
        let bad = networks.set_metadata(id, put(MetadataPart::Title, "a\nb"), LIVE).await.unwrap_err();
        assert_eq!(bad.to_string(), "metadata title can't contain newlines");
        networks.stop(id).await.unwrap();
        assert_eq!(networks.metadata(id, MetadataPart::Title, config).await.unwrap(), "the lab");
        assert!(networks.metadata(id, MetadataPart::Title, LIVE).await.is_err());
    });
}
