//! The texts are those that libvirt 11.3 gave to the same commands.

use super::*;

fn network() -> Network {
    Network::parse(
        "<network><name>n1</name><forward mode='nat'/><ip address='192.168.77.1' netmask='255.255.255.0'>\
         <dhcp><range start='192.168.77.2' end='192.168.77.100'/></dhcp></ip></network>",
    )
    .expect("a network")
}

fn ask(network: &mut Network, command: Command, section: &str, xml: &str) -> String {
    let section = Section::from_word(section).expect("a section");
    let update = Update { command, section, parent: None, xml: xml.to_owned() };
    let before = network.clone();
    match network.update(&update) {
        Ok(()) => "done".to_owned(),
        Err(error) => {
            assert_eq!(*network, before, "a refused change changes nothing");
            error.to_string()
        }
    }
}

use Command::{AddFirst, AddLast, Delete, Modify};

#[test]
fn hosts_match_by_any_field_and_go_by_all() {
    let n = &mut network();
    let host = |mac: u8, ip: u8| format!("<host mac='52:54:00:00:00:0{mac}' ip='192.168.77.{ip}'/>");
    assert_eq!(ask(n, AddLast, "ip-dhcp-host", &host(1, 10)), "done");
    assert_eq!(
        ask(n, AddLast, "ip-dhcp-host", &host(1, 10)),
        "there is an existing dhcp host entry in network 'n1' that matches \"<host mac='52:54:00:00:00:01' name='(null)' ip='192.168.77.10'/>\""
    );
    assert_eq!(ask(n, Modify, "ip-dhcp-host", &host(1, 11)), "done");
    assert_eq!(ask(n, Modify, "ip-dhcp-host", &host(2, 11)), "done");
    assert_eq!(ask(n, AddFirst, "ip-dhcp-host", &host(8, 20)), "done");
    assert_eq!(n.ips[0].dhcp.as_ref().unwrap().hosts[0].mac.unwrap().0[5], 8);
    assert_eq!(ask(n, Delete, "ip-dhcp-host", "<host mac='52:54:00:00:00:02'/>"), "done");
    assert_eq!(
        ask(n, Delete, "ip-dhcp-host", "<host mac='52:54:00:00:00:01'/>"),
        "couldn't locate a matching dhcp host entry in network 'n1'"
    );
    assert_eq!(
        ask(n, AddLast, "ip-dhcp-host", "<host mac='52:54:00:00:00:06'/>"),
        "Missing IP address in static host definition for network 'n1'"
    );
    assert_eq!(
        ask(n, AddLast, "ip-dhcp-host", "<x/>"),
        "unexpected element <x>, expecting <host>, while updating network 'n1'"
    );
    let far = Update { command: AddLast, section: Section::DhcpHost, parent: Some(4), xml: host(9, 9) };
    assert_eq!(
        n.update(&far).unwrap_err().to_string(),
        "couldn't update dhcp host entry - no <ip> element found at index 4 in network 'n1'"
    );
}

#[test]
fn ranges_are_added_and_deleted_whole() {
    let n = &mut network();
    let range = |a: &str, b: &str| format!("<range start='192.168.{a}' end='192.168.{b}'/>");
    assert_eq!(ask(n, AddLast, "ip-dhcp-range", &range("77.150", "77.160")), "done");
    assert_eq!(
        ask(n, Delete, "ip-dhcp-range", &range("77.150", "77.161")),
        "couldn't locate a matching dhcp range entry in network 'n1'"
    );
    assert_eq!(
        ask(n, Modify, "ip-dhcp-range", &range("77.150", "77.161")),
        "dhcp ranges cannot be modified, only added or deleted"
    );
    assert_eq!(
        ask(n, AddLast, "ip-dhcp-range", &range("79.150", "79.160")),
        "range 192.168.79.150 - 192.168.79.160 is not entirely within network 192.168.77.1/24"
    );
    assert_eq!(ask(n, Delete, "ip-dhcp-range", &range("77.150", "77.160")), "done");
    assert_eq!(*n, network());
}

#[test]
fn names_are_added_and_deleted() {
    let n = &mut network();
    let two = "<host ip='192.168.77.5'><hostname>a</hostname><hostname>b</hostname></host>";
    assert_eq!(ask(n, AddLast, "dns-host", two), "done");
    assert_eq!(
        ask(n, AddLast, "dns-host", "<host ip='192.168.77.5'><hostname>c</hostname></host>"),
        "there is already at least one DNS HOST record with a matching field in network n1"
    );
    assert_eq!(ask(n, Delete, "dns-host", "<host><hostname>a</hostname></host>"), "done");
    assert_eq!(
        ask(n, Delete, "dns-host", "<host><hostname>a</hostname></host>"),
        "couldn't locate a matching DNS HOST record in network n1"
    );
    assert_eq!(ask(n, AddLast, "dns-txt", "<txt name='x' value='y'/>"), "done");
    assert_eq!(
        ask(n, AddLast, "dns-txt", "<txt name='x' value='y'/>"),
        "there is already a DNS TXT record with name 'x' in network n1"
    );
    assert_eq!(ask(n, Delete, "dns-txt", "<txt name='x'/>"), "done");
    assert_eq!(
        ask(n, Modify, "dns-txt", "<txt name='x'/>"),
        "couldn't locate a matching DNS TXT record in network n1"
    );
    let srv = "<srv service='ldap' protocol='tcp' domain='d' target='t' port='10'/>";
    assert_eq!(ask(n, AddLast, "dns-srv", srv), "done");
    assert_eq!(
        ask(n, AddLast, "dns-srv", srv),
        "there is already at least one DNS SRV record matching all specified fields in network n1"
    );
    assert_eq!(ask(n, Delete, "dns-srv", "<srv service='ldap' protocol='tcp'/>"), "done");
    assert_eq!(ask(n, Modify, "dns-srv", srv), "DNS SRV records cannot be modified, only added or deleted");
    assert_eq!(*n, network(), "an empty <dns> is none");
}

#[test]
fn port_groups_and_interfaces_change() {
    let n = &mut network();
    assert_eq!(ask(n, AddLast, "portgroup", "<portgroup name='x' default='yes'/>"), "done");
    assert_eq!(
        ask(n, AddLast, "portgroup", "<portgroup name='x'/>"),
        "there is an existing portgroup entry in network 'n1' that matches \"<portgroup name='x'>\""
    );
    assert_eq!(
        ask(n, AddLast, "portgroup", "<portgroup name='y' default='yes'/>"),
        "a different portgroup entry in network 'n1' is already set as the default. Only one default is allowed."
    );
    assert_eq!(
        ask(n, Modify, "portgroup", "<portgroup name='z'/>"),
        "couldn't find a portgroup entry in network 'n1' matching <portgroup name='z'/>"
    );
    assert_eq!(ask(n, Delete, "portgroup", "<portgroup name='x'/>"), "done");
    assert_eq!(ask(n, AddLast, "forward-interface", "<interface dev='eth0'/>"), "done");
    assert_eq!(n.forward.as_ref().unwrap().dev.as_deref(), Some("eth0"));
    assert_eq!(
        ask(n, Delete, "forward-interface", "<interface dev='eth1'/>"),
        "couldn't find an interface entry in network 'n1' matching <interface dev='eth1'>"
    );
    assert_eq!(ask(n, Delete, "forward-interface", "<interface dev='eth0'/>"), "done");
    assert_eq!(*n, network());
    assert_eq!(ask(n, AddLast, "forward-pf", "<x/>"), "can't update 'forward pf' section of network 'n1'");
}
