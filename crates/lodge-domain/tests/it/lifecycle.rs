//! What each verb does, and what it leaves.

use std::time::Duration;

use lodge_domain::{
    CreateOptions, DefineOptions, DestroyOptions, SaveOptions, StartOptions, Ticket, UndefineOptions,
    XmlOptions, chain,
};
use lodge_model::Kind;

use crate::support::{Listener, World, has_qemu, state, tiny, tiny_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_defined_started_held_and_destroyed() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let before = world.leavings();
    let mut listener = Listener::new(&domains);
    let guest = domains.define(&tiny("web1"), DefineOptions::default()).await.unwrap();
    assert_eq!(state(&guest), "shut off (unknown)");
    let defined = world.leavings();
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    assert_eq!(state(&guest), "running (booted)");
    let view = guest.snapshot();
    assert_eq!(view.domid(), Some(1));
    assert_eq!(world.processes().len(), 1);
    let again = guest.start(StartOptions::default(), Ticket::default()).await.unwrap_err();
    assert_eq!(again.kind(), Kind::InvalidState);
    guest.suspend().await.unwrap();
    guest.suspend().await.unwrap();
    assert_eq!(state(&guest), "paused (user)");
    guest.resume().await.unwrap();
    assert_eq!(state(&guest), "running (unpaused)");
    guest.reset().await.unwrap();
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert_eq!(state(&guest), "shut off (destroyed)");
    assert_eq!(world.leavings(), defined);
    guest.start(StartOptions { paused: true, ..StartOptions::default() }, Ticket::default()).await.unwrap();
    assert_eq!(state(&guest), "paused (user)");
    assert_eq!(guest.snapshot().domid(), Some(2));
    guest.destroy(DestroyOptions { graceful: true }).await.unwrap();
    let report = guest.undefine(UndefineOptions::default()).await.unwrap();
    assert_eq!(report.files.len(), 1);
    assert_eq!(world.leavings(), before);
    assert!(domains.list().is_empty());
    let seen = listener.seen();
    let wanted = [
        "defined added",
        "resumed unpaused",
        "started booted",
        "suspended paused",
        "resumed unpaused",
        "shutdown host",
        "stopped destroyed",
        "started booted",
        "suspended paused",
        "shutdown host",
        "stopped destroyed",
        "undefined removed",
    ];
    assert_eq!(seen.iter().filter(|event| *event != "reboot ").collect::<Vec<_>>(), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_guest_vanishes_when_it_stops() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let before = world.leavings();
    let guest = domains.create(&tiny("brief"), CreateOptions::default(), Ticket::default()).await.unwrap();
    assert!(!guest.snapshot().persistent);
    assert_eq!(domains.list().len(), 1);
    let taken =
        domains.create(&tiny("brief"), CreateOptions::default(), Ticket::default()).await.unwrap_err();
    assert_eq!(taken.kind(), Kind::Exists, "{}", chain(&taken));
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(domains.list().is_empty());
    assert_eq!(guest.suspend().await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(world.leavings(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_leaves_nothing_and_says_why() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(&tiny("web1"), DefineOptions::default()).await.unwrap();
    let before = world.leavings();
    for part in ["claim", "claim devices", "attach", "write seed"] {
        world.fakes.fail(Some(part));
        let error = guest.start(StartOptions::default(), Ticket::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(chain(&error), format!("domain `web1` did not start: {part} was made to fail"));
        assert_eq!(error.hint().unwrap(), "mend it");
        assert_eq!(state(&guest), "shut off (failed)");
        assert_eq!(world.leavings(), before, "after {part}");
    }
    world.fakes.fail(None);
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert_eq!(world.leavings(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn screens_and_consoles_get_their_places_and_give_them_back() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let devices =
        "<serial type='pty'/><graphics type='vnc' autoport='yes'/><video><model type='vga'/></video>";
    let mut ports = Vec::new();
    let mut guests = Vec::new();
    for name in ["one", "two"] {
        let guest = domains.define(&tiny_with(name, "", devices), DefineOptions::default()).await.unwrap();
        guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
        let vmm = guest.snapshot().vmm.clone().unwrap();
        let console = vmm.console.clone().unwrap();
        assert!(console.starts_with("/dev/pts") && console.exists());
        assert!(vmm.console_log.exists());
        let live = guest.xml(XmlOptions::default()).await.unwrap();
        let port = vmm.displays[0].port;
        assert!(
            live.contains(&format!("port='{port}'")) && live.contains(&console.display().to_string()),
            "{live}"
        );
        let inactive = XmlOptions { inactive: true, ..XmlOptions::default() };
        assert!(!guest.xml(inactive).await.unwrap().contains("/dev/pts"));
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(), "it listens there");
        ports.push(port);
        guests.push(guest);
    }
    assert!(ports[0] >= 5900 && ports[0] != ports[1]);
    let fixed = devices.replace("autoport='yes'", &format!("autoport='no' port='{}'", ports[0]));
    let third = domains.define(&tiny_with("three", "", &fixed), DefineOptions::default()).await.unwrap();
    let taken = third.start(StartOptions::default(), Ticket::default()).await.unwrap_err();
    assert_eq!(taken.kind(), Kind::Conflict, "{}", chain(&taken));
    guests[0].destroy(DestroyOptions::default()).await.unwrap();
    third.start(StartOptions::default(), Ticket::default()).await.unwrap();
    assert_eq!(third.snapshot().vmm.clone().unwrap().displays[0].port, ports[0]);
    for guest in [&guests[1], &third] {
        guest.destroy(DestroyOptions::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marked_domains_start_with_the_daemon_and_one_that_cannot_is_told() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let broken = tiny("broken").replace("type='qemu'", "type='kvm'");
    let broken = broken.replace(
        "<devices>",
        "<metadata><lodge:guest xmlns:lodge='https://lodge.dev/xmlns/guest/1'>\
         <lodge:accelerator fallback='refuse'/></lodge:guest></metadata><devices>",
    );
    for xml in [broken, tiny("one"), tiny("two")] {
        let guest = domains.define(&xml, DefineOptions::default()).await.unwrap();
        guest.set_autostart(true).await.unwrap();
    }
    domains.define(&tiny("unmarked"), DefineOptions::default()).await.unwrap();
    domains.close(Duration::from_secs(5)).await;
    let domains = world.open().await;
    let failed = domains.autostart().await;
    assert_eq!(failed.len(), 1);
    assert!(chain(&failed[0].1).contains("KVM is not usable here: tests use TCG"), "{}", chain(&failed[0].1));
    assert_eq!(failed[0].1.kind(), Kind::Unsupported);
    let running: Vec<_> =
        domains.list().iter().filter(|view| view.is_active()).map(|view| view.name.to_string()).collect();
    assert_eq!(running, ["one", "two"]);
    for name in running {
        domains.find(&name).unwrap().destroy(DestroyOptions::default()).await.unwrap();
    }
}

/// The document that people bring, but for its disk's file and its network.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_document_starts_is_saved_and_comes_back() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let disk = world.dir.path().join("disk.raw");
    std::fs::File::create(&disk).unwrap().set_len(1 << 20).unwrap();
    let xml = include_str!("../../../lodge-model/tests/corpus/rhel8.0.in.xml")
        .replace("type='qcow2'", "type='raw'")
        .replace("/var/lib/libvirt/images/rhel8", &disk.display().to_string())
        .replace("<interface type='network'>", "<interface type='user'>")
        .replace("<source network='default'/>", "")
        .replace("4194304", "262144");
    let guest = domains.define(&xml, DefineOptions::default()).await.unwrap();
    let before = world.leavings();
    guest
        .start(StartOptions::default(), Ticket::default())
        .await
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let vmm = guest.snapshot().vmm.clone().unwrap();
    assert!(
        vmm.warnings.iter().any(|warning| warning.contains("KVM") || warning.contains("TCG")),
        "{:?}",
        vmm.warnings
    );
    assert!(vmm.agent_socket.clone().unwrap().exists() && vmm.console.is_some());
    assert_eq!(vmm.displays.len(), 1);
    let live = guest.xml(XmlOptions::default()).await.unwrap();
    assert!(live.contains("<alias name='virtio-disk0'/>"), "{live}");
    guest
        .managed_save(SaveOptions::default(), Ticket::default())
        .await
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    guest
        .start(StartOptions::default(), Ticket::default())
        .await
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(state(&guest), "running (restored)");
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert_eq!(world.leavings(), before);
}
