//! The rules that keep a guest from passing for another, as nft's text. Pure.
//!
//! A guest is its hardware address, which the host gave it: leases and names hang on that. So the address of each guest
//! comes from its own port alone: as the sender of a frame (else the bridge would learn a thief's port for it), and
//! inside a DHCP message (else a thief could end a lease or take it over). Addresses that are no guest's of the same bridge
//! pass: a guest may bridge guests of its own, or two networks. What comes in pieces could hide the address from the rules, and no DHCP message
//! does.
//!
//! Frames are judged before the bridge learns from them (priority -300). Deliberately absent: libvirt's network
//! filters, and addresses of the network.

use std::collections::BTreeMap;
use std::fmt::Write;

use lodge_model::MacAddr;

use super::Port;

/// The guests of one bridge: each hardware address with its ports, for two guests may have one.
type Guests<'a> = BTreeMap<MacAddr, Vec<&'a str>>;

/// A script that replaces the table by the guards of `ports`, or removes it when there are none.
pub fn ruleset(table: &str, ports: &[Port]) -> String {
    let mut text = format!("table bridge {table}\ndelete table bridge {table}\n");
    let mut bridges: BTreeMap<&str, Guests<'_>> = BTreeMap::new();
    // A name that nft's text cannot hold is none that this program gives.
    for port in ports.iter().filter(|port| !port.ifname.contains(crate::plan::QUOTING)) {
        bridges.entry(&port.bridge).or_default().entry(port.mac).or_default().push(&port.ifname);
    }
    if bridges.is_empty() {
        return text;
    }
    writeln!(text, "table bridge {table} {{").expect("a String takes all");
    let mut ways = Vec::new();
    for (number, guests) in bridges.values().enumerate() {
        add_bridge(&mut text, number, guests);
        ways.extend(guests.values().flatten().map(|name| format!("\"{name}\" : jump bridge{number}")));
    }
    write!(
        text,
        "\tchain prerouting {{\n\
         \t\ttype filter hook prerouting priority -300; policy accept;\n\
         \t\tiifname vmap {{ {} }}\n\
         \t}}\n}}\n",
        ways.join(", ")
    )
    .expect("a String takes all");
    text
}

/// What holds for frames from the guests of one bridge.
fn add_bridge(text: &mut String, number: usize, guests: &Guests<'_>) {
    let macs: Vec<String> = guests.keys().map(ToString::to_string).collect();
    let place = |(mac, names): (&MacAddr, &Vec<&str>)| -> Vec<String> {
        names.iter().map(|name| format!("{mac} . \"{name}\"")).collect()
    };
    let places: Vec<String> = guests.iter().flat_map(place).collect();
    write!(
        text,
        "\tset guests{number} {{\n\t\ttype ether_addr\n\t\telements = {{ {} }}\n\t}}\n\
         \tset places{number} {{\n\t\ttype ether_addr . ifname\n\t\telements = {{ {} }}\n\t}}\n\
         \tchain dhcp{number} {{\n",
        macs.join(", "),
        places.join(", ")
    )
    .expect("a String takes all");
    for (mac, names) in guests {
        let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let hex = mac.to_string().replace(':', "");
        // `chaddr` stands 8 bytes of UDP and 28 of DHCP behind the IP header, RFC 2131 section 2.
        writeln!(text, "\t\tiifname != {{ {} }} @th,288,48 0x{hex} drop", names.join(", "))
            .expect("a String takes all");
    }
    write!(
        text,
        "\t}}\n\
         \tchain bridge{number} {{\n\
         \t\tether saddr @guests{number} ether saddr . iifname != @places{number} drop\n\
         \t\tudp dport 67 ip frag-off & 0x3fff != 0 drop\n\
         \t\tudp dport 67 jump dhcp{number}\n\
         \t}}\n"
    )
    .expect("a String takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(bridge: &str, ifname: &str, last: u8) -> Port {
        Port { bridge: bridge.into(), ifname: ifname.into(), mac: MacAddr([0x52, 0x54, 0, 0, 0, last]) }
    }

    #[test]
    fn a_guests_address_comes_from_its_own_ports_alone() {
        let ports = [
            port("br0", "vnet0", 1),
            port("br0", "vnet1", 2),
            port("br0", "vnet7", 1),
            port("br0", "a\"b", 3),
        ];
        expect_test::expect![[r#"
            table bridge lodge
            delete table bridge lodge
            table bridge lodge {
            	set guests0 {
            		type ether_addr
            		elements = { 52:54:00:00:00:01, 52:54:00:00:00:02 }
            	}
            	set places0 {
            		type ether_addr . ifname
            		elements = { 52:54:00:00:00:01 . "vnet0", 52:54:00:00:00:01 . "vnet7", 52:54:00:00:00:02 . "vnet1" }
            	}
            	chain dhcp0 {
            		iifname != { "vnet0", "vnet7" } @th,288,48 0x525400000001 drop
            		iifname != { "vnet1" } @th,288,48 0x525400000002 drop
            	}
            	chain bridge0 {
            		ether saddr @guests0 ether saddr . iifname != @places0 drop
            		udp dport 67 ip frag-off & 0x3fff != 0 drop
            		udp dport 67 jump dhcp0
            	}
            	chain prerouting {
            		type filter hook prerouting priority -300; policy accept;
            		iifname vmap { "vnet0" : jump bridge0, "vnet7" : jump bridge0, "vnet1" : jump bridge0 }
            	}
            }
        "#]]
        .assert_eq(&ruleset("lodge", &ports));
    }

    #[test]
    fn what_passes_from_one_bridge_to_another_is_not_judged_there() {
        let text = ruleset("lodge", &[port("br0", "vnet0", 1), port("br1", "vnet1", 2)]);
        assert!(
            text.contains("iifname vmap { \"vnet0\" : jump bridge0, \"vnet1\" : jump bridge1 }"),
            "{text}"
        );
        let second = text.split("set guests1").nth(1).unwrap();
        assert!(!second.contains("52:54:00:00:00:01"), "{text}");
    }

    #[test]
    fn without_ports_the_table_goes() {
        assert_eq!(ruleset("lodge", &[]), "table bridge lodge\ndelete table bridge lodge\n");
    }
}
