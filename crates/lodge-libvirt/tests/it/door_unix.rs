//! The sockets in the file system: names, modes, who is let in, how many.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::Arc;

use lodge_libvirt::{Doors, Opening, Settings};
use lodge_sys::activation::Handed;
use lodge_wire::remote;
use tokio::net::UnixStream;

use crate::door::{Recorder, have, is_root, open};
use crate::raw::{Client, house};

#[test]
fn every_name_of_libvirts_is_there_with_its_mode() {
    let doorway = open("auth_unix_rw = 'none'\nunix_sock_ro_perms = '0775'\n", |_, _| {});
    let mode = |name: &str| {
        std::fs::metadata(doorway.socket(name)).unwrap_or_else(|_| panic!("no {name}")).permissions().mode()
            & 0o777
    };
    for daemon in
        ["libvirt", "virtqemud", "virtnetworkd", "virtstoraged", "virtnodedevd", "virtsecretd", "virtproxyd"]
    {
        assert_eq!(mode(&format!("{daemon}-sock")), 0o700);
        assert_eq!(mode(&format!("{daemon}-sock-ro")), 0o775);
    }
    assert_eq!(mode("libvirt-admin-sock"), 0o700);
    assert_eq!(mode("virtqemud-admin-sock"), 0o700);
}

#[test]
fn the_real_client_finds_the_read_only_socket_read_only() {
    if !have(&["virsh"]) || !is_root() {
        return;
    }
    let doorway = open("", |_, _| {});
    let uri = doorway.uri("qemu", "virtqemud-sock");
    assert_eq!(doorway.virsh(&uri, "uri").fine().trim(), uri);
    let uri = doorway.uri("qemu", "libvirt-sock-ro");
    let refused = doorway.virsh(&format!("{uri}&mode=legacy"), "destroy nobody").refused();
    assert!(refused.contains("failed to get domain 'nobody'"), "{refused}");
}

#[test]
fn a_second_daemon_is_told_who_serves() {
    let doorway = open("", |_, _| {});
    let root = lodge_store::Root::at(doorway.path()).unwrap();
    let opening = Opening {
        settings: Settings::read(&root, None).unwrap(),
        listen: false,
        sasl_in_clear: false,
        bus: None,
        handed: Vec::new(),
        controls: Arc::new(Recorder::default()),
    };
    let error = house().enter(|| Doors::open(&house().server, &root, opening)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("libvirt-sock` is served by another program"), "{text}");
    assert!(text.contains(&format!("(pid {})", std::process::id())), "{text}");
}

#[test]
fn polkit_asks_for_whom_it_does_not_know() {
    if !have(&["virsh", "setpriv"]) || !is_root() {
        return;
    }
    // There is no bus: the groups decide.
    let doorway = open("", |_, _| {});
    let refused = doorway.virsh_as_nobody(&doorway.uri("qemu", "libvirt-sock"), "uri").refused();
    assert!(refused.contains("authentication failed: there is no polkit on this host"), "{refused}");
    doorway.virsh_as_nobody(&doorway.uri("qemu", "libvirt-sock-ro"), "uri").fine();
    let members = open("unix_sock_group = '65534'\n", |_, _| {});
    members.virsh_as_nobody(&members.uri("qemu", "libvirt-sock"), "uri").fine();
}

/// What a polkit answers: by the action, so that all answers can be had of one.
struct Polkit;

type Subject = (String, std::collections::HashMap<String, zbus::OwnedVariant>);

#[zbus::interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Polkit {
    fn check_authorization(
        &self,
        subject: Subject,
        action: &str,
        _details: std::collections::HashMap<String, String>,
        flags: u32,
        _cancellation: &str,
    ) -> (bool, bool, std::collections::HashMap<String, String>) {
        let whole = ["pid", "start-time", "uid"].iter().all(|key| subject.1.contains_key(*key));
        let lets_in =
            subject.0 == "unix-process" && whole && flags == 1 && action == "org.libvirt.unix.monitor";
        (lets_in, !lets_in, std::collections::HashMap::new())
    }
}

#[test]
fn polkit_is_asked_over_the_bus() {
    if !have(&["virsh", "setpriv", "dbus-daemon"]) || !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let address = format!("unix:path={}/bus", directory.path().display());
    let configuration = directory.path().join("bus.conf");
    let text = format!(
        "<busconfig><type>session</type><listen>{address}</listen><policy context='default'>\
         <allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/><allow own='*'/></policy></busconfig>"
    );
    std::fs::write(&configuration, text).unwrap();
    let mut bus = Command::new("dbus-daemon")
        .arg(format!("--config-file={}", configuration.display()))
        .args(["--nofork", "--print-address"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It prints its address when it listens.
    std::io::BufRead::read_line(&mut std::io::BufReader::new(bus.stdout.take().unwrap()), &mut String::new())
        .unwrap();
    let polkit = house().block(async {
        zbus::connection::Builder::address(address.as_str())
            .name("org.freedesktop.PolicyKit1")
            .serve_at("/org/freedesktop/PolicyKit1/Authority", Polkit)
            .build()
            .await
            .unwrap()
    });
    let doorway = open("", |opening, _| opening.bus = Some(address.clone()));
    doorway.virsh_as_nobody(&doorway.uri("qemu", "libvirt-sock-ro"), "uri").fine();
    let refused = doorway.virsh_as_nobody(&doorway.uri("qemu", "libvirt-sock"), "uri").refused();
    let expected = "authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'";
    assert!(refused.contains(expected), "{refused}");
    drop(polkit);
    bus.kill().unwrap();
    bus.wait().unwrap();
}

/// Knocks and logs in as the door asks; as root polkit is a formality.
async fn come_in(path: &std::path::Path) -> Client {
    let mut client = Client::over(UnixStream::connect(path).await.unwrap());
    let reply = client.call(remote::call::AuthList, &()).await;
    assert_eq!(reply.value::<remote::AuthListRet>().types, [0]);
    client
}

#[test]
fn strangers_are_kept_waiting_and_members_are_not_strangers() {
    if !is_root() {
        return;
    }
    let doorway = open("max_clients = 3\nmax_anonymous_clients = 1\n", |_, _| {});
    let gate = &doorway.doors.lobby().gate;
    let path = doorway.socket("libvirt-sock");
    doorway.house.run(async {
        let stranger = UnixStream::connect(&path).await.unwrap();
        // The next one gets no answer as long as the first is a stranger.
        let mut waiting = Client::over(UnixStream::connect(&path).await.unwrap());
        while gate.crowd().strangers == 0 {
            tokio::task::yield_now().await;
        }
        waiting.begin(remote::call::AuthList, &()).await;
        assert_eq!(gate.crowd().clients, 1);
        drop(stranger);
        assert!(waiting.receive().await.is_some());
        let _inside = [come_in(&path).await, come_in(&path).await];
        assert_eq!((gate.crowd().clients, gate.crowd().strangers), (3, 0));
        // The house is full: one more waits in the queue, and comes in when one goes.
        let mut fourth = Client::over(UnixStream::connect(&path).await.unwrap());
        fourth.begin(remote::call::AuthList, &()).await;
        drop(waiting);
        assert!(fourth.receive().await.is_some());
    });
}

#[test]
fn sockets_that_systemd_opened_are_served_and_no_others() {
    if !is_root() {
        return;
    }
    let handed = |directory: &std::path::Path, file: &str, name: &str| Handed {
        name: name.to_owned(),
        socket: OwnedFd::from(UnixListener::bind(directory.join(file)).unwrap()),
    };
    let doorway = open("", |opening, directory| {
        opening.handed = vec![
            handed(directory, "libvirt-sock", "lodge.socket"),
            handed(directory, "somewhere", "libvirtd-admin.socket"),
        ];
    });
    assert_eq!(
        doorway.doors.sockets(),
        [doorway.path().join("libvirt-sock"), doorway.path().join("somewhere")]
    );
    assert!(!doorway.socket("libvirt-sock").exists());
    doorway.house.run(async {
        let mut client = come_in(&doorway.path().join("libvirt-sock")).await;
        assert!(client.has_program(remote::PROGRAM).await);
        let mut admin = Client::over(UnixStream::connect(doorway.path().join("somewhere")).await.unwrap());
        assert!(admin.has_program(lodge_wire::admin::PROGRAM).await);
        assert!(!admin.has_program(remote::PROGRAM).await);
    });
}
