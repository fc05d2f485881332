//! Guests in memory: trees and disks as the distributions make them.

use std::fmt::Write as _;

use lodge_identity::{Catalogue, Fresh, HostFacts, Identity, Operations, Plan, Purpose, Wish, verify};
use lodge_model::{
    Bytes,
    guest_disk::{
        Content, Device, DeviceKind, Edit, FileNode, FilePath, Files, Layout, Owner, Partition,
        PartitionTable,
    },
};
use uuid::Uuid;

/// The seeds' own machine id.
pub const ID: &str = "17f2e0698e844e31b12ccd3f9aa4d94a";
pub const DISK: &str = "0c1d2e3f-1111-4222-8333-444455556666";
pub const ESP: &str = "aaaa0001-1111-4222-8333-444455556666";
pub const ROOT_PART: &str = "aaaa0002-1111-4222-8333-444455556666";
pub const SWAP_PART: &str = "aaaa0003-1111-4222-8333-444455556666";
pub const ROOT: &str = "bbbb0002-1111-4222-8333-444455556666";
pub const SWAP: &str = "bbbb0003-1111-4222-8333-444455556666";
pub const VFAT: &str = "1A2B-3C4D";
pub const MAC: &str = "52:54:00:50:a7:18";
pub const CONNECTION: &str = "cccc0001-1111-4222-8333-444455556666";

/// A guest.
#[derive(Clone, Default)]
pub struct Guest {
    pub layout: Layout,
    pub files: Files,
}

pub fn path(text: &str) -> FilePath {
    FilePath::new(text).expect("a path")
}

impl Guest {
    pub fn file(mut self, at: &str, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        let owner = Owner { uid: 0, gid: 0, mode: 0o644 };
        let node = FileNode::File { size: bytes.len() as u64, bytes, owner };
        self.files.nodes.insert(path(at), node);
        self
    }

    pub fn link(mut self, at: &str, to: &str) -> Self {
        self.files.nodes.insert(path(at), FileNode::Link(to.as_bytes().to_vec()));
        self
    }

    pub fn dir(mut self, at: &str) -> Self {
        self.files.nodes.insert(path(at), FileNode::Directory(Owner { uid: 0, gid: 0, mode: 0o755 }));
        self
    }

    /// With host keys as another clone would get them.
    fn with_new_keys(mut self, seed: u8) -> Self {
        let mut wish = Wish::new(Purpose::Clone, Fresh::new([seed; 32]));
        wish.operations = Operations::parse("ssh-hostkeys").expect("a name");
        for edit in self.plan(&wish).edits {
            if let Edit::File(edit) = edit {
                self.files.apply(&edit);
            }
        }
        self
    }

    pub fn read(&self) -> Identity {
        Catalogue::builtin().read(&self.layout, &self.files, &HostFacts::default())
    }

    pub fn plan(&self, wish: &Wish) -> Plan {
        Catalogue::builtin().plan(&self.read(), &self.layout, &self.files, wish).expect("a plan")
    }

    /// The guest after a plan.
    pub fn after(&self, plan: &Plan) -> Self {
        let mut after = self.clone();
        for edit in &plan.edits {
            match edit {
                Edit::File(edit) => after.files.apply(edit),
                Edit::Device(edit) => after.layout.apply(edit),
            }
        }
        after
    }

    /// Plans, applies, and holds the outcome to the plan.
    pub fn become_of(&self, wish: &Wish) -> (Plan, Self) {
        let plan = self.plan(wish);
        let after = self.after(&plan);
        let bad: Vec<_> = verify(&self.read(), &after.read(), &plan)
            .into_iter()
            .filter(|verdict| !verdict.is_good)
            .collect();
        assert!(bad.is_empty(), "{bad:#?}\n{:#?}", plan.changes);
        (plan, after)
    }

    pub fn text(&self, at: &str) -> String {
        self.files.text(at).unwrap_or_else(|| panic!("there is no {at}"))
    }

    /// Every place of the tree and the disks that has these letters, in any case.
    pub fn places_of(&self, word: &str) -> Vec<String> {
        let word = word.to_lowercase();
        let mut found = Vec::new();
        for (at, node) in &self.files.nodes {
            let content = match node {
                FileNode::File { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
                FileNode::Link(to) => String::from_utf8_lossy(to).into_owned(),
                FileNode::Directory(_) | FileNode::Other => String::new(),
            };
            if content.to_lowercase().contains(&word) || at.to_string().to_lowercase().contains(&word) {
                found.push(at.to_string());
            }
        }
        let mut disks = String::new();
        write!(disks, "{:?}", self.layout).expect("text takes text");
        if disks.to_lowercase().contains(&word) {
            found.push("the disks".to_owned());
        }
        found
    }
}

pub fn device(name: &str, kind: DeviceKind, content: Option<(&str, &str)>, mount: Option<&str>) -> Device {
    Device {
        name: name.to_owned(),
        kind,
        bytes: Bytes(1 << 30),
        start: None,
        table: None,
        partition: None,
        volume: None,
        content: content.map(|(kind, uuid)| Content {
            kind: kind.to_owned(),
            uuid: Some(uuid.to_owned()),
            label: None,
            group: None,
            used: None,
        }),
        mount_point: mount.map(str::to_owned),
        children: Vec::new(),
    }
}

/// A GPT disk with an ESP, a root and swap.
pub fn gpt(root_kind: &str) -> Layout {
    let mut disk = device("vda", DeviceKind::Disk, None, None);
    disk.table = Some(PartitionTable::Gpt(Uuid::parse_str(DISK).expect("a UUID")));
    let parts = [
        ("vfat", VFAT, Some("/boot/efi"), ESP, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
        (root_kind, ROOT, Some("/"), ROOT_PART, "0fc63daf-8483-4772-8e79-3d69d8477de4"),
        ("swap", SWAP, None, SWAP_PART, "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"),
    ];
    for (number, (kind, uuid, mount, part, part_kind)) in (1..).zip(parts) {
        let mut child = device(&format!("vda{number}"), DeviceKind::Partition, Some((kind, uuid)), mount);
        child.partition = Some(Partition {
            number,
            kind: part_kind.to_owned(),
            uuid: part.to_owned(),
            label: String::new(),
        });
        disk.children.push(child);
    }
    Layout { disks: vec![disk] }
}

/// What every systemd guest has that was used for a while.
fn lived_in(guest: Guest) -> Guest {
    guest
        .file("/usr/lib/systemd/systemd", "")
        .file("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
        .file("/usr/sbin/sshd", "")
        .file("/etc/machine-id", format!("{ID}\n"))
        .file("/etc/ssh/sshd_config", "PermitRootLogin no\n")
        .with_new_keys(99)
        // In the old form, of which only the public half can be read.
        .file("/etc/ssh/ssh_host_rsa_key", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n")
        .file("/etc/ssh/ssh_host_rsa_key.pub", include_str!("ssh_host_rsa_key.pub"))
        .file("/var/lib/systemd/random-seed", [7; 512])
        .file("/var/lib/systemd/credential.secret", [8; 4096])
        .dir(&format!("/var/log/journal/{ID}"))
        .file("/root/.bash_history", "id\n")
        .file("/var/log/messages", "who was here\n")
        .file("/root/.ssh/id_ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n")
}

/// Debian 12, UEFI, ifupdown, with its old host name in all the usual places.
pub fn debian() -> Guest {
    lived_in(Guest { layout: gpt("ext4"), ..Guest::default() })
        .file("/etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n")
        .file("/usr/sbin/mkinitramfs", "")
        .link("/var/lib/dbus/machine-id", "/etc/machine-id")
        .file("/etc/hostname", "web1\n")
        .file("/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\tweb1.example.com\tweb1\n192.0.2.9 web1 web10\n")
        .file("/etc/mailname", "web1.example.com\n")
        .file(
            "/etc/network/interfaces",
            "auto lo\niface lo inet loopback\n\n# the card\nallow-hotplug ens3\niface ens3 inet static\n\taddress 192.0.2.9/24\n\tgateway 192.0.2.1\n\thwaddress ether 52:54:00:50:a7:18\n",
        )
        .file(
            "/etc/fstab",
            format!("# root was on vda2\nUUID={ROOT} / ext4 errors=remount-ro 0 1\nUUID={VFAT} /boot/efi vfat umask=0077 0 1\nPARTUUID={SWAP_PART} none swap sw 0 0\n"),
        )
        .file("/etc/default/grub", "GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX=\"console=ttyS0\"\n")
        .file(
            "/boot/grub/grub.cfg",
            format!("search --no-floppy --fs-uuid --set=root {ROOT}\nmenuentry 'Debian' {{\n\tlinux\t/boot/vmlinuz-6.1 root=UUID={ROOT} ro quiet\n\tinitrd\t/boot/initrd.img-6.1\n}}\n"),
        )
        .file(
            "/boot/efi/EFI/debian/grub.cfg",
            format!("search.fs_uuid {ROOT} root\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n"),
        )
        .file("/boot/efi/EFI/BOOT/BOOTX64.EFI", "")
        .file("/boot/initrd.img-6.1", "")
        .file("/etc/initramfs-tools/conf.d/resume", format!("RESUME=UUID={SWAP}\n"))
        .file("/var/lib/dhcp/dhclient.ens3.leases", "lease { }\n")
        .file("/etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.1993-08.org.debian:01:0123456789ab\n")
}

/// AlmaLinux 9, with ifcfg and keyfile, NetworkManager, boot entries named after the machine id, dracut.
pub fn fedora() -> Guest {
    lived_in(Guest { layout: gpt("xfs"), ..Guest::default() })
        .file("/etc/os-release", "NAME=AlmaLinux\nID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\n")
        .file("/usr/bin/dracut", "")
        .file("/etc/hostname", "rhel8.example.com\n")
        .file("/etc/hosts", "127.0.0.1 localhost\n192.0.2.9 rhel8.example.com rhel8\n")
        .file("/etc/sysconfig/network", "NETWORKING=yes\nHOSTNAME=rhel8.example.com\n")
        .file(
            "/etc/sysconfig/network-scripts/ifcfg-eth0",
            format!("DEVICE=eth0\nHWADDR=\"52:54:00:50:A7:18\"\nUUID={CONNECTION}\nBOOTPROTO=none\nIPADDR=192.0.2.9\nPREFIX=24\nGATEWAY=192.0.2.1\nDHCP_CLIENT_ID=ff:00:11\n"),
        )
        .file(
            "/etc/NetworkManager/system-connections/lan.nmconnection",
            "[connection]\nid=lan\nuuid=cccc0002-1111-4222-8333-444455556666\ntype=ethernet\n\n[ethernet]\nmac-address=52:54:00:50:A7:18\n\n[ipv4]\nmethod=auto\n",
        )
        .file("/var/lib/NetworkManager/secret_key", [9; 50])
        .file("/var/lib/NetworkManager/seen-bssids", "x")
        .file("/etc/fstab", format!("UUID={ROOT} / xfs defaults 0 0\nUUID={VFAT} /boot/efi vfat defaults 0 2\nUUID={SWAP} none swap defaults 0 0\n"))
        .file(
            &format!("/boot/loader/entries/{ID}-5.14.0.conf"),
            format!("title AlmaLinux\nversion 5.14.0\nlinux /vmlinuz-5.14.0\noptions root=UUID={ROOT} ro resume=UUID={SWAP}\n"),
        )
        .file("/boot/grub2/grubenv", format!("# GRUB Environment Block\nsaved_entry={ID}-5.14.0\n####"))
        .file("/boot/efi/EFI/almalinux/grub.cfg", format!("search --no-floppy --fs-uuid --set=dev {ROOT}\n"))
        .file("/boot/efi/EFI/BOOT/BOOTX64.EFI", "")
        .file("/etc/nvme/hostid", "dddd0001-1111-4222-8333-444455556666\n")
        .file("/etc/nvme/hostnqn", "nqn.2014-08.org.nvmexpress:uuid:dddd0001-1111-4222-8333-444455556666\n")
        .file("/etc/pki/consumer/cert.pem", "-----BEGIN CERTIFICATE-----\n")
}

/// openSUSE with wicked and grub2 on a DOS disk.
pub fn suse() -> Guest {
    let mut disk = device("sda", DeviceKind::Disk, None, None);
    disk.table = Some(PartitionTable::Dos(0x1a2b_3c4d));
    for (number, kind, uuid, mount) in [(1, "swap", SWAP, None), (2, "btrfs", ROOT, Some("/"))] {
        let mut child = device(&format!("sda{number}"), DeviceKind::Partition, Some((kind, uuid)), mount);
        child.partition = Some(Partition {
            number,
            kind: "83".to_owned(),
            uuid: format!("1a2b3c4d-{number:02x}"),
            label: String::new(),
        });
        disk.children.push(child);
    }
    lived_in(Guest { layout: Layout { disks: vec![disk] }, ..Guest::default() })
        .file("/etc/os-release", "NAME=\"openSUSE Leap\"\nID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n")
        .file("/var/lib/dbus/machine-id", format!("{ID}\n"))
        .file("/etc/hostname", "leap.example.com\n")
        .link("/etc/HOSTNAME", "hostname")
        .file(
            "/etc/sysconfig/network/ifcfg-eth0",
            "BOOTPROTO='static'\nSTARTMODE='auto'\nIPADDR='192.0.2.9/24'\nLLADDR='52:54:00:50:a7:18'\n",
        )
        .file("/var/lib/wicked/duid.xml", "<client><duid>00:01</duid></client>\n")
        .file("/var/lib/wicked/lease-eth0-dhcp-ipv4.xml", "<lease/>\n")
        .file("/etc/zypp/credentials.d/SCCcredentials", "username=SCC_x\npassword=y\n")
        .file("/var/lib/zypp/AnonymousUniqueId", "eeee0001-1111-4222-8333-444455556666")
        .file(
            "/etc/fstab",
            format!(
                "UUID={ROOT} / btrfs defaults 0 0\n/dev/disk/by-partuuid/1a2b3c4d-01 swap swap defaults 0 0\n"
            ),
        )
        .file(
            "/boot/grub2/grub.cfg",
            format!("linux /boot/vmlinuz root=UUID={ROOT} resume=/dev/disk/by-uuid/{SWAP}\n"),
        )
}

/// Arch with systemd-boot, systemd-networkd, and kernels in a directory named after the machine id.
pub fn arch() -> Guest {
    lived_in(Guest { layout: gpt("ext4"), ..Guest::default() })
        .file("/etc/os-release", "NAME=\"Arch Linux\"\nID=arch\n")
        .file("/usr/bin/mkinitcpio", "")
        .file("/etc/hostname", "archie\n")
        .file("/etc/fstab", format!("PARTUUID={ROOT_PART} / ext4 rw 0 1\nUUID={VFAT} /boot/efi vfat rw 0 2\n"))
        .file(
            "/boot/efi/loader/entries/arch.conf",
            format!("title Arch\nlinux /vmlinuz-linux\noptions root=PARTUUID={ROOT_PART} rw systemd.machine_id={ID}\n"),
        )
        .file("/boot/efi/loader/random-seed", [6; 32])
        .file("/boot/efi/EFI/BOOT/BOOTX64.EFI", "")
        .file(
            "/etc/systemd/network/20-wired.network",
            "[Match]\nMACAddress=52:54:00:50:a7:18\n\n[Network]\nAddress=192.0.2.9/24\nGateway=192.0.2.1\n\n[DHCPv4]\nDUIDRawData=00:11:22\n",
        )
        .file(
            "/etc/systemd/network/10-lan.link",
            "[Match]\nPermanentMACAddress=52:54:00:50:a7:18\n\n[Link]\nName=lan0\n",
        )
}

/// Alpine with OpenRC, extlinux, and no D-Bus.
pub fn alpine() -> Guest {
    Guest { layout: gpt("ext4"), ..Guest::default() }
        .file("/etc/os-release", "NAME=\"Alpine Linux\"\nID=alpine\n")
        .file("/sbin/openrc-run", "")
        .file("/etc/passwd", "root:x:0:0:root:/root:/bin/ash\n")
        .file("/usr/sbin/sshd", "")
        .file("/etc/ssh/sshd_config", "HostKey /etc/ssh/keys/host_ed25519\n")
        .file("/etc/hostname", "alp\n")
        .file("/etc/hosts", "127.0.0.1\talp localhost\n")
        .file(
            "/etc/network/interfaces",
            "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n\thostname alp\n",
        )
        .file("/var/lib/misc/random-seed", [5; 512])
        .file("/etc/fstab", format!("UUID={ROOT}\t/\text4\trw\t0 1\n"))
        .file("/etc/update-extlinux.conf", format!("root=UUID={ROOT}\n"))
        .file("/boot/extlinux.conf", format!("LABEL lts\n  APPEND root=UUID={ROOT} modules=ext4 quiet\n"))
        .with_new_keys(98)
}
