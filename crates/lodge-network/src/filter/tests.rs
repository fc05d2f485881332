//! From documents to nft's text, as tables. What the kernel makes of it is shown with real cards in `tests/netns`.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;

fn set(documents: &[&str]) -> Set {
    let stock = stock::DOCUMENTS.iter().copied().chain(documents.iter().copied());
    stock.fold(Set::new(), |set, text| {
        let document = NwFilter::parse(text).unwrap();
        store::taken_in(&set, document).unwrap().0
    })
}

fn binding(filter: &str, parameters: &[(&str, &str)]) -> Binding {
    let mut known = Parameters::default();
    for (name, value) in parameters.iter().chain(&[("MAC", "52:54:00:00:00:01")]) {
        known.0.entry((*name).to_owned()).or_default().push((*value).to_owned());
    }
    Binding {
        owner: "web".to_owned(),
        owner_uuid: Uuid::nil(),
        port: "vnet0".to_owned(),
        link: None,
        mac: "52:54:00:00:00:01".parse().unwrap(),
        filter: lodge_model::nwfilter::Reference { filter: filter.to_owned(), parameters: known },
    }
}

fn check(documents: &[&str], filter: &str, parameters: &[(&str, &str)], expected: &Expect) {
    let text = match made(&set(documents), &binding(filter, parameters), None) {
        Ok((card, learns)) => {
            let mut text = String::new();
            for (chain, rules) in &card.chains {
                writeln!(text, "{chain}").unwrap();
                for rule in rules {
                    writeln!(text, "    {rule}").unwrap();
                }
            }
            for (map, chain) in &card.ways {
                writeln!(text, "{map}: {chain}").unwrap();
            }
            if learns {
                text.push_str("(until the address is known)\n");
            }
            if let Some(rule) = &card.needs_connections {
                writeln!(text, "needs connections: {rule}").unwrap();
            }
            text
        }
        Err(error) => format!("{error}\n"),
    };
    expected.assert_eq(&text);
}

#[test]
fn clean_traffic_is_held_to_the_guests_own_addresses() {
    check(
        &[],
        "clean-traffic",
        &[("IP", "10.0.0.7")],
        &expect![[r#"
        vnet0-out-mac
            ether saddr 52:54:00:00:00:01 return
            drop
        vnet0-out-ipv4-ip
            ether type 0x0800 ip saddr 0.0.0.0 ip protocol 0x11 return
            ether type 0x0800 ip saddr 10.0.0.7 return
            drop
        vnet0-out-arp-mac
            ether type 0x0806 arp saddr ether 52:54:00:00:00:01 return
            drop
        vnet0-out-arp-ip
            ether type 0x0806 arp saddr ip 10.0.0.7 return
            drop
        vnet0-out-rarp
            ether saddr 52:54:00:00:00:01 ether daddr ff:ff:ff:ff:ff:ff ether type 0x8035 @nh,48,16 0x3 @nh,64,48 0x525400000001 @nh,144,48 0x525400000001 @nh,112,32 & 0xffffffff == 0x00000000 @nh,192,32 & 0xffffffff == 0x00000000 accept
            drop
        vnet0-out
            jump vnet0-out-mac
            ether type 0x0800 jump vnet0-out-ipv4-ip
            ether type 0x800 accept
            ether type 0x0806 jump vnet0-out-arp-mac
            ether type 0x0806 jump vnet0-out-arp-ip
            ether type 0x806 accept
            ether type 0x8035 jump vnet0-out-rarp
            ether type 0x835 accept
            drop
        vnet0-in-ipv4
            accept
        vnet0-in-rarp
            ether daddr ff:ff:ff:ff:ff:ff ether type 0x8035 @nh,48,16 0x3 @nh,64,48 0x525400000001 @nh,144,48 0x525400000001 @nh,112,32 & 0xffffffff == 0x00000000 @nh,192,32 & 0xffffffff == 0x00000000 accept
            drop
        vnet0-in
            ether type 0x0800 jump vnet0-in-ipv4
            ether type 0x806 accept
            ether type 0x8035 jump vnet0-in-rarp
            drop
        frames-out: vnet0-out
        frames-in: vnet0-in
    "#]],
    );
}

#[test]
fn a_guest_without_a_known_address_asks_for_one_and_does_nothing_else() {
    check(
        &[],
        "clean-traffic",
        &[],
        &expect![[r#"
        vnet0-out
            ether saddr 52:54:00:00:00:01 ether type 0x0800 meta l4proto 17 th sport 68 th dport 67 accept
            drop
        vnet0-in
            ether daddr 52:54:00:00:00:01 ether type 0x0800 meta l4proto 17 th sport 67 th dport 68 accept
            ether daddr ff:ff:ff:ff:ff:ff ether type 0x0800 meta l4proto 17 th sport 67 th dport 68 accept
            drop
        frames-out: vnet0-out
        frames-in: vnet0-in
        (until the address is known)
    "#]],
    );
    check(
        &[],
        "clean-traffic",
        &[("DHCPSERVER", "10.0.0.1")],
        &expect![[r#"
        vnet0-out
            ether saddr 52:54:00:00:00:01 ether type 0x0800 meta l4proto 17 th sport 68 th dport 67 accept
            drop
        vnet0-in
            ether daddr 52:54:00:00:00:01 ether type 0x0800 ip saddr 10.0.0.1 meta l4proto 17 th sport 67 th dport 68 accept
            ether daddr ff:ff:ff:ff:ff:ff ether type 0x0800 ip saddr 10.0.0.1 meta l4proto 17 th sport 67 th dport 68 accept
            drop
        frames-out: vnet0-out
        frames-in: vnet0-in
        (until the address is known)
    "#]],
    );
    check(
        &[],
        "clean-traffic",
        &[("CTRL_IP_LEARNING", "none")],
        &expect![[r#"
        Cannot instantiate filter due to unresolvable variables or unavailable list elements: IP
    "#]],
    );
    check(
        &[],
        "clean-traffic",
        &[("CTRL_IP_LEARNING", "foo")],
        &expect![[r#"
        filter 'clean-traffic' learning value 'foo' invalid.
    "#]],
    );
    check(
        &[],
        "clean-traffic-gateway",
        &[],
        &expect![[r#"
        Cannot instantiate filter due to unresolvable variables or unavailable list elements: GATEWAY_MAC, IP
    "#]],
    );
}

#[test]
fn root_rules_and_chains_come_in_the_order_of_their_priorities() {
    let mac = "<filter name='m' chain='mac' priority='-100'><rule action='drop' direction='out' priority='-200'>\
               <mac protocolid='0x9000'/></rule><rule action='return' direction='out' priority='-300'/></filter>";
    let named = "<filter name='n' chain='arp:x'><rule action='drop' direction='inout'><arp opcode='9' srcmacaddr='1:2:3:4:5:6'/>\
                 </rule></filter>";
    let top = "<filter name='t'><filterref filter='m'/><filterref filter='n'/>\
               <rule action='accept' direction='out' priority='-100'/>\
               <rule action='drop' direction='out' priority='-101'><mac dstmacaddr='1:2:3:4:5:6' dstmacmask='ff:ff:0:0:0:0'/></rule>\
               <rule action='continue' direction='out' priority='-900'/></filter>";
    check(
        &[mac, named, top],
        "t",
        &[],
        &expect![[r#"
        vnet0-out-arp_x
            ether daddr 01:02:03:04:05:06 ether type 0x0806 arp operation 0x9 drop
        vnet0-out-mac
            ether type 0x9000 drop
            return
        vnet0-out
            ether type 0x0806 jump vnet0-out-arp_x
            ether daddr & ff:ff:00:00:00:00 == 01:02:00:00:00:00 drop
            jump vnet0-out-mac
            accept
        vnet0-in-arp_x
            ether saddr 01:02:03:04:05:06 ether type 0x0806 arp operation 0x9 drop
        vnet0-in
            ether type 0x0806 jump vnet0-in-arp_x
        frames-out: vnet0-out
        frames-in: vnet0-in
    "#]],
    );
}

#[test]
fn every_protocol_has_its_conditions() {
    let rule = |element: &str| format!("<rule action='drop' direction='out'><{element}/></rule>");
    let elements = [
        "vlan vlanid='5' encap-protocol='arp'",
        "stp type='0' root-priority='1' root-priority-hi='9' root-address='1:2:3:4:5:6' root-address-mask='ff:0:0:0:0:0' age='7'",
        "arp hwtype='1' protocoltype='0x800' opcode='Reply' arpsrcmacaddr='1:2:3:4:5:6' arpdstipaddr='10.0.0.0' arpdstipmask='8'",
        "arp gratuitous='true'",
        "rarp opcode='3' arpsrcipaddr='10.1.2.3' arpsrcipmask='16' arpdstmacaddr='1:2:3:4:5:6'",
        "ip srcipaddr='10.1.2.3' srcipmask='255.255.0.0' protocol='udp' srcportstart='5' dstportstart='6' dstportend='9' dscp='1'",
        "ip match='no' dstipaddr='10.1.2.3' protocol='6'",
        "ip srcipaddr='10.0.0.0' srcipmask='0'",
        "ip match='no' srcipaddr='10.0.0.0' srcipmask='0'",
        "ipv6 dstipaddr='fe80::' dstipmask='10' protocol='icmpv6' type='1' typeend='4' code='2'",
        "tcp srcmacaddr='1:2:3:4:5:6' srcipfrom='10.0.0.1' srcipto='10.0.0.9' dstportstart='22' flags='SYN,ACK/SYN' option='8'",
        "tcp match='no' srcipfrom='10.0.0.1'",
        "tcp srcportstart='9' srcportend='5'",
        "udp-ipv6 srcipaddr='::1' dscp='63'",
        "udplite",
        "esp",
        "ah-ipv6",
        "sctp dstportstart='7'",
        "igmp",
        "icmp type='8' code='0'",
        "icmpv6 type='128'",
        "all",
        "all-ipv6",
        "mac comment='what \"this\" is'",
    ];
    let rules: String = elements.iter().map(|element| rule(element)).collect();
    check(
        &[&format!("<filter name='t'>{rules}</filter>")],
        "t",
        &[],
        &expect![[r#"
        vnet0-out
            ether type 0x8100 vlan id 0x5 vlan type 0x806 drop
            ether daddr 01:80:c2:00:00:00 @nh,48,8 0x0 @nh,64,16 0x1-0x9 @nh,240,16 0x7 @nh,80,48 & 0xff0000000000 == 0x010000000000 drop
            ether type 0x0806 arp htype 0x1 arp ptype 0x800 arp operation 0x2 arp saddr ether 01:02:03:04:05:06 arp daddr ip 10.0.0.0/8 drop
            ether type 0x0806 arp saddr ip & 255.0.0.0 . arp daddr ip & 255.0.0.0 @same arp saddr ip & 0.255.0.0 . arp daddr ip & 0.255.0.0 @same arp saddr ip & 0.0.255.0 . arp daddr ip & 0.0.255.0 @same arp saddr ip & 0.0.0.255 . arp daddr ip & 0.0.0.255 @same drop
            ether type 0x8035 @nh,48,16 0x3 @nh,144,48 0x010203040506 @nh,112,32 & 0xffff0000 == 0x0a010000 drop
            ether type 0x0800 ip saddr 10.1.2.3/16 ip protocol 0x11 th sport 0x5 th dport 0x6-0x9 ip dscp 0x1 drop
            ether type 0x0800 ip daddr != 10.1.2.3 ip protocol != 0x6 drop
            ether type 0x0800 drop
            ether type 0x86dd ip6 daddr fe80::/10 meta l4proto 0x3a icmpv6 type 0x1-0x4 icmpv6 code 0x2 drop
            drop comment "what this is"
        vnet0-out.packets
            ether type 0x0800 meta l4proto 6 ether saddr 01:02:03:04:05:06 ip saddr 10.0.0.1-10.0.0.9 th dport 0x16 tcp flags & 0x12 == 0x2 tcp option 8 exists drop
            ether type 0x0800 meta l4proto 6 ip saddr != 10.0.0.1 drop
            ether type 0x86dd meta l4proto 17 ip6 saddr ::1 ip6 dscp 0x3f drop
            ether type 0x0800 meta l4proto 136 drop
            ether type 0x0800 meta l4proto 50 drop
            ether type 0x86dd meta l4proto 51 drop
            ether type 0x0800 meta l4proto 132 th dport 0x7 drop
            ether type 0x0800 meta l4proto 2 drop
            ether type 0x0800 meta l4proto 1 icmp type 0x8 icmp code 0x0 drop
            ether type 0x86dd meta l4proto 58 icmpv6 type 0x80 drop
            ether type 0x0800 drop
            ether type 0x86dd drop
        frames-out: vnet0-out
        packets-out: vnet0-out.packets
    "#]],
    );
}

#[test]
fn a_rule_for_both_directions_is_mirrored_for_what_the_guest_sends() {
    let text = "<filter name='t'>\
        <rule action='drop' direction='inout'><ip srcipaddr='10.0.0.1' protocol='tcp' dstportstart='22'/></rule>\
        <rule action='drop' direction='inout'><tcp dstipaddr='10.0.0.1' dstportstart='22'/></rule></filter>";
    check(
        &[text],
        "t",
        &[],
        &expect![[r#"
        vnet0-out
            ether type 0x0800 ip daddr 10.0.0.1 ip protocol 0x6 th sport 0x16 drop
        vnet0-in
            ether type 0x0800 ip saddr 10.0.0.1 ip protocol 0x6 th dport 0x16 drop
        vnet0-out.packets
            ether type 0x0800 meta l4proto 6 ip saddr 10.0.0.1 th sport 0x16 drop
        vnet0-in.packets
            ether type 0x0800 meta l4proto 6 ip daddr 10.0.0.1 th dport 0x16 drop
        frames-out: vnet0-out
        frames-in: vnet0-in
        packets-out: vnet0-out.packets
        packets-in: vnet0-in.packets
    "#]],
    );
}

#[test]
fn connections_count_where_a_rule_lets_through_what_answers() {
    let text = "<filter name='t'>\
        <rule action='accept' direction='in' priority='100'><tcp dstportstart='22'/></rule>\
        <rule action='accept' direction='out' priority='200' statematch='false'><udp dstportstart='53'/></rule>\
        <rule action='drop' direction='in' priority='300'><tcp state='NEW,INVALID'/></rule>\
        <rule action='drop' direction='out' priority='400'><tcp connlimit-above='5'/></rule>\
        <rule action='accept' direction='inout' priority='500'><icmp/></rule>\
        <rule action='reject' direction='in' priority='1000'><all/></rule></filter>";
    check(
        &[text],
        "t",
        &[],
        &expect![[r#"
        vnet0-out.packets
            ether type 0x0800 meta l4proto 6 th sport 0x16 ct direction reply ct state established accept
            ether type 0x0800 meta l4proto 17 th dport 0x35 accept
            ether type 0x0800 meta l4proto 6 ct count over 5 drop
            ether type 0x0800 meta l4proto 1 accept
        vnet0-in.packets
            ether type 0x0800 meta l4proto 6 th dport 0x16 ct direction original ct state new,established accept
            ether type 0x0800 meta l4proto 6 ct state new,invalid drop
            ether type 0x0800 meta l4proto 1 accept
            ether type 0x0800 drop
        packets-out: vnet0-out.packets
        packets-in: vnet0-in.packets
        needs connections: <tcp> of <rule action='accept' direction='in' priority='100'> of filter 't'
    "#]],
    );
}

#[test]
fn lists_of_one_iterator_go_together_and_others_in_all_combinations() {
    let text = |rule: &str| {
        format!(
            "<filter name='t'><rule action='accept' direction='out'><ip protocol='tcp' {rule}/></rule></filter>"
        )
    };
    let lists = [("A", "10.0.0.1"), ("A", "10.0.0.2"), ("P", "80"), ("P", "443")];
    let together = text("srcipaddr='$A' dstportstart='$P'");
    check(
        &[&together],
        "t",
        &lists,
        &expect![[r#"
        vnet0-out
            ether type 0x0800 ip saddr 10.0.0.1 ip protocol 0x6 th dport 0x50 accept
            ether type 0x0800 ip saddr 10.0.0.2 ip protocol 0x6 th dport 0x1bb accept
        frames-out: vnet0-out
    "#]],
    );
    let combined = text("srcipaddr='$A[@1]' dstportstart='$P[@2]'");
    check(
        &[&combined],
        "t",
        &lists,
        &expect![[r#"
        vnet0-out
            ether type 0x0800 ip saddr 10.0.0.1 ip protocol 0x6 th dport 0x1bb accept
            ether type 0x0800 ip saddr 10.0.0.1 ip protocol 0x6 th dport 0x50 accept
            ether type 0x0800 ip saddr 10.0.0.2 ip protocol 0x6 th dport 0x1bb accept
            ether type 0x0800 ip saddr 10.0.0.2 ip protocol 0x6 th dport 0x50 accept
        frames-out: vnet0-out
    "#]],
    );
    let one = text("srcipaddr='$A[1]'");
    check(
        &[&one],
        "t",
        &lists,
        &expect![[r#"
        vnet0-out
            ether type 0x0800 ip saddr 10.0.0.2 ip protocol 0x6 accept
        frames-out: vnet0-out
    "#]],
    );
    let beyond = text("srcipaddr='$A[2]'");
    check(
        &[&beyond],
        "t",
        &lists,
        &expect![[r#"
        Cannot instantiate filter due to unresolvable variables or unavailable list elements: A[2]
    "#]],
    );
    check(
        &[&together],
        "t",
        &lists[..3],
        &expect![[r#"
        Cardinality of list items must be the same for processing them in parallel
    "#]],
    );
    check(
        &[&together],
        "t",
        &[("A", "nonsense"), ("P", "80")],
        &expect![[r#"
        filter 't': 'nonsense', the value of $A, cannot be that of srcipaddr
    "#]],
    );
}

#[test]
fn what_cannot_be_done_is_refused_with_its_rule() {
    let rule = |element: &str| {
        format!(
            "<filter name='t'><rule action='drop' direction='out' priority='7'><{element}/></rule></filter>"
        )
    };
    let cases = [
        "tcp ipset='a' ipsetflags='src'",
        "tcp srcportend='5'",
        "tcp-ipv6 dstipfrom='::1' dstipto='10.0.0.1'",
        "rarp gratuitous='true'",
        "tcp match='no' state='NEW'",
        "arp match='no' gratuitous='true'",
    ];
    let mut told = String::new();
    for element in cases {
        let error = made(&set(&[&rule(element)]), &binding("t", &[]), None).unwrap_err();
        writeln!(told, "{error}").unwrap();
    }
    let missing = made(&set(&[]), &binding("none", &[]), None).unwrap_err();
    writeln!(told, "{missing}").unwrap();
    expect![[r#"
        filter 't': ipset: sets of the program ipset are not seen by nftables (<tcp> of <rule action='drop' direction='out' priority='7'> of filter 't') is not supported
        filter 't': srcportend without srcportstart (<tcp> of <rule action='drop' direction='out' priority='7'> of filter 't') is not supported
        filter 't': dstipto='10.0.0.1' beside dstipfrom='::1' (<tcp-ipv6> of <rule action='drop' direction='out' priority='7'> of filter 't') is not supported
        filter 't': gratuitous of RARP (<rarp> of <rule action='drop' direction='out' priority='7'> of filter 't') is not supported
        filter 't': state with match='no' (<tcp> of <rule action='drop' direction='out' priority='7'> of filter 't') is not supported
        filter 't': gratuitous with match='no' (<arp> of <rule action='drop' direction='out' priority='7'> of filter 't') is not supported
        referenced filter 'none' is missing
    "#]].assert_eq(&told);
}

#[test]
fn a_filter_that_takes_itself_in_is_refused_and_names_are_guarded() {
    let one = set(&["<filter name='a'><filterref filter='b'/></filter>"]);
    let taken = |text| store::taken_in(&one, NwFilter::parse(text).unwrap()).map(drop);
    let told: Vec<String> = [
        "<filter name='b'><filterref filter='a'/></filter>",
        "<filter name='b'><filterref filter='b'/></filter>",
        "<filter name='a'/>",
        &format!("<filter name='c'><uuid>{}</uuid></filter>", one["a"].uuid),
    ]
    .into_iter()
    .map(|text| taken(text).unwrap_err().to_string().replace(&one["a"].uuid.to_string(), "UUID"))
    .collect();
    expect![[r#"
        [
            "filter would introduce a loop",
            "filter would introduce a loop",
            "filter 'a' already exists with uuid UUID",
            "filter with same UUID but different name ('a') already exists",
        ]
    "#]]
    .assert_debug_eq(&told);
    // Many ways to one filter are no loop, and take no time.
    let diamond: Vec<String> = (0..40)
        .map(|at| {
            let next = at + 1;
            format!(
                "<filter name='d{at}'><filterref filter='d{next}'/><filterref filter='d{next}'/></filter>"
            )
        })
        .collect();
    let diamond: Vec<&str> = diamond.iter().map(String::as_str).chain(["<filter name='d40'/>"]).collect();
    let diamond = set(&diamond);
    assert!(!resolve::loops(&diamond, "d0"));
    assert!(matches!(made(&diamond, &binding("d0", &[]), None), Err(FilterError::Unsupported { .. })));
}

#[test]
fn filters_are_kept_with_libvirts_header() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("nwfilter");
    let (kept, filters) = Store::open(directory.clone());
    assert_eq!(filters.len(), stock::DOCUMENTS.len());
    let text = std::fs::read_to_string(directory.join("clean-traffic.xml")).unwrap();
    assert!(
        text.starts_with("<!--\nWARNING") && text.contains("virsh nwfilter-edit clean-traffic"),
        "{text}"
    );
    kept.remove("clean-traffic").unwrap();
    let (_, again) = Store::open(directory.clone());
    assert!(!again.contains_key("clean-traffic"), "what was undefined does not come back");
    assert_eq!(again["allow-arp"].uuid, filters["allow-arp"].uuid);
    std::fs::write(directory.join("other.xml"), "<filter name='x'/>").unwrap();
    std::fs::write(directory.join("loop.xml"), "<filter name='loop'><filterref filter='loop'/></filter>")
        .unwrap();
    assert_eq!(Store::open(directory).1.len(), again.len());
    let bad = store::taken_in(&again, NwFilter::parse("<filter name='../x'/>").unwrap()).unwrap().1;
    assert!(kept.write(&bad).is_err());
}
