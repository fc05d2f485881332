use super::*;

fn plan(inner: &str) -> Result<Plan, NetworkError> {
    let text = format!("<network><name>n</name>{inner}</network>");
    Plan::of(&Network::parse(&text).unwrap())
}

fn faults(inner: &str) -> String {
    match plan(inner) {
        Err(NetworkError::Document { faults }) => faults.replace("; ", "\n"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_default_network_is_understood() {
    let text = "<network>
      <name>default</name>
      <uuid>55ab064f-62f8-49d3-8d25-8ef36a524344</uuid>
      <forward mode='nat'/>
      <bridge name='virbr0' stp='on' delay='0'/>
      <mac address='52:54:00:b8:e0:15'/>
      <ip address='192.168.122.1' netmask='255.255.255.0'>
        <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp>
      </ip>
    </network>";
    let plan = Plan::of(&Network::parse(text).unwrap()).unwrap();
    assert_eq!(plan.mode, Mode::Nat(Nat::default()));
    assert_eq!((plan.bridge.as_deref(), plan.stp, plan.delay_s), (Some("virbr0"), true, 0));
    assert_eq!(plan.mac.unwrap().to_string(), "52:54:00:b8:e0:15");
    assert_eq!(plan.addresses, ["192.168.122.1/24".parse().unwrap()]);
    let scope = plan.dhcp.as_ref().unwrap();
    assert_eq!(scope.ranges, [("192.168.122.2".parse().unwrap(), "192.168.122.254".parse().unwrap())]);
    assert_eq!((scope.lease_s, scope.router), (3_600, Some(scope.server)));
    assert!(plan.dns.is_some() && plan.served() && plan.own_bridge());
}

#[test]
fn every_fault_is_told_with_its_place() {
    expect_test::expect![[r"
        /network/bridge/@name: `this-is-too-long-by-far` cannot name an interface: 1 to 15 characters without blanks, `/` and `:`
        /network/mac/@address: a group's address cannot be a bridge's
        /network/ip[1]/dhcp/range[1]: the range begins at 10.0.0.9 and ends before it, at 10.0.0.5
        /network/ip[1]/dhcp/range[2]/@start: 10.0.1.5 is outside of 10.0.0.1/24
        /network/ip[1]/dhcp/range[2]: the range begins at 10.0.1.5 and ends before it, at 10.0.0.255
        /network/ip[1]/dhcp/range[4]: overlaps another range
        /network/ip[1]/dhcp/host[1]/@ip: 10.0.0.1 is the bridge's own address
        /network/ip[1]/dhcp/host[2]: a host needs `mac`, `id` or `name`
        /network/ip[1]/dhcp/host[5]: attribute `ip` is missing
        /network/ip[2]: its subnet overlaps that of 10.0.0.1
        /network/ip[1]/dhcp/host[4]/@mac: `52:54:00:00:00:02` is given to two hosts
        /network/ip[1]/dhcp/host[4]/@ip: `10.0.0.41` is given to two hosts
        /network/ip[3]: 10.0.2.0 is the subnet's own or its broadcast address
        /network/ip[4]: a subnet for guests has a prefix of 8 to 30
        /network/ip[1]/dhcp/range[2]: 10.0.0.255 is the subnet's own or its broadcast address
        /network/ip[1]/dhcp/host[4]/@name: `a` is the name of another host already
        /network/domain/@name: `a b` is no domain name
        /network/dns/host/hostname: `-x` is no host name
        /network/bridge/@delay: the forward delay is at most 30 seconds
        /network/mtu/@size: an MTU is 68 to 65535 bytes"]].assert_eq(&faults(
        "<bridge name='this-is-too-long-by-far' delay='99'/><mac address='01:00:5e:00:00:01'/><mtu size='9'/>\
         <domain name='a b'/><dns><host ip='10.0.0.9'><hostname>-x</hostname></host></dns>\
         <ip address='10.0.0.1' prefix='24'><dhcp>\
         <range start='10.0.0.9' end='10.0.0.5'/><range start='10.0.1.5' end='10.0.0.255'/>\
         <range start='10.0.0.10' end='10.0.0.20'/><range start='10.0.0.20' end='10.0.0.30'/>\
         <host mac='52:54:00:00:00:01' ip='10.0.0.1'/><host ip='10.0.0.40'/>\
         <host mac='52:54:00:00:00:02' name='a' ip='10.0.0.41'/><host mac='52:54:00:00:00:02' name='A' ip='10.0.0.41'/>\
         <host mac='52:54:00:00:00:03' name='lonely'/></dhcp></ip>\
         <ip address='10.0.0.129' prefix='25'/><ip address='10.0.2.0' prefix='24'/><ip address='10.0.3.1' prefix='31'/>",
    ));
}

#[test]
fn modes_and_their_own_needs() {
    assert_eq!(plan("<bridge name='b'/>").unwrap().mode, Mode::Isolated);
    assert_eq!(plan("<forward mode='none'/>").unwrap().mode, Mode::Isolated);
    assert_eq!(plan("<bridge name='virbr%d'/>").unwrap().bridge, None);
    assert_eq!(plan("<forward mode='route' dev='eth0'/>").unwrap().forward_dev.as_deref(), Some("eth0"));
    let bridged = plan("<forward mode='bridge'/><bridge name='br0'/>").unwrap();
    assert!(!bridged.own_bridge() && !bridged.served());
    assert!(
        faults("<forward mode='bridge'/><bridge name='br0'/><ip address='10.0.0.1' prefix='24'/>")
            .contains("/network/forward/@mode")
    );
    let nat = "<forward mode='nat'><nat><address start='192.0.2.1' end='192.0.2.4'/><port start='2000' end='3000'/></nat></forward>\
               <ip address='10.0.0.1' prefix='24'/>";
    let Mode::Nat(nat) = plan(nat).unwrap().mode else { panic!("not nat") };
    assert_eq!(nat.ports, Some((2_000, 3_000)));
    assert!(faults("<forward mode='route' dev='eth0&quot;; drop'/>").contains("/network/forward/@dev"));
    assert!(faults("<bridge name='br*'/>").contains("/network/bridge/@name"), "nft would match others by it");
}

#[test]
fn the_lease_time_is_in_its_unit() {
    let with = |lease: &str| {
        let ip = format!(
            "<ip address='10.0.0.1' prefix='24'><dhcp><range start='10.0.0.5' end='10.0.0.9'>{lease}</range></dhcp></ip>"
        );
        plan(&ip).unwrap().dhcp.unwrap().lease_s
    };
    assert_eq!(with(""), 3_600);
    assert_eq!(with("<lease expiry='30'/>"), 1_800);
    assert_eq!(with("<lease expiry='2' unit='hours'/>"), 7_200);
    assert_eq!(with("<lease expiry='5' unit='seconds'/>"), 120);
    assert_eq!(with("<lease expiry='0'/>"), u32::MAX);
}

#[test]
fn what_has_no_effect_is_told_and_what_matters_is_refused() {
    let parse = |inner: &str| Network::parse(&format!("<network><name>n</name>{inner}</network>")).unwrap();
    let limited = parse("<bridge name='b'/><bandwidth><inbound average='1000'/></bandwidth>");
    assert!(Plan::of(&limited).is_ok());
    assert!(without_effect(&limited).is_empty());
    let others =
        parse("<forward mode='bridge'/><bridge name='b'/><bandwidth><inbound average='1'/></bandwidth>");
    assert!(Plan::of(&others).is_ok());
    assert!(without_effect(&others).is_empty());
    let kept = parse("<bridge name='b'/><wonder/>");
    assert_eq!(without_effect(&kept), ["/network/wonder is kept but has no effect yet"]);
    let switched = |kind| {
        let port = format!("<virtualport type='{kind}'/>");
        parse(&format!("<forward mode='bridge'/><bridge name='ovs0'/>{port}"))
    };
    assert!(Plan::of(&switched("openvswitch")).is_ok());
    let refused = Plan::of(&switched("midonet")).unwrap_err().to_string();
    assert!(refused.starts_with("network `n`: ") && refused.contains("midonet"), "{refused}");
}
