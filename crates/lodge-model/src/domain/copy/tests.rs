use expect_test::expect;

use super::super::lodge::OriginKind;
use super::*;
use crate::xml::WriteOptions;

const SOURCE: &str = "<domain type='kvm'>
  <name>web1</name>
  <uuid>11111111-1111-4111-8111-111111111111</uuid>
  <genid>99999999-1111-4111-8111-111111111111</genid>
  <metadata><a:b xmlns:a='urn:a'>x</a:b></metadata>
  <memory>1024</memory>
  <sysinfo type='smbios'>
    <system>
      <entry name='manufacturer'>Example</entry>
      <entry name='serial'>S-1</entry>
      <entry name='uuid'>11111111-1111-4111-8111-111111111111</entry>
    </system>
  </sysinfo>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <loader readonly='yes' type='pflash'>/ovmf</loader>
    <nvram>/nvram/web1_VARS.fd</nvram>
  </os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none'/><source file='/pool/web1.qcow2'/>
      <backingStore type='file'><format type='qcow2'/><source file='/pool/base'/></backingStore>
      <target dev='vda' bus='virtio'/><wwn>5000c50015ea71aa</wwn>
    </disk>
    <disk type='file' device='cdrom'>
      <source file='/iso/debian.iso'/><target dev='sda' bus='sata'/><readonly/>
    </disk>
    <interface type='network'>
      <mac address='52:54:00:00:00:01'/><source network='default'/><target dev='web1-0'/>
    </interface>
    <interface type='network'><mac address='52:54:00:00:00:02'/><source network='default'/></interface>
    <serial type='file'><source path='/var/log/web1.log'/><target port='0'/></serial>
    <channel type='unix'>
      <source mode='bind' path='/run/web1.agent'/><target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <graphics type='vnc' port='5901' autoport='no'/>
    <hostdev mode='subsystem' type='pci'><source><address bus='6' slot='2'/></source></hostdev>
  </devices>
</domain>";

fn machine() -> NewMachine {
    let own = NewDisk {
        path: "/pool/web2.qcow2".to_owned(),
        format: "qcow2".to_owned(),
        backing_store: None,
        encryption: None,
    };
    NewMachine {
        name: "web2".to_owned(),
        id: "22222222-2222-4222-8222-222222222222".parse().unwrap(),
        macs: vec!["52:54:00:00:01:01".parse().unwrap(), "52:54:00:00:01:02".parse().unwrap()],
        generation: "99999999-2222-4222-8222-222222222222".parse().unwrap(),
        disks: [("vda".to_owned(), own)].into(),
        nvram: Some("/nvram/web2_VARS.fd".to_owned()),
        origin: Some(Origin { kind: OriginKind::Domain, name: "web1".to_owned(), version: None }),
        keeps_serials: false,
    }
}

#[test]
fn nothing_of_the_source_is_left_that_only_one_can_have() {
    let copied = Domain::parse(SOURCE).unwrap().copied(&machine());
    let text = copied.document.to_xml(&WriteOptions::STORED);
    for old in
        ["11111111-1111", "52:54:00:00:00", "/pool/web1", "web1_VARS", "S-1", "5901", "web1.agent", "web1-0"]
    {
        assert!(!text.contains(old), "{old} in {text}");
    }
    for kept in ["/iso/debian.iso", "Example", "urn:a", "cache='none'", "/var/log/web2.log", "wwn"] {
        assert!(text.contains(kept), "{kept} not in {text}");
    }
    // As it was, but for what only the new machine has.
    assert_eq!(Domain::parse(&text).unwrap(), copied.document);
}

#[test]
fn what_changed_and_what_stays_shared_is_told() {
    let copied = Domain::parse(SOURCE).unwrap().copied(&machine());
    let lines: Vec<String> =
        copied.differences.iter().map(|one| format!("{}: {} -> {}", one.item, one.old, one.new)).collect();
    expect![[r"
        name: web1 -> web2
        uuid: 11111111-1111-4111-8111-111111111111 -> 22222222-2222-4222-8222-222222222222
        vm-generation-id: 99999999-1111-4111-8111-111111111111 -> 99999999-2222-4222-8222-222222222222
        smbios system serial: S-1 -> 22222222-2222-4222-8222-222222222222
        smbios system uuid: 11111111-1111-4111-8111-111111111111 -> 22222222-2222-4222-8222-222222222222
        disk vda: /pool/web1.qcow2 -> /pool/web2.qcow2
        nvram: /nvram/web1_VARS.fd -> /nvram/web2_VARS.fd
        mac-address 0: 52:54:00:00:00:01 -> 52:54:00:00:01:01
        mac-address 1: 52:54:00:00:00:02 -> 52:54:00:00:01:02"]]
    .assert_eq(&lines.join("\n"));
    expect![[r"
        disk vda: the world wide name stays the source's
        interface web1-0: the host's end gets a name at the start
        vnc: the port 5901 is the source's; one is chosen at the start
        host devices are the same: only one of the two can run with them"]]
    .assert_eq(&copied.warnings.join("\n"));
}

#[test]
fn a_replacement_keeps_what_it_is_known_by() {
    let source = Domain::parse(SOURCE).unwrap();
    let id = source.uuid.unwrap();
    let new = NewMachine { id, keeps_serials: true, macs: Vec::new(), ..machine() };
    let copied = source.copied(&new).document;
    assert_eq!((copied.uuid, &copied.sysinfo), (source.uuid, &source.sysinfo));
    assert_eq!(copied.devices.interfaces[0].mac(), source.devices.interfaces[0].mac());
    // It may run twice, and must not use the same random numbers twice.
    assert_ne!(copied.genid, source.genid);
}
