//! The host's devices on a host made of files, whose kernel is ours: what is written is seen, each act may fail, and
//! the daemon may die at each.

#![allow(clippy::format_push_string, reason = "tables of a few lines")]

mod function;
mod host;

use std::collections::BTreeMap;

use expect_test::expect;
use lodge_model::{DomainId, Kind};

use super::*;
use host::{Host, document};

const NIC: &str = "<hostdev mode='subsystem' type='pci' managed='yes'><driver name='vfio'/>\
                   <source><address bus='1' slot='0' function='0'/></source></hostdev>";
const AUDIO: &str = "<hostdev mode='subsystem' type='pci' managed='yes'>\
                     <source><address bus='1' slot='0' function='1'/></source><address type='unassigned'/></hostdev>";
const USB: &str = "<hostdev mode='subsystem' type='usb'><source><vendor id='0x0951'/><product id='0x1666'/></source></hostdev>";
const GUEST: User = User { uid: 0x7000_0001, gid: 0x7000_0001 };

/// A virtual function as an interface.
fn card(place: &str, managed: &str, rest: &str) -> String {
    format!(
        "<interface type='hostdev' managed='{managed}'><mac address='52:54:00:00:00:77'/>\
         <source><address type='pci' {place}/></source>{rest}</interface>"
    )
}
const VF0: &str = "bus='2' slot='0x10' function='0'";
const VF1: &str = "bus='2' slot='0x10' function='2'";

/// A claim by a guest with a user of its own.
async fn claim(hostdevs: &Hostdevs, id: DomainId, devices: &str) -> Result<Vec<Claimed>, HostdevError> {
    hostdevs.claim(id, &document(id, devices), Some(GUEST), Begin::Fresh).await
}

/// An error as a person sees it.
fn told(error: &HostdevError) -> String {
    let mut text = format!("{} ({})", error, error.kind());
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text + &error.hint().map(|hint| format!("\n  → {hint}")).unwrap_or_default()
}

#[tokio::test]
async fn a_managed_group_goes_to_vfio_and_comes_back() {
    let host = Host::new();
    let (before, hostdevs, id) = (host.state(), host.open(), DomainId::random());
    let both = format!("{NIC}{AUDIO}");
    let claimed = claim(&hostdevs, id, &both).await.unwrap();
    assert!(claimed.iter().all(|one| matches!(one.gift, Gift::Vfio { .. })) && claimed.len() == 2);
    expect![[r"
        load vfio-pci
        write sys/bus/pci/devices/0000:01:00.0/driver_override: vfio-pci
        write sys/bus/pci/devices/0000:01:00.0/driver/unbind: 0000:01:00.0
        write sys/bus/pci/drivers_probe: 0000:01:00.0
        write sys/bus/pci/devices/0000:01:00.1/driver_override: vfio-pci
        write sys/bus/pci/devices/0000:01:00.1/driver/unbind: 0000:01:00.1
        write sys/bus/pci/drivers_probe: 0000:01:00.1
        settle
        give dev/vfio/7: 1879048193:1879048193
    "]]
    .assert_eq(&host.log());
    // After a crash the claim is made again, and still knows whose the devices were.
    let claimed = claim(&hostdevs, id, &both).await.unwrap();
    assert!(claimed.iter().all(|one| matches!(one.gift, Gift::Vfio { taken: true })), "{claimed:?}");
    host.log();
    hostdevs.release(id).await.unwrap();
    assert_eq!(host.state(), before);
    expect![[r#"
        give dev/vfio/7: 0:0
        write sys/bus/pci/devices/0000:01:00.1/driver_override: "\n"
        write sys/bus/pci/devices/0000:01:00.1/driver/unbind: 0000:01:00.1
        write sys/bus/pci/drivers/snd_hda_intel/bind: 0000:01:00.1
        write sys/bus/pci/devices/0000:01:00.0/driver_override: "\n"
        write sys/bus/pci/devices/0000:01:00.0/driver/unbind: 0000:01:00.0
        write sys/bus/pci/drivers/e1000/bind: 0000:01:00.0
    "#]]
    .assert_eq(&host.log());
    hostdevs.release(id).await.unwrap();
    assert_eq!((host.log().as_str(), host.notes()), ("", 0));
}

#[tokio::test]
async fn whichever_act_fails_nothing_is_left() {
    let devices = format!("{NIC}{AUDIO}{USB}");
    let mut acts = 0;
    for failing in 1.. {
        let host = Host::new();
        let (before, hostdevs, id) = (host.state(), host.open(), DomainId::random());
        host.fail(failing, false);
        let outcome = claim(&hostdevs, id, &devices).await;
        if outcome.is_ok() {
            break;
        }
        acts = failing;
        assert_eq!((host.state(), host.notes()), (before, 0), "act {failing}");
        let other = DomainId::random();
        claim(&hostdevs, other, &devices).await.unwrap_or_else(|error| panic!("act {failing}: {error}"));
    }
    assert_eq!(acts, 7, "every write and every change of an owner was tried");
}

#[tokio::test]
async fn wherever_the_daemon_dies_the_next_one_gives_back() {
    let devices = format!("{NIC}{AUDIO}{USB}");
    for dying in 1.. {
        let host = Host::new();
        let (before, id) = (host.state(), DomainId::random());
        host.fail(dying, true);
        let outcome = claim(&host.open(), id, &devices).await;
        host.fail(0, false);
        let next = host.open();
        // Until it is settled, the devices are that guest's.
        let refused = claim(&next, DomainId::random(), &devices).await.unwrap_err();
        assert!(matches!(&refused.fault, Fault::Taken { by, .. } if by.starts_with("guest-")), "{refused}");
        next.sweep(|_| true).await;
        assert_eq!(host.notes(), 1, "a guest of which something is there settles it itself");
        next.sweep(|_| false).await;
        assert_eq!((host.state(), host.notes()), (before, 0), "act {dying}");
        claim(&next, DomainId::random(), &devices).await.unwrap();
        if outcome.is_ok() {
            break;
        }
    }
}

#[tokio::test]
async fn a_giving_back_that_dies_is_done_by_the_next() {
    let devices = format!("{NIC}{AUDIO}");
    for dying in 1.. {
        let host = Host::new();
        let (before, hostdevs, id) = (host.state(), host.open(), DomainId::random());
        claim(&hostdevs, id, &devices).await.unwrap();
        let note = host.note(id);
        host.fail(dying, true);
        let outcome = hostdevs.release(id).await;
        let is_over = host.acts() < dying;
        host.fail(0, false);
        if outcome.is_err() {
            let refused = claim(&hostdevs, DomainId::random(), NIC).await.unwrap_err();
            assert!(matches!(refused.fault, Fault::Taken { .. }), "not free before it is back");
        }
        // Who is dead removes no note.
        host.put_note(id, &note);
        host.open().release(id).await.unwrap();
        assert_eq!((host.state(), host.notes()), (before, 0), "act {dying}");
        if is_over {
            break;
        }
    }
}

#[tokio::test]
async fn what_one_guest_has_no_other_gets() {
    let host = Host::new();
    let (hostdevs, id) = (host.open(), DomainId::random());
    let unit = |shared: &str| {
        format!(
            "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host2'/>\
             <address bus='0' target='3' unit='0'/></source>{shared}</hostdev>"
        )
    };
    let mdev = "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>\
                <address uuid='53764d0e-85a0-42b4-af5c-2046b460b1dc'/></source></hostdev>";
    let vhost = "<hostdev mode='subsystem' type='scsi_host'><source protocol='vhost' wwpn='naa.5123456789abcde0'/></hostdev>";
    let tpm = "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>";
    let all = format!("{NIC}{AUDIO}{USB}{}{mdev}{vhost}{tpm}", unit(""));
    claim(&hostdevs, id, &all).await.unwrap();
    // A daemon that starts anew knows it, before it has taken the guest over and after.
    let next = host.open();
    next.adopt(id, &document(id, &all), &[]).await.unwrap();
    let mut table = String::new();
    for one in [NIC, AUDIO, USB, &unit(""), &unit("<shareable/>"), mdev, vhost, tpm] {
        for hostdevs in [&hostdevs, &next] {
            let error = claim(hostdevs, DomainId::random(), one).await.unwrap_err();
            let name = document(id, "").name;
            table += &format!("{}\n", told(&error).replace(&name, "NAME"));
        }
    }
    let lines: Vec<&str> = table.lines().step_by(4).collect();
    expect![[r"
        /domain/devices/hostdev[1]: PCI device 0000:01:00.0 is in use by domain NAME (conflict)
        /domain/devices/hostdev[1]: PCI device 0000:01:00.1 is in use by domain NAME (conflict)
        /domain/devices/hostdev[1]: USB device 001/004 is in use by domain NAME (conflict)
        /domain/devices/hostdev[1]: SCSI device 2:0:3:0 is in use by domain NAME (conflict)
        /domain/devices/hostdev[1]: SCSI device 2:0:3:0 is in use by domain NAME (conflict)
        /domain/devices/hostdev[1]: mediated device 53764d0e-85a0-42b4-af5c-2046b460b1dc is in use by domain NAME (conflict)
        /domain/devices/hostdev[1]: SCSI_host device naa.5123456789abcde0 is in use by domain NAME (conflict)
        /domain/devices/tpm[1]: TPM device /dev/tpm0 is in use by domain NAME (conflict)"]]
    .assert_eq(&lines.join("\n"));
    next.release(id).await.unwrap();
    let [one, other] = [DomainId::random(), DomainId::random()];
    claim(&next, one, &unit("<shareable/>")).await.unwrap();
    claim(&next, other, &unit("<shareable/>")).await.unwrap();
    assert!(claim(&next, id, &unit("")).await.is_err(), "who shares says so");
}

#[tokio::test]
async fn devices_are_opened_as_qemu_needs_them() {
    let host = Host::new();
    let (hostdevs, id) = (host.open(), DomainId::random());
    let devices = format!(
        "{USB}<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host2'/>\
         <address bus='0' target='3' unit='0'/></source></hostdev>\
         <hostdev mode='subsystem' type='usb'><source startupPolicy='optional'><vendor id='1'/><product id='2'/></source></hostdev>\
         <input type='evdev'><source dev='/dev/input/event3' grab='all'/></input>\
         <input type='passthrough' bus='virtio'><source evdev='/dev/input/event4'/></input>\
         <tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>\
         <graphics type='vnc'/><graphics type='egl-headless'/>\
         <graphics type='spice'><listen type='none'/><gl enable='no' rendernode='/dev/dri/renderD129'/></graphics>"
    );
    let claimed = claim(&hostdevs, id, &devices).await.unwrap();
    let mut table = String::new();
    for Claimed { alias, gift } in &claimed {
        let path = |fd: &OwnedFd| host.path_of(fd);
        table += &match gift {
            Gift::Usb { fd, bus, device } => format!("{alias}: {} at {bus}/{device}\n", path(fd)),
            Gift::Opened(fd) => format!("{alias}: {}\n", path(fd)),
            Gift::Vfio { .. } => format!("{alias}: vfio\n"),
            Gift::Tpm { device, cancel } => format!("{alias}: {} {}\n", path(device), path(cancel)),
            Gift::Security { .. } => format!("{alias}: security\n"),
            Gift::Missing => format!("{alias}: missing\n"),
        };
    }
    expect![[r"
        hostdev0: dev/bus/usb/001/004 at 1/4
        hostdev1: dev/sg5
        hostdev2: missing
        input0: dev/input/event3
        input1: dev/input/event4
        tpm0: dev/tpm0 sys/class/tpm/tpm0/device/cancel
        graphics1: dev/dri/renderD128
    "]]
    .assert_eq(&table);
    expect![[r"
        node dev/sg5 of 21 for Some(1879048193)
        node dev/input/event3 of 13 for Some(1879048193)
        node dev/input/event4 of 13 for Some(1879048193)
        node dev/dri/renderD128 of 226 for Some(1879048193)
    "]]
    .assert_eq(&host.log());
    // Nothing of the host's is changed for these, and a guest of the same event device is no conflict.
    let input = "<input type='evdev'><source dev='/dev/input/event3'/></input>";
    claim(&hostdevs, DomainId::random(), input).await.unwrap();
}

#[tokio::test]
async fn a_screen_gets_the_render_node_it_names_or_hears_that_there_is_none() {
    let host = Host::new();
    let (hostdevs, id) = (host.open(), DomainId::random());
    let named =
        "<graphics type='dbus' p2p='yes'><gl enable='yes' rendernode='/dev/dri/renderD129'/></graphics>";
    claim(&hostdevs, id, named).await.unwrap();
    // Others may draw by it, too.
    claim(&hostdevs, DomainId::random(), named).await.unwrap();
    assert_eq!(host.log(), "node dev/dri/renderD129 of 226 for Some(1879048193)\n".repeat(2));
    std::fs::remove_dir_all(host.root().join("dev/dri")).unwrap();
    let error = claim(&hostdevs, id, "<graphics type='egl-headless'/>").await.unwrap_err();
    expect![[r"
        /domain/devices/graphics[1]: No DRM render nodes available (not_found)
          → `ls /dev/dri` shows them: the kernel makes one for each graphics card that it has a driver for"]]
    .assert_eq(&told(&error));
    claim(&hostdevs, id, "<graphics type='spice'/>").await.unwrap();
}

/// What cannot be given is refused by name, with what to do.
#[tokio::test]
async fn refusals_name_the_device() {
    let host = Host::new();
    let hostdevs = host.open();
    let pci = |slot: &str, managed: &str| {
        format!(
            "<hostdev mode='subsystem' type='pci' managed='{managed}'><source><address {slot}/></source></hostdev>"
        )
    };
    let usb = |source: &str| format!("<hostdev mode='subsystem' type='usb'>{source}</hostdev>");
    let cases: BTreeMap<&str, String> = [
        ("a bridge", pci("bus='0' slot='1' function='0'", "yes")),
        ("a module that is not there", NIC.replace("name='vfio'", "name='vfio' model='nvgrace_gpu_vfio_pci'") + AUDIO),
        ("a part of a group", NIC.to_owned()),
        ("no IOMMU", pci("bus='0' slot='3' function='0'", "yes")),
        ("no such PCI device", pci("bus='9' slot='0' function='0'", "yes")),
        ("not freed", pci("bus='1' slot='0' function='0'", "no")),
        ("no such USB device", usb("<source><vendor id='0x1234'/><product id='0xbeef'/></source>")),
        ("no such address", usb("<source startupPolicy='mandatory'><address bus='1' device='9'/></source>")),
        ("both, not one", usb("<source><vendor id='0x0951'/><product id='0x1666'/><address bus='1' device='9'/></source>")),
        ("two of them", usb("<source><vendor id='0x046d'/><product id='0xc31c'/></source>")),
        ("insisted on", usb("<source startupPolicy='requisite'><vendor id='1'/><product id='2'/></source>")),
        (
            "no such unit",
            "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host2'/>\
             <address bus='0' target='4' unit='0'/></source></hostdev>"
                .to_owned(),
        ),
        (
            "no such target",
            "<hostdev mode='subsystem' type='scsi_host'><source protocol='vhost' wwpn='naa.5123456789abcde1'/></hostdev>"
                .to_owned(),
        ),
        ("no such event device", "<input type='evdev'><source dev='/dev/input/event9'/></input>".to_owned()),
        (
            "twice by other names",
            format!("{USB}{}", usb("<source><address bus='1' device='4'/></source>")),
        ),
    ]
    .into();
    let (before, mut table) = (host.state(), String::new());
    for (what, devices) in cases {
        let error = claim(&hostdevs, DomainId::random(), &devices).await.expect_err(what);
        table += &format!("{what}: {}\n", told(&error));
    }
    assert_eq!((host.state(), host.notes()), (before, 0));
    let root = host.root().display().to_string();
    expect![[r"
        a bridge: /domain/devices/hostdev[1]: Non-endpoint PCI devices cannot be assigned to guests: 0000:00:01.0 (unsupported)
          → name a device behind the bridge
        a module that is not there: /domain/devices/hostdev[1]: the host has no driver nvgrace_gpu_vfio_pci (unsupported)
          → load it: modprobe nvgrace_gpu_vfio_pci (the kernel needs CONFIG_VFIO_PCI)
        a part of a group: /domain/devices/hostdev[1]: PCI device 0000:01:00.0 cannot be given alone: IOMMU group 7 has 0000:01:00.1 (driver snd_hda_intel), too (conflict)
          → give the guest all of the group, or free the others of their drivers; address type='unassigned' takes a device from the host without giving it to the guest
        both, not one: /domain/devices/hostdev[1]: Did not find USB device 0951:1666 bus:1 device:9 (not_found)
          → `lsusb`, `lspci -D` and `lsscsi -g` list what the host has
        insisted on: /domain/devices/hostdev[1]: Did not find USB device 0001:0002 (not_found)
          → `lsusb`, `lspci -D` and `lsscsi -g` list what the host has
        no IOMMU: /domain/devices/hostdev[1]: host doesn't support passthrough of host PCI devices: PCI device 0000:00:03.0 is in no IOMMU group (unsupported)
          → turn the IOMMU on: VT-d or AMD-Vi in the firmware, and `intel_iommu=on` (Intel) on the kernel's command line; /sys/kernel/iommu_groups then has the groups
        no such PCI device: /domain/devices/hostdev[1]: Did not find PCI device 0000:09:00.0 (not_found)
          → `lsusb`, `lspci -D` and `lsscsi -g` list what the host has
        no such USB device: /domain/devices/hostdev[1]: Did not find USB device 1234:beef (not_found)
          → `lsusb`, `lspci -D` and `lsscsi -g` list what the host has
        no such address: /domain/devices/hostdev[1]: Did not find USB device bus:1 device:9 (not_found)
          → `lsusb`, `lspci -D` and `lsscsi -g` list what the host has
        no such event device: /domain/devices/input[1]: cannot open `/dev/input/event9` (not_found): No such file or directory (os error 2)
          → check that the device is there and that the daemon may open it
        no such target: /domain/devices/hostdev[1]: Did not find the vhost-scsi target naa.5123456789abcde1 (not_found)
          → `targetcli` makes it: /vhost create
        no such unit: /domain/devices/hostdev[1]: Did not find SCSI device 2:0:4:0, or the kernel's module sg for it (not_found)
          → `lsusb`, `lspci -D` and `lsscsi -g` list what the host has
        not freed: /domain/devices/hostdev[1]: Unmanaged PCI device 0000:01:00.0 must be manually detached from the host: driver e1000 has it (invalid_state)
          → use managed='yes', or bind the device to vfio-pci beforehand
        twice by other names: /domain/devices/hostdev[2]: USB device 001/004 is in the document twice (invalid_input)
        two of them: /domain/devices/hostdev[1]: Multiple USB devices for 46d:c31c, use <address> to specify one: bus='1' device='5', bus='2' device='3' (invalid_input)
    "]].assert_eq(&table.replace(&format!("{root}/"), "/"));
    assert_eq!(Kind::Conflict.as_str(), "conflict");
}

#[tokio::test]
async fn a_usb_device_is_found_again_after_memory_was_saved() {
    let host = Host::new();
    let (hostdevs, id) = (host.open(), DomainId::random());
    // Plugged in anew meanwhile: the number is another's.
    let saved = USB.replace("</source>", "<address bus='1' device='2'/></source>");
    assert!(claim(&hostdevs, id, &saved).await.is_err());
    let claimed = hostdevs.claim(id, &document(id, &saved), None, Begin::FromMemory).await.unwrap();
    assert!(matches!(claimed[0].gift, Gift::Usb { bus: 1, device: 4, .. }), "{claimed:?}");
    hostdevs.release(id).await.unwrap();
    let requisite = USB.replace("<source>", "<source startupPolicy='requisite'>").replace("0x0951", "0x0001");
    let claimed = hostdevs.claim(id, &document(id, &requisite), None, Begin::FromMemory).await.unwrap();
    assert!(matches!(claimed[0].gift, Gift::Missing));
}

#[tokio::test]
async fn what_was_on_vfio_before_stays_there() {
    let host = Host::new();
    host.bind("0000:01:00.0", "vfio-pci");
    host.bind("0000:01:00.1", "vfio-pci");
    let (before, hostdevs, id) = (host.state(), host.open(), DomainId::random());
    let claimed = claim(&hostdevs, id, &NIC.replace("managed='yes'", "managed='no'")).await.unwrap();
    assert!(matches!(claimed[0].gift, Gift::Vfio { taken: false }));
    hostdevs.adopt(id, &document(id, NIC), &[]).await.unwrap();
    hostdevs.release(id).await.unwrap();
    assert_eq!(host.state(), before);
    assert!(!host.log().contains("write"), "its driver was left alone");
}

#[tokio::test]
async fn a_device_that_libvirtd_took_is_given_back_to_whom_the_kernel_chooses() {
    let host = Host::new();
    let (before, hostdevs, id) = (host.state(), host.open(), DomainId::random());
    for device in ["0000:01:00.0", "0000:01:00.1"] {
        host.bind(device, "vfio-pci");
    }
    let live = document(id, &format!("{NIC}{AUDIO}"));
    let taken = ["hostdev0".to_owned(), "hostdev1".to_owned()];
    hostdevs.adopt(id, &live, &taken).await.unwrap();
    hostdevs.adopt(id, &live, &taken).await.unwrap();
    assert!(claim(&hostdevs, DomainId::random(), NIC).await.is_err());
    hostdevs.release(id).await.unwrap();
    assert_eq!(host.state(), before);
}

/// An NVMe controller is taken and given back as any PCI device; that of two disks is one too many.
#[tokio::test]
async fn a_namespace_takes_its_controller() {
    let host = Host::new();
    let (before, hostdevs, id) = (host.state(), host.open(), DomainId::random());
    let disk = |managed: &str, target: &str| {
        format!(
            "<disk type='nvme'><source type='pci' managed='{managed}' namespace='1'>\
             <address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source><target dev='{target}'/></disk>"
        )
    };
    let error = claim(&hostdevs, id, &(disk("no", "vda") + AUDIO)).await.unwrap_err();
    assert!(
        matches!(error.fault, Fault::Unmanaged { .. }) && error.element == "/domain/devices/disk[1]",
        "{error}"
    );
    let error = claim(&hostdevs, id, &(disk("yes", "vda") + &disk("yes", "vdb") + AUDIO)).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Twice { .. }), "{error}");
    let devices = disk("yes", "vda") + AUDIO;
    let claimed = claim(&hostdevs, id, &devices).await.unwrap();
    assert!(
        claimed.iter().any(|one| one.alias == "virtio-disk0" && matches!(one.gift, Gift::Vfio { .. })),
        "{claimed:?}"
    );
    assert!(claim(&hostdevs, DomainId::random(), NIC).await.is_err(), "one guest at a time");
    hostdevs.release(id).await.unwrap();
    assert_eq!(host.state(), before);
    for device in ["0000:01:00.0", "0000:01:00.1"] {
        host.bind(device, "vfio-pci");
    }
    hostdevs.adopt(id, &document(id, &devices), &["hostdev0".to_owned()]).await.unwrap();
    hostdevs.release(id).await.unwrap();
    assert_eq!(host.state(), before, "of a guest that a libvirt daemon had, too");
}

#[tokio::test]
async fn a_device_that_libvirtd_found_at_vfio_stays_there() {
    let host = Host::new();
    for device in ["0000:01:00.0", "0000:01:00.1"] {
        host.bind(device, "vfio-pci");
    }
    let (before, hostdevs, id) = (host.state(), host.open(), DomainId::random());
    hostdevs.adopt(id, &document(id, &format!("{NIC}{AUDIO}")), &[]).await.unwrap();
    hostdevs.release(id).await.unwrap();
    assert_eq!(host.state(), before);
}

#[tokio::test]
async fn notes_of_another_boot_say_nothing() {
    let host = Host::new();
    let id = DomainId::random();
    claim(&host.open(), id, &format!("{NIC}{AUDIO}")).await.unwrap();
    let after = host.reboot();
    claim(&after, DomainId::random(), USB).await.unwrap();
    let before = host.state();
    host.log();
    after.sweep(|other| other != id).await;
    assert_eq!((host.state(), host.log().as_str(), host.notes()), (before, "", 1));
}

#[tokio::test]
async fn what_a_driver_does_not_finish_is_named_and_not_waited_for() {
    let host = Host::new();
    let (before, id) = (host.state(), DomainId::random());
    let hostdevs = host.open_impatient(Duration::from_millis(100));
    let both = format!("{NIC}{AUDIO}");
    claim(&hostdevs, id, &both).await.unwrap();
    let during = host.state();
    let stuck = host.stick();
    let error = hostdevs.release(id).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let act = format!(
        "writing `0000:01:00.1` to `{}/sys/bus/pci/devices/0000:01:00.1/driver/unbind` is not done",
        host.root().display()
    );
    assert!(error.to_string().contains(&act), "{error}");
    // Meanwhile the guest gets nothing, and is told the same.
    let error = claim(&hostdevs, id, &both).await.unwrap_err();
    assert!(error.to_string().contains("driver/unbind` is not done"), "{error}");
    // One more asks for all back, and is overtaken by the next start.
    let _ = hostdevs.release(id).await.unwrap_err();
    tokio::task::spawn_blocking(move || stuck.wait()).await.unwrap();
    // The end that was asked for is done, whoever waits for it; then the guest has all again.
    while host.state() != before {
        tokio::task::yield_now().await;
    }
    while claim(&hostdevs, id, &both).await.is_err() {}
    assert_eq!(host.state(), during);
    hostdevs.release(id).await.unwrap();
    assert_eq!(host.state(), before);
}

#[tokio::test]
async fn a_person_takes_a_device_and_gives_it_back() {
    let host = Host::new();
    let (before, hostdevs, id) = (host.state(), host.open(), DomainId::random());
    let device = "0000:02:10.0";
    host.log();
    hostdevs.detach(device, None).await.unwrap();
    expect![[r"
        load vfio-pci
        write sys/bus/pci/devices/0000:02:10.0/driver_override: vfio-pci
        write sys/bus/pci/devices/0000:02:10.0/driver/unbind: 0000:02:10.0
        write sys/bus/pci/drivers_probe: 0000:02:10.0
        settle
    "]]
    .assert_eq(&host.log());
    hostdevs.detach(device, Some("vfio")).await.unwrap();
    assert_eq!(host.log(), "", "it is taken already");
    // It is ready for a guest that manages nothing, which leaves it so.
    let own = card(VF0, "no", "");
    claim(&hostdevs, id, &own).await.unwrap();
    for error in [
        hostdevs.reattach(device).await.unwrap_err(),
        hostdevs.detach(device, None).await.unwrap_err(),
        hostdevs.reset(device).await.unwrap_err(),
    ] {
        assert!(told(&error).starts_with("PCI device 0000:02:10.0 is in use by domain guest-"), "{error}");
    }
    hostdevs.release(id).await.unwrap();
    host.log();
    hostdevs.reattach(device).await.unwrap();
    expect![[r#"
        write sys/bus/pci/devices/0000:02:10.0/driver_override: "\n"
        write sys/bus/pci/devices/0000:02:10.0/driver/unbind: 0000:02:10.0
        write sys/bus/pci/drivers_probe: 0000:02:10.0
        settle
    "#]]
    .assert_eq(&host.log());
    assert_eq!(host.state(), before);
    let none = hostdevs.reset(device).await.unwrap_err();
    assert!(none.to_string().ends_with("no FLR, PM reset or bus reset available"), "{none}");
    let wrong = hostdevs.detach(device, Some("../igbvf")).await.unwrap_err();
    assert_eq!((wrong.to_string().as_str(), host.state()), ("the host has no driver ../igbvf", before));
    let bridge = hostdevs.detach("0000:00:01.0", None).await.unwrap_err();
    assert!(bridge.to_string().contains("Non-endpoint"), "{bridge}");
}
