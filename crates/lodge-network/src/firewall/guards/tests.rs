use std::process::Command;

use super::*;

fn port(bridge: &str, ifname: &str, last: u8) -> Port {
    Port { bridge: bridge.into(), ifname: ifname.into(), mac: MacAddr([0x52, 0x54, 0, 0, 0, last]) }
}

fn fresh(ports: &[Port]) -> Guards {
    Guards::of(ports, &Guards::default())
}

#[test]
fn a_guests_address_comes_from_its_own_ports_alone() {
    let ports =
        [port("br0", "vnet0", 1), port("br0", "vnet1", 2), port("br0", "vnet7", 1), port("br0", "a\"b", 3)];
    expect_test::expect![[r#"
        table bridge lodge
        delete table bridge lodge
        table bridge lodge {
        	map ways {
        		type ifname : verdict
        	}
        	chain prerouting {
        		type filter hook prerouting priority -300; policy accept;
        		iifname vmap @ways
        	}
        }
        table bridge lodge {
        	set guests0 {
        		type ether_addr
        	}
        	set places0 {
        		type ether_addr . ifname
        	}
        	set clients0 {
        		typeof @th,288,48
        	}
        	set leases0 {
        		typeof @th,288,48 . meta iifname
        	}
        	chain bridge0 {
        		ether saddr @guests0 ether saddr . iifname != @places0 drop
        		udp dport 67 ip frag-off & 0x3fff != 0 drop
        		udp dport 67 @th,288,48 @clients0 @th,288,48 . iifname != @leases0 drop
        	}
        }
        add element bridge lodge clients0 { 0x525400000001, 0x525400000002 }
        add element bridge lodge guests0 { 52:54:00:00:00:01, 52:54:00:00:00:02 }
        add element bridge lodge leases0 { 0x525400000001 . "vnet0", 0x525400000001 . "vnet7", 0x525400000002 . "vnet1" }
        add element bridge lodge places0 { 52:54:00:00:00:01 . "vnet0", 52:54:00:00:00:01 . "vnet7", 52:54:00:00:00:02 . "vnet1" }
        add element bridge lodge ways { "vnet0" : jump bridge0, "vnet1" : jump bridge0, "vnet7" : jump bridge0 }
    "#]].assert_eq(&fresh(&ports).whole("lodge"));
}

#[test]
fn one_guest_more_or_less_is_a_few_elements() {
    let few = fresh(&[port("br0", "vnet0", 1), port("br1", "vnet1", 2)]);
    let more = Guards::of(&[port("br0", "vnet0", 1), port("br0", "vnet2", 3), port("br1", "vnet1", 2)], &few);
    expect_test::expect![[r#"
        add element bridge lodge clients0 { 0x525400000003 }
        add element bridge lodge guests0 { 52:54:00:00:00:03 }
        add element bridge lodge leases0 { 0x525400000003 . "vnet2" }
        add element bridge lodge places0 { 52:54:00:00:00:03 . "vnet2" }
        add element bridge lodge ways { "vnet2" : jump bridge0 }
    "#]]
    .assert_eq(&more.change(&few, "lodge"));
    assert_eq!(more.change(&more, "lodge"), "");
    // A second port with the same address: the address itself is there already.
    let twice =
        Guards::of(&[port("br0", "vnet0", 1), port("br0", "vnet5", 1), port("br1", "vnet1", 2)], &few);
    expect_test::expect![[r#"
        add element bridge lodge leases0 { 0x525400000001 . "vnet5" }
        add element bridge lodge places0 { 52:54:00:00:00:01 . "vnet5" }
        add element bridge lodge ways { "vnet5" : jump bridge0 }
    "#]]
    .assert_eq(&twice.change(&few, "lodge"));
}

#[test]
fn the_last_of_a_bridge_takes_its_rules_along_and_the_others_keep_their_numbers() {
    let two = fresh(&[port("br0", "vnet0", 1), port("br1", "vnet1", 2)]);
    let one = Guards::of(&[port("br1", "vnet1", 2)], &two);
    expect_test::expect![[r#"
        delete element bridge lodge clients0 { 0x525400000001 }
        delete element bridge lodge guests0 { 52:54:00:00:00:01 }
        delete element bridge lodge leases0 { 0x525400000001 . "vnet0" }
        delete element bridge lodge places0 { 52:54:00:00:00:01 . "vnet0" }
        delete element bridge lodge ways { "vnet0" : jump bridge0 }
        delete chain bridge lodge bridge0
        delete set bridge lodge guests0
        delete set bridge lodge places0
        delete set bridge lodge clients0
        delete set bridge lodge leases0
    "#]]
    .assert_eq(&one.change(&two, "lodge"));
    let moved = Guards::of(&[port("br1", "vnet1", 2), port("br2", "vnet0", 1)], &one);
    assert_eq!(moved.bridges["br1"].number, 1);
    assert_eq!(moved.bridges["br2"].number, 0, "a number that is free again");
}

#[test]
fn what_passes_from_one_bridge_to_another_is_not_judged_there() {
    let elements = fresh(&[port("br0", "vnet0", 1), port("br1", "vnet1", 2)]).elements();
    let ways: Vec<&String> = elements["ways"].iter().collect();
    assert_eq!(ways, ["\"vnet0\" : jump bridge0", "\"vnet1\" : jump bridge1"]);
    assert!(!elements["guests1"].contains("52:54:00:00:00:01"), "{elements:?}");
}

#[test]
fn without_ports_the_table_goes() {
    assert_eq!(fresh(&[]).whole("lodge"), "table bridge lodge\ndelete table bridge lodge\n");
}

/// Runs a script and lists the table in JSON, in a network namespace of its own.
fn listed(script: &str) -> Option<String> {
    let words = "nft -f - && nft -j -s list table bridge lodge";
    let mut nft = Command::new("unshare");
    nft.args(["--map-root-user", "--net", "sh", "-c", words]);
    nft.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut nft = nft.spawn().ok()?;
    std::io::Write::write_all(nft.stdin.as_mut()?, script.as_bytes()).ok()?;
    let output = nft.wait_with_output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_kernels_listing_is_known_again_after_any_change_and_a_foreign_hand_is_seen() {
    let first = fresh(&[port("br0", "vnet0", 1), port("br1", "vnet1", 2)]);
    let Some(listing) = listed(&first.whole("lodge")) else {
        return eprintln!("skipped: no nft, or no namespace to use it in");
    };
    let shape = first.shape_in(&listing).expect("it is as it was made");
    let mut script = first.whole("lodge");
    let mut last = first.clone();
    let steps: [&[Port]; 4] = [
        &[port("br0", "vnet0", 1), port("br0", "vnet2", 1), port("br1", "vnet1", 2), port("br9", "vnet3", 4)],
        &[port("br1", "vnet1", 2), port("br9", "vnet0", 1)],
        &[port("br1", "vnet1", 7)],
        &[port("br1", "vnet1", 7), port("br2", "vnet4", 2)],
    ];
    for ports in steps {
        let next = Guards::of(ports, &last);
        script += &next.change(&last, "lodge");
        let listing = listed(&script).expect("nft takes it");
        assert_eq!(next.shape_in(&listing), Some(shape.clone()), "{listing}");
        assert_eq!(last.shape_in(&listing), None, "{listing}");
        last = next;
    }
    let changed = |by: &str| last.shape_in(&listed(&format!("{script}{by}\n")).expect("nft takes it"));
    for by in [
        "flush set bridge lodge guests1",
        "delete element bridge lodge ways { \"vnet4\" }",
        "add element bridge lodge places1 { 52:54:00:00:00:07 . \"eth0\" }",
        "flush chain bridge lodge bridge1",
        "insert rule bridge lodge prerouting accept",
        "delete table bridge lodge\ntable bridge lodge { }",
    ] {
        assert_ne!(changed(by), Some(shape.clone()), "{by}");
    }
}
