//! Single cases: what becomes of one thing in one distribution.

use lodge_guest::identity::{
    Address, Catalogue, DeviceUuids, Fresh, HostFacts, Kind, NicWish, Operations, PlanError, PrivateKeys,
    Purpose, State, StaticAddress, Wish, machine_id,
};
use lodge_model::guest_disk::{Edit, FileEdit, FileNode, Gap};

use super::house::{self, Guest, ID, MAC, ROOT, SWAP, VFAT};

fn wish(purpose: Purpose, seed: u8) -> Wish {
    let mut wish = Wish::new(purpose, Fresh::new([seed; 32]));
    if purpose == Purpose::Clone {
        wish.host_name = Some("db7".to_owned());
        wish.nics = vec![NicWish {
            old_mac: Some(MAC.to_owned()),
            new_mac: Some("52:54:00:00:00:07".to_owned()),
            interface: None,
            address: Address::Leave,
        }];
    }
    wish
}

fn bare() -> Guest {
    Guest::default()
        .file("/etc/os-release", "ID=debian\n")
        .file("/usr/lib/systemd/systemd", "")
        .file("/etc/hostname", "a\n")
}

#[test]
fn the_machine_id_in_all_its_forms_becomes_a_new_one() {
    let other = "0123456789abcdef0123456789abcdef";
    let table = [
        (
            "file and link",
            bare().file("/etc/machine-id", ID).link("/var/lib/dbus/machine-id", "/etc/machine-id"),
            Some(ID),
        ),
        (
            "link from etc",
            bare().file("/var/lib/dbus/machine-id", ID).link("/etc/machine-id", "../var/lib/dbus/machine-id"),
            Some(ID),
        ),
        ("two files", bare().file("/etc/machine-id", other).file("/var/lib/dbus/machine-id", ID), Some(ID)),
        ("missing", bare(), None),
        ("empty", bare().file("/etc/machine-id", ""), None),
        ("uninitialized", bare().file("/etc/machine-id", "uninitialized\n"), None),
        ("rubbish", bare().file("/etc/machine-id", "\u{0}\u{1}x"), None),
        (
            "ring",
            bare()
                .link("/etc/machine-id", "/var/lib/dbus/machine-id")
                .link("/var/lib/dbus/machine-id", "/etc/machine-id"),
            None,
        ),
        (
            "a directory for D-Bus's",
            bare().file("/etc/machine-id", ID).link("/var/lib/dbus/machine-id", "/nowhere"),
            Some(ID),
        ),
    ];
    for (name, guest, old) in table {
        assert_eq!(machine_id(&guest.read()), old, "{name}");
        let (_, after) = guest.become_of(&wish(Purpose::Clone, 1));
        let new = machine_id(&after.read()).unwrap_or_else(|| panic!("{name}: none")).to_owned();
        assert_ne!(Some(new.as_str()), old, "{name}");
        assert_eq!(after.text("/etc/machine-id"), format!("{new}\n"), "{name}");
        let dbus = after.files.node("/var/lib/dbus/machine-id");
        assert!(
            dbus.is_none_or(|node| *node == FileNode::Link(b"/etc/machine-id".to_vec())),
            "{name}: {dbus:?}"
        );
        assert!(old.is_none_or(|old| after.places_of(old).is_empty()), "{name}");

        let (_, template) = guest.become_of(&wish(Purpose::Generalise, 1));
        // Who made the image may have said so in systemd's own word.
        assert!(["", "uninitialized\n"].contains(&template.text("/etc/machine-id").as_str()), "{name}");
        assert_eq!(
            template.read().at(&Kind::MACHINE_ID, "/etc/machine-id").unwrap().state,
            State::Empty,
            "{name}"
        );
    }
}

#[test]
fn a_debian_clone_is_another_machine_and_boots() {
    let guest = house::debian();
    let mut wish = wish(Purpose::Clone, 1);
    wish.nics[0].address =
        Address::Static(StaticAddress { address: "192.0.2.77".parse().unwrap(), prefix: 24, gateway: None });
    let (plan, after) = guest.become_of(&wish);
    assert_eq!(after.text("/etc/hostname"), "db7\n");
    assert_eq!(
        after.text("/etc/hosts"),
        "127.0.0.1\tlocalhost\n127.0.1.1\tdb7.example.com\tdb7\n192.0.2.77 db7 web10\n"
    );
    assert_eq!(after.text("/etc/mailname"), "db7.example.com\n");
    let interfaces = after.text("/etc/network/interfaces");
    assert!(
        interfaces.contains("address 192.0.2.77/24") && interfaces.contains("gateway 192.0.2.1"),
        "{interfaces}"
    );
    assert!(interfaces.contains("hwaddress ether 52:54:00:00:00:07") && interfaces.contains("# the card"));
    let uuid = |name: &str| after.layout.device(name).unwrap().content.clone().unwrap().uuid.unwrap();
    let fstab = after.text("/etc/fstab");
    assert!(fstab.contains(&format!("UUID={} / ext4", uuid("vda2"))), "{fstab}");
    assert!(fstab.contains(&format!("UUID={} /boot/efi", uuid("vda1"))), "{fstab}");
    let part = after.layout.device("vda3").unwrap().partition.clone().unwrap().uuid;
    assert!(fstab.contains(&format!("PARTUUID={part} none swap")), "{fstab}");
    let grub = after.text("/boot/grub/grub.cfg");
    assert!(grub.contains(&format!("--set=root {}\n", uuid("vda2"))), "{grub}");
    // Debian's initramfs has a copy of the old swap's UUID; the command line outdoes it.
    assert!(
        grub.contains(&format!("root=UUID={} ro quiet resume=UUID={}\n", uuid("vda2"), uuid("vda3"))),
        "{grub}"
    );
    assert!(after.text("/boot/efi/EFI/debian/grub.cfg").contains(&uuid("vda2")));
    assert_eq!(after.text("/etc/initramfs-tools/conf.d/resume"), format!("RESUME=UUID={}\n", uuid("vda3")));
    let defaults = after.text("/etc/default/grub");
    assert!(defaults.contains(&format!("\"console=ttyS0 resume=UUID={}\"", uuid("vda3"))), "{defaults}");
    let iscsi = after.text("/etc/iscsi/initiatorname.iscsi");
    assert!(iscsi.starts_with("InitiatorName=iqn.1993-08.org.debian:01:"), "{iscsi}");
    // A clone keeps what its source had, and users' keys are flagged.
    assert!(after.files.node("/root/.bash_history").is_some());
    assert!(
        plan.flagged.iter().any(|flagged| flagged.place == "/root/.ssh/id_ed25519"),
        "{:#?}",
        plan.flagged
    );
    for old in
        [ID, house::DISK, house::ESP, house::ROOT_PART, house::SWAP_PART, ROOT, SWAP, VFAT, MAC, "192.0.2.9 "]
    {
        assert_eq!(after.places_of(old), Vec::<String>::new(), "{old}");
    }
}

#[test]
fn a_fedora_clone_keeps_what_its_initramfs_knows() {
    let guest = house::fedora();
    let (plan, after) = guest.become_of(&wish(Purpose::Clone, 1));
    let kept: Vec<&str> = plan.kept.iter().map(|kept| kept.place.as_str()).collect();
    assert!(kept.contains(&"vda2") && kept.contains(&"vda3"), "{kept:?}");
    let why = &plan.kept.iter().find(|kept| kept.place == "vda2").unwrap().reason;
    assert!(why.contains("dracut"), "{why}");
    assert!(after.text("/etc/fstab").contains(ROOT));
    // The ESP is nobody's secret.
    assert!(after.places_of(VFAT).is_empty());
    let new = machine_id(&after.read()).unwrap().to_owned();
    assert!(after.files.node(&format!("/boot/loader/entries/{new}-5.14.0.conf")).is_some());
    assert!(after.text("/boot/grub2/grubenv").contains(&format!("saved_entry={new}-5.14.0")));
    assert!(after.places_of(ID).is_empty(), "{:?}", after.places_of(ID));
    assert_eq!(after.text("/etc/hostname"), "db7.example.com\n");
    assert!(after.text("/etc/sysconfig/network").contains("HOSTNAME=db7.example.com"));
    let ifcfg = after.text("/etc/sysconfig/network-scripts/ifcfg-eth0");
    assert!(ifcfg.contains("HWADDR=\"52:54:00:00:00:07\"") && !ifcfg.contains("CLIENT_ID"), "{ifcfg}");
    assert!(!ifcfg.contains(house::CONNECTION));
    assert!(plan.flagged.iter().any(|flagged| flagged.kind == Kind::STATIC_ADDRESS));
    // Both names of the NVMe host carry one UUID.
    let hostid = after.text("/etc/nvme/hostid");
    assert!(after.text("/etc/nvme/hostnqn").trim().ends_with(hostid.trim()));
    assert!(after.files.node("/etc/pki/consumer/cert.pem").is_none());

    let mut all = wish(Purpose::Clone, 1);
    all.device_uuids = DeviceUuids::All;
    let (_, after) = guest.become_of(&all);
    assert!(after.places_of(ROOT).is_empty() && after.places_of(SWAP).is_empty());

    let loose = guest.file("/etc/dracut.conf.d/x.conf", "hostonly=\"no\"\n");
    let (_, after) = loose.become_of(&wish(Purpose::Clone, 1));
    assert!(after.places_of(ROOT).is_empty() && after.places_of(SWAP).is_empty());
}

#[test]
fn a_boot_loader_with_the_uuid_built_in_keeps_it() {
    let guest = house::debian().file("/boot/grub/i386-pc/load.cfg", format!("search.fs_uuid {ROOT} root\n"));
    let (plan, after) = guest.become_of(&wish(Purpose::Clone, 1));
    let kept = plan.kept.iter().find(|kept| kept.place == "vda2" && kept.kind == Kind::CONTENT_UUID).unwrap();
    assert!(kept.reason.contains("/boot/grub/i386-pc/load.cfg"), "{}", kept.reason);
    assert!(after.text("/etc/fstab").contains(ROOT));
}

#[test]
fn what_could_not_be_read_is_unknown_and_is_not_changed_blindly() {
    let mut guest = house::debian();
    guest.files.nodes.retain(|path, _| !path.to_string().starts_with("/boot"));
    guest.files.gaps = vec![Gap { place: "/boot".into(), why: "a bad superblock".into() }];
    let plan = guest.plan(&wish(Purpose::Clone, 1));
    let kept = plan.kept.iter().find(|kept| kept.place == "vda2").unwrap();
    assert!(kept.reason.contains("a bad superblock"), "{}", kept.reason);
    assert!(plan.flagged.iter().any(|flagged| flagged.place == "/boot"));

    let mut locked = Guest { layout: house::gpt("crypto_LUKS"), ..Guest::default() };
    locked.files.gaps = vec![Gap { place: "vda2".into(), why: "it is encrypted".into() }];
    let id = locked.read();
    let item = id.at(&Kind::MACHINE_ID, "/etc/machine-id").unwrap();
    assert_eq!((item.state, item.note.as_deref()), (State::Unknown, Some("it is encrypted")));
    let plan = locked.plan(&wish(Purpose::Clone, 1));
    assert!(plan.edits.iter().all(|edit| matches!(edit, Edit::Device(_))), "{:?}", plan.edits);
    let kept = plan.kept.iter().find(|kept| kept.kind == Kind::CONTENT_UUID && kept.place == "vda2").unwrap();
    assert!(kept.reason.contains("locked"), "{}", kept.reason);
}

#[test]
fn a_file_that_was_not_read_whole_is_never_written() {
    let mut guest = house::debian();
    let Some(FileNode::File { size, .. }) = guest.files.nodes.get_mut(&house::path("/etc/fstab")) else {
        panic!()
    };
    *size += 1;
    let plan = guest.plan(&wish(Purpose::Clone, 1));
    let touches = |edit: &Edit| matches!(edit, Edit::File(FileEdit::Write { path, .. }) if path.to_string() == "/etc/fstab");
    assert!(!plan.edits.iter().any(touches));
    assert!(plan.kept.iter().any(|kept| kept.place == "vda2" && kept.reason.contains("/etc/fstab")));
}

#[test]
fn private_keys_are_treated_as_the_policy_says() {
    let guest = house::debian();
    let mut refuse = wish(Purpose::Clone, 1);
    refuse.private_keys = PrivateKeys::Refuse;
    let fault = Catalogue::builtin().plan(&guest.read(), &guest.layout, &guest.files, &refuse).unwrap_err();
    assert_eq!(fault, PlanError::PrivateKeys(vec!["/root/.ssh/id_ed25519".into()]));
    let mut remove = wish(Purpose::Clone, 1);
    remove.private_keys = PrivateKeys::Remove;
    let (_, after) = guest.become_of(&remove);
    assert!(after.files.node("/root/.ssh/id_ed25519").is_none());
}

#[test]
fn only_the_operations_that_were_asked_for_are_done() {
    let guest = house::debian();
    let mut wish = wish(Purpose::Generalise, 1);
    wish.operations = Operations::parse("machine-id").unwrap();
    let plan = guest.plan(&wish);
    assert!(plan.changes.iter().all(|change| ["machine-id", "journal"].contains(&change.kind.as_str())));
    assert!(plan.kept.iter().any(|kept| kept.kind == Kind::SSH_HOST_KEY));
}

#[test]
fn a_kept_identity_is_not_touched() {
    let plan = house::debian().plan(&wish(Purpose::Keep, 1));
    assert!(plan.edits.is_empty() && plan.changes.is_empty() && !plan.kept.is_empty());
}

#[test]
fn empty_values_of_a_template_are_named() {
    let guest = house::fedora()
        .file("/etc/hostname", "\n")
        .file("/etc/machine-id", "")
        .file("/etc/sysconfig/network-scripts/ifcfg-eth1", "DEVICE=eth1\nIPADDR=\nNETMASK=\"\"\n")
        .file("/etc/cloud/cloud.cfg.d/90_dpkg.cfg", "datasource_list: [ None ]\n");
    let identity = guest.read();
    let places: Vec<&str> = identity.to_fill().map(|item| item.place.as_str()).collect();
    for place in [
        "/etc/hostname",
        "/etc/machine-id",
        "/etc/sysconfig/network-scripts/ifcfg-eth1: IPADDR",
        "/etc/sysconfig/network-scripts/ifcfg-eth1: NETMASK",
        "/etc/cloud/cloud.cfg.d/90_dpkg.cfg: datasource_list",
    ] {
        assert!(places.contains(&place), "{place} is not in {places:?}");
    }
}

#[test]
fn a_rule_of_the_owners_is_obeyed() {
    let rule = "[[rule]]\nname = 'licence'\nwhat = 'the licence'\npaths = ['/opt/x/licence']\nkind = 'id'\nreset = 'new-uuid'\noperation = 'agents'\n";
    let catalogue = Catalogue::builtin().with("mine.toml", rule).unwrap();
    let guest = bare().file("/opt/x/licence", "L-1\n");
    assert!(catalogue.wanted().iter().any(|wanted| wanted.pattern.to_string() == "/opt/x/licence"));
    let before = catalogue.read(&guest.layout, &guest.files, &HostFacts::default());
    assert_eq!(
        before.of(&before.items.iter().find(|item| item.place == "/opt/x/licence").unwrap().kind).count(),
        1
    );
    let plan = catalogue.plan(&before, &guest.layout, &guest.files, &wish(Purpose::Clone, 1)).unwrap();
    assert_ne!(guest.after(&plan).text("/opt/x/licence"), "L-1\n");
}
