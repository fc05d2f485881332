//! Network documents: libvirtd's texts, and what is told of bad ones.

use crate::corpus::texts_are_libvirts;
use expect_test::{Expect, expect};
use lodge_model::network::Network;
use lodge_model::xml::WriteOptions;

const INACTIVE: WriteOptions = WriteOptions { inactive: true, security_info: false, migratable: false };

#[test]
fn a_defined_network_reads_as_libvirts() {
    texts_are_libvirts("corpus-network", 7, &[], |asked| {
        let name = asked.name;
        let mut network = Network::parse(asked.text).map_err(|faults| faults.to_string())?;
        network.complete();
        network.check().map_err(|faults| faults.to_string())?;
        let text = network.to_xml(&INACTIVE);
        assert_eq!(Network::parse(&text).unwrap(), network, "{name}");
        let mut again = network.clone();
        again.complete();
        assert_eq!(again, network, "{name}");
        Ok(text)
    });
}

fn check(body: &str, expected: &Expect) {
    let text = format!("<network>\n<name>n</name>\n{body}\n</network>");
    let faults = Network::parse(&text)
        .and_then(|network| network.check())
        .expect_err("it contradicts itself")
        .locate(&text);
    let lines: Vec<_> = faults.0.iter().map(ToString::to_string).collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn a_range_outside_of_the_subnet_is_named() {
    check(
        "<ip address='10.0.0.1' prefix='24'><dhcp><range start='10.0.1.2' end='10.0.1.9'/><range start='10.0.0.9' end='10.0.0.2'/></dhcp></ip>",
        &expect![[r#"
            line 3, column 42: /network/ip/dhcp/range[1]/@start: 10.0.1.2 is outside of 10.0.0.1/24
            line 3, column 42: /network/ip/dhcp/range[1]/@end: 10.0.1.9 is outside of 10.0.0.1/24
            line 3, column 82: /network/ip/dhcp/range[2]: the range begins at 10.0.0.9 and ends before it, at 10.0.0.2"#]],
    );
}

#[test]
fn hosts_that_collide_are_named() {
    check(
        "<ip address='10.0.0.1' prefix='24'><dhcp><range start='10.0.0.1' end='10.0.0.9'/><host mac='52:54:00:00:00:01' ip='10.0.0.3'/><host mac='52:54:00:00:00:01' ip='10.0.0.3'/><host name='x' ip='10.0.9.1'/></dhcp></ip>",
        &expect![[r#"
            line 3, column 127: /network/ip/dhcp/host[2]/@mac: `52:54:00:00:00:01` is given to two hosts
            line 3, column 127: /network/ip/dhcp/host[2]/@ip: `10.0.0.3` is given to two hosts
            line 3, column 172: /network/ip/dhcp/host[3]/@ip: 10.0.9.1 is outside of 10.0.0.1/24"#]],
    );
}

#[test]
fn subnets_that_overlap_are_named() {
    check(
        "<bridge name='much-too-long-a-name'/><ip address='10.0.0.1' prefix='24'/><ip address='10.0.0.129' prefix='25'/><ip family='ipv6' address='10.9.0.1' prefix='24'/><ip address='10.8.0.1' netmask='255.0.255.0'/>",
        &expect![[r#"
            line 3, column 1: /network/bridge/@name: `much-too-long-a-name` cannot name an interface: 1 to 15 characters without blanks, `/` and `:`
            line 3, column 74: /network/ip[2]: its subnet overlaps that of 10.0.0.1
            line 3, column 112: /network/ip[3]/@family: 10.9.0.1 is an ipv4 address, not ipv6
            line 3, column 162: /network/ip[4]/@netmask: is no netmask"#]],
    );
}
