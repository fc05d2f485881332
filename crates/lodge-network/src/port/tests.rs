//! Interfaces, groups and networks, and what comes of them.

use lodge_model::{DomainId, MacAddr};

use super::*;
use crate::CardOptions;

fn network(rest: &str) -> Network {
    let text = format!("<network><name>n</name><forward mode='bridge'/><bridge name='br0'/>{rest}</network>");
    Network::parse(&text).unwrap()
}

fn rules(network: &Network, isolated: Option<bool>, options: CardOptions) -> Result<PortRules, NetworkError> {
    let request = AttachRequest {
        network: "n".into(),
        domain: DomainId::random(),
        domain_name: "web".into(),
        hostnames: Vec::new(),
        mac: MacAddr::random(),
        target: None,
        mtu: None,
        queues: 1,
        isolated,
        options,
    };
    PortRules::of(network, "br0", &request)
}

fn average(rules: &PortRules) -> Option<u64> {
    rules.bandwidth.as_ref()?.inbound.as_ref()?.average_kib_s
}

fn limit(average: u64) -> Bandwidth {
    let text =
        format!("<network><name>n</name><bandwidth><inbound average='{average}'/></bandwidth></network>");
    *Network::parse(&text).unwrap().bandwidth.unwrap()
}

#[test]
fn an_interface_goes_before_its_group_and_that_before_the_network() {
    let network = network(
        "<vlan><tag id='1'/></vlan><bandwidth><inbound average='5'/></bandwidth><port isolated='yes'/>\
         <portgroup name='usual' default='yes'><bandwidth><inbound average='10'/></bandwidth></portgroup>\
         <portgroup name='fast'><vlan><tag id='2'/></vlan><bandwidth><inbound average='20'/></bandwidth></portgroup>",
    );
    let vlan = |rules: &PortRules| rules.vlans.as_ref().map(|vlans| vlans.tags.clone());
    let usual = rules(&network, None, CardOptions::default()).unwrap();
    assert_eq!((average(&usual), vlan(&usual), usual.isolated), (Some(10), Some(vec![1]), true));
    let fast = || CardOptions { port_group: Some("fast".into()), ..CardOptions::default() };
    let in_group = rules(&network, Some(false), fast()).unwrap();
    assert_eq!((average(&in_group), vlan(&in_group), in_group.isolated), (Some(20), Some(vec![2]), false));
    let vlans = Some(Vlans { tags: vec![3], ..Vlans::default() });
    let own = CardOptions { bandwidth: Some(limit(30)), vlans, ..fast() };
    let own = rules(&network, None, own).unwrap();
    assert_eq!((average(&own), vlan(&own)), (Some(30), Some(vec![3])));
    // What the network's own limits are for is its bridge; a group that is not there gives nothing.
    let none = CardOptions { port_group: Some("none".into()), ..CardOptions::default() };
    assert_eq!(average(&rules(&network, None, none).unwrap()), None);
}

#[test]
fn virtual_ports_of_all_three_must_agree() {
    let network = network(
        "<virtualport type='openvswitch'/>\
         <portgroup name='a'><virtualport><parameters profileid='menial'/></virtualport></portgroup>\
         <portgroup name='b'><virtualport type='802.1Qbh'><parameters profileid='x'/></virtualport></portgroup>",
    );
    let in_group = |name: &str| CardOptions { port_group: Some(name.into()), ..CardOptions::default() };
    let port = rules(&network, None, in_group("a")).unwrap().switch.unwrap();
    assert_eq!((port.bridge.as_str(), port.profile.as_deref()), ("br0", Some("menial")));
    port.interface.parse::<uuid::Uuid>().unwrap();
    let clash = rules(&network, None, in_group("b")).unwrap_err().to_string();
    assert_eq!(clash, "attempt to merge virtualports with mismatched types ('openvswitch' and '802.1Qbh')");
    let own = VirtualPort { kind: None, interface: Some("i".into()), profile: Some("other".into()) };
    let own = || CardOptions { virtualport: Some(own.clone()), ..CardOptions::default() };
    assert_eq!(rules(&network, None, own()).unwrap().switch.unwrap().interface, "i");
    let clash = rules(&network, None, CardOptions { port_group: Some("a".into()), ..own() });
    assert!(clash.unwrap_err().to_string().contains("mismatched profileids ('other' and 'menial')"));
    for (isolated, bandwidth) in [(Some(true), None), (None, Some(limit(1)))] {
        let refused = rules(&network, isolated, CardOptions { bandwidth, ..CardOptions::default() });
        assert!(refused.unwrap_err().to_string().contains("not supported"));
    }
}

#[test]
fn what_ports_cannot_have_is_refused_by_name() {
    let of = |text: &str| {
        unsupported(&Network::parse(&format!("<network><name>n</name>{text}</network>")).unwrap())
    };
    let bridge = "<forward mode='bridge'/><bridge name='br0'/>";
    let switch = "<virtualport type='openvswitch'/>";
    let limits = "<bandwidth><inbound average='1'/></bandwidth>";
    for fine in [
        format!("{bridge}<vlan><tag id='1'/></vlan>{limits}"),
        format!("{bridge}{switch}<portgroup name='a'><vlan><tag id='1'/></vlan></portgroup>"),
        format!("<forward mode='nat'/>{limits}<portgroup name='a'>{limits}</portgroup>"),
        "<forward mode='hostdev'/><vlan><tag id='1'/></vlan><portgroup name='a'/>".to_owned(),
    ] {
        assert_eq!(of(&fine), None, "{fine}");
    }
    for (text, named) in [
        ("<forward mode='nat'/><vlan><tag id='1'/></vlan>".to_owned(), "<vlan>"),
        ("<portgroup name='a'><vlan><tag id='1'/></vlan></portgroup>".to_owned(), "<vlan>"),
        (format!("<forward mode='nat'/>{switch}"), "<virtualport type='openvswitch'> without"),
        (format!("{bridge}<virtualport type='802.1Qbg'/>"), "<virtualport type='802.1Qbg'>"),
        (format!("{bridge}<portgroup name='a'><virtualport type='midonet'/></portgroup>"), "'midonet'"),
        (format!("{bridge}{switch}{limits}"), "<bandwidth> of a network on a bridge of Open vSwitch's"),
        (format!("<forward mode='hostdev'/>{switch}"), "<virtualport> with forward mode 'hostdev'"),
        (
            format!("<forward mode='hostdev'/><portgroup name='a'>{limits}</portgroup>"),
            "<portgroup name='a'>",
        ),
    ] {
        let refused = of(&text).unwrap_or_default();
        assert!(refused.contains(named), "{text}: {refused}");
    }
}
