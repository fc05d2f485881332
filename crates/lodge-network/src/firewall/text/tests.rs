use lodge_model::network::Network;

use super::*;

fn plan(name: &str, inner: &str) -> Plan {
    Plan::of(&Network::parse(&format!("<network><name>{name}</name>{inner}</network>")).unwrap()).unwrap()
}

#[test]
fn nat_and_an_isolated_network() {
    let nat = plan(
        "default",
        "<forward mode='nat'/><bridge name='virbr0'/><ip address='192.168.122.1' prefix='24'><dhcp>\
         <range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip>",
    );
    let alone =
        plan("alone", "<bridge name='virbr1'/><dns enable='no'/><ip address='10.1.0.1' prefix='24'/>");
    expect_test::expect![[r#"
        table inet lodge
        delete table inet lodge
        table inet lodge {
        	chain input {
        		type filter hook input priority filter; policy accept;
        		iifname "virbr0" udp dport 67 accept
        		iifname "virbr0" udp dport 53 accept
        		iifname "virbr0" tcp dport 53 accept
        	}
        	chain forward {
        		type filter hook forward priority filter; policy accept;
        		iifname "virbr0" oifname "virbr0" accept
        		iifname "virbr1" oifname "virbr1" accept
        		oifname "virbr0" ip daddr 192.168.122.0/24 ct state established,related accept
        		oifname "virbr0" reject
        		oifname "virbr1" reject
        		iifname "virbr0" ip saddr 192.168.122.0/24 accept
        		iifname "virbr0" reject
        		iifname "virbr1" reject
        	}
        	chain postrouting {
        		type nat hook postrouting priority srcnat; policy accept;
        		ip saddr 192.168.122.0/24 ip daddr { 224.0.0.0/24, 255.255.255.255 } return
        		ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 meta l4proto { tcp, udp } masquerade to :1024-65535
        		ip saddr 192.168.122.0/24 ip daddr != 192.168.122.0/24 masquerade
        	}
        }
    "#]].assert_eq(&ruleset("lodge", &[&nat, &alone]));
}

#[test]
fn routes_chosen_addresses_and_ipv6() {
    let routed = plan(
        "r",
        "<forward mode='route' dev='eth0'/><bridge name='b0'/><dns enable='no'/><ip address='10.2.0.1' prefix='24'/>",
    );
    let nat = plan(
        "n",
        "<forward mode='nat'><nat ipv6='yes'><address start='192.0.2.1' end='192.0.2.4'/><port start='2000' end='3000'/></nat>\
         </forward><bridge name='b1'/><dns enable='no'/><ip address='10.3.0.1' prefix='24'/>\
         <ip family='ipv6' address='fd00::1' prefix='64'/>",
    );
    expect_test::expect![[r#"
        table inet lodge_ab12
        delete table inet lodge_ab12
        table inet lodge_ab12 {
        	chain input {
        		type filter hook input priority filter; policy accept;
        	}
        	chain forward {
        		type filter hook forward priority filter; policy accept;
        		iifname "b0" oifname "b0" accept
        		iifname "b1" oifname "b1" accept
        		iifname "eth0" oifname "b0" ip daddr 10.2.0.0/24 accept
        		oifname "b0" reject
        		oifname "b1" ip daddr 10.3.0.0/24 ct state established,related accept
        		oifname "b1" ip6 daddr fd00::/64 ct state established,related accept
        		oifname "b1" reject
        		iifname "b0" oifname "eth0" ip saddr 10.2.0.0/24 accept
        		iifname "b0" reject
        		iifname "b1" ip saddr 10.3.0.0/24 accept
        		iifname "b1" ip6 saddr fd00::/64 accept
        		iifname "b1" reject
        	}
        	chain postrouting {
        		type nat hook postrouting priority srcnat; policy accept;
        		ip saddr 10.3.0.0/24 ip daddr { 224.0.0.0/24, 255.255.255.255 } return
        		ip saddr 10.3.0.0/24 ip daddr != 10.3.0.0/24 meta l4proto { tcp, udp } snat ip to 192.0.2.1-192.0.2.4:2000-3000
        		ip saddr 10.3.0.0/24 ip daddr != 10.3.0.0/24 snat ip to 192.0.2.1-192.0.2.4
        		ip6 saddr fd00::/64 ip6 daddr ff02::/16 return
        		ip6 saddr fd00::/64 ip6 daddr != fd00::/64 meta l4proto { tcp, udp } masquerade to :2000-3000
        		ip6 saddr fd00::/64 ip6 daddr != fd00::/64 masquerade
        	}
        }
    "#]].assert_eq(&ruleset("lodge_ab12", &[&routed, &nat]));
}

#[test]
fn without_networks_there_is_no_table() {
    expect_test::expect![[r"
        table inet lodge
        delete table inet lodge
    "]]
    .assert_eq(&ruleset("lodge", &[]));
}
