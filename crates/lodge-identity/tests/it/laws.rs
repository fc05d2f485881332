//! What holds of every guest: clones share nothing, templates are nobody, plans are the seed's.

use lodge_identity::{Catalogue, DeviceUuids, Fresh, Identity, NicWish, Purpose, Wish, diff, duplicates};
use lodge_model::guest_disk::{FileNode, Files, Layout};
use proptest::prelude::*;

use super::house::{self, Guest, MAC};

fn guests() -> Vec<(&'static str, Guest)> {
    vec![
        ("debian", house::debian()),
        ("fedora", house::fedora()),
        ("suse", house::suse()),
        ("arch", house::arch()),
        ("alpine", house::alpine()),
    ]
}

fn clone_wish(seed: u8) -> Wish {
    let mut wish = Wish::new(Purpose::Clone, Fresh::new([seed; 32]));
    wish.host_name = Some(format!("clone{seed}"));
    wish.device_uuids = DeviceUuids::All;
    let new_mac = Some(format!("52:54:00:00:00:{seed:02x}"));
    wish.nics = vec![NicWish {
        old_mac: Some(MAC.to_owned()),
        new_mac,
        address: lodge_identity::Address::Dhcp,
        interface: None,
    }];
    wish
}

#[test]
fn clones_of_one_source_share_nothing() {
    for (name, guest) in guests() {
        let mut all: Vec<(String, Identity)> = vec![("source".to_owned(), guest.read())];
        for seed in 1..=8 {
            let (_, clone) = guest.become_of(&clone_wish(seed));
            all.push((format!("clone{seed}"), clone.read()));
        }
        assert_eq!(duplicates(&all), [], "{name}");
        assert!(diff(&all[1].1, &all[2].1).iter().all(|difference| !difference.is_clash), "{name}");
    }
}

#[test]
fn a_plan_is_the_seeds() {
    for (name, guest) in guests() {
        assert_eq!(guest.plan(&clone_wish(1)), guest.plan(&clone_wish(1)), "{name}");
        assert_ne!(guest.plan(&clone_wish(1)), guest.plan(&clone_wish(2)), "{name}");
    }
}

#[test]
fn a_template_is_nobody_and_stays_so() {
    for (name, guest) in guests() {
        let wish = Wish::new(Purpose::Generalise, Fresh::new([1; 32]));
        let (_, template) = guest.become_of(&wish);
        let left: Vec<_> = Catalogue::builtin()
            .clean(&template.read())
            .into_iter()
            .filter(|left| !left.is_private)
            .collect();
        assert!(left.is_empty(), "{name}: {left:#?}");
        let again = template.plan(&wish);
        assert!(again.edits.is_empty(), "{name}: {:#?}", again.edits);
        // Clones of the template are each somebody.
        let clones: Vec<_> =
            (1..4).map(|seed| (seed.to_string(), template.become_of(&clone_wish(seed)).1.read())).collect();
        assert_eq!(duplicates(&clones), [], "{name}");
        assert!(clones.iter().all(|(_, clone)| clone.to_fill().count() == 0), "{name}");
    }
}

#[test]
fn before_it_is_a_template_it_is_somebody() {
    let left = Catalogue::builtin().clean(&house::debian().read());
    for kind in ["machine-id", "ssh-host-key", "host-name", "random-seed", "dhcp-lease", "logfiles"] {
        assert!(left.iter().any(|left| left.kind.as_str() == kind), "{kind} is not in {left:#?}");
    }
}

/// The catalogue's own paths, with text that may be anything.
fn hostile() -> impl Strategy<Value = Files> {
    let wanted = Catalogue::builtin().wanted();
    let paths: Vec<String> = wanted
        .iter()
        .map(|wanted| wanted.pattern.to_string().replace("**", "deep").replace('*', "x"))
        .collect();
    let line = prop_oneof![
        "[A-Za-z_/.:=\" \\t#\\[\\]-]{0,40}",
        Just("UUID=bbbb0002-1111-4222-8333-444455556666 / ext4".to_owned()),
        Just("iface a inet static".to_owned()),
        Just("  address 192.0.2.9/24".to_owned()),
        Just("HostKey /etc/ssh/ssh_host_x_key".to_owned()),
        Just("    é: [192.0.2.9/24, 52:54:00:50:a7:18]".to_owned()),
        Just("  ethernets:".to_owned()),
        Just("HOSTNAME=.é".to_owned()),
        Just("InitiatorName=é:é".to_owned()),
    ];
    let text = proptest::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n").into_bytes());
    let node = prop_oneof![
        8 => text.prop_map(|bytes| FileNode::File { size: bytes.len() as u64, bytes, owner: owner() }),
        2 => proptest::collection::vec(any::<u8>(), 0..80)
            .prop_map(|bytes| FileNode::File { size: bytes.len() as u64 + 1, bytes, owner: owner() }),
        1 => proptest::sample::select(&["/etc/machine-id", "../../nowhere", "x", "/", "", "\u{1}"][..])
            .prop_map(|to| FileNode::Link(to.as_bytes().to_vec())),
        1 => Just(FileNode::Directory(owner())),
    ];
    proptest::collection::vec((proptest::sample::select(paths), node), 0..60).prop_map(|nodes| Files {
        nodes: nodes.into_iter().map(|(at, node)| (house::path(&at), node)).collect(),
        gaps: Vec::new(),
        ..Files::default()
    })
}

fn owner() -> lodge_model::guest_disk::Owner {
    lodge_model::guest_disk::Owner { uid: 0, gid: 0, mode: 0o644 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_guest_wrote_its_plan_is_done_and_proven(mut files in hostile()) {
        files.nodes.insert(house::path("/etc/passwd"), FileNode::File { bytes: Vec::new(), size: 0, owner: owner() });
        let guest = Guest { layout: Layout::default(), files };
        guest.become_of(&clone_wish(1));
        let wish = Wish::new(Purpose::Generalise, Fresh::new([1; 32]));
        let (_, template) = guest.become_of(&wish);
        let again = template.plan(&wish);
        prop_assert!(again.edits.is_empty(), "{:#?}", again.edits);
    }
}
