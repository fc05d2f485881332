//! What a client may before it logged in, before it opened, and when it only reads; in libvirtd's words.

use lodge_libvirt::Login;
use lodge_wire::{qemu, remote};

use crate::attack::{RPC, everything};
use crate::raw::{house, root_door};

#[test]
fn before_login() {
    let house = house();
    house.run(async {
        let door = lodge_libvirt::Door {
            logins: vec![Login::Polkit],
            ..lodge_libvirt::Door::local(1000, 1000, None, false)
        };
        let mut client = house.connect(door);
        for procedure in everything().filter(|procedure| !procedure.facts.before_login) {
            let facts = procedure.facts;
            let reply = client.raw_call(facts.program, facts.number, &[0; 4096]).await.unwrap();
            assert_eq!(reply.refusal(), (RPC, "authentication required".to_owned()), "{}", facts.name);
        }
        // A stranger's message takes no memory to speak of.
        let mut stranger = house.connect(lodge_libvirt::Door {
            logins: vec![Login::Polkit],
            ..lodge_libvirt::Door::local(1000, 1000, None, false)
        });
        stranger.send(&[&33_554_436_u32.to_be_bytes()[..], &[0; 64]].concat()).await.unwrap();
        stranger.closed().await;
        // That there is no such procedure is no secret.
        let reply = client.raw_call(remote::PROGRAM, 9999, &[]).await.unwrap();
        assert_eq!(reply.refusal().1, "unknown procedure: 9999");
    });
}

#[test]
fn before_open() {
    let house = house();
    house.run(async {
        let mut client = house.connect(root_door(false));
        let mut refused = async |procedure: remote::Procedure| {
            client.raw_call(remote::PROGRAM, procedure.number(), &[0; 4096]).await.unwrap().refusal()
        };
        let hypervisor = (1, "internal error: hypervisor connection not open".to_owned());
        assert_eq!(refused(remote::Procedure::ConnectGetType).await, hypervisor);
        assert_eq!(refused(remote::Procedure::DomainLookupByName).await, hypervisor);
        let network = (1, "internal error: connection not open".to_owned());
        assert_eq!(refused(remote::Procedure::ConnectNetworkEventRegisterAny).await, network);
    });
}

/// What libvirtd was seen to deny, denied in its words; nothing that changes anything is let through.
#[test]
fn a_read_only_client_tries_every_write() {
    let house = house();
    house.run(async {
        let mut client = house.read_only().await;
        let seen = include_str!("../facts/denied.txt");
        let mut denied = 0;
        for line in seen.lines().filter(|line| !line.starts_with('#')) {
            let [name, origin, function] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let Some(procedure) = everything().find(|procedure| procedure.facts.name == name) else {
                continue;
            };
            let facts = procedure.facts;
            let reply = client.raw_call(facts.program, facts.number, &[0; 8192]).await.unwrap();
            let error = reply.error();
            let text = format!("operation forbidden: read only access prevents {function}");
            assert_eq!((error.code, error.message.unwrap().to_string()), (29, text));
            assert_eq!(error.domain.to_string(), origin, "{name}");
            denied += 1;
        }
        let writes = everything().filter(|procedure| {
            let rules = procedure.facts.acl.iter();
            let mut always = rules.filter(|rule| rule.when == lodge_wire::When::Always);
            always.any(|rule| !rule.only_looks())
        });
        // These libvirtd lets a reader do, or checks their arguments before it says no.
        assert!(denied + 12 >= writes.count(), "only {denied} were seen denied by libvirtd");
    });
}

#[test]
fn the_flag_of_open_makes_a_reader() {
    let house = house();
    house.run(async {
        let mut client = house.connect(root_door(false));
        let args = remote::ConnectOpenArgs { name: Some("qemu:///system".into()), flags: 1 };
        client.call(remote::call::ConnectOpen, &args).await.value::<()>();
        let args = qemu::ConnectDomainMonitorEventRegisterArgs::default();
        let reply = client.call(qemu::call::ConnectDomainMonitorEventRegister, &args).await;
        let text = "operation forbidden: read only access prevents virConnectDomainQemuMonitorEventRegister";
        assert_eq!(reply.refusal(), (29, text.to_owned()));
    });
}

#[test]
fn unknown_flags_are_refused_in_the_drivers_name() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        let args = remote::ConnectListAllDomainsArgs { need_results: 1, flags: 1 << 30 };
        let error = client.call(remote::call::ConnectListAllDomains, &args).await.error();
        let text = |text: &Option<lodge_wire::Text>| text.as_ref().unwrap().to_string();
        assert_eq!((error.code, error.domain, error.level), (8, 10, 2));
        assert_eq!(
            text(&error.message),
            "unsupported flags (0x40000000) in function qemuConnectListAllDomains"
        );
        assert_eq!(
            (text(&error.str1).as_str(), text(&error.str2).as_str()),
            ("qemuConnectListAllDomains", "flags")
        );
        assert_eq!((error.int1, error.int2), (0, 0));
    });
}
