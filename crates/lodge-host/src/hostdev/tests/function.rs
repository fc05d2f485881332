//! Virtual functions as interfaces: their addresses and VLANs at the card, kept and given back.

use super::*;

#[tokio::test]
async fn a_virtual_function_has_the_documents_address_and_vlan_as_long_as_the_guest_runs() {
    let host = Host::new();
    let (before, hostdevs, id) = (host.state(), host.open(), DomainId::random());
    let device = card(VF0, "yes", "<vlan><tag id='42'/></vlan>");
    let claimed = claim(&hostdevs, id, &device).await.unwrap();
    assert!(matches!(claimed[..], [Claimed { gift: Gift::Vfio { .. }, .. }]), "{claimed:?}");
    assert_eq!(claimed[0].alias, "hostdev0");
    expect![[r"
        load vfio-pci
        write sys/bus/pci/devices/0000:02:10.0/driver_override: vfio-pci
        write sys/bus/pci/devices/0000:02:10.0/driver/unbind: 0000:02:10.0
        write sys/bus/pci/drivers_probe: 0000:02:10.0
        settle
        enp2s0f0 vf 0 mac 52:54:00:00:00:77
        enp2s0f0 vf 0 vlan 42 qos 0
        give dev/vfio/21: 1879048193:1879048193
    "]]
    .assert_eq(&host.log());
    // Asked again, it is so already, and what was before is not forgotten.
    claim(&hostdevs, id, &device).await.unwrap();
    assert!(!host.log().contains("vf 0"));
    hostdevs.release(id).await.unwrap();
    let log = host.log();
    assert_eq!((host.state(), host.notes()), (before, 0), "{log}");
    let at = |words: &str| log.find(words).unwrap_or_else(|| panic!("no `{words}` in {log}"));
    assert!(at("vlan 0 qos 0") < at("driver/unbind"), "before its driver asks for it: {log}");
}

#[tokio::test]
async fn a_daemon_that_dies_at_any_act_on_a_virtual_function_leaves_it_to_the_next() {
    let devices = format!("{}{AUDIO}{NIC}", card(VF0, "yes", "<vlan><tag id='42'/></vlan>"));
    for dying in 1.. {
        let host = Host::new();
        let (before, id) = (host.state(), DomainId::random());
        host.fail(dying, true);
        let outcome = claim(&host.open(), id, &devices).await;
        host.fail(0, false);
        host.open().sweep(|_| false).await;
        assert_eq!((host.state(), host.notes()), (before.clone(), 0), "act {dying}");
        // And one that dies while it gives it back.
        let hostdevs = host.open();
        claim(&hostdevs, id, &devices).await.unwrap();
        let note = host.note(id);
        host.fail(dying, true);
        let given = hostdevs.release(id).await;
        host.fail(0, false);
        host.put_note(id, &note);
        host.open().release(id).await.unwrap();
        assert_eq!((host.state(), host.notes()), (before, 0), "act {dying}");
        if outcome.is_ok() && given.is_ok() {
            break;
        }
    }
}

#[tokio::test]
async fn a_driver_that_takes_no_zeroes_gets_a_local_address_back() {
    let host = Host::new();
    let (hostdevs, id) = (host.open(), DomainId::random());
    claim(&hostdevs, id, &card(VF1, "yes", "")).await.unwrap();
    let note = host.note(id);
    host.log();
    hostdevs.release(id).await.unwrap();
    let log = host.log();
    // And a daemon that died before the note was removed does it again.
    host.put_note(id, &note);
    host.open().release(id).await.unwrap();
    assert!(log.contains("vf 1 mac 02:00:00:00:00:00\nenp2s0f0 vf 1 vlan 7 qos 1\n"), "{log}");
}

#[tokio::test]
async fn what_is_no_virtual_function_is_none_as_an_interface() {
    let host = Host::new();
    let hostdevs = host.open();
    let whole = card("bus='2' slot='0' function='0'", "yes", "");
    let none = "<interface type='hostdev'><mac address='52:54:00:00:00:77'/></interface>".to_owned();
    let cases = [
        ("a whole card", whole),
        ("unmanaged", card(VF0, "no", "")),
        ("no address", none),
        ("twice", format!("{}{}", card(VF0, "yes", ""), card(VF0, "yes", ""))),
    ];
    let (before, mut table) = (host.state(), String::new());
    for (what, devices) in cases {
        let error = claim(&hostdevs, DomainId::random(), &devices).await.expect_err(what);
        table += &format!("{what}: {}\n", told(&error));
    }
    host.switch_off();
    let error = claim(&hostdevs, DomainId::random(), &card(VF0, "yes", "")).await.unwrap_err();
    table += &format!("off: {}\n", told(&error));
    assert_eq!((host.state(), host.notes()), (before, 0));
    expect![[r"
        a whole card: /domain/devices/interface[1]: Interface type hostdev is currently supported on SR-IOV Virtual Functions only: 0000:02:00.0 is none (unsupported)
          → give the card by <hostdev mode='subsystem' type='pci'>, or make virtual functions: /sys/class/net/CARD/device/sriov_numvfs
        unmanaged: /domain/devices/interface[1]: Unmanaged PCI device 0000:02:10.0 must be manually detached from the host: driver igbvf has it (invalid_state)
          → use managed='yes', or bind the device to vfio-pci beforehand
        no address: /domain/devices/interface[1]: the source names no device: <address> is missing (invalid_input)
        twice: /domain/devices/interface[2]: PCI device 0000:02:10.0 is in the document twice (invalid_input)
        off: /domain/devices/interface[1]: Unable to configure VF 0 of PF 'enp2s0f0' because the PF is not online (invalid_state)
          → switch it on in the host's network configuration, or: ip link set enp2s0f0 up
    "]]
    .assert_eq(&table);
}

#[tokio::test]
async fn what_a_libvirt_daemon_kept_of_a_virtual_function_is_given_back() {
    let host = Host::new();
    let (before, hostdevs, id) = (host.state(), host.open(), DomainId::random());
    host.bind("0000:02:10.2", "vfio-pci");
    let given = note::Setting { mac: "52:54:00:00:00:77".parse().unwrap(), vlan: 5, priority: 0 };
    host.put_setting(1, given);
    host.leave_by_libvirt(1, r#"{"adminMac":"02:00:00:00:00:09","vlanTag":"7"}"#);
    let live = document(id, &card(VF1, "yes", "<alias name='hostdev0'/>"));
    let taken = ["hostdev0".to_owned()];
    hostdevs.adopt(id, &live, &taken).await.unwrap();
    hostdevs.adopt(id, &live, &taken).await.unwrap();
    assert!(claim(&hostdevs, DomainId::random(), &card(VF1, "yes", "")).await.is_err());
    hostdevs.release(id).await.unwrap();
    let back = "1: Setting { mac: MacAddr([2, 0, 0, 0, 0, 9]), vlan: 7, priority: 0 }";
    assert!(host.state().contains(back), "{}", host.state());
    let drivers = |state: &str| state.lines().take(6).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(drivers(&host.state()), drivers(&before));
}

#[tokio::test]
async fn a_cards_functions_are_listed_and_one_that_a_guest_has_is_not_free() {
    let host = Host::new();
    let (hostdevs, id) = (host.open(), DomainId::random());
    let functions = hostdevs.functions_of("enp2s0f0");
    let names: Vec<String> = functions.iter().map(pci::text_of).collect();
    assert_eq!(names, ["0000:02:10.0", "0000:02:10.2"]);
    assert!(hostdevs.functions_of("nosuch0").is_empty());
    claim(&hostdevs, id, &card(VF0, "yes", "")).await.unwrap();
    let free = |domain| functions.iter().map(|address| hostdevs.is_free(domain, address)).collect::<Vec<_>>();
    assert_eq!((free(DomainId::random()), free(id)), (vec![false, true], vec![true, true]));
    assert!(!hostdevs.is_free(id, &PciAddress::new(9, 0, 0)), "not there");
}
