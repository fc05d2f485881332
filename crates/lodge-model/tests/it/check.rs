//! What is told of documents that contradict themselves or are damaged.

use expect_test::{Expect, expect};
use lodge_model::domain::{Domain, Platform};

const HEAD: &str = "<domain type='kvm'>\n<name>n</name><memory unit='MiB'>512</memory><os><type machine='q35'>hvm</type></os>\n";

fn faults(text: &str, strict: bool) -> String {
    let faults = Domain::judge(text, strict, &Platform::default()).expect_err("it has faults");
    faults.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What is told of `body` behind a proper head.
fn check(body: &str, expected: &Expect) {
    expected.assert_eq(&faults(&format!("{HEAD}{body}\n</domain>"), false));
}

#[test]
fn what_is_missing_is_named() {
    expect![[r#"
        line 1, column 1: /domain: element <name> is missing or empty
        line 1, column 1: /domain/os: element <type> is missing or empty
        line 1, column 1: /domain/memory: the amount of memory is missing"#]]
    .assert_eq(&faults("<domain type='kvm'/>", false));
    expect![[r#"
        line 1, column 1: /domain: attribute `type` is missing
        line 1, column 25: /domain/memory: `lots` is no whole number from 0 to 18446744073709551615"#]]
    .assert_eq(&faults(
        "<domain><name>a/b</name><memory>lots</memory><os><type>xen</type></os></domain>",
        false,
    ));
}

#[test]
fn damaged_texts_are_refused() {
    expect![[r#"
        line 1, column 36: Opening and ending tag mismatch: name line 1 and domain
        <domain type='kvm'><name>n</domain>
        -----------------------------------^"#]]
    .assert_eq(&faults("<domain type='kvm'><name>n</domain>", false));
    expect!["line 1, column 1: Document is empty\n(null)\n^"].assert_eq(&faults("", false));
    expect!["line 1, column 1: a DTD is not allowed"]
        .assert_eq(&faults("<!DOCTYPE d [<!ENTITY a 'x'>]><domain type='kvm'/>", false));
    expect!["line 1, column 1: /network: the document is a <network>, not a <domain>"]
        .assert_eq(&faults("<network/>", false));
    let deep = format!("<domain type='kvm'>{}{}</domain>", "<a>".repeat(300), "</a>".repeat(300));
    expect!["line 1, column 401: elements are nested more than 128 deep"].assert_eq(&faults(&deep, false));
}

#[test]
fn bad_values_are_told_with_their_places() {
    check(
        "<vcpu>two</vcpu>\n<features><vmport state='maybe'/></features>\n<devices>\n <disk type='tape'><source file='/a'/></disk>\n <disk><target dev='vdb'/><address type='pci' bus='0x100' slot='zz'/></disk>\n <disk><target dev='vdc'/><target dev='vdd'/><address type='moon'/></disk>\n <interface type='network'><mac address='1:2'/></interface></devices>",
        &expect![[r#"
            line 3, column 1: /domain/vcpu: `two` is no whole number from 0 to 4294967295
            line 4, column 19: /domain/features/vmport/@state: `maybe` is not known here (known: on, off)
            line 6, column 2: /domain/devices/disk[1]: element <target> is missing
            line 6, column 8: /domain/devices/disk[1]/@type: `tape` is not known here (known: file, block, dir, network, volume, nvme, vhostuser, vhostvdpa)
            line 7, column 47: /domain/devices/disk[2]/address/@bus: `0x100` is no number of at most 8 bits (decimal or 0x…)
            line 7, column 59: /domain/devices/disk[2]/address/@slot: `zz` is no number of at most 8 bits (decimal or 0x…)
            line 8, column 27: /domain/devices/disk[3]/target[2]: is given twice
            line 8, column 55: /domain/devices/disk[3]/address/@type: `moon` is not known here (known: pci, drive, virtio-serial, ccid, usb, spapr-vio, virtio-s390, ccw, virtio-mmio, isa, dimm, unassigned)
            line 9, column 33: /domain/devices/interface/mac/@address: `1:2` is no MAC address (six pairs of hex digits, as 52:54:00:12:34:56)"#]],
    );
}

#[test]
fn amounts_that_contradict_are_named() {
    check(
        "<currentMemory unit='GiB'>1</currentMemory><maxMemory unit='MiB'>1</maxMemory><vcpu current='4'>2</vcpu><cpu><topology sockets='2' cores='2' threads='2'/></cpu><title>a\nb</title>",
        &expect![[r#"
            line 3, column 44: /domain/maxMemory: 1 MiB is less than <memory>, 512 MiB
            line 3, column 79: /domain/vcpu/@current: 4 is more than all processors, 2
            line 3, column 110: /domain/cpu/topology: has 8 processors, <vcpu> has 2
            line 3, column 161: /domain/title: a title is one line"#]],
    );
}

#[test]
fn things_given_twice_are_named() {
    check(
        "<devices><disk><source file='/a'/><target dev='vda'/><boot order='1'/><alias name='ua-x'/></disk>\n<disk><source file='/b'/><target dev='vda'/><boot order='1'/><alias name='ua-x'/></disk>\n<controller type='usb' index='0'/><controller type='usb' index='0'/>\n<interface type='user'><mac address='52:54:00:00:00:01'/></interface><interface type='user'><mac address='52:54:00:00:00:01'/></interface>\n<rng model='virtio'><backend model='random'/><address type='pci' bus='1' slot='0'/></rng><rng model='virtio'><backend model='random'/><address type='pci' bus='0x01' slot='0x00'/></rng></devices>",
        &expect![[r#"
            line 4, column 26: /domain/devices/disk[2]/target/@dev: target `vda` is given twice
            line 4, column 45: /domain/devices/disk[2]/boot/@order: boot order 1 is given twice
            line 4, column 62: /domain/devices/disk[2]/alias/@name: alias `ua-x` is given twice
            line 5, column 35: /domain/devices/controller[2]/@index: usb controller 0 is given twice
            line 7, column 135: /domain/devices/rng[2]/address: PCI address 0000:01:00.0 is given twice"#]],
    );
}

#[test]
fn places_that_are_not_there_are_named() {
    check(
        "<devices><controller type='pci' index='0' model='pcie-root'/><controller type='pci' index='1' model='pcie-root-port'/>\n<controller type='usb' index='0' model='qemu-xhci' ports='4'/>\n<input type='tablet' bus='usb'><address type='usb' bus='0' port='5'/></input><input type='tablet' bus='usb'><address type='usb' bus='1' port='1'/></input>\n<rng model='virtio'><backend model='random'/><address type='pci' bus='1' slot='3'/></rng>\n<channel type='pty'><target type='virtio' name='a'/><address type='virtio-serial' port='31'/></channel>\n<disk><source file='/a'/><target dev='sda' bus='sata'/><address type='drive' bus='1' unit='6'/></disk></devices>",
        &expect![[r#"
            line 5, column 32: /domain/devices/input[1]/address: USB controller 0 has 4 ports
            line 5, column 109: /domain/devices/input[2]/address: there is no USB controller 1
            line 6, column 46: /domain/devices/rng/address: PCI controller 1 (pcie-root-port) has no slot 0x3
            line 7, column 53: /domain/devices/channel/address: virtio-serial 0 has no port 31; its last is 30
            line 8, column 56: /domain/devices/disk/address/@bus: on bus `sata` it is 0"#]],
    );
}

#[test]
fn sources_that_are_missing_are_named() {
    check(
        "<devices><disk><target dev='vda'/></disk><disk type='block'><source file='/x'/><target dev='vdb'/></disk><disk><source file='relative'/><target dev='a/b'/></disk><disk device='cdrom'><target dev='sda' bus='sata'/></disk>\n<interface type='network'/><interface type='bridge'><source network='x'/></interface>\n<serial type='file'/><channel type='unix'/></devices>",
        &expect![[r#"
            line 3, column 10: /domain/devices/disk[1]: element <source> is missing
            line 3, column 61: /domain/devices/disk[2]/source: attribute `dev` is missing (the disk is of type `block`)
            line 3, column 112: /domain/devices/disk[3]/source: "relative" is no absolute path
            line 3, column 137: /domain/devices/disk[3]/target/@dev: "a/b" cannot name a disk
            line 4, column 1: /domain/devices/interface[1]: <source network='…'/> is missing (the interface is of type `network`)
            line 4, column 28: /domain/devices/interface[2]: <source bridge='…'/> is missing (the interface is of type `bridge`)
            line 5, column 1: /domain/devices/serial: <source path='…'/> is missing (it is of type `file`)
            line 5, column 22: /domain/devices/channel: <source path='…'/> is missing (it is of type `unix`)
            line 5, column 22: /domain/devices/channel: a channel needs <target type='…'/>"#]],
    );
}

#[test]
fn strict_reading_names_what_is_unknown() {
    let text = format!(
        "{HEAD}<memroy>1</memroy>\n<devices><disk sized='1'><source file='/a'/><target dev='vda'/>text</disk>\n<emulator path='x'>/usr/bin/qemu</emulator><hostdevice mode='subsystem'/></devices></domain>"
    );
    expect![[r#"
        line 3, column 1: /domain/memroy: unknown element
        line 4, column 10: /domain/devices/disk: text is not allowed here
        line 4, column 16: /domain/devices/disk/@sized: unknown attribute
        line 5, column 11: /domain/devices/emulator/@path: unknown attribute
        line 5, column 44: /domain/devices/hostdevice: unknown element"#]]
    .assert_eq(&faults(&text, true));
    let domain = Domain::judge(&text, false, &Platform::default()).expect("libvirt passes over it");
    let kept: Vec<_> = domain.unsupported().iter().map(ToString::to_string).collect();
    expect![[r#"
        line 3, column 1: /domain/memroy: element is kept but not supported
        line 4, column 16: /domain/devices/disk/@sized: attribute is kept but not supported
        line 5, column 11: /domain/devices/emulator/@path: attribute is kept but not supported
        line 5, column 44: /domain/devices/hostdevice: element is kept but not supported"#]]
    .assert_eq(&kept.join("\n"));
}

#[test]
fn lack_of_room_is_told() {
    let disk = |at| format!("<disk><source file='/{at}'/><target dev='vd{at}' bus='virtio'/></disk>");
    let disks = (0..300).map(disk).collect::<Vec<_>>().concat();
    let text = format!("{HEAD}<devices>{disks}</devices></domain>");
    expect!["line 3, column 1: /domain/devices: no PCI slot is left for a device without an address"]
        .assert_eq(&faults(&text, false));
}
