//! The admin socket: the real virt-admin.

use std::time::Duration;

use lodge_wire::remote;
use lodge_wire::xdr;
use tokio::net::UnixStream;

use crate::door::{have, is_root, open};
use crate::raw::Client;

#[test]
fn the_real_client_asks_and_sets() {
    if !have(&["virt-admin"]) {
        return;
    }
    let doorway = open("", |_, _| {});
    let admin = |words: &str| doorway.admin(words);
    let servers = admin("srv-list").fine();
    assert!(servers.contains("0    libvirtd") && servers.contains("1    admin"), "{servers}");
    assert!(admin("version").fine().contains("Running against daemon: 11.3.0"));
    assert!(admin("srv-threadpool-info libvirtd").fine().contains("jobQueueDepth"));
    assert!(admin("srv-threadpool-set libvirtd --max-workers 9").refused().contains("no pool of workers"));
    assert!(admin("srv-threadpool-info nope").refused().contains("Server not found: No server named 'nope'"));

    let limits = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let before = limits(admin("srv-clients-info libvirtd").fine());
    assert!(
        before.contains("nclients_max : 5000") && before.contains("nclients_unauth_max : 20"),
        "{before}"
    );
    admin("srv-clients-set libvirtd --max-clients 30 --max-unauth-clients 7").fine();
    let after = limits(admin("srv-clients-info libvirtd").fine());
    assert!(after.contains("nclients_max : 30") && after.contains("nclients_unauth_max : 7"), "{after}");
    assert_eq!(doorway.doors.lobby().gate.crowd().clients_max, 30);

    assert!(admin("daemon-log-outputs").fine().contains("1:stderr 2:file:/var/log/x"));
    assert!(
        admin("daemon-log-outputs --outputs 1:nowhere").refused().contains("invalid argument: Invalid log")
    );
    assert!(admin("daemon-log-filters").fine().contains("Logging filters:"));
    admin("daemon-log-filters --filters 1:qemu").fine();
    assert!(admin("daemon-log-filters").fine().contains("1:qemu"));

    let none = admin("server-update-tls libvirtd").refused();
    assert!(none.contains("no tls service found, unable to update tls files"), "{none}");
    admin("daemon-timeout --timeout 30").fine();
    admin("daemon-timeout --timeout 0").fine();
    assert_eq!(*doorway.controls.timeouts.lock().unwrap(), [Some(Duration::from_secs(30)), None]);
    admin("daemon-shutdown").fine();
    assert!(*doorway.controls.stopped.lock().unwrap());
}

#[test]
fn the_real_client_sees_and_disconnects_clients() {
    if !have(&["virt-admin"]) || !is_root() {
        return;
    }
    let doorway = open("", |_, _| {});
    let stream = doorway.house.block(UnixStream::connect(doorway.socket("libvirt-sock"))).unwrap();
    let mut client = Client::over(stream);
    doorway.house.run(async {
        client.call(remote::call::AuthList, &()).await;
    });
    let own = std::process::id().to_string();
    // Other tests have clients, too: ours is the one that came through this door and is root's, of this process.
    let list = doorway.admin("client-list libvirtd").fine();
    let ids = list.lines().skip(2).filter_map(|line| line.split_whitespace().next());
    let mut told = ids.map(|id| (id.to_owned(), doorway.admin(&format!("client-info libvirtd {id}"))));
    let (id, info) = told
        .find(|(_, info)| info.success && info.out.contains(&format!("unix_process_id: {own}")))
        .unwrap_or_else(|| panic!("not listed: {list}"));
    for line in
        ["readonly       : no", "unix_user_id   : 0", "unix_user_name : root", "transport      : unix"]
    {
        assert!(info.out.contains(line), "{info:?}");
    }
    doorway.admin(&format!("client-disconnect libvirtd {id}")).fine();
    let gone = doorway.admin(&format!("client-info libvirtd {id}")).refused();
    assert!(gone.contains(&format!("Client not found: No client with matching ID '{id}'")), "{gone}");
}

#[test]
fn hostile_arguments_are_answered() {
    let doorway = open("", |_, _| {});
    doorway.house.run(async {
        let mut client =
            Client::over(UnixStream::connect(doorway.socket("libvirt-admin-sock")).await.unwrap());
        let open = lodge_wire::admin::ConnectOpenArgs { flags: 0 };
        client.call(lodge_wire::admin::call::ConnectOpen, &open).await.value::<()>();
        for number in (2..=25).filter(|number| *number != 2 && *number != 20) {
            for payload in [vec![], vec![0xff; 64], vec![0; 64], vec![0x7f; 4096]] {
                let reply = client.raw_call(lodge_wire::admin::PROGRAM, number, &payload).await;
                assert!(reply.is_some(), "procedure {number} ended the connection");
            }
        }
        let args = lodge_wire::admin::ServerListClientsArgs {
            srv: lodge_wire::admin::Server { name: "libvirtd".into() },
            need_results: 1,
            flags: 1,
        };
        let bytes = xdr::to_bytes(&args).unwrap();
        let refusal = client.raw_call(lodge_wire::admin::PROGRAM, 8, &bytes).await.unwrap().refusal();
        assert_eq!(refusal.0, 8, "unknown flags are refused: {refusal:?}");
        // The hypervisor's program is not here.
        assert_eq!(client.raw_call(remote::PROGRAM, 1, &[0; 8]).await.unwrap().refusal().0, 39);
    });
}
