//! Single cases: what becomes of one thing in one distribution.

use lodge_identity::{
    Address, Catalogue, DeviceUuids, Fresh, HostFacts, Kind, NicWish, Operations, PlanError, PrivateKeys,
    Purpose, State, StaticAddress, Wish, machine_id, verify_archives,
};
use lodge_model::guest_disk::{
    Archive, Device, DeviceKind, Edit, FileEdit, FileNode, Files, Gap, Layout, PartitionTable,
};

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
fn an_initramfs_of_one_machine_is_put_right_where_all_of_it_is_known() {
    let image = "/boot/initramfs-5.14.0.img";
    let member = |text: &[u8]| FileNode::File {
        bytes: text.to_vec(),
        size: text.len() as u64,
        owner: lodge_model::guest_disk::Owner { uid: 0, gid: 0, mode: 0o644 },
    };
    let conf = format!("root=UUID={ROOT} resume=UUID={SWAP}\n");
    let mut guest = house::fedora().file(image, vec![b'x'; 101]).file("/boot/initramfs-5.14.0kdump.img", "x");
    let archive = Archive {
        members: [
            (house::path("/etc/cmdline.d/20-root-dev.conf"), member(conf.as_bytes())),
            (house::path("/etc/machine-id"), member(format!("{ID}\n").as_bytes())),
        ]
        .into(),
        bytes: 101,
        ..Archive::default()
    };
    guest.files.archives.insert(house::path(image), archive);
    let asked = Catalogue::builtin().archives(&guest.layout, &guest.files).unwrap();
    assert_eq!(asked.0, [house::path(image)]);
    assert!([ROOT, SWAP, VFAT, ID].iter().all(|id| asked.1.iter().any(|word| word == id)), "{:?}", asked.1);

    let (plan, after) = guest.become_of(&wish(Purpose::Clone, 1));
    for old in [ROOT, SWAP, ID] {
        assert_eq!(after.places_of(old), Vec::<String>::new(), "{old}");
    }
    let uuid = |name: &str| after.layout.device(name).unwrap().content.clone().unwrap().uuid.unwrap();
    let whole = after.text(image);
    let conf = format!("root=UUID={} resume=UUID={}\n", uuid("vda2"), uuid("vda3"));
    assert!(whole.starts_with(&"x".repeat(101)) && whole.contains(&conf), "{}", &whole[101..]);
    assert!(whole.contains(&format!("{}\n", machine_id(&after.read()).unwrap())));
    // What was not read again is no proof, nor is what still names the old.
    assert_eq!(verify_archives(&Files::default(), &plan).len(), 1);
    assert_eq!(verify_archives(&guest.files, &plan).len(), 1);
    let mut clean = after.files.clone();
    clean.archives.get_mut(&house::path(image)).unwrap().members.clear();
    assert_eq!(verify_archives(&clean, &plan), []);

    // One that is not known to its end, and one that has it where no text is.
    let is_kept = |guest: &Guest, why: &str| {
        let (plan, after) = guest.become_of(&wish(Purpose::Clone, 1));
        assert!(after.places_of(ROOT).len() > 1);
        let kept = plan.kept.iter().find(|kept| kept.place == "vda2").unwrap();
        assert!(kept.reason.contains(why), "{}", kept.reason);
    };
    let change = |act: &dyn Fn(&mut Archive)| {
        let mut guest = guest.clone();
        act(guest.files.archives.get_mut(&house::path(image)).unwrap());
        guest
    };
    is_kept(&change(&|archive| archive.fault = Some("it is packed by lzo".to_owned())), "packed by lzo");
    let binary = [b"\xff\xfe", ROOT.as_bytes()].concat();
    is_kept(
        &change(&|archive| drop(archive.members.insert(house::path("/usr/bin/x"), member(&binary)))),
        "/usr/bin/x in the initramfs /boot/initramfs-5.14.0.img names it, and is not text",
    );
    is_kept(
        &change(&|archive| drop(archive.members.insert(house::path("/squash-root.img"), member(b"")))),
        "has a file system of its own",
    );
    let mut two = guest.clone().file("/boot/initramfs-0-rescue.img", "x");
    is_kept(&two, "/boot/initramfs-0-rescue.img was not looked into");
    two.files.archives.insert(house::path("/boot/initramfs-0-rescue.img"), Archive::default());
    assert_eq!(two.become_of(&wish(Purpose::Clone, 1)).1.places_of(ROOT), Vec::<String>::new());
    let root = |guest: &mut Guest| {
        let device = &mut guest.layout.disks[0].children[1];
        device.content.as_mut().unwrap().used = Some(device.bytes);
    };
    let mut full = guest.clone();
    root(&mut full);
    is_kept(&full, "no room for more");
}

#[test]
fn a_suse_clone_on_a_dos_disk_gets_a_new_signature_everywhere() {
    let mut wish = wish(Purpose::Clone, 1);
    wish.nics[0].address = Address::Dhcp;
    let (plan, after) = house::suse().become_of(&wish);
    let part = after.layout.device("sda1").unwrap().partition.clone().unwrap().uuid;
    assert!(
        after.text("/etc/fstab").contains(&format!("/dev/disk/by-partuuid/{part} swap")),
        "{}",
        after.text("/etc/fstab")
    );
    assert_eq!(after.text("/etc/hostname"), "db7.example.com\n");
    assert_eq!(after.files.node("/etc/HOSTNAME"), Some(&FileNode::Link(b"hostname".to_vec())));
    assert_eq!(
        after.text("/etc/sysconfig/network/ifcfg-eth0"),
        "STARTMODE='auto'\nLLADDR='52:54:00:00:00:07'\nBOOTPROTO=dhcp\n"
    );
    for gone in [
        "/var/lib/wicked/duid.xml",
        "/etc/zypp/credentials.d/SCCcredentials",
        "/var/lib/zypp/AnonymousUniqueId",
    ] {
        assert!(after.files.node(gone).is_none(), "{gone}");
    }
    assert!(
        plan.changes
            .iter()
            .any(|change| change.place == "/var/lib/dbus/machine-id" && change.reason.contains("deleted"))
    );
    for old in [ID, ROOT, SWAP, MAC, "1a2b3c4d", "192.0.2.9"] {
        assert_eq!(after.places_of(old), Vec::<String>::new(), "{old}");
    }
}

#[test]
fn an_arch_clone_forgets_the_id_on_its_command_line() {
    let (_, after) = house::arch().become_of(&wish(Purpose::Clone, 1));
    let new = machine_id(&after.read()).unwrap().to_owned();
    let entry = after.text("/boot/efi/loader/entries/arch.conf");
    assert!(entry.contains(&format!("systemd.machine_id={new}")), "{entry}");
    assert_eq!(after.places_of(ID), Vec::<String>::new());
    assert!(after.text("/etc/systemd/network/20-wired.network").contains("MACAddress=52:54:00:00:00:07"));
    assert!(after.text("/etc/systemd/network/10-lan.link").contains("PermanentMACAddress=52:54:00:00:00:07"));
    let (_, template) = house::arch().become_of(&wish(Purpose::Generalise, 1));
    assert!(!template.text("/boot/efi/loader/entries/arch.conf").contains("machine_id"));
    assert!(template.text("/etc/systemd/network/20-wired.network").contains("[Match]\nType=ether\n"));
    assert!(template.files.node("/etc/systemd/network/10-lan.link").is_none());

    // Kernels in a directory of the id's name stay where they are, and the name is written down.
    let held = house::arch().dir(&format!("/boot/efi/{ID}/6.9"));
    let (plan, after) = held.become_of(&wish(Purpose::Clone, 1));
    assert_eq!(after.text("/etc/kernel/entry-token"), format!("{ID}\n"));
    assert!(plan.flagged.iter().any(|flagged| flagged.place == "/etc/kernel/entry-token"));
}

#[test]
fn an_alpine_clone_has_its_host_key_where_its_configuration_says() {
    let guest = house::alpine();
    assert!(guest.read().at(&Kind::SSH_HOST_KEY, "/etc/ssh/keys/host_ed25519").is_some());
    let (_, after) = guest.become_of(&wish(Purpose::Clone, 1));
    assert!(after.text("/etc/ssh/keys/host_ed25519").contains("OPENSSH PRIVATE KEY"));
    assert_ne!(guest.text("/etc/ssh/keys/host_ed25519.pub"), after.text("/etc/ssh/keys/host_ed25519.pub"));
    assert_eq!(after.text("/etc/hosts"), "127.0.0.1\tdb7 localhost\n");
    assert!(after.text("/etc/network/interfaces").contains("\thostname db7\n"));
    assert_eq!(after.text("/etc/machine-id").len(), 33);
    assert_eq!(after.places_of(ROOT), Vec::<String>::new());
}

#[test]
fn a_server_whose_configuration_names_only_an_rsa_key_still_answers() {
    let guest = bare()
        .file("/usr/sbin/sshd", "")
        .file("/etc/ssh/sshd_config.d/x.conf", "hostkey = \"/etc/ssh/ssh_host_rsa_key\"\n")
        .file("/etc/ssh/ssh_host_rsa_key", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n");
    let (plan, after) = guest.become_of(&wish(Purpose::Clone, 1));
    assert!(after.text("/etc/ssh/ssh_host_rsa_key").contains("OPENSSH PRIVATE KEY"), "{:#?}", plan.changes);
}

/// A disk with `/boot` and LVM.
fn lvm() -> Guest {
    let mut disk = house::device("vda", DeviceKind::Disk, None, None);
    disk.table = Some(PartitionTable::Dos(7));
    let pv = "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg";
    let mut holder = house::device("vda1", DeviceKind::Partition, Some(("LVM2_member", pv)), None);
    holder.content.as_mut().expect("a PV").group =
        Some(("vg".into(), "hhhhhh-bbbb-cccc-dddd-eeee-ffff-gggggg".into()));
    let root = house::device("vg-root", DeviceKind::Lvm, Some(("ext4", ROOT)), Some("/"));
    holder.children.push(Device { volume: Some("rrrrrr-bbbb-cccc-dddd-eeee-ffff-gggggg".into()), ..root });
    let data = house::device("vg-data", DeviceKind::Lvm, Some(("xfs", SWAP)), Some("/data"));
    holder.children.push(Device { volume: Some("dddddd-bbbb-cccc-dddd-eeee-ffff-gggggg".into()), ..data });
    disk.children.push(holder);
    Guest { layout: Layout { disks: vec![disk] }, ..bare() }
        .file(
            "/etc/fstab",
            "/dev/mapper/vg-root / ext4 defaults 0 1\n\
             /dev/disk/by-id/dm-uuid-LVM-hhhhhhbbbbccccddddeeeeffffggggggddddddbbbbccccddddeeeeffffgggggg /data xfs defaults 0 2\n",
        )
        .file(
            "/etc/lvm/devices/system.devices",
            "VERSION=1.1.1\nIDTYPE=devname IDNAME=/dev/vda1 PVID=aaaaaabbbbccccddddeeeeffffgggggg\n",
        )
}

#[test]
fn volumes_get_new_uuids_where_no_boot_loader_knows_them() {
    let guest = lvm();
    let (plan, after) = guest.become_of(&wish(Purpose::Clone, 1));
    assert!(
        plan.kept.iter().any(|kept| kept.kind == Kind::GROUP_UUID && kept.reason.contains("GRUB")),
        "{:?}",
        plan.kept
    );
    let is_kept =
        |place: &str| plan.kept.iter().any(|kept| kept.kind == Kind::VOLUME_UUID && kept.place == place);
    assert!(is_kept("vg-root") && !is_kept("vg-data"), "{:?}", plan.kept);
    assert_ne!(
        after.layout.device("vg-data").unwrap().volume,
        guest.layout.device("vg-data").unwrap().volume
    );
    let pv = after.layout.device("vda1").unwrap().content.clone().unwrap().uuid.unwrap();
    let devices = after.text("/etc/lvm/devices/system.devices");
    assert!(devices.contains(&format!("PVID={}", pv.replace('-', ""))), "{devices} {pv}");
    let mut guest = guest;
    guest.layout.disks[0].children.push(house::device(
        "vda2",
        DeviceKind::Partition,
        Some(("ext4", SWAP)),
        Some("/boot"),
    ));
    let (plan, after) = guest.become_of(&wish(Purpose::Clone, 1));
    assert!(plan.changes.iter().any(|change| change.kind == Kind::GROUP_UUID), "{:?}", plan.kept);
    // Both are in one word of fstab.
    let bare = |uuid: Option<String>| uuid.unwrap_or_default().replace('-', "");
    let holder = after.layout.device("vda1").unwrap().content.clone().unwrap();
    let volume = bare(after.layout.device("vg-data").unwrap().volume.clone());
    let named = format!("dm-uuid-LVM-{}{volume} /data", bare(holder.group.map(|(_, uuid)| uuid)));
    assert!(after.text("/etc/fstab").contains(&named), "{named}: {}", after.text("/etc/fstab"));
    assert!(plan.changes.iter().any(|change| change.kind == Kind::VOLUME_UUID && change.place == "vg-root"));
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

#[test]
fn to_look_at_a_guest_nobody_reads_its_logs() {
    let shown = |wanted: Vec<lodge_model::guest_disk::Wanted>| -> Vec<String> {
        wanted.into_iter().map(|wanted| wanted.pattern.to_string()).collect()
    };
    let (all, look) = (shown(Catalogue::builtin().wanted()), shown(Catalogue::builtin().wanted_to_look()));
    assert!(look.iter().all(|pattern| all.contains(pattern)) && look.len() < all.len());
    assert!(look.contains(&"/etc/machine-id".to_owned()) && !look.contains(&"/var/log/*".to_owned()));
}

#[test]
fn an_agents_name_follows_the_host_name_and_no_other() {
    let guest = bare()
        .file("/etc/zabbix/zabbix_agentd.conf", "Hostname=a\n")
        .file("/etc/zabbix/zabbix_agent2.conf", "Hostname=Zabbix server\n")
        .file("/etc/salt/minion_id", "old-name");
    let (plan, after) = guest.become_of(&wish(Purpose::Clone, 1));
    assert_eq!(after.text("/etc/zabbix/zabbix_agentd.conf"), "Hostname=db7\n");
    assert_eq!(after.text("/etc/zabbix/zabbix_agent2.conf"), "Hostname=Zabbix server\n");
    assert_eq!(after.text("/etc/salt/minion_id"), "db7\n");
    assert!(plan.kept.iter().any(|kept| kept.place == "/etc/zabbix/zabbix_agent2.conf: Hostname"));
}

#[test]
fn a_template_asks_dhcp_and_a_sealed_machine_keeps_its_address() {
    let guest = house::debian();
    let (plan, template) = guest.become_of(&wish(Purpose::Generalise, 1));
    assert!(template.text("/etc/network/interfaces").contains("iface ens3 inet dhcp\n"));
    assert!(plan.changes.iter().any(|change| change.kind == Kind::STATIC_ADDRESS && change.new.is_none()));
    let mut sealed = wish(Purpose::Generalise, 1);
    sealed.operations = Operations::parse("defaults").unwrap();
    sealed.host_name = Some("sealed".to_owned());
    let (plan, after) = guest.become_of(&sealed);
    assert!(after.text("/etc/network/interfaces").contains("address 192.0.2.9/24"));
    assert!(plan.flagged.iter().any(|flagged| flagged.kind == Kind::STATIC_ADDRESS));
    assert_eq!(after.text("/etc/hostname"), "sealed\n");
    assert_eq!(after.text("/etc/machine-id"), "");
}

#[test]
fn a_directory_with_a_backups_name_stays() {
    let guest = bare().dir("/root/work.bak").file("/root/notes~", "x");
    let (_, after) = guest.become_of(&wish(Purpose::Generalise, 1));
    assert!(after.files.node("/root/work.bak").is_some() && after.files.node("/root/notes~").is_none());
}
